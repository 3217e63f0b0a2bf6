"""Compares windows of an index with a vector or with words, and joins the best into hits."""

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import apsw
import numpy as np

from auricle.captioning.results import Tag
from auricle.checkpoint.vocabulary import STOP_WORDS
from auricle.search.files import gone


@dataclass(frozen=True)
class Hit:
    """A stretch of a file that a search found."""

    file: str
    start: float  # seconds from the file's beginning
    end: float
    caption: str
    # By embedding: the cosine, from -1 to 1. By words: BM25 relative to the best, from 0 to 1.
    # By both: the cosine + WORDS_WEIGHT times the latter.
    score: float
    whole: bool  # the whole sound, not a stretch of it
    confidence: float | None
    tags: tuple[Tag, ...]


def nearest(
    database: apsw.Connection, vector: np.ndarray, count: int, among: Collection[int] | None = None
) -> dict[int, float]:
    """Returns the cosines of the windows nearest to a vector, by window number.

    Args:
        database: of the index.
        vector: (space,) float32.
        count: the maximum number of windows.
        among: numbers of the windows to compare; all windows if None.
    """
    query, values = (
        "SELECT id, distance FROM embeddings WHERE vector MATCH ? AND k = ?",
        [vector.tobytes(), count],
    )
    if among is not None:
        query += " AND id IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(list(among)))
    return {window: 1 - distance for window, distance in database.execute(query, values)}


def word_shares(database: apsw.Connection, sentence_words: Sequence[str]) -> dict[int, float]:
    """Returns BM25, relative to the best, of the windows with any of the words, by number."""
    content_words = [word for word in sentence_words if word not in STOP_WORDS]
    query = " OR ".join(f'"{word}"' for word in content_words or sentence_words)
    rows = database.execute("SELECT rowid, -bm25(words) FROM words WHERE words MATCH ?", (query,))
    scores: list[tuple[int, float]] = rows.fetchall()  # type: ignore[assignment]
    best = max((score for _, score in scores), default=1.0)
    return {window: score / best for window, score in scores}


def best_hits(
    database: apsw.Connection, scores: dict[int, float], top: int
) -> tuple[list[Hit], bool]:
    """Joins windows into stretches of files, the best first.

    Args:
        database: of the index.
        scores: of windows, by number.
        top: the maximum number of hits.

    Returns:
        The hits, and whether any were omitted because their files no longer exist.
    """
    run = database.execute
    rows = run(
        """SELECT id, sound, start, "end", caption, whole, confidence, tags FROM windows
           WHERE id IN (SELECT value FROM json_each(?)) ORDER BY sound, start""",
        (json.dumps(list(scores)),),
    )
    stretches: list[tuple[int, Hit]] = []
    for window, sound, start, end, caption, whole, confidence, tags in rows:
        known = tuple(Tag(name, probability) for name, probability in json.loads(tags))
        hit = Hit("", start, end, caption, scores[window], bool(whole), confidence, known)
        if stretches and stretches[-1][0] == sound:
            last = stretches[-1][1]
            if (last.end, last.caption) == (start, caption):
                best = max(last, hit, key=lambda h: h.score)
                stretches[-1] = sound, replace(best, start=last.start, end=end)
                continue
        stretches.append((sound, hit))
    stretches.sort(key=lambda pair: -pair[1].score)
    hits: list[Hit] = []
    hidden = False
    for sound, hit in stretches:
        for (path,) in run("SELECT path FROM files WHERE sound = ? ORDER BY path", (sound,)):
            if len(hits) == top:
                return hits, hidden
            if gone(file := os.fsdecode(path)):
                hidden = True
            else:
                hits.append(replace(hit, file=file))
    return hits, hidden
