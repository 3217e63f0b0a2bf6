"""The limits of the decoder's language, and their file."""

import io
from pathlib import Path

import numpy as np
import pytest

from auricle.checkpoint.vocabulary import Vocabulary
from auricle.errors import AuricleError
from auricle.planning.language import (
    AUDIOCAPS,
    OURS,
    SOURCES,
    Followers,
    Language,
    manner_index,
)
from auricle.planning.plans import Plan, PlannedEvent, Relation
from small_classes import small_classes

CLASSES = small_classes()
VOCABULARY = Vocabulary("a dog barks rain falls while then twice".split())
DOG, RAIN = CLASSES.indices["Dog"], CLASSES.indices["Rain"]


def make_language() -> Language:
    class_words = np.zeros((len(CLASSES), len(VOCABULARY)), bool)
    for index, entry in enumerate(CLASSES.classes):
        class_words[index, VOCABULARY.numbers([*entry.own_words, "while", "then", "twice"])] = True
    starts = np.zeros(len(VOCABULARY) + 1, np.int32)
    a, dog, barks = VOCABULARY.numbers(["a", "dog", "barks"])
    starts[a + 1 :] += 1
    starts[dog + 1 :] += 1
    followers = Followers(
        starts,
        np.array([dog, barks], np.uint16),
        np.array([0, 1, 1], np.int32),
        np.array([barks], np.uint16),
    )
    by_people = np.zeros(len(CLASSES), bool)
    by_people[DOG] = True
    return Language(class_words, followers, by_people)


def test_words_of_other_classes_and_of_time_are_forbidden():
    dog = Plan((PlannedEvent(DOG),))
    forbidden = make_language().forbidden_tokens(dog, CLASSES, VOCABULARY)
    words = {VOCABULARY.words[token] for token in forbidden}
    assert {"rain", "then", "twice"} <= words
    assert {"a", "dog", "barks", "while"}.isdisjoint(words)


def test_usual_words_are_those_of_all_events():
    plan = Plan((PlannedEvent(DOG), PlannedEvent(RAIN)), Relation.WHILE)
    assert {"dog", "barks", "rain", "falls"} <= make_language().usual_words(plan, VOCABULARY)


def test_followers_are_those_of_the_word_or_pair():
    a, dog, barks = VOCABULARY.numbers(["a", "dog", "barks"])
    followers = make_language().followers
    assert [followers.of(word).tolist() for word in (a, dog, barks)] == [[dog], [barks], []]
    pairs = ((a, dog), (dog, barks), (a, barks), (barks, a))
    assert [followers.of_pair(*pair).tolist() for pair in pairs] == [[barks], [], [], []]


def test_manners_are_numbered_by_source_and_length():
    found = {manner_index(source, n) for source in range(len(SOURCES)) for n in (5, 8, 11, 15)}
    assert found == set(range(4 * len(SOURCES)))
    assert manner_index(0, 8) == manner_index(0, 9) != manner_index(0, 10)


def test_single_events_are_worded_as_people_do_where_they_did():
    language = make_language()
    assert language.manner(Plan((PlannedEvent(DOG),))) == manner_index(AUDIOCAPS, 9)
    assert language.manner(Plan((PlannedEvent(RAIN),))) == manner_index(OURS, 9)
    plan = Plan((PlannedEvent(RAIN), PlannedEvent(DOG)), Relation.WHILE)
    assert language.manner(plan) == manner_index(AUDIOCAPS, 12)


def saved(folder: Path) -> dict[str, np.ndarray]:
    make_language().save(folder / "language.npz")
    with np.load(folder / "language.npz") as stored:
        return dict(stored)


def load(folder: Path, arrays: dict[str, np.ndarray]) -> Language:
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    (folder / "language.npz").write_bytes(content.getvalue())
    return Language.load(folder / "language.npz", len(CLASSES), len(VOCABULARY))


def test_a_language_is_the_same_after_saving(tmp_path: Path):
    language, again = make_language(), load(tmp_path, saved(tmp_path))
    np.testing.assert_array_equal(again.class_words, language.class_words)
    for name in ("starts", "followers", "pair_starts", "pair_followers"):
        np.testing.assert_array_equal(
            getattr(again.followers, name), getattr(language.followers, name)
        )
    np.testing.assert_array_equal(again.written_by_people, language.written_by_people)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("class_words", np.zeros((3, 2), np.uint8)),
        ("starts", np.arange(len(VOCABULARY) + 1, dtype=np.int32)),
        ("starts", np.zeros(len(VOCABULARY) + 1, np.int32)[::-1] - 1),
        ("followers", np.array([400, 5], np.uint16)),
        ("pair_starts", np.array([0, 2, 1], np.int32)),
        ("pair_starts", np.array([0, 1], np.int32)),
        ("pair_followers", np.array([400], np.uint16)),
        ("followers", np.array([[5], [6]], np.uint16)),
        ("followers", np.array(["a", "b"], object)),
        ("written_by_people", np.zeros(len(CLASSES), np.int64)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, name: str, array: np.ndarray):
    with pytest.raises(AuricleError, match=r"language\.npz"):
        load(tmp_path, saved(tmp_path) | {name: array})


def test_missing_arrays_and_damaged_files_are_refused(tmp_path: Path):
    arrays = saved(tmp_path)
    del arrays["followers"]
    with pytest.raises(AuricleError, match="followers does not fit"):
        load(tmp_path, arrays)
    (tmp_path / "language.npz").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(AuricleError, match="cannot read the language"):
        Language.load(tmp_path / "language.npz", len(CLASSES), len(VOCABULARY))
