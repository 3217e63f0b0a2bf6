"""Trains the plan decoder on captions and their plans. No sounds take part."""

import math
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from auricle.checkpoint.fingerprints import Fingerprints
from auricle.checkpoint.vocabulary import PAD
from auricle.data.plan_texts import PlanBatch, PlanTexts
from auricle.data.progress import Report
from auricle.errors import AuricleError
from auricle.models.plan_decoder import PlanDecoder
from auricle.training.config import Recipe
from auricle.training.plan_config import WordingConfig
from auricle.training.run import Run
from auricle.training.validate import word_loss

LOWEST_RATE_SHARE = 0.02  # of the learning rate, at the last step
CLIPPED_NORM = 1.0  # greatest norm of a step's gradients
EARLY_STEPS = 10  # steps over which the moving average forgets the first weights


def train_wording(
    texts: PlanTexts,
    build: Callable[[], PlanDecoder],
    recipe: Recipe,
    fingerprints: Fingerprints,
    *,
    resume: bool,
    report: Report,
) -> PlanDecoder:
    """Trains a plan decoder, and returns the moving average of its weights.

    The state is kept in the captioner's folder every `save_every_steps` steps, each of which is a
    line of the log. A batch is a function of the seed and its number, and so is the dropout of each
    stretch of steps, so that a training that was stopped ends with the same weights.

    Args:
        texts: captions and plans to draw from.
        build: builds the network.
        recipe: the recipe of the training.
        fingerprints: of the captions and the recipe, to which the state is bound.
        resume: whether to continue a training that was stopped.
        report: takes the progress.

    Raises:
        AuricleError: the folder cannot be used, or the loss is not finite.
    """
    config = recipe.wording
    run = Run(
        recipe.captioner_folder, recipe, texts.vocabulary, fingerprints, resume=resume, main=True
    )
    torch.manual_seed(recipe.seed)
    model = build()
    average = AveragedModel(model, avg_fn=_averaging(config.average), use_buffers=True)
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, config.weight_decay),
        config.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    run.restore({"model": model, "average": average}, optimizer)
    first = run.state.epoch * config.save_every_steps
    batches = texts.batches(config.batch_size, recipe.seed, first)
    for start in range(first, config.steps, config.save_every_steps):
        torch.manual_seed(1_000_003 * recipe.seed + start + 1)
        losses = []
        for step in range(start, min(start + config.save_every_steps, config.steps)):
            report("Wording", step, config.steps)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step + 1)
            losses.append(_step(model, next(batches), optimizer, config))
            average.update_parameters(model)
        loss = float(np.mean(losses))
        if not math.isfinite(loss):
            raise AuricleError(
                f"the loss is not finite after {start + len(losses)} steps: lower "
                "wording.learning_rate"
            )
        record = {"steps": float(start + len(losses)), "loss": round(loss, 4)}
        run.end_epoch(record, {"model": model, "average": average}, optimizer)
        report.result(f"wording: {start + len(losses)} of {config.steps} steps, loss {loss:.3f}")
    return cast("PlanDecoder", average.module).eval()


def learning_rate(config: WordingConfig, step: int) -> float:
    """Returns the learning rate of a step, counted from 1: a linear warm-up times a cosine."""
    warmed = min(1.0, step / config.warmup_steps)
    fallen = (1 + math.cos(math.pi * step / config.steps)) / 2
    return config.learning_rate * warmed * (LOWEST_RATE_SHARE + (1 - LOWEST_RATE_SHARE) * fallen)


def _step(
    model: PlanDecoder,
    batch: PlanBatch,
    optimizer: torch.optim.Optimizer,
    config: WordingConfig,
) -> float:
    """Makes one step and returns its loss."""
    model.train()
    events, mask, whole, tokens = map(
        torch.from_numpy, (batch.events, batch.mask, batch.whole, batch.tokens)
    )
    logits = model(events, mask, whole, tokens[:, :-1])
    targets = tokens[:, 1:]
    loss = word_loss(logits, targets, config.label_smoothing) / (targets != PAD).sum()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIPPED_NORM)
    optimizer.step()
    return float(loss.detach())


def _averaging(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        return averaged.lerp(current, 1 - min(decay, int(count) / (int(count) + EARLY_STEPS)))

    return average


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Returns matrices, which decay, and vectors, which do not."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
