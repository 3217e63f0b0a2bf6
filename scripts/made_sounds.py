"""Sounds made from formulas, with our own captions: the first sounds that people try.

A tone, a hum, hiss or a clipped signal would else be heard as the nearest thing in the corpus: a
siren, a vacuum cleaner, rain.
"""

import wave
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

RATE = 32_000
MOST_CAPTIONS = 4


@dataclass(frozen=True)
class MadeSound:
    """A sound, (samples,) float64 with full scale 1, and what to say of it."""

    name: str
    split: str
    label: str
    captions: tuple[str, ...]
    samples: np.ndarray


TONES = (
    "A {pitch} tone sounds steadily without any change.",
    "One {pitch} electronic tone is held at the same level.",
    "A steady {pitch} beep goes on without a break.",
    "A pure {pitch} sine tone plays the whole time.",
    "A device gives off a continuous {pitch} test tone.",
    "A {pitch} whine continues evenly from start to finish.",
)
BEEPS = (
    "A {pitch} electronic beep repeats at {pace}, even intervals.",
    "An electronic device beeps {often} with a {pitch} tone.",
    "{Pace} {pitch} beeps sound one after the other.",
    "A machine makes {pitch} beeps, each followed by silence.",
    "The same {pitch} beep is heard over and over again.",
)
RISING = (
    "A tone slides up from low to high in pitch.",
    "An electronic tone rises smoothly to a high pitch.",
    "The pitch of a pure tone climbs higher and higher.",
    "A synthetic sweep starts low and ends high and shrill.",
)
FALLING = (
    "A tone slides down from high to low in pitch.",
    "An electronic tone falls smoothly to a low pitch.",
    "The pitch of a pure tone sinks lower and lower.",
    "A synthetic sweep starts high and drops to a low tone.",
)
WARBLES = (
    "An electronic tone warbles up and down again and again.",
    "The pitch of a tone rises and falls in waves.",
    "A synthetic tone keeps wavering between low and high.",
)
HUMS = (
    "A low electrical hum drones on without any change.",
    "Mains hum buzzes at a low and constant pitch.",
    "An electric device hums deeply and steadily all the time.",
    "A deep hum comes from electrical equipment that is switched on.",
    "A speaker gives off a low hum and nothing else.",
)
BUZZES = (
    "A harsh {pitch} electronic buzz goes on without stopping.",
    "A buzzer sounds with a rough and {pitch} tone.",
    "A synthetic {pitch} tone buzzes loudly and steadily.",
    "A raspy {pitch} buzzing is held at one pitch.",
    "An electronic device buzzes harshly on one {pitch} note.",
)
WHITE = (
    "{Loud} white noise hisses evenly the whole time.",
    "{Loud} static hisses like a television without a signal.",
    "A {loud} and steady hiss of static does not change.",
    "{Loud} hissing noise comes from a radio between two stations.",
    "A constant {loud} hiss fills the whole recording.",
)
PINK = (
    "{Loud} pink noise rushes evenly from beginning to end.",
    "A {loud} and even rush of noise does not change.",
    "{Loud} steady noise rushes like air through a vent.",
    "A {loud} smooth noise goes on at the same level.",
)
BROWN = (
    "A {loud} deep rumble of noise goes on evenly.",
    "{Loud} low noise rumbles steadily without any change.",
    "A {loud} muffled roar stays at the same low pitch.",
    "{Loud} brown noise rumbles deeply from beginning to end.",
)
CLICKS = (
    "Short clicks repeat {often} in an even rhythm.",
    "Something clicks {often} at exactly the same pace.",
    "Dry electronic clicks follow each other {often}.",
    "Sharp clicks come {often}, each like the one before.",
)
CRACKLES = (
    "Random clicks and crackles break the silence like old vinyl.",
    "Static pops and crackles irregularly over a quiet background.",
    "An old record crackles and pops without any music.",
    "Sparse electrical crackling pops at uneven intervals.",
)
CLIPPED_TONES = (
    "A {pitch} tone is so loud that it distorts harshly.",
    "A distorted {pitch} tone buzzes from an overloaded speaker.",
    "A harsh, clipped {pitch} tone drones on very loudly.",
    "A {pitch} electronic tone is badly distorted and grating.",
)
CLIPPED_NOISE = (
    "Very loud distorted static roars from an overloaded speaker.",
    "Harsh noise is clipped and distorted at full volume.",
    "A blast of distorted noise drowns out everything else.",
    "Overloaded, crackling noise distorts the whole recording.",
)
KEYS = (
    "Telephone keys are pressed and each gives a dual tone.",
    "A phone number is dialled with short electronic tones.",
    "Someone dials on a telephone keypad that beeps.",
    "Short touch tones sound as numbers are dialled.",
)
DIAL_TONES = (
    "A telephone dial tone hums steadily on the line.",
    "A phone is off the hook and its dial tone drones.",
    "Two steady tones blend into a telephone's dial tone.",
)
BUSY_TONES = (
    "A telephone line gives a busy signal that beeps regularly.",
    "The busy tone of a phone repeats on and off.",
    "Regular double-pitched beeps tell that the phone line is busy.",
)


TRAIN: dict[str, Any] = {  # kind -> its parameters, a sound each
    "tones": (110, 180, 330, 440, 700, 1000, 2500, 4000, 7500),
    "beeps": (
        (880, 0.2, 0.5),
        (1000, 0.5, 1.0),
        (2000, 0.08, 0.2),
        (3000, 0.1, 0.6),
        (440, 0.3, 1.2),
        (1500, 0.06, 0.15),
    ),
    "sweeps": ((100, 4000), (200, 8000), (60, 1000), (6000, 150), (9000, 500), (1500, 100)),
    "warbles": ((500, 900, 0.7), (800, 2400, 2.5)),
    "hums": (50, 60, 100),
    "buzzes": (
        (90, "square"),
        (150, "sawtooth"),
        (440, "square"),
        (300, "sawtooth"),
        (1200, "square"),
    ),
    "white": (0.3, 0.08, 0.02, 0.003),
    "pink": (0.3, 0.05, 0.005),
    "brown": (0.3, 0.05, 0.008),
    "clicks": (1, 2, 4, 8, 15),
    "crackles": (6, 30),
    "clipped_tones": (120, 500, 1000, 2200),
    "clipped_noise": (3.0, 12.0),
    "keys": ("5550172", "0#19", "8426"),
    "dial_tones": ((350, 440), (410, 425)),
    "busy_tones": ((480, 620, 1.0),),
}
VALID: dict[str, Any] = {
    "tones": (260, 1800),
    "beeps": ((1200, 0.15, 0.4),),
    "sweeps": ((150, 3000), (5000, 300)),
    "hums": (120,),
    "buzzes": ((220, "sawtooth"),),
    "white": (0.15, 0.006),
    "clicks": (3,),
    "clipped_tones": (800,),
    "keys": ("7739",),
}

# Kind, label, templates, samples, and what their slots are filled with.
Recipe = tuple[str, str, tuple[str, ...], np.ndarray, dict[str, str]]


def made_sounds() -> Iterator[MadeSound]:
    """The sounds to learn from, then those to select by; always the same."""
    for split, chosen, seed in (("train", TRAIN, 0), ("made_valid", VALID, 1)):
        counts: Counter[str] = Counter()
        for kind, label, templates, samples, slots in _recipes(chosen, np.random.default_rng(seed)):
            counts[kind] += 1
            # Sounds of one kind begin at other templates, so that the first few do not get all the
            # words.
            turned = (
                templates[(counts[kind] + n) % len(templates)]
                for n in range(min(MOST_CAPTIONS, len(templates)))
            )
            words = slots | {name.capitalize(): text.capitalize() for name, text in slots.items()}
            captions = tuple(template.format(**words) for template in turned)
            yield MadeSound(
                f"{split}_{kind}_{counts[kind]}", split, label, captions, _faded(samples)
            )


def _recipes(chosen: dict[str, Any], rng: np.random.Generator) -> Iterator[Recipe]:
    """Every kind of sound with the parameters chosen for it."""
    for hz in chosen.get("tones", ()):
        yield "tone", "tone", TONES, 0.4 * _sine(hz, 5), {"pitch": _pitch(hz)}
    for hz, on, period in chosen.get("beeps", ()):
        pace = (
            {"pace": "slow", "often": "slowly"}
            if period > 0.8
            else {"pace": "quick", "often": "again and again"}
        )
        yield (
            "beeps",
            "beeps",
            BEEPS,
            0.4 * _sine(hz, 5) * _gate(on, period, 5),
            {"pitch": _pitch(hz), **pace},
        )
    for start, end in chosen.get("sweeps", ()):
        yield (
            "sweep",
            "sweep",
            RISING if start < end else FALLING,
            0.4 * _glide(_exponential(start, end, 5)),
            {},
        )
    for low, high, per_second in chosen.get("warbles", ()):
        hz = (low + high) / 2 + (high - low) / 2 * _sine(per_second, 6)
        yield "warble", "sweep", WARBLES, 0.4 * _glide(hz), {}
    for hz in chosen.get("hums", ()):
        yield (
            "hum",
            "hum",
            HUMS,
            np.sum([0.3 / n**1.5 * _sine(n * hz, 6) for n in range(1, 9)], axis=0),
            {},
        )
    for hz, shape in chosen.get("buzzes", ()):
        phase = hz * _time(5) % 1
        form = np.sign(phase - 0.5) if shape == "square" else 2 * phase - 1
        yield "buzz", "buzz", BUZZES, 0.3 * form, {"pitch": _pitch(hz)}
    for colour, exponent, templates in (
        ("white", 0.0, WHITE),
        ("pink", 0.5, PINK),
        ("brown", 1.0, BROWN),
    ):
        for level in chosen.get(colour, ()):
            loud = "loud" if level > 0.1 else "faint" if level < 0.01 else "soft"
            yield (
                f"{colour}_noise",
                f"{colour}_noise",
                templates,
                level * _noise(rng, exponent, 6),
                {"loud": loud},
            )
    for rate in chosen.get("clicks", ()):
        often = "slowly" if rate < 2 else "regularly" if rate < 5 else "very quickly"
        yield (
            "clicks",
            "clicks",
            CLICKS,
            _clicks(np.arange(0.1, 5, 1 / rate), 0.7, 5),
            {"often": often},
        )
    for rate in chosen.get("crackles", ()):
        pops = _clicks(np.sort(rng.uniform(0, 6, 6 * rate)), rng.uniform(0.05, 0.6, 6 * rate), 6)
        yield "crackle", "crackle", CRACKLES, pops + 0.002 * _noise(rng, 0, 6), {}
    for hz in chosen.get("clipped_tones", ()):
        yield (
            "clipped_tone",
            "distortion",
            CLIPPED_TONES,
            _clipped(8 * _sine(hz, 5)),
            {"pitch": _pitch(hz)},
        )
    for gain in chosen.get("clipped_noise", ()):
        yield "clipped_noise", "distortion", CLIPPED_NOISE, _clipped(gain * _noise(rng, 0.5, 5)), {}
    for number in chosen.get("keys", ()):
        yield "keys", "dial_tone", KEYS, _dialled(number), {}
    for low, high in chosen.get("dial_tones", ()):
        yield "dial_tone", "dial_tone", DIAL_TONES, 0.25 * (_sine(low, 6) + _sine(high, 6)), {}
    for low, high, period in chosen.get("busy_tones", ()):
        busy = 0.25 * (_sine(low, 6) + _sine(high, 6)) * _gate(period / 2, period, 6)
        yield "busy_tone", "dial_tone", BUSY_TONES, busy, {}


def _pitch(hz: float) -> str:
    return "low-pitched" if hz < 250 else "medium-pitched" if hz < 1200 else "high-pitched"


def _time(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * RATE)) / RATE


def _sine(hz: float, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * _time(seconds))


def _exponential(start: float, end: float, seconds: float) -> np.ndarray:
    """A pitch that moves by the same interval in the same time, in Hz."""
    return start * (end / start) ** (_time(seconds) / seconds)


def _glide(hz: np.ndarray) -> np.ndarray:
    """A sine of a pitch that changes."""
    return np.sin(2 * np.pi * np.cumsum(hz) / RATE)


def _gate(on: float, period: float, seconds: float) -> np.ndarray:
    """1 for `on` seconds of every `period`, else 0."""
    return (_time(seconds) % period < on).astype(float)


def _noise(rng: np.random.Generator, exponent: float, seconds: float) -> np.ndarray:
    """Noise whose amplitude falls as 1 / frequency ** exponent above 20 Hz, with an RMS of 1."""
    samples = round(seconds * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    noise = np.fft.irfft(
        spectrum / np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 20) ** exponent, samples
    )
    return noise / noise.std()


def _clicks(times: np.ndarray, levels: np.ndarray | float, seconds: float) -> np.ndarray:
    """A millisecond of a pulse that dies away, at each time."""
    samples = np.zeros(round(seconds * RATE))
    samples[(times * RATE).astype(int)] = levels
    return np.convolve(samples, np.exp(-np.arange(32) / 8))[: len(samples)]


def _clipped(samples: np.ndarray) -> np.ndarray:
    """What an overloaded input makes of a sound."""
    return 0.95 * np.clip(samples, -1, 1)


def _dialled(number: str) -> np.ndarray:
    """The dual tones of telephone keys (ITU-T Q.23), 0.15 s each with as much silence after it."""
    tones = []
    for key in number:
        row, column = divmod("123456789*0#".index(key), 3)
        tone = _sine((697, 770, 852, 941)[row], 0.15) + _sine((1209, 1336, 1477)[column], 0.15)
        tones += [0.3 * tone, np.zeros(round(0.15 * RATE))]
    return np.concatenate([np.zeros(RATE // 2), *tones, np.zeros(RATE * 2)])


def _faded(samples: np.ndarray) -> np.ndarray:
    """Clipped at full scale, with ends of 10 ms, which would else click."""
    ramp = np.minimum(1, np.arange(len(samples)) / (0.01 * RATE))
    return np.clip(samples, -1, 1) * ramp * ramp[::-1]


def write_sound(sound: MadeSound, folder: Path) -> Path:
    """Writes the sound as 16-bit PCM."""
    path = folder / f"{sound.name}.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound.samples * 32767).round().astype("<i2").tobytes())
    return path
