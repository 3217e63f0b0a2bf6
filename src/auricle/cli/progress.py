"""Progress of a long command on standard error: bars on a terminal, else a line a minute."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Literal

from auricle.data.progress import Report

INTERVAL_SECONDS = 60.0  # between two lines where there is no terminal

Unit = Literal["captions", "sounds", "bytes"]


@contextlib.contextmanager
def shown_progress(unit: Unit | None = None) -> Iterator[Report]:
    """Yields a function that takes a step's title, the units done, and all units.

    On a terminal each title has a bar. Elsewhere a line at the first report of each title says that
    the step begins, and a line a minute says how far it is, also while no report comes. Results get
    a line everywhere.

    Args:
        unit: what the numbers count; None if titles say it.
    """
    shown = _Bars(unit) if sys.stderr.isatty() else _Lines(unit)
    try:
        yield shown
    finally:
        shown.stop()


class _Lines:
    """Writes the state of the latest step to standard error once a minute."""

    def __init__(self, unit: Unit | None) -> None:
        self._unit: Unit | None = unit
        self._title: str | None = None
        self._done, self._total, self._text = 0, None, ""
        self._began = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __call__(self, title: str, done: int, total: int | None, text: str = "") -> None:
        if title != self._title:
            self._began = time.monotonic()
            self.result(title)
        self._title, self._done, self._total, self._text = title, done, total, text

    def result(self, line: str) -> None:
        print(f"auricle: {line}", file=sys.stderr, flush=True)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            if self._title is not None:
                self.result(self._line())

    def _line(self) -> str:
        minutes = (time.monotonic() - self._began) / 60
        done = _amount(self._done, self._unit)
        if self._total:
            done = f"{done} of {_amount(self._total, self._unit)}"
        unit = "" if self._unit in (None, "bytes") else f" {self._unit}"
        text = f", {self._text}" if self._text else ""
        return f"{self._title}: {done}{unit} after {minutes:.0f} min{text}"


def _amount(count: int, unit: Unit | None) -> str:
    return f"{count / 1e6:,.1f} MB" if unit == "bytes" else f"{count:,}"


class _Bars:
    """Draws a bar for each title on standard error, from the first report on."""

    def __init__(self, unit: Unit | None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TaskID,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        amount = (
            (DownloadColumn(), TransferSpeedColumn())
            if unit == "bytes"
            else (MofNCompleteColumn(),)
        )
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *amount,
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, title: str, done: int, total: int | None, text: str = "") -> None:
        if title not in self._tasks:
            self._bars.start()
            self._tasks[title] = self._bars.add_task(title, text=text)
        self._bars.update(self._tasks[title], completed=done, total=total, text=text)

    def result(self, line: str) -> None:
        print(f"auricle: {line}", file=sys.stderr)  # above the bars

    def stop(self) -> None:
        self._bars.stop()
