"""Mixtures: two spectrograms become what the sum of their sounds would give, and two captions
one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.data.mixtures import AT_ONCE, LATER, LEVEL_DB, join, mix
from auricle.sound.features import FRONT_ENDS, from_log, log_mel

PANNS = FRONT_ENDS["panns"]


def noise(seed: int, loudness: float, slope: int) -> np.ndarray:
    """Three seconds of noise at 32 kHz, the more of it low the greater the slope."""
    white = np.random.default_rng(seed).normal(0, loudness, 96_000)
    return np.convolve(white, np.ones(slope) / slope, "same").astype(np.float32)


def bands(seed: int, frames: int) -> np.ndarray:
    """Some log-mel spectrogram, (frames, 64) in decibels."""
    return np.random.default_rng(seed).normal(-20, 10, (frames, 64)).astype(np.float32)


@pytest.mark.parametrize("name", ["panns", "mobilenet"])
@pytest.mark.parametrize("seed", range(4))
def test_a_mixture_sounds_as_the_sum_of_its_sounds(name: str, seed: int):
    front_end, one, other = FRONT_ENDS[name], noise(seed, 0.1, 2), noise(seed + 9, 0.01, 12)
    first, second = log_mel(one, front_end), log_mel(other, front_end)
    rng = np.random.default_rng(seed)
    while not (mixture := mix(first, second, front_end, rng))[1]:
        pass  # one after the other
    mixed, _, first_louder = mixture
    assert mixed.dtype == np.float32
    added = from_log(mixed.astype(float), front_end) - from_log(first.astype(float), front_end)
    level = 10 * np.log10(added.mean() / from_log(first, front_end).mean())
    assert abs(level) < LEVEL_DB + 0.01
    assert first_louder == (level <= 0)
    gain = np.sqrt(added.mean() / from_log(second, front_end).mean())
    summed = log_mel(one + np.float32(gain) * other, front_end)
    power, expected = (from_log(spectrogram, front_end).mean(0) for spectrogram in (mixed, summed))
    # Over three seconds, what two noises have in common by chance cancels out but for a little.
    np.testing.assert_allclose(10 * np.log10(power[3:] / expected[3:]), 0, atol=1.0)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 999))
def test_what_was_mixed_can_be_found_in_the_mixture(one: int, other: int, seed: int):
    first, second = bands(0, one), bands(1, other)
    mixed, at_once, first_first = mix(first, second, PANNS, np.random.default_rng(seed))
    unchanged = np.abs(mixed - first[: len(mixed)]).max(1) < 1e-3
    if at_once:
        assert len(mixed) == one
        assert unchanged.sum() == max(0, one - other)
    else:
        turn = int(unchanged.argmin()) if not unchanged.all() else one
        assert first_first
        assert turn <= len(mixed) <= one
        shift = mixed[turn:] - second[: len(mixed) - turn]
        np.testing.assert_allclose(shift, shift.mean() if shift.size else 0, atol=1e-3)


def test_some_sounds_come_one_after_the_other():
    drawn = [
        mix(bands(0, 5), bands(1, 6), PANNS, np.random.default_rng(seed))[1] for seed in range(200)
    ]
    assert 0.6 < np.mean(drawn) < 0.9


def test_the_louder_comes_first_about_as_often_as_not():
    drawn = [
        mix(bands(0, 5), bands(1, 5), PANNS, np.random.default_rng(seed)) for seed in range(200)
    ]
    assert 0.4 < np.mean([first for _, _, first in drawn]) < 0.6


def test_captions_are_joined_into_one_sentence():
    for at_once, links in ((True, AT_ONCE), (False, LATER)):
        joined = {
            join("A dog barks. ", " Rain falls.", at_once, np.random.default_rng(seed))
            for seed in range(200)
        }
        assert joined == {f"A dog barks{link}rain falls." for link in links}
