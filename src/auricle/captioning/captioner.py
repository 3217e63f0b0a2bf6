"""From sound to captions: one sound, long sounds in windows, and many files at a time.

sound -> samples -> log-mel -> encoded sound -> caption
         sound/     spectrogram  hear           describe
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np

from auricle.captioning import inference
from auricle.captioning.onnx_backend import EncodedSound, OnnxModel, Sizes
from auricle.captioning.parallel import side_by_side
from auricle.captioning.planned import PlanDescriber
from auricle.captioning.reading import read_beginning, read_short_sound
from auricle.captioning.results import Caption, Match, Row, Sound, silent_caption
from auricle.captioning.similarity import compare_sound, embed_sentences, unknown_words
from auricle.captioning.windows import WINDOW_SECONDS, caption_windows
from auricle.checkpoint.config import BeamOptions
from auricle.checkpoint.folder import EMBEDDED, Checkpoint, load_checkpoint
from auricle.checkpoint.vocabulary import UNKNOWN
from auricle.errors import AudioError, AuricleError, TooLongError
from auricle.sound.container import Source
from auricle.sound.decode import open_audio, stream_audio
from auricle.sound.features import front_end, log_mel, pad_with_silence, with_least_frames
from auricle.sound.resample import level_problem, resample
from auricle.sound.silence import is_silent, silence


class Captioner:
    """Captions sounds. Safe to use from several threads; equal sounds always get equal captions.

    Args:
        checkpoint: the folder to caption with.
        options: how to search; those of the checkpoint if None.
    """

    def __init__(self, checkpoint: Checkpoint, options: BeamOptions | None = None) -> None:
        self.checkpoint = checkpoint
        self.options = options or checkpoint.config.decoding
        self.front_end = front_end(checkpoint.config.front_end)
        sizes = Sizes(
            mels=self.front_end.mels,
            words=len(checkpoint.vocabulary),
            tags=len(checkpoint.tags),
            space=checkpoint.config.space,
            tag_tokens=checkpoint.config.decoder.tags,
            plan=checkpoint.config.decoder.plan,
        )
        fingerprints = checkpoint.config.fingerprints.of_networks()
        self.model = OnnxModel(checkpoint.folder, sizes, fingerprints)
        self.planner = PlanDescriber(checkpoint, self.model, self.front_end) if sizes.plan else None

    @property
    def rate(self) -> int:
        """The sampling rate of the samples that it captions, in Hz."""
        return self.front_end.rate

    @property
    def longest(self) -> float:
        """The seconds of sound that get one caption; see `SPARE_SECONDS` for a little more."""
        return self.checkpoint.config.maximum_seconds

    @overload
    def caption(self, sound: Sound, rate: int | None = None) -> Caption: ...
    @overload
    def caption(self, sound: Sequence[Sound], rate: int | None = None) -> list[Caption]: ...
    def caption(
        self, sound: Sound | Sequence[Sound], rate: int | None = None
    ) -> Caption | list[Caption]:
        """One sentence for a sound of up to `longest` seconds.

        Args:
            sound: a path, the bytes of a file, an open binary file, or samples, (samples,) or
                (channels, samples); or a list of these, which are captioned in parallel.
            rate: of samples, in Hz; `self.rate` if None.

        Raises:
            AudioError: a sound cannot be read, or is longer: see `captions` for those.
        """
        if isinstance(sound, list | tuple):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return list(pool.map(partial(self.caption, rate=rate), sound))
        start, samples = self.timed_samples(sound, rate)  # type: ignore[arg-type]
        return self.caption_samples(samples).begun_at(start)

    def caption_samples(self, samples: np.ndarray) -> Caption:
        """One sentence for (samples,) float32 at `self.rate`, of up to `longest` seconds.

        Raises:
            AudioError: there are samples that are NaN, infinite or far beyond full scale.
        """
        if (problem := level_problem(samples)) is not None:
            raise AudioError(f"array: {problem}")
        seconds = len(samples) / self.rate
        if is_silent(samples, self.rate):
            return silent_caption(seconds, silence(samples, self.rate))
        return self.describe(self.hear(samples), seconds)

    def samples(self, sound: Sound, rate: int | None = None) -> np.ndarray:
        """The samples of a sound of up to `longest` seconds: (samples,) float32 at `self.rate`.

        Args:
            sound: as for `caption`.
            rate: of samples, in Hz; `self.rate` if None.

        Raises:
            AudioError: the sound cannot be read, or is longer.
        """
        return self.timed_samples(sound, rate)[1]

    def timed_samples(
        self, sound: Sound, rate: int | None = None, track: int | None = None
    ) -> tuple[float, np.ndarray]:
        """Returns the time of the first sample, in seconds, and the samples; see `samples`.

        Args:
            sound: as for `caption`.
            rate: of samples, in Hz; `self.rate` if None.
            track: which of several audio tracks, counted from 1; the default one if None.

        Raises:
            AudioError: the sound cannot be read, or is longer.
        """
        return read_short_sound(sound, rate, self.rate, self.longest, track)

    def captions(
        self,
        source: Source,
        window: float = WINDOW_SECONDS,
        name: str | None = None,
        *,
        merge: bool = True,
        max_duration: float | None = None,
        jobs: int = 1,
        track: int | None = None,
    ) -> Iterator[Caption]:
        """Captions of a sound of any length: one up to `longest` seconds, else one per window.

        Args:
            source: a path, the bytes of a file, or an open binary file.
            window: in seconds.
            name: the name of the sound in errors, if not its path.
            merge: whether neighbouring windows of one caption become one.
            max_duration: seconds; a longer sound is refused.
            jobs: windows at a time; see `caption_stream`.
            track: which of several audio tracks, counted from 1; the default one if None.

        Yields:
            Captions whose times count from the beginning of the file; a film's sound may begin
            later.

        Raises:
            AudioError: the sound cannot be read or is too long. The captions of the windows before
                the error come first.
        """
        sound = open_audio(source, self.rate, name=name, max_duration=max_duration, track=track)
        beginning, rest = read_beginning(sound.chunks, self.longest, self.rate)
        if rest is None:
            yield self.caption_samples(beginning).begun_at(sound.start)
        else:
            pieces = itertools.chain([beginning], rest)
            yield from self.caption_stream(
                pieces, window, merge=merge, jobs=jobs, start_seconds=sound.start
            )

    def caption_stream(
        self,
        chunks: Iterable[np.ndarray],
        window: float = WINDOW_SECONDS,
        *,
        merge: bool = True,
        jobs: int = 1,
        start_seconds: float = 0.0,
    ) -> Iterator[Caption]:
        """Captions of a sound that arrives in pieces, one per window; equal neighbours become one.

        A caption comes when the next window is known to differ. An end shorter than a second
        belongs to the window before it.

        Args:
            chunks: mono samples, (n,) each, of any n, at `self.rate`.
            window: in seconds; at least 1.
            merge: whether equal neighbours become one.
            jobs: windows at a time. Several jobs wait for that many windows before the first
                caption comes, so use them for sound that is available at once.
            start_seconds: the time of the first sample.

        Raises:
            ValueError: the window is too short.
        """
        yield from caption_windows(
            self.caption_samples,
            chunks,
            self.rate,
            window,
            merge=merge,
            jobs=jobs,
            start_seconds=start_seconds,
        )

    def caption_files(
        self,
        sources: Iterable[tuple[str, Source]],
        *,
        window: float = WINDOW_SECONDS,
        jobs: int | None = None,
        max_duration: float | None = None,
        track: int | None = None,
    ) -> Iterator[Row]:
        """Captions of many sounds, in their order, each as soon as all before it are ready.

        Args:
            sources: names and sounds.
            window: for sounds longer than `longest`, in seconds.
            jobs: sounds at a time, or windows of files where there are fewer sounds; as many as
                there are processors if None.
            max_duration: seconds; a longer sound is refused, and none of its captions come.
            track: which of several audio tracks, counted from 1; the default one if None.

        Yields:
            A row for each caption, and one with the error of a sound that cannot be read to its
            end.
        """
        jobs = jobs or os.cpu_count() or 1
        sources = iter(sources)
        first = list(itertools.islice(sources, jobs))
        spare = jobs // max(1, len(first))

        def rows(name: str, source: Source) -> Iterator[Row]:
            on_disk = isinstance(source, str | os.PathLike) and os.path.isfile(source)
            window_jobs = spare if on_disk or isinstance(source, bytes) else 1
            captions = self.captions(
                source, window, name, max_duration=max_duration, jobs=window_jobs, track=track
            )
            held: list[Row] = []  # until the sound is known to be no longer than allowed
            failed: list[Row] = []
            try:
                for caption in captions:
                    if max_duration is None:
                        yield Row(name, caption)
                    else:
                        held.append(Row(name, caption))
            except AudioError as error:
                failed.append(Row(name, error=error))
                if isinstance(error, TooLongError):
                    held.clear()
            yield from (*held, *failed)

        return side_by_side(rows, itertools.chain(first, sources), jobs)

    def similarity(
        self, sounds: Sequence[Sound], sentences: Sequence[str], rate: int | None = None
    ) -> np.ndarray:
        """The similarity of sounds to sentences.

        Words that the model does not know are left out. A sound longer than `longest` is as similar
        to a sentence as the most similar of its windows of 10 s.

        Args:
            sounds: each as for `caption`, but of any length.
            sentences: in plain words.
            rate: of samples, in Hz; `self.rate` if None.

        Returns:
            (sounds, sentences) float32, cosines from -1 to 1.

        Raises:
            AudioError: a sound cannot be read.
            AuricleError: the checkpoint cannot compare, or knows no word of a sentence.
        """
        embedded = self.embed_sentences(sentences)

        def compare(sound: Sound) -> np.ndarray:
            if isinstance(sound, np.ndarray):
                chunks = iter([resample(sound, rate or self.rate, self.rate)])
            else:
                chunks = stream_audio(sound, self.rate)
            return self._compare(chunks, embedded)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            rows = list(pool.map(compare, sounds))
        return np.array(rows, np.float32).reshape(len(sounds), len(sentences))

    def similarity_files(
        self, text: str, sources: Iterable[tuple[str, Source]], *, jobs: int | None = None
    ) -> Iterator[Match]:
        """The similarity of many sounds to a sentence, in the sounds' order; see `similarity`.

        Args:
            text: the sentence.
            sources: names and sounds.
            jobs: sounds at a time; as many as there are processors if None.

        Raises:
            AuricleError: the checkpoint cannot compare, or knows no word of the sentence.
        """
        embedded = self.embed_sentences([text])

        def matches(name: str, source: Source) -> Iterator[Match]:
            try:
                chunks = stream_audio(source, self.rate, name=name)
                yield Match(name, float(self._compare(chunks, embedded)[0]))
            except AudioError as error:
                yield Match(name, error=error)

        return side_by_side(matches, sources, jobs)

    def embed_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """The embeddings of sentences, to compare with those of sounds; unknown words are left out.

        Returns:
            (sentences, space), each of length 1.

        Raises:
            AuricleError: the checkpoint cannot compare, or knows no word of a sentence.
        """
        return embed_sentences(self.checkpoint, self.model, sentences)

    def unknown_words(self, sentence: str) -> list[str]:
        """The words of a sentence that the model does not know."""
        return unknown_words(self.checkpoint, sentence)

    def spectrogram(self, samples: np.ndarray) -> np.ndarray:
        """The encoder's input: (samples,) at `self.rate` -> log-mel (frames, mels)."""
        spectrogram = self.unpadded_spectrogram(samples)
        seconds = self.checkpoint.config.minimum_seconds
        return pad_with_silence(spectrogram, seconds, self.front_end)

    def unpadded_spectrogram(self, samples: np.ndarray) -> np.ndarray:
        """As `spectrogram`, but without the silence that the model adds to short sounds."""
        least_frames = self.checkpoint.config.padded_frames
        return with_least_frames(log_mel(samples, self.front_end), least_frames)

    def hear(self, samples: np.ndarray) -> EncodedSound:
        """Encodes a sound of up to `longest` seconds: (samples,) at `self.rate`."""
        return self.model.hear(self.spectrogram(samples))

    def describe(self, heard: EncodedSound, seconds: float) -> Caption:
        """The caption of an encoded sound of `seconds`, whether it is silent or not."""
        if self.planner is not None:
            return self.planner.describe(heard, self.options, seconds)
        return inference.describe(self.checkpoint, self.model, self.options, heard, seconds)

    def attention(self, samples: np.ndarray, text: str) -> np.ndarray:
        """The decoder's attention while it says a text: the sound's caption, or other known words.

        Args:
            samples: (samples,) at `self.rate`.
            text: at least one word.

        Returns:
            (words, positions), the mean over layers and heads; each row's sum is 1. The positions
            are the encoder's frames, evenly over the spectrogram, and then the tags that guide the
            decoder, the most probable first; see `EncodedSound.split_positions`.

        Raises:
            AuricleError: there is no word, or one that the model does not know.
        """
        numbers = self.checkpoint.vocabulary.encode(text)[1:-1]
        if not numbers or UNKNOWN in numbers:
            raise AuricleError(f"the model cannot say '{text}': use words of its vocabulary")
        memory = self.hear(samples).memory
        if memory is None:
            raise AuricleError(
                f"{self.checkpoint.folder} words a plan: its decoder does not attend to the sound"
            )
        return self.model.attention(memory, numbers)

    def _compare(self, chunks: Iterator[np.ndarray], sentences: np.ndarray) -> np.ndarray:
        """(sentences,), the cosines of a sound to embedded sentences."""

        def embed(samples: np.ndarray) -> np.ndarray:
            embedding = self.hear(samples).embedding
            assert embedding is not None  # the sentences could be embedded, so sounds can, too
            return embedding

        return compare_sound(embed, chunks, sentences, self.rate, self.longest)


def load(checkpoint: str | Path | None = None, options: BeamOptions | None = None) -> Captioner:
    """A captioner from a checkpoint folder; the embedded model if None.

    Args:
        checkpoint: a folder, or owner/name or owner/name@revision on the Hugging Face Hub (extra
            `hub`).
        options: how to search; those of the checkpoint if None.

    Raises:
        AuricleError: the folder is not a checkpoint.
    """
    folder = EMBEDDED if checkpoint is None else Path(checkpoint)
    return Captioner(load_checkpoint(folder), options)
