"""Sixteen sounds learnt by heart recite their captions: the whole path from sound to sentence
carries the events."""

import pytest
import torch
from tiny import CAPTIONS, RATE, made_sound
from torch import nn

from auricle.captioning.beam_search import search_captions
from auricle.checkpoint.config import BeamOptions, DecoderConfig, EncoderConfig
from auricle.checkpoint.vocabulary import PAD, Vocabulary, sentence
from auricle.models.captioning import CaptioningModel
from auricle.sound.features import FRONT_ENDS, log_mel
from auricle.training.validate import word_loss

FRAMES = 48  # half a second of each sound: the time of the test grows with it
DECODER = DecoderConfig(width=64, layers=2, heads=4, feedforward=128, dropout=0.0)


def settle(model: nn.Module, log_mel: torch.Tensor) -> None:
    """Takes batch norm's statistics from the sounds themselves: so few steps do not reach the
    running ones."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    with torch.no_grad():
        model(log_mel)
    model.eval()


@pytest.mark.parametrize(
    ("encoder", "front_end", "steps"),
    [
        (EncoderConfig("cnn10", 1 / 8), "panns", 200),
        (EncoderConfig("mobilenet", 0.4), "mobilenet", 60),
    ],
    ids=["cnn10", "mobilenet"],
)
def test_sixteen_sounds_recite_their_captions(encoder: EncoderConfig, front_end: str, steps: int):
    hears = FRONT_ENDS[front_end]
    assert hears.rate == RATE
    vocabulary = Vocabulary.build(CAPTIONS)
    heard = torch.stack(
        [torch.from_numpy(log_mel(made_sound(i), hears)[:FRAMES]) for i in range(len(CAPTIONS))]
    )
    frames = torch.full((len(heard),), heard.shape[1])
    encoded = [torch.tensor(vocabulary.encode(caption)) for caption in CAPTIONS]
    tokens = nn.utils.rnn.pad_sequence(encoded, batch_first=True, padding_value=PAD)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CaptioningModel(encoder, DECODER, len(vocabulary)).train()
        optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * min(1.0, (step + 1) / 10, 2 * (1 - step / steps))
            loss = (
                word_loss(model(heard, frames, tokens[:, :-1]), tokens[:, 1:], 0.0)
                / (tokens[:, 1:] != PAD).sum()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        settle(model.encoder, heard)
    next_log_probs = model.next_log_probs(heard, frames)
    options = BeamOptions(beam=3, no_repeat_words=False)
    found = search_captions(next_log_probs, vocabulary, options, len(heard))
    said = [sentence(vocabulary.decode(hypotheses[0].tokens)) for hypotheses in found]
    assert said == [f"{caption}." for caption in CAPTIONS]
