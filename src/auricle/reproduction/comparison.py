"""Compares systems over seeds and recordings together, with a correction for many comparisons."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auricle.evaluation.bootstrap import Interval, grouped, interval, resample
from auricle.reproduction.captions import Captions
from auricle.reproduction.corpus import ScoredSet
from auricle.reproduction.plan import Plan
from auricle.reproduction.stages import Scored

RESAMPLES = 10_000  # few draws could not give a small p after the correction
COLLAPSED_SHARE = 0.5  # of a run's captions: if more are one and the same, the run is collapsed
FEWEST_SEEDS = 2  # for a comparison: one seed does not tell how much seeds differ


@dataclass(frozen=True)
class Comparison:
    """The difference of two systems in one metric on one set."""

    first: str
    second: str
    metric: str
    difference: float  # of the means over seeds, second - first
    interval: Interval  # of the difference
    p: float  # two-sided, of no difference
    corrected_p: float  # after Holm's correction; see `correct`


@dataclass(frozen=True)
class Diversity:
    """How many different captions a run gave."""

    captions: int
    distinct: int
    most_frequent: int  # how often it gave its most frequent caption

    @property
    def collapsed(self) -> bool:
        """Whether most captions are one and the same."""
        return self.most_frequent > COLLAPSED_SHARE * self.captions


def diversity(captions: Captions) -> Diversity:
    """Counts a run's captions."""
    counts = Counter(captions.values())
    return Diversity(len(captions), len(counts), max(counts.values(), default=0))


def compare_systems(
    plan: Plan, scored: ScoredSet, found: Mapping[str, Scored], first: str, second: str
) -> list[Comparison]:
    """Compares two systems by every metric, before the correction.

    Each draw of the bootstrap draws recordings, with all their sounds and the same for both
    systems, and seeds, for each system by itself.

    Returns:
        Nothing if a system has fewer than `FEWEST_SEEDS` seeds.
    """
    runs = [
        [found[run.name] for run in plan.runs if run.system == system] for system in (first, second)
    ]
    if min(map(len, runs)) < FEWEST_SEEDS:
        return []
    together = [item.group or str(item.file) for item in scored.items]
    drawn = [_draw_seeds(its_runs, together, number) for number, its_runs in enumerate(runs)]
    comparisons = []
    for metric in [name for name in drawn[0] if name in drawn[1]]:
        one, other = (np.mean([its.scores[metric] for its in its_runs]) for its_runs in runs)
        gained = drawn[1][metric] - drawn[0][metric]
        p = _two_sided_p(gained)
        difference = float(other - one)
        comparisons.append(Comparison(first, second, metric, difference, interval(gained), p, p))
    return comparisons


def _draw_seeds(
    runs: Sequence[Scored], together: Sequence[str], number: int
) -> dict[str, NDArray[np.float64]]:
    """Returns the mean scores of seeds drawn with replacement, (draws,) by metric."""
    of_seeds = [
        # The same generator for all runs, and so the same recordings.
        resample({n: grouped(s, together) for n, s in run.statistics.items()}, RESAMPLES, seed=0)
        for run in runs
    ]
    generator = np.random.default_rng((1, number))
    chosen = generator.integers(len(runs), size=(len(runs), RESAMPLES))
    return {
        metric: np.take_along_axis(np.stack([its[metric] for its in of_seeds]), chosen, 0).mean(0)
        for metric in of_seeds[0]
    }


def _two_sided_p(gained: NDArray[np.float64]) -> float:
    below, above = np.count_nonzero(gained <= 0), np.count_nonzero(gained >= 0)
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(gained)))


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Returns comparisons with p corrected for their number (Holm 1979).

    Of all true hypotheses of no difference, one or more is rejected with at most the probability
    at which the corrected p is cut.
    """
    corrected: list[Comparison] = list(comparisons)
    highest = 0.0
    order = sorted(range(len(comparisons)), key=lambda place: comparisons[place].p)
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(comparisons) - rank) * comparisons[place].p))
        corrected[place] = replace(comparisons[place], corrected_p=highest)
    return corrected
