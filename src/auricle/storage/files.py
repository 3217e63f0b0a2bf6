"""Writes files so that readers see the old content or the new content, never a part of it."""

import contextlib
import os
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from auricle.errors import AuricleError

PART_PREFIX, PART_SUFFIX = ".auricle-", ".part"
# A temporary file of this age belongs to a process that was killed.
STALE_PART_SECONDS = 86_400.0
# Paths below these name open files of a process and devices. They are written, never replaced.
DEVICE_FOLDERS = ("/dev/", "/proc/")
MOST_LINKS = 40  # the limit of Linux
# Distinguishes processes of several machines that share a folder.
_MACHINE = f"{zlib.crc32(os.uname().nodename.encode()) if hasattr(os, 'uname') else 0:08x}"


@contextlib.contextmanager
def written_whole(
    path: Path, *, private: bool = False, keep_interrupted: bool = False
) -> Iterator[Path]:
    """Yields a path to write to; the content appears at `path` when the block succeeds.

    Writes to a short temporary name in the same folder and renames it. A link is followed, and the
    file that it names is replaced. A file that exists keeps its mode and, where the system allows
    it, its owner. Two processes that write one file do not disturb each other: the last one wins.
    Creates missing folders. Leaves nothing behind if the block fails.

    Yields `path` itself for a device or a pipe, which cannot be replaced, and for an existing file
    in a read-only folder.

    Args:
        path: the file to write.
        private: whether a new file is readable by its owner only.
        keep_interrupted: whether Ctrl-C keeps the content so far, as `NAME.part`.

    Raises:
        OSError: the disk's own error, with the file's name.
    """
    part = target = None
    mode = 0
    try:
        target = replaceable_target(path)
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            part, mode = _create_part(target, 0o600 if private else 0o666)
        yield part or path
        if part is not None and target is not None:
            _copy_mode_and_owner(target, part, mode)
            part.replace(target)
    except BaseException as error:
        if part is not None and target is not None:
            with contextlib.suppress(OSError):
                if keep_interrupted and isinstance(error, KeyboardInterrupt):
                    part.replace(target.with_name(f"{target.name}{PART_SUFFIX}"))
                part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:
            ours = part is not None and error.filename == str(part)
            error.filename = str(path) if ours or not error.filename else error.filename
        raise


@contextlib.contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder; it gets its name `folder` when the block ends well.

    Creates missing folders above it. Where the block fails, nothing is left behind.

    Args:
        folder: must be missing or empty.

    Raises:
        AuricleError: the folder is a file or not empty.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise AuricleError(f"{folder} is not empty: name a new folder")
    target = folder.resolve()
    part = target.with_name(f"{PART_PREFIX}{os.urandom(6).hex()}{PART_SUFFIX}")
    part.mkdir(parents=True)
    try:
        yield part
        if target.is_dir():
            target.rmdir()
        part.replace(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def replaceable_target(path: Path) -> Path | None:
    """Returns the file that a rename should replace, or None to write `path` directly."""
    target = path
    for _ in range(MOST_LINKS):
        if os.path.abspath(target).startswith(DEVICE_FOLDERS):
            return None
        if not target.is_symlink():
            break
        target = target.parent / os.readlink(target)
    try:
        status = target.stat()
    except FileNotFoundError:
        return target
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        return None
    if not os.access(target.parent, os.W_OK) and os.access(target, os.W_OK):
        return None
    return target


def _create_part(target: Path, mode: int) -> tuple[Path, int]:
    """Creates an empty temporary file next to `target`; returns its path and its mode.

    Its name tells the target and the process, so that a later writer of the same file removes the
    parts of processes that were killed.
    """
    name = f"{PART_PREFIX}{zlib.crc32(os.fsencode(target.name)):08x}-{_MACHINE}-"
    for left in target.parent.glob(f"{name}*{PART_SUFFIX}"):
        process = left.name.removeprefix(name).partition("-")[0]
        if process.isdigit() and not _is_running(int(process)):
            left.unlink(missing_ok=True)
    part = target.with_name(f"{name}{os.getpid()}-{os.urandom(3).hex()}{PART_SUFFIX}")
    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    try:
        return part, stat.S_IMODE(os.fstat(handle).st_mode)  # the system's umask has been applied
    finally:
        os.close(handle)


def _is_running(process: int) -> bool:
    """Returns whether a process of this machine still runs; always True on Windows."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _copy_mode_and_owner(target: Path, part: Path, new_mode: int) -> None:
    """Gives `part` the mode and owner of the file that it replaces, or `new_mode` if there is none.

    Some writers replace the temporary file by one of mode 600, so the mode is always set.
    """
    try:
        status = target.stat()
    except FileNotFoundError:
        part.chmod(new_mode)
        return
    if hasattr(os, "chown"):
        with contextlib.suppress(PermissionError):
            os.chown(part, status.st_uid, status.st_gid)
    part.chmod(stat.S_IMODE(status.st_mode))


def remove_stale_parts(folder: Path) -> None:
    """Removes the temporary files of killed processes from a folder."""
    for part in folder.glob(f"*{PART_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > STALE_PART_SECONDS:
                part.unlink()


def cache_folder(name: str) -> Path:
    """Returns the path of the folder `name` in the user's cache.

    The cache is $AURICLE_CACHE, else `auricle` in $XDG_CACHE_HOME, else ~/.cache/auricle.

    Raises:
        AuricleError: neither variable is set, and the user has no home folder.
    """
    if cache := os.environ.get("AURICLE_CACHE"):
        return Path(cache) / name
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auricle" / name
    except RuntimeError:
        raise AuricleError(
            "the user has no home folder for the cache: set AURICLE_CACHE to a folder"
        ) from None
