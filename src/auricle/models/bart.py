"""The Transformer encoder of the DCASE 2022 baseline.

It is BART's encoder (Lewis et al. 2020), with frames of sound instead of words.
"""

import torch
from torch import Tensor, nn

from auricle.models.decoder import Attention, LearnedPositions, draw_as_bart


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network; each is added to its input and normalised."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward, width),
        )
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, frames, width), (batch, 1, 1, frames) -> (batch, frames, width)."""
        attended, _ = self.attention(x, *self.attention.keys_values(x), mask)
        x = self.attention_norm(x + self.dropout(attended))
        return self.feedforward_norm(x + self.dropout(self.feedforward(x)))


class BartEncoder(nn.Module):
    """A Transformer encoder in which frames of sound attend to each other.

    Args:
        width: of the frames.
        layers: number of layers.
        heads: attention heads of each.
        feedforward: hidden size of the feed-forward networks.
        dropout: rate, everywhere.
    """

    def __init__(
        self, width: int, layers: int, heads: int, feedforward: int, dropout: float
    ) -> None:
        super().__init__()
        self.positions = LearnedPositions(width)
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, feedforward, dropout) for _ in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        draw_as_bart(self)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Returns frames that have attended to each other.

        Args:
            frames: (batch, frames, width).
            mask: (batch, frames), true where there is sound.

        Returns:
            (batch, frames, width).
        """
        x = self.dropout(
            self.positions(frames, torch.arange(frames.shape[1], device=frames.device))
        )
        for layer in self.layers:
            x = layer(x, mask[:, None, None])
        return x
