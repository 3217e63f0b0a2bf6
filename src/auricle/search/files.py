"""Files on disk, as an index knows them."""

import hashlib
import os
from dataclasses import dataclass

from auricle.errors import AudioError, printable


@dataclass(frozen=True)
class File:
    """A file as it was found on disk."""

    path: str
    size: int  # bytes
    modified: int  # nanoseconds


@dataclass(frozen=True)
class Changes:
    """How files on disk differ from the rows of an index."""

    new: tuple[File, ...]  # or changed
    unchanged: int
    gone: tuple[str, ...]


def digest_of(path: str) -> bytes:
    """Returns the SHA-256 of a file's content.

    Raises:
        AudioError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise AudioError(f"{printable(path)}: reading it failed ({error.strerror})") from None


def gone(path: str) -> bool:
    """Returns whether there is surely no file; a file in an unreadable folder may be there."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
