"""Computes confidence intervals of scores by the bootstrap (Efron, 1979).

Each draw takes captions with replacement and gets a corpus score. The score is computed from sums
over the drawn captions, so BLEU and METEOR, which are not means, are resampled exactly. CIDEr-D
keeps the document frequencies of all files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
_DRAWS_AT_A_TIME = 100  # limits the memory


@dataclass(frozen=True)
class Statistic:
    """The parts of a corpus score, one row for each caption."""

    values: NDArray[np.float64]  # (captions, columns); the score takes sums over the captions
    # (..., columns) sums -> (...) scores
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Interval:
    """The middle 95 % of the bootstrap's scores."""

    low: float
    high: float


def mean(values: NDArray[np.float64]) -> Statistic:
    """Returns the statistic of a plain mean; NaN stands for a caption without a score."""
    scored = ~np.isnan(values)
    return Statistic(
        np.stack([np.where(scored, values, 0.0), scored.astype(np.float64)], axis=1), _quotient
    )


def _quotient(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean of (..., 2) sums of scores and counts; NaN for a draw without a score."""
    with np.errstate(invalid="ignore"):
        return sums[..., 0] / sums[..., 1]


def grouped(statistic: Statistic, groups: Sequence[str]) -> Statistic:
    """Sums a statistic over groups, so that `resample` draws whole groups.

    Captions of one recording are similar. Drawing them singly would give too narrow an interval.
    """
    numbers = np.unique(np.array(groups), return_inverse=True)[1]
    sums = np.zeros((numbers.max() + 1, statistic.values.shape[1]))
    np.add.at(sums, numbers, statistic.values)
    return Statistic(sums, statistic.score)


def resample(
    statistics: Mapping[str, Statistic], resamples: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Returns the corpus scores of `resamples` draws, by metric.

    The same number of captions and seed give the same draws.
    """
    if not statistics or not resamples:
        return {}
    captions = len(next(iter(statistics.values())).values)
    generator = np.random.default_rng(seed)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    for start in range(0, resamples, _DRAWS_AT_A_TIME):
        size = min(_DRAWS_AT_A_TIME, resamples - start)
        times = generator.multinomial(captions, np.full(captions, 1 / captions), size=size).astype(
            np.float64
        )
        for name, statistic in statistics.items():
            drawn[name].append(statistic.score(times @ statistic.values))
    return {name: np.concatenate(scores) for name, scores in drawn.items()}


def interval(drawn: NDArray[np.float64]) -> Interval:
    """Returns the interval of `drawn` scores; ignores draws without a score (NaN)."""
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
