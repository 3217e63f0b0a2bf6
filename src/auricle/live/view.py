"""Shows live rows: on a terminal with a level meter and tags, elsewhere as lines."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Protocol, TextIO

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from auricle.alerts.watch import Alert
from auricle.captioning.results import Tag
from auricle.captioning.segmenter import Event
from auricle.live.listener import Heard
from auricle.live.rows import heard_fields

REFRESH = 0.1  # seconds from one picture of the meter to the next
METER_FLOOR_DBFS = -70.0  # dBFS at the meter's left end
METER, NAME = 30, 30  # characters
METER_FALL_DB_PER_SECOND = (
    20.0  # decibels a second by which the meter falls back, as studio meters do
)
TERMINAL_TAGS = 4


class View(Protocol):
    """Where rows are shown."""

    def samples(self, piece: np.ndarray) -> None:
        """Shows the level of samples, (samples,)."""
        ...

    def row(self, heard: Heard) -> None:
        """Shows a row."""
        ...

    def say(self, message: str) -> None:
        """Shows what went wrong."""
        ...


class Lines:
    """A line for each event that has ended, and for each alert.

    Args:
        file: where lines go.
        errors: where what went wrong goes.
    """

    def __init__(self, file: TextIO, errors: TextIO) -> None:
        self._file, self._errors = file, errors

    def samples(self, piece: np.ndarray) -> None:
        """Lines show no level."""

    def row(self, heard: Heard) -> None:
        """Writes a line, whole."""
        if isinstance(heard.row, Alert) or heard.row.state == "end":
            self._file.write(f"{line(heard)}\n")
            self._file.flush()

    def say(self, message: str) -> None:
        """Writes it to the errors, in one piece as streams share them."""
        self._errors.write(f"auricle: {message}\n")
        self._errors.flush()


class JsonLines(Lines):
    """Every row as a line of JSON."""

    def row(self, heard: Heard) -> None:
        """Writes a line, whole."""
        self._file.write(
            json.dumps(heard_fields(heard), ensure_ascii=False, allow_nan=False) + "\n"
        )
        self._file.flush()


class Terminal:
    """A level meter, tags and the caption that goes on at the bottom; what has ended scrolls up.

    Args:
        live: rich's display.
        name: of the source.
    """

    def __init__(self, live: Live, name: str) -> None:
        self._live, self._name = live, name
        self._level, self._shown = METER_FLOOR_DBFS, time.monotonic()
        self._tags: tuple[Tag, ...] = ()
        self._now: Heard | None = None

    def samples(self, piece: np.ndarray) -> None:
        """Moves the meter."""
        level = 20 * float(np.log10(np.abs(piece).max(initial=0.0) + 1e-9))
        self._level = max(level, self._level)
        if (passed := time.monotonic() - self._shown) >= REFRESH:
            self._live.update(self._picture(), refresh=True)
            self._level, self._shown = (
                max(METER_FLOOR_DBFS, self._level - METER_FALL_DB_PER_SECOND * passed),
                time.monotonic(),
            )

    def row(self, heard: Heard) -> None:
        """Shows an event that goes on, or scrolls up what has ended."""
        if isinstance(heard.row, Event):
            ended = heard.row.state == "end"
            self._now, self._tags = None if ended else heard, heard.row.tags
            if ended:
                self._live.console.print(Text(line(heard)))
        else:
            self._live.console.print(Text(line(heard), style="bold red"))
            self._live.console.bell()
        self._live.update(self._picture(), refresh=True)

    def say(self, message: str) -> None:
        """Scrolls it up among the rows."""
        self._live.console.print(Text(f"auricle: {message}", style="yellow"))

    def _picture(self) -> Group:
        filled = round(METER * (1 - max(self._level, METER_FLOOR_DBFS) / METER_FLOOR_DBFS))
        colour = "red" if self._level > -1 else "yellow" if self._level > -6 else "green"
        meter = Text.assemble(
            (f"{self._name[:NAME]}  ", "dim"),
            ("█" * filled, colour),
            ("░" * (METER - filled), "dim"),
            f" {self._level:4.0f} dB" if self._level > METER_FLOOR_DBFS else "  quiet",
        )
        tags = "  ".join(f"{tag.name} {tag.probability:.0%}" for tag in self._tags[:TERMINAL_TAGS])
        rows = [meter, Text(tags, style="cyan", no_wrap=True, overflow="ellipsis")]
        return Group(*rows, Text(line(self._now) if self._now else "", style="bold"))


def line(heard: Heard) -> str:
    """Returns a row as people read it, with the local time of day."""
    row, clock = heard.row, f"{heard.time.astimezone():%H:%M:%S}"
    if heard.stream is not None:
        clock += f"  {heard.stream}"
    if isinstance(row, Alert):
        return f"{clock}  ALERT  {row.sentence} (score {row.score:.2f})"
    seconds = f"{row.end - row.start:.1f}{' ' if row.state == 'end' else '+'}s"
    return f"{clock}  {seconds:>7}  {row.caption}"


@contextlib.contextmanager
def terminal(name: str) -> Iterator[Terminal]:
    """Shows rows on the terminal until the end of the context."""
    console = Console()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield Terminal(live, name)
