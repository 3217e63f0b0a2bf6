"""How long work reports its progress; the command line shows it."""

from typing import Protocol


class Report(Protocol):
    """Receives the progress of long work."""

    def __call__(self, title: str, done: int, total: int | None, text: str = "") -> None:
        """Takes a step's title, the units done, all units if known, and a remark."""
        ...

    def result(self, line: str) -> None:
        """Takes a result, such as that of an epoch, which gets a line of its own."""
        ...


class Silence:
    """A report that nobody sees."""

    def __call__(self, title: str, done: int, total: int | None, text: str = "") -> None:
        """Does nothing."""

    def result(self, line: str) -> None:
        """Does nothing."""


SILENT = Silence()
