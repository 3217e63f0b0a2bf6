"""Captions of long sounds, window by window."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from auricle.captioning.parallel import in_order
from auricle.captioning.results import Caption, most_confident
from auricle.errors import AudioError
from auricle.sound.features import MINIMUM_SECONDS

WINDOW_SECONDS = 10.0
# A sound may be longer than the longest by this and still get one caption, of its beginning. Data
# sets of clips of 30 s hold clips that are a little longer, and training cuts them too.
SPARE_SECONDS = 1.0


@dataclass(frozen=True)
class ShortEnd:
    """The end of a sound that is too short for a caption of its own."""

    end: float  # seconds from the beginning of the sound


def caption_windows(
    caption: Callable[[np.ndarray], Caption],
    chunks: Iterable[np.ndarray],
    rate: int,
    window_seconds: float,
    *,
    merge: bool,
    jobs: int,
) -> Iterator[Caption]:
    """A caption for each window of a sound; equal neighbours become one where `merge` is set.

    A caption comes when the next window is known to differ. An end shorter than a second belongs to
    the window before it.

    Args:
        caption: captions the samples of one window, (samples,).
        chunks: mono samples, (n,) each, of any n.
        rate: of the samples, in Hz.
        window_seconds: at least 1.
        merge: whether equal neighbours become one.
        jobs: windows at a time.

    Raises:
        ValueError: the window is too short.
    """
    if window_seconds < MINIMUM_SECONDS:
        raise ValueError(f"a window of {window_seconds} s: use at least {MINIMUM_SECONDS:g} s")
    held: Caption | None = None
    try:
        for found in _timed_captions(caption, chunks, rate, window_seconds, jobs):
            if isinstance(found, ShortEnd):
                assert held is not None
                held = replace(held, end=found.end)
            elif merge and held is not None and held.text == found.text:
                both = most_confident((held, found))
                held = replace(both, start=held.start, end=found.end)
            else:
                if held is not None:
                    yield held
                held = found
    except AudioError:
        if held is not None:
            yield held  # an error never hides what came before it
        raise
    if held is not None:
        yield held


def _timed_captions(
    caption: Callable[[np.ndarray], Caption],
    chunks: Iterable[np.ndarray],
    rate: int,
    window_seconds: float,
    jobs: int,
) -> Iterator[Caption | ShortEnd]:
    """Each window's caption with its times; a last short window has none."""
    shortest = MINIMUM_SECONDS * rate

    def captioned(numbered: tuple[int, np.ndarray]) -> tuple[int, Caption | None]:
        number, samples = numbered
        short = number > 0 and len(samples) < shortest
        return len(samples), None if short else caption(samples)

    windows = enumerate(split_into_windows(chunks, round(window_seconds * rate)))
    begin = 0
    for size, found in in_order(captioned, windows, jobs):
        start, begin = begin / rate, begin + size
        end = begin / rate
        if found is None:
            yield ShortEnd(end)
        else:
            yield replace(found, start=start, end=end, whole=False)


def read_beginning(chunks: Iterator[np.ndarray], most_samples: int) -> tuple[np.ndarray, bool]:
    """The chunks until they exceed `most_samples`, joined; and whether the sound ended before."""
    held: list[np.ndarray] = []
    count = 0
    for chunk in chunks:
        held.append(chunk)
        count += len(chunk)
        if count > most_samples:
            return np.concatenate(held), False
    return np.concatenate(held), True


def split_into_windows(chunks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in arrays of `size`; the last may be shorter.

    Raises:
        AudioError: that of the chunks, after the samples before it.
    """
    held: list[np.ndarray] = []
    count = 0
    try:
        for chunk in chunks:
            held.append(chunk)
            count += len(chunk)
            if count >= size:
                samples = np.concatenate(held)
                for start in range(0, count - size + 1, size):
                    yield samples[start : start + size]
                held = [samples[count - count % size :]]
                count %= size
    except AudioError:
        if count:
            yield np.concatenate(held)
        raise
    if count:
        yield np.concatenate(held)
