"""Captions the sound events of a stream: start, end and caption of each.

samples -> events (`auricle.captioning.changes`) -> captions of their stretches -> rows
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from auricle.captioning.captioner import Captioner
from auricle.captioning.changes import CHANGE, PLANNED_CHANGE, Change, EventFinder, Stretch
from auricle.captioning.parallel import in_order
from auricle.captioning.results import Caption, CaptionEvent, Tag, most_confident

# Seconds of an event after which it is captioned, and captioned again.
NAMING_SECONDS = (0.75, 1.5, 2.0, 3.0, 5.0, 8.0)

EventState = Literal["begin", "revise", "end"]


@dataclass(frozen=True)
class Event:
    """A row about a sound event.

    Every event has one row `begin`, as soon as it has a caption, any number of rows `revise`, when
    the caption changes, and one final row `end`. Events do not overlap; silence is not an event.
    """

    id: int  # counted from 1
    state: EventState
    start: float  # seconds from the stream's beginning; the same in all rows
    end: float  # seconds; the end so far, of which the row `end` may take back up to a second
    caption: str
    tags: tuple[Tag, ...]  # the most probable ones, the most probable first
    # Probability that the caption is right; None where the checkpoint was not calibrated.
    confidence: float | None
    # (space,), of length 1, of the captioned stretch
    embedding: np.ndarray | None = field(default=None, compare=False, repr=False)
    # What the caption mentions; none where the model words no plan.
    mentioned: tuple[CaptionEvent, ...] = ()


class Segmenter:
    """Captions the events of samples that arrive in pieces, in constant memory.

    The result does not depend on the sizes of the pieces.

    Args:
        captioner: encodes and captions.
        change: the weights that decide what counts as a change; those of the captioner's kind if
            None.
        naming_seconds: the seconds of an event after which it gets a caption, and another one.
            Without them, events are captioned after each ten seconds and at their end. The final
            rows are the same ones, for less work.
    """

    def __init__(
        self,
        captioner: Captioner,
        change: Change | None = None,
        *,
        naming_seconds: Sequence[float] = NAMING_SECONDS,
    ) -> None:
        self.captioner = captioner
        self._finder = _finder(captioner, change, naming_seconds)
        self._rows = _Rows(captioner.rate)

    def feed(self, samples: np.ndarray) -> list[Event]:
        """Takes more of the stream and returns the rows that it completes.

        Args:
            samples: (samples,) float32 with full scale 1, mono, at the captioner's rate; any number
                of them.
        """
        return self._captioned(self._finder.feed(samples))

    def finish(self) -> list[Event]:
        """Returns the last rows, at the end of the stream."""
        return self._captioned(self._finder.finish())

    def _captioned(self, found: Sequence[Stretch]) -> list[Event]:
        return [
            row
            for stretch in found
            for row in self._rows.of(stretch, _described(self.captioner, stretch))
        ]


def events_of(
    captioner: Captioner, chunks: Iterable[np.ndarray], jobs: int | None = None
) -> Iterator[Event]:
    """Yields the rows of a whole sound, as `Segmenter` without early captions returns them.

    Captions are made in threads, while the rest of the sound is decoded and searched for changes.

    Args:
        captioner: encodes and captions.
        chunks: (samples,) float32 each, mono, at the captioner's rate.
        jobs: captions at a time; as many as there are processors if None. With 1, there is no
            thread.
    """
    finder, rows = _finder(captioner, None, ()), _Rows(captioner.rate)

    def stretches() -> Iterator[Stretch]:
        for chunk in chunks:
            yield from finder.feed(chunk)
        yield from finder.finish()

    def described(stretch: Stretch) -> tuple[Stretch, Caption | None]:
        return stretch, _described(captioner, stretch)

    for stretch, caption in in_order(described, stretches(), jobs or os.cpu_count() or 1):
        yield from rows.of(stretch, caption)


def _finder(
    captioner: Captioner, change: Change | None, early_seconds: Sequence[float]
) -> EventFinder:
    usual = CHANGE if captioner.planner is None else PLANNED_CHANGE
    return EventFinder(captioner, change or usual, early_seconds)


def _described(captioner: Captioner, stretch: Stretch) -> Caption | None:
    """Returns the caption of a stretch, if it is long enough for one."""
    if not len(stretch.samples):
        return None
    seconds = len(stretch.samples) / captioner.rate
    return captioner.describe(captioner.hear(stretch.samples), seconds)


class _Rows:
    """Makes rows of the stretches of events, in turn, and their captions."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._said: Caption | None = None  # in the last row of the open event
        self._surest: Caption | None = None  # of the open event's parts

    def of(self, stretch: Stretch, caption: Caption | None) -> list[Event]:
        """Returns the rows of a stretch.

        A row has the most confident caption among the event's parts.
        """
        known = [each for each in (self._surest, caption) if each is not None]
        surest = most_confident(known)
        said = self._said
        if stretch.kind == "end":
            self._said = self._surest = None
            begin = [] if said else [self._row(stretch, "begin", surest)]
            return [*begin, self._row(stretch, "end", surest)]
        if stretch.kind == "part":
            self._surest = surest
        self._said = surest
        if said and said.text == surest.text:
            return []
        return [self._row(stretch, "revise" if said else "begin", surest)]

    def _row(self, stretch: Stretch, state: EventState, caption: Caption) -> Event:
        start, end = stretch.start / self._rate, stretch.end / self._rate
        return Event(
            stretch.id,
            state,
            start,
            end,
            caption.text,
            caption.tags,
            caption.confidence,
            caption.embedding,
            caption.placed(start, end).events,
        )
