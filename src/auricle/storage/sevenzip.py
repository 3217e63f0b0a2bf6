"""Unpacks 7z archives for `archives.unpack`. Only this module needs py7zr."""

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from py7zr import Py7zIO, SevenZipFile, WriterFactory

if TYPE_CHECKING:
    from auricle.storage.archives import Unpacking


class _Member(Py7zIO):
    """One file that py7zr unpacks."""

    def __init__(self, unpacking: "Unpacking", target: Path) -> None:
        self.unpacking = unpacking
        unpacking.begin(target)
        self._size = 0

    def write(self, s: bytes | bytearray) -> int:
        self._size += len(s)
        return self.unpacking.write(s)

    def read(self, size: int | None = None) -> bytes:  # noqa: ARG002 - nothing is read back
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:  # noqa: ARG002
        return 0

    def flush(self) -> None:
        pass

    def size(self) -> int:
        return self._size


class _Members(WriterFactory):
    def __init__(self, unpacking: "Unpacking", targets: dict[str, Path]) -> None:
        self.unpacking = unpacking
        self.targets = targets

    def create(self, filename: str) -> Py7zIO:
        return _Member(self.unpacking, self.targets[filename])


def unpack_7z(archive: Path, unpacking: "Unpacking") -> None:
    """Unpacks the members that `unpacking` accepts."""
    # From an open file py7zr unpacks one member after the other. `begin` depends on this order.
    with archive.open("rb") as file, SevenZipFile(file) as opened:
        names: list[str] = []
        targets: dict[str, Path] = {}
        total = 0
        for member in opened.list():
            name = f"{member.filename}/" if member.is_directory else member.filename
            if target := unpacking.target(name, link=not (member.is_file or member.is_directory)):
                names.append(member.filename)
                # py7zr calls `create` with the path without dots.
                targets[PurePosixPath(member.filename).as_posix()] = target
                total += member.uncompressed
        unpacking.expect(total)
        if names:
            opened.extract(targets=names, factory=_Members(unpacking, targets))
