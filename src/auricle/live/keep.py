"""The last hours of what was heard, kept in a folder that never grows beyond its limit."""

import contextlib
import datetime
import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError

from auricle.errors import AuricleError

FILE_SECONDS = 60.0
# What a minute of FLAC can take at most: it is never larger than the samples, but for a few bytes a
# frame.
SMALLEST_LIMIT = 20_000_000  # bytes
_OURS = re.compile(r"auricle-\d{8}T\d{6}\.\d{3}Z\.flac(\.part)?")


class Keeper:
    """Writes live sound as FLAC files of a minute, and deletes the oldest.

    Each file is named by the time of its beginning, in UTC.

    Args:
        folder: where to; made if it is not there. Files of other names in it are left alone.
        limit: bytes that our files take at most.
        rate: the samples' rate, in Hz.

    Raises:
        AuricleError: the folder cannot be written to, or the limit is too low.
    """

    def __init__(self, folder: Path, limit: int, rate: int) -> None:
        if limit < SMALLEST_LIMIT:
            raise AuricleError(
                f"the limit is {limit / 1e6:g} MB: expected at least {SMALLEST_LIMIT / 1e6:g} MB"
            )
        self._folder, self._limit, self._rate = folder, limit, rate
        self._file: _File | None = None
        with self._problems():
            folder.mkdir(parents=True, exist_ok=True)
            self._make_room()

    def feed(self, samples: np.ndarray, end: datetime.datetime) -> None:
        """Keeps samples, (samples,) float32, of which the last was heard at `end`.

        Raises:
            AuricleError: they cannot be written.
        """
        with self._problems():
            if self._file is None:
                begin = end - datetime.timedelta(seconds=len(samples) / self._rate)
                self._make_room()
                self._file = _File(
                    self._folder / f"auricle-{begin:%Y%m%dT%H%M%S}.{begin:%f}"[:-3], self._rate
                )
            self._file.write(samples)
            if self._file.samples >= FILE_SECONDS * self._rate:
                self.close()

    def close(self) -> None:
        """Ends the file that is written, as at a gap, or at the end.

        Raises:
            AuricleError: its last samples cannot be written.
        """
        if (file := self._file) is not None:
            self._file = None
            with self._problems():
                file.close()

    @contextlib.contextmanager
    def _problems(self) -> Iterator[None]:
        """The disk's errors as ours; nothing more is written to the file that met one."""
        try:
            yield
        except (OSError, FFmpegError) as error:
            self._file = None
            raise AuricleError(f"{self._folder}: cannot be kept in ({error.strerror})") from None

    def _make_room(self) -> None:
        """Deletes the oldest files until another fits."""
        ours = sorted(path for path in self._folder.iterdir() if _OURS.fullmatch(path.name))
        sizes = [path.stat().st_size for path in ours]
        room = self._limit - round(FILE_SECONDS * self._rate * 2 * 1.05)
        total = sum(sizes)
        for path, size in zip(ours, sizes, strict=True):
            if total <= room:
                break
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            total -= size


class _File:
    """A FLAC file that has its name only when it is whole."""

    def __init__(self, stem: Path, rate: int) -> None:
        self._target = stem.with_name(f"{stem.name}Z.flac")
        self._part = self._target.with_name(f"{self._target.name}.part")
        self._container: OutputContainer = av.open(str(self._part), "w", format="flac")
        stream = self._container.add_stream("flac", rate=rate, layout="mono", format="s16")
        assert isinstance(stream, AudioStream)
        self._stream, self._rate = stream, rate
        self.samples = 0

    def write(self, samples: np.ndarray) -> None:
        whole = np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(whole[None], "s16", "mono")
        frame.sample_rate, frame.pts = self._rate, self.samples
        self._container.mux(self._stream.encode(frame))
        self.samples += len(samples)

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._part.replace(self._target)
