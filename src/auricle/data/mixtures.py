"""Two sounds made into one, with a caption that tells of both."""

import numpy as np

from auricle.features import FrontEnd, from_log, to_log

LEVEL_DB = 8.0  # greatest difference of level
ONE_AFTER_THE_OTHER = 0.25  # share of mixtures that are not at once
AT_ONCE = (" while ", " as ", " and ", " with ", " over ")  # links of two captions
LATER = (" followed by ", " and then ", " then ", ", followed by ")


def mix(
    one: np.ndarray, other: np.ndarray, front_end: FrontEnd, longest: int, rng: np.random.Generator
) -> tuple[np.ndarray, bool, bool]:
    """A log-mel spectrogram of two sounds, at once or one after the other.

    Powers are added, as those of unrelated sounds add up on average. The other sound is brought to within 8 dB of the power
    of the one.

    Args:
        one: (frames, mels), log-mel.
        other: likewise.
        front_end: of both; one of powers, not magnitudes.
        longest: frames that two sounds one after the other may have; longer ones are heard at once.
        rng: decides on level and time.

    Returns:
        (frames, mels) float32; whether both are heard at once; whether the one is to be told first: it is the louder, or
        comes before the other.
    """
    first, second = from_log(np.asarray(one), front_end), from_log(np.asarray(other), front_end)
    level = rng.uniform(-LEVEL_DB, LEVEL_DB)
    second = second * (first.mean() / max(second.mean(), 1e-12) * 10 ** (level / 10))
    if len(first) + len(second) <= longest and rng.random() < ONE_AFTER_THE_OTHER:
        return to_log(np.concatenate([first, second]), front_end).astype(np.float32), False, True
    shorter, longer = sorted((first, second), key=len)
    both = longer.copy()
    start = rng.integers(len(longer) - len(shorter) + 1)
    both[start : start + len(shorter)] += shorter
    return to_log(both, front_end).astype(np.float32), True, level <= 0


def join(one: str, other: str, at_once: bool, rng: np.random.Generator) -> str:
    """One caption of two, told in this order; its end is the other's."""
    link = rng.choice(AT_ONCE if at_once else LATER)
    return f"{one.strip().rstrip('.')}{link}{other.strip()[:1].lower()}{other.strip()[1:]}"
