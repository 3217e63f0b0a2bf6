"""The contrastive stage: the pre-encoder learns which caption belongs to which sound."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.checkpoint.vocabulary import Vocabulary
from auricle.data.batches import Batches
from auricle.data.collation import Batch
from auricle.errors import AuricleError
from auricle.models.contrastive import PreEncoder, contrastive_loss, fitting_pairs, retrieval
from auricle.sound.features import front_end
from auricle.training.augment import spec_augment
from auricle.training.config import Recipe
from auricle.training.prepare import load_encoder, prepare_data
from auricle.training.run import Run, make_accelerator
from auricle.training.weights import halve, load_strictly, load_weights, save_weights
from auricle.training.word2vec import train_word2vec


def build_pre_encoder(recipe: Recipe, words: int) -> PreEncoder:
    """The two towers of a recipe, at random weights."""
    stage = recipe.pretrain
    return PreEncoder(
        recipe.encoder,
        words,
        recipe.word2vec.size,
        stage.projection,
        stage.temperature,
        stage.learn_temperature,
        bool(recipe.decoder.tags),
    )


def pretrain(recipe: Recipe, *, resume: bool = False, progress: bool = True) -> Path:
    """Trains the pre-encoder; keeps its best state in `model.safetensors`.

    Args:
        recipe: what to do.
        resume: go on with a training that was stopped.
        progress: show bars.

    Returns:
        The folder of the run.

    Raises:
        AuricleError: the data, weights or folder are not what they should be.
    """
    accelerator = make_accelerator()
    progress &= accelerator.is_main_process
    stage = recipe.pretrain
    data = prepare_data(recipe, accelerator, progress)
    run = Run(recipe.pre_encoder_folder, recipe, resume=resume, main=accelerator.is_main_process)
    torch.manual_seed(recipe.seed)
    model = build_pre_encoder(recipe, len(data.vocabulary))
    if stage.initial == "weights":
        load_encoder(model.audio, stage.weights)
    vectors = train_word2vec(data.captions, data.vocabulary, recipe.word2vec, recipe.seed)
    model.space.text.embedding.weight.data.copy_(vectors)
    if stage.texts_per_batch:
        data = data.with_texts(recipe, model.audio, progress)
    if recipe.decoder.tags:
        data = data.with_sound_tags(recipe, model.audio, progress)
    tower = list(model.audio.parameters())
    rest = [
        p
        for name, p in model.named_parameters()
        if not name.startswith("audio.") and p.requires_grad
    ]
    groups = [{"params": rest}, {"params": tower, "lr": stage.learning_rate * stage.encoder_rate}]
    optimizer = torch.optim.Adam(groups, stage.learning_rate)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        "min" if stage.monitor == "loss" else "max",
        factor=stage.factor,
        patience=stage.patience,
        min_lr=stage.minimum_learning_rate,
    )
    prepared, prepared_optimizer = accelerator.prepare(model, optimizer)
    run.restore({"model": model}, optimizer)
    if run.state.schedule:
        plateau.load_state_dict(run.state.schedule)
        for group, rate in zip(optimizer.param_groups, run.state.schedule["_last_lr"], strict=True):
            group["lr"] = rate
    batches = data.batches(
        stage.batch_size,
        accelerator,
        augmentation=stage.augmentation,
        texts_per_batch=stage.texts_per_batch,
    )
    valid = data.valid_batches(stage.batch_size) if data.valid else None
    if accelerator.is_main_process:
        data.vocabulary.save(run.folder / "vocabulary.txt")

    for steps in run.passes(
        "pre-encoder", stage.epochs, batches, recipe.seed, accelerator, progress
    ):
        prepared.train()
        if stage.freeze_statistics:
            freeze_statistics(model.audio)
        for _, batch in steps:
            log_mel = spec_augment(
                batch.log_mel, stage.augmentation, front_end(recipe.data.front_end)
            )
            sounds, captions, temperature, tags = prepared(
                log_mel, batch.frames, batch.words(), batch.text_tags
            )
            also_fit = _also_fit(batch, accelerator) if stage.mask_fitting_pairs else None
            everyones = gather_with_gradient(sounds), gather_with_gradient(captions)
            loss = contrastive_loss(*everyones, temperature, also_fit)
            if batch.sound_tags is not None:
                loss = loss + stage.distillation * tag_distillation(tags, batch.sound_tags)
            accelerator.backward(loss)
            prepared_optimizer.step()
            prepared_optimizer.zero_grad()
            steps.note(loss, f"rate {optimizer.param_groups[0]['lr']:.1e}")
        record = steps.record() | {
            "learning_rate": optimizer.param_groups[0]["lr"],
            "temperature": model.log_temperature.exp().item(),
        }
        if valid is not None:
            record |= evaluate_retrieval(model, valid, accelerator.device)
        watched = record["loss"] if stage.monitor == "loss" else _map_10(record)
        # Batch norm's statistics differ between processes: all follow the main one, or their rates
        # would part.
        watched = broadcast_object_list([watched])[0]
        plateau.step(watched)
        run.state.schedule = {
            key: value for key, value in plateau.state_dict().items() if _is_plain(value)
        }
        better = -watched if stage.monitor == "loss" else watched
        if run.state.best is None or better > run.state.best:
            run.state.best = better
            if accelerator.is_main_process:
                save_weights(run.folder / "model.safetensors", halve(model.state_dict()))
        run.end_epoch(record, {"model": model}, optimizer)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run.folder


def freeze_statistics(network: nn.Module) -> None:
    """Lets batch norms work with the statistics that they have: those of a few sounds are far from
    AudioSet's.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def tag_distillation(logits: Tensor, wanted: Tensor) -> Tensor:
    """Kullback-Leibler divergence from a teacher's tags (Hinton et al. 2015), each yes or no,
    summed over classes.

    Args:
        logits: (batch, 527).
        wanted: (batch, 527), the teacher's probabilities.

    Returns:
        A scalar, the mean over sounds; 0 where the two agree.
    """
    own = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    least = F.binary_cross_entropy(wanted, wanted, reduction="sum")
    return (own - least) / len(logits)


def load_pre_encoder(recipe: Recipe, vocabulary: Vocabulary) -> PreEncoder:
    """The best pre-encoder of a recipe's contrastive stage.

    Raises:
        AuricleError: it was not trained, or for another vocabulary or encoder.
    """
    path = recipe.pre_encoder_folder / "model.safetensors"
    if not path.is_file():
        raise AuricleError(
            f"{path}: there is no pre-encoder yet: run `auricle pretrain` with this recipe first"
        )
    if Vocabulary.load(recipe.pre_encoder_folder / "vocabulary.txt").words != vocabulary.words:
        raise AuricleError(
            f"{path}: trained on other words than the data has now: run `auricle pretrain` again"
        )
    model = build_pre_encoder(recipe, len(vocabulary))
    load_strictly(model, load_weights(path), str(path))
    return model


@torch.inference_mode()
def evaluate_retrieval(
    model: PreEncoder, batches: Batches, device: torch.device
) -> dict[str, float]:
    """Retrieval among all validation sounds, each once, and all their captions.

    What is retrieved is right if it is the sound's own, or if recording, caption or label are the
    same.
    """
    model.eval()
    audio, captions, keys = [], [], ([], [], [])
    rows_of: dict[Path, list[int]] = {}  # a sound comes once for each of its captions
    for batch in batches.epoch(0, 0):
        on_device = batch.to(device)
        audio.append(model.embed_audio(on_device.log_mel, on_device.frames).float().cpu())
        captions.append(model.embed_text(on_device.words()).float().cpu())
        for row, item in enumerate(batch.items, len(keys[0])):
            rows_of.setdefault(item.file, []).append(row)
        for values, more in zip(keys, _keys(batch), strict=True):
            values.extend(more)
    fit = fitting_pairs(*keys)
    relevant = np.zeros((len(rows_of), len(fit)), bool)
    for sound, rows in enumerate(rows_of.values()):
        relevant[sound] = fit[rows].any(0)
        relevant[sound, rows] = True
    first = [rows[0] for rows in rows_of.values()]
    similarity = torch.cat(audio)[first] @ torch.cat(captions).T
    return {
        name: round(value, 4) for name, value in retrieval(similarity.numpy(), relevant).items()
    }


def _keys(batch: Batch) -> tuple[list[str], list[str], list[str]]:
    unknown = [""] * (len(batch.captions) - len(batch.items))  # of captions without sound
    groups, labels = [item.group for item in batch.items], [item.label for item in batch.items]
    return groups + unknown, list(batch.captions), labels + unknown


def _also_fit(batch: Batch, accelerator: Any) -> Tensor:
    """(N, N) over the batches of all processes: pairs that fit although they are not each
    other's.
    """
    keys: Any = _keys(batch)
    if accelerator.num_processes > 1:
        everyone: list[Any] = [None] * accelerator.num_processes
        torch.distributed.all_gather_object(everyone, keys)
        keys = [list(chain(*parts)) for parts in zip(*everyone, strict=True)]
    fit = fitting_pairs(*keys)
    np.fill_diagonal(fit, False)
    return torch.from_numpy(fit).to(accelerator.device)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:  # type: ignore[override]
        parts = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, own.contiguous())
        ctx.rows = len(own)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        # Every process has the same loss of all rows. Its own rows' part of the gradient times the
        # number of processes, averaged over them as data parallelism does, is the gradient of one
        # process that holds all rows.
        start = torch.distributed.get_rank() * ctx.rows
        return gradient[start : start + ctx.rows] * torch.distributed.get_world_size()


def gather_with_gradient(own: Tensor) -> Tensor:
    """The rows of all processes, (rows, size) -> (processes * rows, size); itself where there is
    but one process.
    """
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return own
    gathered: Tensor = _Gather.apply(own)  # type: ignore[assignment]
    return gathered


def _map_10(record: dict[str, float]) -> float:
    return (record["audio_to_text_map_10"] + record["text_to_audio_map_10"]) / 2


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list)
