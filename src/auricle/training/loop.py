"""The training loop of all stages.

A `Stage` builds a network with its optimizer and batches, computes the loss of a batch, and
measures the network after each epoch. `run_stage` does everything else: devices and processes,
gradients, moving averages, selection of weights, and the state that a stopped training resumes
from.
"""

import atexit
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
    broadcast_object_list,
)
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel

from auricle.data.batches import Batches
from auricle.data.collation import Batch
from auricle.data.progress import SILENT, Report
from auricle.errors import AuricleError
from auricle.training.config import Recipe
from auricle.training.passes import DivergedError, Pass, passes
from auricle.training.prepare import Data, prepare_data
from auricle.training.run import Run, TrainingState
from auricle.training.sources import record_sources
from auricle.training.weights import halve

# The main process computes spectrograms and exports networks while the others wait for it.
COLLECTIVE_TIMEOUT = timedelta(days=1)
Network = TypeVar("Network", bound=nn.Module)


@dataclass
class Learner(Generic[Network]):
    """The parts of a stage that learn, and how they learn."""

    model: Network
    optimizer: torch.optim.Optimizer
    batches: Batches
    accumulate: int = 1  # batches whose gradients make a step
    clip_norm: float = 0.0  # greatest norm of a step's gradients; 0: no limit
    average_decay: float = 0.0  # decay of the moving average of all weights; 0: no average
    plateau: ReduceLROnPlateau | None = None  # cuts the learning rate when the score stands still


@dataclass
class Training(Generic[Network]):
    """The parts of a running stage."""

    learner: Learner[Network]
    accelerator: Accelerator
    data: Data
    prepared: nn.Module  # the model as Accelerate wraps it
    prepared_optimizer: Any  # the optimizer as Accelerate wraps it
    average: AveragedModel | None
    # Of the epoch: a function of the seed, the epoch and the process.
    rng: np.random.Generator = field(default_factory=np.random.default_rng)

    @property
    def model(self) -> Network:
        """The model that learns."""
        return self.learner.model

    @property
    def kept(self) -> Network:
        """The model that is measured and kept: the moving average, if there is one."""
        return self.learner.model if self.average is None else self.average.module  # type: ignore[return-value]

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The modules of the state, by the names of their files."""
        if self.average is None:
            return {"model": self.model}
        return {"model": self.model, "average": self.kept}


class Stage(Protocol[Network]):
    """A stage of a training. It receives only its own part of the recipe."""

    @property
    def title(self) -> str:
        """The name that the progress shows."""
        ...

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        ...

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        ...

    @property
    def initial_files(self) -> Sequence[Path]:
        """The files of weights that the stage begins from."""
        ...

    @property
    def remedy(self) -> str:
        """The settings to try where the loss is not finite."""
        ...

    @property
    def bfloat16(self) -> bool:
        """Whether to multiply in bfloat16."""
        ...

    def build(self, data: Data, accelerator: Accelerator, report: Report) -> Learner[Network]:
        """Builds the network with its initial weights, the optimizer and the batches."""
        ...

    def begin_epoch(self, training: Training[Network]) -> None:
        """Puts the network into the mode that it learns in."""
        ...

    def set_rates(self, optimizer: torch.optim.Optimizer, epochs_done: float) -> None:
        """Sets the learning rates of the next step."""
        ...

    def loss(self, training: Training[Network], batch: Batch) -> tuple[Tensor, Mapping[str, float]]:
        """Returns the loss of a batch, and further measures of the step, by name."""
        ...

    def validate(self, training: Training[Network]) -> dict[str, float]:
        """Returns what the log of an epoch holds besides the means of the steps."""
        ...

    def score(self, record: Mapping[str, float]) -> float | None:
        """Returns the score of an epoch; the best epoch is kept. None: the last epoch is kept."""
        ...

    def finish(self) -> None:
        """Completes the folder after the last epoch."""
        ...


def run_stage(
    stage: Stage[Any], recipe: Recipe, *, resume: bool, report: Report, skip_bad: bool
) -> Path:
    """Trains a stage from its beginning or its last finished epoch to its end.

    Args:
        stage: the stage.
        recipe: the recipe of the whole training, which stands in the folder.
        resume: whether to continue a training that was stopped.
        report: takes the progress, and a line for each epoch.
        skip_bad: whether sounds that cannot be read are left out, and listed by `report`.

    Returns:
        The folder of the stage. Its `model.safetensors` holds the kept weights.

    Raises:
        AuricleError: the data, weights or folder cannot be used, or the loss is not finite.
    """
    accelerator = make_accelerator(bfloat16=stage.bfloat16)
    report = report if accelerator.is_main_process else SILENT
    data = prepare_data(recipe, accelerator, report, skip_bad=skip_bad)
    run = Run(
        stage.folder,
        recipe,
        data.vocabulary,
        data.fingerprints,
        resume=resume,
        main=accelerator.is_main_process,
    )
    torch.manual_seed(recipe.seed)
    learner = stage.build(data, accelerator, report)
    training = _prepare(learner, data, accelerator, sync_batch_norm=recipe.sync_batch_norm)
    _resume(stage, run, training)
    every_pass = passes(
        run.state,
        learner.batches,
        accelerator,
        title=stage.title,
        epochs=stage.epochs,
        seed=recipe.seed,
        report=report,
    )
    for epoch_pass in every_pass:
        seed = (recipe.seed, epoch_pass.epoch, accelerator.process_index)
        training.rng = np.random.default_rng(seed)
        try:
            _train_epoch(stage, training, epoch_pass)
            record = epoch_pass.record() | stage.validate(training)
            _require_finite(record, training.modules, epoch_pass.epoch + 1)
        except DivergedError as error:
            raise AuricleError(_diverged(stage, run, error)) from None
        _select(training, run, stage.score(record))
        if accelerator.scaler is not None:
            run.state.scaler = accelerator.scaler.state_dict()
        run.end_epoch(record, training.modules, learner.optimizer)
        report.result(_epoch_line(stage, run.state))
    if accelerator.is_main_process:
        if not run.state.epoch:
            _save_kept(training, run)
        stage.finish()
    accelerator.wait_for_everyone()
    return run.folder


def _resume(stage: Stage[Any], run: Run, training: Training[Any]) -> None:
    """Continues after the last finished epoch, or records what a new training begins from."""
    learner, scaler = training.learner, training.accelerator.scaler
    run.restore(training.modules, learner.optimizer)
    if run.state.epoch > stage.epochs:
        raise AuricleError(
            f"{stage.folder} has had {run.state.epoch} epochs, more than the {stage.epochs} of the "
            "recipe: resume it with as many or more"
        )
    if training.accelerator.is_main_process and not run.state.epoch:
        record_sources(stage.folder, stage.initial_files)
    if learner.plateau is not None and run.state.schedule:
        _restore_plateau(learner.plateau, run.state.schedule)
    if scaler is not None and run.state.scaler:
        scaler.load_state_dict(run.state.scaler)


def make_accelerator(*, bfloat16: bool = False) -> Accelerator:
    """Returns devices, processes and precision, as `accelerate launch` sets them.

    The process group of a stage serves the stages after it, until the process ends.

    Args:
        bfloat16: multiply in bfloat16, whatever `accelerate launch` says.
    """
    # Accelerate has one state for a whole process, and would keep the precision of another stage.
    AcceleratorState._reset_state()
    # Captioning does not use tag heads, and each stage leaves other parameters unused.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    handlers = [unused, InitProcessGroupKwargs(timeout=COLLECTIVE_TIMEOUT)]
    accelerator = Accelerator(
        mixed_precision="bf16" if bfloat16 else None, kwargs_handlers=handlers
    )
    atexit.unregister(_leave_processes)
    atexit.register(_leave_processes)
    return accelerator


def is_main_process() -> bool:
    """Returns whether this process writes what all processes share."""
    return PartialState().is_main_process


def _leave_processes() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def moving_average(model: nn.Module, decay: float, device: torch.device) -> AveragedModel:
    """Returns a moving average of all weights and statistics, which begins at the model's own.

    `update_parameters` moves floating-point tensors towards the model's, and copies counters.
    """

    def average(averaged: Tensor, current: Tensor, _: Tensor | int) -> Tensor:
        return averaged.lerp(current, 1 - decay) if averaged.is_floating_point() else current

    averaged = AveragedModel(model, device, avg_fn=average, use_buffers=True)
    averaged.n_averaged.fill_(1)  # The first update would replace the initial weights otherwise.
    return averaged


def _prepare(
    learner: Learner[Any], data: Data, accelerator: Accelerator, *, sync_batch_norm: bool
) -> Training[Any]:
    if sync_batch_norm and accelerator.num_processes > 1:
        if accelerator.device.type == "cpu":
            raise AuricleError(
                "sync_batch_norm needs GPUs: torch shares no batch norms among processes on a CPU. "
                "Set sync_batch_norm=false"
            )
        learner.model = nn.SyncBatchNorm.convert_sync_batchnorm(learner.model)
    average = None
    if learner.average_decay:
        average = moving_average(learner.model, learner.average_decay, accelerator.device)
    prepared, optimizer = accelerator.prepare(learner.model, learner.optimizer)
    return Training(learner, accelerator, data, prepared, optimizer, average)


def _train_epoch(stage: Stage[Any], training: Training[Any], epoch_pass: Pass) -> None:
    learner, accelerator = training.learner, training.accelerator
    stage.begin_epoch(training)
    for step, (epochs_done, batch) in enumerate(epoch_pass, start=1):
        stage.set_rates(learner.optimizer, epochs_done)
        loss, measures = stage.loss(training, batch)
        accelerator.backward(loss / learner.accumulate)
        if step % learner.accumulate == 0 or step == epoch_pass.steps:
            if learner.clip_norm:  # Accelerate takes the scale of fp16 off the gradients first.
                accelerator.clip_grad_norm_(learner.model.parameters(), learner.clip_norm)
            training.prepared_optimizer.step()
            training.prepared_optimizer.zero_grad()
            # fp16 leaves out steps whose gradients are not finite.
            if training.average is not None and not accelerator.optimizer_step_was_skipped:
                training.average.update_parameters(learner.model)
        highest_rate = max(group["lr"] for group in learner.optimizer.param_groups)
        epoch_pass.note(loss, measures, highest_rate)


def _epoch_line(stage: Stage[Any], state: TrainingState) -> str:
    """Returns the latest line of the log for people."""
    measures = [
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in state.log[-1].items()
        if name != "epoch"
    ]
    return f"{stage.title}: epoch {state.epoch} of {stage.epochs}: {', '.join(measures)}"


def _require_finite(
    record: Mapping[str, float], modules: Mapping[str, nn.Module], epoch: int
) -> None:
    """Refuses measures and weights that are not finite, in half precision too.

    Raises:
        DivergedError: the first of them.
    """
    for name, value in record.items():
        if not math.isfinite(value):
            raise DivergedError(f"{name} is {value} after epoch {epoch}")
    for module in modules.values():
        for name, tensor in halve(module.state_dict()).items():
            if not tensor.isfinite().all():
                raise DivergedError(f"weights of {name} are not finite after epoch {epoch}")


def _diverged(stage: Stage[Any], run: Run, error: DivergedError) -> str:
    """Returns the message of a training that diverged."""
    kept = f"{run.folder} holds the weights of an earlier epoch. " if run.state.epoch else ""
    return (
        f"training stopped: {error}. {kept}In another folder (--set output=FOLDER), try a lower "
        f"learning rate: {stage.remedy}. If the first step fails, check the initial weights."
    )


def _select(training: Training[Any], run: Run, score: float | None) -> None:
    """Keeps the weights if the score is the best one so far, and tells the plateau schedule.

    Without a score, the last weights are kept.
    """
    if score is None:
        if training.accelerator.is_main_process:
            _save_kept(training, run)
        return
    # Statistics of batch norms differ between processes, and so do scores. All processes follow
    # the main one, or their learning rates would part.
    score = broadcast_object_list([score])[0]
    plateau = training.learner.plateau
    if plateau is not None:
        plateau.step(-score if plateau.mode == "min" else score)
        state = plateau.state_dict()
        run.state.schedule = {name: value for name, value in state.items() if _is_plain(value)}
    if run.state.best is None or score > run.state.best:
        run.state.best = score
        if training.accelerator.is_main_process:
            _save_kept(training, run)


def _save_kept(training: Training[Any], run: Run) -> None:
    for exported in run.folder.glob("*.onnx"):
        exported.unlink()  # from other weights
    run.save(run.folder / "model.safetensors", halve(training.kept.state_dict()))


def _restore_plateau(plateau: ReduceLROnPlateau, schedule: Mapping[str, Any]) -> None:
    plateau.load_state_dict(dict(schedule))
    for group, rate in zip(plateau.optimizer.param_groups, schedule["_last_lr"], strict=True):
        group["lr"] = rate


def _is_plain(value: object) -> bool:
    """Whether JSON can express a value. The schedule's constant for infinity need not be kept."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str | list)
