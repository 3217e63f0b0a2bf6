"""The fields of a recipe: a TOML file in `configs/` is read into these dataclasses."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from auricle.checkpoint.config import (
    BeamOptions,
    Confidence,
    DecoderConfig,
    EncoderConfig,
    SecondEvent,
    SelectionConfig,
)
from auricle.checkpoint.fingerprints import fingerprint_of
from auricle.checkpoint.folder import EMBEDDED, Checkpoint, load_checkpoint
from auricle.checkpoint.vocabulary import Vocabulary
from auricle.errors import AuricleError
from auricle.storage.tables import read
from auricle.training.plan_config import ProbeConfig, WordingConfig
from auricle.training.recipe_files import find_recipe, read_table, toml_value


@dataclass(frozen=True)
class DataConfig:
    """The sounds and captions."""

    manifest: str  # CSV; relative to the current folder
    # Manifests of further data sets, to learn from their split `train`. Their captions begin with
    # tokens of their own (Labbé et al. 2023).
    further: tuple[str, ...] = ()
    train: tuple[str, ...] = ("train",)  # splits to learn from
    # Splits to select by. Without them, the training loss selects, or the last epoch is kept.
    valid: tuple[str, ...] = ()
    front_end: Literal["paper", "panns", "mobilenet", "vggish"] = "paper"
    # longest: pad to the longest sound of all, unmasked, as in the paper
    pad: Literal["batch", "longest"] = "batch"
    captions_per_epoch: int = 0  # how many captions of each sound an epoch visits; 0: all
    # How often an epoch visits each label, however many sounds it has; 0: it visits sounds.
    visits_per_label: int = 0
    minimum_count: int = 1  # rarer words become <unk>
    # TOML with our English for the classes of sounds. All of its words are learnt.
    sentences: str = ""
    # Folder of BART's tokenizer, to learn its pieces of words; empty: learn words.
    tokenizer: str = ""
    maximum_seconds: float = 30.0  # longer sounds are cut


@dataclass(frozen=True)
class Word2VecConfig:
    """The initial word vectors of the text tower and the decoder (gensim, skip-gram)."""

    size: int = 128
    window: int = 5
    epochs: int = 30  # 0: no Word2Vec, word vectors begin at random


@dataclass(frozen=True)
class TagsConfig:
    """AudioSet's tags, and captions to learn from by their tags.

    `decoder.tags` sets the number of tags that guide the decoder.
    """

    names: str = ""  # AudioSet's class_labels_indices.csv
    # CSV with a column `caption`: captions without sound. Their words give their tags. With
    # `decoder.plan`, the captions to learn words from; the column `source` names their authors.
    captions: str = ""
    # Whether the pre-encoder learns the tags in the captions of sounds, and not only heard ones.
    told: bool = False


@dataclass(frozen=True)
class Augmentation:
    """Changes of a batch in training only. All are off by default."""

    time_masks: int = 0  # SpecAugment (Park et al. 2019)
    time_mask_seconds: float = 0.5  # greatest length of one mask
    mel_masks: int = 0
    mel_mask_share: float = 0.15  # greatest share of the bands under one mask
    mixup: float = 0.0  # alpha of the Beta distribution that mixes the decoder's inputs; 0: none
    mixtures: float = 0.0  # share of sounds that are mixed with another sound
    audio_dropout: float = 0.0  # share of sounds whose frames the decoder does not get
    tag_dropout: float = 0.0  # share of tags that the decoder does not get


@dataclass(frozen=True)
class PretrainConfig:
    """The contrastive stage: Adam, with a learning rate that falls when `monitor` stands still."""

    # contrastive: the paper's. labels: a control, in which the audio tower learns labels alone.
    objective: Literal["contrastive", "labels"] = "contrastive"
    epochs: int = 80
    batch_size: int = 32  # over all processes; 2 or more, since pairs are compared
    texts_per_batch: int = 0  # captions without sound in each batch
    learning_rate: float = 1e-3
    encoder_rate: float = 1.0  # multiplies the audio tower's learning rate
    factor: float = 0.1
    patience: int = 5
    minimum_learning_rate: float = 1e-6
    projection: int = 512
    temperature: float = 0.07
    learn_temperature: bool = False
    mask_fitting_pairs: bool = False  # leave out pairs of equal recording, caption or label
    # training loss, or retrieval mAP@10 on the validation splits
    monitor: Literal["loss", "map_10"] = "loss"
    # Whether the audio tower's batch norms keep the statistics of the initial weights.
    freeze_statistics: bool = False
    # Weight of the loss that keeps the tags of the initial weights, where tags guide the decoder.
    distillation: float = 1.0
    initial: Literal["random", "weights"] = "random"
    weights: str = ""  # published weights of the audio tower
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ValueError(
                f"batch_size is {self.batch_size}: set 2 or more, to compare each sound with the "
                "captions of others"
            )


@dataclass(frozen=True)
class TrainConfig:
    """The encoder-decoder stage: AdamW."""

    epochs: int = 30
    batch_size: int = 16  # over all processes
    accumulate: int = 1  # batches whose gradients make a step
    texts_per_batch: int = 0  # captions without sound in each batch
    schedule: Literal["paper", "cosine", "linear"] = "paper"
    learning_rate: float = 1e-3  # the highest
    encoder_rate: float = 1.0  # multiplies the encoder's learning rate; 0: it is frozen
    warmup: float = 1.0  # epochs of linear growth for `cosine` and `linear`; `paper` has five
    weight_decay: float = 0.01  # of matrices; biases and norms do not decay
    clip: float = 0.0  # greatest norm of a step's gradients; 0: no limit
    label_smoothing: float = 0.0
    bfloat16: bool = False  # multiply in bfloat16; False: as `accelerate launch` says
    # Decay of the moving average of all weights, which is kept in their place; 0: no average.
    ema: float = 0.0
    # The epoch whose weights are kept: the last one, or the one with the lowest loss or the highest
    # CIDEr-D on the validation splits.
    keep: Literal["last", "best_loss", "best_cider_d"] = "last"
    # `checkpoint` trains a captioner further. Its networks, front end and vocabulary stay, and new
    # words are added.
    initial: Literal["random", "weights", "pre-encoder", "checkpoint"] = "random"
    # Published weights of the encoder, or a checkpoint's folder; `embedded`: the embedded model.
    weights: str = ""
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class ScstConfig:
    """Self-critical sequence training, after the encoder-decoder stage.

    It uses AdamW at a constant rate.
    """

    epochs: int = 5
    batch_size: int = 16  # over all processes
    samples: int = 5  # captions drawn for each sound
    # A drawn caption is compared with the mean of the others, or with the greedy caption.
    baseline: Literal["others", "greedy"] = "others"
    learning_rate: float = 1e-5

    def __post_init__(self) -> None:
        if self.samples < 2 and self.baseline == "others":
            raise ValueError(
                f"samples is {self.samples}: set 2 or more, to compare each caption with the others"
            )


GUIDING_TAGS = 8  # of a captioner that is trained further from one that words a plan
# Architectures of encoders that give AudioSet's tags.
TAGGERS = ("cnn10", "mobilenet")


@dataclass(frozen=True)
class Recipe:
    """All settings of a training."""

    output: str  # folder of the run, which gets the folders `pre-encoder`, `captioner` and `scst`
    data: DataConfig
    seed: int = 0
    # Whether batch norms in training take their statistics from the sounds of all processes, and
    # not only from each process's own. For GPUs.
    sync_batch_norm: bool = False
    licence: str = "unknown"  # of the trained weights
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    tags: TagsConfig = field(default_factory=TagsConfig)
    word2vec: Word2VecConfig = field(default_factory=Word2VecConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    scst: ScstConfig = field(default_factory=ScstConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    wording: WordingConfig = field(default_factory=WordingConfig)
    decoding: BeamOptions = field(default_factory=BeamOptions)
    rerank: float = 0.0  # copied into the checkpoint, like all fields from here on
    selection: SelectionConfig | None = None
    minimum_seconds: float = 0.0
    second_event: SecondEvent | None = None
    confidence: Confidence | None = None

    def __post_init__(self) -> None:
        if self.word2vec.epochs and self.word2vec.size != self.decoder.width:
            raise ValueError(
                f"word2vec.size is {self.word2vec.size} and decoder.width {self.decoder.width}: "
                "the two must be equal"
            )
        if self.data.tokenizer and (self.word2vec.epochs or self.data.further):
            raise ValueError(
                "data.tokenizer makes pieces of words: word2vec.epochs must be 0, "
                "and data.further empty"
            )
        for stage, initial, weights in (
            ("pretrain", self.pretrain.initial, self.pretrain.weights),
            ("train", self.train.initial, self.train.weights),
        ):
            if initial in ("weights", "checkpoint") and not weights:
                raise ValueError(
                    f"{stage}.initial is '{initial}': {stage}.weights must name a file or folder"
                )
        if self.hears_tags and self.encoder.architecture not in TAGGERS:
            raise ValueError(
                "decoder.tags and decoder.plan need an encoder that hears tags: "
                f"{' or '.join(TAGGERS)}"
            )
        if self.hears_tags and not self.tags.names:
            raise ValueError(
                "decoder.tags and decoder.plan need the names of the classes: tags.names"
            )
        if self.tags.captions and not self.hears_tags:
            raise ValueError(
                "tags.captions needs decoder.tags, the number of tags that guide the decoder, "
                "or decoder.plan"
            )
        if self.decoder.plan and (
            self.selection is None or not self.data.sentences or not self.tags.captions
        ):
            raise ValueError(
                "decoder.plan needs the section selection, data.sentences and tags.captions"
            )
        if self.pretrain.objective == "labels" and (
            self.pretrain.monitor != "loss"
            or self.pretrain.texts_per_batch
            or self.pretrain.augmentation.mixtures
            or self.hears_tags
        ):
            raise ValueError(
                "pretrain.objective 'labels' learns from the labels of sounds alone: it needs "
                "pretrain.monitor 'loss', and neither texts, mixtures, tags nor plans"
            )
        if (self.pretrain.monitor == "map_10" or self.train.keep != "last") and not self.data.valid:
            raise ValueError("selection by validation needs data.valid")

    @property
    def hears_tags(self) -> bool:
        """Whether the pre-encoder and the captioner use AudioSet's tags."""
        return bool(self.decoder.tags) or self.decoder.plan

    @property
    def pre_encoder_folder(self) -> Path:
        """The folder of the contrastive stage."""
        return Path(self.output) / "pre-encoder"

    @property
    def captioner_folder(self) -> Path:
        """The folder of the encoder-decoder stage."""
        return Path(self.output) / "captioner"

    @property
    def scst_folder(self) -> Path:
        """The folder of self-critical sequence training."""
        return Path(self.output) / "scst"


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe.

    Args:
        path: a TOML file, or the name of one of ours. With `extends = "other.toml"`, or the name of
            one of ours, its fields replace those of the other.
        overrides: `section.key=value`, the value as in TOML (a bare word is a string).

    Raises:
        AuricleError: the file does not exist or is not TOML, or a field is unknown, missing or
            wrong.
    """
    path = find_recipe(path)
    table = read_table(path)
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise AuricleError(f"--set {override}: expected section.key=value")
        *sections, key = name.strip().split(".")
        section = table
        for part in sections:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise AuricleError(f"--set {override}: {part} is a value, not a section")
        section[key] = toml_value(text.strip())
    recipe = read(Recipe, table, str(path))
    return _continued(recipe) if recipe.train.initial == "checkpoint" else recipe


def recipe_fingerprint(recipe: Recipe) -> str:
    """Returns a digest of all settings but the output folder."""
    return fingerprint_of(asdict(replace(recipe, output="")))


def initial_checkpoint(config: TrainConfig) -> Checkpoint:
    """Returns the captioner that the stage trains further.

    Raises:
        AuricleError: the folder in `weights` holds no checkpoint.
    """
    return load_checkpoint(EMBEDDED if config.weights == "embedded" else Path(config.weights))


def initial_vocabulary(config: TrainConfig) -> Vocabulary | None:
    """Returns the vocabulary of the captioner that the stage trains further, if there is one."""
    return initial_checkpoint(config).vocabulary if config.initial == "checkpoint" else None


def _continued(recipe: Recipe) -> Recipe:
    """Returns a recipe with the networks, front end, tags and licence of its initial captioner."""
    checkpoint = initial_checkpoint(recipe.train)
    config = checkpoint.config
    decoder = config.decoder
    if decoder.plan:
        # It goes on from a decoder that hears the sound: plans cannot tell what a caption of yours
        # says beyond its events. The likeliest tags take the place of the plan's events.
        decoder = replace(decoder, plan=False, tied=True, tags=GUIDING_TAGS)
    return replace(
        recipe,
        licence=config.licence if recipe.licence == "unknown" else recipe.licence,
        data=replace(
            recipe.data,
            front_end=config.front_end,
            pad="longest" if config.padded_frames else "batch",
        ),
        encoder=config.encoder,
        decoder=decoder,
        tags=replace(
            recipe.tags, names=str(checkpoint.folder / "tags.txt") if checkpoint.tags else ""
        ),
        word2vec=replace(recipe.word2vec, epochs=0),
        pretrain=replace(recipe.pretrain, projection=config.space),
        rerank=recipe.rerank or config.rerank,
        second_event=recipe.second_event or config.second_event,
    )
