"""Finds evidence in a log-mel: a change of sound, a returning background, repetition, and trend.

Every function reports something only where the signal shows it clearly. The thresholds were chosen
on made sequences of `label_select` recordings; docs/embedded.md gives the figures.
"""

import numpy as np
from numpy.typing import NDArray

from auricle.planning.plans import Repetition, Trend

Floats = NDArray[np.float32]
Levels = NDArray[np.float64]

BANDS = 16  # neighbouring mel bands are averaged to this many
STEP_SECONDS = 0.1
SHORTEST_PART_SECONDS = 1.0
FLOOR_POWER = 1e-5
SAME_SOUND_DECIBELS = 3.0  # spectra that differ by less, averaged over bands, are the same sound
LOUD_PERCENTILE = 90  # the level of a part is this percentile of its steps
SILENT_PART_DECIBELS = 41.0  # a part that is fainter than the other by more counts as silence

SMOOTHING_SECONDS = 0.05
BURST_DECIBELS = 15.0  # a burst lies within this of the loudest moment
CLEAR_DECIBELS = 20.0  # the quiet moments between bursts lie this far below the loudest one
QUIET_PERCENTILE = 10  # the level of the quiet moments is this percentile
SHORTEST_GAP_SECONDS = 0.15  # shorter gaps do not divide a burst
LONGEST_BURST_SECONDS = 1.5  # a longer burst is not one countable sound
CONTINUOUS_SHARE = 0.8  # a sound that lasts for this share of the clip is continuous

TREND_DECIBELS = 12.0  # change of the level from the first to the last fifth of the clip
TREND_CORRELATION = 0.9  # of level and time
SHORTEST_TREND_SECONDS = 4.0


def band_levels(power: Floats, frames_per_second: float) -> Levels:
    """Returns mean levels in dB of wide bands in short steps.

    Args:
        power: (frames, mels), the power of each mel band; mels is a multiple of 16.
        frames_per_second: of the power.

    Returns:
        (steps, 16), a row for each 0.1 s; a remainder shorter than a step is left out.
    """
    frames_per_step = max(1, round(STEP_SECONDS * frames_per_second))
    steps = len(power) // frames_per_step
    whole = power[: steps * frames_per_step].astype(np.float64)
    width = power.shape[1] // BANDS
    wide = whole.reshape(steps, frames_per_step, BANDS, width).mean(axis=(1, 3))
    return 10 * np.log10(wide + FLOOR_POWER)


def change_step(levels: Levels) -> int | None:
    """Returns the step at which the spectrum changes most, or None if the clip is too short.

    The mean spectra before and after this step leave the smallest squared error.

    Args:
        levels: (steps, bands), as `band_levels` returns them.
    """
    shortest = round(SHORTEST_PART_SECONDS / STEP_SECONDS)
    steps = len(levels)
    if steps < 2 * shortest:
        return None
    sums = levels.cumsum(axis=0)
    before = np.arange(1, steps)
    mean_before = sums[:-1] / before[:, None]
    mean_after = (sums[-1] - sums[:-1]) / (steps - before)[:, None]
    gain = ((mean_before - mean_after) ** 2).sum(axis=1) * before * (steps - before)
    gain[: shortest - 1] = -1.0
    gain[steps - shortest :] = -1.0
    return int(gain.argmax()) + 1


def returning_share(levels: Levels, step: int) -> float:
    """Returns for which share of the louder part the fainter part is heard again.

    A background returns between or after the events in it; the first of two sounds does not.

    Args:
        levels: (steps, bands), as `band_levels` returns them.
        step: the first step of the second part.
    """
    fainter, louder = sorted((levels[:step], levels[step:]), key=_loudness)
    typical = np.median(fainter, axis=0)
    return float((np.abs(louder - typical).mean(axis=1) < SAME_SOUND_DECIBELS).mean())


def level_difference(levels: Levels, step: int) -> float:
    """Returns by how many dB the fainter part lies below the louder one.

    Args:
        levels: (steps, bands), as `band_levels` returns them.
        step: the first step of the second part.
    """
    return abs(_loudness(levels[:step]) - _loudness(levels[step:]))


def find_repetition(power: Floats, frames_per_second: float) -> Repetition:
    """Returns how often a short sound is heard; NONE where bursts do not stand out.

    Args:
        power: (frames, mels), the power of each mel band.
        frames_per_second: of the power.
    """
    width = max(1, round(SMOOTHING_SECONDS * frames_per_second))
    energy = np.convolve(power.sum(axis=1, dtype=np.float64), np.ones(width) / width, "same")
    level = 10 * np.log10(energy + FLOOR_POWER)
    loud = level > level.max() - BURST_DECIBELS
    if loud.mean() >= CONTINUOUS_SHARE:
        return Repetition.CONTINUOUS
    if np.percentile(level, QUIET_PERCENTILE) > level.max() - CLEAR_DECIBELS:
        return Repetition.NONE
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(int)))
    starts, ends = edges[::2], edges[1::2]
    divided = starts[1:] - ends[:-1] >= SHORTEST_GAP_SECONDS * frames_per_second
    first_starts = starts[np.concatenate([[True], divided])]
    last_ends = ends[np.concatenate([divided, [True]])]
    if (last_ends - first_starts).max() > LONGEST_BURST_SECONDS * frames_per_second:
        return Repetition.NONE
    bursts = len(first_starts)
    if bursts > 2:
        return Repetition.SEVERAL
    return Repetition.ONCE if bursts == 1 else Repetition.TWICE


def find_trend(levels: Levels) -> Trend:
    """Returns whether a sound approaches or fades: a steady change of its level.

    Args:
        levels: (steps, bands), as `band_levels` returns them.
    """
    if len(levels) < SHORTEST_TREND_SECONDS / STEP_SECONDS:
        return Trend.NONE
    total = _total(levels)
    fifth = len(total) // 5
    rise = total[-fifth:].mean() - total[:fifth].mean()
    if abs(rise) < TREND_DECIBELS:
        return Trend.NONE
    correlation = np.corrcoef(total, np.arange(len(total)))[0, 1]
    if abs(correlation) < TREND_CORRELATION:
        return Trend.NONE
    return Trend.APPROACHING if rise > 0 else Trend.FADING


def _loudness(part: Levels) -> float:
    """Returns the level of a part of a clip, in dB."""
    return float(np.percentile(_total(part), LOUD_PERCENTILE))


def _total(levels: Levels) -> Levels:
    """Returns the level of all bands together, (steps,) in dB."""
    return 10 * np.log10((10 ** (levels / 10)).sum(axis=1))
