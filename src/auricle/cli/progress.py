"""Progress of a long command on standard error: bars on a terminal, else a line a minute."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal

INTERVAL_SECONDS = 60.0  # between two lines where there is no terminal

Unit = Literal["captions", "sounds", "bytes"]
Report = Callable[[str, int, int | None], None]  # a title, the units done, all units if known


@contextlib.contextmanager
def shown_progress(unit: Unit) -> Iterator[Report]:
    """Yields a function that takes a step's title, the units done, and all units.

    On a terminal each title has a bar. Elsewhere a line at the first report of each title says that
    the step begins, and a line a minute says how far it is, also while no report comes.
    """
    if sys.stderr.isatty():
        with _bars(unit) as report:
            yield report
        return
    lines = _Lines(unit)
    try:
        yield lines.report
    finally:
        lines.stop()


class _Lines:
    """Writes the state of the latest step to standard error once a minute."""

    def __init__(self, unit: Unit) -> None:
        self._unit: Unit = unit
        self._title: str | None = None
        self._done, self._total = 0, None
        self._began = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def report(self, title: str, done: int, total: int | None) -> None:
        if title != self._title:
            self._began = time.monotonic()
            print(f"auricle: {title}", file=sys.stderr, flush=True)
        self._title, self._done, self._total = title, done, total

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            if self._title is not None:
                print(f"auricle: {self._line()}", file=sys.stderr, flush=True)

    def _line(self) -> str:
        minutes = (time.monotonic() - self._began) / 60
        done = _amount(self._done, self._unit)
        if self._total:
            done = f"{done} of {_amount(self._total, self._unit)}"
        unit = "" if self._unit == "bytes" else f" {self._unit}"
        return f"{self._title}: {done}{unit} after {minutes:.0f} min"


def _amount(count: int, unit: Unit) -> str:
    return f"{count / 1e6:,.1f} MB" if unit == "bytes" else f"{count:,}"


@contextlib.contextmanager
def _bars(unit: Unit) -> Iterator[Report]:
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
        (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)
    )
    columns = (TextColumn("{task.description}"), BarColumn(), *amount, TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def report(title: str, done: int, total: int | None) -> None:
            if title not in tasks:
                tasks[title] = bars.add_task(title)
            bars.update(tasks[title], completed=done, total=total)

        yield report
