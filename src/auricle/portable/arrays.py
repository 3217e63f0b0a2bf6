"""Files of a portable folder: JSON, and little-endian raw arrays without a header."""

import json
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


def write_json(path: Path, content: object, indent: int | None = None) -> None:
    """Writes JSON that has no infinities and no NaN."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", "utf-8")
