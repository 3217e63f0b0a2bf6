"""What a search costs: queries by embedding, by words and by both, in an index of made-up windows.

    OMP_NUM_THREADS=1 python benchmarks/search.py
    OMP_NUM_THREADS=1 python benchmarks/search.py --windows 1000000

Embeddings are random unit vectors, which are harder than real ones: none is far from the query.
Captions and queries are words of the embedded model's vocabulary, as frequent as Zipf's law has
them. Machines differ: quote what else ran.
"""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from auricle import Caption, load
from auricle.captioning.captioner import Captioner
from auricle.captioning.results import Tag
from auricle.captioning.windows import WINDOW_SECONDS
from auricle.checkpoint.vocabulary import SPECIAL, sentence
from auricle.search import By
from auricle.search.files import File
from auricle.search.index import SoundIndex

WINDOWS_OF_A_SOUND = 10
CAPTION_WORDS = 9
QUERY_WORDS = 4


class Made:
    """Windows and sentences by chance, as alike as the seed is."""

    def __init__(self, captioner: Captioner, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._words = np.array(captioner.checkpoint.vocabulary.words[len(SPECIAL) :])
        frequency = 1 / np.arange(1, len(self._words) + 1)
        self._frequency = frequency / frequency.sum()
        self._tags = captioner.checkpoint.tags
        self._space = captioner.checkpoint.config.space

    def text(self, count: int) -> str:
        """Returns a sentence of `count` words."""
        return sentence(self._rng.choice(self._words, count, p=self._frequency).tolist())

    def captions(self) -> list[Caption]:
        """Those of one sound."""
        vectors = self._rng.normal(size=(WINDOWS_OF_A_SOUND, self._space)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return [
            Caption(
                WINDOW_SECONDS * number,
                WINDOW_SECONDS * (number + 1),
                self.text(CAPTION_WORDS),
                -1.0,
                (),
                whole=False,
                tags=tuple(
                    Tag(self._tags[tag], 0.5) for tag in self._rng.integers(len(self._tags), size=3)
                ),
                confidence=0.5,
                embedding=vector,
            )
            for number, vector in enumerate(vectors)
        ]


def milliseconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def main(
    windows: Annotated[int, typer.Option(min=WINDOWS_OF_A_SOUND)] = 100_000,
    queries: Annotated[int, typer.Option(min=1)] = 50,
    top: int = 10,
    seed: int = 0,
) -> None:
    """Makes an index in a temporary folder and searches it."""
    captioner = load()
    made = Made(captioner, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sounds.sqlite"
        began = time.perf_counter()
        with SoundIndex(path, captioner, create=True) as index, index.transaction():
            for number in range(windows // WINDOWS_OF_A_SOUND):
                name = str(Path(folder) / f"{number}.wav")
                Path(name).touch()  # a search hides files that are gone
                index.put(File(name, 1, 1), name.encode(), made.captions())
        print(
            f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; "
            f"seed {seed}"
        )
        print(
            f"{windows} windows made in {time.perf_counter() - began:.0f} s: "
            f"{path.stat().st_size / 1e6:.0f} MB"
        )
        sentences = [made.text(QUERY_WORDS) for _ in range(queries)]
        with SoundIndex(path, captioner) as index:
            first = milliseconds(lambda: index.search(sentences[0], By.both, top))
            print(f"first query by both: {first:.0f} ms")
            rows = {
                f"by {by}": [
                    milliseconds(lambda q=query, b=by: index.search(q, b, top))
                    for query in sentences
                ]
                for by in By
            }
        rows["of which the sentence"] = [
            milliseconds(lambda q=query: captioner.embed_sentences([q])) for query in sentences
        ]
        print(
            f"\n| {queries} queries, the best {top} | median, ms | slowest, ms |\n| --- | --- | "
            f"--- |"
        )
        for way, times in rows.items():
            print(f"| {way} | {statistics.median(times):.1f} | {max(times):.1f} |")


if __name__ == "__main__":
    typer.run(main)
