"""Passes over the batches of an epoch, with progress bars, mean losses and times."""

import math
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from auricle.data.batches import Batches
from auricle.data.collation import Batch
from auricle.data.progress import Report
from auricle.training.run import TrainingState

Show = Callable[[int, str], None]  # the step of the epoch, and a text


class DivergedError(Exception):
    """Numbers of a training are not finite; the message says which and where."""


class Pass:
    """One pass over an epoch's batches.

    It moves batches to the device, collects losses and times, and shows the progress.
    """

    def __init__(
        self, epoch: int, steps: int, batches: Iterator[Batch], device: torch.device, show: Show
    ) -> None:
        self.epoch = epoch  # the number of epochs before this one
        self.steps = steps
        self._batches, self._device, self._show = batches, device, show
        self._losses: list[Tensor] = []
        self._measures: dict[str, list[float]] = {}
        self._waited_seconds = self._seconds = 0.0

    def __iter__(self) -> Iterator[tuple[float, Batch]]:
        """Yields the epochs that will be done after a batch, as a fraction, and the batch."""
        began = time.perf_counter()
        for step in range(1, self.steps + 1):
            asked = time.perf_counter()
            batch = next(self._batches).to(self._device)
            self._waited_seconds += time.perf_counter() - asked
            yield self.epoch + step / self.steps, batch
        self._seconds = time.perf_counter() - began

    def note(self, loss: Tensor, measures: Mapping[str, float], rate: float) -> None:
        """Collects the loss and the measures of a step, and shows them with the learning rate.

        Raises:
            DivergedError: the loss is not finite.
        """
        self._losses.append(loss.detach())
        value = loss.item()
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss is {value} in epoch {self.epoch + 1}, step {len(self._losses)}"
            )
        text = f"loss {value:.3f}  rate {rate:.1e}"
        for name, value in measures.items():
            self._measures.setdefault(name, []).append(value)
            text += f"  {name} {value:.3f}"
        self._show(len(self._losses), text)

    def record(self) -> dict[str, float]:
        """Returns the means over the steps, their seconds, and the share of these spent waiting."""
        times = {
            "loss": float(torch.stack(self._losses).mean()),
            "seconds": round(self._seconds, 2),
            "waiting": round(self._waited_seconds / self._seconds, 4),
        }
        return times | {name: float(np.mean(values)) for name, values in self._measures.items()}


def passes(
    state: TrainingState,
    batches: Batches,
    accelerator: Accelerator,
    *,
    title: str,
    epochs: int,
    seed: int,
    report: Report,
) -> Iterator[Pass]:
    """Yields a pass for each epoch that is left; the caller ends each with `Run.end_epoch`.

    Sets torch's random numbers as a function of the seed, the epoch and the process.

    Args:
        state: of the run.
        batches: to learn from.
        accelerator: knows the device and the process.
        title: names the stage.
        epochs: the number of all epochs.
        seed: of the training.
        report: takes the progress.
    """
    while state.epoch < epochs:
        epoch = state.epoch
        torch.manual_seed(seed * 1_000_003 + epoch * 1_009 + accelerator.process_index)
        steps = len(batches.plan(seed, epoch))

        def show(step: int, text: str, epoch: int = epoch, steps: int = steps) -> None:
            text = f"epoch {epoch + 1} of {epochs}  {text}"
            report(title, epoch * steps + step, epochs * steps, text)

        yield Pass(epoch, steps, batches.epoch(seed, epoch), accelerator.device, show)
