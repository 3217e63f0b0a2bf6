"""Adds cues to a film as a track that players can show; pictures and sound are copied as they are.

film ── packets ───────────────┐
                               ├── by time ──> film with one more track
cues ── a packet each ─────────┘
"""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream

from auricle.errors import AudioError, AuricleError
from auricle.output.formats import without_markup
from auricle.sound.container import Reader, open_bytes, start_seconds
from auricle.subtitles.cues import Cue

# The codec of text in each container that can hold it.
CODECS = {
    ".mkv": "subrip",
    ".mp4": "mov_text",
    ".m4v": "mov_text",
    ".mov": "mov_text",
    ".webm": "webvtt",
}
_CONTAINERS = {".mkv": "matroska", ".m4v": "mp4"}  # where the ending is not FFmpeg's name
_COPIED = ("video", "audio", "subtitle")  # kinds of streams; others mean nothing to players
_TICK = Fraction(1, 1000)


def container_of(name: str | Path) -> str:
    """Return the ending of a file's name if its container can hold a track of text.

    Raises:
        AuricleError: it cannot.
    """
    ending = Path(name).suffix.lower()
    if ending not in CODECS:
        raise AuricleError(
            f"{name}: a film named so cannot hold captions; use {', '.join(sorted(CODECS))}"
        )
    return ending


def add_track(
    film: str | Path | BinaryIO,
    cues: Iterable[Cue],
    output: Path | BinaryIO,
    ending: str,
) -> None:
    """Write a copy of a film with a track of cues.

    Args:
        film: path, or an open binary file that can seek.
        cues: sorted by their start; times count from the film's beginning.
        output: the file to write: path, or an open binary file that can seek.
        ending: the container, a key of `CODECS`.

    Raises:
        AudioError: the film cannot be read.
        AuricleError: the container cannot hold a stream of the film.
    """
    with contextlib.ExitStack() as stack:
        reader = Reader(open_bytes(film, stack), stack)
        try:
            # No protocol is allowed: a playlist must not make us read other files.
            options = {"protocol_whitelist": "none"}
            source = stack.enter_context(
                av.open(reader, "r", options=options, metadata_errors="replace")
            )
        except FFmpegError:
            raise AudioError("is damaged or no film") from None
        form = _CONTAINERS.get(ending, ending.removeprefix("."))
        try:
            target = str(output) if isinstance(output, Path) else output
            with av.open(target, "w", format=form) as copy:
                _copy(source, copy, deque(cues), CODECS[ending])
        except (FFmpegError, ValueError) as error:
            raise AuricleError(
                f"a {ending} file cannot hold this film as it is ({error}); try .mkv"
            ) from None


def _copy(
    source: InputContainer,
    copy: OutputContainer,
    cues: deque[Cue],
    codec: str,
) -> None:
    """Copy all packets, and put each cue before the first packet that is later."""
    copies = {stream.index: _like(stream, copy) for stream in source.streams if _kept(stream)}
    track = copy.add_mux_stream(codec, time_base=_TICK)
    track.metadata.update({"language": "eng", "title": "Sounds"})
    if source.metadata:
        copy.metadata.update(source.metadata)
    beginning = start_seconds(source)
    for packet in source.demux([source.streams[index] for index in copies]):
        if packet.dts is None or packet.time_base is None:  # the end of a stream
            continue
        now = float(packet.dts * packet.time_base)
        while cues and cues[0].start + beginning <= now:
            copy.mux(_packet(cues.popleft(), track, codec, beginning))
        packet.stream = copies[packet.stream.index]
        copy.mux(packet)
    for cue in cues:
        copy.mux(_packet(cue, track, codec, beginning))


def _kept(stream: Stream) -> bool:
    """Return whether a stream is copied: covers and streams of data are not."""
    return stream.type in _COPIED and not stream.disposition & Disposition.attached_pic


def _like(stream: Stream, copy: OutputContainer) -> Stream:
    """Add a stream with the same codec, names and role."""
    added = copy.add_stream_from_template(stream)
    added.metadata.update(stream.metadata)
    added.disposition = stream.disposition
    return added


def _packet(cue: Cue, track: Stream, codec: str, beginning: float) -> Packet:
    form = "vtt" if codec == "webvtt" else "srt"
    text = without_markup(cue.text, form).encode()
    # In MP4 the length of a text stands before it.
    packet = Packet(len(text).to_bytes(2, "big") + text if codec == "mov_text" else text)
    packet.stream = track
    packet.time_base = _TICK
    packet.pts = packet.dts = round((cue.start + beginning) * 1000)
    packet.duration = max(1, round((cue.end - cue.start) * 1000))
    return packet


def sorted_cues(cues: Iterable[Cue]) -> Iterator[Cue]:
    """Yield cues with text by their start, each ending before the next one begins.

    Players of MP4 show one text at a time.
    """
    shown = sorted((c for c in cues if c.text.strip() and c.end > c.start), key=lambda c: c.start)
    for cue, following in zip(shown, [*shown[1:], None], strict=True):
        end = cue.end if following is None else min(cue.end, following.start)
        if end > cue.start:
            yield Cue(cue.start, end, cue.text)
