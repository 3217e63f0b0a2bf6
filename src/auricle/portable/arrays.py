"""Raw arrays: numbers in row order, little-endian, without a header."""

from pathlib import Path

import numpy as np


def write_array(folder: Path, name: str, array: np.ndarray) -> dict[str, object]:
    """Writes an array and returns its description: file, type and shape.

    Args:
        folder: the portable folder.
        name: of the file in it.
        array: of numbers.
    """
    little = array.astype(array.dtype.newbyteorder("<"))
    (folder / name).write_bytes(little.tobytes())
    return {"file": name, "type": array.dtype.name, "shape": list(array.shape)}
