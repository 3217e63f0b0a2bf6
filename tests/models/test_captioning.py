"""The captioning network: who else is in the batch, and how it is padded, changes nothing."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks run on torch: pip install 'auricle[train]'")

import torch

from auricle.captioning.beam_search import beam_search
from auricle.checkpoint.config import BeamOptions, DecoderConfig, EncoderConfig
from auricle.checkpoint.vocabulary import EOS, PAD, SOS
from auricle.models.captioning import TAG_LEVELS, CaptioningModel, TagTokens
from auricle.models.cnn10 import AUDIOSET_CLASSES
from auricle.models.encoder import frame_mask

WORDS = 20
DECODER = DecoderConfig(width=16, layers=2, heads=2, feedforward=32, dropout=0.3)
GUIDED = replace(DECODER, tags=3)
NETWORKS = {
    "cnn10": (EncoderConfig("cnn10", 1 / 16), DECODER, 64),
    "mobilenet": (EncoderConfig("mobilenet", 0.1), DECODER, 128),
    "guided": (EncoderConfig("cnn10", 1 / 16), GUIDED, 64),
    "baseline": (
        EncoderConfig("vggish", 1 / 32),
        replace(DECODER, architecture="bart", encoder_layers=2),
        64,
    ),
    "gru": (EncoderConfig("gru", 1 / 16), replace(DECODER, architecture="gru", heads=1), 64),
}


def network(name: str) -> tuple[CaptioningModel, int]:
    encoder, decoder, mels = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CaptioningModel(encoder, decoder, WORDS).eval().requires_grad_(False), mels


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def captions(*lengths: int) -> torch.Tensor:
    tokens = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        tokens[row, :length] = torch.tensor(
            [SOS, *(4 + (row + i) % (WORDS - 4) for i in range(length - 1))]
        )
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
    """Its convolutions look 30 log-mel frames beyond a frame of features: no earlier frame is
    touched by padding."""
    model, mels = network("cnn10")
    log_mel, frames = drawn(1, 320, mels), torch.tensor([240])
    other = torch.cat([log_mel[:, :240], drawn(1, 80, mels, seed=1)], 1)
    (memory, mask), (changed, _) = (
        model.remember(*model.hear(sound, frames)) for sound in (log_mel, other)
    )
    assert mask.sum() == 15
    difference = (memory - changed).abs().amax(2)[0, :15]
    assert not difference[:13].any()
    unpadded = model.hear(log_mel[:, :240], frames)[0]
    torch.testing.assert_close(memory[:, :13], model.bridge(unpadded)[:, :13], rtol=1e-4, atol=1e-5)


def test_more_padding_than_the_edge_changes_nothing():
    """Beyond what the last frame can see, CNN10 does not care how long the batch is."""
    model, mels = network("cnn10")
    sound, frames, tokens = drawn(1, 240, mels), torch.tensor([240]), captions(6)

    def padded(length: int) -> torch.Tensor:
        return model(torch.cat([sound, torch.zeros(1, length - 240, mels)], 1), frames, tokens)

    torch.testing.assert_close(padded(320), padded(480), rtol=1e-4, atol=1e-5)


def test_frame_masks():
    assert frame_mask(torch.tensor([0, 2, 3]), 3).int().tolist() == [
        [0, 0, 0],
        [1, 1, 0],
        [1, 1, 1],
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_beam_search_batched_equals_one_by_one(name: str):
    model, mels = network(name)
    log_mel, options = drawn(3, 96, mels), BeamOptions(3, max_length=8, no_repeat_words=False)

    def search(some: torch.Tensor):
        frames = torch.full((len(some),), 96)
        return beam_search(
            model.next_log_probs(some, frames),
            SOS,
            EOS,
            options,
            items=len(some),
            forbidden=[PAD, SOS],
        )

    for item, together in enumerate(search(log_mel)):
        alone = search(log_mel[item : item + 1])[0]
        assert [h.tokens for h in together] == [h.tokens for h in alone]
        np.testing.assert_allclose([h.score for h in together], [h.score for h in alone], atol=1e-4)


@pytest.mark.parametrize("name", ["cnn10", "guided", "baseline", "gru"])
def test_scores_of_the_search_are_the_networks(name: str):
    """The log-probability of a hypothesis is the sum that teacher forcing gives its words and the
    end."""
    model, mels = network(name)
    log_mel, frames = drawn(1, 96, mels), torch.tensor([96])
    options = BeamOptions(4, min_length=2, max_length=8, no_repeat_words=False)
    for hypothesis in beam_search(model.next_log_probs(log_mel, frames), SOS, EOS, options)[0]:
        tokens = torch.tensor([[SOS, *hypothesis.tokens, EOS]])
        log_probs = model(log_mel, frames, tokens[:, :-1]).log_softmax(2)
        total = log_probs[0].gather(1, tokens[0, 1:, None]).sum()
        assert hypothesis.log_prob == pytest.approx(float(total), abs=1e-4)


def test_what_the_decoder_gets_can_be_changed_on_the_way():
    model, mels = network("guided")
    log_mel, frames, tokens = drawn(2, 96, mels), torch.tensor([96, 96]), captions(5, 5)

    def swap(*inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        memory, mask, embedded = (x.flip(0) for x in inputs)
        return memory, mask, embedded

    plain = model(log_mel, frames, tokens)
    torch.testing.assert_close(model(log_mel, frames, tokens, augment=swap), plain.flip(0))


def probabilities(*found: tuple[int, float]) -> torch.Tensor:
    row = torch.zeros(1, AUDIOSET_CLASSES)
    for number, probability in found:
        row[0, number] = probability
    return row


def test_the_likeliest_tags_become_tokens_the_likeliest_first():
    tokens = TagTokens(3, 8)
    found = probabilities((5, 0.4), (99, 0.9), (7, 0.015), (200, 0.001))
    with torch.no_grad():
        memory = tokens(found)
        assert memory.shape == (1, 3, 8)
        for place, (number, level) in enumerate(((99, len(TAG_LEVELS)), (5, 6), (7, 1))):
            torch.testing.assert_close(
                memory[0, place], tokens.classes.weight[number] + tokens.levels.weight[level]
            )
        # A class that is not among them does not count, however likely it is.
        torch.testing.assert_close(
            tokens(probabilities((5, 0.4), (99, 0.9), (7, 0.015), (1, 0.012))), memory
        )


@pytest.mark.parametrize("threshold", TAG_LEVELS)
def test_a_tag_counts_for_more_from_each_threshold_on(threshold: float):
    tokens = TagTokens(1, 8)
    with torch.no_grad():
        below, at, above = (
            tokens(probabilities((5, threshold * factor))) for factor in (0.999, 1, 1.001)
        )
    assert not torch.equal(below, at)
    assert torch.equal(at, above)


def test_tags_matter_to_what_is_said():
    model, mels = network("guided")
    features, mask, tags = model.hear(drawn(1, 96, mels), torch.tensor([96]))
    assert tags is not None
    embedded = model.decoder.embed(captions(5))
    said = [
        model.decoder(embedded, *model.remember(features, mask, some))
        for some in (tags, tags.roll(1, 1))
    ]
    assert (said[0] - said[1]).abs().max() > 1e-3


def test_a_caption_without_sound_hears_tags_only():
    model, mels = network("guided")
    model.bridge.weight *= 300  # at random weights little is heard
    frames, tokens = torch.tensor([96, 96]), captions(5, 5, 5)
    tags = probabilities((5, 0.6), (6, 0.3), (7, 0.1))
    said = model(drawn(2, 96, mels), frames, tokens, tags)
    others = model(drawn(2, 96, mels, seed=1), frames, tokens, tags)
    torch.testing.assert_close(others[2], said[2])
    assert (others[:2] - said[:2]).abs().amax((1, 2)).min() > 1e-3
    longer = model(drawn(2, 160, mels, seed=2), torch.tensor([160, 160]), tokens, tags)
    torch.testing.assert_close(longer[2], said[2])
    told = model(drawn(2, 96, mels), frames, tokens, probabilities((8, 0.6), (6, 0.3), (7, 0.1)))
    assert (told[2] - said[2]).abs().max() > 1e-3
    # And sounds do not depend on the others in the batch.
    torch.testing.assert_close(told[:2], said[:2])
    torch.testing.assert_close(model(drawn(2, 96, mels), frames, tokens[:2]), said[:2])


def test_a_frozen_encoder_stays_as_it_is():
    encoder, decoder, mels = NETWORKS["guided"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CaptioningModel(encoder, decoder, WORDS)
        model.freeze_encoder()
        before = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 0.1)
        log_mel, frames, tokens = drawn(2, 96, mels), torch.tensor([96, 96]), captions(5, 5)
        bridge = model.bridge.weight.detach().clone()
        for _ in range(2):
            model.train()
            model(log_mel, frames, tokens).square().mean().backward()
            optimizer.step()
            assert all(p.grad is None for p in model.encoder.parameters())
        assert not torch.equal(model.bridge.weight, bridge)
        for name, tensor in model.encoder.state_dict().items():
            assert torch.equal(tensor, before[name]), name
        heard = model.hear(log_mel, frames)
        for one, other in zip(heard, model.eval().hear(log_mel, frames), strict=True):
            assert one is not None
            assert other is not None
            assert torch.equal(one, other)  # no dropout either


def test_an_encoder_that_is_not_frozen_learns():
    model, mels = network("guided")
    model.requires_grad_(True).train()
    statistics = model.encoder.state_dict()["bn0.running_mean"].clone()
    model(drawn(2, 96, mels), torch.tensor([96, 96]), captions(5, 5)).square().mean().backward()
    assert all(
        p.grad is not None
        for name, p in model.encoder.named_parameters()
        if name.startswith("conv")
    )
    assert not torch.equal(model.encoder.state_dict()["bn0.running_mean"], statistics)
