"""Augmentation masks what it may and no more, and mixes as it says."""

import pytest
import torch

from auricle.features import FRONT_ENDS
from auricle.models.captioning import Mixing
from auricle.training.augment import draw_mixing, spec_augment
from auricle.training.config import Augmentation

PANNS = FRONT_ENDS["panns"]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_off_is_off():
    log_mel = noise(2, 100, 64)
    assert spec_augment(log_mel, Augmentation(), PANNS) is log_mel
    assert draw_mixing(4, Augmentation(), torch.device("cpu")) is None


@pytest.mark.parametrize("frames", [10, 200])
def test_stretches_of_time_and_of_bands_become_the_mean(frames: int):
    torch.manual_seed(0)
    log_mel = noise(64, frames, 64)
    before = log_mel.clone()
    config = Augmentation(time_masks=2, time_mask_seconds=0.3, mel_masks=1, mel_mask_share=0.25)
    changed = spec_augment(log_mel, config, PANNS)
    assert torch.equal(log_mel, before)
    masked = changed != log_mel
    assert torch.allclose(changed[masked], log_mel.mean())
    whole_frames, whole_mels = masked.all(2), masked.all(1)
    assert torch.equal(masked, whole_frames[:, :, None] | whole_mels[:, None])
    assert int(whole_frames.sum(1).max()) <= 2 * min(frames, 31)
    mels = whole_mels[~whole_frames.all(1)]  # a whole row is masked where every frame is
    assert int(mels.sum(1).max()) <= 17
    assert whole_frames.any()
    assert mels.any()
    assert len({tuple(row.tolist()) for row in whole_frames}) > 10  # each item has its own


def test_the_larger_share_stays_with_the_item():
    torch.manual_seed(0)
    for _ in range(50):
        mixing = draw_mixing(8, Augmentation(mixup=0.4), torch.device("cpu"))
        assert mixing is not None
        assert 0.5 <= mixing.share <= 1
        assert sorted(mixing.partners.tolist()) == list(range(8))


def test_mixing_mixes():
    x = torch.tensor([[0.0, 4.0], [8.0, 8.0]])
    assert Mixing(torch.tensor([1, 0]), 0.75)(x).tolist() == [[2.0, 5.0], [6.0, 7.0]]
