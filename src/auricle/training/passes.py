"""Passes over the batches of an epoch, with progress bars, mean losses and times."""

import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from accelerate import Accelerator
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from auricle.data.batches import Batches
from auricle.data.collation import Batch
from auricle.training.run import State

Show = Callable[[int, int, int, str], None]  # epoch, step, steps of the epoch, text


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
        """Collects the loss and the measures of a step, and shows them with the learning rate."""
        self._losses.append(loss.detach())
        text = f"loss {loss.item():.3f}  rate {rate:.1e}"
        for name, value in measures.items():
            self._measures.setdefault(name, []).append(value)
            text += f"  {name} {value:.3f}"
        self._show(self.epoch, len(self._losses), self.steps, text)

    def record(self) -> dict[str, float]:
        """Returns the means over the steps, their seconds, and the share of these spent waiting."""
        times = {
            "loss": float(torch.stack(self._losses).mean()),
            "seconds": round(self._seconds, 2),
            "waiting": round(self._waited_seconds / self._seconds, 4),
        }
        return times | {name: float(np.mean(values)) for name, values in self._measures.items()}


def passes(
    state: State,
    batches: Batches,
    accelerator: Accelerator,
    *,
    title: str,
    epochs: int,
    seed: int,
    shown: bool,
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
        shown: whether to show bars over epochs and steps.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, disable=not shown) as bars:
        outer = bars.add_task(title, total=epochs, completed=state.epoch, text="")
        inner = bars.add_task("epoch", total=None, text="")

        def show(epoch: int, step: int, steps: int, text: str) -> None:
            bars.update(outer, completed=epoch + step / steps)
            bars.update(inner, completed=step, total=steps, text=text)

        while state.epoch < epochs:
            epoch = state.epoch
            torch.manual_seed(seed * 1_000_003 + epoch * 1_009 + accelerator.process_index)
            steps = len(batches.plan(seed, epoch))
            yield Pass(epoch, steps, batches.epoch(seed, epoch), accelerator.device, show)
