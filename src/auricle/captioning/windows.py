"""Captions of long sounds, window by window."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from auricle.captioning.parallel import in_order
from auricle.captioning.results import Caption, most_confident
from auricle.errors import AudioError
from auricle.sound.features import MINIMUM_SECONDS

WINDOW_SECONDS = 10.0


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
    start_seconds: float = 0.0,
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
        start_seconds: the time of the first sample.

    Raises:
        ValueError: the window is too short.
    """
    if window_seconds < MINIMUM_SECONDS:
        raise ValueError(f"a window of {window_seconds} s: use at least {MINIMUM_SECONDS:g} s")
    held: Caption | None = None
    try:
        for found in _timed_captions(caption, chunks, rate, window_seconds, jobs, start_seconds):
            if isinstance(found, ShortEnd):
                assert held is not None
                held = held.placed(held.start, found.end)
            elif merge and held is not None and held.text == found.text:
                both = most_confident((held, found))
                held = both.placed(held.start, found.end)
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
    start_seconds: float,
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
        start = start_seconds + begin / rate
        begin += size
        end = start_seconds + begin / rate
        if found is None:
            yield ShortEnd(end)
        else:
            yield found.placed(start, end)


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
