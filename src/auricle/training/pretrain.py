"""The contrastive stage: the pre-encoder learns which caption belongs to which sound."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional as F

from auricle.checkpoint.config import EncoderConfig
from auricle.checkpoint.fingerprints import Fingerprints
from auricle.checkpoint.vocabulary import Vocabulary
from auricle.data.batches import Batches
from auricle.data.cache import front_end_fingerprint
from auricle.data.collation import Batch
from auricle.data.manifest import Item
from auricle.data.progress import SILENT, Report
from auricle.errors import AuricleError
from auricle.models.contrastive import HEARD_TAGS, PreEncoder, contrastive_loss, fitting_pairs
from auricle.sound.features import front_end
from auricle.training.augment import spec_augment
from auricle.training.config import PretrainConfig, Recipe, TagsConfig, Word2VecConfig
from auricle.training.initial import load_encoder
from auricle.training.labeller import Labeller, LabelStage, labels_of
from auricle.training.loop import Learner, Training, run_stage
from auricle.training.prepare import Data, share_batch
from auricle.training.run import differing_fields
from auricle.training.tower import TowerStage, parameter_groups, plateau
from auricle.training.validate import evaluate_retrieval, mean_map_10, pair_keys
from auricle.training.weights import check_fingerprints, load_strictly, load_weights
from auricle.training.word2vec import train_word2vec

PreEncoderSizes = tuple[EncoderConfig, int, int, int, float, bool, bool]

# The fields that make a pre-encoder.
PRE_ENCODER_FIELDS = (
    "data",
    "seed",
    "encoder",
    "decoder.tags",
    "decoder.plan",
    "tags",
    "word2vec",
    "pretrain",
)


def pretrain(
    recipe: Recipe, *, resume: bool = False, report: Report = SILENT, skip_bad: bool = False
) -> Path:
    """Trains the pre-encoder, and keeps its best weights in `model.safetensors`.

    Args:
        recipe: the recipe of the training.
        resume: whether to continue a training that was stopped.
        report: takes the progress, and a line for each epoch.
        skip_bad: whether sounds that cannot be read are left out, and listed by `report`.

    Returns:
        The folder of the run.

    Raises:
        AuricleError: the data, weights or folder cannot be used.
    """
    if recipe.pretrain.objective == "labels":
        labels = LabelStage(
            recipe.pre_encoder_folder, recipe.pretrain, recipe.encoder, pre_encoder_sources(recipe)
        )
        return run_stage(labels, recipe, resume=resume, report=report, skip_bad=skip_bad)
    stage = ContrastiveStage(
        recipe.pre_encoder_folder,
        recipe.pretrain,
        initial_files=pre_encoder_sources(recipe),
        build_network=partial(build_pre_encoder, recipe),
        word2vec=recipe.word2vec,
        tags=recipe.tags,
        uses_tags=recipe.hears_tags,
        seed=recipe.seed,
    )
    return run_stage(stage, recipe, resume=resume, report=report, skip_bad=skip_bad)


def pre_encoder_sources(recipe: Recipe) -> list[Path]:
    """Returns the file of weights that the audio tower begins from, if there is one."""
    return [Path(recipe.pretrain.weights)] if recipe.pretrain.initial == "weights" else []


def build_pre_encoder(recipe: Recipe, words: int) -> PreEncoder:
    """Builds the two towers of a recipe at random weights."""
    return PreEncoder(*pre_encoder_sizes(recipe, words))


def pre_encoder_sizes(recipe: Recipe, words: int) -> PreEncoderSizes:
    """Returns the arguments of a recipe's `PreEncoder`."""
    stage = recipe.pretrain
    return (
        recipe.encoder,
        words,
        recipe.word2vec.size,
        stage.projection,
        stage.temperature,
        stage.learn_temperature,
        recipe.hears_tags,
    )


def _trained_pre_encoder(recipe: Recipe) -> Path:
    """Returns the weights of a recipe's pre-encoder.

    Raises:
        AuricleError: there are none, another recipe trained them, or the training has not ended.
    """
    folder = recipe.pre_encoder_folder
    path = folder / "model.safetensors"
    if not path.is_file():
        raise AuricleError(
            f"{path}: there is no pre-encoder yet: run `auricle pretrain` with this recipe first"
        )
    if differing := differing_fields(folder, recipe, PRE_ENCODER_FIELDS):
        raise AuricleError(
            f"{folder} was trained by another recipe: {', '.join(differing)} differ. "
            "Run `auricle pretrain` with this recipe in another folder (--set output=...), "
            "or train with the recipe of that folder"
        )
    epochs = len((folder / "log.jsonl").read_text("utf-8").splitlines())
    if epochs < recipe.pretrain.epochs:
        raise AuricleError(
            f"{folder} has {epochs} of the {recipe.pretrain.epochs} epochs of pretrain.epochs: "
            "run `auricle pretrain --resume` with this recipe first"
        )
    return path


def load_pre_encoder(recipe: Recipe, vocabulary: Vocabulary) -> PreEncoder:
    """Loads the best pre-encoder of a recipe's contrastive stage.

    Raises:
        AuricleError: there is none, it was trained by another recipe or other words, or its
            training has not ended.
    """
    path = _trained_pre_encoder(recipe)
    if Vocabulary.load(path.with_name("vocabulary.txt")).words != vocabulary.words:
        raise AuricleError(
            f"{path}: trained on other words than the data has now: run `auricle pretrain` again"
        )
    _check_inputs(path, recipe, vocabulary.fingerprint())
    model = build_pre_encoder(recipe, len(vocabulary))
    load_strictly(model, load_weights(path), str(path))
    return model


def _check_inputs(path: Path, recipe: Recipe, words: str = "") -> None:
    """Compares what a network hears now, and the fingerprint of its words, with its training's."""
    features = front_end_fingerprint(front_end(recipe.data.front_end))
    expected = Fingerprints(vocabulary=words, features=features)
    check_fingerprints(path, expected, "run `auricle pretrain` again, or restore the old files")


def load_pretrained(
    recipe: Recipe, vocabulary: Vocabulary, items: Sequence[Item]
) -> PreEncoder | Labeller:
    """Loads the best network of the stage before the captioner.

    Args:
        recipe: its `pretrain.objective` selects the network.
        vocabulary: the words that a contrastive stage learnt.
        items: the sounds to learn from, with the labels that the other stage learnt.

    Raises:
        AuricleError: as for `load_pre_encoder`.
    """
    if recipe.pretrain.objective == "contrastive":
        return load_pre_encoder(recipe, vocabulary)
    path = _trained_pre_encoder(recipe)
    _check_inputs(path, recipe)
    model = Labeller(recipe.encoder, labels_of(items))
    load_strictly(model, load_weights(path), str(path))
    return model


@dataclass(frozen=True)
class ContrastiveStage(TowerStage):
    """Trains sounds and their captions towards each other."""

    folder: Path
    config: PretrainConfig
    initial_files: Sequence[Path]
    build_network: Callable[[int], PreEncoder]  # for a number of words
    word2vec: Word2VecConfig
    tags: TagsConfig
    uses_tags: bool  # whether the shared space uses the tags of sounds
    seed: int
    title: str = "pre-encoder"
    bfloat16: bool = False

    def build(self, data: Data, accelerator: Accelerator, report: Report) -> Learner[PreEncoder]:
        """Builds the towers, Adam and the batches."""
        config = self.config
        model = self.build_network(len(data.vocabulary))
        if config.initial == "weights":
            load_encoder(model.audio, config.weights)
        vectors = train_word2vec(data.captions, data.vocabulary, self.word2vec, self.seed)
        model.space.text.embedding.weight.data.copy_(vectors)
        if config.texts_per_batch:
            data = data.with_texts(self.tags, HEARD_TAGS, model.audio, accelerator, report)
        if self.uses_tags:
            data = data.with_sound_tags(self.tags, model.audio, accelerator, report)
        optimizer = torch.optim.Adam(
            parameter_groups(model, config), config.learning_rate, fused=True
        )
        size, _ = share_batch(config.batch_size, 1, accelerator.num_processes)
        batches = data.batches(
            size,
            accelerator,
            augmentation=config.augmentation,
            texts_per_batch=config.texts_per_batch,
        )
        _require_pairs(batches)
        return Learner(model, optimizer, batches, plateau=plateau(optimizer, config))

    def loss(
        self, training: Training[PreEncoder], batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Returns the contrastive loss over all processes, with the distillation of tags."""
        config = self.config
        hears = front_end(training.data.config.front_end)
        log_mel = spec_augment(batch.log_mel, config.augmentation, hears)
        sounds, captions, temperature, tags = training.prepared(
            log_mel, batch.frames, batch.words(), batch.text_tags
        )
        also_fit = also_fitting(batch, training.accelerator) if config.mask_fitting_pairs else None
        everyones = gather_with_gradient(sounds), gather_with_gradient(captions)
        loss = contrastive_loss(*everyones, temperature, also_fit)
        if batch.sound_tags is not None:
            loss = loss + config.distillation * tag_distillation(tags, batch.sound_tags)
        return loss, {}

    def validate(self, training: Training[PreEncoder]) -> dict[str, float]:
        """Returns learning rate, temperature, and retrieval on the validation splits."""
        model, data = training.model, training.data
        record = {
            "learning_rate": training.learner.optimizer.param_groups[0]["lr"],
            "temperature": model.log_temperature.exp().item(),
        }
        if data.valid:
            batches = data.valid_batches(self.config.batch_size)
            record |= evaluate_retrieval(model, batches, training.accelerator.device)
        return record

    def score(self, record: Mapping[str, float]) -> float:
        """Returns the negative training loss, or mAP@10."""
        return -record["loss"] if self.config.monitor == "loss" else mean_map_10(record)


def _require_pairs(batches: Batches) -> None:
    """Refuses data of which no batch holds two pairs: nothing could be compared.

    Raises:
        AuricleError: every batch of the first epoch holds one pair.
    """
    if not batches.texts_per_batch and max(map(len, batches.plan(0, 0)), default=0) < 2:
        raise AuricleError(
            f"every batch holds one of {len(batches.items)} sounds, which has no others to be "
            "compared with: only sounds of similar length share a batch; add sounds, or set "
            "data.pad=longest"
        )


def tag_distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """Returns the Kullback-Leibler divergence from a teacher's tags (Hinton et al. 2015).

    Every tag is present or not, and the divergence is summed over tags.

    Args:
        logits: (batch, 527).
        teacher: (batch, 527), the teacher's probabilities.

    Returns:
        A scalar, the mean over sounds; 0 where the two agree.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, teacher, reduction="sum")
    least = F.binary_cross_entropy(teacher, teacher, reduction="sum")
    return (cross_entropy - least) / len(logits)


def also_fitting(batch: Batch, accelerator: Accelerator) -> Tensor:
    """Returns the pairs that fit although they are not each other's: (N, N).

    N counts the pairs of all processes.
    """
    keys: Sequence[Sequence[str]] = pair_keys(batch)
    if accelerator.num_processes > 1:
        everyone: list[Any] = [None for _ in range(accelerator.num_processes)]
        torch.distributed.all_gather_object(everyone, keys)
        keys = [list(chain(*parts)) for parts in zip(*everyone, strict=True)]
    fit = fitting_pairs(*keys)
    np.fill_diagonal(fit, False)
    return torch.from_numpy(fit).to(accelerator.device)


class _Gather(torch.autograd.Function):
    # torch.distributed.nn.functional.all_gather does the same, but torch 2.13 deprecates it.
    @staticmethod
    def forward(ctx: Any, local_rows: Tensor) -> Tensor:  # type: ignore[override]
        parts = [torch.empty_like(local_rows) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, local_rows.contiguous())
        ctx.rows = len(local_rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        # Every process has the same loss of all rows. It multiplies the gradient of its own rows by
        # the number of processes, and data parallelism takes the mean over processes. The result is
        # the gradient of one process with all rows.
        start = torch.distributed.get_rank() * ctx.rows
        return gradient[start : start + ctx.rows] * torch.distributed.get_world_size()


def gather_with_gradient(local_rows: Tensor) -> Tensor:
    """Returns the rows of all processes: (rows, size) -> (processes * rows, size)."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return local_rows
    gathered: Tensor = _Gather.apply(local_rows)  # type: ignore[assignment]
    return gathered
