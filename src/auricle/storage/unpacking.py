"""One archive on its way into a folder: every member is checked before it is written."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from auricle.errors import AuricleError
from auricle.storage.download import Progress, require_space

MOST_FILES = 100_000


MOST_BYTES = 64 << 30


# From a file's path in the archive to its path in the folder, or None where it is not wanted.
Place = Callable[[str], str | None]


class ArchiveError(AuricleError):
    """An archive that cannot be unpacked; the message begins with its name."""


class Unpacking:
    """What one archive may write, and how much it has written."""

    def __init__(
        self, archive: Path, folder: Path, place: Place, progress: Progress | None
    ) -> None:
        self.archive = archive
        self.folder = folder
        self.place = place
        self.progress = progress
        self.total: int | None = None  # bytes of all wanted members, where known
        self.members = self.files = self.written = 0
        self._placed: set[str] = set()
        self._open: BinaryIO | None = None

    def target(self, name: str, *, link: bool) -> Path | None:
        """The target of a member, or None for folders; refuses members that leave the folder."""
        self.members += 1
        parts = re.split(r"[/\\]", name)
        if (
            name.startswith(("/", "\\"))
            or ".." in parts
            or ":" in parts[0]
            or re.search(r"[\x00-\x1f]", name)
        ):
            raise ArchiveError(f"{self.archive}: holds a path that leads elsewhere: {name!r}")
        if link:
            raise ArchiveError(f"{self.archive}: holds a link or a device: {name!r}")
        if self.members > MOST_FILES:
            raise ArchiveError(f"{self.archive}: holds more than {MOST_FILES:,} files")
        placed = None if name.endswith("/") else self.place(name)
        if placed is None:
            return None
        if placed in self._placed:
            raise ArchiveError(f"{self.archive}: holds {placed} twice")
        self._placed.add(placed)
        return self.folder / placed

    def expect(self, total: int) -> None:
        """All that is wanted takes so many bytes."""
        self.total = total
        if total > MOST_BYTES:
            raise ArchiveError(
                f"{self.archive}: holds {total:,} bytes, at most {MOST_BYTES:,} are unpacked"
            )
        require_space(self.folder, total, f"what {self.archive.name} holds")

    def begin(self, target: Path) -> None:
        """The bytes that come next are this file's."""
        self.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        self._open = target.open("xb")  # fails where a disk takes two names for one
        self.files += 1

    def write(self, block: bytes | bytearray) -> int:
        """The next bytes, as long as they are no more than was said."""
        self.written += len(block)
        if self.written > (MOST_BYTES if self.total is None else self.total):
            raise ArchiveError(f"{self.archive}: holds more than it says")
        assert self._open is not None
        self._open.write(block)
        if self.progress:
            self.progress(self.written, self.total)
        return len(block)

    def close(self) -> None:
        """Closes the member that is being written."""
        if self._open is not None:
            self._open.close()
            self._open = None
