"""The encoder-decoder: a sound's log-mel spectrogram in, the words of its caption out."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from auricle.beam_search import NextLogProbs
from auricle.config import DecoderConfig, EncoderConfig
from auricle.models.cnn10 import CNN10
from auricle.models.decoder import TransformerDecoder
from auricle.models.mobilenet import MobileNet

Encoder = CNN10 | MobileNet


@dataclass(frozen=True)
class Mixing:
    """Mixup of a batch's decoder inputs: each item becomes `share` of itself and the rest of its partner."""

    partners: Tensor  # (batch,) indices
    share: float

    def __call__(self, x: Tensor) -> Tensor:
        """(batch, ...) -> the same, mixed."""
        return self.share * x + (1 - self.share) * x[self.partners]


def build_encoder(config: EncoderConfig) -> Encoder:
    """An encoder at random weights."""
    encoder = CNN10(config.width) if config.architecture == "cnn10" else MobileNet(config.width)
    return encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # trains in half the time on a CPU


def frame_mask(frames: Tensor, length: int) -> Tensor:
    """True where there is sound: lengths (batch,) -> (batch, length)."""
    return torch.arange(length, device=frames.device) < frames[:, None]


class CaptioningModel(nn.Module):
    """Encoder, a linear layer to the decoder's width, and the decoder."""

    def __init__(self, encoder: EncoderConfig, decoder: DecoderConfig, words: int) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder)
        self.bridge = nn.Linear(self.encoder.size, decoder.width)
        self.dropout = nn.Dropout(decoder.dropout)
        self.decoder = TransformerDecoder(
            words, decoder.width, decoder.layers, decoder.heads, decoder.feedforward, decoder.dropout
        )

    def encode(self, log_mel: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's memory.

        Args:
            log_mel: (batch, frames, mels), padded at the end.
            frames: (batch,), how many of the frames are sound.

        Returns:
            Memory (batch, frames, width) and its mask (batch, frames), true where there is sound.
        """
        features = self.encoder(log_mel)
        mask = frame_mask(self.encoder.output_frames(frames), features.shape[1])
        return self.bridge(self.dropout(features)), mask

    def forward(self, log_mel: Tensor, frames: Tensor, tokens: Tensor, mixing: Mixing | None = None) -> Tensor:
        """Logits of the word after each word.

        Args:
            log_mel: (batch, frames, mels), padded at the end.
            frames: (batch,), how many of the frames are sound.
            tokens: (batch, length), from `<sos>` on, padded at the end.
            mixing: mixup of what the decoder is given, if any.

        Returns:
            (batch, length, words).
        """
        memory, mask = self.encode(log_mel, frames)
        embedded = self.decoder.embed(tokens)
        if mixing is not None:
            memory, embedded, mask = mixing(memory), mixing(embedded), mask | mask[mixing.partners]
        return self.decoder(embedded, memory, mask)

    def next_log_probs(self, log_mel: Tensor, frames: Tensor) -> NextLogProbs:
        """What the beam search needs to caption a batch: (batch, frames, mels), (batch,)."""
        memory, mask = self.encode(log_mel, frames)
        memory_keys, memory_values = self.decoder.memory_keys_values(memory)
        layers, batch, heads, _, size = memory_keys.shape
        past_keys = past_values = memory_keys.new_zeros(layers, batch, heads, 0, size)

        def function(tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
            nonlocal past_keys, past_values
            with torch.inference_mode():
                log_probs, past_keys, past_values, _ = self.decoder.step(
                    torch.as_tensor(tokens, device=log_mel.device),
                    torch.as_tensor(parents, device=log_mel.device),
                    past_keys,
                    past_values,
                    memory_keys,
                    memory_values,
                    mask,
                )
            return log_probs.cpu().numpy()

        return function
