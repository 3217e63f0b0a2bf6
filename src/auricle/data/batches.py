"""Makes the batches of each epoch: a sampler plans them, and workers make them in advance."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from auricle.checkpoint.vocabulary import Vocabulary
from auricle.data.collation import Batch, BatchPlan, Collator
from auricle.data.manifest import Item
from auricle.data.mixtures import ExampleSource, Mixtures
from auricle.data.sampler import BatchSampler, LabelGroups, Visit
from auricle.data.texts import SoundTags, Texts
from auricle.errors import AuricleError

MOST_WORKERS = 8  # more workers are not faster, because they wait for the memory
PREFETCHED_BATCHES = 2  # batches that each worker makes in advance


@dataclass(frozen=True)
class BatchOptions:
    """How an epoch visits sounds and captions.

    An epoch visits each sound once a round, each time with another of its captions. A batch never
    holds two captions of one sound, unless `visits_per_label` is set.
    """

    size: int  # sounds in a batch, over all processes
    rounds: int = 0  # captions of each sound in an epoch; 0: all
    # Visits of each label in an epoch, for any number of sounds; 0: visit sounds, not labels.
    visits_per_label: int = 0
    padded_frames: int = 0  # frames of every sound, all counted as sound; 0: the batch's longest
    mixtures: Mixtures | None = None  # None: no mixtures
    texts_per_batch: int = 0  # captions without sound in a batch, over all processes
    padding: float = 0.0  # the value of the bands in frames after the end of a sound
    # Whether batches lie in memory that a GPU reads directly. It needs a GPU.
    pinned: bool = False
    workers: int = 1  # threads that make batches


@dataclass(frozen=True)
class Share:
    """The part of every batch that a process gets."""

    rank: int = 0  # the number of the process
    ranks: int = 1  # the number of processes


def default_workers(processes: int) -> int:
    """Returns the number of workers of one of the processes that share this machine."""
    return max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // processes))


class Batches:
    """Makes the batches of each epoch; they depend on the seed and the epoch only.

    The batches do not depend on the number of processes that share them. Only sounds of similar
    length share a batch, which keeps the padding short.

    Args:
        items: the sounds.
        spectrograms: their log-mel spectrograms, (frames, mels) each.
        vocabulary: the words.
        options: how an epoch visits the sounds.
        texts: captions without sound, if any.
        sound_tags: the tags that sounds should have, if needed.
        share: the part of every batch that this process gets.

    Raises:
        AuricleError: a batch has fewer sounds than there are processes.
    """

    def __init__(
        self,
        items: Sequence[Item],
        spectrograms: Sequence[np.ndarray],
        vocabulary: Vocabulary,
        options: BatchOptions,
        *,
        texts: Texts | None = None,
        sound_tags: SoundTags | None = None,
        share: Share | None = None,
    ) -> None:
        self.share = share or Share()
        rank, ranks = self.share.rank, self.share.ranks
        if min(options.size, len(items)) < ranks:
            raise AuricleError(
                f"{len(items)} sounds in batches of {options.size} cannot be shared among "
                f"{ranks} processes: use more sounds, larger batches or fewer processes"
            )
        most_captions = max(len(item.captions) for item in items)
        groups = LabelGroups.of(items, by_label=options.visits_per_label > 0)
        self.items = items
        self.sampler = BatchSampler(
            captions=[len(item.captions) for item in items],
            frames=[len(spectrogram) for spectrogram in spectrograms],
            groups=groups,
            size=options.size // ranks * ranks,
            rounds=min(options.rounds, most_captions) if options.rounds else most_captions,
            visits_per_label=options.visits_per_label,
            # If every sound is padded to the same length, its own length does not matter.
            mixed_lengths=options.padded_frames > 0,
            ranks=ranks,
        )
        self.workers = options.workers
        self.texts_per_batch = options.texts_per_batch // ranks * ranks if texts else 0
        self.collator = Collator(
            vocabulary,
            ExampleSource(items, spectrograms, groups, options.mixtures),
            padded_frames=options.padded_frames,
            padding=options.padding,
            pinned=options.pinned,
            texts=texts if self.texts_per_batch else None,
            sound_tags=sound_tags,
            rank=rank,
            ranks=ranks,
        )

    def plan(self, seed: int, epoch: int) -> list[list[Visit]]:
        """Returns the epoch's batches as numbers of sounds and captions."""
        return self.sampler.plan(seed, epoch)

    def epoch(self, seed: int, epoch: int) -> Iterator[Batch]:
        """Yields this process's share of the epoch's batches; workers make them in advance."""
        plans = self.plan(seed, epoch)
        texts = np.zeros((len(plans), 0), int)
        if self.collator.texts is not None:
            texts = self.collator.texts.order(seed, epoch, len(plans), self.texts_per_batch)
        work = [
            BatchPlan(visits, texts[number], (seed, epoch, number))
            for number, visits in enumerate(plans)
        ]
        # Threads suffice, because numpy releases the lock while it copies spectrograms.
        ahead = PREFETCHED_BATCHES * self.workers
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = [pool.submit(self.collator, plan) for plan in work[:ahead]]
            try:
                for plan in [*work[ahead:], *[None] * len(waiting)]:
                    yield waiting.pop(0).result()
                    if plan is not None:
                        waiting.append(pool.submit(self.collator, plan))
            finally:
                pool.shutdown(cancel_futures=True)
