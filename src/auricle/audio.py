"""Any file, bytes or live stream that FFmpeg can decode -> mono float32 at the rate asked for, a second at a time.

    bytes -> demux, decode -> blocks of a second -> mean of the channels -> resampled chunks
    _Reader     _decode           _seconds               _to_mono            _resampled

Channels are averaged by us: FFmpeg's own mono mix makes stereo 3 dB too loud. They are averaged before
resampling, which then costs half, and in blocks of a second, since Python's price is by the call.
"""

import contextlib
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import IO, BinaryIO
from urllib.parse import urlsplit

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard

from auricle.errors import AudioError

Source = str | os.PathLike[str] | bytes | BinaryIO

MIN_RATE, MAX_RATE = 1_000, 768_000  # Hz
MAX_CHANNELS = 64

_EDGE = 1 << 16  # bytes kept from both ends of a source; an ogg page is never longer
_PLACEHOLDER = 0x7F00_0000  # a writer into a pipe cannot know its length: sox, arecord and ffmpeg claim this or more
# What an address on the network may lead to; "file" is not there.
_PROTOCOLS = "crypto,hls,http,https,httpproxy,rtmp,rtmps,rtmpt,rtp,srt,srtp,tcp,tls,udp"
_SHORTEST_GAP, _LONGEST_GAP = 0.05, 3600.0  # seconds between timestamps that are filled
_DAMAGED = 100  # packets in a row that do not decode: a stream that is lost
# Containers whose header states the duration. Elsewhere FFmpeg estimates it from the bit rate, often wrongly.
_STATES_DURATION = {"aiff", "au", "flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "tta", "wv"}


def stream_audio(
    source: Source,
    rate: int,
    *,
    name: str | None = None,
    max_duration: float | None = None,
    track: int | None = None,
    aligned: bool = False,
) -> Iterator[np.ndarray]:
    """Decode a sound as it is read; memory does not grow with its length.

    Args:
        source: path of a sound or of a video with sound, the file's bytes, or an open binary stream, seekable or not.
        rate: sampling rate wanted, in Hz.
        name: what errors call the source, if not its path.
        max_duration: seconds; a longer sound is refused, at once where its header says so.
        track: which of several audio tracks, counted from 1; the one that players choose if None.
        aligned: whether samples stand where a player plays them, with silence where a film begins without sound or lacks some.

    Yields:
        Chunks of about a second, (samples,) float32, the mean of the channels. Full scale is 1; none is empty.

    Raises:
        AudioError: the source cannot be opened, is no sound, has no samples, is damaged, ends too early or is too long.
            Where that shows only at the end, the chunks before it have been yielded.
    """
    longest = float("inf") if max_duration is None else max_duration
    try:
        _check_rate(rate, "asked for")
        with contextlib.ExitStack() as stack:
            reader = _Reader(_open_bytes(source, stack), stack)
            container, stream = _open_sound(reader, stack, track)
            _check_duration(_declared_seconds(container, stream), longest)
            frames = _decode(reader, container, stream)
            if aligned:
                frames = _aligned(frames, (container.start_time or 0) / av.time_base)
            frames = _seconds(frames)
            samples = 0
            for chunk in _resampled(((frame.sample_rate, _to_mono(_pcm(frame))) for frame in frames), rate):
                samples += len(chunk)
                _check_duration(samples / rate, longest)
                yield chunk
    except (AudioError, FFmpegError, OSError) as error:
        problem = error if isinstance(error, AudioError) else f"reading it failed ({error.strerror or error})"
        raise AudioError(f"{printable(name or _name(source))}: {problem}") from None


def declared_seconds(source: Source) -> float | None:
    """How long a file says it is, as far as its container knows; None for a stream and for what cannot be opened."""
    if not isinstance(source, str | os.PathLike | bytes):
        return None
    with contextlib.suppress(AudioError, OSError), contextlib.ExitStack() as stack:
        container, _ = _open_sound(_Reader(_open_bytes(source, stack), stack), stack)
        return container.duration / av.time_base if container.duration else None
    return None


def load_audio(source: Source, rate: int, *, name: str | None = None, max_seconds: float | None = None) -> np.ndarray:
    """Decode a whole sound, or its first `max_seconds`: the chunks of `stream_audio`, joined.

    Returns:
        (samples,) float32, mono.

    Raises:
        AudioError: as `stream_audio`. Damage beyond `max_seconds` may go unseen.
    """
    stop = None if max_seconds is None else max(1, round(max_seconds * rate))
    chunks, samples = [], 0
    for chunk in stream_audio(source, rate, name=name):
        chunks.append(chunk)
        samples += len(chunk)
        if stop is not None and samples >= stop:
            break
    return np.concatenate(chunks)[:stop]


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Bring an array to mono float32 at `to_rate`, exactly as a file that holds it would be.

    Args:
        samples: (samples,) or (channels, samples); floats with full scale 1, or uint8, int16 or int32 PCM.
        from_rate: its sampling rate, in Hz.
        to_rate: the sampling rate wanted, in Hz.

    Returns:
        (samples,) float32, the mean of the channels.

    Raises:
        AudioError: another shape or type, no samples, NaN or infinity, or a rate outside 1 kHz to 768 kHz.
    """
    try:
        _check_rate(from_rate, "given")
        _check_rate(to_rate, "asked for")
        channels = np.atleast_2d(samples)
        if channels.dtype.kind != "f" and channels.dtype not in (np.uint8, np.int16, np.int32):
            raise AudioError(f"of type {channels.dtype}; wanted floats with full scale 1, or uint8, int16 or int32 PCM")
        if channels.ndim > 2 or not channels.size or len(channels) > MAX_CHANNELS:
            raise AudioError(
                f"of shape {np.shape(samples)}; wanted (samples,) or (channels, samples), "
                f"not empty, with at most {MAX_CHANNELS} channels"
            )
        mono = _to_mono(channels)
        blocks = ((from_rate, mono[start : start + from_rate]) for start in range(0, len(mono), from_rate))
        return np.concatenate(list(_resampled(blocks, to_rate)))
    except AudioError as error:
        raise AudioError(f"array: {error}") from None


def resample_stream(blocks: Iterable[tuple[int, np.ndarray]], rate: int) -> Iterator[np.ndarray]:
    """Bring samples that arrive bit by bit to mono float32 at `rate`.

    Args:
        blocks: sampling rates, in Hz, and samples, (channels, samples), of the types that `resample` takes.
        rate: the sampling rate wanted, in Hz.

    Yields:
        (samples,) float32, the mean of the channels, as soon as there is something.

    Raises:
        AudioError: NaN or infinity, or no samples at all.
    """
    return _resampled(((from_rate, _to_mono(channels)) for from_rate, channels in blocks), rate)


def open_url(url: str, rate: int, *, timeout: float = 10.0) -> tuple[bool, Iterator[np.ndarray]]:
    """Open a sound that FFmpeg finds on the network: http, https, rtsp, rtmp, udp, Icecast, HLS.

    What the address leads to may name other addresses, as a playlist does, but no files.

    Args:
        url: whose password and query no error repeats.
        rate: sampling rate wanted, in Hz.
        timeout: seconds without data after which the stream is given up.

    Returns:
        Whether the sound has an end, and its chunks, (samples,) float32, the mean of the channels, as soon as they are there.

    Raises:
        AudioError: it cannot be opened or, as chunks are taken, is cut, or is a stream without end that ends.
    """
    _check_rate(rate, "asked for")
    options = {"protocol_whitelist": _PROTOCOLS, "rtsp_transport": "tcp"}
    try:
        container = av.open(url, "r", options=options, metadata_errors="replace", timeout=timeout)
    except (FFmpegError, OSError) as error:
        raise AudioError(f"{shown_url(url)}: cannot be opened ({error.strerror or error})") from None
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream) or stream.codec_context is None or not stream.rate:
        container.close()
        raise AudioError(f"{shown_url(url)}: has no audio stream ({container.format.name})")
    return container.duration is not None, _resampled_url(shown_url(url), container, stream, rate)


def _resampled_url(name: str, container: InputContainer, stream: AudioStream, rate: int) -> Iterator[np.ndarray]:
    def blocks() -> Iterator[tuple[int, np.ndarray]]:
        damaged, seconds = 0, 0.0
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
                damaged = 0
            except FFmpegError:
                damaged += 1
                if damaged > _DAMAGED:
                    raise AudioError(f"has {damaged} packets in a row that do not decode") from None
                continue
            for frame in frames:
                _check_rate(frame.sample_rate, "in the stream")
                seconds += frame.samples / frame.sample_rate
                yield frame.sample_rate, _to_mono(_pcm(frame))
        # FFmpeg takes a connection that is closed for the end.
        if container.duration is None or seconds < 0.9 * container.duration / av.time_base - 1:
            raise AudioError("has ended")

    with container:
        try:
            yield from _resampled(blocks(), rate)
        except (AudioError, FFmpegError, OSError) as error:
            problem = error if isinstance(error, AudioError) else f"was lost ({error.strerror or error})"
            raise AudioError(f"{name}: {problem}") from None


def shown_url(url: str) -> str:
    """An address as it may be printed: without user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return printable(f"{parts.scheme}://{host}{parts.path}")


class _Reader:
    """The bytes of a source as FFmpeg gets them: without a name to interpret, and with both ends remembered.

    FFmpeg forgives a file that ends early; `head`, `tail` and `size` let us tell. A pipe keeps what opening consumed,
    so that it can be opened twice, and a piped mp4 goes to a temporary file first: its index may stand at the end.
    """

    def __init__(self, file: BinaryIO, stack: contextlib.ExitStack) -> None:
        self._file: IO[bytes] = file
        self._at, self._opening = 0, True
        # read1 gives what a live pipe has; read would wait until a buffer is full.
        self._read = getattr(file, "read1", file.read)
        self._seekable = bool(getattr(file, "seekable", lambda: False)())
        self.head, self.tail, self.size = b"", b"", 0
        if not self._seekable:
            while self.size < 8 and self.read(8 - self.size):
                pass
            if self.head[4:] != b"ftyp":
                self.rewind()
                return
            self._file = stack.enter_context(tempfile.SpooledTemporaryFile(1 << 24))  # noqa: SIM115
            self._file.write(self.head)
            shutil.copyfileobj(file, self._file)
            self._read, self._seekable = self._file.read, True
        self.size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, self.size - _EDGE))
        self.tail = self._file.read(_EDGE)
        self._file.seek(0)
        self.head = self._file.read(_EDGE)

    def read(self, count: int) -> bytes:
        if self._seekable:
            return self._read(count)
        data = self.head[self._at : self._at + count]
        if not data:
            data = self._read(count) or b""
            self.size += len(data)
            self.tail = (self.tail + data)[-_EDGE:]
            if self._opening:
                self.head += data
        self._at += len(data)
        return data

    def seekable(self) -> bool:
        return self._seekable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1  # a damaged index points before the beginning: an error to FFmpeg, where PyAV would print ours

    def tell(self) -> int:
        return self._file.tell()

    def rewind(self) -> None:
        self._at = 0
        if self._seekable:
            self._file.seek(0)

    def opened(self) -> None:
        self._opening = False

    def missing(self, container: str) -> int:
        """Bytes promised but not there, as far as wav, mp3 and ogg tell; small slips are forgiven."""
        head, tail = self.head, self.tail
        if container == "wav":
            at = 12  # after "RIFF", length, "WAVE" comes one chunk after another
            while at + 8 <= len(head) and head[:4] == b"RIFF":
                kind, length = struct.unpack_from("<4sI", head, at)
                if kind == b"data":
                    missing = at + 8 + length - self.size
                    return missing if length < _PLACEHOLDER and missing > 64 else 0
                at += 8 + length + length % 2
        elif container == "mp3":
            at = max(head.find(b"Xing"), head.find(b"Info"))  # in the first frame of most encoders
            if 36 <= at <= len(head) - 16:
                flags, *counts = struct.unpack_from(">3I", head, at + 4)  # frames, if bit 0; bytes, if bit 1
                length = counts[flags & 1]
                missing = at - 36 + length - self.size
                return missing if flags < 16 and flags & 2 and missing > max(1 << 14, length // 20) else 0
        elif container == "ogg":
            at = tail.rfind(b"OggS")  # the last page: 27 bytes, the lengths of its segments, the segments
            if at >= 0:
                segments = int.from_bytes(tail[at + 26 : at + 27])
                return max(0, at + 27 + segments + sum(tail[at + 27 : at + 27 + segments]) - len(tail))
        return 0


def _open_bytes(source: Source, stack: contextlib.ExitStack) -> BinaryIO:
    if isinstance(source, bytes):
        return BytesIO(source)
    if not isinstance(source, str | os.PathLike):
        return source
    try:
        # Opened by us: given a path, FFmpeg would take "http://..." or "concat:..." at their word.
        return stack.enter_context(open(source, "rb"))
    except FileNotFoundError:
        raise AudioError("no such file; check the path") from None
    except IsADirectoryError:
        raise AudioError("a directory; wanted a sound file") from None
    except ValueError:
        raise AudioError("no path holds a null character; check the path") from None


def _open_sound(
    reader: _Reader, stack: contextlib.ExitStack, track: int | None = None
) -> tuple[InputContainer, AudioStream]:
    """Find the demuxer and the audio stream, from the first 32 KB if they suffice: a wav then opens in 2 ms, not 35."""
    problem = (
        "is damaged or no sound; wanted wav, flac, mp3, ogg, m4a or another that FFmpeg reads, or a video with sound"
    )
    for probe in ({"probesize": "32768"}, {}):
        reader.rewind()
        try:
            # No protocol is allowed: a playlist must not make us read other files or the network.
            options = {"protocol_whitelist": "none", **probe}
            container = stack.enter_context(av.open(reader, "r", options=options, metadata_errors="replace"))
        except FFmpegError:
            continue
        tracks = container.streams.audio
        if track is not None and tracks and not 1 <= track <= len(tracks):
            problem = f"has {len(tracks)} audio tracks ({_listed(tracks)}); track {track} was asked for"
            continue
        stream = container.streams.best("audio") if track is None or not tracks else tracks[track - 1]
        if isinstance(stream, AudioStream) and stream.codec_context is not None and stream.rate:
            break
        problem = f"has no audio stream ({container.format.name}); wanted a sound, or a video with sound"
    else:
        raise AudioError(problem if reader.size else "is empty (0 bytes); wanted a sound")
    reader.opened()
    stream.codec_context.thread_count = 1
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    return container, stream


def _listed(tracks: Iterable[AudioStream]) -> str:
    """Audio tracks as people tell them apart."""
    names = (" ".join(filter(None, (t.metadata.get("language"), t.metadata.get("title")))) for t in tracks)
    return printable(", ".join(f"{number}: {name or 'unnamed'}" for number, name in enumerate(names, 1)))


def _aligned(frames: Iterable[av.AudioFrame], start: float) -> Iterator[av.AudioFrame]:
    """The same sound with silence where timestamps, in seconds, leave a gap, from `start` on; jumps of hours are no gaps."""
    now = start
    for frame in frames:
        missing = (frame.time or now) - now
        if missing > _LONGEST_GAP:
            now, missing = now + missing, 0.0
        while missing > _SHORTEST_GAP:
            samples = min(round(missing * frame.sample_rate), frame.sample_rate)
            silent = av.AudioFrame(frame.format.name, frame.layout.name, samples)
            silent.sample_rate = frame.sample_rate
            for plane in silent.planes:
                plane.update((b"\x80" if frame.format.bytes == 1 else b"\0") * plane.buffer_size)
            yield silent
            now += samples / frame.sample_rate
            missing -= samples / frame.sample_rate
        yield frame
        now += frame.samples / frame.sample_rate


def _decode(reader: _Reader, container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """Decode frame by frame. A damaged packet is passed over, as players do; many, or a lost end, are an error."""
    kind = container.format.name
    if reader.seekable():
        _check_whole(reader.missing(kind))
    packets = lost = samples = 0
    end, ends_lost = 0.0, False
    demuxer = container.demux(stream)
    while True:
        try:
            packet = next(demuxer, None)  # after an error of its own, the demuxer is at its end
            if packet is None:
                break
            packets += 1
            frames = packet.decode()
            ends_lost = ends_lost and not packet.size  # the last packet is an empty one, which flushes the decoder
        except FFmpegError:
            lost, ends_lost = lost + 1, True
            continue
        for frame in frames:
            _check_rate(frame.sample_rate, "in the file")
            seconds = frame.samples / frame.sample_rate
            samples += frame.samples
            end = max(end + seconds, (frame.time or 0) + seconds)  # a gap in the timestamps is no loss
            yield frame

    _check_whole(reader.missing(kind))
    if not samples:
        raise AudioError("has no samples that decode; wanted a sound")
    declared = _declared_seconds(container, stream)
    if end < declared - (0.1 if ends_lost else max(1, declared / 20)):
        raise AudioError(f"is truncated: {end:.1f} of {declared:.1f} s decode; copy or download it again")
    if lost > max(1, packets // 20):
        raise AudioError(f"is damaged: {lost} of {packets} packets do not decode; copy or download it again")


def _declared_seconds(container: InputContainer, stream: AudioStream) -> float:
    """The duration that the header states for the audio, or 0 where it does not or could not know."""
    if container.format.name not in _STATES_DURATION:
        seconds = 0.0
    elif stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif tag := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", "")):  # matroska's
        seconds = int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    elif container.duration and len(container.streams) == 1:  # pictures may last longer than the sound
        seconds = container.duration / av.time_base
    else:
        seconds = 0.0
    return seconds if seconds * (stream.codec_context.bit_rate or 0) / 8 < _PLACEHOLDER else 0.0


def _seconds(frames: Iterable[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """The same sound in frames of one second, and the shorter rests before the rate or format changes."""
    fifo, shape = av.AudioFifo(), None
    for frame in frames:
        now = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
        if now != shape:
            yield from fifo.read_many(MAX_RATE, partial=True)
            if frame.layout.nb_channels > MAX_CHANNELS:
                raise AudioError(f"has {frame.layout.nb_channels} channels; wanted at most {MAX_CHANNELS}")
            fifo, shape = av.AudioFifo(), now
        frame.pts = None  # else the fifo insists on timestamps without gaps
        fifo.write(frame)
        yield from fifo.read_many(frame.sample_rate)
    yield from fifo.read_many(MAX_RATE, partial=True)


def _pcm(frame: av.AudioFrame) -> np.ndarray:
    """View a frame as (channels, samples), in the type it was decoded to."""
    if frame.format.name.startswith("s64"):  # which PyAV does not view
        raise AudioError("has samples of 64-bit integers; convert it to 16, 24 or 32 bits")
    samples = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels).T


def _to_mono(channels: np.ndarray) -> np.ndarray:
    """(channels, samples) of any PCM type -> their mean, (samples,) float32 with full scale 1."""
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as not finite
        mono = np.add.reduce(channels, axis=0, dtype=np.float32) / np.float32(len(channels))
        if channels.dtype == np.uint8:
            return (mono - 128) / 128
        return mono / np.float32(2.0 ** (8 * channels.itemsize - 1)) if channels.dtype.kind == "i" else mono


def _resampled(blocks: Iterable[tuple[int, np.ndarray]], rate: int) -> Iterator[np.ndarray]:
    """(rate, mono samples) by and by -> the same sound at one rate; it equals that of the whole at once."""

    def run(frame: av.AudioFrame | None) -> Iterator[np.ndarray]:
        nonlocal heard
        for resampled in resampler.resample(frame):
            if resampled is not None and resampled.samples:  # where the rates agree, None comes back for None
                chunk = resampled.to_ndarray()[0]
                if not np.isfinite(chunk).all():
                    raise AudioError("has samples that are NaN or infinite; wanted finite ones")
                heard = True
                yield chunk

    heard, current = False, 0
    resampler = av.AudioResampler("fltp", "mono", rate)
    for from_rate, mono in blocks:
        if current not in (0, from_rate):
            yield from run(None)
            resampler = av.AudioResampler("fltp", "mono", rate)
        current = from_rate
        frame = av.AudioFrame.from_ndarray(mono[np.newaxis], "fltp", "mono")
        frame.sample_rate = from_rate
        yield from run(frame)
    yield from run(None)  # the filter's tail
    if not heard:
        raise AudioError("is too short; wanted a few milliseconds at least")


def _check_rate(rate: int, which: str) -> None:
    if not isinstance(rate, int | np.integer) or not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"the sampling rate {which} is {rate} Hz; wanted a whole number from {MIN_RATE} to {MAX_RATE}")


def _check_duration(seconds: float, longest: float) -> None:
    if seconds > longest:
        raise AudioError(f"is longer than the {longest:g} s that are allowed")


def _check_whole(missing: int) -> None:
    if missing:
        raise AudioError(f"is truncated: its last {missing} bytes are missing; copy or download it again")


def _name(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, bytes):
        return "bytes"
    name = getattr(source, "name", "stream")
    return "standard input" if name in ("<stdin>", 0) else str(name)


def printable(name: str) -> str:
    """A name fit for one line of a terminal, whatever the file is called."""
    return "".join(character if character.isprintable() else "?" for character in name)
