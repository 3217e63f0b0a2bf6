"""From sound to captions: one sound, long sounds in windows, and many files side by side."""

import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import overload

import numpy as np

from auricle.audio import Source, load_audio, resample, stream_audio
from auricle.beam_search import BeamOptions, search_captions
from auricle.checkpoint import EMBEDDED, Checkpoint, load_checkpoint
from auricle.errors import AudioError, AuricleError
from auricle.features import MINIMUM_SECONDS, front_end, log_mel
from auricle.onnx_backend import OnnxModel
from auricle.vocabulary import sentence

Sound = Source | np.ndarray
WINDOW_SECONDS = 10.0


@dataclass(frozen=True)
class Alternative:
    """One of the sentences that a sound might be captioned with."""

    text: str
    score: float  # log-probability, length-normalised: at most 0, higher is likelier


@dataclass(frozen=True)
class Caption:
    """What is heard in a stretch of sound."""

    start: float  # seconds from the sound's beginning
    end: float
    text: str
    score: float  # log-probability, length-normalised: at most 0, higher is likelier
    alternatives: tuple[Alternative, ...]  # the n best, the caption itself first
    whole: bool = True  # of the whole sound, not of a window of it


@dataclass(frozen=True)
class Row:
    """One caption of one of many sounds, or why there is none."""

    file: str
    caption: Caption | None = None
    error: AudioError | None = None


class Captioner:
    """Says what it hears. Safe to use from several threads; the same sound always gets the same caption.

    Args:
        checkpoint: the folder to caption with.
        options: how to search; as the checkpoint says if None.
    """

    def __init__(self, checkpoint: Checkpoint, options: BeamOptions | None = None) -> None:
        self.checkpoint = checkpoint
        self.options = options or checkpoint.config.decoding
        self.front_end = front_end(checkpoint.config.front_end)
        self.model = OnnxModel(checkpoint.folder)

    @property
    def rate(self) -> int:
        """The sampling rate that it hears at, in Hz."""
        return self.front_end.rate

    @property
    def longest(self) -> float:
        """The longest sound, in seconds, that gets one caption; longer ones are captioned in windows."""
        return self.checkpoint.config.maximum_seconds

    @overload
    def caption(self, sound: Sound, rate: int | None = None) -> Caption: ...
    @overload
    def caption(self, sound: Sequence[Sound], rate: int | None = None) -> list[Caption]: ...
    def caption(self, sound: Sound | Sequence[Sound], rate: int | None = None) -> Caption | list[Caption]:
        """One sentence for a sound of up to `longest` seconds.

        Args:
            sound: a path, the bytes of a file, an open binary file, or samples, (samples,) or (channels, samples); or a list of
                such, which are captioned side by side.
            rate: of samples, in Hz; `self.rate` if None.

        Raises:
            AudioError: a sound that cannot be read, or that is longer: for those, see `captions`.
        """
        if isinstance(sound, list | tuple):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return list(pool.map(partial(self.caption, rate=rate), sound))
        if isinstance(sound, np.ndarray):
            name, samples = "array", resample(sound, rate or self.rate, self.rate)
        else:
            name, samples = str(sound)[:100], load_audio(sound, self.rate, max_seconds=self.longest + 1)  # type: ignore[arg-type]
        if len(samples) > self.longest * self.rate:
            raise AudioError(
                f"{name}: longer than {self.longest:g} s: captions() gives a caption for each stretch of it"
            )
        return self._caption(samples)

    def captions(self, source: Source, window: float = WINDOW_SECONDS, name: str | None = None) -> Iterator[Caption]:
        """Captions of a sound of any length: one up to `longest` seconds, and one for each window of a longer sound.

        Args:
            source: a path, the bytes of a file, or an open binary file.
            window: in seconds.
            name: what errors call the sound, if not its path.

        Raises:
            AudioError: the sound cannot be read; windows before the damage have been captioned then.
        """
        chunks = stream_audio(source, self.rate, name=name)
        first: list[np.ndarray] = []
        while sum(map(len, first)) <= self.longest * self.rate:
            chunk = next(chunks, None)
            if chunk is None:
                yield self._caption(np.concatenate(first))
                return
            first.append(chunk)
        yield from self.caption_stream(itertools.chain(first, chunks), window)

    def caption_stream(self, chunks: Iterable[np.ndarray], window: float = WINDOW_SECONDS) -> Iterator[Caption]:
        """Captions of a sound that arrives bit by bit, one for each window; equal neighbours become one.

        A caption comes when the next window is known to differ. An end shorter than a second belongs to the window before.

        Args:
            chunks: mono samples, (n,) each, of any n, at `self.rate`.
            window: in seconds; at least 1.
        """
        if window < MINIMUM_SECONDS:
            raise ValueError(f"a window of {window} s: at least {MINIMUM_SECONDS:g} is wanted")
        held: Caption | None = None
        begin = 0
        for samples in _windows(chunks, round(window * self.rate)):
            start, begin = begin / self.rate, begin + len(samples)
            if held is not None and len(samples) < MINIMUM_SECONDS * self.rate:
                held = replace(held, end=begin / self.rate)
                continue
            caption = replace(self._caption(samples), start=start, end=begin / self.rate, whole=False)
            if held is not None and held.text == caption.text:
                # The window that is surest speaks for both.
                held = replace(max(held, caption, key=lambda c: c.score), start=held.start, end=caption.end)
                continue
            if held is not None:
                yield held
            held = caption
        if held is not None:
            yield held

    def caption_files(
        self, sources: Iterable[tuple[str, Source]], *, window: float = WINDOW_SECONDS, jobs: int | None = None
    ) -> Iterator[Row]:
        """Captions of many sounds, in their order, each as soon as it and all before it are there.

        Args:
            sources: names and sounds.
            window: for sounds longer than `longest`, in seconds.
            jobs: how many sounds at a time; as many as there are processors if None.

        Yields:
            A row for each caption, or one row with the error of a sound that cannot be read.
        """
        jobs = jobs or os.cpu_count() or 1

        def work(name: str, source: Source, rows: SimpleQueue[Row | BaseException | None]) -> None:
            try:
                for caption in self.captions(source, window, name):
                    if stopped.is_set():
                        return
                    rows.put(Row(name, caption))
                rows.put(None)
            except AudioError as error:
                rows.put(Row(name, error=error))
                rows.put(None)
            except BaseException as error:
                rows.put(error)

        stopped = Event()
        pool = ThreadPoolExecutor(jobs)
        waiting: deque[SimpleQueue[Row | BaseException | None]] = deque()
        try:
            remaining = iter(sources)
            while True:
                for name, source in itertools.islice(remaining, 4 * jobs - len(waiting)):
                    waiting.append(SimpleQueue())
                    pool.submit(work, name, source, waiting[-1])
                if not waiting:
                    return
                while (row := waiting[0].get()) is not None:
                    if isinstance(row, BaseException):
                        raise row
                    yield row
                waiting.popleft()
        finally:
            stopped.set()  # who asked has enough: hours of sound need not be finished
            pool.shutdown(wait=False, cancel_futures=True)

    def _caption(self, samples: np.ndarray) -> Caption:
        spectrogram = log_mel(samples, self.front_end)
        if (missing := self.checkpoint.config.padded_frames - len(spectrogram)) > 0:
            spectrogram = np.pad(spectrogram, ((0, missing), (0, 0)))
        vocabulary = self.checkpoint.vocabulary
        hypotheses = search_captions(self.model.next_log_probs(spectrogram), vocabulary, self.options)[0]
        if not hypotheses:
            raise AuricleError(
                f"{self.checkpoint.folder} finds no sentence: its weights are damaged, or its options too strict"
            )
        alternatives = tuple(Alternative(sentence(vocabulary.decode(h.tokens)), h.score) for h in hypotheses)
        return Caption(0.0, len(samples) / self.rate, alternatives[0].text, alternatives[0].score, alternatives)


def _windows(chunks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in arrays of `size`; the last may be shorter."""
    held: list[np.ndarray] = []
    count = 0
    for chunk in chunks:
        held.append(chunk)
        count += len(chunk)
        if count >= size:
            samples = np.concatenate(held)
            for start in range(0, count - size + 1, size):
                yield samples[start : start + size]
            held = [samples[count - count % size :]]
            count %= size
    if count:
        yield np.concatenate(held)


def load(checkpoint: str | Path | None = None, options: BeamOptions | None = None) -> Captioner:
    """A captioner from a checkpoint folder; the embedded model if None.

    Raises:
        AuricleError: the folder is not a checkpoint.
    """
    return Captioner(load_checkpoint(EMBEDDED if checkpoint is None else Path(checkpoint)), options)
