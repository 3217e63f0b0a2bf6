"""Receives files, multipart or raw, onto disk, within limits of size and time.

Files get names of our own in a folder that only this server uses. The folder holds a locked file;
the system frees the lock when the process ends, however it ends. So the next server can tell the
folders of killed servers from those of servers that run, and deletes them.
"""

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from auricle.errors import printable
from auricle.serving.limits import Limits, RequestRefusedError
from auricle.serving.stopping import Stopping

LEAST_BYTES_PER_STALL = 1 << 16  # that must come in `Limits.stall` seconds
MOST_FILES_PER_REQUEST = 100  # in one request
NAME_LENGTH = 200
FOLDER_PREFIX = "auricle-uploads-"
LOCK = "lock"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Upload:
    """A file that was received."""

    path: Path
    name: str  # the sender's name for it, printable; never a path to open


@contextlib.contextmanager
def upload_folder() -> Iterator[Path]:
    """Make a folder for uploads until the end of the context; delete those of killed servers."""
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # The lock gets its name once it is locked, so that no other server finds it free.
        new = folder / f"{LOCK}.new"
        _lock(stack.enter_context(open(new, "wb")))
        new.rename(folder / LOCK)
        _sweep(folder)
        yield folder


def _sweep(our_folder: Path) -> None:
    """Delete the folders of this user's servers that do not run any more."""
    for lock_path in our_folder.parent.glob(f"{FOLDER_PREFIX}*/{LOCK}"):
        folder = lock_path.parent
        try:
            if folder == our_folder or folder.lstat().st_uid != our_folder.lstat().st_uid:
                continue
            with open(lock_path, "r+b") as lock:
                if _lock(lock):
                    shutil.rmtree(folder)
        except OSError as error:
            _log.warning("auricle: cannot delete the old uploads in %s: %s", folder, error)


def _lock(file: BinaryIO) -> bool:
    """Lock an open file until it is closed; returns False if another process holds the lock."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing is swept there
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Uploads:
    """Receives the files of requests, a limited number at a time.

    Args:
        folder: of this server alone; made again if somebody deletes it.
        limits: of size, number and pace.
        stopping: ends uploads when the server stops.
    """

    def __init__(self, folder: Path, limits: Limits, stopping: Stopping) -> None:
        self._folder, self._limits, self._stopping = folder, limits, stopping
        self._receiving = 0

    @contextlib.asynccontextmanager
    async def received(self, request: Request, name: str) -> AsyncIterator[list[Upload]]:
        """Receive the files of a request, and delete them at the end of the context.

        Args:
            request: whose body is a form, or the one file.
            name: the sender's name for a file that is the body itself.

        Raises:
            RequestRefusedError: too large, too slow, too many at once, no file, not the form that
                it claims to be, or the server cannot write it.
        """
        if self._receiving >= self._limits.uploads:
            raise RequestRefusedError(
                429, f"{self._receiving} uploads are in progress: try again soon", retry_after=5
            )
        with contextlib.ExitStack() as stack:
            files = _Files(self._folder, stack)
            self._receiving += 1
            try:
                with _refusals():
                    kind, options = parse_options_header(request.headers.get("content-type"))
                    if kind == b"multipart/form-data":
                        write = _multipart(files, options.get(b"boundary", b""))
                    else:
                        write = files.begin(_base(name)).write
                    await self._receive(request, write)
                    files.close()
            finally:
                self._receiving -= 1
                files.discard_open()
            if not files.complete:
                raise RequestRefusedError(
                    400, "the form ends before its last part does: was it cut on its way?"
                )
            if not files.uploads:
                raise RequestRefusedError(
                    400, "no file came: send it as the part `file` of a form, or as the body itself"
                )
            yield files.uploads

    async def _receive(self, request: Request, write: Callable[[bytes], object]) -> None:
        most, stall = self._limits.upload, self._limits.stall
        too_large = RequestRefusedError(
            413, f"larger than {most / (1 << 20):g} MB, which is the most that this server takes"
        )
        if int(request.headers.get("content-length", 0)) > most:
            raise too_large
        loop = asyncio.get_running_loop()
        size, enough = 0, LEAST_BYTES_PER_STALL
        try:
            async with self._stopping.limit(loop.time() + stall) as timeout:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > most:
                        raise too_large
                    write(chunk)
                    if size >= enough and not self._stopping.begun:
                        enough = size + LEAST_BYTES_PER_STALL
                        timeout.reschedule(loop.time() + stall)
        except TimeoutError:
            raise RequestRefusedError(
                408, f"nearly nothing came for {stall:g} s: the upload was abandoned"
            ) from None


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn the errors of receiving a file into refusals."""
    try:
        yield
    except (MultipartParseError, FormParserError) as error:
        raise RequestRefusedError(400, f"this is no multipart form: {error}") from None
    except ClientDisconnect:
        raise RequestRefusedError(499, "the client went away") from None
    except OSError as error:
        if error.errno in NO_SPACE:
            raise RequestRefusedError(507, "the server's disk is full") from None
        _log.warning("auricle: an upload cannot be written: %s", error)
        raise RequestRefusedError(
            500, "the server cannot write the upload; its log says why"
        ) from None


class _Files:
    """Files as they are received."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.uploads: list[Upload] = []
        self.complete = True
        self._folder, self._stack = folder, stack
        self._open: BinaryIO | None = None

    def begin(self, name: str) -> BinaryIO:
        """Make the next file, and return it, open for writing."""
        if len(self.uploads) == MOST_FILES_PER_REQUEST:
            raise FormParserError(f"more than {MOST_FILES_PER_REQUEST} files")
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # cleaners of /tmp delete it
        number, path = tempfile.mkstemp(dir=self._folder)
        self._stack.callback(Path(path).unlink, missing_ok=True)
        self._open = os.fdopen(number, "wb")
        self.uploads.append(Upload(Path(path), name))
        return self._open

    def close(self) -> None:
        """Complete the file that is being written.

        Raises:
            OSError: its last bytes cannot be written.
        """
        if self._open is not None:
            file, self._open = self._open, None
            file.close()

    def discard_open(self) -> None:
        """Close a file that stays incomplete."""
        with contextlib.suppress(OSError):
            self.close()


def _multipart(files: _Files, boundary: bytes) -> Callable[[bytes], object]:
    """Return a function that takes the bytes of a form of which each part is a file."""
    field, value = bytearray(), bytearray()
    headers: dict[bytes, bytes] = {}
    part: list[BinaryIO] = []

    def header_field(data: bytes, start: int, stop: int) -> None:
        field.extend(data[start:stop])

    def header_value(data: bytes, start: int, stop: int) -> None:
        value.extend(data[start:stop])

    def header_end() -> None:
        headers[bytes(field).lower()] = bytes(value)
        field.clear()
        value.clear()

    def headers_finished() -> None:
        _, options = parse_options_header(headers.pop(b"content-disposition", b""))
        if options.get(b"name") != b"file":
            raise FormParserError(
                "each part must be called `file`; everything else belongs into the query"
            )
        headers.clear()
        part[:] = [files.begin(_base(options.get(b"filename", b"").decode("utf-8", "replace")))]

    def part_data(data: bytes, start: int, stop: int) -> None:
        part[0].write(data[start:stop])

    def end() -> None:
        files.complete = True

    files.complete = False
    return MultipartParser(
        boundary,
        {
            "on_header_field": header_field,
            "on_header_value": header_value,
            "on_header_end": header_end,
            "on_headers_finished": headers_finished,
            "on_part_data": part_data,
            "on_end": end,
        },
    ).write


def _base(name: str) -> str:
    return printable(name.replace("\\", "/").rpartition("/")[2])[:NAME_LENGTH] or "sound"
