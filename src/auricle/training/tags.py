"""Finds AudioSet tags for captions without sound, to guide the decoder.

    captions -> sentence embeddings -> cosines to the names of AudioSet's classes -> nearest classes

The two wordings of a name, the threshold and the limit of six tags worked at the first try. None of
them has been tuned.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from auricle.data.progress import SILENT, Report
from auricle.errors import AuricleError
from auricle.evaluation.sentences import SentenceModel
from auricle.storage.csv_table import TableError, read_rows
from auricle.storage.files import cache_folder

CLASSES = 527
MODEL, WIDTH = "all-MiniLM-L6-v2", 384
MOST_TAGS = 6  # of a caption
_CHUNK = 1024  # captions between two commits: seconds of work


def read_class_names(path: Path) -> list[str]:
    """Reads the display names in AudioSet's class_labels_indices.csv, in order.

    It also reads a checkpoint's `tags.txt`, which has a name on each line.

    Raises:
        AuricleError: the file cannot be read, or does not hold the 527 classes in order.
    """
    try:
        if path.suffix == ".txt":
            names = path.read_text("utf-8").splitlines()[:CLASSES]  # others have no tags
            indices = list(range(len(names)))
        else:
            rows = read_rows(path, ("index", "display_name"))
            indices = [int(row["index"]) for row in rows]
            names = [row["display_name"] for row in rows]
    except (OSError, ValueError) as error:
        raise AuricleError(
            f"{path}: cannot be read as AudioSet's class_labels_indices.csv: {error}"
        ) from None
    except TableError as error:
        raise AuricleError(f"{error}; expected AudioSet's class_labels_indices.csv") from None
    if indices != list(range(CLASSES)):
        raise AuricleError(
            f"{path}: {len(names)} classes; expected AudioSet's {CLASSES} "
            "in the order of their indices"
        )
    return names


def embed_sentences(texts: Sequence[str], *, report: Report = SILENT) -> np.ndarray:
    """Embeds texts with all-MiniLM-L6-v2: (texts, 384) float32, of unit length to 1e-3.

    The user's cache keeps every embedding in half precision, so each text is computed once, and a
    stop loses at most one chunk.

    Raises:
        SentencesError: a text is new, and the model or its library is not installed.
        AuricleError: the cache cannot be written.
    """
    path = cache_folder("sentences") / f"{MODEL}.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        embeddings = _embedded(texts, path, report)
    except sqlite3.Error as error:
        raise AuricleError(
            f"{path}: embeddings cannot be kept: {error}; set AURICLE_CACHE to another folder"
        ) from None
    return np.frombuffer(embeddings, np.float16).reshape(len(texts), WIDTH).astype(np.float32)


def _embedded(texts: Sequence[str], path: Path, report: Report) -> bytes:
    # SQLite serves any selection of texts, and other processes that write at the same time.
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as store:
        store.execute(
            "CREATE TABLE IF NOT EXISTS embeddings "
            "(text TEXT PRIMARY KEY, embedding BLOB) WITHOUT ROWID"
        )

        def stored(text: str) -> tuple[bytes] | None:
            return store.execute(
                "SELECT embedding FROM embeddings WHERE text = ?", (text,)
            ).fetchone()

        new = sorted((text for text in dict.fromkeys(texts) if stored(text) is None), key=len)
        model = SentenceModel(Path(MODEL)) if new else None
        for start in range(0, len(new), _CHUNK):
            assert model is not None
            report("Embedding sentences", start, len(new))
            chunk = new[start : start + _CHUNK]
            rows = zip(
                chunk, (row.tobytes() for row in model.embed(chunk).astype(np.float16)), strict=True
            )
            with store:
                store.executemany("INSERT OR IGNORE INTO embeddings VALUES (?, ?)", rows)
        return b"".join(row[0] for text in texts if (row := stored(text)))


def read_tags(
    captions: Sequence[str],
    names: Sequence[str],
    *,
    threshold: float = 0.42,
    report: Report = SILENT,
) -> list[dict[int, float]]:
    """Returns the classes near each caption: index -> similarity, the nearest first, at most six.

    The similarity is the mean of the cosines to "name" and "the sound of name", in lower case. Only
    classes above the threshold count, or the nearest one if there are none.
    """
    plain = [name.lower() for name in names]
    sounds = [f"the sound of {name}" for name in plain]
    classes = (embed_sentences(plain, report=report) + embed_sentences(sounds, report=report)) / 2
    embedded = embed_sentences(captions, report=report)
    tags: list[dict[int, float]] = []
    for start in range(0, len(captions), _CHUNK):
        similarity = embedded[start : start + _CHUNK] @ classes.T  # (captions, classes)
        for row, order in zip(
            similarity, np.argsort(-similarity, axis=1)[:, :MOST_TAGS], strict=True
        ):
            near = order[: max(1, np.count_nonzero(row[order] > threshold))]
            tags.append({int(place): float(row[place]) for place in near})
    return tags
