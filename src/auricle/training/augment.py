"""Changes of spectrograms and decoder inputs in training only."""

import torch
from torch import Tensor

from auricle.models.captioning import Augment
from auricle.sound.features import FrontEnd
from auricle.training.config import Augmentation


def spec_augment(log_mel: Tensor, config: Augmentation, front_end: FrontEnd) -> Tensor:
    """Sets stretches of time and of frequency to the mean (SpecAugment, Park et al. 2019).

    Args:
        log_mel: (batch, frames, mels).
        config: the number of stretches and their lengths.
        front_end: knows the frames per second.

    Returns:
        (batch, frames, mels), a new tensor if anything is masked.
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


def decoder_augment(config: Augmentation, tags: int) -> Augment | None:
    """Returns mixup and dropout of frames and tags, or None if all are off.

    Args:
        config: the rates.
        tags: the number of tags at the end of the memory. There may be no frames before them.
    """
    if not (config.mixup or config.audio_dropout or config.tag_dropout):
        return None

    def augment(memory: Tensor, mask: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, positions = mask.shape
        heard = torch.ones(rows, positions, dtype=torch.bool)
        heard[:, : positions - tags] = torch.rand(rows, 1) >= config.audio_dropout
        heard[:, positions - tags :] = torch.rand(rows, tags) >= config.tag_dropout
        heard = heard.to(mask.device) & mask
        # Every row must keep something to attend to.
        mask = torch.where(heard.any(1, keepdim=True), heard, mask)
        if config.mixup:
            # CoNeTTE (Labbe et al. 2023): the larger share stays with the item itself.
            drawn = float(torch.distributions.Beta(config.mixup, config.mixup).sample())
            share, others = max(drawn, 1 - drawn), torch.randperm(rows).to(mask.device)
            memory = share * memory + (1 - share) * memory[others]
            embedded = share * embedded + (1 - share) * embedded[others]
            mask = mask | mask[others]
        return memory, mask, embedded

    return augment
