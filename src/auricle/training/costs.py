"""Counts the operations of a training and the memory of its backward pass.

It runs the networks on tensors without numbers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from auricle.checkpoint.vocabulary import UNKNOWN
from auricle.sound.features import front_end
from auricle.training.config import Recipe
from auricle.training.pretrain import build_pre_encoder
from auricle.training.train import build_captioner

CAPTION_WORDS = 13  # with beginning and end
BACKWARD = 2  # operations of the backward pass, as a multiple of the forward pass


@dataclass(frozen=True)
class Cost:
    """One stage of a training, for one sound with one caption."""

    forward: int  # floating-point operations: a multiplication and an addition are two
    training: int  # the same, with the backward pass of the parts that learn
    activations: int  # bytes kept for the backward pass
    fixed: int  # bytes of weights, gradients and the optimizer's two moments, in single precision

    def memory(self, batch: int) -> int:
        """Bytes for a batch."""
        return self.fixed + batch * self.activations


def stage_costs(recipe: Recipe, words: int, seconds: float) -> dict[str, Cost]:
    """Counts the costs of a recipe's stages: `pre-encoder`, if there is one, and `captioner`.

    Args:
        recipe: sets the networks.
        words: size of the vocabulary, with special words.
        seconds: the length of a sound.
    """
    hears = front_end(recipe.data.front_end)
    frames = hears.frames(round(seconds * hears.rate))
    with torch.device("meta"):
        log_mel, lengths = torch.zeros(1, frames, hears.mels), torch.full((1,), frames)
        tokens = torch.full((1, CAPTION_WORDS), UNKNOWN)
        captioner = build_captioner(recipe, words).train()
        costs = {}
        if recipe.train.initial == "pre-encoder":
            pre_encoder = build_pre_encoder(recipe, words).train()
            costs["pre-encoder"] = _cost(
                pre_encoder, pre_encoder.audio, (log_mel, lengths, tokens), frozen=False
            )
        frozen = not recipe.train.encoder_rate
        if frozen:
            captioner.freeze_encoder()
        costs["captioner"] = _cost(
            captioner, captioner.encoder, (log_mel, lengths, tokens), frozen=frozen
        )
    return costs


def _cost(
    model: nn.Module, encoder: nn.Module, inputs: tuple[Tensor, Tensor, Tensor], *, frozen: bool
) -> Cost:
    # Count by storage: a kept tensor may be a view of a weight or of another kept tensor.
    weights = {_storage(parameter) for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            kept[_storage(tensor)] = tensor
        return tensor

    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(note, lambda x: x),
    ):
        model(*inputs)
    forward = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(inputs[0])
    learnt = forward - counter.get_total_flops() if frozen else forward
    parameters = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    activations = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return Cost(forward, forward + BACKWARD * learnt, activations, 4 * parameters + 12 * trained)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
