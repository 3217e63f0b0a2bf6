"""Make the five example sounds in this folder.

They are synthesised, so nobody has rights in them, and they are the same on every run.

python examples/make_examples.py
"""

import wave
from pathlib import Path

import numpy as np

RATE = 32_000  # Hz


def timeline(seconds: float) -> np.ndarray:
    """Moments of the samples in seconds, (samples,)."""
    return np.arange(round(seconds * RATE)) / RATE


def band(noise: np.ndarray, low: float, high: float, slope: float = 0.0) -> np.ndarray:
    """Keep the band from `low` to `high` Hz; above it amplitude falls as frequency^-slope."""
    frequencies = np.fft.rfftfreq(len(noise), 1 / RATE)
    gain = 1 / (1 + (low / np.maximum(frequencies, 1)) ** 4) / (1 + (frequencies / high) ** 4)
    gain *= (np.maximum(frequencies, low) / low) ** -slope
    return np.fft.irfft(np.fft.rfft(noise) * gain, len(noise))


def reverb(dry: np.ndarray, rng: np.random.Generator, seconds: float, wet: float) -> np.ndarray:
    """Add the echo of a space: noise that falls by 60 dB in `seconds`."""
    t = timeline(seconds)
    tail = band(rng.standard_normal(len(t)) * 10 ** (-3 * t / seconds), 100, 5_000, 0.3)
    tail /= np.sqrt(np.sum(tail**2))
    size = len(dry) + len(tail)
    echo = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(tail, size), size)[: len(dry)]
    return dry + wet * echo


def air(samples: int, rng: np.random.Generator) -> np.ndarray:
    """The quiet rumble and hiss of any place, about 60 dB below full scale."""
    noise = band(rng.standard_normal(samples), 60, 6_000, 0.7)
    return 0.001 * noise / np.std(noise)


def add(track: np.ndarray, sound: np.ndarray, seconds: float) -> None:
    """Mix `sound` into `track` from the moment `seconds` on."""
    start = round(seconds * RATE)
    room = len(track) - start
    track[start : start + len(sound)] += sound[:room]


def siren(rng: np.random.Generator) -> np.ndarray:
    """A wail that rises and falls between 600 and 1,400 Hz every 2.5 s, in a street."""
    t = timeline(5)
    hz = 1_000 - 400 * np.cos(2 * np.pi * t / 2.5)
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    wail = sum(np.sin(k * phase) / k**1.3 for k in range(1, 8))
    return reverb(band(np.tanh(1.5 * wail), 500, 5_000), rng, 1.2, 0.5)


def clock(rng: np.random.Generator) -> np.ndarray:
    """A wall clock: tick and tock in turn, twice a second, each a click that rings in the case."""
    track = np.zeros(4 * RATE)
    t = timeline(0.05)
    for beat in range(8):
        modes = (3_040, 5_440, 8_320, 12_640) if beat % 2 else (2_400, 4_640, 7_360, 11_360)
        # the pallet strikes, then the wheel
        for part, (delay, level) in enumerate(((0, 1.0), (0.012, 0.5))):
            ring = sum(
                np.sin(2 * np.pi * hz * t + part) * np.exp(-t * (160 + hz / 15)) / (1 + n)
                for n, hz in enumerate(modes)
            )
            click = band(rng.standard_normal(len(t)), 1_500, 12_000) * np.exp(-t * 900)
            add(track, level * (ring + 5 * click), 0.1 + beat / 2 + delay)
    room = band(rng.standard_normal(len(track)), 80, 4_000, 0.7)
    return reverb(track, rng, 0.25, 0.15) + 0.02 * np.max(np.abs(track)) * room


def rain(rng: np.random.Generator) -> np.ndarray:
    """Steady rain: the hiss of countless drops, and near ones that patter on leaves and puddles."""
    track = band(rng.standard_normal(5 * RATE), 1_200, 14_000, 0.2)
    track *= 0.25 / np.std(track)
    t = timeline(0.03)
    for moment in rng.uniform(0, 4.95, 400):
        level = min(rng.pareto(2.5), 2)  # most fall far off, a few close by
        patter = rng.standard_normal(len(t)) * np.exp(-t * rng.uniform(1_500, 7_500))
        plink = np.sin(2 * np.pi * rng.uniform(1_500, 7_000) * t) * np.exp(
            -t * rng.uniform(200, 800)
        )
        add(track, level * (0.02 * patter + 0.5 * plink), moment)
    return band(track, 300, 12_000)


def bell(rng: np.random.Generator) -> np.ndarray:
    """A church bell, struck twice: its partials, each split in two that beat."""
    track = np.zeros(5 * RATE)
    t = timeline(5)
    partials = (  # ratio to the prime, level, seconds to fall by 60 dB
        (0.5, 0.5, 14), (1.0, 0.7, 9), (1.2, 0.8, 7), (1.5, 0.3, 5), (2.0, 1.0, 5), (2.5, 0.35, 3),
        (2.67, 0.3, 2.6), (3.0, 0.45, 2.4), (4.1, 0.4, 1.6), (5.4, 0.3, 1.1), (6.8, 0.2, 0.8),
    )  # fmt: skip
    strike = band(rng.standard_normal(len(t)), 800, 7_000) * np.exp(-t * 60)
    ring = 1.2 * strike
    for ratio, level, seconds in partials:
        for split in (-0.3, 0.3):  # Hz
            ring += (
                0.5
                * level
                * np.sin(2 * np.pi * (330 * ratio + split) * t)
                * 10 ** (-3 * t / seconds)
            )
    add(track, ring, 0.1)
    add(track, 0.9 * ring, 2.4)
    return reverb(track, rng, 2.5, 0.25)


def car_horn(rng: np.random.Generator) -> np.ndarray:
    """A car that honks twice, short and long: two discs at 350 and 440 Hz, rich in harmonics."""
    track = np.zeros(3 * RATE)
    for start, seconds in ((0.2, 0.4), (0.9, 1.3)):
        t = timeline(seconds)
        both = np.zeros(len(t))
        for hz in (350, 440):
            phase = 2 * np.pi * hz * t
            both += sum(np.sin(k * phase + k * k) / k**0.4 for k in range(1, 18))
        both *= np.minimum(1, t / 0.012) * np.minimum(1, (seconds - t) / 0.03)
        add(track, band(np.tanh(both / 2), 350, 6_000), start)
    street = band(rng.standard_normal(len(track)), 60, 2_000, 0.7)
    return reverb(track, rng, 0.8, 0.6) + 0.02 * np.max(np.abs(track)) * street


def write_wav(path: Path, samples: np.ndarray) -> None:
    """Write (samples,) as 16-bit mono, its loudest moment at 0.7 of full scale."""
    scaled = np.round(samples * (0.7 * 32767 / np.max(np.abs(samples)))).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(scaled.tobytes())


if __name__ == "__main__":
    for seed, make in enumerate((siren, clock, rain, bell, car_horn)):
        rng = np.random.default_rng(seed)
        sound = make(rng)
        sound /= np.max(np.abs(sound))
        write_wav(Path(__file__).with_name(f"{make.__name__}.wav"), sound + air(len(sound), rng))
