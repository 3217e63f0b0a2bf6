"""A training's folder: its log and curves, and the state that a stopped training goes on from.

    recipe.json          what was asked for; resuming with another recipe is refused
    log.jsonl            one line an epoch
    curves.png           the log, drawn
    state/epoch-0007/    all that epoch 8 needs; written beside and renamed, so that it is whole or not there

Nothing else is carried from epoch to epoch: random numbers are a function of the seed and the
epoch.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from auricle.data.batches import Batches
from auricle.data.collation import Batch
from auricle.errors import AuricleError
from auricle.storage.files import written_whole
from auricle.storage.tables import read
from auricle.training.config import Recipe
from auricle.training.weights import load_strictly, load_weights, save_weights

Show = Callable[[int, int, int, str], None]  # epoch, step, steps, text


@dataclass
class State:
    """What a training has come to after an epoch."""

    epoch: int = 0  # epochs done
    best: float | None = None  # of what is selected by
    schedule: dict[str, Any] = field(default_factory=dict)  # of the plateau schedule
    log: list[dict[str, float]] = field(default_factory=list)


class Run:
    """The folder of one stage of a training.

    Args:
        folder: where it is.
        recipe: what is asked for.
        resume: go on from the last epoch that was finished.
        main: whether this process writes.

    Raises:
        AuricleError: the folder holds a training and `resume` is not set, or it holds that of
            another recipe.
    """

    def __init__(self, folder: Path, recipe: Recipe, *, resume: bool, main: bool) -> None:
        self.folder, self.main = folder, main
        self.state = State()
        states = sorted(self._states().glob("epoch-????"))
        self._latest = states[-1] if states else None
        if not main:
            # the main process speaks for all; what it finds here, the others might find written by
            # it just now
            return
        # A training that came to no epoch's end has nothing to lose.
        if states and not resume:
            raise AuricleError(
                f"{folder} holds a training: add --resume to go on with it, or choose another output"
            )
        if states:
            check_recipe(folder, recipe)
        folder.mkdir(parents=True, exist_ok=True)
        _write_text(folder / "recipe.json", json.dumps(asdict(recipe), indent=2) + "\n")

    def _states(self) -> Path:
        return self.folder / "state"

    def restore(self, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
        """Puts modules and optimizer back to where the last finished epoch left them, if there is
        one.
        """
        if self._latest is None:
            return
        self.state = State(**json.loads((self._latest / "state.json").read_text("utf-8")))
        for name, module in modules.items():
            path = self._latest / f"{name}.safetensors"
            load_strictly(module, load_weights(path), str(path))
        _restore_optimizer(optimizer, load_weights(self._latest / "optimizer.safetensors"))
        self._tidy_up()

    def passes(
        self,
        title: str,
        epochs: int,
        batches: Batches,
        seed: int,
        accelerator: Accelerator,
        shown: bool,
    ) -> Iterator["Pass"]:
        """A pass for each epoch still to do, each to be ended with `end_epoch`; with bars over
        epochs and steps.

        Random numbers are made a function of the seed, the epoch and the process.
        """
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, TextColumn("{task.fields[text]}"), disable=not shown) as bars:
            outer = bars.add_task(title, total=epochs, completed=self.state.epoch, text="")
            inner = bars.add_task("epoch", total=None, text="")

            def show(epoch: int, step: int, steps: int, text: str) -> None:
                bars.update(outer, completed=epoch + step / steps)
                bars.update(inner, completed=step, total=steps, text=text)

            while self.state.epoch < epochs:
                epoch = self.state.epoch
                torch.manual_seed(seed * 1_000_003 + epoch * 1_009 + accelerator.process_index)
                steps = len(batches.plan(seed, epoch))
                yield Pass(epoch, steps, batches.epoch(seed, epoch), accelerator.device, show)

    def end_epoch(
        self,
        record: dict[str, float],
        modules: Mapping[str, nn.Module],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Writes the epoch's line, the curves and the state."""
        self.state.epoch += 1
        self.state.log.append({"epoch": self.state.epoch, **record})
        if not self.main:
            return
        target = self._states() / f"epoch-{self.state.epoch:04d}"
        part = target.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, module in modules.items():
            save_weights(part / f"{name}.safetensors", module.state_dict())
        save_weights(part / "optimizer.safetensors", _optimizer_tensors(optimizer))
        _write_text(part / "state.json", json.dumps(asdict(self.state)) + "\n")
        part.rename(target)
        self._latest = target
        self._tidy_up()

    def _tidy_up(self) -> None:
        """Makes the folder fit the latest state: the stop may have come right after that."""
        if not self.main:
            return
        for old in self._states().glob("epoch-*"):
            if old != self._latest:
                shutil.rmtree(old)
        _write_text(
            self.folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in self.state.log)
        )
        draw_curves(self.state.log, self.folder / "curves.png")


def check_recipe(folder: Path, recipe: Recipe) -> None:
    """Compares a recipe with the one that a run was begun with.

    What recipes could not say yet then is as it is by default.

    Raises:
        AuricleError: the two differ.
    """
    path = folder / "recipe.json"
    written = read(Recipe, json.loads(path.read_text("utf-8")), str(path))
    if differing := _differences(asdict(written), asdict(recipe)):
        raise AuricleError(f"{folder} was begun with another recipe: {', '.join(differing)} differ")


def _write_text(path: Path, text: str) -> None:
    """Writes a file that is there whole or not at all."""
    with written_whole(path) as part:
        part.write_text(text, "utf-8")


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], at: str = "") -> list[str]:
    found: list[str] = []
    for name in sorted({*one, *other}):
        a, b = one.get(name), other.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += _differences(a, b, f"{at}{name}.")
        elif a != b:
            found.append(at + name)
    return found


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, entry in state.items()
        for name, value in entry.items()
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".")
        if tensor.dim() == 4 and parameters[int(index)].is_contiguous(
            memory_format=torch.channels_last
        ):
            # As the optimizer lays them out itself: over another layout its arithmetic may round
            # otherwise.
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def make_accelerator(*, bfloat16: bool = False) -> Accelerator:
    """Devices, processes and precision, as `accelerate launch` says, but for `bfloat16`."""
    # Tag heads take no part in captioning; what is unused differs between the stages.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(mixed_precision="bf16" if bfloat16 else None, kwargs_handlers=[unused])


class Pass:
    """One pass over an epoch's batches: hands them out on the device, keeps losses and time, shows
    how far it is.
    """

    def __init__(
        self, epoch: int, steps: int, batches: Iterator[Batch], device: torch.device, show: Show
    ) -> None:
        self.epoch = epoch
        self.count = steps
        self._batches, self._device, self._show = batches, device, show
        self._losses: list[Tensor] = []
        self._waited = self._seconds = 0.0

    def __iter__(self) -> Iterator[tuple[float, Batch]]:
        """Yields how many epochs will be done after a batch, and the batch."""
        began = time.perf_counter()
        for step in range(1, self.count + 1):
            asked = time.perf_counter()
            batch = next(self._batches).to(self._device)
            self._waited += time.perf_counter() - asked
            yield self.epoch + step / self.count, batch
        self._seconds = time.perf_counter() - began

    def note(self, loss: Tensor, text: str = "") -> None:
        """Takes down a step's loss, and shows it with the text."""
        self._losses.append(loss.detach())
        self._show(self.epoch, len(self._losses), self.count, f"loss {loss.item():.3f}  {text}")

    def record(self) -> dict[str, float]:
        """The mean loss of the steps, the seconds they took, and the share of these that was spent
        waiting for data.
        """
        return {
            "loss": float(torch.stack(self._losses).mean()),
            "seconds": round(self._seconds, 2),
            "waiting": round(self._waited / self._seconds, 4),
        }


def draw_curves(log: list[dict[str, float]], path: Path) -> None:
    """A picture of the log: losses, learning rate, and what else was measured, over epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: dict[str, list[str]] = {}
    for name in log[-1]:
        if name not in ("epoch", "seconds", "waiting"):
            together = ("loss", "audio_to_text", "text_to_audio")
            panels.setdefault(
                next((panel for panel in together if panel in name), name), []
            ).append(name)
    figure = Figure(figsize=(4 * len(panels), 3))
    figure.subplots_adjust(
        left=0.2 / len(panels), right=1 - 0.05 / len(panels), bottom=0.16, top=0.97, wspace=0.25
    )
    FigureCanvasAgg(figure)
    for axes, (panel, names) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for name in names:
            axes.plot(
                [line["epoch"] for line in log],
                [line[name] for line in log],
                label=name.replace("_", " "),
            )
        axes.set_xlabel("epoch")
        # A rate may end at nothing, which a logarithm has no place for.
        falls = panel == "learning_rate" and any(line[panel] > 0 for line in log)
        axes.set_yscale("log" if falls else "linear")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    with written_whole(path) as part:
        figure.savefig(part, format="png", dpi=120)
