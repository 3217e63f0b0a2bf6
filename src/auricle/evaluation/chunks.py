"""Scores many captions with a program that one bad caption can stop.

A parser needs minutes for a caption that repeats itself a hundred times, and another program runs
out of memory on it. The program therefore gets the captions in chunks. A chunk that takes too long,
or that stops the program, is halved until one caption is left. That caption is tried again at the
end, because a busy machine can stall a program. If it fails again, a reason replaces its score.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from auricle.evaluation.java import JavaError

ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
ScoreT_co = TypeVar("ScoreT_co", covariant=True)

CAPTION_SECONDS = 60.0  # the default limit of one caption
LONG_WORDS = 50  # a longer text is a chunk by itself: parsing takes the cube of its length
_SMALLEST_CHUNK = 8
_FIRST_CHUNK = 32
_LARGEST_CHUNK = 256
# The limit of a chunk is this share of a caption's limit, times its captions.
_SHARE_OF_LIMIT = 1 / 16
_QUICK_SECONDS = 3.0  # after a chunk that took less, the next one is twice as large
_SLOW_SECONDS = 15.0  # after a chunk that took more, the next one is half as large

ChunkProgress = Callable[[int, int], None]  # receives the captions done and all captions


@dataclass(frozen=True)
class Unscored:
    """Replaces the score of a caption that could not be scored."""

    reason: str


class Program(Protocol[ItemT_contra, ScoreT_co]):
    """A program that scores captions and can be started again."""

    def score(self, items: Sequence[ItemT_contra], seconds: float) -> Sequence[ScoreT_co]:
        """Scores a chunk; starts the program if it does not run.

        Raises:
            JavaError: the chunk took longer than `seconds`, or the program stopped.
        """
        ...

    def restart(self) -> None:
        """Restarts the program and scores a short caption.

        Raises:
            JavaError: the program cannot score the short caption.
        """
        ...


ItemT = TypeVar("ItemT")
ScoreT = TypeVar("ScoreT")


def score_in_chunks(
    program: Program[ItemT, ScoreT],
    items: Sequence[ItemT],
    *,
    is_long: Callable[[ItemT], bool],
    caption_seconds: float = CAPTION_SECONDS,
    progress: ChunkProgress | None = None,
) -> list[ScoreT | Unscored]:
    """Scores all items; gives `Unscored` for each item that the program could not score.

    Args:
        program: scores one chunk.
        items: the captions with their references, in the program's form.
        is_long: returns whether an item must be a chunk by itself.
        caption_seconds: the limit of one caption.
        progress: is called at the start and after each chunk.

    Raises:
        JavaError: the program cannot score even a short caption.
    """
    results: dict[int, ScoreT | Unscored] = {}

    def score(chunk: Sequence[int]) -> None:
        limit = caption_seconds * max(1.0, len(chunk) * _SHARE_OF_LIMIT)
        try:
            scores = program.score([items[number] for number in chunk], limit)
        except JavaError as error:
            if not results:
                program.restart()  # raises if the captions are not the cause
            if len(chunk) == 1:
                results[chunk[0]] = Unscored(str(error))
            else:
                middle = len(chunk) // 2
                score(chunk[:middle])
                score(chunk[middle:])
        else:
            results.update(zip(chunk, scores, strict=True))
        if progress is not None:
            progress(len(results), len(items))

    if progress is not None:
        progress(0, len(items))
    ordinary = [number for number, item in enumerate(items) if not is_long(item)]
    size = _FIRST_CHUNK
    while ordinary:
        chunk, ordinary = ordinary[:size], ordinary[size:]
        started = time.monotonic()
        score(chunk)
        seconds = time.monotonic() - started
        if seconds < _QUICK_SECONDS:
            size = min(2 * size, _LARGEST_CHUNK)
        elif seconds > _SLOW_SECONDS:
            size = max(size // 2, _SMALLEST_CHUNK)
    for number, item in enumerate(items):
        # The first try of long captions, and the second try of the others that failed.
        if is_long(item) or isinstance(results[number], Unscored):
            score([number])
    return [results[number] for number in range(len(items))]


def is_long_text(text: str) -> bool:
    """Returns whether a text is too long to share a chunk with others."""
    return len(text.split()) > LONG_WORDS
