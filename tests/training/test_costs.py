"""Costs are counted: design.md's figure for CNN10, and what a frozen encoder saves."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from auricle.models.captioning import CaptioningModel
from auricle.models.shapes import without_numbers
from auricle.sound.features import front_end
from auricle.training.config import load_recipe
from auricle.training.costs import CAPTION_WORDS, estimated_costs, stage_costs
from auricle.training.parameters import CLOTHO_WORDS
from auricle.training.train import captioner_sizes


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


def test_operations_are_counted_as_torch_counts_them():
    recipe = load_recipe(Path("scratch"))
    costs = stage_costs(recipe, 500, 2.0)["captioner"]
    model = CaptioningModel(*captioner_sizes(recipe, 500))
    hears = front_end(recipe.data.front_end)
    frames = hears.frames(2 * hears.rate)
    sound, words = torch.zeros(1, frames, hears.mels), torch.ones(1, CAPTION_WORDS, dtype=torch.int)
    with FlopCounterMode(display=False) as counter:
        model(sound, torch.full((1,), frames), words)
    assert costs.forward == pytest.approx(counter.get_total_flops(), rel=1e-6)


def test_counting_does_not_load_the_compiler():
    program = (
        "import sys; from pathlib import Path; from auricle.training.config import load_recipe; "
        "from auricle.training.costs import stage_costs; "
        "stage_costs(load_recipe(Path('small/exp2')), 100, 1.0); "
        "print('torch._dynamo' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.stdout, ended.returncode) == ("False\n", 0), ended.stderr


def test_networks_without_numbers_have_the_same_shapes():
    sizes = captioner_sizes(load_recipe(Path("scratch")), 50)
    with without_numbers():
        shapes = CaptioningModel(*sizes)
    assert all(parameter.is_meta for parameter in shapes.parameters())
    expected = {name: value.shape for name, value in CaptioningModel(*sizes).state_dict().items()}
    assert {name: value.shape for name, value in shapes.state_dict().items()} == expected
