"""Captions as labels: who does what, in lower case, short; speech and music told apart."""

import csv
from pathlib import Path

import pytest

from auricle.captioning.results import Tag
from auricle.subtitles.wording import phrases

CAPTIONS = Path(__file__).parents[2] / "data" / "heldout" / "captions.csv"


def label(caption: str) -> str:
    return ", ".join(phrase.text for phrase in phrases(caption))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog barks while rain falls.", "dog barking, rain falling"),
        ("A group of crows are cawing at one another.", "crows cawing"),
        ("Waves crash against the shore and recede as time goes on.", "waves crashing"),
        ("An alarm is going off in the distance.", "alarm going off"),
        ("Water is being poured into a container.", "water being poured"),
        ("A person uses a saw to cut wood.", "person cutting wood"),
        ("A toilet is flushed and then people speak.", "toilet being flushed, people talking"),
        ("A loud car horn honks several times.", "car horn honking"),
        ("Someone is typing on a keyboard.", "someone typing"),
        ("Typing on a keyboard.", "typing on keyboard"),
        ("A man and a woman are talking.", "man and woman talking"),
        ("Thunder and rain.", "thunder, rain"),
        ("A low hum can be heard.", "hum"),
        ("The sound of a car engine revving loudly.", "car engine revving"),
        ("A baby lets out a cry.", "baby crying"),
        ("A siren wails followed by a loud bang.", "siren wailing, bang"),
        ("A motorcycle passes by on the street.", "motorcycle passing by"),
        ("Crows caw and a rooster crows.", "crows cawing, rooster crowing"),
    ],
)
def test_who_does_what(caption: str, expected: str) -> None:
    assert label(caption) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A woman is giving a speech.", "woman speaking"),
        ("Several people are having a conversation.", "people talking"),
        ("A man narrates.", "man speaking"),
        ("Children shout in a playground.", "children shouting"),
    ],
)
def test_speech_is_speech(caption: str, expected: str) -> None:
    (phrase,) = phrases(caption)
    assert (phrase.text, phrase.speech, phrase.music) == (expected, True, False)


@pytest.mark.parametrize(
    "caption",
    [
        "Soft music is playing.",
        "A man plays a guitar.",
        "A choir sings.",
        "Piano notes are played.",
    ],
)
def test_music_is_music(caption: str) -> None:
    assert all(phrase.music and not phrase.speech for phrase in phrases(caption))


@pytest.mark.parametrize(
    "caption", ["A dog barks.", "A man laughs.", "A baby cries.", "A person walks on gravel."]
)
def test_other_sounds_are_neither(caption: str) -> None:
    assert not any(phrase.music or phrase.speech for phrase in phrases(caption))


def test_where_a_caption_says_nothing_its_likeliest_tag_does() -> None:
    assert label("") == ""
    assert [
        p.text for p in phrases("It goes on.", [Tag("Waves, surf", 0.4), Tag("Ocean", 0.3)])
    ] == ["waves"]
    assert phrases("It goes on.", [Tag("Speech", 0.4)])[0].speech


def test_captions_by_people_become_short_labels() -> None:
    if not CAPTIONS.is_file():
        pytest.skip("no captions: data/heldout is not there")
    with CAPTIONS.open(encoding="utf-8", newline="") as file:
        captions = [row["caption"] for row in csv.DictReader(file)][::20]
    found = [phrases(caption) for caption in captions]
    assert sum(map(bool, found)) > 0.98 * len(captions)
    texts = [phrase.text for of_caption in found for phrase in of_caption]
    assert all(text == text.lower().strip() and text for text in texts)
    assert sum(len(text) <= 30 for text in texts) > 0.97 * len(texts)
    # "something barks" would be a sentence: a label's verb stands on -ing, or it has none.
    assert (
        sum(
            text.split()[-1] in ("is", "are", "being", "the", "a", "of", "and", "with")
            for text in texts
        )
        == 0
    )
    assert all(len(set(of_caption)) == len(of_caption) for of_caption in found)


def test_words_of_other_languages_stay_whole() -> None:
    for caption in ("Ein Stein fällt ins Wasser.", "Pes štěká.", "一只狗在叫。"):
        told = " ".join(phrase.text for phrase in phrases(caption))
        assert set(told.split()) <= set(caption.lower().rstrip(".。").split())
        assert told
