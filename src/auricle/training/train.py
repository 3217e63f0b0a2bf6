"""The encoder-decoder stage: the captioner learns the captions of sounds."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from auricle.checkpoint.config import (
    CHECKPOINT_FORMAT,
    BeamOptions,
    CheckpointConfig,
    DecoderConfig,
    EncoderConfig,
)
from auricle.checkpoint.folder import Checkpoint, save_checkpoint
from auricle.checkpoint.vocabulary import PAD, Vocabulary
from auricle.data.collation import Batch
from auricle.data.manifest import Item
from auricle.data.progress import SILENT, Report
from auricle.models.captioning import CaptioningModel
from auricle.models.contrastive import PreEncoder
from auricle.sound.features import front_end
from auricle.training.augment import decoder_augment, spec_augment
from auricle.training.config import (
    Recipe,
    TagsConfig,
    TrainConfig,
    Word2VecConfig,
    initial_checkpoint,
)
from auricle.training.export import export_onnx
from auricle.training.initial import (
    load_checkpoint_tensors,
    load_encoder,
    name_vectors,
    standardise_bridge,
)
from auricle.training.labeller import Labeller
from auricle.training.loop import Learner, Training, run_stage
from auricle.training.prepare import Data, share_batch
from auricle.training.pretrain import load_pretrained
from auricle.training.tags import read_class_names
from auricle.training.validate import evaluate_captions, validation_loss, word_loss
from auricle.training.word2vec import train_word2vec

CaptionerSizes = tuple[EncoderConfig, DecoderConfig, int, int]


def train(
    recipe: Recipe, *, resume: bool = False, report: Report = SILENT, skip_bad: bool = False
) -> Path:
    """Trains the captioner and writes its checkpoint folder, with ONNX files.

    Args:
        recipe: the recipe of the training.
        resume: whether to continue a training that was stopped.
        report: takes the progress, and a line for each epoch.
        skip_bad: whether sounds that cannot be read are left out, and listed by `report`.

    Returns:
        The checkpoint folder.

    Raises:
        AuricleError: the data, weights or folder cannot be used.
    """
    stage = CaptionStage(
        recipe.captioner_folder,
        recipe.train,
        initial_files=captioner_sources(recipe),
        build_network=partial(build_captioner, recipe),
        load_pretrained=partial(load_pretrained, recipe),
        describe=partial(describe_checkpoint, recipe.captioner_folder, recipe),
        word2vec=recipe.word2vec,
        tags=recipe.tags,
        decoding=recipe.decoding,
        seed=recipe.seed,
    )
    return run_stage(stage, recipe, resume=resume, report=report, skip_bad=skip_bad)


def captioner_sources(recipe: Recipe) -> list[Path]:
    """Returns the file of weights that the captioner begins from, if there is one."""
    if recipe.train.initial == "pre-encoder":
        return [recipe.pre_encoder_folder / "model.safetensors"]
    return [Path(recipe.train.weights)] if recipe.train.initial == "weights" else []


def build_captioner(recipe: Recipe, words: int) -> CaptioningModel:
    """Builds the network of a recipe at random weights."""
    return CaptioningModel(*captioner_sizes(recipe, words))


def captioner_sizes(recipe: Recipe, words: int) -> CaptionerSizes:
    """Returns the arguments of a recipe's `CaptioningModel`."""
    return recipe.encoder, recipe.decoder, words, space_size(recipe)


def space_size(recipe: Recipe) -> int:
    """Returns the size of the space of sounds and sentences that a captioner takes over.

    It takes the space over from its initial weights if its encoder is frozen; 0 otherwise.
    """
    has_space = recipe.train.initial == "checkpoint" or (
        recipe.train.initial == "pre-encoder" and recipe.pretrain.objective == "contrastive"
    )
    return recipe.pretrain.projection if has_space and not recipe.train.encoder_rate else 0


def describe_checkpoint(folder: Path, recipe: Recipe, data: Data) -> None:
    """Writes the configuration, words and tags of a checkpoint folder, before it has weights.

    `auricle export` can then make a captioner of the weights of a training that was stopped.
    """
    config = CheckpointConfig(
        format=CHECKPOINT_FORMAT,
        front_end=recipe.data.front_end,
        encoder=recipe.encoder,
        decoder=recipe.decoder,
        decoding=recipe.decoding,
        space=space_size(recipe),
        rerank=recipe.rerank,
        second_event=recipe.second_event,
        confidence=recipe.confidence,
        maximum_seconds=recipe.data.maximum_seconds,
        padded_frames=data.longest,
        licence=recipe.licence,
        fingerprints=data.fingerprints,
    )
    tags = tuple(read_class_names(Path(recipe.tags.names))) if recipe.decoder.tags else ()
    save_checkpoint(Checkpoint(folder, config, data.vocabulary, tags))


@dataclass(frozen=True)
class CaptionStage:
    """Trains a captioner to predict the next word of captions."""

    folder: Path
    config: TrainConfig
    initial_files: Sequence[Path]
    build_network: Callable[[int], CaptioningModel]  # for a number of words
    load_pretrained: Callable[[Vocabulary, Sequence[Item]], PreEncoder | Labeller]
    describe: Callable[[Data], None]  # writes the checkpoint's configuration
    word2vec: Word2VecConfig
    tags: TagsConfig
    decoding: BeamOptions
    seed: int
    title: str = "captioner"

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return self.config.epochs

    @property
    def remedy(self) -> str:
        """The settings to try where the loss is not finite."""
        return f"--set train.learning_rate={self.config.learning_rate / 10:g} or --set train.clip=1"

    @property
    def bfloat16(self) -> bool:
        """Whether to multiply in bfloat16."""
        return self.config.bfloat16

    def build(
        self, data: Data, accelerator: Accelerator, report: Report
    ) -> Learner[CaptioningModel]:
        """Builds the captioner at its initial weights, AdamW and the batches."""
        config = self.config
        model = self.build_network(len(data.vocabulary))
        checkpoint = initial_checkpoint(config) if config.initial == "checkpoint" else None
        self._load_initial_weights(model, data, checkpoint)
        if accelerator.is_main_process:
            self.describe(data)
        if self.word2vec.epochs:
            self._load_word_vectors(model, data)
        if not config.encoder_rate:
            model.freeze_encoder()
        if config.texts_per_batch:
            guiding_tags = 0 if model.tags is None else model.tags.count
            data = data.with_texts(self.tags, guiding_tags, model.encoder, accelerator, report)
        has_bridge = checkpoint is not None and not checkpoint.config.decoder.plan
        if not has_bridge and model.memory_encoder is None:
            standardise_bridge(model, data.spectrograms[: len(data.train)])
        groups = parameter_groups(model, config.encoder_rate, config.weight_decay)
        size, accumulate = share_batch(
            config.batch_size, config.accumulate, accelerator.num_processes
        )
        batches = data.batches(
            size,
            accelerator,
            augmentation=config.augmentation,
            texts_per_batch=round(config.texts_per_batch * size / config.batch_size),
        )
        return Learner(
            model,
            torch.optim.AdamW(groups, config.learning_rate, fused=True),
            batches,
            accumulate=accumulate,
            clip_norm=config.clip,
            average_decay=config.ema,
        )

    def _load_initial_weights(
        self, model: CaptioningModel, data: Data, checkpoint: Checkpoint | None
    ) -> None:
        config = self.config
        if checkpoint is not None:
            load_checkpoint_tensors(model, checkpoint, data.vocabulary, data.captions)
        elif config.initial == "weights":
            load_encoder(model.encoder, config.weights)
        elif config.initial == "pre-encoder":
            pretrained = self.load_pretrained(data.vocabulary, data.train)
            model.encoder.load_state_dict(pretrained.audio.state_dict())
            if model.space is not None:
                assert isinstance(pretrained, PreEncoder)  # see `space_size`
                model.space.load_state_dict(pretrained.space.state_dict())

    def _load_word_vectors(self, model: CaptioningModel, data: Data) -> None:
        vectors = train_word2vec(data.captions, data.vocabulary, self.word2vec, self.seed)
        model.decoder.embedding.weight.data.copy_(vectors)
        if model.tags is not None:
            names = read_class_names(Path(self.tags.names))
            model.tags.classes.weight.data.copy_(name_vectors(names, vectors, data.vocabulary))

    def begin_epoch(self, training: Training[CaptioningModel]) -> None:
        """Puts the network into training mode."""
        training.prepared.train()

    def set_rates(self, optimizer: torch.optim.Optimizer, epochs_done: float) -> None:
        """Sets the learning rates that the schedule gives after this number of epochs."""
        set_rate(optimizer, learning_rate(self.config, epochs_done))

    def loss(
        self, training: Training[CaptioningModel], batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Returns the mean cross entropy of a word, over all processes."""
        config, accelerator, model = self.config, training.accelerator, training.model
        hears = front_end(training.data.config.front_end)
        log_mel = spec_augment(batch.log_mel, config.augmentation, hears)
        augment = decoder_augment(config.augmentation, model.tags.count if model.tags else 0)
        targets = batch.tokens[:, 1:]
        logits = training.prepared(
            log_mel, batch.frames, batch.tokens[:, :-1], batch.text_tags, augment
        )
        # Data parallelism takes the mean over processes, whose batches differ in words.
        all_words: Any = accelerator.reduce((targets != PAD).sum(), "sum")
        words = all_words / accelerator.num_processes
        return word_loss(logits, targets, config.label_smoothing) / words, {}

    def validate(self, training: Training[CaptioningModel]) -> dict[str, float]:
        """Returns the learning rate, and loss and captions on the validation splits."""
        model, data, device = training.kept, training.data, training.accelerator.device
        record = {"learning_rate": training.learner.optimizer.param_groups[-1]["lr"]}
        if data.valid:
            size = self.config.batch_size
            record["valid_loss"] = validation_loss(
                model, data.valid_batches(size, rounds=1), device
            )
            record |= evaluate_captions(model, data, self.decoding, size, device)
        return record

    def score(self, record: Mapping[str, float]) -> float | None:
        """Returns the negative validation loss or CIDEr-D; None if the last epoch is kept."""
        if self.config.keep == "last":
            return None
        best_captions = self.config.keep == "best_cider_d"
        return record["valid_cider_d"] if best_captions else -record["valid_loss"]

    def finish(self) -> None:
        """Exports the kept weights to ONNX files."""
        export_onnx(self.folder)


def learning_rate(config: TrainConfig, epochs_done: float) -> float:
    """Returns the learning rate after a number of epochs, which may have a fraction.

    `paper`: linear from 0 over five epochs, the highest for five, then a tenth of it for every five
    that follow. The last step of an epoch still belongs to it. `cosine` and `linear`: linear from 0
    over `warmup` epochs, then half a cosine, or a straight line, down to 0.
    """
    if config.schedule == "paper":
        share = (
            epochs_done / 5 if epochs_done < 5 else 10.0 ** -max(0, math.ceil(epochs_done / 5) - 2)
        )
    elif epochs_done < config.warmup:
        share = epochs_done / config.warmup
    else:
        fallen = (epochs_done - config.warmup) / max(config.epochs - config.warmup, 1e-9)
        share = (1 + math.cos(math.pi * fallen)) / 2 if config.schedule == "cosine" else 1 - fallen
    return config.learning_rate * share


def parameter_groups(
    model: CaptioningModel, encoder_rate: float, weight_decay: float
) -> list[dict[str, object]]:
    """Returns the encoder and the rest, each with its share of the learning rate.

    Only matrices get weight decay. The space of sounds and sentences is not trained.
    """
    groups: list[dict[str, object]] = []
    rest = nn.ModuleList(
        module for name, module in model.named_children() if name not in ("encoder", "space")
    )
    for part, share in ((model.encoder, encoder_rate), (rest, 1.0)):
        for matrices, decay in ((True, weight_decay), (False, 0.0)):
            parameters = [
                p for p in part.parameters() if p.requires_grad and (p.dim() > 1) == matrices
            ]
            groups.append({"params": parameters, "weight_decay": decay, "share": share})
    return groups


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives each of the `parameter_groups` its share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
