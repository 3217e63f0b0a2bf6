"""Turns live sound into rows of events and alerts, over gaps too."""

import datetime
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from auricle.alerts.watch import Alert, Watch
from auricle.captioning.captioner import Captioner
from auricle.captioning.segmenter import Event, Segmenter
from auricle.errors import AudioError
from auricle.live.sources import Gap


@dataclass(frozen=True)
class Heard:
    """A row, and when what it speaks of began."""

    row: Event | Alert
    time: datetime.datetime  # by the clock on the wall, UTC
    stream: str | None = None  # the name of the stream, where there are several


def listen(
    captioner: Captioner,
    pieces: Iterable[np.ndarray | Gap],
    watch: Watch | None = None,
    *,
    now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
) -> Iterator[Heard]:
    """Rows as sound comes in, in constant memory; the last ones when it ends.

    Where the source was lost, the event that went on ends and times go on with the clock: `start`
    and `end` count from when listening began.

    Args:
        captioner: what hears.
        pieces: mono samples, (n,) each, of any n, at the captioner's rate, and gaps.
        watch: what alerts are about.
        now: the clock on the wall.

    Raises:
        AudioError: the pieces' own, after the last rows.
    """
    segmenter = Segmenter(captioner)
    samples, before = 0, 0.0  # of the stretch since the last gap; seconds before it
    first, last = 0, 0  # numbers of events: before the last gap, and so far
    caption: str | None = None  # of the event that goes on

    def timed(row: Event | Alert) -> Heard:
        # By what was heard last: the sound card's clock and the wall's part by seconds in days.
        ago = before + samples / captioner.rate - row.start
        return Heard(row, now() - datetime.timedelta(seconds=ago))

    def told(events: Iterable[Event]) -> Iterator[Heard]:
        nonlocal last, caption
        for event in events:
            last = first + event.id
            caption = None if event.state == "end" else event.caption
            yield timed(replace(event, id=last, start=before + event.start, end=before + event.end))

    def alarmed(alerts: Iterable[Alert]) -> Iterator[Heard]:
        return (timed(replace(alert, caption=caption)) for alert in alerts)

    damage: AudioError | None = None
    try:
        for piece in pieces:
            if isinstance(piece, Gap):
                yield from told(segmenter.finish())
                if watch is not None:
                    yield from alarmed(watch.interrupt(piece.seconds))
                before, first = before + samples / captioner.rate + piece.seconds, last
                segmenter, samples = Segmenter(captioner), 0
                continue
            samples += len(piece)
            yield from told(segmenter.feed(piece))
            if watch is not None:
                yield from alarmed(watch.feed(piece))
    except AudioError as error:
        damage = error  # what was heard before is told first
    yield from told(segmenter.finish())
    if watch is not None:
        yield from alarmed(watch.finish())
    if damage is not None:
        raise damage
