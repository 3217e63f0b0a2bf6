"""Counts the operations of a training and the memory of a step.

It runs the networks on a short sound.
"""

from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from auricle.checkpoint.vocabulary import UNKNOWN
from auricle.models.captioning import CaptioningModel
from auricle.models.contrastive import PreEncoder
from auricle.models.shapes import give_memory, without_numbers
from auricle.sound.features import front_end
from auricle.training.config import Recipe
from auricle.training.pretrain import PreEncoderSizes, pre_encoder_sizes
from auricle.training.train import CaptionerSizes, captioner_sizes

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
        seconds: the length of a sound. Counting takes as long as running the networks on it.
    """
    return {stage: cost for stage, (cost,) in _costs(recipe, words, (seconds,)).items()}


def estimated_costs(recipe: Recipe, words: int, seconds: float) -> dict[str, Cost]:
    """Returns the costs of stages for sounds of a length, from those of two short ones.

    Costs grow evenly with the length, and short sounds are counted quickly.
    """
    steps = (seconds - COUNTED_SECONDS[0]) / (COUNTED_SECONDS[1] - COUNTED_SECONDS[0])
    return {
        stage: Cost(
            **{
                name: round(one + steps * (getattr(long, name) - one))
                for name, one in asdict(short).items()
            }
        )
        for stage, (short, long) in _costs(recipe, words, COUNTED_SECONDS).items()
    }


def _costs(recipe: Recipe, words: int, lengths: tuple[float, ...]) -> dict[str, tuple[Cost, ...]]:
    """Returns the costs of a recipe's stages, one for each length of sounds, in seconds."""
    hearing, costs = recipe.data.front_end, {}
    if recipe.train.initial == "pre-encoder":
        sizes = pre_encoder_sizes(recipe, words)
        costs["pre-encoder"] = _pre_encoder_costs(sizes, hearing, lengths)
    captioner = _captioner_costs(
        captioner_sizes(recipe, words), hearing, lengths, frozen=not recipe.train.encoder_rate
    )
    copies = 2 if recipe.train.ema else 1
    costs["captioner"] = tuple(replace(one, weights=copies * one.weights) for one in captioner)
    return costs


# Systems share networks, so the costs of a network are counted once.
@cache
def _pre_encoder_costs(
    sizes: PreEncoderSizes, hearing: str, lengths: tuple[float, ...]
) -> tuple[Cost, ...]:
    with without_numbers():
        pre_encoder = PreEncoder(*sizes).train()
    give_memory(pre_encoder, torch.device("cpu"))
    return tuple(_cost(pre_encoder, hearing, seconds) for seconds in lengths)


@cache
def _captioner_costs(
    sizes: CaptionerSizes, hearing: str, lengths: tuple[float, ...], *, frozen: bool
) -> tuple[Cost, ...]:
    with without_numbers():
        captioner = CaptioningModel(*sizes).train()
    give_memory(captioner, torch.device("cpu"))
    if frozen:
        captioner.freeze_encoder()
    return tuple(
        _cost(captioner, hearing, seconds, frozen="encoder" if frozen else "")
        for seconds in lengths
    )


def _cost(model: nn.Module, hearing: str, seconds: float, *, frozen: str = "") -> Cost:
    """Counts the cost of a network, while the network runs on a sound of zeros.

    It has numbers and runs on a CPU. On the device `meta`, torch takes longer, because many
    operations are Python there.

    Args:
        model: takes spectrograms, their frames, and captions.
        hearing: the name of the front end.
        seconds: the length of the sound.
        frozen: the name of the part that does not learn, if there is one.
    """
    hears = front_end(hearing)
    frames = hears.frames(round(seconds * hears.rate))
    # Count by storage: a kept tensor may be a view of a weight or of another kept tensor.
    weights = {_storage(parameter) for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            kept[_storage(tensor)] = tensor
        return tensor

    counter = _OperationCounter(model.get_submodule(frozen) if frozen else None)
    with counter, torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        outputs = model(
            torch.zeros(1, frames, hears.mels),
            torch.full((1,), frames),
            torch.full((1, CAPTION_WORDS), UNKNOWN),
        )
    forward, learnt = counter.total, counter.total - counter.of_part
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
        weights=4 * parameters,
        gradients=4 * trained,
        moments=8 * trained,
    )


class _OperationCounter(TorchDispatchMode):
    """Counts operations by torch's formulas.

    `FlopCounterMode` of torch counts the same, but imports torch's compiler, which takes seconds.

    Args:
        part: a part of the network that is counted separately, too; each of its runs ends before
            the next begins.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler to keep it away

    def __init__(self, part: nn.Module | None) -> None:
        super().__init__()
        self.total = self.of_part = 0
        self._part, self._hooks = part, []

    def __enter__(self) -> "_OperationCounter":
        def add(operations: int) -> None:
            self.of_part += operations

        if self._part is not None:
            self._hooks = [
                self._part.register_forward_pre_hook(lambda *_: add(-self.total)),
                self._part.register_forward_hook(lambda *_: add(self.total)),
            ]
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*exception)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        output = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=output)
        return output


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
