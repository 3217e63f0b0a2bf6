"""The pre-encoder: two towers trained by contrastive learning (the paper, equations 7 to 10)."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.checkpoint.config import EncoderConfig
from auricle.checkpoint.vocabulary import PAD
from auricle.models.cnn10 import AUDIOSET_CLASSES, masked_mean
from auricle.models.encoder import Tagger, build_encoder, frame_mask

HEARD_TAGS = 8  # the most probable tags of a sound, used in addition to its clip embedding


class TextTower(nn.Module):
    """Embeds a caption as the mean of its words' vectors.

    The vectors are initialised by Word2Vec and trained further.
    """

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(words, size, padding_idx=PAD)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length), padded, without `<sos>` and `<eos>` -> (batch, size)."""
        return masked_mean(self.embedding(tokens), tokens != PAD)


class SharedSpace(nn.Module):
    """The space in which sounds and sentences are compared.

    It holds the text tower, and the layers that project sounds and sentences to a common size.

    Args:
        audio_size: size of the audio tower's clip embedding.
        words: size of the vocabulary.
        word_size: size of the word vectors.
        size: size of the space.
        tags: whether the tags of a sound are used too. Then captions with tags, but without sound,
            are useful.
    """

    def __init__(
        self, audio_size: int, words: int, word_size: int, size: int, tags: bool = False
    ) -> None:
        super().__init__()
        self.text = TextTower(words, word_size)
        self.audio_projection = nn.Linear(audio_size, size)
        self.text_projection = nn.Linear(word_size, size)
        self.tag_projection = nn.Linear(AUDIOSET_CLASSES, size, bias=False) if tags else None

    def embed_sound(self, clips: Tensor, tags: Tensor | None) -> Tensor:
        """Returns embeddings of sounds.

        Args:
            clips: (batch, audio_size), clip embeddings; zeros if only tags are known.
            tags: (batch, 527), probabilities, if they are used.

        Returns:
            (batch, size), of length 1.
        """
        embedding = self.audio_projection(clips)
        if self.tag_projection is not None:
            assert tags is not None
            embedding = embedding + self.tag_projection(tag_features(tags))
        return F.normalize(embedding, dim=1)

    def embed_text(self, tokens: Tensor) -> Tensor:
        """Returns embeddings of captions, of length 1: (batch, length) -> (batch, size).

        The words are padded, without `<sos>` and `<eos>`.
        """
        return F.normalize(self.text_projection(self.text(tokens)), dim=1)


def tag_features(probabilities: Tensor) -> Tensor:
    """Returns the square roots of the most probable tags, and zeros for the rest: (batch, 527).

    Captions without sound have such tags too.
    """
    likeliest, classes = probabilities.topk(HEARD_TAGS, dim=1)
    return torch.zeros_like(probabilities).scatter(1, classes, likeliest.sqrt())


class PreEncoder(nn.Module):
    """Audio tower and text tower, each with a linear layer into their shared space.

    Args:
        encoder: the audio tower.
        words: size of the vocabulary.
        word_size: size of the word vectors.
        projection: size of the shared space.
        temperature: tau of the loss.
        learn_temperature: whether tau is trained too.
        tags: whether tags are used too, see `SharedSpace`.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        words: int,
        word_size: int,
        projection: int,
        temperature: float,
        learn_temperature: bool,
        tags: bool = False,
    ) -> None:
        super().__init__()
        self.audio = build_encoder(encoder)
        self.space = SharedSpace(self.audio.size, words, word_size, projection, tags)
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(temperature)), requires_grad=learn_temperature
        )

    def forward(
        self, log_mel: Tensor, frames: Tensor, tokens: Tensor, text_tags: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Returns embeddings of sounds and of captions.

        Args:
            log_mel: (batch, frames, mels), padded at the end.
            frames: (batch,), the number of frames with sound.
            tokens: (batch + texts, length) words of captions. Captions without sound come last.
            text_tags: (texts, 527), the tags of captions without sound, used instead of sounds.

        Returns:
            Embeddings of sounds and captions, (batch + texts, projection) each, tau, and the logits
            of the sounds' tags, (batch, 527), if tags are used.
        """
        clips, logits = self.hear(log_mel, frames)
        tags = None if logits is None else logits.sigmoid().detach()
        if text_tags is not None:
            assert tags is not None
            clips = torch.cat([clips, clips.new_zeros(len(text_tags), clips.shape[1])])
            tags = torch.cat([tags, text_tags])
        # As in CLIP (Radford et al. 2021), a learned tau is at least 0.01.
        temperature = self.log_temperature.clamp(min=math.log(0.01)).exp()
        return (
            self.space.embed_sound(clips, tags),
            self.space.embed_text(tokens),
            temperature,
            logits,
        )

    def hear(self, log_mel: Tensor, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns clip embeddings (batch, audio_size), and logits of tags (batch, 527) if used.

        Args:
            log_mel: (batch, frames, mels), padded at the end.
            frames: (batch,), the number of frames with sound.
        """
        features = self.audio(log_mel)
        mask = frame_mask(self.audio.output_frames(frames), features.shape[1])
        logits = None
        if self.space.tag_projection is not None:
            assert isinstance(self.audio, Tagger)
            logits = self.audio.tags(features, mask)
        return self.audio.embed(features, mask), logits

    def embed_audio(self, log_mel: Tensor, frames: Tensor) -> Tensor:
        """Returns embeddings of sounds, of length 1: (batch, projection).

        Args:
            log_mel: (batch, frames, mels), padded at the end.
            frames: (batch,), the number of frames with sound.
        """
        clips, logits = self.hear(log_mel, frames)
        return self.space.embed_sound(clips, None if logits is None else logits.sigmoid())

    def embed_text(self, tokens: Tensor) -> Tensor:
        """Returns embeddings of captions, of length 1: (batch, length) -> (batch, projection)."""
        return self.space.embed_text(tokens)


def contrastive_loss(
    audio: Tensor, captions: Tensor, temperature: Tensor | float, also_fit: Tensor | None = None
) -> Tensor:
    """Returns the symmetric InfoNCE loss of N sounds and their N captions.

    Args:
        audio: a, (N, size), of length 1.
        captions: c, (N, size), of length 1; caption i belongs to sound i.
        temperature: tau.
        also_fit: (N, N), true if caption j of another sound also fits sound i. The sums omit such
            pairs.

    Returns:
        L, a scalar.
    """
    s = audio @ captions.T / temperature  # s(i, j) / tau
    if also_fit is not None:
        s = s.masked_fill(also_fit, -torch.inf)
    matching = s.diagonal()  # (N,), each sound with its own caption
    audio_loss = s.logsumexp(dim=1) - matching  # La_i: sound i against all captions
    caption_loss = s.logsumexp(dim=0) - matching  # Lc_j: caption j against all sounds
    return (audio_loss + caption_loss).mean()


def fitting_pairs(*keys: Sequence[str]) -> np.ndarray:
    """Finds the captions that fit the sound of another item.

    Args:
        keys: for each property (recording, caption, label), the value of each of N items; an empty
            string if it is unknown.

    Returns:
        (N, N) bool: true if two items have the same value of a property, and on the diagonal.
    """
    fit = np.eye(len(keys[0]), dtype=bool)
    for key in keys:
        values = np.array(key, dtype=object)
        fit |= (values[:, None] == values) & (values != "")
    return fit


def retrieval(similarity: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    """Measures the retrieval of captions by sounds, and of sounds by captions.

    Args:
        similarity: (sounds, captions).
        relevant: (sounds, captions), true if the caption fits the sound.

    Returns:
        `audio_to_text_recall_1`, `_5`, `_10`: the share of sounds with a relevant caption among the
        first k. `audio_to_text_map_10`: the mean over sounds of the average precision among the
        first 10, divided by the largest possible number of relevant captions, min(10, relevant).
        `text_to_audio_...`: the same for the retrieval of sounds by captions.
    """
    scores: dict[str, float] = {}
    for name, s, r in (
        ("audio_to_text", similarity, relevant),
        ("text_to_audio", similarity.T, relevant.T),
    ):
        order = np.argsort(-s, axis=1, kind="stable")[:, :10]
        hits = np.take_along_axis(r, order, 1)
        for k in (1, 5, 10):
            scores[f"{name}_recall_{k}"] = float(hits[:, :k].any(1).mean())
        precision = hits.cumsum(1) / np.arange(1, hits.shape[1] + 1)
        possible = np.minimum(10, r.sum(1)).clip(min=1)
        scores[f"{name}_map_10"] = float(((precision * hits).sum(1) / possible).mean())
    return scores
