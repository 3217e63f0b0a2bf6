"""Prepares the data of a training: sounds, captions, tags and words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from auricle.checkpoint.fingerprints import Fingerprints, fingerprint_of
from auricle.checkpoint.vocabulary import SPECIAL, Subwords, Vocabulary
from auricle.data.batches import Batches, BatchOptions, Share, default_workers
from auricle.data.cache import FeatureCache, Features, front_end_fingerprint
from auricle.data.manifest import Item, read_manifest
from auricle.data.mixtures import Mixtures
from auricle.data.plan_sentences import class_words
from auricle.data.progress import Report
from auricle.data.texts import SoundTags, Texts
from auricle.errors import AuricleError
from auricle.models.contrastive import HEARD_TAGS
from auricle.models.encoder import Encoder, Tagger
from auricle.planning.classes import SoundClasses
from auricle.sound.features import floor_of, front_end
from auricle.storage.csv_table import read_rows
from auricle.training.config import (
    Augmentation,
    DataConfig,
    Recipe,
    TagsConfig,
    initial_vocabulary,
    recipe_fingerprint,
)
from auricle.training.heard import hear_tags
from auricle.training.tags import read_class_names, read_tags


@dataclass(frozen=True)
class Data:
    """Sounds to learn from and to select by, captions without sound, and the vocabulary."""

    config: DataConfig
    train: list[Item]
    valid: list[Item]
    spectrograms: list[np.ndarray]  # of `train`, then of `valid`
    lone_captions: list[str]  # captions without sound
    vocabulary: Vocabulary
    fingerprints: Fingerprints
    texts: Texts | None = None  # the captions without sound, with tags; see `with_texts`
    sound_tags: SoundTags | None = None  # the tags of `train`; see `with_sound_tags`

    @property
    def captions(self) -> list[str]:
        """All captions to learn from."""
        return captions_of(self.train) + self.lone_captions

    @property
    def longest(self) -> int:
        """The frames that every sound is padded to.

        0 means that each batch is padded to its own longest sound.
        """
        return max(map(len, self.spectrograms)) if self.config.pad == "longest" else 0

    @property
    def padding(self) -> float:
        """The value of frames after the end of a sound.

        It is the front end's silence, because networks with batch norms or pooling over time hear
        masked frames too. Where all sounds are padded to the longest, it is zero, as in the paper.
        """
        return 0.0 if self.config.pad == "longest" else floor_of(front_end(self.config.front_end))

    def batches(
        self,
        size: int,
        accelerator: Accelerator,
        *,
        rounds: int | None = None,
        augmentation: Augmentation | None = None,
        texts_per_batch: int = 0,
    ) -> Batches:
        """Returns the batches that a stage learns from.

        Args:
            size: sounds in a batch, over all processes.
            accelerator: knows the processes.
            rounds: captions of each sound in an epoch; None: as the recipe says.
            augmentation: sets the share of mixtures.
            texts_per_batch: captions without sound in each batch.
        """
        mixtures = None
        if augmentation is not None and augmentation.mixtures:
            mixtures = Mixtures(augmentation.mixtures, front_end(self.config.front_end))
        options = BatchOptions(
            size,
            rounds=self.config.captions_per_epoch if rounds is None else rounds,
            visits_per_label=self.config.visits_per_label if rounds is None else 0,
            padded_frames=self.longest,
            mixtures=mixtures,
            texts_per_batch=texts_per_batch,
            padding=self.padding,
            pinned=accelerator.device.type == "cuda",
            workers=default_workers(accelerator.num_processes),
        )
        return Batches(
            self.train,
            self.spectrograms[: len(self.train)],
            self.vocabulary,
            options,
            texts=self.texts,
            sound_tags=self.sound_tags,
            share=Share(accelerator.process_index, accelerator.num_processes),
        )

    def valid_batches(self, size: int, rounds: int = 0) -> Batches:
        """Returns the batches that a stage selects by, all of them in every process.

        Each sound comes with all of its captions, or with `rounds` of them.
        """
        spectrograms = self.spectrograms[len(self.train) :]
        options = BatchOptions(
            size, rounds=rounds, padded_frames=self.longest, padding=self.padding
        )
        return Batches(self.valid, spectrograms, self.vocabulary, options)

    def with_texts(
        self,
        config: TagsConfig,
        guiding_tags: int,
        encoder: Encoder,
        accelerator: Accelerator,
        report: Report,
    ) -> "Data":
        """Returns the same data, with tags for the captions without sound, if there are any.

        Args:
            config: names the classes.
            guiding_tags: the number of tags that guide the decoder.
            encoder: shows how likely the tags of real sounds are.
            accelerator: knows the device and the processes.
            report: takes the progress.
        """
        if not self.lone_captions:
            return self
        assert isinstance(encoder, Tagger)
        names = read_class_names(Path(config.names))
        tags = read_tags(self.lone_captions, names, report=report)
        heard = hear_tags(encoder, self.spectrograms[: len(self.train)], accelerator, report)
        profiles = -np.sort(-heard, axis=1)[:, : max(guiding_tags, HEARD_TAGS)]
        vectors = encoder.class_vectors.detach().cpu().numpy()
        return replace(
            self, texts=Texts(self.lone_captions, tags, profiles, vectors, self.vocabulary)
        )

    def with_sound_tags(
        self, config: TagsConfig, encoder: Encoder, accelerator: Accelerator, report: Report
    ) -> "Data":
        """Returns the same data, with the tags that the sounds should have.

        These are the tags that the encoder hears, and those in the captions if `config.told`.
        """
        assert isinstance(encoder, Tagger)
        heard = hear_tags(encoder, self.spectrograms[: len(self.train)], accelerator, report)
        told: dict[str, dict[int, float]] = {}
        if config.told:
            captions = sorted(set(captions_of(self.train)))
            read = read_tags(captions, read_class_names(Path(config.names)), report=report)
            told = dict(zip(captions, read, strict=True))
        return replace(self, sound_tags=SoundTags(heard, told))


def share_batch(size: int, accumulate: int, processes: int) -> tuple[int, int]:
    """Returns the batch size over all processes, and the number of batches that make a step.

    A step learns from `size * accumulate` sounds on any number of processes.

    Args:
        size: sounds in a batch, as the recipe says.
        accumulate: batches in a step, as the recipe says.
        processes: the number of processes, which share every batch equally.

    Raises:
        AuricleError: the sounds of a step cannot be shared equally.
    """
    sounds = size * accumulate
    for shared in range(size, sounds + 1):
        if shared % processes == 0 and sounds % shared == 0:
            return shared, sounds // shared
    raise AuricleError(
        f"{processes} processes cannot share the {sounds} sounds of a step equally: "
        f"use a number of processes that divides {sounds}, or change batch_size or accumulate"
    )


def read_data(
    config: DataConfig,
    lone_captions: str = "",
    known: Vocabulary | None = None,
    *,
    check_files: bool = True,
) -> tuple[list[Item], list[Item], list[str], Vocabulary]:
    """Reads manifests and captions, but no sounds.

    Args:
        config: names the manifests.
        lone_captions: a CSV with captions without sound, if any.
        known: the vocabulary of the captioner that is trained further, if there is one.
        check_files: whether a missing sound is an error.

    Returns:
        Sounds to learn from, sounds to select by, captions without sound, and the vocabulary.
    """
    train, valid = read_items(config, check_files=check_files)
    lone = read_captions(Path(lone_captions)) if lone_captions else []
    return train, valid, lone, build_vocabulary(config, [*captions_of(train), *lone], known)


def read_items(
    config: DataConfig, *, check_files: bool = True, bad_clips: list[str] | None = None
) -> tuple[list[Item], list[Item]]:
    """Returns the sounds to learn from and to select by.

    Args:
        config: names the manifests.
        check_files: whether a missing sound is an error.
        bad_clips: if given, missing sounds are left out, and added here by line.
    """
    items = read_manifest(
        Path(config.manifest),
        {*config.train, *config.valid},
        check_files=check_files,
        bad_clips=bad_clips,
    )
    train = [item for item in items if item.split in config.train]
    valid = [item for item in items if item.split in config.valid]
    for task, manifest in enumerate(config.further, start=1):
        further = read_manifest(
            Path(manifest), {"train"}, check_files=check_files, bad_clips=bad_clips
        )
        train += [replace(item, task=task) for item in further]
    return train, valid


def build_vocabulary(
    config: DataConfig, captions: Sequence[str], known: Vocabulary | None = None
) -> Vocabulary:
    """Returns the known words and the words of the captions, or the pieces of a tokenizer.

    Raises:
        AuricleError: the tokenizer does not exist.
    """
    if config.tokenizer:
        return Subwords.read_published(Path(config.tokenizer))
    vocabulary = Vocabulary.build(captions, config.minimum_count)
    if config.sentences:
        classes = SoundClasses.read_toml(Path(config.sentences))
        vocabulary = vocabulary.with_words(sorted(class_words(classes)))
    if known is not None:
        vocabulary = known.with_words(vocabulary.words[len(SPECIAL) :])
    return vocabulary.with_tasks(len(config.further)) if config.further else vocabulary


def read_captions(path: Path) -> list[str]:
    """Reads the column `caption` of a CSV.

    Raises:
        AuricleError: the file cannot be read, has no such column or no captions, or a row has no
            caption or another number of cells than the header.
    """
    captions = [row["caption"] for row in read_rows(path, ["caption"])]
    if not captions:
        raise AuricleError(f"{path}: no captions")
    return captions


def captions_of(items: Sequence[Item]) -> list[str]:
    """Returns all captions of some sounds."""
    return [caption for item in items for caption in item.captions]


def prepare_data(
    recipe: Recipe, accelerator: Accelerator, report: Report, *, skip_bad: bool = False
) -> Data:
    """Reads the data, and computes the spectrograms that are not in the cache; see `read_data`.

    Args:
        recipe: names the data.
        accelerator: knows the processes.
        report: takes the progress.
        skip_bad: whether sounds that cannot be read are left out, and listed by `report`.
    """
    config, hears = recipe.data, front_end(recipe.data.front_end)
    with accelerator.main_process_first():
        train, valid, features = read_sounds(config, report, skip_bad=skip_bad)
    lone = read_captions(Path(recipe.tags.captions)) if recipe.tags.captions else []
    known = initial_vocabulary(recipe.train)
    vocabulary = build_vocabulary(config, [*captions_of(train), *lone], known)
    names = read_class_names(Path(recipe.tags.names)) if recipe.hears_tags else []
    fingerprints = Fingerprints(
        vocabulary=vocabulary.fingerprint(),
        tags=fingerprint_of(names),
        manifest=captions_fingerprint(train, valid, lone),
        sounds=features.fingerprint,
        features=front_end_fingerprint(hears),
        recipe=recipe_fingerprint(recipe),
    )
    return Data(config, train, valid, features.spectrograms, lone, vocabulary, fingerprints)


def read_sounds(
    config: DataConfig, report: Report, *, skip_bad: bool
) -> tuple[list[Item], list[Item], Features]:
    """Returns the sounds to learn from, the sounds to select by, and the features of both in turn.

    Args:
        config: names the manifests.
        report: takes the progress.
        skip_bad: whether sounds that cannot be read are left out, and listed by `report`.

    Raises:
        AuricleError: a manifest or sound cannot be read, or with `skip_bad` no sound to learn from.
    """
    bad_clips: list[str] | None = [] if skip_bad else None
    train, valid = read_items(config, bad_clips=bad_clips)
    cache = FeatureCache(front_end(config.front_end), config.maximum_seconds)
    files = [item.file for item in [*train, *valid]]
    features = cache.load(files, bad_clips=bad_clips, report=report)
    if bad_clips:
        report.result("\n  ".join([f"{len(bad_clips):,} clips left out:", *bad_clips]))
        train, valid = _readable(train, features), _readable(valid, features)
        if not train or (config.valid and not valid):
            raise AuricleError("no sound to learn from, or none to select by, can be read")
    return train, valid, features


def _readable(items: Sequence[Item], features: Features) -> list[Item]:
    files = set(features.files)
    return [item for item in items if item.file in files]


def captions_fingerprint(train: Sequence[Item], valid: Sequence[Item], lone: Sequence[str]) -> str:
    """Returns a digest of what manifests say of their sounds, and of captions without sound.

    File names are left out: a file is known by its content.
    """
    rows = [
        [[item.split, item.captions, item.label, item.group, item.task] for item in items]
        for items in (train, valid)
    ]
    return fingerprint_of([rows, list(lone)])
