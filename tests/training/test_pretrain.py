"""What keeps the audio tower to what it knew: its tags, and the statistics of its batch norms."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auricle.models.cnn10 import CNN10
from auricle.training.pretrain import tag_distillation
from auricle.training.tower import freeze_statistics


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 5), st.integers(0, 999), st.floats(-3, 3).filter(lambda shift: abs(shift) > 0.01)
)
def test_distillation_is_nothing_where_tags_agree_and_something_where_not(
    rows: int, seed: int, shift: float
):
    logits = 3 * torch.randn(
        rows, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    expected = logits.sigmoid()
    assert abs(float(tag_distillation(logits, expected))) < 1e-9
    off = logits.clone()
    off[0, 0] += shift
    loss = tag_distillation(off, expected)
    assert loss > 0
    student, teacher = off.sigmoid()[0, 0], expected[0, 0]
    divergence = (
        teacher * (teacher / student).log() + (1 - teacher) * ((1 - teacher) / (1 - student)).log()
    )
    torch.testing.assert_close(loss, divergence / rows)


def test_certain_teachers_are_no_trouble():
    expected = torch.tensor([[0.0, 1.0]])
    assert abs(float(tag_distillation(torch.tensor([[-100.0, 100.0]]), expected))) < 1e-6
    assert tag_distillation(torch.zeros(1, 2), expected).isfinite()


def test_frozen_statistics_are_used_and_stay_while_the_weights_learn():
    torch.manual_seed(0)
    network = CNN10(1 / 16)
    sounds = torch.randn(2, 64, 64)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for _ in range(2):  # the next epoch's train() frees them, and they are frozen anew
        network.train()
        freeze_statistics(network)
        network(sounds).sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert network.conv_block1.bn1.weight.grad is not None
    assert network.training
    assert not any(
        module.training for module in network.modules() if isinstance(module, nn.BatchNorm2d)
    )
    network.train()
    network(sounds)
    assert not torch.equal(network.state_dict()["bn0.running_mean"], before["bn0.running_mean"])
