"""Beam search, on small languages whose every sentence can be listed."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.captioning.beam_search import Hypothesis, NextLogProbs, beam_search
from auricle.checkpoint.config import BeamOptions

BOS, EOS = 0, 1
WORDS = 5  # tokens of a language, both ends among them
FREE = BeamOptions(min_length=0, max_length=3, no_repeat_words=False)
seeds = st.integers(0, 2**32 - 1)


class Language:
    """Log-probabilities of the next token that depend on all tokens before, drawn anew for each
    history.

    It is asked as a network is, and keeps what it has read as a key/value cache would be kept: by
    `parents`. A wrong row would give it another history, and so another answer.
    """

    def __init__(self, seeds: Sequence[int], words: int = WORDS, *, grid: bool = False) -> None:
        self.seeds, self.words, self.grid = seeds, words, grid
        self.histories: list[tuple[int, ...]] = [()] * len(seeds)
        self.owners = list(range(len(seeds)))  # the item that each row belongs to
        self.calls = 0
        self._drawn: dict[tuple[int, ...], np.ndarray] = {}

    def table(self, item: int, history: tuple[int, ...]) -> np.ndarray:
        if (drawn := self._drawn.get((item, *history))) is None:
            rng = np.random.default_rng([self.seeds[item], *history])
            logits = rng.integers(0, 2, self.words) if self.grid else rng.normal(0, 2, self.words)
            drawn = self._drawn[item, *history] = logits - np.log(np.exp(logits).sum())
        return drawn

    def __call__(self, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        items = len(self.seeds)
        if self.calls == 0:
            assert tokens.tolist() == [BOS] * items
            assert parents.tolist() == list(range(items))
        assert len(tokens) == len(parents)
        assert len(tokens) % items == 0
        owners = [self.owners[parent] for parent in parents]
        # ordered by item
        assert owners == [row // (len(tokens) // items) for row in range(len(tokens))]
        before = [self.histories[parent] for parent in parents]
        self.histories = [(*b, int(t)) for b, t in zip(before, tokens, strict=True)]
        self.owners, self.calls = owners, self.calls + 1
        return np.stack(
            [self.table(o, h) for o, h in zip(owners, self.histories, strict=True)]
        ).astype(np.float32)


def search(language: NextLogProbs, options: BeamOptions, **arguments) -> list[list[Hypothesis]]:
    return beam_search(language, BOS, EOS, options, **arguments)


def exhaustive(
    seed: int, options: BeamOptions, forbidden: Sequence[int] = (), repeatable: Sequence[int] = ()
):
    """Every sentence that the options allow, the best first."""
    language = Language([seed])
    found = []
    words = [w for w in range(WORDS) if w != EOS and w not in forbidden]
    for length in range(options.min_length, options.max_length + 1):
        for tokens in itertools.product(words, repeat=length):
            content = [t for t in tokens if t not in repeatable]
            if options.no_repeat_words and len(set(content)) < len(content):
                continue
            size = options.no_repeat_ngram
            ngrams = [tokens[i : i + size] for i in range(length - size + 1)]
            if size and len(set(ngrams)) < len(ngrams):
                continue
            sentence = (BOS, *tokens, EOS)
            total = sum(
                float(language.table(0, sentence[:i]).astype(np.float32)[sentence[i]])
                for i in range(1, len(sentence))
            )
            found.append(Hypothesis(tokens, total, total / (length + 1) ** options.length_penalty))
    return sorted(found, key=lambda h: -h.score)


def assert_same(ours: Sequence[Hypothesis], theirs: Sequence[Hypothesis]) -> None:
    assert [h.tokens for h in ours] == [h.tokens for h in theirs]
    np.testing.assert_allclose([h.log_prob for h in ours], [h.log_prob for h in theirs], rtol=1e-5)
    np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], rtol=1e-5)


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize(("shortest", "longest"), [(0, 0), (0, 3), (1, 2), (3, 3)])
@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_a_wide_beam_is_exhaustive(length_penalty: float, shortest: int, longest: int, seed: int):
    options = BeamOptions(WORDS**4, length_penalty, shortest, longest, no_repeat_words=False)
    assert_same(search(Language([seed]), options)[0], exhaustive(seed, options))


@settings(max_examples=10, deadline=None)
@given(
    seed=seeds,
    ngram=st.integers(0, 3),
    once=st.booleans(),
    forbidden=st.sets(st.integers(2, WORDS - 1), max_size=2),
    repeatable=st.sets(st.integers(2, WORDS - 1)),
)
def test_a_wide_beam_is_exhaustive_under_constraints(
    seed: int, ngram: int, once: bool, forbidden, repeatable
):
    options = BeamOptions(WORDS**4, 0.6, 1, 4, no_repeat_ngram=ngram, no_repeat_words=once)
    ours = search(Language([seed]), options, forbidden=forbidden, repeatable=repeatable)[0]
    assert_same(ours, exhaustive(seed, options, sorted(forbidden), sorted(repeatable)))


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_beam_1_is_greedy(seed: int):
    language = Language([seed])
    options = replace(FREE, beam=1, max_length=6)
    tokens: tuple[int, ...] = ()
    while len(tokens) < options.max_length:
        best = int(language.table(0, (BOS, *tokens)).argmax())
        if best == EOS:
            break
        tokens = (*tokens, best)
    assert [h.tokens for h in search(language, options)[0]] == [tokens]


@settings(max_examples=20, deadline=None)
@given(
    item_seeds=st.lists(seeds, min_size=1, max_size=5), beam=st.integers(1, 6), grid=st.booleans()
)
def test_batched_equals_one_by_one(item_seeds: list[int], beam: int, grid: bool):
    options = BeamOptions(
        beam, min_length=1, max_length=6, no_repeat_ngram=2, no_repeat_words=False
    )
    together = search(Language(item_seeds, grid=grid), options, items=len(item_seeds))
    alone = [search(Language([seed], grid=grid), options)[0] for seed in item_seeds]
    assert together == alone


@settings(max_examples=20, deadline=None)
@given(seed=seeds, beam=st.integers(1, 8))
def test_ties_are_settled_alike(seed: int, beam: int):
    """Where most continuations are equally likely, the result is the same again, and not by luck of
    the sort."""
    options = BeamOptions(beam, min_length=0, max_length=5, no_repeat_words=False)
    first = search(Language([seed], grid=True), options)
    assert all(search(Language([seed], grid=True), options) == first for _ in range(3))


def test_of_equals_the_lower_token_comes_first():
    def uniform(tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        del parents
        return np.full((len(tokens), 64), -np.log(64), np.float32)

    options = BeamOptions(2, min_length=2, max_length=2, no_repeat_words=False)
    assert [h.tokens for h in search(uniform, options, forbidden=[BOS])[0]] == [(2, 2), (2, 3)]


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    beam=st.integers(1, 8),
    shortest=st.integers(0, 4),
    more=st.integers(0, 4),
    ngram=st.integers(0, 3),
)
def test_what_always_holds(seed: int, beam: int, shortest: int, more: int, ngram: int):
    options = BeamOptions(
        beam, 0.6, shortest, shortest + more, no_repeat_ngram=ngram, no_repeat_words=False
    )
    language = Language([seed])
    hypotheses = search(language, options)[0]
    assert 1 <= len(hypotheses) <= beam
    assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)
    assert len({h.tokens for h in hypotheses}) == len(hypotheses)
    assert language.calls <= options.max_length + 1
    for h in hypotheses:
        assert options.min_length <= len(h.tokens) <= options.max_length
        assert EOS not in h.tokens
        assert h.score == pytest.approx(h.log_prob / (len(h.tokens) + 1) ** 0.6)
        if ngram:
            ngrams = [h.tokens[i : i + ngram] for i in range(len(h.tokens) - ngram + 1)]
            assert len(set(ngrams)) == len(ngrams)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, repeatable=st.sets(st.integers(2, 9)))
def test_only_repeatable_words_are_repeated(seed: int, repeatable: set[int]):
    options = BeamOptions(4, min_length=6, max_length=7)
    for hypothesis in search(Language([seed], 10), options, forbidden=[BOS], repeatable=repeatable)[
        0
    ]:
        once = [t for t in hypothesis.tokens if t not in repeatable]
        assert len(set(once)) == len(once)
        assert BOS not in hypothesis.tokens


def test_where_no_sentence_is_allowed_there_is_none():
    """Three words, none twice, and five expected at least; another item of the batch is not held
    up."""
    options = BeamOptions(2, min_length=5, max_length=8)
    assert search(Language([0, 1]), options, items=2, forbidden=[BOS]) == [[], []]


def test_a_call_has_a_row_for_each_hypothesis():
    sizes = []

    class Counted(Language):
        def __call__(self, tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
            sizes.append(len(tokens))
            return super().__call__(tokens, parents)

    search(
        Counted([0, 1, 2]),
        BeamOptions(4, min_length=3, max_length=5, no_repeat_words=False),
        items=3,
    )
    assert sizes[0] == 3
    assert set(sizes[1:]) == {12}


@pytest.mark.parametrize(
    "wrong",
    [{"beam": 0}, {"min_length": -1}, {"min_length": 9, "max_length": 8}],
    ids=lambda wrong: " ".join(wrong),
)
def test_senseless_options_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=r"beam is 0|min_length is"):
        BeamOptions(**wrong)
