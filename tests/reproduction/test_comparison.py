"""Comparisons tell of other sounds and other seeds, and are corrected for their number."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.data.manifest import Item
from auricle.evaluation.bootstrap import Interval, mean

pytest.importorskip("torch", reason="trainings run on torch: pip install 'auricle[train]'")

from auricle.reproduction.comparison import (
    SystemComparison,
    compare_systems,
    correct,
    diversity,
    draw_recordings,
)
from auricle.reproduction.corpus import ScoredSet
from auricle.reproduction.plan import PlannedRun, ReproductionPlan
from auricle.reproduction.stages import Scored

SOUNDS = 40


def compared(first: np.ndarray, second: np.ndarray) -> list[SystemComparison]:
    """Compares two systems by one metric, given as (seeds, sounds)."""
    runs, scores = [], {}
    for system, values in (("first", first), ("second", second)):
        for seed, of_sounds in enumerate(values):
            run = PlannedRun(system, seed, cast(Any, None), "none")
            runs.append(run)
            scores[run.name] = Scored(
                {"metric": float(of_sounds.mean())}, {}, {"metric": mean(of_sounds)}
            )
    items = [Item(Path(f"{number}.wav"), "valid", ("a",)) for number in range(SOUNDS)]
    drawn = draw_recordings(runs, ScoredSet("valid", items), scores)
    return compare_systems(
        ReproductionPlan("small", tuple(runs), ()), scores, drawn, "first", "second"
    )


def test_seeds_that_differ_widen_the_interval():
    """Each sound scores the same within a seed, so only seeds can tell that nothing is certain."""
    seeds = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    first, second = (np.tile((seeds + gain)[:, None], SOUNDS) for gain in (0.0, 0.05))
    (comparison,) = compared(first, second)
    assert comparison.difference == pytest.approx(0.05)
    assert comparison.interval.low < -0.05
    assert comparison.interval.high > 0.15
    assert comparison.p > 0.2


def test_sounds_that_differ_widen_the_interval():
    sounds = np.random.default_rng(0).normal(0, 1, SOUNDS)
    first, second = np.zeros((5, SOUNDS)), np.tile(sounds, (5, 1))
    (comparison,) = compared(first, second)
    expected = 1.96 * sounds.std() / np.sqrt(SOUNDS)
    assert comparison.interval.high - comparison.difference == pytest.approx(expected, rel=0.1)


def test_a_gain_of_all_sounds_and_seeds_is_certain():
    noise = np.random.default_rng(0).normal(0, 0.01, (5, SOUNDS))
    (comparison,) = compared(noise, noise + 1)
    assert comparison.interval.low > 0.9
    assert comparison.p < 0.001


def test_one_seed_is_not_compared():
    assert compared(np.zeros((1, SOUNDS)), np.ones((5, SOUNDS))) == []


def comparisons(values: list[float]) -> list[SystemComparison]:
    return [SystemComparison("a", "b", "metric", 0.0, Interval(0.0, 0.0), p, p) for p in values]


def test_the_correction_is_holms():
    corrected = correct(comparisons([0.01, 0.04, 0.03, 0.005]))
    assert [comparison.corrected_p for comparison in corrected] == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=20))
def test_a_correction_never_helps_and_keeps_the_order(values: list[float]):
    corrected = correct(comparisons(values))
    assert all(each.p <= each.corrected_p <= 1 for each in corrected)
    ordered = sorted(corrected, key=lambda each: each.p)
    assert [each.corrected_p for each in ordered] == sorted(each.corrected_p for each in corrected)


def test_one_caption_for_most_sounds_is_a_collapse():
    captions = {f"{number}.wav": "A sound." if number else "A dog." for number in range(10)}
    found = diversity(captions)
    assert (found.captions, found.distinct, found.most_frequent) == (10, 2, 9)
    assert found.collapsed
    assert not diversity({name: name for name in captions}).collapsed
