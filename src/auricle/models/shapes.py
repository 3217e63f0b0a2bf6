"""Builds networks without their numbers, to count, time or size them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

RANDOM_FILLS = {Tensor.normal_, Tensor.uniform_}


class _WithoutInitialValues(TorchFunctionMode):
    """Leaves out the initial values of parameters.

    On the device `meta`, random values are Python and make torch import its compiler, which takes
    seconds.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if func in RANDOM_FILLS or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def without_numbers() -> Iterator[None]:
    """Networks that are built in this context have shapes, but no numbers and no memory."""
    with torch.device("meta"), _WithoutInitialValues():
        yield


def give_memory(model: nn.Module, device: torch.device) -> None:
    """Gives memory to a network without numbers; its numbers are ones.

    This is faster than random numbers, and as good to count and to time. `to_empty` of torch would
    import sympy for it, which takes a second.
    """
    model._apply(lambda tensor: torch.ones(tensor.shape, dtype=tensor.dtype, device=device))
