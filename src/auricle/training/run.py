"""The folder of a training: its log and curves, and the state that it resumes from.

    recipe.json          the recipe; a run is not resumed with another one
    log.jsonl            one line for each epoch
    curves.png           the log, drawn
    state/epoch-0007/    all that epoch 8 needs; renamed when it is complete

Nothing else passes from one epoch to the next: random numbers are a function of the seed and the
epoch.
"""

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auricle.errors import AuricleError
from auricle.storage.files import written_whole
from auricle.storage.tables import read
from auricle.training.config import Recipe
from auricle.training.curves import draw_curves
from auricle.training.weights import load_strictly, load_weights, save_weights

EPOCHS = ("pretrain.epochs", "train.epochs", "scst.epochs")


@dataclass
class State:
    """The progress of a training after an epoch."""

    epoch: int = 0  # epochs done
    best: float | None = None  # the best score so far, of the score that selects weights
    schedule: dict[str, Any] = field(default_factory=dict)  # state of the plateau schedule
    scaler: dict[str, Any] = field(default_factory=dict)  # state of the scaler of fp16's losses
    log: list[dict[str, float]] = field(default_factory=list)


class Run:
    """The folder of one stage of a training.

    Args:
        folder: its path.
        recipe: the recipe of the training.
        resume: whether to continue after the last finished epoch.
        main: whether this process writes.

    Raises:
        AuricleError: the folder holds a training and `resume` is not set, or it holds a training
            with another recipe.
    """

    def __init__(self, folder: Path, recipe: Recipe, *, resume: bool, main: bool) -> None:
        self.folder, self.main = folder, main
        self.state = State()
        states = sorted(self._states().glob("epoch-????"))
        self._latest = states[-1] if states else None
        if not main:
            # The main process checks for all: the others could find files that it has just written.
            return
        # Without a finished epoch there is nothing to lose.
        if states and not resume:
            raise AuricleError(
                f"{folder} holds a training: add --resume to continue it, or choose another output"
            )
        if states:
            # More epochs may follow; those of the other stages do not matter here.
            check_recipe(folder, recipe, but=EPOCHS)
        folder.mkdir(parents=True, exist_ok=True)
        _write_text(folder / "recipe.json", json.dumps(asdict(recipe), indent=2) + "\n")

    def _states(self) -> Path:
        return self.folder / "state"

    def restore(self, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
        """Loads modules and optimizer from the last finished epoch, if there is one."""
        if self._latest is None:
            return
        self.state = State(**json.loads((self._latest / "state.json").read_text("utf-8")))
        for name, module in modules.items():
            path = self._latest / f"{name}.safetensors"
            load_strictly(module, load_weights(path), str(path))
        _restore_optimizer(optimizer, load_weights(self._latest / "optimizer.safetensors"))
        self._tidy_up()

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
        """Makes the folder match the latest state: a stop may have come right after it."""
        if not self.main:
            return
        for old in self._states().glob("epoch-*"):
            if old != self._latest:
                shutil.rmtree(old)
        _write_text(
            self.folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in self.state.log)
        )
        draw_curves(self.state.log, self.folder / "curves.png")


def check_recipe(folder: Path, recipe: Recipe, but: Collection[str] = ()) -> None:
    """Compares a recipe with the recipe in the folder of a run.

    Args:
        folder: the folder of the run.
        recipe: the recipe to compare.
        but: fields that may differ.

    Raises:
        AuricleError: the two differ.
    """
    if differing := [name for name in differing_fields(folder, recipe) if name not in but]:
        raise AuricleError(f"{folder} was begun with another recipe: {', '.join(differing)} differ")


def differing_fields(folder: Path, recipe: Recipe, only: Sequence[str] = ()) -> list[str]:
    """Returns the fields in which a recipe differs from the recipe in the folder of a run.

    A field that the written recipe lacks has its default.

    Args:
        folder: the folder of the run.
        recipe: the recipe to compare.
        only: the fields and sections to compare; all if empty.

    Raises:
        AuricleError: the folder's recipe cannot be read.
    """
    path = folder / "recipe.json"
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise AuricleError(f"{path} cannot be read as a recipe: {error}") from None
    found = _differences(asdict(read(Recipe, table, str(path))), asdict(recipe))
    return [
        name for name in found if not only or f"{name}.".startswith(tuple(f"{o}." for o in only))
    ]


def _write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
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
            # The optimizer itself uses this layout. Another layout may round differently.
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
