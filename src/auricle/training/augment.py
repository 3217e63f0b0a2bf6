"""What is done to spectrograms in training only."""

import torch
from torch import Tensor

from auricle.features import FrontEnd
from auricle.models.captioning import Mixing
from auricle.training.config import Augmentation


def spec_augment(log_mel: Tensor, config: Augmentation, front_end: FrontEnd) -> Tensor:
    """SpecAugment (Park et al. 2019): stretches of time and of frequency set to the spectrogram's mean.

    Args:
        log_mel: (batch, frames, mels).
        config: how many stretches of what length.
        front_end: its frames per second.

    Returns:
        (batch, frames, mels), a new tensor where anything is masked.
    """
    if not config.time_masks and not config.mel_masks:
        return log_mel
    batch, frames, mels = log_mel.shape
    longest = min(frames, round(config.time_mask_seconds * front_end.frames_per_second))
    masked = torch.zeros(batch, frames, mels, dtype=torch.bool, device=log_mel.device)
    for count, size, dimension, greatest in (
        (config.time_masks, frames, 1, longest),
        (config.mel_masks, mels, 2, round(config.mel_mask_share * mels)),
    ):
        for _ in range(count):
            length = torch.rand(batch, 1) * greatest
            start = torch.rand(batch, 1) * (size - length)
            positions = torch.arange(size)
            stretch = ((positions >= start) & (positions < start + length)).to(log_mel.device)
            masked |= stretch.unsqueeze(3 - dimension)
    return log_mel.masked_fill(masked, float(log_mel.mean()))


def draw_mixing(batch: int, config: Augmentation, device: torch.device) -> Mixing | None:
    """Mixup of a batch's decoder inputs (CoNeTTE, Labbe et al. 2023): the larger share stays with the item itself."""
    if not config.mixup:
        return None
    share = float(torch.distributions.Beta(config.mixup, config.mixup).sample())
    return Mixing(torch.randperm(batch).to(device), max(share, 1 - share))
