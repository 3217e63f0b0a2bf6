"""The state that a decoder carries from one word to the next."""

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class DecoderState:
    """Keys and values of the words so far and of the sound.

    Rows are hypotheses, ordered by item. Every item of the batch has the same number of rows. The
    tensors of `decoder.onnx` have the names of the fields.
    """

    past_keys: Tensor  # (layers, rows, heads, words so far, size of a head)
    past_values: Tensor  # the same shape
    memory_keys: Tensor  # (layers, batch, heads, frames, size of a head)
    memory_values: Tensor  # the same shape
    memory_mask: Tensor | None = None  # (batch, frames), true where there is sound; None: all sound

    @classmethod
    def begin(
        cls, memory_keys: Tensor, memory_values: Tensor, memory_mask: Tensor | None = None
    ) -> "DecoderState":
        """Returns the state before the first word, with one row for each item of the batch."""
        layers, batch, heads, _, size = memory_keys.shape
        no_words = memory_keys.new_zeros(layers, batch, heads, 0, size)
        return cls(no_words, no_words, memory_keys, memory_values, memory_mask)

    def continued_from(self, parents: Tensor) -> "DecoderState":
        """Returns the state whose rows continue the given rows of this one: (rows,)."""
        return replace(
            self, past_keys=self.past_keys[:, parents], past_values=self.past_values[:, parents]
        )
