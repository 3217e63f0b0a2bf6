"""The paper's decoder, and BART's decoder for the baseline.

The paper uses a standard Transformer decoder (Vaswani et al. 2017) over word embeddings. Training,
the step with a cache of keys and values, and the export to ONNX all use `DecoderLayer.forward`, so
this module implements attention itself.
"""

import math
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.checkpoint.vocabulary import PAD
from auricle.models.decoder_state import DecoderState

KeysValues = tuple[Tensor, Tensor]


class Attention(nn.Module):
    """Multi-head attention.

    `keys_values` makes keys and values, and `forward` applies them, so that callers can cache them.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width is {width}: expected a multiple of heads, {heads}")
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
            values: the same shape.
            mask: true where attention is allowed, broadcast to (batch, heads, queries, length).

        Returns:
            (batch, queries, width), and the weights (batch, heads, queries, length).
        """
        scores = self.split(self.query(x)) @ keys.transpose(2, 3) / math.sqrt(keys.shape[3])
        if mask is not None:
            # Uses no -inf, so that a row of masked scores only stays finite.
            scores = scores.float().masked_fill(~mask, -1e9)
        weights = scores.softmax(3)
        mixed = F.dropout(weights, self.dropout, self.training) @ values
        return self.output(mixed.transpose(1, 2).flatten(2)), weights


class DecoderLayer(nn.Module):
    """Self-attention, attention to the sound, and a feed-forward network.

    Each result is added to its input, and the sum is normalised.
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

    def forward(
        self,
        x: Tensor,
        past: KeysValues | None,
        memory: KeysValues,
        *,
        causal_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, KeysValues, Tensor]:
        """Passes words through the layer: all words of a caption, or only the latest word.

        Args:
            x: (rows, length, width), the words.
            past: keys and values of earlier words, (rows, heads, words, size of a head) each; None
                if there are none.
            memory: keys and values of the sound, (batch, heads, frames, size of a head) each. Each
                item of the batch has the same number of rows.
            causal_mask: (length, length), true where a word may attend to another; None:
                everywhere.
            memory_mask: (batch, 1, 1, frames), true where there is sound; None: everywhere.

        Returns:
            The words (rows, length, width); keys and values of the words so far; and the attention
            to the sound (batch, heads, queries, frames), where an item has rows x length queries.
        """
        keys, values = self.self_attention.keys_values(x)
        if past is not None:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        attended, _ = self.self_attention(x, keys, values, causal_mask)
        x = self._add_and_normalise(0, x, attended)
        # All hypotheses of an item query the same sound, so the sound is not repeated for each.
        queries = x.reshape(memory[0].shape[0], -1, x.shape[2])
        attended, weights = self.cross_attention(queries, *memory, memory_mask)
        x = self._add_and_normalise(1, x, attended.reshape(x.shape))
        return self._add_and_normalise(2, x, self.feedforward(x)), (keys, values), weights

    def _add_and_normalise(self, index: int, x: Tensor, change: Tensor) -> Tensor:
        return self.norms[index](x + self.dropout(change))


class LearnedPositions(nn.Module):
    """BART's positions (Lewis et al. 2020).

    Adds a learnt vector for each position, and normalises the sum.
    """

    position_count = 1024
    offset = 2  # BART does not use its first two vectors

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(self.position_count + self.offset, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """(..., length, width), (length,) -> (..., length, width)."""
        return self.norm(x + self.vectors(positions + self.offset))


class TransformerDecoder(nn.Module):
    """Word embedding, Transformer decoder, and a separate output layer.

    BART's variant learns its positions, uses GELU instead of ReLU, and uses the word embedding as
    the output layer (tied, no bias).

    Args:
        words: size of the vocabulary.
        width: size of word embeddings and of the memory.
        layers: number of layers.
        heads: attention heads of each.
        feedforward: hidden size of the feed-forward networks.
        dropout: rate, everywhere.
        bart: build BART's variant.
        tied: use the word embedding as the output layer, and scale it as the input (Vaswani et al.
            2017, section 3.4). BART's variant is always tied, without scaling.
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
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=PAD)
        self.positions = LearnedPositions(width) if bart else None
        activation = nn.GELU() if bart else nn.ReLU()
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, feedforward, dropout, activation) for _ in range(layers)
        )
        self.output = None if bart or tied else nn.Linear(width, words)
        self.scale = math.sqrt(width) if tied else 1.0
        self.dropout = nn.Dropout(dropout)
        if bart:
            draw_as_bart(self)
            return
        if tied:
            nn.init.normal_(self.embedding.weight, 0, width**-0.5)
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def embed(self, tokens: Tensor) -> Tensor:
        """Returns words at their positions: (batch, length) -> (batch, length, width)."""
        return self._embed_at(tokens, torch.arange(tokens.shape[1], device=tokens.device))

    def _embed_at(self, tokens: Tensor, positions: Tensor) -> Tensor:
        embedded = self.embedding(tokens)
        if self.positions is not None:
            return self.positions(embedded, positions)
        return embedded * self.scale + sinusoids(positions, self.embedding.embedding_dim)

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(x, self.embedding.weight) if self.output is None else self.output(x)

    def forward(self, embedded: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """Returns the logits of the word after each word (teacher forcing).

        Args:
            embedded: (batch, length, width), from `embed`. Padding is at the end, so earlier words
                do not attend to it.
            memory: (batch, frames, width).
            memory_mask: (batch, frames), true where there is sound.

        Returns:
            (batch, length, words).
        """
        length = embedded.shape[1]
        causal_mask = torch.ones(length, length, dtype=torch.bool, device=embedded.device).tril()
        x = self.dropout(embedded)
        for layer in self._typed_layers():
            x, _, _ = layer(
                x,
                None,
                layer.cross_attention.keys_values(memory),
                causal_mask=causal_mask,
                memory_mask=memory_mask[:, None, None],
            )
        return self._logits(x)

    def begin(self, memory: Tensor, memory_mask: Tensor | None = None) -> DecoderState:
        """Returns the state before the first word.

        Args:
            memory: (batch, frames, width).
            memory_mask: (batch, frames), true where there is sound; None: everywhere.
        """
        pairs = [layer.cross_attention.keys_values(memory) for layer in self._typed_layers()]
        keys = torch.stack([keys for keys, _ in pairs])
        values = torch.stack([values for _, values in pairs])
        return DecoderState.begin(keys, values, memory_mask)

    def step(
        self, tokens: Tensor, parents: Tensor, state: DecoderState
    ) -> tuple[Tensor, DecoderState, Tensor]:
        """Returns log-probabilities of the next word.

        Args:
            tokens: (rows,), the last word of each hypothesis.
            parents: (rows,), the row of the state that each hypothesis continues.
            state: the state before the last words.

        Returns:
            Log-probabilities (rows, words); the state with the last words added; and the attention
            of each hypothesis to the sound, (rows, frames), the mean over layers and heads.
        """
        state = state.continued_from(parents)
        mask = None if state.memory_mask is None else state.memory_mask[:, None, None]
        position = state.past_keys.shape[3] + torch.zeros_like(tokens[:1])
        x = self._embed_at(tokens, position).unsqueeze(1)  # (rows, 1, width)
        all_keys, all_values, all_weights = [], [], []
        for index, layer in enumerate(self._typed_layers()):
            x, (keys, values), weights = layer(
                x,
                (state.past_keys[index], state.past_values[index]),
                (state.memory_keys[index], state.memory_values[index]),
                memory_mask=mask,
            )
            all_keys.append(keys)
            all_values.append(values)
            all_weights.append(weights.mean(1).flatten(0, 1))
        log_probs = self._logits(x[:, 0]).log_softmax(1)
        state = replace(state, past_keys=torch.stack(all_keys), past_values=torch.stack(all_values))
        return log_probs, state, torch.stack(all_weights).mean(0)

    def _typed_layers(self) -> list[DecoderLayer]:
        """Returns the layers with their type, which ModuleList loses."""
        return cast("list[DecoderLayer]", list(self.layers))


def draw_as_bart(module: nn.Module) -> None:
    """Draws initial weights as BART does.

    Matrices come from a normal distribution with a deviation of 0.02. Biases and the vector of the
    padding are zero.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, 0, 0.02)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            nn.init.zeros_(part.weight[part.padding_idx])


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Returns positional encodings: (length,) -> (length, width).

    Even columns hold sines, odd columns cosines.
    """
    rates = torch.exp(
        torch.arange(0, width, 2, device=positions.device) * (-math.log(10000.0) / width)
    )
    angles = positions[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
