"""Compares systems over seeds and recordings together, with a correction for many comparisons."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auricle.evaluation.bootstrap import Interval, grouped, interval, resample
from auricle.reproduction.captions import CaptionsByFile
from auricle.reproduction.corpus import ScoredSet
from auricle.reproduction.plan import PlannedRun, ReproductionPlan
from auricle.reproduction.stages import Scored

COMPARISON_RESAMPLES = 10_000  # few draws could not give a small p after the correction
COLLAPSED_SHARE = 0.5  # of a run's captions: if more are one and the same, the run is collapsed
FEWEST_SEEDS = 2  # for a comparison: one seed does not tell how much seeds differ
DrawnScores = dict[str, NDArray[np.float64]]  # by metric: (COMPARISON_RESAMPLES,) scores of a run


@dataclass(frozen=True)
class SystemComparison:
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


def diversity(captions: CaptionsByFile) -> Diversity:
    """Counts a run's captions."""
    counts = Counter(captions.values())
    return Diversity(len(captions), len(counts), max(counts.values(), default=0))


def draw_recordings(
    runs: Sequence[PlannedRun], scored: ScoredSet, scores: Mapping[str, Scored]
) -> dict[str, DrawnScores]:
    """Draws recordings of a set, with all their sounds, and returns the scores of each run.

    All runs get the same draws.

    Args:
        runs: the runs to compare.
        scored: the set.
        scores: of each run on the set, by the run's name.

    Returns:
        The drawn scores by the run's name.
    """
    recordings = [item.group or str(item.file) for item in scored.items]
    drawn: dict[str, DrawnScores] = {}
    for run in runs:
        statistics = {
            metric: grouped(statistic, recordings)
            for metric, statistic in scores[run.name].statistics.items()
        }
        drawn[run.name] = resample(statistics, COMPARISON_RESAMPLES, seed=0)
    return drawn


def compare_systems(
    plan: ReproductionPlan,
    scores: Mapping[str, Scored],
    drawn: Mapping[str, DrawnScores],
    first: str,
    second: str,
) -> list[SystemComparison]:
    """Compares two systems by every metric, before the correction.

    Each draw of the bootstrap has the same recordings for both systems, and seeds that are drawn
    for each system by itself.

    Args:
        plan: holds the runs of both systems.
        scores: of each run, by the run's name.
        drawn: the result of `draw_recordings`.
        first: the name of a system.
        second: the name of the system that may be better.

    Returns:
        Nothing if a system has fewer than `FEWEST_SEEDS` seeds.
    """
    names = [[run.name for run in plan.runs if run.system == system] for system in (first, second)]
    if min(map(len, names)) < FEWEST_SEEDS:
        return []
    means = [
        _draw_seeds([drawn[name] for name in of_system], number)
        for number, of_system in enumerate(names)
    ]
    comparisons = []
    for metric in [name for name in means[0] if name in means[1]]:
        one, other = (
            np.mean([scores[name].scores[metric] for name in of_system]) for of_system in names
        )
        gained = means[1][metric] - means[0][metric]
        p = _two_sided_p(gained)
        difference = float(other - one)
        comparisons.append(
            SystemComparison(first, second, metric, difference, interval(gained), p, p)
        )
    return comparisons


def _draw_seeds(runs: Sequence[DrawnScores], number: int) -> DrawnScores:
    """Returns the mean scores of runs that are drawn with replacement.

    Args:
        runs: the drawn scores of a system's seeds.
        number: sets the random numbers.
    """
    generator = np.random.default_rng((1, number))
    chosen = generator.integers(len(runs), size=(len(runs), COMPARISON_RESAMPLES))
    return {
        metric: np.take_along_axis(np.stack([run[metric] for run in runs]), chosen, 0).mean(0)
        for metric in runs[0]
    }


def _two_sided_p(gained: NDArray[np.float64]) -> float:
    below, above = np.count_nonzero(gained <= 0), np.count_nonzero(gained >= 0)
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(gained)))


def correct(comparisons: Sequence[SystemComparison]) -> list[SystemComparison]:
    """Returns comparisons with p corrected for their number (Holm 1979).

    Of all true hypotheses of no difference, one or more is rejected with at most the probability
    at which the corrected p is cut.
    """
    corrected: list[SystemComparison] = list(comparisons)
    highest = 0.0
    order = sorted(range(len(comparisons)), key=lambda place: comparisons[place].p)
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(comparisons) - rank) * comparisons[place].p))
        corrected[place] = replace(comparisons[place], corrected_p=highest)
    return corrected
