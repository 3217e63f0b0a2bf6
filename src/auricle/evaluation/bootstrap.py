"""How far a score may lie from another set of captions of the same kind: the bootstrap (Efron,
1979).

Captions are drawn with replacement and the corpus score of every draw is computed from what the
captions add to it, so that BLEU and METEOR, which are no means, are resampled exactly. CIDEr-D
keeps the document frequencies of all files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
_BLOCK = 100  # draws at a time, which bounds the memory


@dataclass(frozen=True)
class Statistic:
    """What a corpus score is made of."""

    values: NDArray[np.float64]  # (captions, columns), which add up
    # (..., columns) sums -> (...) scores
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Interval:
    """The middle 95 % of the bootstrap's scores."""

    low: float
    high: float


def mean(values: NDArray[np.float64]) -> Statistic:
    """The statistic of a plain mean."""
    return Statistic(
        np.stack([values, np.ones_like(values)], axis=1), lambda sums: sums[..., 0] / sums[..., 1]
    )


def grouped(statistic: Statistic, groups: Sequence[str]) -> Statistic:
    """The same, to be drawn by whole groups: captions of one recording are alike, and drawn singly
    would seem surer.
    """
    numbers = np.unique(np.array(groups), return_inverse=True)[1]
    sums = np.zeros((numbers.max() + 1, statistic.values.shape[1]))
    np.add.at(sums, numbers, statistic.values)
    return Statistic(sums, statistic.score)


def resample(
    statistics: Mapping[str, Statistic], resamples: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """The corpus scores of `resamples` draws, by metric. The same number of captions and seed give
    the same draws.
    """
    if not statistics or not resamples:
        return {}
    captions = len(next(iter(statistics.values())).values)
    generator = np.random.default_rng(seed)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    for start in range(0, resamples, _BLOCK):
        size = min(_BLOCK, resamples - start)
        times = generator.multinomial(captions, np.full(captions, 1 / captions), size=size).astype(
            np.float64
        )
        for name, statistic in statistics.items():
            drawn[name].append(statistic.score(times @ statistic.values))
    return {name: np.concatenate(scores) for name, scores in drawn.items()}


def interval(drawn: NDArray[np.float64]) -> Interval:
    """The interval that `drawn` scores give."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
