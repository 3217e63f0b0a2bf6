"""Computes CIDEr-D (Vedantam et al., 2015) with n = 4 and sigma = 6.

The document frequencies are those of a fixed set of references. The code is fast enough for a
training loop, and equal to pycocoevalcap's `CiderScorer` to the last bit: it adds in the same order
and skips only n-grams that a reference lacks, which add nothing.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LONGEST_CIDER_NGRAM = 4
SIGMA = 6.0

_NGram = tuple[str, ...]


@dataclass(frozen=True)
class _Vector:
    """The n-gram weights of a caption, as in the reference implementation."""

    weights: dict[_NGram, float]  # tf-idf
    norms: list[float]  # by n
    length: int  # in bigrams, as the reference implementation counts


class CiderD:
    """Computes CIDEr-D against fixed references, `{file: tokenized references}`.

    `scorer(file, candidate)` scores one caption. The mean over all files of a set is the set's
    CIDEr-D; in training the set is the training data. With one file every score is 0, because the
    inverse document frequency of every word is 0.
    """

    def __init__(self, references: Mapping[str, Sequence[str]]) -> None:
        cooked = {
            file: [_count(caption) for caption in captions] for file, captions in references.items()
        }
        frequency = Counter(
            ngram for counts in cooked.values() for ngram in {n for count in counts for n in count}
        )
        log_files = float(np.log(float(len(cooked)))) if cooked else 0.0
        # The logarithms of numpy and math differ in the last bit; pycocoevalcap uses numpy's.
        idf = {count: log_files - float(np.log(float(count))) for count in set(frequency.values())}
        self._idf = {ngram: idf[count] for ngram, count in frequency.items()}
        self._idf_of_unseen = log_files
        self._penalty: dict[int, float] = {}
        self._references = {
            file: [self._vector(count) for count in counts] for file, counts in cooked.items()
        }
        # Most n-grams of a candidate occur in none of its references.
        self._known = {file: frozenset().union(*counts) for file, counts in cooked.items()}

    def __call__(self, file: str, candidate: str) -> float:
        """Returns the score of one tokenized candidate, 0 to 10."""
        references = self._references[file]
        candidate_vector = self._vector(_count(candidate))
        known = self._known[file]
        weights = [
            (ngram, len(ngram) - 1, weight)
            for ngram, weight in candidate_vector.weights.items()
            if ngram in known
        ]
        total = [0.0] * LONGEST_CIDER_NGRAM
        for reference in references:
            product = [0.0] * LONGEST_CIDER_NGRAM
            weight_in_reference = reference.weights.get
            for ngram, n, weight in weights:
                other = weight_in_reference(ngram)
                if other is not None:
                    product[n] += (weight if weight < other else other) * other
            penalty = self._length_penalty(candidate_vector.length - reference.length)
            for n in range(LONGEST_CIDER_NGRAM):
                if product[n]:
                    total[n] += (
                        product[n] / (candidate_vector.norms[n] * reference.norms[n]) * penalty
                    )
        # Does not use sum(): since Python 3.12 it compensates its rounding, unlike the reference
        # implementation.
        return (
            (total[0] + total[1] + total[2] + total[3])
            / LONGEST_CIDER_NGRAM
            / len(references)
            * 10.0
        )

    def scores(self, candidates: Iterable[tuple[str, str]]) -> list[float]:
        """Returns the scores of (file, tokenized candidate) pairs."""
        return [self(file, candidate) for file, candidate in candidates]

    def _vector(self, counts: Mapping[_NGram, int]) -> _Vector:
        weights = {}
        squares = [0.0] * LONGEST_CIDER_NGRAM
        length = 0
        for ngram, count in counts.items():
            n = len(ngram) - 1
            weights[ngram] = weight = count * self._idf.get(ngram, self._idf_of_unseen)
            squares[n] += weight**2
            if n == 1:
                length += count
        return _Vector(weights, [math.sqrt(square) for square in squares], length)

    def _length_penalty(self, difference: int) -> float:
        penalty = self._penalty.get(difference)
        if penalty is None:
            penalty = self._penalty[difference] = math.e ** (
                -(float(difference) ** 2) / (2 * SIGMA**2)
            )
        return penalty


def _count(caption: str) -> dict[_NGram, int]:
    """Counts the n-grams of 1 to 4 words in a caption, ordered by n, then by first place."""
    words = caption.split()
    counts: dict[_NGram, int] = {}
    for n in range(1, LONGEST_CIDER_NGRAM + 1):
        for ngram in zip(*(words[start:] for start in range(n)), strict=False):
            counts[ngram] = counts.get(ngram, 0) + 1
    return counts
