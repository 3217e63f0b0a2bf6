"""Draws captions without sound with made-up tags, and gives the target tags of sounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auricle.checkpoint.vocabulary import Vocabulary

NEIGHBOURS = 12  # classes that a tagger may confuse with a class
NEIGHBOUR_TEMPERATURE = 0.1  # of the cosines that weight the draw among neighbours
UNRELATED_SHARE = 0.15  # the share of noise tags without relation to the caption


@dataclass(frozen=True)
class SoundTags:
    """The target tags of sounds: from a tagger, and from the words of captions."""

    heard: np.ndarray  # (sounds, 527), probabilities from a tagger
    # For each caption, the classes that are similar to its words, with their similarities.
    told: Mapping[str, Mapping[int, float]]

    def of(self, sounds: Sequence[int], captions: Sequence[str]) -> np.ndarray:
        """Returns (527,) probabilities for a mixture of sounds; a tag of one is a tag of all."""
        tags = self.heard[list(sounds)].max(0)
        for caption in captions:
            for number, similarity in self.told.get(caption, {}).items():
                tags[number] = max(tags[number], similarity)
        return tags


class Texts:
    """Draws captions without sound and their tag probabilities.

    Draws depend on the seed, the epoch and the position only. A tagger is never sure. Therefore the
    tags of a caption get the probabilities of a real sound's most probable tags. The tags that the
    caption mentions get the higher probabilities. The others go to classes that the tagger may
    confuse with these, or to random classes.

    Args:
        captions: captions without sound.
        tags: for each caption, the classes that are similar to its words, with their similarities.
        profiles: (sounds, tags), probabilities of the most probable tags of real sounds, in
            decreasing order.
        classes: (527, size), a vector for each class; classes of similar vectors are confused.
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
        self._told = [
            sorted(similarities, key=lambda number: -similarities[number]) for similarities in tags
        ]
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
        """Returns the captions of an epoch, (batches, size); those of a batch have similar lengths.

        All captions are visited before one is visited again, except for the order in an epoch.
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
        """Returns (527,) probabilities for a caption; as many are above zero as in a profile."""
        profile = self.profiles[rng.integers(len(self.profiles))]
        told = self._told[caption]
        chosen = told[: len(profile)]
        while len(chosen) < len(profile):
            if rng.random() < UNRELATED_SHARE:
                drawn = int(rng.integers(self._classes))
            else:
                of = told[rng.integers(len(told))]
                place = int(np.searchsorted(self._cumulative[of], rng.random()))
                drawn = int(self._neighbours[of, min(place, NEIGHBOURS - 1)])
            if drawn not in chosen:
                chosen.append(drawn)
        # Mentioned classes come early among the most probable ones, nearly in the order of their
        # similarities.
        ranks = np.arange(len(chosen)) * 0.7 + rng.exponential(1.0, len(chosen))
        ranks[len(told) :] += 1.5
        probabilities = np.zeros(self._classes, np.float32)
        probabilities[np.array(chosen)[np.argsort(ranks)]] = profile
        return probabilities
