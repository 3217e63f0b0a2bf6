"""Checks every member of an archive before it is written into a folder."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from auricle.errors import AuricleError
from auricle.storage.download import DownloadProgress, require_space

MOST_FILES_PER_ARCHIVE = 100_000
MOST_BYTES = 64 << 30

# Maps a file's path in the archive to its path in the folder, or to None to skip the file.
MemberTarget = Callable[[str], str | None]


class ArchiveError(AuricleError):
    """Raised for an archive that cannot be unpacked; the message begins with its name."""


class Unpacking:
    """Writes the members of one archive, within its limits."""

    def __init__(
        self, archive: Path, folder: Path, place: MemberTarget, progress: DownloadProgress | None
    ) -> None:
        self.archive = archive
        self.folder = folder
        self.place = place
        self.progress = progress
        self.total: int | None = None  # bytes of all accepted members, if known
        self.members = self.files = self.written = 0
        self._placed: set[str] = set()
        self._open: BinaryIO | None = None

    def target(self, name: str, *, link: bool) -> Path | None:
        """Returns the target of a member, or None to skip it.

        Raises:
            ArchiveError: the member is a link or leaves the folder; its target occurs twice; or the
                archive has too many members.
        """
        self.members += 1
        parts = re.split(r"[/\\]", name)
        if (
            name.startswith(("/", "\\"))
            or ".." in parts
            or ":" in parts[0]
            or re.search(r"[\x00-\x1f]", name)
        ):
            raise ArchiveError(f"{self.archive}: holds a path outside of the archive: {name!r}")
        if link:
            raise ArchiveError(f"{self.archive}: holds a link or a device: {name!r}")
        if self.members > MOST_FILES_PER_ARCHIVE:
            raise ArchiveError(f"{self.archive}: holds more than {MOST_FILES_PER_ARCHIVE:,} files")
        placed = None if name.endswith("/") else self.place(name)
        if placed is None:
            return None
        if placed in self._placed:
            raise ArchiveError(f"{self.archive}: holds {placed} twice")
        self._placed.add(placed)
        return self.folder / placed

    def expect(self, total: int) -> None:
        """Checks the total size of the accepted members.

        Raises:
            ArchiveError: it exceeds `MOST_BYTES`.
            AuricleError: the disk has too little space.
        """
        self.total = total
        if total > MOST_BYTES:
            raise ArchiveError(
                f"{self.archive}: holds {total:,} bytes: expected at most {MOST_BYTES:,}"
            )
        require_space(self.folder, total, f"the content of {self.archive.name}")

    def begin(self, target: Path) -> None:
        """Opens the target of the member that comes next."""
        self.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        self._open = target.open("xb")  # fails if the disk takes two names for the same
        self.files += 1

    def write(self, block: bytes | bytearray) -> int:
        """Writes the next bytes of the open member and returns their number.

        Raises:
            ArchiveError: the archive holds more bytes than it states, or than `MOST_BYTES`.
        """
        self.written += len(block)
        limit = MOST_BYTES if self.total is None else self.total
        if self.written > limit:
            raise ArchiveError(f"{self.archive}: holds more than the expected {limit:,} bytes")
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
