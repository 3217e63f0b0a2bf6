"""Long sounds in windows."""

from collections.abc import Iterable, Iterator

import numpy as np

WINDOW_SECONDS = 10.0


def split_into_windows(chunks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
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
