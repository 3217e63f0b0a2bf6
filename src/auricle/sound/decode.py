"""Decodes any file, bytes or stream that FFmpeg reads to mono float32, a second at a time.

    bytes -> demux, decode -> blocks of a second -> mean of the channels -> resampled chunks
    Reader     _decode           _seconds               to_mono            resample_blocks

This module averages the channels itself, because FFmpeg's mono mix makes stereo 3 dB too loud.
Averaging comes before resampling, which halves the cost of resampling. Blocks of a second keep the
number of Python calls low.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError

from auricle.errors import AudioError, TooLongError, printable
from auricle.sound.container import (
    MOV,
    Reader,
    Source,
    demuxed,
    header_seconds,
    open_bytes,
    open_sound,
    readers,
    source_name,
    start_seconds,
)
from auricle.sound.resample import (
    MAX_CHANNELS,
    MAX_RATE,
    check_rate,
    frame_samples,
    resample_blocks,
    to_mono,
)

_MOST_DEMUXER_ERRORS = 100  # after this number of errors in a row, decoding gives up
# Gaps between timestamps of this length are filled with silence.
_SHORTEST_GAP_SECONDS, _LONGEST_GAP_SECONDS = 0.05, 3600.0


@dataclass(frozen=True)
class DecodedSound:
    """A sound that is decoded while its chunks are read."""

    start: float  # seconds from the beginning of the file to the first sample
    # About a second each, (samples,) float32, the mean of the channels; never empty. Reading them
    # may raise the errors of `open_audio`.
    chunks: Iterator[np.ndarray]


def open_audio(
    source: Source,
    rate: int,
    *,
    name: str | None = None,
    max_duration: float | None = None,
    track: int | None = None,
) -> DecodedSound:
    """Opens a sound; decodes it while its chunks are read, in constant memory.

    All times follow one clock, which starts where a player starts the file. A film's sound may
    begin later than its pictures. Silence fills gaps in the timestamps.

    Args:
        source: path of a sound or of a video with sound, the file's bytes, or an open binary
            stream, seekable or not.
        rate: sampling rate of the chunks, in Hz.
        name: the name of the source in errors, if not its path.
        max_duration: the longest accepted sound, in seconds. If the header states a longer
            duration, the error is raised at once.
        track: the number of the audio track, counted from 1; the track that players choose if None.

    Raises:
        AudioError: the source cannot be opened, is not a sound, has no samples, is damaged, ends
            too early or is too long. A problem at the end of the sound is raised after the chunks
            before it.
    """
    longest = float("inf") if max_duration is None else max_duration
    shown = printable(name or source_name(source))
    with _named_errors(shown):
        check_rate(rate, "asked for")
        start, frames = begun(_timed_frames(source, track, longest))
    return DecodedSound(start, _resampled(frames, rate, longest, shown))


def stream_audio(
    source: Source,
    rate: int,
    *,
    name: str | None = None,
    max_duration: float | None = None,
    track: int | None = None,
    aligned: bool = False,
) -> Iterator[np.ndarray]:
    """Decodes a sound while it is read; yields the chunks of `open_audio`.

    Args:
        source: as for `open_audio`.
        rate: sampling rate of the chunks, in Hz.
        name: the name of the source in errors, if not its path.
        max_duration: the longest accepted sound, in seconds.
        track: the number of the audio track, counted from 1.
        aligned: whether silence fills the time before a sound that begins late, so that sample n
            is n / rate seconds after the beginning of the file.

    Yields:
        (samples,) float32, the mean of the channels. Full scale is 1. No chunk is empty.

    Raises:
        AudioError: as `open_audio`.
    """
    sound = open_audio(source, rate, name=name, max_duration=max_duration, track=track)
    if aligned:
        yield from silence_before(sound.start, rate)
    yield from sound.chunks


def silence_before(start: float, rate: int) -> Iterator[np.ndarray]:
    """Yields `start` seconds of silence at `rate` Hz, in chunks of at most a second."""
    left = round(start * rate)
    while left > 0:
        yield np.zeros(min(left, rate), np.float32)
        left -= rate


def load_audio(
    source: Source, rate: int, *, name: str | None = None, max_seconds: float | None = None
) -> np.ndarray:
    """Decodes a whole sound, or its first `max_seconds`; joins the chunks of `stream_audio`.

    Returns:
        (samples,) float32, mono.

    Raises:
        AudioError: as `stream_audio`. Damage after `max_seconds` may stay unnoticed.
    """
    stop = None if max_seconds is None else max(1, round(max_seconds * rate))
    chunks, samples = [], 0
    for chunk in stream_audio(source, rate, name=name):
        chunks.append(chunk)
        samples += len(chunk)
        if stop is not None and samples >= stop:
            break
    return np.concatenate(chunks)[:stop]


def _timed_frames(
    source: Source, track: int | None, longest: float
) -> Iterator[tuple[float, av.AudioFrame]]:
    """Yields the frames of a file; reads a chained Ogg file link by link."""
    with contextlib.ExitStack() as stack:
        for reader in readers(open_bytes(source, stack), stack):
            container, stream = open_sound(reader, stack, track)
            _check_duration(header_seconds(container, stream), longest)
            frames = _decode(reader, container, stream)
            yield from without_gaps(frames, start_seconds(container))


def without_gaps(
    frames: Iterable[av.AudioFrame], zero: float
) -> Iterator[tuple[float, av.AudioFrame]]:
    """Yields times and frames, with silent frames in the gaps of the timestamps.

    Jumps of hours are not gaps.

    Args:
        frames: of one stream.
        zero: the timestamp, in seconds, at which a player starts the file.

    Yields:
        Seconds after `zero`, and the frame.
    """
    now: float | None = None
    for frame in frames:
        time = None if frame.time is None else frame.time - zero
        if now is None:  # the time before the first frame is not a gap
            now = (
                time
                if time is not None and _SHORTEST_GAP_SECONDS < time <= _LONGEST_GAP_SECONDS
                else 0.0
            )
        missing = 0.0 if time is None else time - now
        if missing > _LONGEST_GAP_SECONDS:
            now, missing = now + missing, 0.0
        while missing > _SHORTEST_GAP_SECONDS:
            samples = min(round(missing * frame.sample_rate), frame.sample_rate)
            yield now, _silent_frame(frame, samples)
            now += samples / frame.sample_rate
            missing -= samples / frame.sample_rate
        yield now, frame
        now += frame.samples / frame.sample_rate


def begun(
    timed_frames: Iterator[tuple[float, av.AudioFrame]],
) -> tuple[float, Iterator[av.AudioFrame]]:
    """Returns the time of the first frame, in seconds, and all frames.

    Raises:
        AudioError: there are no frames.
    """
    for start, first in timed_frames:
        return start, itertools.chain([first], (frame for _, frame in timed_frames))
    raise AudioError("has no samples that decode; expected a sound")


def _silent_frame(like: av.AudioFrame, samples: int) -> av.AudioFrame:
    frame = av.AudioFrame(like.format.name, like.layout.name, samples)
    frame.sample_rate = like.sample_rate
    for plane in frame.planes:
        plane.update((b"\x80" if like.format.bytes == 1 else b"\0") * plane.buffer_size)
    return frame


def _resampled(
    frames: Iterable[av.AudioFrame], rate: int, longest: float, name: str
) -> Iterator[np.ndarray]:
    """Yields the frames of a sound as mono samples at `rate`."""
    blocks = ((frame.sample_rate, to_mono(frame_samples(frame))) for frame in _seconds(frames))
    samples = 0
    with _named_errors(name):
        for chunk in resample_blocks(blocks, rate):
            samples += len(chunk)
            _check_duration(samples / rate, longest)
            yield chunk


@contextlib.contextmanager
def _named_errors(name: str) -> Iterator[None]:
    """Turns errors of reading into AudioError; begins the message with the name of the source."""
    try:
        yield
    except AudioError as error:
        raise type(error)(f"{name}: {error}") from None
    except (FFmpegError, OSError) as error:
        raise AudioError(f"{name}: reading it failed ({error.strerror or error})") from None


def _decode(
    reader: Reader, container: InputContainer, stream: AudioStream
) -> Iterator[av.AudioFrame]:
    """Decodes frame by frame.

    Skips a damaged packet, like players. Many damaged packets, or a lost end, are an error.
    """
    packets = lost = samples = 0
    end, ends_lost = 0.0, False
    last: av.Packet | None = None
    for packet in _packets(container, stream):
        if packet is None:
            ends_lost = True
            continue
        packets += 1
        last = packet if packet.size else last
        try:
            frames = packet.decode()
            # The last packet is empty and flushes the decoder.
            ends_lost = ends_lost and not packet.size
        except FFmpegError:
            lost, ends_lost = lost + 1, True
            continue
        for frame in frames:
            check_rate(frame.sample_rate, "in the file")
            seconds = frame.samples / frame.sample_rate
            samples += frame.samples
            # A gap in the timestamps is not a loss.
            end = max(end + seconds, (frame.time or 0) + seconds)
            yield frame

    _check_whole(reader, container, stream, last)
    if not samples:
        raise AudioError("has no samples that decode; expected a sound")
    # The header's duration may be stale. It counts only if the last packet is damaged, too.
    declared = header_seconds(container, stream)
    if ends_lost and end < declared - 0.1:
        raise AudioError(
            f"is truncated: {end:.1f} of {declared:.1f} s decode; copy or download it again"
        )
    if lost > max(1, packets // 20):
        raise AudioError(
            f"is damaged: {lost} of {packets} packets do not decode; copy or download it again"
        )


def _packets(container: InputContainer, stream: AudioStream) -> Iterator[av.Packet | None]:
    """Yields packets, and None for each error of the demuxer; continues like FFmpeg's program."""
    errors = 0
    while True:
        try:
            for packet in demuxed(container, stream):
                errors = 0
                yield packet
            return
        except FFmpegError as error:
            errors += 1
            yield None
            if errors == _MOST_DEMUXER_ERRORS:
                problem = f"is damaged: it cannot be read to its end ({error.strerror or error})"
                raise AudioError(problem) from None


def _seconds(frames: Iterable[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """Yields the sound in frames of one second; shorter ones before a change of rate or format."""
    fifo, shape = av.AudioFifo(), None
    late_error: AudioError | FFmpegError | OSError | None = None
    frames = iter(frames)
    while True:
        try:
            frame = next(frames, None)
        except (AudioError, FFmpegError, OSError) as error:
            late_error, frame = error, None  # yields the frames before the error first
        if frame is None:
            break
        now = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
        if now != shape:
            yield from fifo.read_many(MAX_RATE, partial=True)
            if frame.layout.nb_channels > MAX_CHANNELS:
                raise AudioError(
                    f"has {frame.layout.nb_channels} channels; expected at most {MAX_CHANNELS}"
                )
            fifo, shape = av.AudioFifo(), now
        frame.pts = None  # otherwise the fifo rejects gaps in the timestamps
        fifo.write(frame)
        yield from fifo.read_many(frame.sample_rate)
    yield from fifo.read_many(MAX_RATE, partial=True)
    if late_error:
        raise late_error


def _check_duration(seconds: float, longest: float) -> None:
    if seconds > longest:
        raise TooLongError(f"is longer than the {longest:g} s that are allowed")


def _check_whole(
    reader: Reader, container: InputContainer, stream: AudioStream, last: av.Packet | None
) -> None:
    """Raises AudioError if a file lacks bytes that its header promises."""
    kind = container.format.name
    if kind == MOV and len(stream.index_entries):
        sample = stream.index_entries[-1]  # the index holds the position of each sample
        missing = sample.pos + sample.size - reader.size
    else:
        missing = reader.missing(kind, bytes(last) if last is not None else b"")
    if missing > 0:
        raise AudioError(
            f"is truncated: its last {missing} bytes are missing; copy or download it again"
        )
