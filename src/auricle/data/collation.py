"""Puts sounds and captions of a batch into padded tensors."""

import math
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from auricle.checkpoint.vocabulary import EOS, PAD, SOS, UNKNOWN, Vocabulary
from auricle.data.manifest import Item
from auricle.data.mixtures import Example, ExampleSource
from auricle.data.sampler import Visit
from auricle.data.texts import SoundTags, Texts

TENSORS = ("log_mel", "frames", "tokens", "text_tags", "sound_tags")


@dataclass(frozen=True)
class Batch:
    """Sounds with one caption each, followed by captions without sound."""

    log_mel: Tensor  # (batch, frames, mels) float32, padded at the end
    frames: Tensor  # (batch,) the number of frames with sound
    tokens: Tensor  # (batch + texts, length), <sos> words <eos>, padded at the end
    items: tuple[Item, ...]  # the sounds
    captions: tuple[str, ...]  # batch + texts
    # (texts, 527) probabilities of the tags of captions without sound
    text_tags: Tensor | None = None
    # (batch, 527) probabilities that the tags of the sounds should have
    sound_tags: Tensor | None = None

    def words(self) -> Tensor:
        """Returns the known words alone, padded, for the text tower.

        A caption without a known word becomes `<unk>`.
        """
        special = (self.tokens == SOS) | (self.tokens == EOS) | (self.tokens == UNKNOWN)
        words = self.tokens.masked_fill(special, PAD)
        # The first column holds <sos> or the token of a task.
        words[:, 0] = torch.where((words[:, 1:] != PAD).any(1), PAD, UNKNOWN)
        return words

    def to(self, device: torch.device) -> "Batch":
        """Returns the same batch on a device."""
        tensors = {name: getattr(self, name) for name in TENSORS}
        moved = {
            name: tensor.to(device, non_blocking=True)
            for name, tensor in tensors.items()
            if tensor is not None
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class BatchPlan:
    """The rows of a batch, over all processes."""

    visits: Sequence[Visit]  # sounds with captions
    texts: Sequence[int]  # numbers of captions without sound
    seed: tuple[int, ...]  # of the batch's random numbers


class BatchMemory:
    """Memory of batches, used again as soon as nothing refers to a batch any more.

    The first use of new memory takes three times as long as the copy of spectrograms, because the
    system clears every page, and threads wait for each other there. torch keeps pinned memory by
    itself.
    """

    def __init__(self) -> None:
        self._free: deque[Tensor] = deque()  # appending and popping are safe among threads

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """Returns a tensor of a shape, with any numbers in it."""
        count = math.prod(shape)
        try:
            memory = self._free.pop()
        except IndexError:  # Another thread may take the last one at any time.
            memory = torch.empty(count)
        if memory.numel() < count:
            memory = torch.empty(count)
        array = memory.numpy()[:count].reshape(shape)
        # torch holds this array as long as any tensor uses its memory.
        weakref.finalize(array, self._free.append, memory).atexit = False
        return torch.from_numpy(array)


@dataclass(frozen=True)
class Collator:
    """Makes a process's rows of each batch.

    Every row has its own random numbers, so it does not depend on the process that makes it.
    """

    vocabulary: Vocabulary
    source: ExampleSource
    padded_frames: int = 0  # frames of every sound, all counted as sound; 0: the batch's longest
    padding: float = 0.0  # the value of the bands in frames after the end of a sound
    pinned: bool = False  # whether batches lie in memory that a GPU reads directly
    texts: Texts | None = None  # captions without sound
    sound_tags: SoundTags | None = None  # tags that the sounds should have
    rank: int = 0  # the process makes the rows rank, rank + ranks, ...
    ranks: int = 1
    memory: BatchMemory = field(default_factory=BatchMemory)

    def __call__(self, plan: BatchPlan) -> Batch:
        """Returns this process's rows of a batch."""
        examples = [
            self.source.example(plan.visits[row], (*plan.seed, 0, row))
            for row in self._rows_of_process(len(plan.visits))
        ]
        tokens = [self.vocabulary.encode(each.caption, each.item.task) for each in examples]
        captions = [each.caption for each in examples]
        text_tags = None
        if self.texts is not None:
            numbers, text_tags = self._draw_texts(self.texts, plan)
            tokens += [self.texts.tokens[number] for number in numbers]
            captions += [self.texts.captions[number] for number in numbers]
        log_mel, frames = self._pad_sounds(examples)
        return Batch(
            log_mel,
            frames,
            pad_tokens(tokens),
            tuple(each.item for each in examples),
            tuple(captions),
            text_tags,
            self._tags_of(examples),
        )

    def _rows_of_process(self, count: int) -> range:
        return range(count)[self.rank :: self.ranks]

    def _draw_texts(self, texts: Texts, plan: BatchPlan) -> tuple[list[int], Tensor]:
        """Returns numbers of captions without sound, and their tags (texts, 527)."""
        numbers: list[int] = []
        tags: list[np.ndarray] = []
        for row in self._rows_of_process(len(plan.texts)):
            numbers.append(int(plan.texts[row]))
            tags.append(texts.draw_tags(numbers[-1], np.random.default_rng((*plan.seed, 1, row))))
        return numbers, torch.from_numpy(np.stack(tags))

    def _pad_sounds(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Returns spectrograms (batch, frames, mels), and the frames with sound (batch,)."""
        frames = [len(each.spectrogram) for each in examples]
        mels = examples[0].spectrogram.shape[1]
        shape = (len(examples), self.padded_frames or max(frames), mels)
        padded = torch.empty(shape, pin_memory=True) if self.pinned else self.memory.take(shape)
        log_mel = padded.numpy()  # the same memory
        for row, each in enumerate(examples):
            log_mel[row, : len(each.spectrogram)] = each.spectrogram
            log_mel[row, len(each.spectrogram) :] = self.padding
        if self.padded_frames:
            frames = [self.padded_frames] * len(examples)
        return padded, torch.tensor(frames)

    def _tags_of(self, examples: Sequence[Example]) -> Tensor | None:
        if self.sound_tags is None:
            return None
        tags = [self.sound_tags.of(each.sounds, each.sound_captions) for each in examples]
        return torch.from_numpy(np.stack(tags))


def pad_tokens(rows: Sequence[Sequence[int]]) -> Tensor:
    """Puts token numbers into a tensor (rows, length), padded at the end."""
    tokens = np.full((len(rows), max(map(len, rows))), PAD)
    for row, numbers in enumerate(rows):
        tokens[row, : len(numbers)] = numbers
    return torch.from_numpy(tokens)
