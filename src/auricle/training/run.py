"""The folder of a training: its log and curves, and the state that it resumes from.

    recipe.json          the recipe; a run is not resumed with another one
    vocabulary.txt       the words; a run is not resumed with other ones
    log.jsonl            one line for each epoch
    curves.png           the log, drawn
    state/epoch-0007/    all that epoch 8 needs; renamed when it is complete

Nothing else passes from one epoch to the next: random numbers are a function of the seed and the
epoch.
"""

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auricle.checkpoint.fingerprints import Fingerprints
from auricle.checkpoint.vocabulary import Vocabulary
from auricle.errors import AuricleError
from auricle.storage.files import written_whole
from auricle.storage.tables import read
from auricle.training.config import Recipe
from auricle.training.curves import draw_curves
from auricle.training.weights import (
    load_strictly,
    load_weights,
    read_fingerprints,
    save_weights,
)

VOCABULARY = "vocabulary.txt"
SHOWN_WORDS = 3  # of each kind in a message

EPOCHS = ("pretrain.epochs", "train.epochs", "scst.epochs")


@dataclass
class TrainingState:
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
        vocabulary: the words of the data.
        fingerprints: of the data and the recipe.
        resume: whether to continue after the last finished epoch.
        main: whether this process writes.

    Raises:
        AuricleError: the folder holds a training and `resume` is not set, or it holds a training
            with another recipe or other data.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        vocabulary: Vocabulary,
        fingerprints: Fingerprints,
        *,
        resume: bool,
        main: bool,
    ) -> None:
        self.folder, self.main = folder, main
        self.state = TrainingState()
        self._fingerprints = fingerprints
        states = sorted(self._states().glob("epoch-????"))
        self._latest = states[-1] if states else None
        if not main:
            # The main process checks for all: the others could find files that it has just written.
            return
        # Without a finished epoch there is nothing to lose.
        if self._latest is not None and not resume:
            raise AuricleError(
                f"{folder} holds a training: add --resume to continue it, or choose another output"
            )
        if self._latest is not None:
            # More epochs may follow; those of the other stages do not matter here.
            check_recipe(folder, recipe, but=EPOCHS)
            check_data(folder, self._latest / "model.safetensors", recipe, vocabulary, fingerprints)
        folder.mkdir(parents=True, exist_ok=True)
        vocabulary.save(folder / VOCABULARY)
        _write_json(folder / "recipe.json", asdict(recipe), indent=2)

    def _states(self) -> Path:
        return self.folder / "state"

    def restore(self, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
        """Loads modules and optimizer from the last finished epoch, if there is one."""
        if self._latest is None:
            return
        self.state = TrainingState(**json.loads((self._latest / "state.json").read_text("utf-8")))
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
            self.save(part / f"{name}.safetensors", module.state_dict())
        self.save(part / "optimizer.safetensors", _optimizer_tensors(optimizer))
        _write_json(part / "state.json", asdict(self.state))
        part.rename(target)
        self._latest = target
        self._tidy_up()

    def save(self, path: Path, state: Mapping[str, Tensor]) -> None:
        """Writes tensors with the fingerprints of what they were trained with."""
        save_weights(path, state, self._fingerprints.metadata())

    def _tidy_up(self) -> None:
        """Makes the folder match the latest state: a stop may have come right after it."""
        if not self.main:
            return
        for old in self._states().glob("epoch-*"):
            if old != self._latest:
                shutil.rmtree(old)
        _write_json(self.folder / "log.jsonl", *self.state.log)
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
        raise AuricleError(
            f"{folder} was begun with another recipe: {', '.join(differing)} differ. "
            "Choose another folder with --set output=FOLDER, "
            f"or give the values of {folder / 'recipe.json'} again."
        )


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


def check_data(
    folder: Path, weights: Path, recipe: Recipe, vocabulary: Vocabulary, now: Fingerprints
) -> None:
    """Compares the data with the data that a state was trained on.

    Args:
        folder: of the run.
        weights: the network of its latest state.
        recipe: names the data.
        vocabulary: the words of the data.
        now: the fingerprints of the data.

    Raises:
        AuricleError: they differ, or the state does not name its data.
    """
    then = read_fingerprints(weights)
    if not then.vocabulary:
        raise AuricleError(
            f"{folder} holds a training of an older auricle, which did not record its words. "
            "Continue it with that version, or train anew with --set output=FOLDER."
        )
    manifests = ", ".join((recipe.data.manifest, *recipe.data.further))
    texts = "".join(f" or {file}" for file in (recipe.tags.captions, recipe.data.sentences) if file)
    said = {
        "vocabulary": _changed_words(folder, then.vocabulary, vocabulary),
        "tags": f"the names of classes in {recipe.tags.names} changed",
        "manifest": f"captions, splits, labels or groups in {manifests}{texts} changed",
        "sounds": "sound files changed, or are other ones",
        "features": "this auricle computes other spectrograms",
    }
    # The recipe is compared field by field.
    if changes := [said[name] for name in then.differing(replace(now, recipe=""))]:
        raise AuricleError(
            f"{folder} was begun with other data: {'; '.join(changes)}. "
            "To train on the new data, choose another folder with --set output=FOLDER. "
            "To continue this training, restore the old files, and use --resume."
        )


def _changed_words(folder: Path, fingerprint: str, vocabulary: Vocabulary) -> str:
    """Describes how the words differ from those of a fingerprint, which the folder may list."""
    changed = "the vocabulary changed"
    try:
        old = Vocabulary.load(folder / VOCABULARY)
    except (OSError, ValueError, AuricleError):
        return changed
    if old.fingerprint() != fingerprint:
        return changed
    places = {word: number for number, word in enumerate(vocabulary.words)}
    details = {
        "new": [word for word in vocabulary.words if word not in old.words],
        "gone": [word for word in old.words if word not in places],
    }
    moved = sum(places.get(word, number) != number for number, word in enumerate(old.words))
    listed = [
        f"{len(words)} {_be(len(words))} {state} ({', '.join(words[:SHOWN_WORDS])}"
        f"{', ...' if len(words) > SHOWN_WORDS else ''})"
        for state, words in details.items()
        if words
    ]
    if moved:
        listed.append(f"{moved} {'has' if moved == 1 else 'have'} another number")
    return f"{changed}: of its words, {', '.join(listed)}"


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _write_json(path: Path, *values: object, indent: int | None = None) -> None:
    """Writes a value on each line, all of them or none."""
    lines = [json.dumps(value, indent=indent, allow_nan=False) + "\n" for value in values]
    with written_whole(path) as part:
        part.write_text("".join(lines), "utf-8")


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
