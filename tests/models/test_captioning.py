"""The captioning network: who else is in the batch, and how it is padded, changes nothing."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks run on torch: pip install 'auricle[train]'")

import torch

from auricle.beam_search import BeamOptions, beam_search
from auricle.config import DecoderConfig, EncoderConfig
from auricle.models.captioning import CaptioningModel, Mixing, frame_mask
from auricle.vocabulary import EOS, PAD, SOS

WORDS = 20
DECODER = DecoderConfig(width=16, layers=2, heads=2, feedforward=32, dropout=0.3)
NETWORKS = {"cnn10": (EncoderConfig("cnn10", 1 / 16), 64), "mobilenet": (EncoderConfig("mobilenet", 0.1), 128)}


def network(name: str) -> tuple[CaptioningModel, int]:
    encoder, mels = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CaptioningModel(encoder, DECODER, WORDS).eval().requires_grad_(False), mels


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def captions(*lengths: int) -> torch.Tensor:
    tokens = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        tokens[row, :length] = torch.tensor([SOS, *(4 + (row + i) % (WORDS - 4) for i in range(length - 1))])
    return tokens


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_mates_change_nothing(name: str):
    model, mels = network(name)
    log_mel, frames, tokens = drawn(3, 96, mels), torch.tensor([96, 96, 96]), captions(7, 4, 5)
    together = model(log_mel, frames, tokens)
    for i, length in enumerate((7, 4, 5)):
        alone = model(log_mel[i : i + 1], frames[i : i + 1], tokens[i : i + 1, :length])
        torch.testing.assert_close(together[i : i + 1, :length], alone, rtol=1e-4, atol=1e-5)


def test_what_stands_in_the_padding_reaches_cnn10_only_at_the_edge():
    """Its convolutions look 30 log-mel frames beyond a frame of features: no earlier frame is touched by padding."""
    model, mels = network("cnn10")
    log_mel, frames = drawn(1, 320, mels), torch.tensor([240])
    other = torch.cat([log_mel[:, :240], drawn(1, 80, mels, seed=1)], 1)
    (memory, mask), (changed, _) = model.encode(log_mel, frames), model.encode(other, frames)
    assert mask.sum() == 15
    difference = (memory - changed).abs().amax(2)[0, :15]
    assert not difference[:13].any()
    unpadded = model.encode(log_mel[:, :240], frames)[0]
    torch.testing.assert_close(memory[:, :13], unpadded[:, :13], rtol=1e-4, atol=1e-5)


def test_more_padding_than_the_edge_changes_nothing():
    """Beyond what the last frame can see, CNN10 does not care how long the batch is."""
    model, mels = network("cnn10")
    sound, frames, tokens = drawn(1, 240, mels), torch.tensor([240]), captions(6)

    def padded(length: int) -> torch.Tensor:
        return model(torch.cat([sound, torch.zeros(1, length - 240, mels)], 1), frames, tokens)

    torch.testing.assert_close(padded(320), padded(480), rtol=1e-4, atol=1e-5)


def test_frame_masks():
    assert frame_mask(torch.tensor([0, 2, 3]), 3).int().tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize("name", NETWORKS)
def test_beam_search_batched_equals_one_by_one(name: str):
    model, mels = network(name)
    log_mel, options = drawn(3, 96, mels), BeamOptions(3, max_length=8, no_repeat_words=False)

    def search(some: torch.Tensor):
        frames = torch.full((len(some),), 96)
        return beam_search(model.next_log_probs(some, frames), SOS, EOS, options, items=len(some), forbidden=[PAD, SOS])

    for item, together in enumerate(search(log_mel)):
        alone = search(log_mel[item : item + 1])[0]
        assert [h.tokens for h in together] == [h.tokens for h in alone]
        np.testing.assert_allclose([h.score for h in together], [h.score for h in alone], atol=1e-4)


def test_scores_of_the_search_are_the_networks():
    """The log-probability of a hypothesis is the sum that teacher forcing gives its words and the end."""
    model, mels = network("cnn10")
    log_mel, frames = drawn(1, 96, mels), torch.tensor([96])
    options = BeamOptions(4, min_length=2, max_length=8, no_repeat_words=False)
    for hypothesis in beam_search(model.next_log_probs(log_mel, frames), SOS, EOS, options)[0]:
        tokens = torch.tensor([[SOS, *hypothesis.tokens, EOS]])
        log_probs = model(log_mel, frames, tokens[:, :-1]).log_softmax(2)
        total = log_probs[0].gather(1, tokens[0, 1:, None]).sum()
        assert hypothesis.log_prob == pytest.approx(float(total), abs=1e-4)


def test_mixing_everything_with_nothing_changes_nothing():
    model, mels = network("cnn10")
    log_mel, frames, tokens = drawn(2, 96, mels), torch.tensor([96, 96]), captions(5, 5)
    mixing = Mixing(torch.tensor([1, 0]), 1.0)
    torch.testing.assert_close(model(log_mel, frames, tokens, mixing), model(log_mel, frames, tokens))
    # All of the partner is the partner.
    swapped = model(log_mel, frames, tokens, Mixing(torch.tensor([1, 0]), 0.0))
    torch.testing.assert_close(swapped, model(log_mel.flip(0), frames, tokens.flip(0)))
