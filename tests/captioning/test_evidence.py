"""Evidence in time: change, return, repetition and trend, on made spectrograms."""

import numpy as np
import pytest

from auricle.captioning.evidence import (
    STEP_SECONDS,
    band_levels,
    change_step,
    find_repetition,
    find_trend,
    returning_share,
)
from auricle.planning.plans import Repetition, Trend

RATE = 100.0  # frames per second
MELS = 128


def tone(seconds: float, band: int, level: float = 1.0) -> np.ndarray:
    """A spectrogram of power in a few bands over a faint floor."""
    power = np.full((round(seconds * RATE), MELS), 1e-4, np.float32)
    power[:, band : band + 8] = level
    return power


def bursts(count: int, seconds: float = 6.0) -> np.ndarray:
    """Short bursts, half a second apart."""
    power = tone(seconds, 16, 1e-4)
    for number in range(count):
        start = round((0.5 + 0.7 * number) * RATE)
        power[start : start + 20, 16:24] = 1.0
    return power


@pytest.mark.parametrize("seconds", [2.0, 3.5, 6.0])
def test_change_is_found_where_the_spectrum_changes(seconds: float):
    power = np.concatenate([tone(seconds, 8), tone(4.0, 80)])
    step = change_step(band_levels(power, RATE))
    assert step is not None
    assert abs(step * STEP_SECONDS - seconds) <= STEP_SECONDS


def test_a_short_clip_has_no_change():
    assert change_step(band_levels(tone(1.5, 8), RATE)) is None


def test_a_background_returns_and_one_of_two_sounds_does_not():
    pair = band_levels(np.concatenate([tone(5, 8), tone(5, 80)]), RATE)
    assert returning_share(pair, 50) == 0
    background = np.random.default_rng(0).exponential(0.01, (round(10 * RATE), MELS))
    background = background.astype(np.float32)
    background[300:500, 40:48] += 3.0
    levels = band_levels(background, RATE)
    step = change_step(levels)
    assert step is not None
    assert returning_share(levels, step) > 0.2


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, Repetition.ONCE),
        (2, Repetition.TWICE),
        (3, Repetition.SEVERAL),
        (6, Repetition.SEVERAL),
    ],
)
def test_bursts_are_counted(count: int, expected: Repetition):
    assert find_repetition(bursts(count), RATE) is expected


def test_a_steady_sound_is_continuous_and_an_unclear_one_is_not_counted():
    assert find_repetition(tone(5, 8), RATE) is Repetition.CONTINUOUS
    over_noise = bursts(3)
    over_noise[:, 16:24] += 0.1  # the bursts stand out by 10 dB only
    assert find_repetition(over_noise, RATE) is Repetition.CONTINUOUS
    long_burst = tone(6, 8, 1e-4)
    long_burst[100:350, 8:16] = 1.0
    assert find_repetition(long_burst, RATE) is Repetition.NONE


def test_trend_needs_a_steady_and_large_change_of_level():
    ramp = 10 ** (np.linspace(-2, 0.5, round(6 * RATE)) / 1.0)
    rising = (tone(6, 8) * ramp[:, None]).astype(np.float32)
    assert find_trend(band_levels(rising, RATE)) is Trend.APPROACHING
    assert find_trend(band_levels(rising[::-1], RATE)) is Trend.FADING
    assert find_trend(band_levels(tone(6, 8), RATE)) is Trend.NONE
    assert find_trend(band_levels(rising[:300], RATE)) is Trend.NONE  # too short
    sudden = np.concatenate([tone(5, 8, 0.001), tone(1, 8, 1.0)])
    assert find_trend(band_levels(sudden, RATE)) is Trend.NONE


@pytest.mark.parametrize("frames", [1, 5, 9, 30])
def test_a_very_short_sound_gives_no_evidence_of_change_or_trend(frames: int):
    power = tone(1.0, 8)[:frames]
    levels = band_levels(power, RATE)
    assert levels.shape == (frames // 10, 16)
    assert change_step(levels) is None
    assert find_trend(levels) is Trend.NONE
    assert isinstance(find_repetition(power, RATE), Repetition)
