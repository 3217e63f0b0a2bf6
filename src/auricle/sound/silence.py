"""Distinguishes silence from sound by level."""

import numpy as np

# A sound is silent if its loudest tenth of a second stays below this level. The quietest of the
# 1,565 sounds of the development corpus is at -69.8. Noise of one step of 16 bits up or down is at
# -90.3, dither at -96.
SILENCE_DBFS = -80.0


def silence(samples: np.ndarray, rate: int) -> float:
    """Returns the probability of silence: 1 for digital silence, 0.5 at `SILENCE_DBFS`.

    The level is that of the loudest tenth of a second, without its mean, which is inaudible. The
    probability is p = 1 / (1 + power / power at the threshold), a logistic function of decibels.

    Args:
        samples: (samples,), full scale 1.
        rate: in Hz.
    """
    size = min(len(samples), rate // 10)
    stretches = samples[: len(samples) // size * size].reshape(-1, size)
    power = max(stretches.var(1).max(), samples[-size:].var())
    return 1 / (1 + float(power) / 10 ** (SILENCE_DBFS / 10))


def is_silent(samples: np.ndarray, rate: int) -> bool:
    """Returns whether a sound is more probably silent than not; True without samples."""
    return not len(samples) or silence(samples, rate) > 0.5
