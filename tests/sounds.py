"""Sounds and media files made on the spot, so that no test needs a download."""

import wave
from pathlib import Path

import av
import numpy as np


def tone(seconds: float, hz: float, rate: int, *, amplitude: float = 0.5) -> np.ndarray:
    """A sine, float32 (samples,)."""
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def chirp(seconds: float, low: float, high: float, rate: int) -> np.ndarray:
    """A tone that rises from `low` to `high` Hz, float32 (samples,): no two of its moments are
    alike."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (low * t + (high - low) * t**2 / (2 * seconds)))).astype(
        np.float32
    )


def stereo(samples: np.ndarray) -> np.ndarray:
    """The same sound in both channels, (2, samples)."""
    return np.stack([samples, samples])


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    """Write (samples,) or (channels, samples) as 16-bit PCM with the standard library's writer."""
    channels = np.atleast_2d(samples)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((channels.T * 32767).round().astype("<i2").tobytes())
    return path


def write_media(
    path: Path,
    samples: np.ndarray,
    rate: int,
    codec: str,
    *,
    video: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode (samples,) or (channels, samples) with `codec` into the container that the name's
    ending says.

    `video` adds a small picture stream; `options` go to the container.
    """
    channels = np.atleast_2d(samples).astype(np.float32)
    layout = {1: "mono", 2: "stereo"}.get(len(channels), f"{len(channels)}c")
    with av.open(str(path), "w", container_options=options or {}) as container:
        pictures = None
        if video:
            pictures = container.add_stream(
                "mpeg4" if path.suffix != ".webm" else "libvpx", rate=10
            )
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        # FFmpeg's own vorbis encoder asks for it
        stream.codec_context.options = {"strict": "experimental"}
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(channels), format="fltp", layout=layout
        )
        frame.sample_rate = rate
        if pictures is not None:
            for _ in range(int(10 * channels.shape[1] / rate)):
                container.mux(
                    pictures.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8)))
                )
            container.mux(pictures.encode())
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_silent_video(path: Path, frames: int = 10) -> Path:
    """A video file without a sound stream."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        for _ in range(frames):
            container.mux(
                pictures.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8)))
            )
        container.mux(pictures.encode())
    return path


def write_tracks(
    path: Path, tracks: list[np.ndarray], rate: int, *, codec: str = "pcm_s16le", late: float = 0.0
) -> Path:
    """A film of several audio tracks, each (samples,) or (channels, samples), with pictures.

    The first track begins `late` seconds after the pictures.
    """
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        channels = [np.atleast_2d(track) for track in tracks]
        layouts = ["mono" if len(track) == 1 else "stereo" for track in channels]
        streams = [container.add_stream(codec, rate=rate, layout=layout) for layout in layouts]
        for _ in range(20):
            container.mux(
                pictures.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8)))
            )
        container.mux(pictures.encode())
        for number, (stream, track, layout) in enumerate(
            zip(streams, channels, layouts, strict=True)
        ):
            assert isinstance(stream, av.AudioStream)
            form = stream.codec_context.format.name
            samples = (
                track if form == "fltp" else (track.T.reshape(1, -1) * 32_767).astype(np.int16)
            )
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), form, layout)
            frame.sample_rate, frame.pts = rate, 0 if number else round(late * rate)
            container.mux([*stream.encode(frame), *stream.encode()])
    return path
