"""CIDEr-D (Vedantam et al., 2015): n = 4, sigma = 6, document frequencies of a fixed set of references.

Fast enough for a training loop, and equal to pycocoevalcap's `CiderScorer` to the last bit: every sum is taken in its
order, and n-grams that a reference lacks, which add nothing, are never visited.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

N = 4
SIGMA = 6.0

_NGram = tuple[str, ...]


@dataclass(frozen=True)
class _References:
    """The references of one file, inverted: which of them hold an n-gram, and its weight there."""

    postings: dict[_NGram, list[tuple[int, float]]]
    norms: list[list[float]]  # by reference, by n
    lengths: list[int]  # in bigrams, as the reference counts


class CiderD:
    """CIDEr-D against fixed references, `{file: its tokenized references}`; `scorer(file, candidate)` scores one.

    Scored against all files of a set, the mean is the set's CIDEr-D; in training the set is the training data.
    """

    def __init__(self, references: Mapping[str, Sequence[str]]) -> None:
        cooked = {file: [_count(caption) for caption in captions] for file, captions in references.items()}
        frequency = Counter(ngram for counts in cooked.values() for ngram in {n for count in counts for n in count})
        log_files = float(np.log(float(len(cooked)))) if cooked else 0.0
        # numpy's logarithm, not math's: they differ in the last bit.
        idf = {count: log_files - float(np.log(float(count))) for count in set(frequency.values())}
        self._idf = {ngram: idf[count] for ngram, count in frequency.items()}
        self._idf_of_unseen = log_files
        self._penalty: dict[int, float] = {}
        self._references = {file: self._invert(counts) for file, counts in cooked.items()}

    def __call__(self, file: str, candidate: str) -> float:
        """The score of one tokenized candidate, 0 to 10."""
        references = self._references[file]
        number = len(references.norms)
        products = [[0.0] * N for _ in range(number)]
        squares = [0.0] * N
        bigrams = 0
        for ngram, count in _count(candidate).items():
            n = len(ngram) - 1
            weight = count * self._idf.get(ngram, self._idf_of_unseen)
            squares[n] += weight**2
            if n == 1:
                bigrams += count
            for index, theirs in references.postings.get(ngram, ()):
                products[index][n] += (weight if weight < theirs else theirs) * theirs
        norms = [math.sqrt(square) for square in squares]
        total = [0.0] * N
        for product, their_norms, length in zip(products, references.norms, references.lengths, strict=True):
            penalty = self._length_penalty(bigrams - length)
            for n in range(N):
                if product[n]:
                    total[n] += product[n] / (norms[n] * their_norms[n]) * penalty
        # Spelled out: from Python 3.12 on, sum() compensates its rounding, which the reference does not.
        return (total[0] + total[1] + total[2] + total[3]) / N / number * 10.0

    def scores(self, candidates: Iterable[tuple[str, str]]) -> list[float]:
        """The scores of (file, tokenized candidate) pairs."""
        return [self(file, candidate) for file, candidate in candidates]

    def _invert(self, counts: Sequence[Mapping[_NGram, int]]) -> _References:
        postings: dict[_NGram, list[tuple[int, float]]] = {}
        norms = []
        for index, count in enumerate(counts):
            squares = [0.0] * N
            for ngram, times in count.items():
                weight = times * self._idf[ngram]
                squares[len(ngram) - 1] += weight**2
                postings.setdefault(ngram, []).append((index, weight))
            norms.append([math.sqrt(square) for square in squares])
        lengths = [sum(times for ngram, times in count.items() if len(ngram) == 2) for count in counts]
        return _References(postings, norms, lengths)

    def _length_penalty(self, difference: int) -> float:
        penalty = self._penalty.get(difference)
        if penalty is None:
            penalty = self._penalty[difference] = math.e ** (-(float(difference) ** 2) / (2 * SIGMA**2))
        return penalty


def _count(caption: str) -> dict[_NGram, int]:
    """How often each n-gram of 1 to 4 words stands in a caption, by n, then by first place."""
    words = caption.split()
    counts: dict[_NGram, int] = {}
    for n in range(1, N + 1):
        for ngram in zip(*(words[start:] for start in range(n)), strict=False):
            counts[ngram] = counts.get(ngram, 0) + 1
    return counts
