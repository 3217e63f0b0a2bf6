"""Batches: which sound with which caption when, and as tensors."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from auricle.data.manifest import Item
from auricle.errors import AuricleError
from auricle.vocabulary import EOS, PAD, SOS, UNKNOWN, Vocabulary

BUCKET = 16  # batches whose sounds are sorted by length together
AHEAD = 4  # batches prepared before they are asked for


@dataclass(frozen=True)
class Batch:
    """Sounds with one caption each."""

    log_mel: Tensor  # (batch, frames, mels) float32, zero-padded at the end
    frames: Tensor  # (batch,) how many of the frames are sound
    tokens: Tensor  # (batch, length), <sos> words <eos>, padded at the end
    items: tuple[Item, ...]
    captions: tuple[str, ...]

    def words(self) -> Tensor:
        """The known words alone, padded: what the text tower reads; `<unk>` where a caption has none."""
        special = (self.tokens == SOS) | (self.tokens == EOS) | (self.tokens == UNKNOWN)
        words = self.tokens.masked_fill(special, PAD)
        words[:, 0] = torch.where((words != PAD).any(1), PAD, UNKNOWN)
        return words

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        log_mel, frames, tokens = (
            tensor.to(device, non_blocking=True) for tensor in (self.log_mel, self.frames, self.tokens)
        )
        return replace(self, log_mel=log_mel, frames=frames, tokens=tokens)


class Batches:
    """The batches of each epoch, a function of the seed and the epoch alone.

    An epoch visits each sound once a round, each time with another of its captions: no batch holds two captions of one
    sound. Sounds of like length come together, so that little is padded.

    Args:
        items: the sounds.
        spectrograms: their log-mel spectrograms, (frames, mels) each.
        vocabulary: the words.
        size: sounds in a batch, of all processes together.
        rounds: captions of a sound in an epoch; 0: all.
        longest: frames to pad to and to count as sound; 0: to the longest of the batch, counting what is sound.
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
        longest: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if min(size, len(items)) < ranks:
            raise AuricleError(f"{len(items)} sounds in batches of {size} cannot be shared among {ranks} processes")
        self.items = items
        self.spectrograms = spectrograms
        self.vocabulary = vocabulary
        self.size = size // ranks * ranks
        self.rounds = min(rounds or 1 << 30, max(len(item.captions) for item in items))
        self.longest = longest
        self.rank, self.ranks = rank, ranks

    def plan(self, seed: int, epoch: int) -> list[list[tuple[int, int]]]:
        """The epoch's batches, as (sound, caption) numbers. The last of a round may be smaller than the rest."""
        rng = np.random.default_rng((seed, epoch))
        orders = [rng.permutation(len(item.captions)) for item in self.items]
        batches: list[list[tuple[int, int]]] = []
        for turn in range(self.rounds):
            sounds = rng.permutation([i for i, order in enumerate(orders) if turn < len(order)])
            for start in range(0, len(sounds), BUCKET * self.size):
                bucket = sorted(sounds[start : start + BUCKET * self.size], key=lambda i: len(self.spectrograms[i]))
                pairs = [(int(i), int(orders[i][turn])) for i in bucket]
                batches += [pairs[at : at + self.size] for at in range(0, len(pairs), self.size)]
        # Every process gets equally many: what is left over of a batch waits for an epoch that shuffles it elsewhere.
        batches = [pairs[: len(pairs) // self.ranks * self.ranks] for pairs in batches]
        return [batches[i] for i in rng.permutation(len(batches)) if batches[i]]

    def epoch(self, seed: int, epoch: int) -> Iterator[Batch]:
        """This process's share of the epoch's batches, prepared ahead in a thread."""
        plan = [pairs[self.rank :: self.ranks] for pairs in self.plan(seed, epoch)]
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self._collate, pairs) for pairs in plan[:AHEAD]]
            try:
                for pairs in [*plan[AHEAD:], *[None] * len(waiting)]:
                    yield waiting.pop(0).result()
                    if pairs is not None:
                        waiting.append(pool.submit(self._collate, pairs))
            finally:
                pool.shutdown(cancel_futures=True)

    def _collate(self, pairs: Sequence[tuple[int, int]]) -> Batch:
        spectrograms = [self.spectrograms[i] for i, _ in pairs]
        items = tuple(self.items[i] for i, _ in pairs)
        captions = tuple(self.items[i].captions[k] for i, k in pairs)
        encoded = [self.vocabulary.encode(caption) for caption in captions]
        frames = [len(spectrogram) for spectrogram in spectrograms]
        log_mel = np.zeros((len(pairs), self.longest or max(frames), spectrograms[0].shape[1]), np.float32)
        tokens = np.full((len(pairs), max(map(len, encoded))), PAD)
        for row, (spectrogram, numbers) in enumerate(zip(spectrograms, encoded, strict=True)):
            log_mel[row, : len(spectrogram)] = spectrogram
            tokens[row, : len(numbers)] = numbers
        if self.longest:
            frames = [self.longest] * len(pairs)
        return Batch(torch.from_numpy(log_mel), torch.tensor(frames), torch.from_numpy(tokens), items, captions)
