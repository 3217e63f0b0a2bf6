"""Augmentation masks what it may and no more, and mixes as it says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.sound.features import FRONT_ENDS
from auricle.training.augment import decoder_augment, spec_augment
from auricle.training.config import Augmentation

PANNS = FRONT_ENDS["panns"]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_off_is_off():
    log_mel = noise(2, 100, 64)
    assert spec_augment(log_mel, Augmentation(), PANNS) is log_mel
    assert decoder_augment(Augmentation(), 3) is None


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


def decoder_inputs(
    rows: int, frames: int, tags: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Memory, its mask and embedded words; sounds of different lengths, or captions without, and
    tags."""
    mask = torch.arange(frames + tags) < torch.randint(min(1, frames), frames + 1, (rows, 1))
    mask[:, frames:] = True
    return noise(rows, frames + tags, 2), mask, noise(rows, 5, 2)


@settings(deadline=None, max_examples=200)
@given(
    rows=st.integers(1, 6),
    frames=st.integers(0, 5),
    tags=st.integers(0, 3),
    audio_dropout=st.sampled_from([0.0, 0.5, 1.0]),
    tag_dropout=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 999),
)
def test_something_is_heard_always(
    rows: int, frames: int, tags: int, audio_dropout: float, tag_dropout: float, seed: int
):
    torch.manual_seed(seed)
    frames = max(frames, 1 - tags)
    inputs = decoder_inputs(rows, frames, tags)
    augment = decoder_augment(
        Augmentation(audio_dropout=audio_dropout, tag_dropout=tag_dropout), tags
    )
    memory, mask, embedded = augment(*inputs) if augment else inputs
    assert memory is inputs[0]
    assert embedded is inputs[2]
    assert mask.shape == inputs[1].shape
    assert mask.any(1).all()
    assert not (mask & ~inputs[1]).any()  # the encoder does not hear missing frames
    if not tags:
        assert torch.equal(mask, inputs[1])


def test_as_much_is_hidden_as_is_wanted():
    torch.manual_seed(0)
    frames, tags = 4, 3
    inputs = decoder_inputs(3000, frames, tags)
    augment = decoder_augment(Augmentation(audio_dropout=0.3, tag_dropout=0.2), tags)
    assert augment is not None
    _, mask, _ = augment(*inputs)
    deaf = ~mask[:, :frames].any(1)
    assert float(deaf.float().mean()) == pytest.approx(0.3, abs=0.04)
    assert float((~mask[:, frames:]).float().mean()) == pytest.approx(0.2, abs=0.02)
    assert torch.equal(mask[~deaf, :frames], inputs[1][~deaf, :frames])


def test_each_item_is_mixed_with_another_and_the_larger_share_is_its_own():
    rows, frames = 8, 3
    # Item i is one in its own place and zero elsewhere, so that a mixture tells its parts.
    items = torch.eye(rows, dtype=torch.float64)[:, None]
    memory, embedded = items.expand(rows, frames, rows), items.expand(rows, 5, rows)
    mask = torch.arange(frames) < torch.tensor([1, 2, 3, 1, 2, 3, 1, 2])[:, None]
    shares = set()
    for seed in range(50):
        torch.manual_seed(seed)
        augment = decoder_augment(Augmentation(mixup=0.4), 0)
        assert augment is not None
        mixed, heard, words = augment(memory, mask, embedded)
        assert torch.equal(mixed, mixed[:, :1].expand(rows, frames, rows))
        assert torch.equal(words, mixed[:, :1].expand(rows, 5, rows))
        share = float(mixed[:, 0].diagonal().min())
        assert 0.5 <= share < 1
        partners = (mixed[:, 0] - share * torch.eye(rows)) / (1 - share)
        torch.testing.assert_close(partners, partners.round(), rtol=0, atol=1e-3)
        assert sorted(partners.argmax(1).tolist()) == list(range(rows))
        assert torch.equal(heard, mask | mask[partners.argmax(1)])  # wherever either is heard
        shares.add(share)
    assert len(shares) > 20
