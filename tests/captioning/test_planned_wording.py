"""Wording a plan: only faithful captions, and our own sentences where there are none."""

from collections.abc import Sequence

import numpy as np

from auricle.captioning.wording import only_followers, word_plan
from auricle.checkpoint.config import BeamOptions
from auricle.checkpoint.vocabulary import EOS, SOS, Vocabulary
from auricle.data.plan_language import learn_followers
from auricle.planning.grammar import plain_captions
from auricle.planning.language import Language
from auricle.planning.plans import Plan, PlannedEvent, Relation
from small_classes import small_classes

CLASSES = small_classes()
VOCABULARY = Vocabulary("a dog barks rain falls while then loudly car".split())
DOG, RAIN = (PlannedEvent(CLASSES.indices[name]) for name in ("Dog", "Rain"))
OPTIONS = BeamOptions(beam=8, min_length=1, max_length=8, length_penalty=1.0)
CAPTIONS = (
    "a dog barks while rain falls",
    "rain falls while a dog barks",
    "a dog barks loudly while rain falls",
    "a dog barks",
    "a dog barks then rain falls",
    "a car falls while rain falls",
)


def make_language(captions: Sequence[str]) -> Language:
    """Every class may use every word; words follow each other as in the captions."""
    followers = learn_followers(captions, [], [], VOCABULARY)
    class_words = np.ones((len(CLASSES), len(VOCABULARY)), bool)
    return Language(class_words, followers, np.zeros(len(CLASSES), bool))


def even(tokens: np.ndarray, _: np.ndarray) -> np.ndarray:
    """All words are equally likely."""
    return np.full((len(tokens), len(VOCABULARY)), -2.0)


def reciting(captions: Sequence[str]):
    """A decoder that knows whole captions; the first ones are likelier."""
    known = [VOCABULARY.encode(text) for text in captions]
    histories: list[list[int]] = [[]]

    def next_log_probs(tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        nonlocal histories
        histories = [[*histories[p], int(t)] for t, p in zip(tokens, parents, strict=True)]
        log_probs = np.full((len(tokens), len(VOCABULARY)), -50.0)
        for row, history in enumerate(histories):
            for rank, caption in reversed(list(enumerate(known))):
                if caption[: len(history)] == history and len(caption) > len(history):
                    log_probs[row, caption[len(history)]] = -0.1 * (rank + 1)
        return log_probs

    return next_log_probs


def test_words_that_never_followed_are_impossible():
    limited = only_followers(even, make_language(["a dog barks", "rain falls"]).followers)
    a, dog, barks, rain, falls = VOCABULARY.numbers(["a", "dog", "barks", "rain", "falls"])

    def allowed(tokens: list[int], parents: list[int]) -> list[list[int]]:
        log_probs = limited(np.array(tokens), np.array(parents))
        return [np.flatnonzero(np.isfinite(row)).tolist() for row in log_probs]

    assert allowed([SOS], [0]) == [sorted([a, rain])]
    assert allowed([rain, a, dog], [0, 0, 0]) == [[falls], [dog], []]
    assert allowed([dog, falls], [1, 0]) == [[barks], [EOS]]
    assert allowed([barks, barks], [0, 1]) == [[EOS], []]


def test_only_faithful_captions_are_returned_best_first():
    plan = Plan((DOG, RAIN), Relation.WHILE)
    language = make_language(CAPTIONS)
    worded = word_plan(plan, reciting(CAPTIONS), VOCABULARY, CLASSES, language, options=OPTIONS)
    texts = [caption.text for caption in worded]
    assert texts[0] == CAPTIONS[0]
    assert set(CAPTIONS[1:3]) <= set(texts)
    assert not set(CAPTIONS[3:]) & set(texts)
    scores = [caption.score for caption in worded]
    assert scores == sorted(scores, reverse=True)
    assert all(caption.by_decoder for caption in worded)


def test_fit_may_change_the_order():
    plan = Plan((DOG, RAIN), Relation.WHILE)

    def fit(texts: Sequence[str]) -> np.ndarray:
        return np.array([float(text == CAPTIONS[1]) for text in texts])

    best = word_plan(
        plan,
        reciting(CAPTIONS),
        VOCABULARY,
        CLASSES,
        make_language(CAPTIONS),
        options=OPTIONS,
        fit=fit,
        weight=100.0,
    )[0]
    assert best.text == CAPTIONS[1]
    assert best.fit == 1.0


def test_our_own_sentences_replace_captions_that_are_not_faithful():
    plan = Plan((RAIN,))
    captions = ["a dog barks loudly"]
    language = make_language(captions)
    sentences = plain_captions(plan, CLASSES)
    worded = word_plan(plan, even, VOCABULARY, CLASSES, language, options=OPTIONS)
    assert [caption.text for caption in worded] == sentences
    assert {(caption.score, caption.by_decoder) for caption in worded} == {(0.0, False)}

    def fit(texts: Sequence[str]) -> np.ndarray:
        return np.arange(float(len(texts)))

    ranked = word_plan(plan, even, VOCABULARY, CLASSES, language, options=OPTIONS, fit=fit)
    assert [caption.text for caption in ranked] == sentences[::-1]
