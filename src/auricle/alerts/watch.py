"""Finds the sounds that sentences name in a stream.

    samples -> the last 2 s, every half second -> similarity to the sentence and to class names
    -> score -> alert

The cosine of a sound and a sentence says little by itself: some sentences are near to all sounds,
and some sounds to all sentences. The score tells how far the sentence stands out from the names c
of the classes of sounds,

    score = (s - T log mean_c exp(c.x / T) - mean_c c.e) / std_c c.e

with s = e.x the cosine of the sentence e and the sound x. The second term measures how well the
sound fits its best classes. The other terms measure how near the sentence is to any class.

A model that selects classes knows more. If the sentence asks for classes, the score grows by

    max_k p_k - USUAL_PROBABILITY

with p_k the probability of such a class k in the window.
"""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from auricle.captioning.captioner import Captioner
from auricle.checkpoint.vocabulary import SPECIAL, words
from auricle.sound.features import MINIMUM_SECONDS
from auricle.sound.silence import is_silent

# Sound that is compared at once. An impact fills enough of it, and one second tells much less.
WATCH_WINDOW_SECONDS = 2.0
WATCH_HOP_SECONDS = 0.5  # from one window to the next
TEMPERATURE = 0.05  # T of the score: with a low one, only the best names count
ALERT_THRESHOLD = 0.7  # of the score
# Chosen on the recordings of `label_select`, so that the threshold above stays the best one.
USUAL_PROBABILITY = 0.7
HOLD_OFF_SECONDS = 30.0


@dataclass(frozen=True)
class WatchedSound:
    """A sound to wait for."""

    sentence: str  # "gunshot or explosion" means either
    threshold: float = ALERT_THRESHOLD  # the least score of an alert
    hold_off: float = HOLD_OFF_SECONDS  # seconds after an alert without another for the sentence


@dataclass(frozen=True)
class Look:
    """The scores of sentences for a stretch of sound."""

    start: float  # seconds from the stream's beginning
    end: float
    scores: np.ndarray  # (sentences,)


@dataclass(frozen=True)
class Alert:
    """A watched sound that was heard."""

    sentence: str
    start: (
        float  # seconds from the stream's beginning, of the first window that reached the threshold
    )
    end: float
    score: float
    caption: str | None = None  # of the event at that time, where it is known
    # Repeated deliveries of an alert have the same id.
    id: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)


class StreamComparison:
    """Compares a stream with sentences, window by window, in constant memory.

    The scores do not depend on the number of samples fed at a time.

    Args:
        captioner: embeds the windows; its checkpoint must be able to compare.
        sentences: in plain words; one such as "gunshot or explosion" scores as the better of its
            parts.

    Raises:
        AuricleError: the checkpoint cannot compare, or knows no word of a part of a sentence.
    """

    def __init__(self, captioner: Captioner, sentences: Sequence[str]) -> None:
        self._captioner = captioner
        parts = [alternatives(sentence) for sentence in sentences]
        # (parts, space)
        flat = [part for group in parts for part in group]
        self._parts = captioner.embed_sentences(flat)
        planner = captioner.planner
        self._meant = [planner.classes.classes_meant(part) if planner else [] for part in flat]
        self._firsts = np.cumsum([0, *map(len, parts)])[:-1]
        self._classes = _classes(captioner)  # (classes, space)
        near = self._parts @ self._classes.T
        self._mean, self._deviation = near.mean(1), near.std(1)
        self._window, self._hop = (
            round(WATCH_WINDOW_SECONDS * captioner.rate),
            round(WATCH_HOP_SECONDS * captioner.rate),
        )
        self.restart()

    def restart(self) -> None:
        """Begins another stream."""
        # The end of the stream: at most a window and the samples fed last.
        self._held = np.zeros(0, np.float32)
        self._first = 0  # samples of the stream before `_held`
        self._looked = 0  # the end of the last window, in samples
        self._next = round(MINIMUM_SECONDS * self._captioner.rate)  # its next end

    def feed(self, samples: np.ndarray) -> list[Look]:
        """Takes more of the stream, and returns its looks; silence has none.

        Args:
            samples: (samples,) float32 with full scale 1, mono, at the captioner's rate; any number
                of them.
        """
        self._held = np.concatenate([self._held, np.asarray(samples, np.float32)])
        looks = []
        while self._first + len(self._held) >= self._next:
            looks += self._look(self._next)
            self._next += self._hop
            passed = max(0, self._next - self._window - self._first)
            self._held, self._first = self._held[passed:], self._first + passed
        return looks

    def finish(self) -> list[Look]:
        """Ends the stream, and returns the look at its end, if any."""
        end = self._first + len(self._held)
        return self._look(end) if end > self._looked else []

    def _look(self, end: int) -> list[Look]:
        self._looked = end
        start = max(0, end - self._window)
        samples = self._held[start - self._first : end - self._first]
        rate = self._captioner.rate
        if is_silent(samples, rate):
            return []
        heard = self._captioner.hear(samples)
        embedding = heard.embedding
        assert embedding is not None
        classes = self._classes @ embedding / TEMPERATURE
        most = classes.max()
        usual = TEMPERATURE * (most + np.log(np.exp(classes - most).mean()))
        parts = (self._parts @ embedding - usual - self._mean) / self._deviation
        for place, meant in enumerate(self._meant):
            if meant:
                assert heard.tags is not None
                parts[place] += heard.tags[meant].max() - USUAL_PROBABILITY
        return [Look(start / rate, end / rate, np.maximum.reduceat(parts, self._firsts))]


class Watch:
    """Gives alerts for watched sounds in a stream, in constant memory.

    Args:
        captioner: embeds the windows; its checkpoint must be able to compare.
        sounds: the sounds to wait for; at least one.

    Raises:
        AuricleError: the checkpoint cannot compare, or knows no word of a sentence.
    """

    def __init__(self, captioner: Captioner, sounds: Sequence[WatchedSound]) -> None:
        self.sounds = tuple(sounds)
        self._comparison = StreamComparison(captioner, [sound.sentence for sound in sounds])
        self._rate = captioner.rate
        self._samples = 0  # of this stretch
        self._before = 0.0  # seconds before this stretch
        self._until = [0.0] * len(self.sounds)  # seconds: no alert before

    def feed(self, samples: np.ndarray) -> list[Alert]:
        """Takes more of the stream, and returns its alerts; see `StreamComparison.feed`."""
        self._samples += len(samples)
        return self._alerts(self._comparison.feed(samples))

    def finish(self) -> list[Alert]:
        """Ends the stream, and returns its last alerts."""
        return self._alerts(self._comparison.finish())

    def interrupt(self, seconds: float) -> list[Alert]:
        """Ends a stretch of the stream, and returns its last alerts.

        Args:
            seconds: the gap before the next stretch.
        """
        alerts = self.finish()
        self._before += self._samples / self._rate + seconds
        self._samples = 0
        self._comparison.restart()
        return alerts

    def _alerts(self, looks: Sequence[Look]) -> list[Alert]:
        alerts = []
        for look in looks:
            start, end = self._before + look.start, self._before + look.end
            for place, (sound, score) in enumerate(
                zip(self.sounds, look.scores.tolist(), strict=True)
            ):
                if score >= sound.threshold and end >= self._until[place]:
                    self._until[place] = end + sound.hold_off
                    alerts.append(Alert(sound.sentence, start, end, score))
        return alerts


def _classes(captioner: Captioner) -> np.ndarray:
    """Returns embeddings of the names of the model's classes, (classes, space).

    If the vocabulary has no word of any class, its own words take their place.
    """
    vocabulary = captioner.checkpoint.vocabulary
    names = [name for name in captioner.checkpoint.tags if vocabulary.numbers(words(name))]
    return captioner.embed_sentences(names or list(vocabulary.words[len(SPECIAL) :]))


def alert_fields(alert: Alert) -> dict[str, object]:
    """Returns an alert as a JSON object."""
    return {
        "id": alert.id,
        "state": "alert",
        "start": round(alert.start, 3),
        "end": round(alert.end, 3),
        "alert": alert.sentence,
        "score": round(alert.score, 3),
        "caption": alert.caption,
    }


def alternatives(sentence: str) -> list[str]:
    """Returns the sounds that a sentence offers: "thunder, a gunshot or an explosion" has three."""
    parts = re.split(r"\s*,?\s+or\s+", sentence, flags=re.IGNORECASE)
    if len(parts) > 1:
        parts = [piece for part in parts for piece in part.split(",")]
    return [part.strip() for part in parts if part.strip()] or [sentence]
