"""When a sound is heard that a sentence names.

    samples -> the last 2 s, every half second -> similarity to the sentence and to class names
    -> score -> alert

The cosine of a sound and a sentence says little by itself: some sentences are nearer to all sounds
than others, and some sounds to all sentences. The score is how far the sentence stands out from the
names c of the classes of sounds,

    score = (s - T log mean_c exp(c.x / T) - mean_c c.e) / std_c c.e

with s = e.x the cosine of the sentence e and the sound x: the second term is how well the sound
fits what fits it best, the others are how near the sentence is to all that may be heard.
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

# seconds that are compared at once: an impact fills enough of it, and a second tells much less
WINDOW = 2.0
HOP = 0.5  # seconds from one window to the next
TEMPERATURE = 0.05  # of the score: the names that fit best count
THRESHOLD = 0.7  # of the score
HOLD_OFF = 30.0  # seconds


@dataclass(frozen=True)
class Wanted:
    """A sound that somebody waits for."""

    sentence: str  # "gunshot or explosion" is either
    threshold: float = THRESHOLD  # the score from which on it is heard
    # seconds after an alert in which there is no other of the same sentence
    hold_off: float = HOLD_OFF


@dataclass(frozen=True)
class Look:
    """How well sentences fit a stretch of sound."""

    start: float  # seconds from the stream's beginning
    end: float
    scores: np.ndarray  # (sentences,)


@dataclass(frozen=True)
class Alert:
    """A sound that was waited for, and heard."""

    sentence: str
    start: float  # seconds from the stream's beginning, of the window in which it was heard first
    end: float
    score: float
    caption: str | None = None  # of the event that goes on then, where it is known
    # the same however often it is told
    id: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)


class Comparison:
    """Compares a stream with sentences, window by window, in constant memory.

    What comes out does not depend on how many samples are fed at a time.

    Args:
        captioner: what hears; its checkpoint must be able to compare.
        sentences: in plain words; one such as "gunshot or explosion" fits as well as the better of
            its parts.

    Raises:
        AuricleError: the checkpoint cannot compare, or knows no word of a part of a sentence.
    """

    def __init__(self, captioner: Captioner, sentences: Sequence[str]) -> None:
        self._captioner = captioner
        parts = [alternatives(sentence) for sentence in sentences]
        # (parts, space)
        self._parts = captioner.embed_sentences([part for group in parts for part in group])
        self._firsts = np.cumsum([0, *map(len, parts)])[:-1]
        self._classes = _classes(captioner)  # (classes, space)
        near = self._parts @ self._classes.T
        self._mean, self._deviation = near.mean(1), near.std(1)
        self._window, self._hop = round(WINDOW * captioner.rate), round(HOP * captioner.rate)
        self.restart()

    def restart(self) -> None:
        """What is fed next is the beginning of another stream."""
        # the stream's end, at most a window and what was fed last
        self._held = np.zeros(0, np.float32)
        self._first = 0  # where in the stream it begins
        self._looked = 0  # where the last window ended
        self._next = round(MINIMUM_SECONDS * self._captioner.rate)  # where the next one ends

    def feed(self, samples: np.ndarray) -> list[Look]:
        """What more of the stream is like; silence is like nothing, and has no look.

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
        """What the stream's end is like, where it is over."""
        end = self._first + len(self._held)
        return self._look(end) if end > self._looked else []

    def _look(self, end: int) -> list[Look]:
        self._looked = end
        start = max(0, end - self._window)
        samples = self._held[start - self._first : end - self._first]
        rate = self._captioner.rate
        if is_silent(samples, rate):
            return []
        embedding = self._captioner.hear(samples).embedding
        assert embedding is not None
        classes = self._classes @ embedding / TEMPERATURE
        most = classes.max()
        usual = TEMPERATURE * (most + np.log(np.exp(classes - most).mean()))
        parts = (self._parts @ embedding - usual - self._mean) / self._deviation
        return [Look(start / rate, end / rate, np.maximum.reduceat(parts, self._firsts))]


class Watch:
    """Gives an alert where a sound is heard that somebody waits for, in constant memory.

    Args:
        captioner: what hears; its checkpoint must be able to compare.
        wanted: the sounds; at least one.

    Raises:
        AuricleError: the checkpoint cannot compare, or knows no word of a sentence.
    """

    def __init__(self, captioner: Captioner, wanted: Sequence[Wanted]) -> None:
        self.wanted = tuple(wanted)
        self._comparison = Comparison(captioner, [w.sentence for w in wanted])
        self._rate = captioner.rate
        self._samples, self._before = 0, 0.0  # of this stretch; seconds before it
        self._until = [0.0] * len(self.wanted)  # seconds; there is no alert before

    def feed(self, samples: np.ndarray) -> list[Alert]:
        """The alerts that more of the stream gives; see `Comparison.feed`."""
        self._samples += len(samples)
        return self._alerts(self._comparison.feed(samples))

    def finish(self) -> list[Alert]:
        """The last alerts, where the stream is over."""
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
            for place, (wanted, score) in enumerate(
                zip(self.wanted, look.scores.tolist(), strict=True)
            ):
                if score >= wanted.threshold and end >= self._until[place]:
                    self._until[place] = end + wanted.hold_off
                    alerts.append(Alert(wanted.sentence, start, end, score))
        return alerts


def _classes(captioner: Captioner) -> np.ndarray:
    """Returns embeddings of the names of the model's classes, (classes, space).

    A model without classes that it has words for gives its vocabulary instead.
    """
    vocabulary = captioner.checkpoint.vocabulary
    names = [name for name in captioner.checkpoint.tags if vocabulary.numbers(words(name))]
    return captioner.embed_sentences(names or list(vocabulary.words[len(SPECIAL) :]))


def alert_fields(alert: Alert) -> dict[str, object]:
    """An alert as an object of JSON."""
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
