"""From sound to captions: one sound, long sounds in windows, and many files side by side."""

import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import overload

import numpy as np

from auricle.captioning.beam_search import Hypothesis, search_captions
from auricle.captioning.confidence import caption_confidence
from auricle.captioning.onnx_backend import Heard, OnnxModel, Sizes
from auricle.captioning.parallel import in_order, side_by_side
from auricle.captioning.results import SILENCE, Alternative, Caption, Match, Row, Sound, Tag
from auricle.captioning.windows import WINDOW_SECONDS, split_into_windows
from auricle.checkpoint.config import BeamOptions
from auricle.checkpoint.folder import EMBEDDED, Checkpoint, load_checkpoint
from auricle.checkpoint.vocabulary import STOP_WORDS, UNKNOWN, sentence, words
from auricle.errors import AudioError, AuricleError
from auricle.sound.container import Source
from auricle.sound.decode import load_audio, stream_audio
from auricle.sound.features import MINIMUM_SECONDS, front_end, log_mel
from auricle.sound.resample import resample
from auricle.sound.silence import silence

TAGS = 10  # how many of the likeliest a caption carries
LINK = "while"  # between two events
SECOND_LENGTH = 4  # words, at least, of what is told of a second event


class Captioner:
    """Says what it hears. Safe to use from several threads; the same sound always gets the same
    caption.

    Args:
        checkpoint: the folder to caption with.
        options: how to search; as the checkpoint says if None.
    """

    def __init__(self, checkpoint: Checkpoint, options: BeamOptions | None = None) -> None:
        self.checkpoint = checkpoint
        self.options = options or checkpoint.config.decoding
        self.front_end = front_end(checkpoint.config.front_end)
        self.model = OnnxModel(
            checkpoint.folder,
            Sizes(
                self.front_end.mels,
                len(checkpoint.vocabulary),
                len(checkpoint.tags),
                checkpoint.config.space,
            ),
        )

    @property
    def rate(self) -> int:
        """The sampling rate that it hears at, in Hz."""
        return self.front_end.rate

    @property
    def longest(self) -> float:
        """The longest sound, in seconds, that gets one caption; longer ones are captioned in
        windows.
        """
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
                (channels, samples); or a list of such, which are captioned side by side.
            rate: of samples, in Hz; `self.rate` if None.

        Raises:
            AudioError: a sound that cannot be read, or that is longer: for those, see `captions`.
        """
        if isinstance(sound, list | tuple):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return list(pool.map(partial(self.caption, rate=rate), sound))
        return self._caption(self.samples(sound, rate))  # type: ignore[arg-type]

    def samples(self, sound: Sound, rate: int | None = None) -> np.ndarray:
        """A sound of up to `longest` seconds as it is heard: mono (samples,) float32 at
        `self.rate`.

        Args:
            sound: as `caption` takes one.
            rate: of samples, in Hz; `self.rate` if None.

        Raises:
            AudioError: the sound cannot be read, or is longer.
        """
        if isinstance(sound, np.ndarray):
            name, samples = "array", resample(sound, rate or self.rate, self.rate)
        else:
            name, samples = (
                str(sound)[:100],
                load_audio(sound, self.rate, max_seconds=self.longest + 1),
            )
        if len(samples) > self.longest * self.rate:
            raise AudioError(
                f"{name}: longer than {self.longest:g} s: captions() gives a caption for each stretch of it"
            )
        return samples

    def captions(
        self,
        source: Source,
        window: float = WINDOW_SECONDS,
        name: str | None = None,
        *,
        merge: bool = True,
        max_duration: float | None = None,
        jobs: int = 1,
    ) -> Iterator[Caption]:
        """Captions of a sound of any length: one up to `longest` seconds, and one for each window
        of a longer sound.

        Args:
            source: a path, the bytes of a file, or an open binary file.
            window: in seconds.
            name: what errors call the sound, if not its path.
            merge: whether neighbouring windows of one caption become one.
            max_duration: seconds; a longer sound is refused.
            jobs: how many windows at a time; see `caption_stream`.

        Raises:
            AudioError: the sound cannot be read or is too long; windows before that shows have been
                captioned then.
        """
        chunks = stream_audio(source, self.rate, name=name, max_duration=max_duration)
        beginning, whole = self._beginning(chunks)
        if whole:
            yield self._caption(beginning)
        else:
            yield from self.caption_stream(
                itertools.chain([beginning], chunks), window, merge=merge, jobs=jobs
            )

    def caption_stream(
        self,
        chunks: Iterable[np.ndarray],
        window: float = WINDOW_SECONDS,
        *,
        merge: bool = True,
        jobs: int = 1,
    ) -> Iterator[Caption]:
        """Captions of a sound that arrives bit by bit, one for each window; equal neighbours become
        one.

        A caption comes when the next window is known to differ. An end shorter than a second
        belongs to the window before.

        Args:
            chunks: mono samples, (n,) each, of any n, at `self.rate`.
            window: in seconds; at least 1.
            merge: whether equal neighbours become one.
            jobs: how many windows at a time. With several, so many windows more are waited for
                before a caption comes: that is for sound that is there already.
        """
        if window < MINIMUM_SECONDS:
            raise ValueError(f"a window of {window} s: at least {MINIMUM_SECONDS:g} is wanted")
        held: Caption | None = None
        begin = 0
        size, least = round(window * self.rate), MINIMUM_SECONDS * self.rate
        windows = (  # with whether a window belongs to the one before
            (samples, bool(number) and len(samples) < least)
            for number, samples in enumerate(split_into_windows(chunks, size))
        )

        def captioned(window: tuple[np.ndarray, bool]) -> tuple[int, Caption | None]:
            samples, belongs = window
            return len(samples), None if belongs else self._caption(samples)

        for samples, found in in_order(captioned, windows, jobs):
            start, begin = begin / self.rate, begin + samples
            if found is None:
                assert held is not None
                held = replace(held, end=begin / self.rate)
                continue
            caption = replace(found, start=start, end=begin / self.rate, whole=False)
            if merge and held is not None and held.text == caption.text:
                # The window that is surest speaks for both.
                surest = max(held, caption, key=lambda c: (c.confidence or 0.0, c.score))
                held = replace(surest, start=held.start, end=caption.end)
                continue
            if held is not None:
                yield held
            held = caption
        if held is not None:
            yield held

    def caption_files(
        self,
        sources: Iterable[tuple[str, Source]],
        *,
        window: float = WINDOW_SECONDS,
        jobs: int | None = None,
        max_duration: float | None = None,
    ) -> Iterator[Row]:
        """Captions of many sounds, in their order, each as soon as it and all before it are there.

        Args:
            sources: names and sounds.
            window: for sounds longer than `longest`, in seconds.
            jobs: how many sounds at a time, or windows of files where there are fewer sounds; as
                many as there are processors if None.
            max_duration: seconds; a longer sound is refused, and none of its captions come.

        Yields:
            A row for each caption, or one row with the error of a sound that cannot be read.
        """
        jobs = jobs or os.cpu_count() or 1
        sources = iter(sources)
        first = list(itertools.islice(sources, jobs))
        spare = jobs // max(1, len(first))

        def rows(name: str, source: Source) -> Iterator[Row]:
            try:
                ready = isinstance(source, bytes) or (
                    isinstance(source, str | os.PathLike) and os.path.isfile(source)
                )
                captions = self.captions(
                    source, window, name, max_duration=max_duration, jobs=spare if ready else 1
                )
                for caption in captions if max_duration is None else list(captions):
                    yield Row(name, caption)
            except AudioError as error:
                yield Row(name, error=error)

        return side_by_side(rows, itertools.chain(first, sources), jobs)

    def similarity(
        self, sounds: Sequence[Sound], sentences: Sequence[str], rate: int | None = None
    ) -> np.ndarray:
        """How similar sounds are to sentences.

        Words that the model does not know are passed over. A sound longer than `longest` is as
        similar to a sentence as the most similar of its windows of 10 s.

        Args:
            sounds: each as `caption` takes one, but of any length.
            sentences: in plain words.
            rate: of samples, in Hz; `self.rate` if None.

        Returns:
            (sounds, sentences) float32, cosines from -1 to 1.

        Raises:
            AudioError: a sound cannot be read.
            AuricleError: the checkpoint cannot compare, or knows no word of a sentence.
        """
        embedded = self.embed_sentences(sentences)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            rows = list(pool.map(lambda sound: self._similarity(sound, embedded, rate), sounds))
        return np.array(rows, np.float32).reshape(len(sounds), len(sentences))

    def similarity_files(
        self, text: str, sources: Iterable[tuple[str, Source]], *, jobs: int | None = None
    ) -> Iterator[Match]:
        """How similar many sounds are to a sentence, in the sounds' order; see `similarity`.

        Args:
            text: the sentence.
            sources: names and sounds.
            jobs: how many sounds at a time; as many as there are processors if None.

        Raises:
            AuricleError: the checkpoint cannot compare, or knows no word of the sentence.
        """
        embedded = self.embed_sentences([text])

        def matches(name: str, source: Source) -> Iterator[Match]:
            try:
                yield Match(name, float(self._similarity(source, embedded, name=name)[0]))
            except AudioError as error:
                yield Match(name, error=error)

        return side_by_side(matches, sources, jobs)

    def embed_sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """Where sentences stand in the space in which sounds can be compared with them; unknown
        words are passed over.

        Returns:
            (sentences, space), of length 1.

        Raises:
            AuricleError: the checkpoint cannot compare, or knows no word of a sentence.
        """
        if not self.checkpoint.config.space:
            raise AuricleError(
                f"{self.checkpoint.folder} cannot compare sounds with sentences: it has no text tower"
            )
        known = [self.checkpoint.vocabulary.numbers(words(text)) for text in sentences]
        for text, numbers in zip(sentences, known, strict=True):
            if not numbers:
                raise AuricleError(f"the model knows no word of '{text}': say it in other words")
        return self.model.embed_sentences(known)

    def spectrogram(self, samples: np.ndarray) -> np.ndarray:
        """What the encoder is given of a sound: (samples,) at `self.rate` -> log-mel (frames,
        mels).
        """
        spectrogram = log_mel(samples, self.front_end)
        missing = max(0, self.checkpoint.config.padded_frames - len(spectrogram))
        return np.pad(spectrogram, ((0, missing), (0, 0))) if missing else spectrogram

    def hear(self, samples: np.ndarray) -> Heard:
        """What the encoder makes of a sound of up to `longest` seconds: (samples,) at
        `self.rate`.
        """
        return self.model.hear(self.spectrogram(samples))

    def describe(self, heard: Heard, seconds: float) -> Caption:
        """The caption of a sound of `seconds` from what was heard of it, be it silent or not."""
        config, vocabulary = self.checkpoint.config, self.checkpoint.vocabulary
        found = self._search(heard, self.options)
        if not found:
            raise AuricleError(
                f"{self.checkpoint.folder} finds no sentence: its weights are damaged, or its options too strict"
            )
        if (both := self._with_second_event(heard, *found[0])) is not None:
            found = [both, *found][: self.options.beam]
        alternatives = [
            Alternative(sentence(vocabulary.decode(its.tokens)), its.score, similarity)
            for its, similarity in found
        ]
        best = alternatives[0]
        caption = Caption(
            0.0,
            seconds,
            best.text,
            best.score,
            tuple(alternatives),
            tags=self._tags(heard),
            embedding=heard.embedding,
        )
        if config.confidence is None:
            return caption
        return replace(caption, confidence=caption_confidence(caption, config.confidence))

    def attention(self, samples: np.ndarray, text: str) -> np.ndarray:
        """Where the decoder attends as it says a text: the sound's caption, or any other of words
        that it knows.

        Args:
            samples: (samples,) at `self.rate`.
            text: at least one word.

        Returns:
            (words, positions), the mean over layers and heads; each row's sum is 1. Positions are
            the encoder's frames, evenly over the spectrogram, and then, if tags guide the decoder,
            so many of the likeliest, the likeliest first.

        Raises:
            AuricleError: there is no word, or one that the model does not know.
        """
        numbers = self.checkpoint.vocabulary.encode(text)[1:-1]
        if not numbers or UNKNOWN in numbers:
            raise AuricleError(
                f"'{text}' is nothing that the model can say: words of its vocabulary are wanted"
            )
        return self.model.attention(self.hear(samples), numbers)

    def _caption(self, samples: np.ndarray) -> Caption:
        seconds = len(samples) / self.rate
        silent = silence(samples, self.rate)
        if silent > 0.5:
            return Caption(
                0.0, seconds, SILENCE, 0.0, (Alternative(SILENCE, 0.0),), confidence=silent
            )
        return self.describe(self.hear(samples), seconds)

    def _search(
        self, heard: Heard, options: BeamOptions, without: Collection[int] = ()
    ) -> list[tuple[Hypothesis, float | None]]:
        """Sentences for what was heard, without some words, and how similar each is to it; the best
        first.
        """
        config = self.checkpoint.config
        found = search_captions(
            self.model.next_log_probs(heard), self.checkpoint.vocabulary, options, without=without
        )
        similarities: list[float | None] = [None] * len(found[0])
        if heard.embedding is not None and (config.rerank or config.second_event):
            similarities = (
                self.model.embed_sentences([its.tokens for its in found[0]]) @ heard.embedding
            ).tolist()
        pairs = zip(found[0], similarities, strict=True)
        return sorted(pairs, key=lambda pair: -(pair[0].score + config.rerank * (pair[1] or 0.0)))

    def _with_second_event(
        self, heard: Heard, first: Hypothesis, similarity: float | None
    ) -> tuple[Hypothesis, float] | None:
        """A sentence of what the first tells and of what else is heard, and how similar it is; None
        if one event says as much.
        """
        limits, vocabulary = self.checkpoint.config.second_event, self.checkpoint.vocabulary
        if limits is None or LINK not in vocabulary or heard.embedding is None:
            return None
        if similarity is None or similarity >= limits.below:
            return None
        told = set(first.tokens).difference(vocabulary.numbers(STOP_WORDS))
        options = replace(self.options, min_length=min(self.options.min_length, SECOND_LENGTH))
        for second, _ in self._search(heard, options, told)[:1]:
            spoken = [*vocabulary.decode(first.tokens), LINK, *vocabulary.decode(second.tokens)]
            tokens = tuple(vocabulary.encode(" ".join(spoken))[1:-1])
            log_prob = first.log_prob + second.log_prob
            score = log_prob / (len(tokens) + 1) ** options.length_penalty
            both = float(self.model.embed_sentences([tokens])[0] @ heard.embedding)
            if both > similarity + limits.gain:
                return Hypothesis(tokens, log_prob, score), both
        return None

    def _tags(self, heard: Heard) -> tuple[Tag, ...]:
        if heard.tags is None:
            return ()
        likeliest = np.argsort(-heard.tags, kind="stable")[:TAGS]
        return tuple(Tag(self.checkpoint.tags[i], float(heard.tags[i])) for i in likeliest)

    def _beginning(self, chunks: Iterator[np.ndarray]) -> tuple[np.ndarray, bool]:
        """A sound until it is longer than `longest`, and whether it is whole."""
        held: list[np.ndarray] = []
        for chunk in chunks:
            held.append(chunk)
            if sum(map(len, held)) > self.longest * self.rate:
                return np.concatenate(held), False
        return np.concatenate(held), True

    def _similarity(
        self, sound: Sound, sentences: np.ndarray, rate: int | None = None, name: str | None = None
    ) -> np.ndarray:
        """(sentences,), the most similar window's where the sound has several."""
        if isinstance(sound, np.ndarray):
            chunks = iter([resample(sound, rate or self.rate, self.rate)])
        else:
            chunks = stream_audio(sound, self.rate, name=name)
        beginning, whole = self._beginning(chunks)
        windows = iter([beginning])
        if not whole:
            windows = split_into_windows(
                itertools.chain(windows, chunks), round(WINDOW_SECONDS * self.rate)
            )
            # As in `caption_stream`, an end shorter than a second is not heard by itself.
            windows = (
                samples for samples in windows if len(samples) >= MINIMUM_SECONDS * self.rate
            )
        embeddings = (self.hear(samples).embedding for samples in windows)
        return reduce(np.maximum, (sentences @ embedding for embedding in embeddings)).clip(-1, 1)


def load(checkpoint: str | Path | None = None, options: BeamOptions | None = None) -> Captioner:
    """A captioner from a checkpoint folder; the embedded model if None.

    Args:
        checkpoint: a folder, or owner/name or owner/name@revision on the Hugging Face Hub (extra
            `hub`).
        options: how to search; as the checkpoint says if None.

    Raises:
        AuricleError: the folder is not a checkpoint.
    """
    return Captioner(load_checkpoint(EMBEDDED if checkpoint is None else Path(checkpoint)), options)
