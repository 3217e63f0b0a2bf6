"""Sound events in a stream: from where to where something is heard, and what.

    samples -> hops -> the last second, heard -> like the event so far? -> events -> rows
                       Captioner.hear            _Event.change                       a caption, and
                       again as it grows

Events begin and end where the sound changes. All is decided on a grid of hops, so what comes out
does not depend on how the samples come in, and within a second: a change is told at most a second
after it was.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from auricle.captioning.captioner import Captioner
from auricle.captioning.results import Caption, Tag
from auricle.sound.features import from_log
from auricle.sound.silence import silence

HOP = 0.25  # seconds from one look at the sound to the next
HOPS = 4  # of a look: it hears a second
MEMORY = 16  # hops of an event that what comes next is compared with
PAUSE = 0.5  # seconds of silence that end an event
# seconds of an event after which it is named, and named again
MOMENTS = (0.75, 1.5, 2.0, 3.0, 5.0, 8.0)
PART = 10.0  # seconds of an event that are captioned at once
MARGIN = 0.1  # seconds: so much is heard of what is new before it is told
BAND = 8  # mel bands that are averaged where the moment of a change is looked for

State = Literal["begin", "revise", "end"]


@dataclass(frozen=True)
class Change:
    """How sure it is that a second of sound is no longer the event before it: the logit of a
    logistic function.

    Levels are those of mel bands, in dB, and their differences the mean over bands. The weights are
    what `scripts/sequences.py tune` fits on sounds that were joined.
    """

    frames: float = 9.91  # of the cosine distance of the encoder's frames from the event's
    floor: float = 0.111  # a decibel between the quietest hops of this second and the last
    level: float = 0.151  # a decibel between the mean levels of this second and the last two
    spread: float = -0.281  # a decibel that the event's levels vary by anyway
    bias: float = -6.17
    threshold: float = 1.2  # of the logit

    def logit(self, differences: np.ndarray) -> float:
        """(4,) -> how sure it is."""
        return float(differences @ (self.frames, self.floor, self.level, self.spread) + self.bias)


CHANGE = Change()


@dataclass(frozen=True)
class Event:
    """A row about something that is heard.

    Every event has one row `begin`, as soon as it can be named, any number of rows `revise`, where
    more of it is called something else, and one row `end`, which is final. Events do not overlap;
    silence is none.
    """

    id: int  # counted from 1
    state: State
    start: float  # seconds from the stream's beginning; the same in all rows
    end: float  # until when it was heard so far; the row `end` may take back up to a second of it
    caption: str
    tags: tuple[Tag, ...]  # the likeliest, the likeliest first
    # from 0 to 1, that the caption is right; None where the checkpoint was not calibrated
    confidence: float | None
    # (space,), of length 1, of what was captioned
    embedding: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass
class _Open:
    """An event that goes on. Times are in samples."""

    id: int
    start: int
    part: int  # where the part begins that was not captioned for good
    # Of its last hops, and of the looks that heard nothing else.
    levels: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=MEMORY + HOPS))
    frames: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=MEMORY + HOPS))
    said: Caption | None = None  # in its last row
    surest: Caption | None = None  # of the parts that were captioned for good
    named: int = 0  # how often


class Segmenter:
    """Finds sound events in samples that arrive bit by bit, in constant memory.

    What comes out does not depend on how many samples are fed at a time.

    Args:
        captioner: what hears and says.
        change: what counts as a change.
        interim: whether events are named before they end; without, there are rows `end` only, the
            same ones for less work.
    """

    def __init__(
        self, captioner: Captioner, change: Change = CHANGE, *, interim: bool = True
    ) -> None:
        self.captioner, self.change, self._interim = captioner, change, interim
        self._hop, self._part = round(HOP * captioner.rate), round(PART * captioner.rate)
        self._second = HOPS * self._hop
        self._held = np.zeros(0, np.float32)  # the stream's last seconds
        self._first = 0  # where in the stream they begin
        self._heard = 0  # until where it was looked at
        self._silent = 0  # how much before that was silent
        self._event: _Open | None = None
        self._count = 0

    def feed(self, samples: np.ndarray) -> list[Event]:
        """The rows that more of the stream gives.

        Args:
            samples: (samples,) float32 with full scale 1, mono, at the captioner's rate; any number
                of them.
        """
        self._held = np.concatenate([self._held, np.asarray(samples, np.float32)])
        rows: list[Event] = []
        while self._first + len(self._held) >= self._heard + self._hop:
            rows += self._listen(self._heard + self._hop)
        first = max(self._first, self._heard - self._part - 2 * self._second)
        self._held, self._first = self._held[first - self._first :].copy(), first
        return rows

    def finish(self) -> list[Event]:
        """The last rows, where the stream is over."""
        end = self._first + len(self._held)
        rows = self._listen(end) if end > self._heard else []
        return rows + self._close(self._heard - self._silent)

    def _listen(self, now: int) -> list[Event]:
        """Hears the stream until `now`, a hop further than before; less at its end."""
        rows: list[Event] = []
        before, self._heard = self._heard, now
        quiet = silence(self._between(before, now), self.captioner.rate) > 0.5
        self._silent = self._silent + now - before if quiet else 0
        if self._event is None and not quiet:
            self._open(before)
        elif self._silent >= PAUSE * self.captioner.rate:
            rows += self._close(now - self._silent)
        if self._event:
            rows += self._compare(self._event, now)
        if self._event:
            rows += self._name(self._event, now)
        return rows

    def _compare(self, event: _Open, now: int) -> list[Event]:
        """Ends the event and begins another where the last second is something else."""
        frames, levels = look(
            self.captioner, self._between(max(self._first, now - self._second), now)
        )
        event.levels.append(levels)
        if now - event.start >= self._second:
            event.frames.append(frames)
        if self._silent or len(event.frames) <= HOPS:  # silence is no other event
            return []
        if self.change.logit(differences(event.frames, event.levels)) < self.change.threshold:
            return []
        start = max(event.start, now - 2 * self._second)
        change = start + moment(self.captioner, self._between(start, now))
        rows = self._close(change)
        # and nothing else has begun
        if silence(self._between(change, now), self.captioner.rate) > 0.5:
            return rows
        whole = (now - change) // self._hop  # hops of the new event alone
        self._open(change).levels.extend(list(event.levels)[len(event.levels) - whole :])
        return rows

    def _name(self, event: _Open, now: int) -> list[Event]:
        """Says what is heard, where enough of it is new."""
        if now - event.part >= self._part:
            said = event.surest = self._surest(event, now)
            event.part = now
        elif (
            self._interim
            and event.named < len(MOMENTS)
            and now - event.start >= MOMENTS[event.named] * self.captioner.rate
        ):
            said = self._surest(event, now)
            event.named += 1
        else:
            return []
        return self._say(event, "revise" if event.said else "begin", now, said)

    def _surest(self, event: _Open, end: int) -> Caption:
        """The caption of the surest part of an event that lasts until `end`."""
        samples = self._between(event.part, end)
        if event.surest and len(samples) < self._second:
            return event.surest
        now = self.captioner.describe(
            self.captioner.hear(samples), len(samples) / self.captioner.rate
        )
        return max(
            event.surest or now, now, key=lambda caption: (caption.confidence or 0.0, caption.score)
        )

    def _say(self, event: _Open, state: State, end: int, caption: Caption) -> list[Event]:
        """A row, unless it would say again what the last one said or nobody waits for it."""
        if state != "end" and (
            not self._interim or (event.said and event.said.text == caption.text)
        ):
            return []
        event.said = caption
        start, end_seconds = event.start / self.captioner.rate, end / self.captioner.rate
        row = Event(
            event.id,
            state,
            start,
            end_seconds,
            caption.text,
            caption.tags,
            caption.confidence,
            caption.embedding,
        )
        return [row]

    def _open(self, start: int) -> _Open:
        self._count += 1
        self._event = _Open(self._count, start, start)
        return self._event

    def _close(self, end: int) -> list[Event]:
        if (event := self._event) is None:
            return []
        self._event = None
        said = self._surest(event, end)
        begin = [] if event.said else self._say(event, "begin", end, said)
        return begin + self._say(event, "end", end, said)

    def _between(self, start: int, end: int) -> np.ndarray:
        return self._held[start - self._first : end - self._first]


def look(captioner: Captioner, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is compared of the last second.

    Args:
        captioner: what hears.
        samples: (samples,), a second, or less where there was no more.

    Returns:
        The encoder's frames, averaged, of length 1; and the levels of mel bands in the last hop,
        (mels,) in dB.
    """
    spectrogram = captioner.spectrogram(samples)
    values = captioner.model.hear(spectrogram).memory_values
    positions = values.shape[3] - captioner.checkpoint.config.decoder.tags
    frames = values[:, 0, :, :positions].mean(2).ravel()
    # The spectrogram goes on where the sound is too short.
    sounding = spectrogram[: len(samples) // captioner.front_end.hop or 1]
    hop = sounding[-round(HOP * captioner.front_end.frames_per_second) :]
    return frames / np.linalg.norm(frames), _decibels(hop, captioner).mean(0)


def differences(frames: Sequence[np.ndarray], levels: Sequence[np.ndarray]) -> np.ndarray:
    """How the last second differs from the event before it: what the weights of `Change` are of,
    (4,).

    Args:
        frames: of looks that heard nothing but the event, more than `HOPS`.
        levels: of the event's hops, as many at least.
    """
    mean = np.mean(list(frames)[:-HOPS], axis=0)
    past, now = np.split(np.array(levels), [-HOPS])
    return np.array(
        [
            1 - frames[-1] @ mean / np.linalg.norm(mean),
            np.abs(past[-HOPS:].min(0) - now.min(0)).mean(),
            np.abs(past[-2 * HOPS :].mean(0) - now.mean(0)).mean(),
            past.std(0).mean(),
        ]
    )


def moment(captioner: Captioner, samples: np.ndarray) -> int:
    """At which sample a sound changed in its last second: mean spectra before and after leave the
    smallest squares.
    """
    bands = _decibels(captioner.spectrogram(samples), captioner)
    bands = bands[:, : bands.shape[1] // BAND * BAND].reshape(len(bands), -1, BAND).mean(2)
    sums, places = bands.cumsum(0), np.arange(1, len(bands))
    before, after = (
        sums[:-1] / places[:, None],
        (sums[-1] - sums[:-1]) / (len(bands) - places)[:, None],
    )
    gain = ((before - after) ** 2).sum(1) * places * (len(bands) - places)
    left = (1 - places / len(bands)) * len(samples) / captioner.rate  # seconds
    gain[(left > HOPS * HOP) | (left < MARGIN)] = -1.0
    return round(float(places[gain.argmax()]) / len(bands) * len(samples))


def _decibels(spectrogram: np.ndarray, captioner: Captioner) -> np.ndarray:
    return 10 * np.log10(from_log(spectrogram, captioner.front_end) + captioner.front_end.floor)
