"""Keeps many arrays in one file and reads them through one memory map.

    key -> index.sqlite: (offset, rows) -> arrays.bin: rows of `width` numbers, one after another

One memory map per array would cost a file descriptor each (Python 3.11), and the usual limit is
1,024.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from auricle.errors import AuricleError

WAIT_SECONDS = 600.0  # for another process that adds arrays


class ArrayStore:
    """Arrays by key, each of shape (rows, width) and of one type; several processes may add some.

    Args:
        folder: holds the two files; created if missing.
        dtype: the type of all arrays.
        width: the number of columns of all arrays.

    Raises:
        AuricleError: the folder cannot be written.
    """

    def __init__(self, folder: Path, dtype: np.typing.DTypeLike, width: int) -> None:
        self.folder, self.dtype, self.width = folder, np.dtype(dtype), width
        self._data = folder / "arrays.bin"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with closing(self._index()) as index, index:
                index.execute(
                    "CREATE TABLE IF NOT EXISTS arrays (key TEXT PRIMARY KEY, first INT, rows INT)"
                )
        except (OSError, sqlite3.Error) as error:
            raise self._unwritable(error) from None

    def missing(self, keys: Sequence[str]) -> set[str]:
        """Returns the keys that have no array."""
        return set(keys) - self._places(keys).keys()

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds all arrays or none; keeps the arrays of keys that exist already.

        Raises:
            AuricleError: the disk is full, or the folder cannot be written.
        """
        try:
            with closing(self._index()) as index:
                index.execute("BEGIN IMMEDIATE")  # one process at a time appends
                ends = index.execute("SELECT max(first + rows) FROM arrays").fetchone()
                first = ends[0] or 0
                self._data.touch()
                with self._data.open("r+b") as file:
                    # A killed process may have left bytes after the last known array. They are
                    # overwritten.
                    file.seek(first * self.width * self.dtype.itemsize)
                    for key, array in arrays.items():
                        rows = np.ascontiguousarray(array, self.dtype).reshape(-1, self.width)
                        known = index.execute("SELECT 1 FROM arrays WHERE key = ?", (key,))
                        if known.fetchone() is None:
                            file.write(rows.data)
                            values = (key, first, len(rows))
                            index.execute("INSERT INTO arrays VALUES (?, ?, ?)", values)
                            first += len(rows)
                index.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise self._unwritable(error) from None

    def load(self, keys: Sequence[str]) -> list[np.ndarray]:
        """Returns the arrays of the keys: read-only views of one memory map, (rows, width)."""
        places = self._places(keys)
        if not any(rows for _, rows in places.values()):
            return [np.zeros((0, self.width), self.dtype) for _ in keys]
        rows = np.asarray(np.memmap(self._data, self.dtype, "r"))
        rows = rows[: len(rows) // self.width * self.width].reshape(-1, self.width)
        return [rows[first : first + count] for first, count in (places[key] for key in keys)]

    def _places(self, keys: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Returns the first row and the number of rows of each key that has an array."""
        places: dict[str, tuple[int, int]] = {}
        with closing(self._index()) as index:
            for key in set(keys):
                row = index.execute("SELECT first, rows FROM arrays WHERE key = ?", (key,))
                if first_and_count := row.fetchone():
                    places[key] = first_and_count
        return places

    def _index(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.folder / "index.sqlite", timeout=WAIT_SECONDS, isolation_level=None
        )

    def _unwritable(self, error: Exception) -> AuricleError:
        reason = getattr(error, "strerror", None) or str(error)
        return AuricleError(f"{self.folder} cannot be written: {reason}")
