"""What both stages begin with: the data of a recipe, its words, and published weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from auricle.data.batches import Batches
from auricle.data.cache import FeatureCache
from auricle.data.manifest import Item, read_manifest
from auricle.features import front_end
from auricle.models.captioning import Encoder
from auricle.training.config import DataConfig, Recipe
from auricle.training.weights import load_published, load_strictly
from auricle.vocabulary import Vocabulary


@dataclass(frozen=True)
class Data:
    """Sounds to learn from and to select by, with their spectrograms, and the words of the former."""

    train: list[Item]
    valid: list[Item]
    spectrograms: list[np.ndarray]  # of train, then of valid
    vocabulary: Vocabulary

    @property
    def captions(self) -> list[str]:
        """All that is said of the sounds to learn from."""
        return [caption for item in self.train for caption in item.captions]

    def longest(self, config: DataConfig) -> int:
        """The frames that every sound is padded to; 0 where each batch is padded to its own longest."""
        return max(map(len, self.spectrograms)) if config.pad == "longest" else 0

    def batches(self, config: DataConfig, size: int, accelerator: Accelerator, rounds: int | None = None) -> Batches:
        """What a stage learns from; `rounds` captions of each sound an epoch, as the recipe says if None."""
        return Batches(
            self.train,
            self.spectrograms[: len(self.train)],
            self.vocabulary,
            size,
            rounds=config.captions_per_epoch if rounds is None else rounds,
            longest=self.longest(config),
            rank=accelerator.process_index,
            ranks=accelerator.num_processes,
        )

    def valid_batches(self, config: DataConfig, size: int, rounds: int = 0) -> Batches:
        """What a stage selects by, all of it in every process: each sound with each, or with `rounds`, of its captions."""
        spectrograms = self.spectrograms[len(self.train) :]
        return Batches(self.valid, spectrograms, self.vocabulary, size, rounds=rounds, longest=self.longest(config))


def read_data(config: DataConfig, *, check_files: bool = True) -> tuple[list[Item], list[Item], Vocabulary]:
    """Sounds to learn from, sounds to select by, and the words of the former; the sounds are not read yet."""
    items = read_manifest(Path(config.manifest), {*config.train, *config.valid}, check_files=check_files)
    train = [item for item in items if item.split in config.train]
    valid = [item for item in items if item.split in config.valid]
    return train, valid, Vocabulary.build(captions_of(train), config.minimum_count)


def captions_of(items: Sequence[Item]) -> list[str]:
    """All captions of some sounds."""
    return [caption for item in items for caption in item.captions]


def prepare_data(recipe: Recipe, accelerator: Accelerator, progress: bool) -> Data:
    """Reads the manifest and computes the spectrograms that are not in the cache yet."""
    train, valid, vocabulary = read_data(recipe.data)
    cache = FeatureCache(front_end(recipe.data.front_end), recipe.data.maximum_seconds)
    with accelerator.main_process_first():
        spectrograms = cache.load([item.file for item in [*train, *valid]], progress=progress)
    return Data(train, valid, spectrograms, vocabulary)


def load_encoder(encoder: Encoder, path: str) -> None:
    """Puts published weights into an encoder, strictly."""
    load_strictly(encoder, load_published(Path(path)), path)
