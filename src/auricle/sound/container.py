"""Opens files, bytes and streams, and checks that they are whole."""

import contextlib
import os
import shutil
import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import IO, BinaryIO, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard, Disposition

from auricle.errors import AudioError, printable
from auricle.sound.missing import PLACEHOLDER, missing_bytes
from auricle.sound.ogg import OggLinks

Source = str | os.PathLike[str] | bytes | BinaryIO

_EDGE_BYTES = 1 << 16  # kept from both ends of a source; an Ogg page is never longer
# First atoms of QuickTime and MP4 files. Old QuickTime files have no "ftyp".
_MOV_ATOMS = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
# Byte offsets in a WAV whose first chunk is an extensible "fmt ".
_VALID_BITS_AT, _FMT_END = 38, 60
_WEB_PAGES = (b"<!doctype html", b"<html", b"<head")
MOV = "mov,mp4,m4a,3gp,3g2,mj2"  # FFmpeg's name of QuickTime and MP4 files
# Containers whose header states the duration. For others FFmpeg estimates it, often wrongly.
_STATES_DURATION = {
    "aiff",
    "au",
    "flac",
    "matroska,webm",
    MOV,
    "tta",
    "w64",
    "wav",
    "wv",
}


def declared_seconds(source: Source) -> float | None:
    """Returns the duration that a file's header states, in seconds; None if it states none.

    Returns None for streams and pipes too, because they can be read only once.
    """
    if not isinstance(source, bytes) and not (
        isinstance(source, str | os.PathLike) and os.path.isfile(source)
    ):
        return None
    with contextlib.suppress(AudioError, OSError), contextlib.ExitStack() as stack:
        container, _ = open_sound(Reader(open_bytes(source, stack), stack), stack)
        return container.duration / av.time_base if container.duration else None
    return None


class Reader:
    """Gives FFmpeg the bytes of a source without its name, and remembers both ends.

    `head`, `tail` and `size` reveal a file that ends early. For a pipe, the reader keeps the bytes
    that opening consumed, so that it can be opened twice. A piped MP4 is first copied to a
    temporary file, because its index may be at the end.
    """

    def __init__(self, file: BinaryIO, stack: contextlib.ExitStack) -> None:
        self._file: IO[bytes] = file
        self._at, self._opening = 0, True
        self._valid_bits = b""  # replaces a WAV's field of valid bits if FFmpeg would misread it
        # read1 returns the bytes that a live pipe has; read would wait for a full buffer.
        self._read = getattr(file, "read1", file.read)
        self._seekable = bool(getattr(file, "seekable", lambda: False)())
        self.head, self.tail, self.size = b"", b"", 0
        if not self._seekable:
            while self.size < 8 and self.read(8 - self.size):
                pass
            if self.head[4:] not in _MOV_ATOMS:
                while self.size < _FMT_END and (
                    self.head[:4] == b"RIFF" or _without_blanks(self.head).startswith(b"<")
                ):
                    if not self.read(_FMT_END - self.size):
                        break
                self._valid_bits = _padded_bits(self.head)
                self.rewind()
                return
            self._file = stack.enter_context(tempfile.SpooledTemporaryFile(1 << 24))  # noqa: SIM115
            self._file.write(self.head)
            shutil.copyfileobj(file, self._file)
            self._read, self._seekable = self._file.read, True
        self.size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, self.size - _EDGE_BYTES))
        self.tail = self._file.read(_EDGE_BYTES)
        self._file.seek(0)
        self.head = self._file.read(_EDGE_BYTES)
        self._valid_bits = _padded_bits(self.head)
        self._file.seek(0)

    def read(self, count: int) -> bytes:
        """Returns up to `count` bytes; none at the end."""
        if self._seekable:
            at = self._file.tell() if self._valid_bits else 0
            return self._corrected(at, self._read(count))
        data = self.head[self._at : self._at + count]
        if not data:
            data = self._read(count) or b""
            self.size += len(data)
            self.tail = (self.tail + data)[-_EDGE_BYTES:]
            if self._opening:
                self.head += data
        self._at += len(data)
        return self._corrected(self._at - len(data), data)

    def _corrected(self, at: int, data: bytes) -> bytes:
        """Returns the bytes at offset `at`, with the WAV field of valid bits corrected."""
        if not self._valid_bits or not at < _VALID_BITS_AT + 2 <= at + len(data) + 1:
            return data
        corrected = bytearray(data)
        for place, byte in enumerate(self._valid_bits, _VALID_BITS_AT - at):
            if 0 <= place < len(data):
                corrected[place] = byte
        return bytes(corrected)

    def seekable(self) -> bool:
        """Returns whether FFmpeg may seek."""
        return self._seekable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Seeks like `io.IOBase.seek`; returns -1 if that is impossible."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            # A damaged index points before the beginning. PyAV would print an exception.
            return -1

    def tell(self) -> int:
        """Returns the position, in bytes."""
        return self._file.tell()

    def rewind(self) -> None:
        """Goes back to the start, for another attempt to open the source."""
        self._at = 0
        if self._seekable:
            self._file.seek(0)

    def opened(self) -> None:
        """Stops keeping the bytes that are read; called when opening has succeeded."""
        self._opening = False

    def missing(self, container: str, last_packet: bytes) -> int:
        """Returns the number of bytes that the source lacks; see `missing_bytes`."""
        return missing_bytes(container, self.head, self.tail, self.size, last_packet)


def _padded_bits(head: bytes) -> bytes:
    """Returns the correct field of valid bits for a WAV with padded samples, else no bytes.

    FFmpeg reads 24 valid bits in 32 as floats, and 20 in 32 as samples of three bytes.
    """
    if head[:4] != b"RIFF" or head[8:16] != b"WAVEfmt " or len(head) < _FMT_END:
        return b""
    kind, bits = struct.unpack_from("<H12xH", head, 20)
    valid, subformat = struct.unpack_from("<H4xH", head, _VALID_BITS_AT)
    padded = kind == 0xFFFE and subformat == 1 and 0 < valid < bits
    return struct.pack("<H", bits) if padded else b""


def readers(file: BinaryIO, stack: contextlib.ExitStack) -> Iterator[Reader]:
    """Yields a reader for each link of a chained Ogg file, and one for any other file."""
    reader = Reader(file, stack)
    if not reader.head.startswith(b"OggS"):
        yield reader
        return
    reader.opened()
    links = OggLinks(reader)
    while links.next_link():
        yield Reader(cast(BinaryIO, links), stack)


def open_bytes(source: Source, stack: contextlib.ExitStack) -> BinaryIO:
    """Opens a source as a binary stream; `stack` closes what this opened."""
    if isinstance(source, bytes):
        return BytesIO(source)
    if not isinstance(source, str | os.PathLike):
        return source
    try:
        # Opens the file here, because FFmpeg would interpret a path such as "concat:...".
        return stack.enter_context(open(source, "rb"))
    except FileNotFoundError:
        if os.path.islink(source):
            raise AudioError("a broken link; its target does not exist") from None
        raise AudioError("no such file; check the path") from None
    except IsADirectoryError:
        raise AudioError("a directory; expected a sound file") from None
    except ValueError:
        raise AudioError("no path holds a null character; check the path") from None


def open_sound(
    reader: Reader, stack: contextlib.ExitStack, track: int | None = None
) -> tuple[InputContainer, AudioStream]:
    """Finds the demuxer and the audio stream.

    Tries the first 32 KB first: a WAV then opens in 2 ms instead of 35.

    Args:
        reader: the source.
        stack: closes the container.
        track: the number of the audio track, counted from 1; the default track if None.

    Raises:
        AudioError: the source is damaged, no sound, or has no such track.
    """
    problem = (
        "is damaged or not a sound; expected wav, flac, mp3, ogg, m4a or another format that "
        "FFmpeg reads, or a film with sound"
    )
    if _without_blanks(reader.head)[:14].lower().startswith(_WEB_PAGES):
        # FFmpeg reads some web pages as AMR.
        raise AudioError("is a web page; download the sound to which it links")
    for probe in ({"probesize": "32768"}, {}):
        reader.rewind()
        try:
            # Allows no protocol, so that a playlist cannot lead to other files or the network.
            options = {"protocol_whitelist": "none", **probe}
            container = stack.enter_context(
                av.open(reader, "r", options=options, metadata_errors="replace")
            )
        except FFmpegError:
            continue
        tracks = container.streams.audio
        if track is not None and tracks and not 1 <= track <= len(tracks):
            problem = f"has no audio track {track}; it has {len(tracks)} ({_listed(tracks)})"
            continue
        stream = default_track(tracks) if track is None or not tracks else tracks[track - 1]
        if isinstance(stream, AudioStream) and stream.codec_context is not None and stream.rate:
            break
        problem = (
            f"has no audio stream ({kind_of(container)}); expected a sound or a film with sound"
        )
    else:
        raise AudioError(problem if reader.size else "is empty (0 bytes); expected a sound")
    reader.opened()
    stream.codec_context.thread_count = 1
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    return container, stream


def kind_of(container: InputContainer) -> str:
    """Returns the name of a container's format, for messages."""
    return container.format.long_name.removeprefix("raw ")


def _without_blanks(head: bytes) -> bytes:
    """Returns the first bytes of a text, without its byte-order mark and leading blanks."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def default_track(tracks: Sequence[AudioStream]) -> AudioStream | None:
    """Returns the track that players choose.

    This is the first track that is marked as the default. Without marks, as in MPEG-TS, it is the
    first track. Tracks for people with impaired sight or hearing come last.
    """
    impaired = Disposition.hearing_impaired | Disposition.visual_impaired

    def rank(track: AudioStream) -> tuple[bool, bool, bool]:
        usable = track.codec_context is not None and bool(track.rate)
        marks = track.disposition
        return not usable, bool(marks & impaired), not marks & Disposition.default

    return min(tracks, key=rank, default=None)


def _listed(tracks: Iterable[AudioStream]) -> str:
    """Lists audio tracks with number, language and title, for messages."""
    names = (
        " ".join(filter(None, (t.metadata.get("language"), t.metadata.get("title"))))
        for t in tracks
    )
    return printable(
        ", ".join(f"{number}: {name or 'unnamed'}" for number, name in enumerate(names, 1))
    )


def demuxed(container: InputContainer, stream: AudioStream) -> Iterator[av.Packet]:
    """Yields the packets of a stream, and an empty one at its end.

    In a damaged MPEG-TS, streams may appear after opening. PyAV then fails after the last packet.
    """
    with contextlib.suppress(IndexError):
        yield from container.demux(stream)


def start_seconds(container: InputContainer) -> float:
    """Returns the timestamp at which a player starts a file, in seconds."""
    return (container.start_time or 0) / av.time_base


def header_seconds(container: InputContainer, stream: AudioStream) -> float:
    """Returns the duration of the audio that the header states, in seconds; 0 if it states none."""
    if container.format.name not in _STATES_DURATION:
        seconds = 0.0
    elif stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    # With other streams, the container may last longer than its sound.
    elif container.duration and len(container.streams) == 1:
        seconds = container.duration / av.time_base
    else:
        seconds = 0.0
    return seconds if seconds * (stream.codec_context.bit_rate or 0) / 8 < PLACEHOLDER else 0.0


def source_name(source: Source) -> str:
    """Returns the name of a source for messages."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, bytes):
        return "bytes"
    name = getattr(source, "name", "stream")
    return "standard input" if name in ("<stdin>", 0) else str(name)
