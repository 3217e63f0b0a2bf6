"""Defines reports of progress, which the command line shows."""

from typing import Protocol


class Report(Protocol):
    """Receives the progress of long work."""

    def __call__(self, title: str, done: int, total: int | None, text: str = "") -> None:
        """Receives a step's title, the units done, all units if known, and a remark."""
        ...

    def result(self, line: str) -> None:
        """Receives a result, such as that of an epoch, to print on a separate line."""
        ...


class Silence:
    """A report that shows nothing."""

    def __call__(self, title: str, done: int, total: int | None, text: str = "") -> None:
        """Does nothing."""

    def result(self, line: str) -> None:
        """Does nothing."""


SILENT = Silence()
