"""Describes the files on disk that an index knows."""

import hashlib
import os
from dataclasses import dataclass

from auricle.errors import AudioError, printable


@dataclass(frozen=True)
class File:
    """A file on disk."""

    path: str
    size: int  # bytes
    modified: int  # nanoseconds since the epoch


@dataclass(frozen=True)
class Changes:
    """How files on disk differ from the rows of an index."""

    new: tuple[File, ...]  # new or changed files
    unchanged: int  # number of files
    gone: tuple[str, ...]  # paths of files that no longer exist


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
    """Returns whether a file surely no longer exists; in an unreadable folder it may exist."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
