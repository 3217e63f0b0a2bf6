"""Splits chained Ogg files into their links.

A chained Ogg file, such as a recording of an Icecast station, consists of several complete Ogg
files. FFmpeg stops at a link of another rate or number of channels, so each link is opened
separately.
"""

from typing import Protocol

_HEADER_BYTES = 27  # of a page, before the lengths of its segments
_BEGINS_STREAM = 2  # the flag of a page that begins a logical stream


class Readable(Protocol):
    """A source of bytes."""

    def read(self, count: int, /) -> bytes:
        """Returns up to `count` bytes; none at the end."""
        ...


class OggLinks:
    """A file-like object that ends at the end of each link, and can continue with the next one."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._buffer = b""  # bytes of the file that are not yet part of a page
        self._page = b""  # the rest of the current page
        self._next_page = self._read_page()
        self._in_data = False  # whether the pages that begin this link's streams are over

    def next_link(self) -> bool:
        """Begins the next link; returns False at the end of the file."""
        self._page, self._next_page = self._next_page, b""
        self._in_data = False
        return bool(self._page)

    def read(self, count: int) -> bytes:
        """Returns up to `count` bytes of this link; none at its end."""
        if not self._page and not self._next_page:
            page = self._read_page()
            begins = len(page) > 5 and page[5] & _BEGINS_STREAM
            if begins and self._in_data:
                self._next_page = page
            else:
                self._page, self._in_data = page, self._in_data or not begins
        data, self._page = self._page[:count], self._page[count:]
        return data

    def _read_page(self) -> bytes:
        """Returns the next page, cut at the end of the file; drops bytes between pages."""
        while self._fill(4) and not self._buffer.startswith(b"OggS"):
            at = self._buffer.find(b"OggS")
            self._buffer = self._buffer[at if at >= 0 else -3 :]
            if at < 0 and not self._fill(4):
                break
        size = _HEADER_BYTES
        if self._fill(size):
            size += self._buffer[size - 1]
        if self._fill(size):
            size += sum(self._buffer[_HEADER_BYTES:size])
        self._fill(size)
        page, self._buffer = self._buffer[:size], self._buffer[size:]
        return page

    def _fill(self, size: int) -> bool:
        """Reads until the buffer holds `size` bytes; returns False if the file ends before."""
        while len(self._buffer) < size:
            data = self._file.read(1 << 16)
            if not data:
                return False
            self._buffer += data
        return True
