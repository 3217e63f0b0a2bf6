"""Batches: which sound with which caption when, as tensors; with mixtures and captions without
sound where wanted.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from auricle.checkpoint.vocabulary import EOS, PAD, SOS, UNKNOWN, Vocabulary
from auricle.data.manifest import Item
from auricle.data.mixtures import join, mix
from auricle.data.texts import SoundTags, Texts
from auricle.errors import AuricleError
from auricle.sound.features import FrontEnd

BUCKET = 16  # batches whose sounds are sorted by length together
# The longest sound of a batch by its shortest, at most: networks that pool over time hear the
# padding too.
STRETCH = 1.5
AHEAD = 4  # batches prepared before they are asked for
TENSORS = ("log_mel", "frames", "tokens", "text_tags", "sound_tags")


@dataclass(frozen=True)
class Batch:
    """Sounds with one caption each, and then captions without sound."""

    log_mel: Tensor  # (batch, frames, mels) float32, zero-padded at the end
    frames: Tensor  # (batch,) how many of the frames are sound
    tokens: Tensor  # (batch + texts, length), <sos> words <eos>, padded at the end
    items: tuple[Item, ...]  # the sounds
    captions: tuple[str, ...]  # batch + texts
    # (texts, 527) probabilities of the tags of captions without sound
    text_tags: Tensor | None = None
    # (batch, 527) probabilities that the tags of the sounds should have
    sound_tags: Tensor | None = None

    def words(self) -> Tensor:
        """The known words alone, padded: what the text tower reads; `<unk>` where a caption has
        none.
        """
        special = (self.tokens == SOS) | (self.tokens == EOS) | (self.tokens == UNKNOWN)
        words = self.tokens.masked_fill(special, PAD)
        # in the place of <sos> or a task
        words[:, 0] = torch.where((words[:, 1:] != PAD).any(1), PAD, UNKNOWN)
        return words

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        tensors = {name: getattr(self, name) for name in TENSORS}
        moved = {
            name: tensor.to(device, non_blocking=True)
            for name, tensor in tensors.items()
            if tensor is not None
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class Mixtures:
    """How often a sound is mixed with another, and captioned as both."""

    share: float  # of all sounds
    front_end: FrontEnd  # of the spectrograms


@dataclass(frozen=True)
class Drawn:
    """A sound, or a mixture of two, with a caption."""

    item: Item
    caption: str
    spectrogram: np.ndarray  # (frames, mels)
    sounds: tuple[int, ...]  # its parts, by number
    parts: tuple[str, ...]  # what is told of each


class Batches:
    """The batches of each epoch, a function of the seed and the epoch alone: not of how many
    processes share them.

    An epoch visits each sound once a round, each time with another of its captions: no batch holds
    two captions of one sound. Only sounds of like length come together, so that little is padded.

    Args:
        items: the sounds.
        spectrograms: their log-mel spectrograms, (frames, mels) each.
        vocabulary: the words.
        size: sounds in a batch, of all processes together.
        rounds: captions of a sound in an epoch; 0: all.
        per_label: how often an epoch visits each label instead, whatever the number of its sounds;
            0: as often as sounds have captions. A batch may hold two captions of a sound then.
            Sounds without a label are visited as before.
        longest: frames to pad to and to count as sound; 0: to the longest of the batch, counting
            what is sound.
        mixtures: how often a sound is mixed with another; never if None.
        texts: captions without sound; none if None.
        texts_per_batch: how many of them come with each batch, of all processes together.
        sound_tags: the tags that sounds should have; not asked for if None.
        rank: the process's number; it gets its share of every batch.
        ranks: how many processes there are.

    Raises:
        AuricleError: there is not a sound for each process.
    """

    def __init__(
        self,
        items: Sequence[Item],
        spectrograms: Sequence[np.ndarray],
        vocabulary: Vocabulary,
        size: int,
        *,
        rounds: int = 0,
        per_label: int = 0,
        longest: int = 0,
        mixtures: Mixtures | None = None,
        texts: Texts | None = None,
        texts_per_batch: int = 0,
        sound_tags: SoundTags | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if min(size, len(items)) < ranks:
            raise AuricleError(
                f"{len(items)} sounds in batches of {size} cannot be shared among {ranks} processes"
            )
        self.items = items
        self.spectrograms = spectrograms
        self.vocabulary = vocabulary
        self.size = size // ranks * ranks
        self.rounds = min(rounds or 1 << 30, max(len(item.captions) for item in items))
        self.per_label = per_label
        self._labels: dict[str, list[int]] = {}  # those visited equally often, with their sounds
        for i, item in enumerate(items if per_label else ()):
            if item.label:
                self._labels.setdefault(item.label, []).append(i)
        labelled = {i for sounds in self._labels.values() for i in sounds}
        self._rest = [i for i in range(len(items)) if i not in labelled]
        self.longest = longest
        self.mixtures = mixtures
        self.texts_per_batch = texts_per_batch // ranks * ranks if texts else 0
        self.texts = texts if self.texts_per_batch else None
        self.sound_tags = sound_tags
        self.rank, self.ranks = rank, ranks

    def plan(self, seed: int, epoch: int) -> list[list[tuple[int, int]]]:
        """The epoch's batches, as (sound, caption) numbers. The last of a round may be smaller than
        the rest.
        """
        rng = np.random.default_rng((seed, epoch))
        batches: list[list[tuple[int, int]]] = []
        for visits in self._rounds(rng):
            for start in range(0, len(visits), BUCKET * self.size):
                bucket = visits[start : start + BUCKET * self.size]
                shortest = 0
                for place, (i, caption) in enumerate(
                    sorted(bucket, key=lambda visit: len(self.spectrograms[visit[0]]))
                ):
                    length = len(self.spectrograms[i])
                    # Where all are padded to one length anyway, as the paper does, batches are as
                    # large as it says.
                    unlike = not self.longest and length > STRETCH * shortest
                    if place == 0 or len(batches[-1]) == self.size or unlike:
                        batches.append([])
                        shortest = length
                    batches[-1].append((i, caption))
        # Every process gets equally many: what is left over of a batch waits for an epoch that
        # shuffles it elsewhere.
        batches = [pairs[: len(pairs) // self.ranks * self.ranks] for pairs in batches]
        return [batches[i] for i in rng.permutation(len(batches)) if batches[i]]

    def _rounds(self, rng: np.random.Generator) -> list[list[tuple[int, int]]]:
        """(sound, caption) numbers in random order: a round visits a sound once, or a single one
        each label equally often.
        """
        orders = [rng.permutation(len(item.captions)) for item in self.items]
        rounds = []
        for turn in range(self.rounds):
            sounds = rng.permutation([i for i in self._rest if turn < len(orders[i])])
            rounds.append([(int(i), int(orders[i][turn])) for i in sounds])
        if not self._labels:
            return rounds
        visits = [visit for visits in rounds for visit in visits]
        for sounds in self._labels.values():
            sounds = rng.permutation(sounds)
            for turn in range(self.per_label):
                again, place = divmod(turn, len(sounds))
                order = orders[sounds[place]]
                visits.append((int(sounds[place]), int(order[again % len(order)])))
        return [[visits[place] for place in rng.permutation(len(visits))]]

    def epoch(self, seed: int, epoch: int) -> Iterator[Batch]:
        """This process's share of the epoch's batches, prepared ahead in a thread."""
        plan = self.plan(seed, epoch)
        texts = np.zeros((len(plan), 0), int)
        if self.texts is not None:
            texts = self.texts.order(seed, epoch, len(plan), self.texts_per_batch)
        work = [(pairs, texts[number], (seed, epoch, number)) for number, pairs in enumerate(plan)]
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self._collate, *arguments) for arguments in work[:AHEAD]]
            try:
                for arguments in [*work[AHEAD:], *[None] * len(waiting)]:
                    yield waiting.pop(0).result()
                    if arguments is not None:
                        waiting.append(pool.submit(self._collate, *arguments))
            finally:
                pool.shutdown(cancel_futures=True)

    def _collate(
        self, pairs: Sequence[tuple[int, int]], texts: np.ndarray, seed: tuple[int, ...]
    ) -> Batch:
        """This process's rows of a batch; each row has random numbers of its own, whichever process
        it falls to.
        """
        own, own_texts = (range(rows)[self.rank :: self.ranks] for rows in (len(pairs), len(texts)))
        drawn = [self._draw(*pairs[row], np.random.default_rng((*seed, 0, row))) for row in own]
        spectrograms = [its.spectrogram for its in drawn]
        encoded = [self.vocabulary.encode(its.caption, its.item.task) for its in drawn]
        captions = [its.caption for its in drawn]
        text_tags = None
        if self.texts is not None:
            numbers = [int(texts[row]) for row in own_texts]
            encoded += [self.texts.tokens[number] for number in numbers]
            captions += [self.texts.captions[number] for number in numbers]
            rngs = [np.random.default_rng((*seed, 1, row)) for row in own_texts]
            tags = [
                self.texts.draw_tags(number, rng) for number, rng in zip(numbers, rngs, strict=True)
            ]
            text_tags = torch.from_numpy(np.stack(tags))
        frames = [len(spectrogram) for spectrogram in spectrograms]
        log_mel = np.zeros(
            (len(drawn), self.longest or max(frames), spectrograms[0].shape[1]), np.float32
        )
        tokens = np.full((len(encoded), max(map(len, encoded))), PAD)
        for row, spectrogram in enumerate(spectrograms):
            log_mel[row, : len(spectrogram)] = spectrogram
        for row, numbers in enumerate(encoded):
            tokens[row, : len(numbers)] = numbers
        if self.longest:
            frames = [self.longest] * len(drawn)
        sound_tags = None
        if self.sound_tags is not None:
            sound_tags = torch.from_numpy(
                np.stack([self.sound_tags.of(its.sounds, its.parts) for its in drawn])
            )
        return Batch(
            torch.from_numpy(log_mel),
            torch.tensor(frames),
            torch.from_numpy(tokens),
            tuple(its.item for its in drawn),
            tuple(captions),
            text_tags,
            sound_tags,
        )

    def _draw(self, sound: int, caption: int, rng: np.random.Generator) -> Drawn:
        """A sound with a caption, by itself or mixed with another."""
        item, text, spectrogram = (
            self.items[sound],
            self.items[sound].captions[caption],
            self.spectrograms[sound],
        )
        alone = Drawn(item, text, spectrogram, (sound,), (text,))
        if self.mixtures is None or rng.random() >= self.mixtures.share:
            return alone
        partner = self._partner(rng)
        other = self.items[partner]
        # A sound is not heard twice in a mixture, as far as one knows; what is empty is unknown.
        if partner == sound or item.label == other.label != "" or item.group == other.group != "":
            return alone
        text, other_text = _short(item, rng), _short(other, rng)
        mixed, at_once, one_first = mix(
            spectrogram, self.spectrograms[partner], self.mixtures.front_end, rng
        )
        texts = (text, other_text) if one_first else (other_text, text)
        joined = join(*texts, at_once, rng)
        labels = sorted((item.label, other.label))
        both = replace(
            item, captions=(joined,), label="+".join(labels) if all(labels) else "", group=""
        )
        return Drawn(both, joined, mixed, (sound, partner), (text, other_text))

    def _partner(self, rng: np.random.Generator) -> int:
        """The other sound of a mixture: any, or of any label."""
        chosen = int(rng.integers(len(self._rest) + len(self._labels)))
        if chosen < len(self._rest):
            return self._rest[chosen]
        sounds = list(self._labels.values())[chosen - len(self._rest)]
        return sounds[rng.integers(len(sounds))]


def _short(item: Item, rng: np.random.Generator) -> str:
    """The shorter of two captions of a sound, drawn at random: two of them are to make one
    sentence.
    """
    return min(rng.choice(item.captions, 2), key=len)
