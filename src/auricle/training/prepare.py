"""What both stages begin with: the data of a recipe, its words, and published weights."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from rich.progress import track
from torch import Tensor

from auricle.checkpoint.vocabulary import SPECIAL, Subwords, Vocabulary
from auricle.data.batches import Batches, BatchOptions, Share
from auricle.data.cache import FeatureCache
from auricle.data.manifest import Item, read_manifest
from auricle.data.mixtures import Mixtures
from auricle.data.texts import SoundTags, Texts
from auricle.errors import AuricleError
from auricle.models.contrastive import HEARD_TAGS
from auricle.models.encoder import Encoder, Tagger, frame_mask
from auricle.sound.features import front_end
from auricle.training.config import Augmentation, DataConfig, Recipe, initial_checkpoint
from auricle.training.tags import read_class_names, read_tags
from auricle.training.weights import load_published, load_strictly


@dataclass(frozen=True)
class Data:
    """Sounds to learn from and to select by, with their spectrograms, captions without sound, and
    all words of the former.
    """

    config: DataConfig
    train: list[Item]
    valid: list[Item]
    spectrograms: list[np.ndarray]  # of train, then of valid
    lone_captions: list[str]  # without sound
    vocabulary: Vocabulary
    # the captions without sound, once an encoder was there to say how tags are
    texts: Texts | None = None
    sound_tags: SoundTags | None = None  # of train, once an encoder was there to hear them

    @property
    def captions(self) -> list[str]:
        """All that is learnt from."""
        return captions_of(self.train) + self.lone_captions

    @property
    def longest(self) -> int:
        """The frames that every sound is padded to; 0 where each batch is padded to its own
        longest.
        """
        return max(map(len, self.spectrograms)) if self.config.pad == "longest" else 0

    def batches(
        self,
        size: int,
        accelerator: Accelerator,
        *,
        rounds: int | None = None,
        augmentation: Augmentation | None = None,
        texts_per_batch: int = 0,
    ) -> Batches:
        """What a stage learns from; `rounds` captions of each sound an epoch, as the recipe says if
        None.
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
        """What a stage selects by, all of it in every process: each sound with each, or with
        `rounds`, of its captions.
        """
        spectrograms = self.spectrograms[len(self.train) :]
        options = BatchOptions(size, rounds=rounds, padded_frames=self.longest)
        return Batches(self.valid, spectrograms, self.vocabulary, options)

    def with_texts(self, recipe: Recipe, encoder: Encoder, progress: bool) -> "Data":
        """The same, the captions without sound ready to be learnt from, if there are any."""
        if not self.lone_captions:
            return self
        assert isinstance(encoder, Tagger)
        tags = read_tags(
            self.lone_captions, read_class_names(Path(recipe.tags.names)), progress=progress
        )
        heard = hear_tags(encoder, self.spectrograms[: len(self.train)], progress)
        profiles = -np.sort(-heard, axis=1)[:, : max(recipe.decoder.tags, HEARD_TAGS)]
        vectors = encoder.class_vectors.detach().cpu().numpy()
        return replace(
            self, texts=Texts(self.lone_captions, tags, profiles, vectors, self.vocabulary)
        )

    def with_sound_tags(self, recipe: Recipe, encoder: Encoder, progress: bool) -> "Data":
        """The same, with the tags that the sounds should have: what this encoder hears, and what
        captions tell of.
        """
        assert isinstance(encoder, Tagger)
        heard = hear_tags(encoder, self.spectrograms[: len(self.train)], progress)
        told: dict[str, dict[int, float]] = {}
        if recipe.tags.told:
            captions = sorted(set(captions_of(self.train)))
            read = read_tags(captions, read_class_names(Path(recipe.tags.names)), progress=progress)
            told = dict(zip(captions, read, strict=True))
        return replace(self, sound_tags=SoundTags(heard, told))


def read_data(
    recipe: Recipe, *, check_files: bool = True
) -> tuple[list[Item], list[Item], list[str], Vocabulary]:
    """Sounds to learn from, sounds to select by, captions without sound, and their words; sounds
    are not read yet.
    """
    config = recipe.data
    items = read_manifest(
        Path(config.manifest), {*config.train, *config.valid}, check_files=check_files
    )
    train = [item for item in items if item.split in config.train]
    valid = [item for item in items if item.split in config.valid]
    for task, manifest in enumerate(config.further, start=1):
        further = read_manifest(Path(manifest), {"train"}, check_files=check_files)
        train += [replace(item, task=task) for item in further]
    lone = read_captions(Path(recipe.tags.captions)) if recipe.tags.captions else []
    return train, valid, lone, build_vocabulary(recipe, [*captions_of(train), *lone])


def build_vocabulary(recipe: Recipe, captions: Sequence[str]) -> Vocabulary:
    """The words of the captions, or what a recipe says in their place.

    Raises:
        AuricleError: it names a tokenizer or a checkpoint that is not there.
    """
    config = recipe.data
    if config.tokenizer:
        return Subwords.read_published(Path(config.tokenizer))
    vocabulary = Vocabulary.build(captions, config.minimum_count)
    if recipe.train.initial == "checkpoint":
        vocabulary = initial_checkpoint(recipe).vocabulary.with_words(
            vocabulary.words[len(SPECIAL) :]
        )
    return vocabulary.with_tasks(len(config.further)) if config.further else vocabulary


def read_captions(path: Path) -> list[str]:
    """The column `caption` of a CSV.

    Raises:
        AuricleError: it cannot be read, or has no such column or no captions.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            captions = [row["caption"] for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise AuricleError(f"{path}: a CSV with a column 'caption' is wanted: {error!r}") from None
    if not captions:
        raise AuricleError(f"{path}: no captions")
    return captions


def captions_of(items: Sequence[Item]) -> list[str]:
    """All captions of some sounds."""
    return [caption for item in items for caption in item.captions]


def prepare_data(recipe: Recipe, accelerator: Accelerator, progress: bool) -> Data:
    """Reads the manifest and computes the spectrograms that are not in the cache yet."""
    train, valid, lone, vocabulary = read_data(recipe)
    cache = FeatureCache(front_end(recipe.data.front_end), recipe.data.maximum_seconds)
    with accelerator.main_process_first():
        spectrograms = cache.load([item.file for item in [*train, *valid]], progress=progress)
    return Data(recipe.data, train, valid, spectrograms, lone, vocabulary)


@torch.inference_mode()
def hear_tags(encoder: Tagger, spectrograms: Sequence[np.ndarray], progress: bool) -> np.ndarray:
    """The probabilities of the tags of real sounds: (sounds, 527) float32."""
    encoder.eval()
    heard = []
    for spectrogram in track(spectrograms, "Tags", disable=not progress, transient=True):
        features = encoder(torch.from_numpy(np.array(spectrogram))[None])
        mask = frame_mask(torch.tensor([features.shape[1]]), features.shape[1])
        heard.append(encoder.tags(features, mask).sigmoid()[0].numpy())
    return np.stack(heard)


def name_vectors(names: Sequence[str], vectors: Tensor, vocabulary: Vocabulary) -> Tensor:
    """The mean vector of the known words of each name: (names, size); zeros where none is known."""
    rows = []
    for name in names:
        numbers = [number for number in vocabulary.encode(name)[1:-1] if number >= len(SPECIAL)]
        rows.append(vectors[numbers].mean(0) if numbers else torch.zeros(vectors.shape[1]))
    return torch.stack(rows)


def load_encoder(encoder: Encoder, path: str) -> None:
    """Puts published weights into an encoder, strictly."""
    load_strictly(encoder, load_published(Path(path)), path)
