"""Classes of sounds: how they relate, what mentions them, and their file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from auricle.errors import AuricleError
from auricle.planning.classes import SoundClasses, stem
from small_classes import small_classes

CLASSES = small_classes()
SOURCE = Path(__file__).parents[2] / "scripts" / "class_sentences.toml"


def compatible(first: str, second: str) -> bool:
    return bool(CLASSES.compatible[CLASSES.indices[first], CLASSES.indices[second]])


def test_ancestors_are_parents_of_parents():
    howl = CLASSES.ancestors[CLASSES.indices["Howl"]]
    assert {CLASSES.names[index] for index in howl} == {"Dog", "Animal"}


@pytest.mark.parametrize(
    ("first", "second"),
    [("Dog", "Dog"), ("Animal", "Howl"), ("Car", "Car horn"), ("Speech", "Conversation")],
)
def test_related_and_near_classes_are_incompatible_in_both_directions(first: str, second: str):
    assert not compatible(first, second)
    assert not compatible(second, first)


def test_other_classes_are_compatible():
    assert compatible("Dog", "Rain")
    assert compatible("Sneeze", "Car")


def test_classes_that_share_a_phrase_or_a_noun_are_incompatible(tmp_path: Path):
    tables = written(tmp_path)
    tables[5]["words"].append("car")  # Rain
    tables[15]["noun"] = "a barking dog"  # Sneeze
    changed = load(tmp_path, tables)
    assert not changed.compatible[changed.indices["Rain"], changed.indices["Car"]]
    assert not changed.compatible[changed.indices["Dog"], changed.indices["Sneeze"]]


def test_longer_phrases_hide_shorter_ones():
    mentions = CLASSES.mentions("a car horn honks near a car".split())
    names = [[CLASSES.names[i] for i in mention.places] for mention in mentions]
    assert names == [["Car horn"], ["Car horn"], ["Car"]]
    assert [(mention.start, mention.end) for mention in mentions] == [(1, 3), (3, 4), (6, 7)]
    assert CLASSES.mentioning_places("the car horn".split()) == {1, 2}


def test_a_text_asks_for_the_classes_that_list_its_phrase_first():
    def names(classes: SoundClasses, text: str) -> set[str]:
        return {classes.names[index] for index in classes.classes_meant(text)}

    assert names(CLASSES, "a car horn while a dog barks") == {"Car horn", "Dog"}
    assert names(CLASSES, "nothing in particular") == set()
    ours = SoundClasses.read_toml(SOURCE)
    assert names(ours, "a siren") == {"Siren"}  # an ambulance's lists it too, but later
    assert names(ours, "Children playing!") == {"Children playing"}


def test_a_mention_is_found_at_its_first_word():
    horn = CLASSES.classes[CLASSES.indices["Car horn"]]
    assert horn.find_mention("a dog hears a car horn".split()) == 4
    assert horn.find_mention("a car drives by".split()) is None


def test_forms_of_a_verb_have_one_stem():
    assert stem("barks") == stem("barking") == stem("barked") == stem("bark")


def written(folder: Path) -> list[dict]:
    """The small classes as JSON tables."""
    CLASSES.save(folder / "classes.json")
    return json.loads((folder / "classes.json").read_text("utf-8"))


def load(folder: Path, tables: object) -> SoundClasses:
    path = folder / "classes.json"
    path.write_text(json.dumps(tables), "utf-8")
    return SoundClasses.load(path)


def test_classes_are_the_same_after_saving(tmp_path: Path):
    assert load(tmp_path, written(tmp_path)) == CLASSES


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("specific", 2, "specific must be a number from 0 to 1"),
        ("specific", float("nan"), "specific must be"),
        ("repeats", 1, "repeats must be true or false"),
        ("clause", "a\x1b[2Jb", "expected printable texts"),
        ("clause", "...", "'...' has no word"),
        ("noun", "long " * 100, "expected printable texts"),
        ("words", [], "words must not be empty"),
        ("words", "dog", "words must be a list"),
        ("sentences", ["a dog", 3], "expected printable texts"),
        ("parents", ["Unicorn"], "unknown classes: Unicorn"),
        ("near", ["Unicorn"], "unknown classes: Unicorn"),
        ("name", "Animal", "two classes have the same name"),
        ("colour", "red", "unknown keys: 'colour'"),
    ],
)
def test_a_wrong_entry_is_refused(tmp_path: Path, key: str, value: object, message: str):
    tables = written(tmp_path)
    tables[1][key] = value
    with pytest.raises(AuricleError, match=re.escape(message)):
        load(tmp_path, tables)


@pytest.mark.parametrize("tables", [[], {}, [3], [{"name": "Dog"}], None])
def test_what_is_no_list_of_classes_is_refused(tmp_path: Path, tables: object):
    with pytest.raises(AuricleError):
        load(tmp_path, tables)


def test_a_damaged_or_missing_file_is_refused(tmp_path: Path):
    (tmp_path / "classes.json").write_bytes(b'[{"name": "\xff')
    for name in ("classes.json", "none.json"):
        with pytest.raises(AuricleError, match="cannot read the classes"):
            SoundClasses.load(tmp_path / name)


def test_our_source_file_is_read_and_kept(tmp_path: Path):
    classes = SoundClasses.read_toml(SOURCE)
    classes.save(tmp_path / "classes.json")
    assert SoundClasses.load(tmp_path / "classes.json") == classes
    assert classes.classes[0].name == "Speech"
    for array, dtype in (
        (classes.weights, np.float32),
        (classes.repeats, bool),
        (classes.moves, bool),
    ):
        assert array.shape == (len(classes),)
        assert array.dtype == dtype
    dog, bark, rain = (classes.indices[name] for name in ("Dog", "Bark", "Rain"))
    assert not classes.compatible[dog, bark]
    assert classes.compatible[bark, rain]


def test_optional_keys_of_the_source_are_read(tmp_path: Path):
    text = SOURCE.read_text("utf-8")
    beginning = text[: text.index("[", text.index("sentences = ["))]
    path = tmp_path / "classes.toml"
    table = beginning + '["a person speaks"]\nnear = ["Speech"]\nsupport = ["Speech"]\n'
    path.write_text(table, "utf-8")
    (only,) = SoundClasses.read_toml(path).classes
    assert only.near == only.support == ("Speech",)
