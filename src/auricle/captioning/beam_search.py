"""Beam search over any function that gives the log-probabilities of the next token."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from auricle.checkpoint.config import BeamOptions
from auricle.checkpoint.vocabulary import EOS, PAD, SOS, UNKNOWN, Vocabulary

# Values that `_largest` takes the maximum of at once.
BLOCK = 64

# (tokens, parents) -> log-probabilities of the next token, (rows, vocabulary).
#
# `tokens` (rows,) is the last token of each hypothesis, and `parents` (rows,) the row of the call
# before from which the hypothesis grew: a key/value cache is reordered by it. Rows are ordered by
# item, with equally many for each item: one at the first call, beam-size many from the second on.
# `parents` of the first call is the item's own number.
NextLogProbs = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Hypothesis:
    """A finished sequence: its tokens without beginning and end, and its score."""

    tokens: tuple[int, ...]
    log_prob: float  # of all tokens and the end
    score: float  # log_prob, length-normalised


def beam_search(
    next_log_probs: NextLogProbs,
    bos: int,
    eos: int,
    options: BeamOptions,
    *,
    items: int = 1,
    forbidden: Collection[int] = (),
    repeatable: Collection[int] = (),
) -> list[list[Hypothesis]]:
    """The best sequences for each of a batch of items.

    Every step considers the `2 * beam` best continuations of an item. Those of the first `beam`
    that end are finished; the best `beam` of the others go on. An item is done when `beam`
    hypotheses have finished. The result of one item does not depend on the others.

    Args:
        next_log_probs: the model; see `NextLogProbs`.
        bos: the token before every sequence.
        eos: the token that ends it.
        options: the parameters of the search.
        items: the size of the batch.
        forbidden: tokens that never occur.
        repeatable: tokens that may occur twice although `no_repeat_words` is set.

    Returns:
        For each item its finished hypotheses, the best first; at most `options.beam`.
    """
    beam = options.beam
    finished: list[list[Hypothesis]] = [[] for _ in range(items)]
    done = np.zeros(items, bool)
    last, parents = np.full(items, bos), np.arange(items)
    histories = np.zeros((items, 0), int)  # (rows, length)
    # (rows,): log-probability of each living hypothesis, -inf where there is none
    totals = np.zeros(items)
    penalty = may_repeat = np.zeros(0)  # (words,), as soon as their number is known
    for length in range(options.max_length + 1):
        log_probs = np.array(next_log_probs(last, parents), np.float64)
        width, words = len(last) // items, log_probs.shape[1]
        if length == 0:
            penalty, may_repeat = np.zeros(words), np.zeros(words, bool)
            penalty[list(forbidden)] = -np.inf
            may_repeat[list(repeatable)] = True
        log_probs += penalty
        _apply_options(log_probs, histories, eos, options, may_repeat)
        continuations = (totals[:, None] + log_probs).reshape(items, -1)
        # Every item keeps `beam` rows even if fewer hypotheses live; the spare rows grow from the
        # item's first row.
        parents = np.repeat(np.arange(items) * width, beam).reshape(items, beam)
        last = np.full((items, beam), eos)
        totals = np.full((items, beam), -np.inf)
        for item in np.flatnonzero(~done):
            alive = 0
            for rank, choice in enumerate(_largest(continuations[item], 2 * beam)):
                total = float(continuations[item, choice])
                if total == -np.inf or alive == beam:
                    break
                row, token = divmod(int(choice), words)
                row += int(item) * width
                if token != eos:
                    parents[item, alive], last[item, alive], totals[item, alive] = row, token, total
                    alive += 1
                elif rank < beam:
                    score = total / (length + 1) ** options.length_penalty
                    finished[item].append(Hypothesis(tuple(histories[row].tolist()), total, score))
            done[item] = alive == 0 or len(finished[item]) >= beam
        if done.all():
            break
        parents, last, totals = parents.ravel(), last.ravel(), totals.ravel()
        histories = np.concatenate([histories[parents], last[:, None]], 1)
    return [sorted(hypotheses, key=lambda h: -h.score)[:beam] for hypotheses in finished]


def search_captions(
    next_log_probs: NextLogProbs,
    vocabulary: Vocabulary,
    options: BeamOptions,
    items: int = 1,
    without: Collection[int] = (),
) -> list[list[Hypothesis]]:
    """Beam search over the words of a vocabulary; see `beam_search`.

    Stop words, and characters of scripts without blanks, may occur twice.

    Args:
        next_log_probs: the model; see `NextLogProbs`.
        vocabulary: the words.
        options: the parameters of the search.
        items: the size of the batch.
        without: words that never occur.
    """
    return beam_search(
        next_log_probs,
        SOS,
        EOS,
        options,
        items=items,
        forbidden=(PAD, SOS, UNKNOWN, *without),
        repeatable=vocabulary.repeatable_numbers,
    )


def _apply_options(
    log_probs: np.ndarray,
    histories: np.ndarray,
    eos: int,
    options: BeamOptions,
    may_repeat: np.ndarray,
) -> None:
    """Sets the log-probabilities, (rows, words), of tokens that the options forbid to -inf."""
    length, words = histories.shape[1], log_probs.shape[1]
    if length < options.min_length:
        log_probs[:, eos] = -np.inf
    if length == options.max_length:
        log_probs[:, np.arange(words) != eos] = -np.inf
    if options.no_repeat_words:
        _forbid_words(log_probs, histories, may_repeat)
    if options.no_repeat_ngram:
        _forbid_ngrams(log_probs, histories, options.no_repeat_ngram)


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of the largest values, the largest first; of equal ones the first comes first.

    Values of -inf may be left out.
    """
    count = min(count, len(values))
    # At least `count` values reach the count-th largest of the maxima of blocks, so every value
    # below it can be skipped. A partition of all values would take most of the search's time.
    maxima = values[: len(values) // BLOCK * BLOCK].reshape(-1, BLOCK).max(1)
    threshold = np.sort(maxima)[-count] if len(maxima) >= count else -np.inf
    # Where few words may follow, most values are -inf, and sorting them would take long.
    candidates = np.flatnonzero(values >= max(threshold, np.finfo(values.dtype).min))
    return candidates[np.argsort(-values[candidates], kind="stable")][:count]


def _forbid_words(log_probs: np.ndarray, histories: np.ndarray, may_repeat: np.ndarray) -> None:
    rows, positions = np.nonzero(~may_repeat[histories])
    log_probs[rows, histories[rows, positions]] = -np.inf


def _forbid_ngrams(log_probs: np.ndarray, histories: np.ndarray, size: int) -> None:
    if histories.shape[1] < size:
        return
    last = histories[:, histories.shape[1] - size + 1 :]  # the start of an n-gram: (rows, size - 1)
    followers = histories[:, size - 1 :]
    occurs = np.ones(followers.shape, bool)  # whether that start stands before each follower
    for place in range(size - 1):
        occurs &= histories[:, place : place + followers.shape[1]] == last[:, place, None]
    rows, positions = np.nonzero(occurs)
    log_probs[rows, followers[rows, positions]] = -np.inf
