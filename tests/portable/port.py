"""A port of captioning that uses nothing but a portable folder: json, numpy and ONNX Runtime.

It follows docs/portable.md, and imports nothing from auricle.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from port_selection import Clip, Event, select
from port_wording import Speaker


@dataclass(frozen=True)
class Described:
    """A caption, and the steps before it."""

    text: str
    log_mel: np.ndarray
    probabilities: np.ndarray
    events: list[Event]
    relation: str
    alternatives: list[str]
    tokens: list[int] | None
    confidence: float


class Port:
    """Captions (samples,) float32 at the folder's rate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model: Any = json.loads((folder / "model.json").read_text("utf-8"))
        self.classes: Any = json.loads((folder / "classes.json").read_text("utf-8"))
        vocabulary: list[str] = json.loads((folder / "vocabulary.json").read_text("utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.networks = {
            name: onnxruntime.InferenceSession(folder / file, options)
            for name, file in self.model["networks"].items()
        }
        self.arrays = {name: self.array(entry) for name, entry in self.model["arrays"].items()}
        self.speaker = Speaker(self.model, self.classes, vocabulary, self.arrays, self.run)

    def array(self, entry: Any) -> np.ndarray:
        """Reads an array of the folder."""
        dtype = np.dtype(entry["type"]).newbyteorder("<")
        return np.fromfile(self.folder / entry["file"], dtype).reshape(entry["shape"])

    def run(self, network: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a network; returns its outputs by name."""
        session = self.networks[network]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))  # type: ignore[arg-type]

    def is_silent(self, samples: np.ndarray) -> bool:
        """Whether the loudest tenth of a second is too faint."""
        rule = self.model["silence"]
        size = min(len(samples), int(self.model["input"]["rate"] * rule["stretch_seconds"]))
        stretches = [samples[i : i + size] for i in range(0, len(samples) - size + 1, size)]
        power = max(float(np.var(piece)) for piece in (*stretches, samples[-size:]))
        return power < 10 ** (rule["decibels"] / 10)

    def log_mel(self, samples: np.ndarray) -> np.ndarray:
        """Returns (frames, mels)."""
        return self.run("front_end", {"samples": samples[None]})["log_mel"][0]

    def hear(self, log_mel: np.ndarray) -> dict[str, np.ndarray]:
        """Encodes frames, after silence at their end if they are few."""
        rule = self.model["front_end"]
        least = round(rule["padded_seconds"] * rule["frames_per_second"])
        missing = max(0, least - len(log_mel))
        padding = ((0, missing), (0, 0))
        padded = np.pad(log_mel, padding, constant_values=np.float32(rule["silent_log_mel"]))
        return {
            name: value[0] for name, value in self.run("encoder", {"log_mel": padded[None]}).items()
        }

    def probabilities(self, log_mel: np.ndarray) -> np.ndarray:
        """Returns the probability of each class in some frames."""
        return self.hear(log_mel)["tags"]

    def caption(self, samples: np.ndarray) -> str:
        """Returns the sentence for a sound of up to `longest_seconds`."""
        if self.is_silent(samples):
            return self.model["silence"]["text"]
        return self.describe(samples).text

    def describe(self, samples: np.ndarray) -> Described:
        """Captions a sound that is not silent."""
        log_mel = self.log_mel(samples)
        heard = self.hear(log_mel)
        rule = self.model["front_end"]
        seconds = len(samples) / self.model["input"]["rate"]
        frames = max(1, min(len(log_mel), round(seconds * rule["frames_per_second"])))
        rows = log_mel[:frames]
        clip = Clip(rows, self.power(rows), heard["tags"], seconds)
        chosen = select(self.model, self.classes, clip, self.probabilities)
        captions = self.speaker.word(chosen, heard["sound_embedding"])
        best = captions[0]
        return Described(
            self.speaker.written(best.text),
            log_mel,
            heard["tags"],
            chosen.events,
            chosen.relation,
            [self.speaker.written(caption.text) for caption in captions],
            best.tokens,
            self.confidence(chosen.margin, chosen.events[0].probability, best.score, best.fit),
        )

    def power(self, log_mel: np.ndarray) -> np.ndarray:
        """Returns the power of each mel band, from natural logarithms."""
        rule = self.model["front_end"]
        assert rule["logarithm"] == "natural"
        power = np.exp(log_mel * rule["scale"] - rule["offset"]) - rule["floor"]
        return np.maximum(power, 0)

    def confidence(self, margin: float, probability: float, score: float, fit: float) -> float:
        """Returns the probability that a caption is right."""
        weights = self.model["confidence"]
        features: Sequence[float] = (score, probability, fit, float(np.log(margin)))
        names = ("score", "tag", "similarity", "margin")
        logit = sum(weights[name] * value for name, value in zip(names, features, strict=True))
        return float(1 / (1 + np.exp(-logit - weights["bias"])))
