"""Sound events in a stream: from where to where something is heard, and what.

    samples -> hops -> what is heard in the last second -> change points -> events -> rows
                       Captioner.hear                                      caption as it grows

Events begin and end where the sound changes. All is decided on a grid of hops, so what comes out does not depend on how the
samples come in.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from auricle.captioner import Caption, Captioner, Tag, silence
from auricle.onnx_backend import Heard

HOP = 0.25  # seconds from one look at the sound to the next
WINDOW = 1.0  # seconds heard at each look; no change is looked at for longer before it is told
MEMORY = 4.0  # seconds of an event that what comes next is compared with
CHANGE = 0.45  # cosine distance from the event that makes a new one
PAUSE = 0.5  # seconds of silence that end an event
LOOKS = (2.0, 4.0, 8.0)  # seconds into an event at which its caption is looked at again
PART = 10.0  # seconds of an event that are captioned at once


@dataclass(frozen=True)
class Event:
    """A row about something that is heard.

    Every event has one row `begin`, as soon as it can be named, any number of rows `revise`, where more of it is called
    something else, and one row `end`, which is final. Events do not overlap; silence is none.
    """

    id: int  # counted from 1
    state: Literal["begin", "revise", "end"]
    start: float  # seconds from the stream's beginning; the same in all rows
    end: float  # until when it was heard so far; the row `end` may take back up to a second of it
    caption: str
    tags: tuple[Tag, ...]  # the likeliest, the likeliest first
    confidence: float | None  # from 0 to 1, that the caption is right; None where the checkpoint was not calibrated
    embedding: np.ndarray | None = field(
        default=None, compare=False, repr=False
    )  # (space,), of length 1, of what was captioned


@dataclass
class _Open:
    """An event that goes on. Times are in samples."""

    id: int
    start: int
    part: int  # where the part begins that was not captioned for good
    row: Event | None = None  # the last that was given
    surest: tuple[Caption, np.ndarray | None] | None = None  # of the parts that were
    looks: int = 0
    seen: list[np.ndarray] = field(default_factory=list)  # what was heard in the last seconds


class Segmenter:
    """Finds sound events in samples that arrive bit by bit, in constant memory.

    What comes out does not depend on how many samples are fed at a time.

    Args:
        captioner: what hears and says.
    """

    def __init__(self, captioner: Captioner) -> None:
        self.captioner = captioner
        self._hop, self._window, self._part = (round(s * captioner.rate) for s in (HOP, WINDOW, PART))
        self._held = np.zeros(0, np.float32)  # the stream's last seconds
        self._first = 0  # where in the stream they begin
        self._heard = 0  # until where it was looked at
        self._silent = 0  # how much before that was silent
        self._event: _Open | None = None
        self._count = 0

    def feed(self, samples: np.ndarray) -> list[Event]:
        """The rows that more of the stream gives.

        Args:
            samples: (samples,) float32 with full scale 1, mono, at the captioner's rate; any number of them.
        """
        self._held = np.concatenate([self._held, np.asarray(samples, np.float32)])
        rows: list[Event] = []
        while self._first + len(self._held) >= self._heard + self._hop:
            rows += self._look(self._heard + self._hop)
        return rows

    def finish(self) -> list[Event]:
        """The last rows, where the stream is over."""
        end = self._first + len(self._held)
        rows = self._look(end) if end > self._heard else []
        return rows + self._close(self._heard - self._silent)

    def _look(self, now: int) -> list[Event]:
        """Hears the stream until `now`."""
        rows: list[Event] = []
        quiet = silence(self._between(self._heard, now), self.captioner.rate) > 0.5
        self._silent = self._silent + now - self._heard if quiet else 0
        before, self._heard = self._heard, now
        if self._event is None and not quiet:
            self._open(before)
        elif self._event and self._silent >= PAUSE * self.captioner.rate:
            rows += self._close(now - self._silent)
        if self._event and not quiet and now - self._event.start >= self._window:
            rows += self._compare(now)
            rows += self._name(now)
        self._forget()
        return rows

    def _compare(self, now: int) -> list[Event]:
        """Ends the event and begins another where the last second is unlike what was before."""
        event = self._event
        assert event is not None
        heard = _signature(self.captioner.hear(self._between(now - self._window, now)))
        lag = self._window // self._hop
        past = event.seen[:-lag]
        event.seen.append(heard)
        if past:
            mean = np.mean(past, axis=0)
            if 1 - heard @ mean / np.linalg.norm(mean) > CHANGE:
                rows = self._close(now - self._window)
                self._open(now - self._window).seen.append(heard)
                return rows
        del event.seen[: -round(MEMORY / HOP) - lag]
        return []

    def _name(self, now: int) -> list[Event]:
        """Says what is heard, where enough of it is new."""
        event = self._event
        assert event is not None
        if now - event.part >= self._part:
            event.surest = self._surest(event, now)
            event.part = now
            return self._say(event, "revise", now, *event.surest)
        if event.row is None:
            return self._say(event, "begin", now, *self._surest(event, now))
        if event.looks < len(LOOKS) and now - event.start >= LOOKS[event.looks] * self.captioner.rate:
            event.looks += 1
            return self._say(event, "revise", now, *self._surest(event, now))
        return []

    def _surest(self, event: _Open, end: int) -> tuple[Caption, np.ndarray | None]:
        """The caption of the surest part of an event that lasts until `end`, and its embedding."""
        samples = self._between(event.part, end)
        if event.surest and len(samples) < self._window:
            return event.surest
        heard = self.captioner.hear(samples)
        now = self.captioner.describe(heard, len(samples) / self.captioner.rate), heard.embedding
        return max(event.surest or now, now, key=lambda part: (part[0].confidence or 0.0, part[0].score))

    def _say(
        self,
        event: _Open,
        state: Literal["begin", "revise", "end"],
        end: int,
        caption: Caption,
        embedding: np.ndarray | None,
    ) -> list[Event]:
        """A row, unless it would say again what the last one said."""
        if state == "revise" and event.row and event.row.caption == caption.text:
            return []
        rate = self.captioner.rate
        row = Event(
            event.id,
            state,
            event.start / rate,
            end / rate,
            caption.text,
            caption.tags,
            caption.confidence,
            embedding,
        )
        event.row = row
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
        begin = [] if event.row else self._say(event, "begin", end, *said)
        return begin + self._say(event, "end", end, *said)

    def _between(self, start: int, end: int) -> np.ndarray:
        return self._held[start - self._first : end - self._first]

    def _forget(self) -> None:
        """Keeps only what may be heard again."""
        first = max(self._first, self._heard - self._part - self._window)
        self._held, self._first = self._held[first - self._first :].copy(), first


def _signature(heard: Heard) -> np.ndarray:
    """What tells one sound from another: its embedding, or its mean frame where the checkpoint has none; of length 1."""
    if heard.embedding is not None:
        return heard.embedding
    mean = heard.memory_values.mean(axis=(1, 3)).ravel()
    return mean / np.linalg.norm(mean)
