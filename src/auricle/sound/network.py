"""Opens sounds on the network: http, https, rtsp, rtmp, udp, Icecast, HLS."""

import errno
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import (
    FFmpegError,
    HTTPOtherClientError,
    InvalidDataError,
    ProtocolNotFoundError,
)

from auricle.errors import AudioError, printable
from auricle.sound.container import default_track, demuxed, kind_of, start_seconds
from auricle.sound.decode import begun, silence_before, without_gaps
from auricle.sound.resample import check_rate, frame_samples, resample_blocks, to_mono

# The protocols to which an address may lead; without "file".
_PROTOCOLS = "crypto,hls,http,https,httpproxy,rtmp,rtmps,rtmpt,rtp,srt,srtp,tcp,tls,udp"
_MOST_DAMAGED_PACKETS = 100  # in a row, before a stream counts as lost


def open_url(url: str, rate: int, *, timeout: float = 10.0) -> tuple[bool, Iterator[np.ndarray]]:
    """Opens a sound on the network: http, https, rtsp, rtmp, udp, Icecast, HLS.

    A playlist may name other addresses, but no files.

    Args:
        url: the address; errors never repeat its password or query.
        rate: of the chunks, in Hz.
        timeout: seconds without data after which the stream counts as lost.

    Returns:
        Whether the sound has an end; and its chunks, (samples,) float32, the mean of the channels,
        as soon as they arrive.

    Raises:
        AudioError: the address cannot be opened. While chunks are read: the connection is lost, or
            an endless stream ends.
    """
    check_rate(rate, "asked for")
    options = {"protocol_whitelist": _PROTOCOLS, "rtsp_transport": "tcp"}
    try:
        container = av.open(url, "r", options=options, metadata_errors="replace", timeout=timeout)
    except (FFmpegError, OSError) as error:
        raise AudioError(f"{shown_url(url)}: {_opening_problem(error)}") from None
    stream = default_track(container.streams.audio)
    if not isinstance(stream, AudioStream) or stream.codec_context is None or not stream.rate:
        container.close()
        raise AudioError(f"{shown_url(url)}: has no audio stream ({kind_of(container)})")
    return container.duration is not None, _resampled_url(shown_url(url), container, stream, rate)


def _opening_problem(error: FFmpegError | OSError) -> str:
    """Returns the reason for which an address cannot be opened."""
    match error:
        case InvalidDataError():
            return "is not a sound; expected the address of a sound or a stream, not of a web page"
        case ProtocolNotFoundError():
            return "has an unknown scheme; expected http, https, rtsp, rtmp, srt or udp"
        case HTTPOtherClientError():
            return "cannot be opened (the server refused the request)"
    if error.errno == errno.EIO:  # FFmpeg gives no more details
        return "cannot be opened; check the name of the host, the network and the address"
    return f"cannot be opened ({error.strerror or error})"


def _resampled_url(
    name: str, container: InputContainer, stream: AudioStream, rate: int
) -> Iterator[np.ndarray]:
    """Yields the chunks of an opened address; aligns a file with the start of its player."""
    finite = container.duration is not None

    def blocks() -> Iterator[tuple[int, np.ndarray]]:
        for frame in frames:
            check_rate(frame.sample_rate, "in the stream")
            yield frame.sample_rate, to_mono(frame_samples(frame))

    with container:
        try:
            frames = _frames(container, stream)
            if finite:
                start, frames = begun(without_gaps(frames, start_seconds(container)))
                yield from silence_before(start, rate)
            yield from resample_blocks(blocks(), rate)
        except (AudioError, FFmpegError, OSError) as error:
            problem = (
                error if isinstance(error, AudioError) else f"was lost ({error.strerror or error})"
            )
            raise AudioError(f"{name}: {problem}") from None


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """Yields the frames of a stream.

    Raises:
        AudioError: the stream is damaged, or ends early.
    """
    zero = start_seconds(container)
    damaged, end = 0, 0.0
    for packet in demuxed(container, stream):
        try:
            frames = packet.decode()
            damaged = 0
        except FFmpegError:
            damaged += 1
            if damaged > _MOST_DAMAGED_PACKETS:
                raise AudioError(f"has {damaged} packets in a row that do not decode") from None
            continue
        for frame in frames:
            seconds = frame.samples / frame.sample_rate
            end = max(end, (frame.time or 0) - zero) + seconds
            yield frame
    # FFmpeg treats a closed connection as the end.
    if container.duration is None or end < 0.9 * container.duration / av.time_base - 1:
        raise AudioError("has ended")


def shown_url(url: str) -> str:
    """Returns an address for messages: without user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return printable(f"{parts.scheme}://{host}{parts.path}")


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")


def without_secrets(text: str) -> str:
    """Returns a message after removing user, password and query from its addresses."""

    def shown(match: re.Match[str]) -> str:
        url = match[0].rstrip("),.;:")  # these characters belong to the sentence
        return shown_url(url) + match[0][len(url) :]

    return _ADDRESS.sub(shown, text)
