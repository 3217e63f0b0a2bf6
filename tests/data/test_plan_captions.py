"""Captions by people: which of them the plan decoder learns from."""

from pathlib import Path

import pytest

from auricle.data import plan_captions
from auricle.data.plan_captions import SourcedCaption, read_caption_file, read_captions
from auricle.data.plan_english import English
from auricle.errors import AuricleError
from small_classes import CAPTIONS, small_classes

CLASSES = small_classes()


def kept(*captions: str) -> list[str]:
    """The captions that are kept of some, among usual ones."""
    usual = [SourcedCaption(text, 2) for text in CAPTIONS * 20]
    readings = read_captions(usual + [SourcedCaption(text, 1) for text in captions], CLASSES)
    return [" ".join(one.reading.caption_words) for one in readings if one.source == 1]


@pytest.mark.parametrize(
    "caption",
    [
        "dog barks while rain falls",  # no article
        "a dog barking while rain falls",  # no finite verb
        "a dog barks while rain falls on the red roof",  # details
        "a dog is barking while it is raining",  # a word that points elsewhere
        "a dog bark occurs while rain falls",  # an annotator's word
        "a dog barks",  # short
        "a dog barks while rain falls and",  # unfinished
    ],
)
def test_captions_of_bad_english_or_with_details_are_dropped(caption: str):
    assert kept(caption) == []


def test_good_captions_are_kept_with_their_source():
    assert kept("a dog barks while rain falls") == ["a dog barks while rain falls"]


def test_words_that_hardly_occur_with_a_class_are_not_believed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan_captions, "COMMON_WORDS", 5)
    assert kept("a dog barks while rain falls on a hippopotamus") == []
    assert len(kept(*["a dog barks while rain falls on a hippopotamus"] * 4)) == 4


def test_articles_are_checked_against_what_is_usual():
    english = English([caption.split() for caption in CAPTIONS * 20])
    assert english.is_right("a dog barks".split())
    for wrong in ("dog barks", "a a dog barks", "an dog barks", "a music is heard", "a music"):
        assert not english.is_right(wrong.split()), wrong


def test_a_caption_file_is_read(tmp_path: Path):
    path = tmp_path / "captions.csv"
    path.write_text('caption,source\n"a dog, barking",clotho\nrain falls,audiocaps\n', "utf-8")
    expected = [SourcedCaption("a dog, barking", 2), SourcedCaption("rain falls", 1)]
    assert read_caption_file(path) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("caption\nrain falls\n", "expected the columns caption and source"),
        ("caption,source\nrain falls,nobody\n", "line 2: unknown source 'nobody'"),
        ("caption,source\nrain falls\n", "line 2: 1 fields, expected 2"),
    ],
)
def test_wrong_caption_files_are_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "captions.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(AuricleError, match=message):
        read_caption_file(path)
