"""A small version of the recurrent captioner of Drossos, Adavanne and Virtanen (2017).

The encoder has three bidirectional GRU layers, and a residual connection around the third. The
decoder has an alignment model and GRU layers. The published decoder receives the context only. Ours
also receives the previous word, as in Bahdanau et al. (2015), because beam search needs it to
distinguish hypotheses. The encoder averages every eight frames, so half a minute takes a few
hundred steps.
"""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.checkpoint.vocabulary import PAD
from auricle.models.cnn10 import masked_mean
from auricle.models.decoder_state import DecoderState


class GRUEncoder(nn.Module):
    """Bidirectional GRU layers over a log-mel spectrogram.

    In a batch, the backward direction begins in the padding. Therefore batches hold sounds of
    similar length, and captioning does not pad.

    Args:
        width: multiplies the 128 units of each direction.
        mels: mel bands of the front end.
    """

    reduction = 8  # log-mel frames to a frame of features

    def __init__(self, width: float = 1.0, mels: int = 64) -> None:
        super().__init__()
        units = max(8, round(128 * width))
        self.size = 2 * units
        self.norm = nn.BatchNorm1d(mels)
        self.layers = nn.ModuleList(
            nn.GRU(inputs, units, batch_first=True, bidirectional=True)
            for inputs in (mels, self.size, self.size)
        )

    def output_frames(self, frames: Tensor) -> Tensor:
        """Returns the number of feature frames for a number of log-mel frames."""
        return frames // self.reduction

    def forward(self, log_mel: Tensor) -> Tensor:
        """Returns frame features: (batch, frames, mels) -> (batch, frames // 8, size).

        Needs at least 8 frames.
        """
        x = F.avg_pool1d(self.norm(log_mel.transpose(1, 2)), self.reduction).transpose(1, 2)
        first, second, third = (cast("nn.GRU", layer) for layer in self.layers)
        x = _run(second, _run(first, x))
        return x + _run(third, x)

    def embed(self, features: Tensor, mask: Tensor) -> Tensor:
        """Returns clip embeddings, the mean over time.

        (batch, frames, size), (batch, frames) -> (batch, size).
        """
        return masked_mean(features, mask)


def _run(layer: nn.GRU, x: Tensor) -> Tensor:
    """Runs a bidirectional layer: (batch, frames, inputs) -> (batch, frames, 2 * units)."""
    if not torch.onnx.is_in_onnx_export():
        return layer(x)[0]
    # The exporter would unroll the layer over the frames of its example. Therefore this uses the
    # operator of ONNX, which has its gates in another order: update, reset, new.
    directions = ("", "_reverse")
    weights = [
        torch.stack([_gates(layer, f"{kind}_l0{way}") for way in directions])
        for kind in ("weight_ih", "weight_hh")
    ]
    biases = [
        torch.stack([_gates(layer, f"{kind}_l0{way}") for way in directions])
        for kind in ("bias_ih", "bias_hh")
    ]
    outputs = torch.onnx.ops.symbolic(
        "GRU",
        (x.transpose(0, 1), *weights, torch.cat(biases, 1)),
        {"hidden_size": layer.hidden_size, "direction": "bidirectional", "linear_before_reset": 1},
        dtype=x.dtype,
        shape=(x.shape[1], 2, x.shape[0], layer.hidden_size),
        version=14,
    )  # (frames, directions, batch, units)
    return outputs.permute(2, 0, 1, 3).flatten(2)


def _gates(layer: nn.GRU, name: str) -> Tensor:
    reset, update, new = getattr(layer, name).chunk(3)
    return torch.cat([update, reset, new])


class GRUDecoder(nn.Module):
    """Word embedding, GRU layers that attend to the sound before each word, and an output layer.

    It has the interface of `TransformerDecoder`, with one head. Its `DecoderState` holds the hidden
    states as keys and the contexts as values. A step needs only the last hidden state.

    Args:
        words: size of the vocabulary.
        width: size of word embeddings, of the memory and of the states.
        layers: number of GRU layers.
        dropout: rate, for embeddings and for the input of the output layer.
    """

    def __init__(self, words: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=PAD)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.energy = nn.Linear(width, 1, bias=False)
        self.layers = nn.ModuleList(
            nn.GRUCell(width if index else 2 * width, width) for index in range(layers)
        )
        self.output = nn.Linear(width, words)
        self.dropout = nn.Dropout(dropout)

    def embed(self, tokens: Tensor) -> Tensor:
        """Returns embeddings of words: (batch, length) -> (batch, length, width)."""
        return self.embedding(tokens)

    def forward(self, embedded: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """Returns the logits of the word after each word (teacher forcing).

        Args:
            embedded: (batch, length, width), from `embed`.
            memory: (batch, frames, width).
            memory_mask: (batch, frames), true where there is sound.

        Returns:
            (batch, length, words).
        """
        keys, x = self.key(memory).unsqueeze(1), self.dropout(embedded)
        states = embedded.new_zeros(len(self.layers), len(embedded), embedded.shape[2])
        last_states = []
        for position in range(x.shape[1]):
            states, _, _ = self._next(
                x[:, position], states, keys, memory.unsqueeze(1), memory_mask[:, None]
            )
            last_states.append(states[-1])
        return self.output(self.dropout(torch.stack(last_states, 1)))

    def begin(self, memory: Tensor, memory_mask: Tensor | None = None) -> DecoderState:
        """Returns the state before the first word; see `TransformerDecoder.begin`."""
        keys, values = self.key(memory)[None, :, None], memory[None, :, None]
        shape = (len(self.layers), -1, -1, -1, -1)
        return DecoderState.begin(keys.expand(shape), values.expand(shape), memory_mask)

    def step(
        self, tokens: Tensor, parents: Tensor, state: DecoderState
    ) -> tuple[Tensor, DecoderState, Tensor]:
        """Returns log-probabilities of the next word; see `TransformerDecoder.step`."""
        state = state.continued_from(parents)
        x = self.embedding(tokens)
        nothing = x.new_zeros(len(self.layers), *x.shape)[:, :, None, None]
        # The hidden states are zero before the first word.
        hidden = torch.cat([nothing, state.past_keys], 3)[:, :, 0, -1]
        mask = None if state.memory_mask is None else state.memory_mask[:, None]
        hidden, context, weights = self._next(
            x, hidden, state.memory_keys[0], state.memory_values[0], mask
        )
        context = context.expand(hidden.shape)
        state = replace(
            state,
            past_keys=torch.cat([state.past_keys, hidden[:, :, None, None]], 3),
            past_values=torch.cat([state.past_values, context[:, :, None, None]], 3),
        )
        return self.output(hidden[-1]).log_softmax(1), state, weights

    def _next(
        self, x: Tensor, states: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the hidden states after a word, the context, and the attention.

        Args:
            x: (rows, width), the word.
            states: (layers, rows, width), the hidden states before it.
            keys: (batch, 1, frames, width). Each item of the batch has the same number of rows.
            values: the same shape.
            mask: (batch, 1, frames).

        Returns:
            (layers, rows, width), (rows, width), (rows, frames).
        """
        queries = self.query(states[-1]).reshape(keys.shape[0], -1, 1, keys.shape[3])
        scores = self.energy(torch.tanh(queries + keys)).squeeze(3)  # (batch, rows of each, frames)
        if mask is not None:
            scores = scores.float().masked_fill(~mask, -1e9)
        weights = scores.softmax(2)
        context = (weights @ values[:, 0]).reshape(x.shape)
        x, after = torch.cat([x, context], 1), []
        for layer, state in zip(self.layers, states, strict=True):
            x = layer(x, state)
            after.append(x)
        return torch.stack(after), context, weights.flatten(0, 1)
