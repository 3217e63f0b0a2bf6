"""The encoder-decoder, from a sound's log-mel spectrogram to the words of its caption."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.captioning.beam_search import NextLogProbs
from auricle.checkpoint.config import DecoderConfig, EncoderConfig
from auricle.checkpoint.vocabulary import PAD
from auricle.models.bart import BartEncoder
from auricle.models.cnn10 import AUDIOSET_CLASSES
from auricle.models.contrastive import SharedSpace
from auricle.models.decoder import TransformerDecoder
from auricle.models.encoder import Tagger, build_encoder, frame_mask
from auricle.models.gru import GRUDecoder

# A tag's level is the number of these probabilities that it reaches.
TAG_LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)


class Augment(Protocol):
    """A change of the decoder's inputs in training."""

    def __call__(
        self, memory: Tensor, mask: Tensor, embedded: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(rows, positions, width), (rows, positions), (rows, length, width) -> the same shapes."""
        ...


class TagTokens(nn.Module):
    """Turns the most probable tags of a sound into tokens of memory, by class and probability.

    Args:
        count: the number of tags.
        width: the width of the memory.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.count = count
        self.classes = nn.Embedding(AUDIOSET_CLASSES, width)
        self.levels = nn.Embedding(len(TAG_LEVELS) + 1, width)

    def forward(self, probabilities: Tensor) -> Tensor:
        """(batch, 527) -> (batch, count, width), the most probable first."""
        likeliest, classes = probabilities.topk(self.count, dim=1)
        level = torch.zeros_like(classes)
        for threshold in TAG_LEVELS:
            level = level + (likeliest >= threshold)
        return self.classes(classes) + self.levels(level)


Decoder = TransformerDecoder | GRUDecoder


def build_decoder(config: DecoderConfig, words: int) -> Decoder:
    """Builds a decoder with random weights."""
    if config.architecture == "gru":
        return GRUDecoder(words, config.width, config.layers, config.dropout)
    sizes = (config.width, config.layers, config.heads, config.feedforward, config.dropout)
    bart = config.architecture == "bart"
    return TransformerDecoder(words, *sizes, bart=bart, tied=config.tied and not bart)


class CaptioningModel(nn.Module):
    """Encoder, a linear layer to the decoder's width, and decoder.

    It may also have tags and the pre-encoder's space. The baseline has a Transformer encoder
    between encoder and decoder.

    Args:
        encoder: the encoder.
        decoder: sizes. `tags` is the number of the most probable tags in the memory.
        words: size of the vocabulary.
        space: size of the pre-encoder's space of sounds and sentences; 0: no space.
    """

    def __init__(
        self, encoder: EncoderConfig, decoder: DecoderConfig, words: int, space: int = 0
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder)
        self.bridge = nn.Linear(self.encoder.size, decoder.width)
        self.dropout = nn.Dropout(decoder.dropout)
        self.tags = TagTokens(decoder.tags, decoder.width) if decoder.tags else None
        self.decoder = build_decoder(decoder, words)
        self.memory_encoder = None
        if decoder.encoder_layers:
            sizes = (
                decoder.width,
                decoder.encoder_layers,
                decoder.heads,
                decoder.feedforward,
                decoder.dropout,
            )
            self.memory_encoder = BartEncoder(*sizes)
        self.space = (
            SharedSpace(self.encoder.size, words, decoder.width, space, bool(decoder.tags))
            if space
            else None
        )
        self.frozen_encoder = False

    def freeze_encoder(self) -> None:
        """Excludes the encoder from training, with the statistics of its batch norms."""
        self.frozen_encoder = True
        self.encoder.requires_grad_(False)
        self.encoder.eval()

    def train(self, mode: bool = True) -> "CaptioningModel":
        """Sets the mode of all parts, except a frozen encoder."""
        super().train(mode)
        if self.frozen_encoder:
            self.encoder.eval()
        return self

    def hear(self, log_mel: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Encodes sounds.

        Args:
            log_mel: (batch, frames, mels), padded at the end.
            frames: (batch,), the number of frames with sound.

        Returns:
            Features (batch, frames, size), their mask (batch, frames), true where there is sound,
            and the probabilities of tags (batch, 527), if tags guide the decoder.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_encoder):
            features = self.encoder(log_mel)
            mask = frame_mask(self.encoder.output_frames(frames), features.shape[1])
            if self.tags is None:
                return features, mask, None
            assert isinstance(self.encoder, Tagger)
            return features, mask, self.encoder.tags(features, mask).sigmoid()

    def remember(
        self, features: Tensor, mask: Tensor, tags: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Returns the decoder's memory: frames first, then tags if they guide it.

        Args:
            features: (batch, frames, size), from the encoder.
            mask: (batch, frames), true where there is sound.
            tags: (batch, 527), probabilities, if tags guide the decoder.

        Returns:
            Memory (batch, positions, width) and its mask (batch, positions).
        """
        if self.memory_encoder is not None:  # applies its own dropout after its positions
            memory = self.memory_encoder(self.bridge(features), mask)
        else:
            memory = self.bridge(self.dropout(features))
        if self.tags is None:
            return memory, mask
        assert tags is not None
        tokens = self.tags(tags)
        return torch.cat([memory, tokens], 1), torch.cat([mask, mask.new_ones(tokens.shape[:2])], 1)

    def forward(
        self,
        log_mel: Tensor,
        frames: Tensor,
        tokens: Tensor,
        text_tags: Tensor | None = None,
        augment: Augment | None = None,
    ) -> Tensor:
        """Returns the logits of the word after each word.

        Args:
            log_mel: (batch, frames, mels), padded at the end.
            frames: (batch,), the number of frames with sound.
            tokens: (batch + texts, length), from `<sos>` on, padded at the end. Captions without
                sound come last.
            text_tags: (texts, 527), the tags of captions without sound.
            augment: changes the decoder's inputs.

        Returns:
            (batch + texts, length, words); zeros where all captions without sound have ended.
        """
        sounds = len(log_mel)
        logits = self._logits(tokens[:sounds], *self.remember(*self.hear(log_mel, frames)), augment)
        if text_tags is None:
            return logits
        assert self.tags is not None
        # Texts are shorter than captions of mixtures, and they have no frames to attend to.
        lengths = (tokens[sounds:] != PAD).sum(1)
        memory = self.tags(text_tags)
        mask = torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device)
        text_logits = self._logits(tokens[sounds:, : lengths.max()], memory, mask, augment)
        return torch.cat(
            [logits, F.pad(text_logits, (0, 0, 0, tokens.shape[1] - text_logits.shape[1]))]
        )

    def _logits(
        self, tokens: Tensor, memory: Tensor, mask: Tensor, augment: Augment | None
    ) -> Tensor:
        embedded = self.decoder.embed(tokens)
        if augment is not None:
            memory, mask, embedded = augment(memory, mask, embedded)
        return self.decoder(embedded, memory, mask)

    def next_log_probs(self, log_mel: Tensor, frames: Tensor) -> NextLogProbs:
        """Returns the function that a beam search needs for a batch.

        Args:
            log_mel: (batch, frames, mels), padded at the end.
            frames: (batch,), the number of frames with sound.
        """
        state = self.decoder.begin(*self.remember(*self.hear(log_mel, frames)))

        def function(tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
            nonlocal state
            with torch.inference_mode():
                log_probs, state, _ = self.decoder.step(
                    torch.as_tensor(tokens, device=log_mel.device),
                    torch.as_tensor(parents, device=log_mel.device),
                    state,
                )
            return log_probs.cpu().numpy()

        return function
