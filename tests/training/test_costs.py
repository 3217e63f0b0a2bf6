"""Costs are counted: design.md's figure for CNN10, and what a frozen encoder saves."""

from pathlib import Path

import pytest

from auricle.training.config import load_recipe
from auricle.training.costs import CAPTION_WORDS, estimated_costs, stage_costs
from auricle.training.parameters import CLOTHO_WORDS


def test_cnn10_costs_67_gflop_for_half_a_minute():
    costs = estimated_costs(load_recipe(Path("paper")), CLOTHO_WORDS + 4, 30)
    assert costs["pre-encoder"].forward == pytest.approx(67e9, rel=0.02)
    for cost in costs.values():
        assert cost.training == 3 * cost.forward
        assert cost.memory(2) - cost.memory(1) == cost.activations + cost.workspace
    captioner = costs["captioner"]
    assert captioner.weights >= 4 * 8_512_081
    assert captioner.moments == 2 * captioner.gradients == 2 * captioner.weights


def test_a_moving_average_takes_as_much_as_the_weights():
    plain, averaged = (
        stage_costs(load_recipe(Path("scratch"), [f"train.ema={decay}"]), 1000, 5)["captioner"]
        for decay in (0, 0.9)
    )
    assert averaged.weights == 2 * plain.weights
    assert averaged.memory(4) - plain.memory(4) == plain.weights


def test_a_large_vocabulary_takes_workspace():
    small, large = (
        stage_costs(load_recipe(Path("scratch")), words, 5)["captioner"] for words in (500, 50_000)
    )
    assert large.workspace > small.workspace + 4 * CAPTION_WORDS * 49_000


def test_what_is_frozen_is_not_learnt():
    learnt, frozen = (
        stage_costs(load_recipe(Path("scratch"), [f"train.encoder_rate={rate}"]), 1000, 5)[
            "captioner"
        ]
        for rate in (1, 0)
    )
    assert learnt.forward == frozen.forward
    assert frozen.training < 0.4 * learnt.training
    assert frozen.activations < learnt.activations
    assert frozen.gradients < learnt.gradients


def test_systems_share_the_count_of_a_network(monkeypatch: pytest.MonkeyPatch):
    recipes = [load_recipe(Path(name)) for name in ("scratch", "exp1", "paper")]
    known = [stage_costs(recipe, 1234, 1.0)["captioner"] for recipe in recipes[:1]]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("counted again")

    monkeypatch.setattr("auricle.training.costs.CaptioningModel", refuse)
    known += [stage_costs(recipe, 1234, 1.0)["captioner"] for recipe in recipes[1:]]
    assert known[0] == known[1] == known[2]
