"""Mixes two sounds into one, with a caption that describes both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from auricle.data.manifest import Item
from auricle.data.sampler import LabelGroups, Visit
from auricle.sound.features import FrontEnd, from_log, to_log

LEVEL_DB = 6.0  # the greatest difference of level
SEQUENCE_SHARE = 0.25  # the share of mixtures in which one sound follows the other
# In a sequence, the second sound replaces the first after this share of its length.
TURN_SHARES = (0.4, 0.6)
AT_ONCE = (" while ", " as ", " and ", " with ", " over ")  # links of two captions
LATER = (" followed by ", " and then ", " then ", ", followed by ")


@dataclass(frozen=True)
class Example:
    """A sound, or a mixture of two sounds, with one caption."""

    item: Item
    caption: str
    spectrogram: np.ndarray  # (frames, mels)
    sounds: tuple[int, ...]  # the numbers of the sounds in it
    sound_captions: tuple[str, ...]  # the caption of each of these sounds


@dataclass(frozen=True)
class Mixtures:
    """The options of mixtures."""

    share: float  # of all sounds
    front_end: FrontEnd  # of the spectrograms


@dataclass(frozen=True)
class ExampleSource:
    """Makes examples of sounds."""

    items: Sequence[Item]
    spectrograms: Sequence[np.ndarray]  # (frames, mels) each
    groups: LabelGroups  # the other sound of a mixture is drawn from these
    mixtures: Mixtures | None = None  # None: no mixtures

    def example(self, visit: Visit, seed: Sequence[int]) -> Example:
        """Returns a sound with a caption, alone or mixed with another sound.

        Args:
            visit: the sound and the caption.
            seed: of the random numbers.
        """
        sound, caption_number = visit
        item = self.items[sound]
        caption, spectrogram = item.captions[caption_number], self.spectrograms[sound]
        alone = Example(item, caption, spectrogram, (sound,), (caption,))
        if self.mixtures is None:
            return alone  # A generator takes as long as the rest of this function.
        rng = np.random.default_rng(seed)
        if rng.random() >= self.mixtures.share:
            return alone
        partner = self.groups.draw(rng)
        other = self.items[partner]
        # Does not mix sounds of the same label or recording. An empty label or group is unknown.
        if partner == sound or item.label == other.label != "" or item.group == other.group != "":
            return alone
        caption, other_caption = shorter_caption(item, rng), shorter_caption(other, rng)
        mixed, at_once, one_first = mix(
            spectrogram, self.spectrograms[partner], self.mixtures.front_end, rng
        )
        in_order = (caption, other_caption) if one_first else (other_caption, caption)
        joined = join(*in_order, at_once, rng)
        labels = sorted((item.label, other.label))
        both = replace(
            item, captions=(joined,), label="+".join(labels) if all(labels) else "", group=""
        )
        return Example(both, joined, mixed, (sound, partner), (caption, other_caption))


def shorter_caption(item: Item, rng: np.random.Generator) -> str:
    """Returns the shorter of two random captions of a sound, for a mixture."""
    return min(rng.choice(item.captions, 2), key=len)


def mix(
    one: np.ndarray, other: np.ndarray, front_end: FrontEnd, rng: np.random.Generator
) -> tuple[np.ndarray, bool, bool]:
    """Returns a log-mel spectrogram of two sounds, at once or one after the other.

    Adds powers, because the powers of unrelated sounds add up on average. Brings the other sound to
    within `LEVEL_DB` of the power of the one. A mixture is no longer than the one, so that it fits
    into the same batch.

    Args:
        one: (frames, mels), log-mel.
        other: the same.
        front_end: the front end of both; it must have powers, not magnitudes.
        rng: draws level and time.

    Returns:
        (frames, mels) float32; whether both sound at once; and whether a caption should describe
        the one first, because it is the louder or the earlier sound.
    """
    first, second = from_log(np.asarray(one), front_end), from_log(np.asarray(other), front_end)
    level = rng.uniform(-LEVEL_DB, LEVEL_DB)
    second = second * (first.mean() / max(second.mean(), 1e-12) * 10 ** (level / 10))
    if rng.random() < SEQUENCE_SHARE:
        turn = round(len(first) * rng.uniform(*TURN_SHARES))
        parts = [first[:turn], second[: len(first) - turn]]
        return to_log(np.concatenate(parts), front_end).astype(np.float32), False, True
    both = first.copy()
    if len(second) < len(both):
        start = rng.integers(len(both) - len(second) + 1)
        both[start : start + len(second)] += second
    else:
        start = rng.integers(len(second) - len(both) + 1)
        both += second[start : start + len(both)]
    return to_log(both, front_end).astype(np.float32), True, level <= 0


def join(one: str, other: str, at_once: bool, rng: np.random.Generator) -> str:
    """Joins two captions in this order; keeps the end of the second."""
    link = rng.choice(AT_ONCE if at_once else LATER)
    return f"{one.strip().rstrip('.')}{link}{other.strip()[:1].lower()}{other.strip()[1:]}"
