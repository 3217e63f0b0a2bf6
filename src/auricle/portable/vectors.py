"""Test vectors of a portable folder: made sounds, and the result of each step of captioning."""

from pathlib import Path

import numpy as np

from auricle.captioning.captioner import Captioner
from auricle.captioning.planned import PlanDescriber
from auricle.portable.arrays import write_array, write_json
from auricle.sound.silence import is_silent

SEED = 20


def write_vectors(captioner: Captioner, planner: PlanDescriber, folder: Path) -> None:
    """Writes `test_vectors.json`, and the arrays that it names to `vectors/`.

    Args:
        captioner: the captioner that the folder describes.
        planner: its part that selects and words events.
        folder: the portable folder.
    """
    (folder / "vectors").mkdir()
    vectors = [
        _vector(captioner, planner, folder, name, samples)
        for name, samples in made_sounds(captioner.rate).items()
    ]
    write_json(folder / "test_vectors.json", vectors, indent=1)


def made_sounds(rate: int) -> dict[str, np.ndarray]:
    """Returns sounds that lead to each branch of selection, by name: (samples,) int16.

    Args:
        rate: in Hz.
    """
    rng = np.random.default_rng(SEED)

    def noise(seconds: float) -> np.ndarray:
        return rng.normal(0, 0.1, round(seconds * rate))

    def tone(seconds: float, hz: float) -> np.ndarray:
        times = np.arange(round(seconds * rate)) / rate
        return 0.3 * np.sin(2 * np.pi * hz * times)

    def silence(seconds: float) -> np.ndarray:
        return np.zeros(round(seconds * rate))

    beep = np.concatenate([tone(0.2, 1000), silence(0.6)])
    siren_times = np.arange(5 * rate) / rate
    hz = 900 + 300 * np.sin(2 * np.pi * 0.4 * siren_times)
    siren = 0.3 * np.sin(2 * np.pi * np.cumsum(hz) / rate)
    rising = noise(6.0) * np.geomspace(0.01, 1.0, 6 * rate)
    sounds = {
        "silence": silence(1.5),
        "click": np.concatenate([noise(0.02), silence(0.38)]),
        "two beeps": np.concatenate([silence(0.5), beep, beep, silence(0.4)]),
        "five beeps": np.concatenate([beep] * 5),
        "noise": noise(4.0),
        "rising noise": rising,
        "siren": siren,
        "noise and tone": noise(4.0) + tone(4.0, 440),
        "noise, then siren": np.concatenate([noise(4.0), siren]),
        "siren, then noise": np.concatenate([siren, noise(4.0)]),
    }
    return {
        name: (samples.clip(-1, 1) * 32767).round().astype("<i2")
        for name, samples in sounds.items()
    }


def _vector(
    captioner: Captioner, planner: PlanDescriber, folder: Path, name: str, pcm: np.ndarray
) -> dict[str, object]:
    """Captions one sound, writes the arrays, and returns the result of each step."""
    place = f"vectors/{name.replace(',', '').replace(' ', '_')}"
    samples = pcm.astype(np.float32) / 32768
    caption = captioner.caption_samples(samples)
    vector: dict[str, object] = {
        "name": name,
        "samples": write_array(folder, f"{place}.i16", pcm),
        "silent": is_silent(samples, captioner.rate),
        "text": caption.text,
        "confidence": caption.confidence,
    }
    if vector["silent"]:
        return vector
    heard = captioner.hear(samples)
    assert heard.tags is not None
    selection = planner.select(heard, caption.end)
    best = planner.word(selection, captioner.options, heard.embedding)[0]
    numbers = captioner.checkpoint.vocabulary.numbers(best.text.split(" "))
    return vector | {
        "log_mel": write_array(
            folder, f"{place}.log_mel.f32", captioner.unpadded_spectrogram(samples)
        ),
        "probabilities": write_array(folder, f"{place}.probabilities.f32", heard.tags),
        "relation": selection.relation.name.lower(),
        "manner": planner.language.manner(selection.plan),
        "margin": selection.margin,
        "events": [
            {
                "class": event.class_index,
                "probability": event.probability,
                "start": event.start,
                "end": event.end,
                "repetition": event.repetition.name.lower(),
                "trend": event.trend.name.lower(),
            }
            for event in selection.events
        ],
        "by_decoder": best.by_decoder,
        "tokens": numbers if best.by_decoder else None,
        "score": best.score,
        "similarity": best.fit,
        "alternatives": [other.text for other in caption.alternatives],
    }
