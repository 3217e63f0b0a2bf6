"""Receiving files: multipart or raw, onto disk under names of our own, within limits of size and
time.
"""

import asyncio
import contextlib
import errno
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from auricle.errors import printable
from auricle.serving.limits import Limits, RefusedError

ENOUGH = 1 << 16  # bytes that must come in `Limits.stall` seconds
FILES = 100  # in one request
NAME_LENGTH = 200


@dataclass(frozen=True)
class Upload:
    """A file that was received."""

    path: Path
    name: str  # what its sender calls it, fit to be printed: never a path to open


class Uploads:
    """The folder where files are received, and how many are at once.

    Args:
        folder: of ours alone.
        limits: of size, number and pace.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._receiving = 0

    @contextlib.asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[list[Upload]]:
        """The files of a request, which are gone afterwards.

        Raises:
            RefusedError: too much, too slow, too many at once, no file, or no multipart though it
                says so.
        """
        kind, options = parse_options_header(request.headers.get("content-type"))
        with contextlib.ExitStack() as stack:
            files = _Files(self._folder, stack)
            if kind == b"multipart/form-data":
                write = _multipart(files, options.get(b"boundary", b""))
            else:
                write = files.begin(_base(request.query_params.get("name", ""))).write
            if self._receiving >= self._limits.uploads:
                raise RefusedError(
                    429, f"{self._receiving} uploads are under way: try again soon", retry_after=5
                )
            self._receiving += 1
            try:
                await self._receive(request, write)
            finally:
                self._receiving -= 1
                files.close()
            if not files.complete:
                raise RefusedError(
                    400, "the form ends before its last part does: was it cut on its way?"
                )
            if not files.uploads:
                raise RefusedError(
                    400, "no file came: send it as the part `file` of a form, or as the body itself"
                )
            yield files.uploads

    async def _receive(self, request: Request, write: Callable[[bytes], object]) -> None:
        most = self._limits.upload
        too_large = RefusedError(
            413, f"larger than {most / (1 << 20):g} MB, which is the most that this server takes"
        )
        if int(request.headers.get("content-length", 0)) > most:
            raise too_large
        chunks, size = aiter(request.stream()), 0
        try:
            while True:
                async with asyncio.timeout(self._limits.stall):
                    wanted = size + ENOUGH
                    while size < wanted:
                        chunk = await anext(chunks)
                        size += len(chunk)
                        if size > most:
                            raise too_large
                        write(chunk)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RefusedError(
                408, f"nearly nothing came for {self._limits.stall:g} s: the upload was given up"
            ) from None
        except (MultipartParseError, FormParserError) as error:
            raise RefusedError(400, f"this is no multipart form: {error}") from None
        except ClientDisconnect:
            raise RefusedError(499, "the client went away") from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise RefusedError(507, "the server's disk is full") from None


class _Files:
    """Files as they are received."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.uploads: list[Upload] = []
        self.complete = True
        self._folder, self._stack = folder, stack
        self._open: BinaryIO | None = None

    def begin(self, name: str) -> BinaryIO:
        if len(self.uploads) == FILES:
            raise FormParserError(f"more than {FILES} files")
        self.close()
        number, path = tempfile.mkstemp(dir=self._folder)
        self._stack.callback(os.unlink, path)
        self._open = os.fdopen(number, "wb")
        self.uploads.append(Upload(Path(path), name))
        return self._open

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _multipart(files: _Files, boundary: bytes) -> Callable[[bytes], object]:
    """What parses a form of which each part is a file."""
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
