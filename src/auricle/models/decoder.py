"""The paper's decoder: a standard Transformer decoder (Vaswani et al. 2017) over word embeddings;
and BART's, for the baseline.

Attention is written out by hand: one code serves training, the step with a key/value cache, and its
export to ONNX.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.checkpoint.vocabulary import PAD


class Attention(nn.Module):
    """Multi-head attention; keys and values are made apart from it being applied, so that they can
    be kept.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} cannot be shared among {heads} heads")
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """(batch, length, width) -> (batch, heads, length, width / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, length, width) -> twice (batch, heads, length, width / heads)."""
        return self.split(self.key(x)), self.split(self.value(x))

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Attends from x to the keys.

        Args:
            x: (batch, queries, width).
            keys: (batch, heads, length, width / heads).
            values: likewise.
            mask: true where attention is allowed, broadcast to (batch, heads, queries, length).

        Returns:
            (batch, queries, width), and the weights (batch, heads, queries, length).
        """
        scores = self.split(self.query(x)) @ keys.transpose(2, 3) / math.sqrt(keys.shape[3])
        if mask is not None:
            # not -inf: a row that is all masked stays finite
            scores = scores.float().masked_fill(~mask, -1e9)
        weights = scores.softmax(3)
        mixed = F.dropout(weights, self.dropout, self.training) @ values
        return self.output(mixed.transpose(1, 2).flatten(2)), weights


class DecoderLayer(nn.Module):
    """Self-attention, attention to the sound, feed-forward; each added to its input and
    normalised.
    """

    def __init__(
        self, width: int, heads: int, feedforward: int, dropout: float, activation: nn.Module
    ) -> None:
        super().__init__()
        self.self_attention = Attention(width, heads, dropout)
        self.cross_attention = Attention(width, heads, dropout)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward),
            activation,
            nn.Dropout(dropout),
            nn.Linear(feedforward, width),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)


class LearnedPositions(nn.Module):
    """Positions as BART has them (Lewis et al. 2020): learnt vectors, added, and the sum
    normalised.
    """

    most = 1024
    offset = 2  # BART's first two vectors are not used

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(self.most + self.offset, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """(..., length, width), (length,) -> (..., length, width)."""
        return self.norm(x + self.vectors(positions + self.offset))


class TransformerDecoder(nn.Module):
    """Word embedding, Transformer decoder, and an output layer of its own (untied).

    As BART has it, positions are learnt, GELU stands for ReLU, and the output layer is the word
    embedding (tied, no bias).

    Args:
        words: size of the vocabulary.
        width: size of word embeddings and of the memory.
        layers: number of layers.
        heads: attention heads of each.
        feedforward: hidden size of the feed-forward networks.
        dropout: rate, everywhere.
        bart: as BART has it.
    """

    def __init__(
        self,
        words: int,
        width: int,
        layers: int,
        heads: int,
        feedforward: int,
        dropout: float,
        *,
        bart: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=PAD)
        self.positions = LearnedPositions(width) if bart else None
        activation = nn.GELU() if bart else nn.ReLU()
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, feedforward, dropout, activation) for _ in range(layers)
        )
        self.output = None if bart else nn.Linear(width, words)
        self.dropout = nn.Dropout(dropout)
        if bart:
            draw_as_bart(self)
            return
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def embed(self, tokens: Tensor) -> Tensor:
        """Embeddings of words at their positions: (batch, length) -> (batch, length, width)."""
        return self._placed(tokens, torch.arange(tokens.shape[1], device=tokens.device))

    def _placed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        embedded = self.embedding(tokens)
        if self.positions is not None:
            return self.positions(embedded, positions)
        return embedded + sinusoids(positions, self.embedding.embedding_dim)

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(x, self.embedding.weight) if self.output is None else self.output(x)

    def forward(self, embedded: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """Logits of the word after each word, all at once (teacher forcing).

        Args:
            embedded: (batch, length, width), from `embed`. Padding stands at the end, where no
                earlier word can see it.
            memory: (batch, frames, width).
            memory_mask: (batch, frames), true where there is sound.

        Returns:
            (batch, length, words).
        """
        length = embedded.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=embedded.device).tril()
        x = self.dropout(embedded)
        for layer in self._typed_layers():
            keys, values = layer.self_attention.keys_values(x)
            x = _attend(layer, 0, x, layer.self_attention(x, keys, values, causal)[0])
            keys, values = layer.cross_attention.keys_values(memory)
            x = _attend(
                layer, 1, x, layer.cross_attention(x, keys, values, memory_mask[:, None, None])[0]
            )
            x = _attend(layer, 2, x, layer.feedforward(x))
        return self._logits(x)

    def memory_keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """What every step needs of the sound: (batch, frames, width) -> twice (layers, batch,
        heads, frames, size).
        """
        pairs = [layer.cross_attention.keys_values(memory) for layer in self._typed_layers()]
        return torch.stack([keys for keys, _ in pairs]), torch.stack(
            [values for _, values in pairs]
        )

    def step(
        self,
        tokens: Tensor,
        parents: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        memory_keys: Tensor,
        memory_values: Tensor,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-probabilities of the next word, from the last word and a cache of what came before.

        Rows are hypotheses, ordered by item, equally many for each item of the batch.

        Args:
            tokens: (rows,), the last words.
            parents: (rows,), the row of the cache that each hypothesis continues.
            past_keys: (layers, rows of the call before, heads, words before, size); no words before
                the first call.
            past_values: likewise.
            memory_keys: (layers, batch, heads, frames, size).
            memory_values: likewise.
            memory_mask: (batch, frames), true where there is sound; all of it if None.

        Returns:
            Log-probabilities (rows, words), keys and values with those of the last words added, and
            where in the sound each hypothesis attended: (rows, frames), the mean over layers and
            heads.
        """
        past_keys, past_values = past_keys[:, parents], past_values[:, parents]
        batch = memory_keys.shape[1]
        mask = None if memory_mask is None else memory_mask[:, None, None]
        position = past_keys.shape[3] + torch.zeros_like(tokens[:1])
        x = self._placed(tokens, position).unsqueeze(1)  # (rows, 1, width)
        all_keys, all_values, all_weights = [], [], []
        for index, layer in enumerate(self._typed_layers()):
            keys, values = layer.self_attention.keys_values(x)
            keys = torch.cat([past_keys[index], keys], 2)
            values = torch.cat([past_values[index], values], 2)
            x = _attend(layer, 0, x, layer.self_attention(x, keys, values, None)[0])
            # The hypotheses of one item are so many queries to the same sound: it need not be
            # repeated for each.
            queries = x.reshape(batch, -1, x.shape[2])
            attended, weights = layer.cross_attention(
                queries, memory_keys[index], memory_values[index], mask
            )
            x = _attend(layer, 1, x, attended.reshape(x.shape))
            x = _attend(layer, 2, x, layer.feedforward(x))
            all_keys.append(keys)
            all_values.append(values)
            all_weights.append(weights.mean(1).flatten(0, 1))
        log_probs = self._logits(x[:, 0]).log_softmax(1)
        return (
            log_probs,
            torch.stack(all_keys),
            torch.stack(all_values),
            torch.stack(all_weights).mean(0),
        )

    def _typed_layers(self) -> list[DecoderLayer]:
        """The layers by their type, which a ModuleList forgets."""
        return cast("list[DecoderLayer]", list(self.layers))


def _attend(layer: DecoderLayer, index: int, x: Tensor, change: Tensor) -> Tensor:
    return layer.norms[index](x + layer.dropout(change))


def draw_as_bart(module: nn.Module) -> None:
    """Initial weights as BART's: matrices from a normal distribution of deviation 0.02, biases and
    the padding zero.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, 0, 0.02)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            nn.init.zeros_(part.weight[part.padding_idx])


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Positional encoding: (length,) -> (length, width); sines in the even places, cosines in the
    odd ones.
    """
    rates = torch.exp(
        torch.arange(0, width, 2, device=positions.device) * (-math.log(10000.0) / width)
    )
    angles = positions[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
