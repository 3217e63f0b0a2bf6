"""An upload as a job decodes it: counted, checked, drawn, and partly kept."""

import base64
import io
import itertools
import os
import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from auricle.captioning.captioner import Captioner
from auricle.errors import AuricleError
from auricle.serving.messages import CaptionJob, FromWorker, JobProgress, Overview, SoundFile
from auricle.sound.decode import open_audio, silence_before
from auricle.sound.features import from_log, log_mel

PROGRESS_SECONDS = 0.2  # between two reports
KEPT_SECONDS = 60.0  # of sound kept to explain captions; no caption comes later than that
MARGIN_FRAMES = 8  # analysed around the columns that are drawn
OVERVIEW_BANDS = 64  # of an overview's spectrogram
QUIETEST_DB, LOUDEST_DB = -90.0, 50.0  # an overview's 0 and 255


class StoppedError(Exception):
    """The server no longer needs the answer."""


class LostUploadError(AuricleError):
    """The upload is no longer on the server's disk."""


class Channel(Protocol):
    """The way to the server."""

    def send(self, message: FromWorker) -> None:
        """Send a message."""
        ...

    def check(self) -> None:
        """Raise `StoppedError` if the server no longer needs the answer."""
        ...


def opened(upload: SoundFile) -> io.FileIO:
    """Open an upload under its sender's name for it, which errors then use.

    Raises:
        LostUploadError: somebody deleted the file.
    """
    try:
        file = io.FileIO(upload.path)
    except FileNotFoundError:
        raise LostUploadError("the server lost the upload: send it again") from None
    file.name = upload.name
    return file


class Tape:
    """The samples of a file, as they are decoded.

    Args:
        captioner: sets the sampling rate and the front end.
        job: says whether to keep and to draw samples.
        channel: receives `JobProgress` and `Overview`.
    """

    def __init__(self, captioner: Captioner, job: CaptionJob, channel: Channel) -> None:
        self.seconds = 0.0
        # Seconds of silence before the sound in the job's stretch; known at the first chunk.
        self.start = 0.0
        self._start_sample = round(job.start_seconds * captioner.rate)
        self._end_sample = (
            None if job.end_seconds is None else round(job.end_seconds * captioner.rate)
        )
        self._decoded_samples = 0
        self._given_samples = 0  # passed to the captioner so far
        self._captioner, self._job, self._channel = captioner, job, channel
        self._kept: list[np.ndarray] = []  # the last of the samples
        self._reported_at = 0.0
        self._undrawn = np.zeros(0, np.float32)  # begins with a margin that is drawn already
        self._drawn = 0  # samples of that margin

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the chunks of the job's stretch, (samples,) float32.

        The clock begins where a player starts the file.

        Raises:
            AudioError: the sound cannot be read, or is longer than the job allows.
            StoppedError: the server no longer needs the answer.
        """
        rate, job = self._captioner.rate, self._job
        with opened(job.file) as file:
            size = os.fstat(file.fileno()).st_size or 1
            sound = open_audio(file, rate, max_duration=job.max_seconds)
            silent_samples = round(sound.start * rate) - self._start_sample
            self.start = max(0, silent_samples) / rate
            for chunk in itertools.chain(silence_before(sound.start, rate), sound.chunks):
                self._channel.check()
                self.seconds += len(chunk) / rate
                if job.overview_columns:
                    self._draw(chunk)
                within = self._within(chunk)
                self._keep(within)
                self._report(min(file.tell() / size, 1.0))
                if len(within):
                    self._given_samples += len(within)
                    yield within
                if self._end_sample is not None and self._decoded_samples >= self._end_sample:
                    break
            if job.overview_columns:
                self._send_overview(len(self._undrawn) - self._drawn)
            self._report(1.0, last=True)

    def last(self, start: float, end: float) -> np.ndarray:
        """Return the samples from `start` to `end`, in seconds of the job's stretch.

        A stretch longer than the model can hear at once, or than is kept, loses its beginning.
        """
        rate, kept = self._captioner.rate, np.concatenate(self._kept)
        first = self._given_samples - len(kept)
        stop = round(end * rate) - first
        begin = max(0, round(start * rate) - first, stop - int(self._captioner.longest * rate))
        return kept[begin:stop]

    def _within(self, chunk: np.ndarray) -> np.ndarray:
        """Return the part of the next chunk that lies in the job's stretch."""
        first, self._decoded_samples = self._decoded_samples, self._decoded_samples + len(chunk)
        end = self._decoded_samples if self._end_sample is None else self._end_sample
        return chunk[max(0, self._start_sample - first) : max(0, end - first)]

    def _keep(self, chunk: np.ndarray) -> None:
        if self._job.explain:
            self._kept.append(chunk)
            while sum(map(len, self._kept[1:])) > KEPT_SECONDS * self._captioner.rate:
                del self._kept[0]

    def _report(self, fraction: float, *, last: bool = False) -> None:
        now = time.monotonic()
        if last or now - self._reported_at > PROGRESS_SECONDS:
            self._reported_at = now
            self._channel.send(JobProgress(round(self.seconds, 3), round(fraction, 4)))

    def _draw(self, samples: np.ndarray) -> None:
        """Send the overview of whole seconds, each when the samples after it are there.

        At the edge of the samples the spectrum is not that of the sound.
        """
        rate, margin = self._captioner.rate, MARGIN_FRAMES * self._captioner.front_end.hop
        self._undrawn = np.concatenate([self._undrawn, samples])
        while len(self._undrawn) >= self._drawn + rate + margin:
            self._send_overview(rate)
            passed = self._drawn + rate - margin
            self._undrawn, self._drawn = self._undrawn[passed:], margin

    def _send_overview(self, count: int) -> None:
        """Send the overview of the next `count` samples."""
        if not count:
            return
        samples = self._undrawn[self._drawn : self._drawn + count]
        columns = max(1, round(self._job.overview_columns * count / self._captioner.rate))
        peaks = np.maximum.reduceat(np.abs(samples), _starts(count, columns))
        bands, spectrogram = 0, ""
        if self._job.spectrogram:
            decibels = self._decibels(count, columns)
            bands = decibels.shape[1]
            spectrogram = _base64((decibels - QUIETEST_DB) / (LOUDEST_DB - QUIETEST_DB))
        self._channel.send(
            Overview(columns=columns, bands=bands, peaks=_base64(peaks), spectrogram=spectrogram)
        )

    def _decibels(self, count: int, columns: int) -> np.ndarray:
        """Return the spectrogram of the next `count` samples, (columns, bands)."""
        front_end = self._captioner.front_end
        around = self._undrawn[: self._drawn + count + MARGIN_FRAMES * front_end.hop]
        first = self._drawn // front_end.hop
        log = log_mel(around, front_end)[first : first + max(1, count // front_end.hop)]
        power = from_log(log, front_end)  # (frames, mels)
        if front_end.power == 1:
            power = power**2
        frames = _starts(len(power), columns)
        bands = _starts(power.shape[1], min(OVERVIEW_BANDS, power.shape[1]))
        summed = np.add.reduceat(np.maximum.reduceat(power, frames), bands, axis=1)
        return 10 * np.log10(np.maximum(summed, 1e-12))


def _starts(length: int, parts: int) -> np.ndarray:
    """Return where each of `parts` equal parts of a length begins, (parts,) int."""
    return np.linspace(0, length, parts, endpoint=False).astype(int)


def _base64(values: np.ndarray) -> str:
    """Return numbers from 0 to 1 as base64 of a byte each."""
    return base64.b64encode((255 * values).clip(0, 255).astype(np.uint8).tobytes()).decode()
