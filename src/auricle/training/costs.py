"""Counts the operations of a training and the memory of a step.

It runs the networks on tensors without numbers.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from auricle.checkpoint.vocabulary import UNKNOWN
from auricle.sound.features import front_end
from auricle.training.config import Recipe
from auricle.training.pretrain import build_pre_encoder
from auricle.training.train import build_captioner

CAPTION_WORDS = 13  # with beginning and end
LIBRARY_WORKSPACE = 1 << 28  # bytes that convolutions and matrix products may use at a time
BACKWARD = 2  # operations of the backward pass, as a multiple of the forward pass
COUNTED_SECONDS = (2.0, 4.0)  # two lengths of sounds whose costs are counted


@dataclass(frozen=True)
class Cost:
    """One stage of a training, for one sound with one caption."""

    forward: int  # floating-point operations: a multiplication and an addition are two
    training: int  # the same, with the backward pass of the parts that learn
    activations: int  # bytes kept for the backward pass
    workspace: int  # bytes that come and go: gradients of the largest activations and of outputs
    weights: int  # bytes of all sounds together, in single precision, with the moving average's
    gradients: int  # bytes of all sounds together
    moments: int  # bytes of the optimizer's two moments

    def memory(self, batch: int) -> int:
        """Returns the bytes of a step for a batch, with the workspace of libraries."""
        fixed = self.weights + self.gradients + self.moments + LIBRARY_WORKSPACE
        return fixed + batch * (self.activations + self.workspace)


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
                pre_encoder, pre_encoder.audio, (log_mel, lengths, tokens), frozen=False, copies=1
            )
        frozen = not recipe.train.encoder_rate
        if frozen:
            captioner.freeze_encoder()
        costs["captioner"] = _cost(
            captioner,
            captioner.encoder,
            (log_mel, lengths, tokens),
            frozen=frozen,
            copies=2 if recipe.train.ema else 1,
        )
    return costs


def estimated_costs(recipe: Recipe, words: int, seconds: float) -> dict[str, Cost]:
    """Returns the costs of stages for sounds of a length, from those of two short ones.

    Costs grow evenly with the length, and counting a recurrent network's for half a minute takes
    longer than everything else.
    """
    short, long = (stage_costs(recipe, words, counted) for counted in COUNTED_SECONDS)
    steps = (seconds - COUNTED_SECONDS[0]) / (COUNTED_SECONDS[1] - COUNTED_SECONDS[0])
    return {
        stage: Cost(
            **{
                name: round(one + steps * (getattr(long[stage], name) - one))
                for name, one in asdict(cost).items()
            }
        )
        for stage, cost in short.items()
    }


def _cost(
    model: nn.Module,
    encoder: nn.Module,
    inputs: tuple[Tensor, Tensor, Tensor],
    *,
    frozen: bool,
    copies: int,  # of the weights
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
        outputs = model(*inputs)
    forward = counter.get_total_flops()
    learnt = forward
    if frozen:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            encoder(inputs[0])
        learnt -= counter.get_total_flops()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    sizes = [tensor.untyped_storage().nbytes() for tensor in kept.values()]
    found = outputs if isinstance(outputs, tuple) else (outputs,)
    output = sum(tensor.untyped_storage().nbytes() for tensor in found if tensor is not None)
    return Cost(
        forward,
        forward + BACKWARD * learnt,
        activations=sum(sizes),
        # The gradients before and after a layer; log-probabilities, and the gradients of outputs.
        workspace=2 * max(sizes, default=0) + 2 * output,
        weights=4 * copies * parameters,
        gradients=4 * trained,
        moments=8 * trained,
    )


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
