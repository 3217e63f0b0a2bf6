"""Similarity of sounds to sentences, in the space that the two towers share."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import reduce

import numpy as np

from auricle.captioning.onnx_backend import OnnxModel
from auricle.captioning.reading import read_beginning
from auricle.captioning.windows import WINDOW_SECONDS, split_into_windows
from auricle.checkpoint.folder import Checkpoint
from auricle.checkpoint.vocabulary import words
from auricle.errors import AuricleError
from auricle.sound.features import MINIMUM_SECONDS


def embed_sentences(
    checkpoint: Checkpoint, model: OnnxModel, sentences: Sequence[str]
) -> np.ndarray:
    """The embeddings of sentences; unknown words are left out.

    Returns:
        (sentences, space), each of length 1.

    Raises:
        AuricleError: the checkpoint cannot compare, or knows no word of a sentence.
    """
    if not checkpoint.config.space:
        raise AuricleError("the model cannot compare sounds with sentences: it has no text tower")
    known = [checkpoint.vocabulary.numbers(words(text)) for text in sentences]
    for text, numbers in zip(sentences, known, strict=True):
        if not numbers:
            raise AuricleError(f"the model knows no word of '{text}': say it in other words")
    return model.embed_sentences(known)


def unknown_words(checkpoint: Checkpoint, sentence: str) -> list[str]:
    """The words of a sentence that the model does not know."""
    return [word for word in words(sentence) if word not in checkpoint.vocabulary]


def compare_sound(
    embed: Callable[[np.ndarray], np.ndarray],
    chunks: Iterator[np.ndarray],
    sentences: np.ndarray,
    rate: int,
    longest_seconds: float,
) -> np.ndarray:
    """Cosines of a sound to sentences; of a long sound, those of its most similar windows.

    Args:
        embed: samples, (samples,) -> embedding, (space,), of length 1.
        chunks: mono samples at `rate`.
        sentences: (sentences, space), each of length 1.
        rate: in Hz.
        longest_seconds: a sound that is longer by more than a second is compared in windows of
            10 s.

    Returns:
        (sentences,) from -1 to 1.
    """
    beginning, rest = read_beginning(chunks, longest_seconds, rate)
    windows = iter([beginning])
    if rest is not None:
        pieces = itertools.chain(windows, rest)
        windows = (
            samples
            for samples in split_into_windows(pieces, round(WINDOW_SECONDS * rate))
            # As for captions, an end shorter than a second is left out.
            if len(samples) >= MINIMUM_SECONDS * rate
        )
    return reduce(np.maximum, (sentences @ embed(samples) for samples in windows)).clip(-1, 1)
