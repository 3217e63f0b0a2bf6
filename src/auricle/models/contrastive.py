"""The pre-encoder: two towers brought together by contrastive learning (the paper, equations 7 to 10)."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.config import EncoderConfig
from auricle.models.captioning import build_encoder, frame_mask
from auricle.models.cnn10 import masked_mean
from auricle.vocabulary import PAD


class TextTower(nn.Module):
    """A caption as the mean of its words' vectors, which begin as Word2Vec's and are trained further."""

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(words, size, padding_idx=PAD)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length), padded, without `<sos>` and `<eos>` -> (batch, size)."""
        return masked_mean(self.embedding(tokens), tokens != PAD)


class PreEncoder(nn.Module):
    """Audio tower and text tower, each with a fully connected layer into the space they share.

    Args:
        encoder: the audio tower.
        words: size of the vocabulary.
        word_size: size of the word vectors.
        projection: size of the shared space.
        temperature: tau of the loss.
        learn_temperature: whether tau is trained too.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        words: int,
        word_size: int,
        projection: int,
        temperature: float,
        learn_temperature: bool,
    ) -> None:
        super().__init__()
        self.audio = build_encoder(encoder)
        self.text = TextTower(words, word_size)
        self.audio_projection = nn.Linear(self.audio.size, projection)
        self.text_projection = nn.Linear(word_size, projection)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)), requires_grad=learn_temperature)

    def embed_audio(self, log_mel: Tensor, frames: Tensor) -> Tensor:
        """(batch, frames, mels) and how many frames are sound (batch,) -> (batch, projection), of length 1."""
        features = self.audio(log_mel)
        mask = frame_mask(self.audio.output_frames(frames), features.shape[1])
        return F.normalize(self.audio_projection(self.audio.embed(features, mask)), dim=1)

    def embed_text(self, tokens: Tensor) -> Tensor:
        """(batch, length) words of captions -> (batch, projection), of length 1."""
        return F.normalize(self.text_projection(self.text(tokens)), dim=1)

    def forward(self, log_mel: Tensor, frames: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of sounds and captions, (batch, projection) each, and tau."""
        # Bounded as in CLIP (Radford et al. 2021): a learned tau may not fall under a hundredth.
        temperature = self.log_temperature.clamp(min=math.log(0.01)).exp()
        return self.embed_audio(log_mel, frames), self.embed_text(tokens), temperature


def contrastive_loss(
    audio: Tensor, captions: Tensor, temperature: Tensor | float, also_fit: Tensor | None = None
) -> Tensor:
    """The symmetric InfoNCE loss of N sounds and their N captions.

    Args:
        audio: a, (N, size), of length 1.
        captions: c, (N, size), of length 1; caption i belongs to sound i.
        temperature: tau.
        also_fit: (N, N), true where caption j would fit sound i too although it is not its own; such pairs are left out of the
            sums.

    Returns:
        L, a scalar.
    """
    s = audio @ captions.T / temperature  # s(i, j) / tau
    if also_fit is not None:
        s = s.masked_fill(also_fit, -torch.inf)
    own = s.diagonal()
    audio_loss = s.logsumexp(dim=1) - own  # La_i: sound i against all captions
    caption_loss = s.logsumexp(dim=0) - own  # Lc_j: caption j against all sounds
    return (audio_loss + caption_loss).mean()


def fitting_pairs(*keys: Sequence[str]) -> np.ndarray:
    """Where one item's sound would fit another item's caption.

    Args:
        keys: for each property (recording, caption, label) its value for each of N items; empty where unknown.

    Returns:
        (N, N) bool: true where two items have a property in common, and on the diagonal.
    """
    fit = np.eye(len(keys[0]), dtype=bool)
    for key in keys:
        values = np.array(key, dtype=object)
        fit |= (values[:, None] == values) & (values != "")
    return fit


def retrieval(similarity: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    """How well captions are found by sounds and sounds by captions.

    Args:
        similarity: (sounds, captions).
        relevant: (sounds, captions), true where the two belong together.

    Returns:
        `audio_to_text_recall_1`, `_5`, `_10`: the share of sounds with a relevant caption among the first k;
        `audio_to_text_map_10`: mean over sounds of the average precision among the first 10, divided by the number of
        relevant captions there could be, min(10, relevant); `text_to_audio_...` the other way round.
    """
    scores: dict[str, float] = {}
    for name, s, r in (("audio_to_text", similarity, relevant), ("text_to_audio", similarity.T, relevant.T)):
        order = np.argsort(-s, axis=1, kind="stable")[:, :10]
        hits = np.take_along_axis(r, order, 1)
        for k in (1, 5, 10):
            scores[f"{name}_recall_{k}"] = float(hits[:, :k].any(1).mean())
        precision = hits.cumsum(1) / np.arange(1, hits.shape[1] + 1)
        possible = np.minimum(10, r.sum(1)).clip(min=1)
        scores[f"{name}_map_10"] = float(((precision * hits).sum(1) / possible).mean())
    return scores
