"""Learning rates by step, and who gets which share and how much decay."""

import pytest
import torch
from torch import nn

from auricle.checkpoint.config import DecoderConfig, EncoderConfig
from auricle.models.captioning import CaptioningModel
from auricle.training.config import TrainConfig
from auricle.training.loop import moving_average
from auricle.training.train import learning_rate, parameter_groups

STEPS = 7


def rates(config: TrainConfig) -> list[list[float]]:
    """The rate of every step of every epoch, as the loop asks for it."""
    return [
        [learning_rate(config, epoch + step / STEPS) for step in range(1, STEPS + 1)]
        for epoch in range(config.epochs)
    ]


def test_the_papers_rate_by_epoch():
    by_epoch = rates(TrainConfig())
    growing = [rate for epoch in by_epoch[:5] for rate in epoch]
    assert growing == pytest.approx(
        [1e-3 * step / (5 * STEPS) for step in range(1, 5 * STEPS + 1)], rel=1e-12
    )
    assert growing[-1] == 1e-3
    for begin, rate in ((5, 1e-3), (10, 1e-4), (15, 1e-5), (20, 1e-6), (25, 1e-7)):
        for epoch in by_epoch[begin : begin + 5]:
            assert epoch == pytest.approx([rate] * STEPS, rel=1e-12)
    assert len(by_epoch) == 30
    assert learning_rate(TrainConfig(), 0) == 0


def test_the_cosine_grows_and_falls():
    config = TrainConfig(schedule="cosine", epochs=10, warmup=2, learning_rate=0.5)
    assert learning_rate(config, 0) == 0
    assert learning_rate(config, 1) == pytest.approx(0.25)
    assert learning_rate(config, 2) == pytest.approx(0.5)
    assert learning_rate(config, 6) == pytest.approx(0.25)
    assert learning_rate(config, 10) == pytest.approx(0)
    flat = [rate for epoch in rates(config) for rate in epoch]
    top = flat.index(max(flat))
    assert flat[: top + 1] == sorted(flat[: top + 1])
    assert flat[top:] == sorted(flat[top:], reverse=True)
    assert learning_rate(TrainConfig(schedule="cosine", epochs=2, warmup=2), 2) == pytest.approx(
        1e-3
    )


def test_the_line_falls_from_the_highest_to_nothing():
    config = TrainConfig(schedule="linear", epochs=4, warmup=0, learning_rate=0.5)
    assert [learning_rate(config, epochs) for epochs in (0, 1, 3, 4)] == pytest.approx(
        [0.5, 0.375, 0.125, 0]
    )
    assert learning_rate(TrainConfig(schedule="linear", epochs=5, warmup=1), 0.5) == pytest.approx(
        5e-4
    )


@pytest.mark.parametrize("architecture", ["cnn10", "mobilenet"])
def test_every_parameter_is_in_one_group_and_only_matrices_decay(architecture: str):
    model = CaptioningModel(EncoderConfig(architecture, 0.1), DecoderConfig(16, 2, 2, 32), 10)  # type: ignore[arg-type]
    groups = parameter_groups(model, encoder_rate=0.1, weight_decay=0.3)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]  # type: ignore[union-attr]
    assert sorted(grouped) == sorted(map(id, model.parameters()))
    encoder = set(map(id, model.encoder.parameters()))
    for group in groups:
        for parameter in group["params"]:  # type: ignore[union-attr]
            assert group["weight_decay"] == (0.3 if parameter.dim() > 1 else 0)
            assert group["share"] == (0.1 if id(parameter) in encoder else 1)


def test_the_moving_average_moves_all_that_can_and_copies_counters():
    def network(value: float) -> nn.Module:
        module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        for tensor in module.state_dict().values():
            tensor.fill_(int(value) if not tensor.is_floating_point() else value)
        return module

    model = network(1)
    moving = moving_average(model, 0.75, torch.device("cpu"))
    model.load_state_dict(network(3).state_dict())
    moving.update_parameters(model)
    average = moving.module
    for name, tensor in average.state_dict().items():
        assert (tensor == (3 if name.endswith("num_batches_tracked") else 1.5)).all(), name
    assert all((tensor == 3).all() for tensor in model.state_dict().values())
    assert all(torch.isfinite(parameter).all() for parameter in average.parameters())
