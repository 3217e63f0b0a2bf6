"""Two sounds made into one, with a caption that tells of both."""

import numpy as np

from auricle.sound.features import FrontEnd, from_log, to_log

LEVEL_DB = 6.0  # greatest difference of level
ONE_AFTER_THE_OTHER = 0.25  # share of mixtures that are not at once
TURN = (0.4, 0.6)  # where in the one, as a share of its length, the other comes after it
AT_ONCE = (" while ", " as ", " and ", " with ", " over ")  # links of two captions
LATER = (" followed by ", " and then ", " then ", ", followed by ")


def mix(
    one: np.ndarray, other: np.ndarray, front_end: FrontEnd, rng: np.random.Generator
) -> tuple[np.ndarray, bool, bool]:
    """A log-mel spectrogram of two sounds, at once or one after the other.

    Powers are added, as those of unrelated sounds add up on average. The other sound is brought to
    within 8 dB of the power of the one. A mixture is no longer than the one, so that it fits into
    the same batch.

    Args:
        one: (frames, mels), log-mel.
        other: likewise.
        front_end: of both; one of powers, not magnitudes.
        rng: decides on level and time.

    Returns:
        (frames, mels) float32; whether both are heard at once; whether the one is to be told first:
        it is the louder, or comes before the other.
    """
    first, second = from_log(np.asarray(one), front_end), from_log(np.asarray(other), front_end)
    level = rng.uniform(-LEVEL_DB, LEVEL_DB)
    second = second * (first.mean() / max(second.mean(), 1e-12) * 10 ** (level / 10))
    if rng.random() < ONE_AFTER_THE_OTHER:
        turn = round(len(first) * rng.uniform(*TURN))
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
    """One caption of two, told in this order; its end is the other's."""
    link = rng.choice(AT_ONCE if at_once else LATER)
    return f"{one.strip().rstrip('.')}{link}{other.strip()[:1].lower()}{other.strip()[1:]}"
