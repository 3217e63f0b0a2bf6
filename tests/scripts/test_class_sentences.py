"""Our sentences for sounds: complete, well-formed, about their class, and free of guesses."""

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

from auricle.checkpoint.folder import EMBEDDED

ROOT = Path(__file__).parents[2]
CLASSES = tomllib.loads((ROOT / "scripts" / "class_sentences.toml").read_text("utf-8"))
AUDIOSET = (EMBEDDED / "tags.txt").read_text("utf-8").splitlines()[:527]
OWN = ["Can opening", "Drinking, sipping", "Mouse click", "Washing machine"]
NAMES = AUDIOSET + OWN
INDEX = {name: index for index, name in enumerate(NAMES)}
KEYS = {"clause", "noun", "label", "words", "parents", "specific", "repeats", "moves", "sentences"}
# Order, counts and trends come from a plan, never from the sentences of one class.
TIME = (
    r"\b(then|once|twice|thrice|times?|again|before|after|until|when|first|last|next|finally|two|"
    r"three|four|few|several|couple|multiple|single|series|succession|interval|intervals|regular|"
    r"regularly|repeats?|repeated|repeatedly|repeating|continu\w+|constant|constantly|nonstop|"
    r"occasional|occasionally|sometimes|sporadic\w*|suddenly|gradually|increas\w+|decreas\w+|"
    r"fades?|fading|away|approach\w*|closer|louder|quieter|fainter|pause|starts?|started|starting|"
    r"begins?|beginning|stops?|stopping|ends?|ending|without a (?:break|rest)|followed by)\b"
)
# A recording seldom tells how far a sound is, so few sentences may say it.
PLACE = (
    r"\b(nearby|close by|close to|near|nearest|close range|close up|up close|distant|distance|far|"
    r"somewhere|background|overhead|all around|all sides|in the open|microphone|listener|"
    r"next door|outside|outdoors|afar)\b"
)
TIMED_CLASSES = {"Engine starting"}
PLACED_CLASSES = {"Background music", "Environmental noise"}
ONE_SPEAKER = [
    "Speech",
    "Male speech, man speaking",
    "Female speech, woman speaking",
    "Child speech, kid speaking",
    "Narration, monologue",
]
PLACES = [
    name for name in AUDIOSET if name.startswith(("Inside, ", "Outside, ")) or name == "Silence"
]
MUSIC = AUDIOSET[AUDIOSET.index("Pop music") : AUDIOSET.index("Wind")]


@cache
def pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Matches any of the words or phrases, the longest first."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


def find(words: Iterable[str], text: str) -> list[str]:
    """The words or phrases that stand in a text."""
    return pattern(tuple(words)).findall(text.lower())


@cache
def ancestors(name: str) -> frozenset[str]:
    """The names of all more general classes."""
    parents = frozenset(CLASSES[name]["parents"]) - {name}
    return parents.union(*(ancestors(parent) for parent in parents))


def test_every_class_has_an_entry_in_order():
    assert list(CLASSES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_class_is_worded(name: str):
    entry = CLASSES[name]
    assert KEYS <= set(entry) <= KEYS | {"near", "support", "noise"}
    assert set(entry["parents"]) <= set(NAMES) - {name}
    assert 0 <= entry["specific"] <= 1
    assert entry.get("noise", True) is True  # left out where it is false
    assert 1 <= len(entry["label"].split()) <= 4
    assert 3 <= len(entry["clause"].split()) <= 7
    assert find(entry["words"], entry["clause"])
    assert len(set(entry["words"])) == len(entry["words"])
    sentences = entry["sentences"]
    assert len(set(sentences)) == len(sentences) >= 8
    for sentence in sentences:
        assert 8 <= len(sentence.split()) <= 14, sentence
        assert find(entry["words"], sentence), sentence
        assert not re.search(r"\b(\w+) \1\b", sentence.lower()), sentence
        assert sentence[-1].isalpha(), sentence


def test_sentences_tell_no_time():
    told = [
        sentence
        for name in NAMES
        if name not in TIMED_CLASSES
        for sentence in CLASSES[name]["sentences"]
        if re.search(TIME, sentence.lower())
    ]
    assert not told


def test_few_sentences_tell_a_place_or_that_they_are_heard():
    for name, entry in CLASSES.items():
        placed = [sentence for sentence in entry["sentences"] if re.search(PLACE, sentence)]
        assert len(placed) <= 1 or name in PLACED_CLASSES, placed
        heard = [sentence for sentence in entry["sentences"] if "be heard" in sentence]
        assert len(heard) <= 2, heard


def test_no_sentence_serves_two_classes():
    sentences = [sentence for entry in CLASSES.values() for sentence in entry["sentences"]]
    assert len(set(sentences)) == len(sentences)


def test_near_classes_are_others_that_the_ancestry_does_not_relate():
    for name, entry in CLASSES.items():
        near = entry.get("near", [])
        assert near == sorted(set(near), key=INDEX.__getitem__), name
        for other in near:
            assert INDEX[other] > INDEX[name], f"{other}: each pair stands once, at its first class"
            assert other not in ancestors(name), name
            assert name not in ancestors(other), other


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Tick", "Tick-tock"),
        ("Siren", "Car alarm"),
        ("Raindrop", "Rain on surface"),
        ("Car", "Idling"),
        ("Chopping (food)", "Chop"),
        ("Slam", "Thump, thud"),
        ("Frying (food)", "Sizzle"),
        ("Clapping", "Applause"),
        ("Male speech, man speaking", "Narration, monologue"),
        *combinations(["Jazz", "Rock music", "Classical music"], 2),
    ],
)
def test_names_for_one_sound_are_near(first: str, second: str):
    entries = CLASSES[first], CLASSES[second]
    assert second in entries[0].get("near", []) or first in entries[1].get("near", [])


def test_cheering_may_stand_with_applause():
    assert "Applause" not in CLASSES["Cheering"].get("near", [])
    assert "Cheering" not in CLASSES["Applause"].get("near", [])


def test_classes_of_our_own_have_support():
    assert [name for name in NAMES if "support" in CLASSES[name]] == OWN
    for name in OWN:
        support = CLASSES[name]["support"]
        assert len(support) >= 3
        assert set(support) <= set(AUDIOSET)


@pytest.mark.parametrize("name", ONE_SPEAKER)
def test_one_speaker_is_one_person(name: str):
    many = ["people", "crowd", "voices", "conversation", "robot", "robotic", "others", "each other"]
    for sentence in CLASSES[name]["sentences"]:
        assert not find(many, sentence), sentence


@pytest.mark.parametrize("name", PLACES)
def test_a_place_claims_no_event(name: str):
    for text in (CLASSES[name]["clause"], *CLASSES[name]["sentences"]):
        assert not find(["somebody", "someone", "person", "people", "something"], text), text


@cache
def instrument_words() -> tuple[str, ...]:
    """All words that mention a musical instrument."""
    instruments = [name for name in AUDIOSET if "Musical instrument" in ancestors(name)]
    return tuple(sorted({word for name in instruments for word in CLASSES[name]["words"]}))


def test_a_kind_of_music_names_no_instrument():
    for name in MUSIC:
        class_words = pattern(tuple(CLASSES[name]["words"]))
        for sentence in CLASSES[name]["sentences"]:
            assert not find(instrument_words(), class_words.sub("", sentence.lower())), sentence
