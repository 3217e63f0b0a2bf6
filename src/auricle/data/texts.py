"""Captions without sound, with made tags; and the target tags of sounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auricle.checkpoint.vocabulary import Vocabulary

NEIGHBOURS = 12  # classes that are taken for a class, at most
NEIGHBOUR_TEMPERATURE = 0.1  # of the cosines by which one of them is drawn
ELSEWHERE = 0.15  # share of noise tags that have nothing to do with what is told


@dataclass(frozen=True)
class SoundTags:
    """The target tags of sounds: from a tagger, or from the words of a caption."""

    heard: np.ndarray  # (sounds, 527), probabilities
    told: Mapping[
        str, Mapping[int, float]
    ]  # caption -> the classes that its words are near to, with their similarities

    def of(self, sounds: Sequence[int], captions: Sequence[str]) -> np.ndarray:
        """(527,) probabilities for sounds heard together; a tag of one is a tag of all."""
        tags = self.heard[list(sounds)].max(0)
        for caption in captions:
            for number, similarity in self.told.get(caption, {}).items():
                tags[number] = max(tags[number], similarity)
        return tags


class Texts:
    """Captions and tag probabilities, drawn by the seed, the epoch and the position alone.

    A tagger is never sure: the probabilities of a real sound's likeliest tags are dealt out, the
    tags read off the caption get the higher of them, and the rest go to classes that the tagger
    takes for those, or to any.

    Args:
        captions: without sound.
        tags: for each caption the classes that its words are near to, with their similarities.
        profiles: (sounds, tags), probabilities of the likeliest tags of real sounds, falling.
        classes: (527, size), a vector for each class: those of like vectors are taken for one
            another.
        vocabulary: the words.
    """

    def __init__(
        self,
        captions: Sequence[str],
        tags: Sequence[Mapping[int, float]],
        profiles: np.ndarray,
        classes: np.ndarray,
        vocabulary: Vocabulary,
    ) -> None:
        self.captions = captions
        self._told = [sorted(found, key=lambda number: -found[number]) for found in tags]
        self.profiles = profiles
        self.tokens = [vocabulary.encode(caption) for caption in captions]
        self._classes = len(classes)
        unit = classes / np.linalg.norm(classes, axis=1, keepdims=True)
        likeness = unit @ unit.T
        np.fill_diagonal(likeness, -1)
        self._neighbours = np.argsort(-likeness, axis=1)[:, :NEIGHBOURS]
        weights = np.exp(np.take_along_axis(likeness, self._neighbours, 1) / NEIGHBOUR_TEMPERATURE)
        self._cumulative = np.cumsum(weights, 1) / weights.sum(1, keepdims=True)

    def order(self, seed: int, epoch: int, batches: int, size: int) -> np.ndarray:
        """The captions that an epoch visits, (batches, size); sorted by length, to pad little.

        All are visited before any is again, but for the order within an epoch.
        """
        count = batches * size
        first = epoch * count
        passes = range(first // len(self.captions), (first + count - 1) // len(self.captions) + 1)
        orders = [
            np.random.default_rng((seed, 1, number)).permutation(len(self.captions))
            for number in passes
        ]
        start = first - passes[0] * len(self.captions)
        visited = np.concatenate(orders)[start : start + count] if count else np.zeros(0, int)
        lengths = np.array([len(self.tokens[number]) for number in visited])
        by_length = visited[np.argsort(lengths, kind="stable")].reshape(batches, size)
        return by_length[np.random.default_rng((seed, 2, epoch)).permutation(batches)]

    def draw_tags(self, caption: int, rng: np.random.Generator) -> np.ndarray:
        """(527,) probabilities for a caption; zero but for as many tags as the profiles have."""
        profile = self.profiles[rng.integers(len(self.profiles))]
        told = self._told[caption]
        chosen = told[: len(profile)]
        while len(chosen) < len(profile):
            if rng.random() < ELSEWHERE:
                drawn = int(rng.integers(self._classes))
            else:
                of = told[rng.integers(len(told))]
                place = int(np.searchsorted(self._cumulative[of], rng.random()))
                drawn = int(self._neighbours[of, min(place, NEIGHBOURS - 1)])
            if drawn not in chosen:
                chosen.append(drawn)
        # What is told comes early among the likeliest, and its order is nearly that of the
        # similarities.
        ranks = np.arange(len(chosen)) * 0.7 + rng.exponential(1.0, len(chosen))
        ranks[len(told) :] += 1.5
        probabilities = np.zeros(self._classes, np.float32)
        probabilities[np.array(chosen)[np.argsort(ranks)]] = profile
        return probabilities
