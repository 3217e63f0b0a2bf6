"""Chooses the sounds and captions of each batch of an epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auricle.data.manifest import Item

# A sampler sorts the sounds of this number of batches by length.
BUCKET_BATCHES = 16
# The longest sound of a batch has at most this multiple of the frames of the shortest, because
# networks that pool over time also pool the padding.
LONGEST_BY_SHORTEST = 1.5

Visit = tuple[int, int]  # the number of a sound, and the number of one of its captions


@dataclass(frozen=True)
class LabelGroups:
    """Sounds by label, so that each label counts once, and sounds that count singly."""

    single: list[int]  # sounds that count by themselves
    labelled: list[list[int]]  # the sounds of each label

    @classmethod
    def of(cls, items: Sequence[Item], *, by_label: bool) -> "LabelGroups":
        """Returns the groups of some sounds; without `by_label`, every sound counts by itself."""
        labels: dict[str, list[int]] = {}
        single: list[int] = []
        for number, item in enumerate(items):
            if by_label and item.label:
                labels.setdefault(item.label, []).append(number)
            else:
                single.append(number)
        return cls(single, list(labels.values()))

    def draw(self, rng: np.random.Generator) -> int:
        """Returns a random sound: each single sound and each label is equally likely."""
        chosen = int(rng.integers(len(self.single) + len(self.labelled)))
        if chosen < len(self.single):
            return self.single[chosen]
        sounds = self.labelled[chosen - len(self.single)]
        return sounds[rng.integers(len(sounds))]


@dataclass(frozen=True)
class BatchSampler:
    """Plans the batches of an epoch; they depend on the seed and the epoch only."""

    captions: Sequence[int]  # the number of captions of each sound
    frames: Sequence[int]  # the length of each sound
    groups: LabelGroups
    size: int  # sounds in a batch, over all processes; a multiple of `ranks`
    rounds: int  # the largest number of captions of a sound in an epoch
    visits_per_label: int  # visits of each label in `groups`
    mixed_lengths: bool  # whether sounds of any lengths share a batch
    ranks: int = 1  # processes that share a batch in equal parts

    def plan(self, seed: int, epoch: int) -> list[list[Visit]]:
        """Returns the batches of an epoch. The last batch of a round may be smaller."""
        rng = np.random.default_rng((seed, epoch))
        batches = [batch for visits in self._rounds(rng) for batch in self._batches(visits)]
        # Every process gets the same number of sounds. Sounds that remain from a batch are left out
        # of this epoch; other epochs have another order.
        batches = [batch[: len(batch) // self.ranks * self.ranks] for batch in batches]
        return [batches[i] for i in rng.permutation(len(batches)) if batches[i]]

    def _batches(self, visits: Sequence[Visit]) -> list[list[Visit]]:
        """Cuts the visits of a round into batches of sounds of similar length."""
        batches: list[list[Visit]] = []
        bucket_size = BUCKET_BATCHES * self.size
        for start in range(0, len(visits), bucket_size):
            bucket = sorted(
                visits[start : start + bucket_size], key=lambda visit: self.frames[visit[0]]
            )
            batch: list[Visit] = []
            shortest = 0
            for visit in bucket:
                length = self.frames[visit[0]]
                too_long = not self.mixed_lengths and length > LONGEST_BY_SHORTEST * shortest
                if not batch or len(batch) == self.size or too_long:
                    batch = []
                    batches.append(batch)
                    shortest = length
                batch.append(visit)
        return batches

    def _rounds(self, rng: np.random.Generator) -> list[list[Visit]]:
        """Returns the visits of an epoch in random order.

        A round visits each sound once. With label groups there is a single round, which visits each
        label equally often.
        """
        orders = [rng.permutation(count) for count in self.captions]
        rounds: list[list[Visit]] = []
        for turn in range(self.rounds):
            sounds = rng.permutation([i for i in self.groups.single if turn < len(orders[i])])
            rounds.append([(int(i), int(orders[i][turn])) for i in sounds])
        if not self.groups.labelled:
            return rounds
        visits = [visit for visits in rounds for visit in visits]
        for sounds in self.groups.labelled:
            sounds = rng.permutation(sounds)
            for turn in range(self.visits_per_label):
                again, place = divmod(turn, len(sounds))
                order = orders[sounds[place]]
                visits.append((int(sounds[place]), int(order[again % len(order)])))
        return [[visits[place] for place in rng.permutation(len(visits))]]
