"""The controls of the small reproduction take as many operations as Experiment 2."""

from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="costs are counted with torch: pip install 'auricle[train]'")

from auricle.training.config import load_recipe
from auricle.training.costs import estimated_costs, stage_costs

WORDS, SECONDS = 3000, 5.0  # about those of the development corpus


def operations(name: str) -> int:
    """The operations of a whole training for each sound."""
    recipe = load_recipe(Path("small") / name)
    costs = stage_costs(recipe, WORDS, SECONDS)
    epochs = {"pre-encoder": recipe.pretrain.epochs, "captioner": recipe.train.epochs}
    return sum(epochs[stage] * cost.training for stage, cost in costs.items())


@pytest.mark.parametrize("control", ["exp1-tuned", "exp2-labels"])
def test_controls_take_as_many_operations_as_experiment_2(control: str):
    assert operations(control) == pytest.approx(operations("exp2"), rel=0.1)


def test_costs_of_long_sounds_follow_from_those_of_short_ones():
    recipe = load_recipe(Path("small") / "exp2")
    for stage, cost in stage_costs(recipe, WORDS, 20.0).items():
        estimated = estimated_costs(recipe, WORDS, 20.0)[stage]
        for name, value in asdict(cost).items():
            assert getattr(estimated, name) == pytest.approx(value, rel=0.05), (stage, name)


def test_the_label_control_differs_from_experiment_2_in_the_objective_alone():
    ours, theirs = (load_recipe(Path("small") / name) for name in ("exp2-labels", "exp2"))
    assert ours.pretrain.epochs == theirs.pretrain.epochs
    assert ours.pretrain.batch_size == theirs.pretrain.batch_size
    assert (ours.data, ours.encoder, ours.decoder, ours.train) == (
        theirs.data,
        theirs.encoder,
        theirs.decoder,
        theirs.train,
    )
