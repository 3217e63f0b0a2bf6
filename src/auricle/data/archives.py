"""Archives from elsewhere, unpacked so that nothing lands outside of one folder, which appears whole or not at all.

zip, tar, 7z -> each member checked -> folder.part/ -> folder/
"""

import gzip
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from auricle.data.download import Progress, require_space
from auricle.errors import AuricleError

MOST_FILES = 100_000
MOST_BYTES = 64 << 30
_BLOCK = 1 << 20

# From a file's path in the archive to its path in the folder, or None where it is not wanted.
Place = Callable[[str], str | None]


class ArchiveError(AuricleError):
    """An archive that cannot be unpacked; the message begins with its name."""


def unpack(archive: Path, folder: Path, place: Place, progress: Progress | None = None) -> None:
    """Unpacks the wanted members of a .zip, .7z or .tar.gz into a new folder.

    Args:
        archive: what kind it is, its name says.
        folder: must not exist; it appears when all is in it.
        place: where each member goes.
        progress: told of bytes unpacked, and of all where the archive says.

    Raises:
        ArchiveError: a damaged archive; a path that leaves the folder; a link or a device; a path twice; more than
            `MOST_FILES` members or `MOST_BYTES`; nothing wanted in it.
        AuricleError: it does not fit on the disk.
    """
    if folder.exists():
        raise ArchiveError(f"{archive}: {folder} is there already")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    unpacking = _Unpacking(archive, part, place, progress)
    try:
        if archive.suffix == ".7z":
            from auricle.data.sevenzip import unpack_7z

            unpack_7z(archive, unpacking)
        elif archive.suffix == ".zip":
            _unpack_zip(archive, unpacking)
        else:
            _unpack_tar(archive, unpacking)
        if not unpacking.files:
            raise ArchiveError(f"{archive}: nothing of what was expected is in it")
    except (AuricleError, ModuleNotFoundError):
        raise
    except Exception as error:  # a reader of damaged archives raises whatever it met
        raise ArchiveError(f"{archive}: cannot be unpacked: {str(error) or type(error).__name__}") from error
    finally:
        unpacking.close()
    part.replace(folder)


class _Unpacking:
    """What one archive may write, and how much it has written."""

    def __init__(self, archive: Path, folder: Path, place: Place, progress: Progress | None) -> None:
        self.archive = archive
        self.folder = folder
        self.place = place
        self.progress = progress
        self.total: int | None = None  # bytes of all wanted members, where known
        self.members = self.files = self.written = 0
        self._placed: set[str] = set()
        self._open: BinaryIO | None = None

    def target(self, name: str, *, link: bool) -> Path | None:
        """Where a member goes, or None, as for folders, whose names end in a slash; refuses what no honest archive holds."""
        self.members += 1
        parts = re.split(r"[/\\]", name)
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or re.search(r"[\x00-\x1f]", name):
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
            raise ArchiveError(f"{self.archive}: holds {total:,} bytes, at most {MOST_BYTES:,} are unpacked")
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
        if self._open is not None:
            self._open.close()
            self._open = None


def _unpack_zip(archive: Path, unpacking: _Unpacking) -> None:
    with zipfile.ZipFile(archive) as opened:
        wanted: list[tuple[zipfile.ZipInfo, Path]] = []
        for member in opened.infolist():
            kind = member.external_attr >> 28  # of a Unix mode; nothing where it was made elsewhere
            if target := unpacking.target(member.filename, link=kind not in (0, 0o4, 0o10)):
                wanted.append((member, target))
        unpacking.expect(sum(member.file_size for member, _ in wanted))
        for member, target in wanted:
            unpacking.begin(target)
            with opened.open(member) as file:
                while block := file.read(_BLOCK):
                    unpacking.write(block)


def _unpack_tar(archive: Path, unpacking: _Unpacking) -> None:
    # As a stream: to list the members of a compressed tar is to read all of it.
    with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as opened:
        for member in opened:
            name = f"{member.name}/" if member.isdir() else member.name
            target = unpacking.target(name, link=not (member.isfile() or member.isdir()))
            if target is None:
                continue
            require_space(unpacking.folder, member.size, os.fspath(target.name))
            unpacking.begin(target)
            file = opened.extractfile(member)
            assert file is not None
            while block := file.read(_BLOCK):
                unpacking.write(block)
        while stream.read(_BLOCK):  # to its end, where the checksum of all is compared
            pass
