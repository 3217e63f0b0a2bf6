"""The probe: it raises its targets by a limited amount and adds classes without a tag."""

import pytest
import torch

from auricle.models.cnn10 import AUDIOSET_CLASSES
from auricle.models.probe import Probe

SIZE = 6


@pytest.fixture
def probe() -> Probe:
    """Target 0 stands for class 3, target 1 for an untagged class that class 7 backs."""
    torch.manual_seed(0)
    probe = Probe(SIZE, targets=2, untagged=1)
    probe.targets[0, 3] = 1
    probe.targets[1, AUDIOSET_CLASSES] = 1
    probe.support[0, 7] = 1
    probe.boost.fill_(5.0)
    probe.floor.fill_(4.0)
    return probe.eval()


def decided(probe: Probe, target: int) -> None:
    """Makes the linear layer sure of one target, whatever it hears."""
    with torch.no_grad():
        probe.linear.weight.zero_()
        probe.linear.bias.fill_(-50.0)
        probe.linear.bias[target] = 50.0


def test_a_sure_target_raises_its_class_by_the_boost_and_no_other(probe: Probe):
    decided(probe, 0)
    tags = torch.randn(4, AUDIOSET_CLASSES)
    raised = probe(torch.randn(4, SIZE), tags)
    difference = raised[:, :AUDIOSET_CLASSES] - tags
    assert torch.allclose(difference[:, 3], torch.full((4,), 5.0))
    difference[:, 3] = 0
    assert not difference.any()


@pytest.mark.parametrize("seed", range(5))
def test_the_probe_never_lowers_and_never_exceeds_the_boost(probe: Probe, seed: int):
    torch.manual_seed(seed)
    torch.nn.init.normal_(probe.linear.weight)
    tags = torch.randn(8, AUDIOSET_CLASSES)
    difference = probe(torch.randn(8, SIZE), tags)[:, :AUDIOSET_CLASSES] - tags
    assert (difference >= 0).all()
    assert (difference <= 5.0 + 1e-5).all()


def test_an_untagged_class_needs_the_probe_and_its_support(probe: Probe):
    tags = torch.full((1, AUDIOSET_CLASSES), -4.0)
    tags[0, 7] = 1.0
    decided(probe, 1)
    assert probe(torch.zeros(1, SIZE), tags)[0, -1].item() == pytest.approx(1.0 - 1.0 + 5.0)
    decided(probe, 0)
    assert probe(torch.zeros(1, SIZE), tags)[0, -1].item() < -40


def test_the_boost_of_a_gated_target_shrinks_with_the_distance(probe: Probe):
    decided(probe, 0)
    probe.gated[0] = 1
    probe.centroids[0, 0] = 1
    probe.gate.copy_(torch.tensor([0.2, 0.4]))
    tags = torch.zeros(3, AUDIOSET_CLASSES)
    clips = torch.zeros(3, SIZE)
    clips[0, 0] = 2.0  # at the centroid
    clips[1, 0], clips[1, 1] = 0.3, (1 - 0.3**2) ** 0.5  # half-way between both cosines
    clips[2, 1] = 1.0  # unlike all sounds of the target
    assert probe(clips, tags)[:, 3].tolist() == pytest.approx([5.0, 2.5, 0.0], abs=1e-4)


def test_fitted_probe_tells_clusters_apart_whatever_their_scale():
    torch.manual_seed(1)
    centres = 3 * torch.randn(4, SIZE)
    numbers = torch.arange(80) % 4
    scales = torch.tensor([1.0, 100.0, 0.01, 1.0, 10.0, 1.0])
    clips = (centres[numbers] + 0.3 * torch.randn(80, SIZE)) * scales
    probe = Probe(SIZE, targets=4, untagged=0)
    probe.fit(clips, numbers)
    assert (probe.linear(clips).argmax(1) == numbers).float().mean() == 1
    assert torch.allclose(probe.centroids.norm(dim=1), torch.ones(4))
    directions = torch.nn.functional.normalize((clips - probe.mean) / probe.deviation, dim=1)
    assert ((directions @ probe.centroids.T).argmax(1) == numbers).float().mean() > 0.9
