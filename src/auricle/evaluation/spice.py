"""Computes SPICE 1.0 (Anderson et al., 2016) with the original Java program.

The program needs CoreNLP, which `install` puts into the user's cache.
"""

import json
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from auricle.errors import AuricleError
from auricle.evaluation.chunks import (
    CAPTION_SECONDS,
    ChunkProgress,
    Unscored,
    is_long_text,
    score_in_chunks,
)
from auricle.evaluation.java import OLDEST_FOR_SPICE, START_SECONDS, JavaError, JavaProcess
from auricle.evaluation.toolkit import toolkit_folder
from auricle.storage.files import cache_folder

CODE_JAR = "stanford-corenlp-3.6.0.jar"
MODELS_JAR = "stanford-corenlp-3.6.0-models-spice.jar"
# Packages of Java that SPICE's serializer reads; they are closed since Java 16.
_OPENED = ("lang", "util", "util.concurrent", "math", "text", "net")
# LMDB, which stores the parsed captions, takes keys of 511 bytes. A longer key stops SPICE.
_LONGEST_CACHED_BYTES = 480
# Options of Java. For 20 new captions, those for few take 0.6 of the processor time and half the
# memory.
_FOR_FEW = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_FOR_MANY = ("-XX:+UseParallelGC",)
_MOST_OF_FEW = 50  # captions


class MissingSpiceError(AuricleError):
    """Raised if SPICE cannot run; the message names the missing part and how to install it."""


def metrics_folder() -> Path:
    """Returns the folder in the user's cache that holds CoreNLP for SPICE."""
    return cache_folder("metrics")


def missing_spice() -> str | None:
    """Returns a message if SPICE lacks CoreNLP, else None."""
    lacks = [name for name in (CODE_JAR, MODELS_JAR) if not (metrics_folder() / name).is_file()]
    return (
        f"SPICE needs CoreNLP 3.6.0, which is not in {metrics_folder()}: run `auricle metrics "
        "install`"
        if lacks
        else None
    )


def spice(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    caption_seconds: float = CAPTION_SECONDS,
    progress: ChunkProgress | None = None,
) -> list[float | Unscored]:
    """Computes SPICE's F-score of each PTB-tokenized candidate; the corpus score is the mean.

    The score is 0 if neither the candidate nor its references hold a tuple. A new caption takes
    about 20 ms on two cores; a caption parsed before takes almost no time. A caption that takes
    longer than `caption_seconds`, or that stops SPICE, is `Unscored`.

    Raises:
        MissingSpiceError: CoreNLP is not installed.
        MissingJavaError: Java is missing or too old.
        JavaError: SPICE does not run.
    """
    lacks = missing_spice()
    if lacks:
        raise MissingSpiceError(lacks)
    return run_spice(
        metrics_folder(),
        candidates,
        references,
        caption_seconds=caption_seconds,
        progress=progress,
    )


def classpath(folder: Path) -> str:
    """Returns Java's class path for SPICE, with CoreNLP in `folder` and our two classes."""
    parts = toolkit_folder("spice")
    engine = Path(__file__).with_name("spice_engine")
    libraries = sorted((parts / "lib").glob("*.jar"))
    return os.pathsep.join(
        map(
            str,
            [engine, parts / "spice-1.0.jar", *libraries, folder / CODE_JAR, folder / MODELS_JAR],
        )
    )


@dataclass(frozen=True)
class _Item:
    """One candidate with its references."""

    candidate: str
    references: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.candidate, *self.references)

    @property
    def is_cacheable(self) -> bool:
        return all(len(text.encode("utf-8")) <= _LONGEST_CACHED_BYTES for text in self.texts)

    @property
    def is_long(self) -> bool:
        # A text that is too long for the cache would keep the rest of its chunk out of it.
        return not self.is_cacheable or any(is_long_text(text) for text in self.texts)


_SHORT = _Item("a dog barks", ("a dog barks",))


class _Program:
    """Runs SPICE, which scores chunks, and restarts it if it stopped.

    Args:
        jars: the folder of CoreNLP and of the parsed captions.
        folder: for temporary files.
        few: whether there are too few captions for Java to gain by its slow compiler.
    """

    def __init__(self, jars: Path, folder: Path, *, few: bool) -> None:
        self._jars, self._folder = jars, folder
        self._options = _FOR_FEW if few else _FOR_MANY
        self._parsed = jars / "parsed-captions"
        self._parsed.mkdir(exist_ok=True)
        self._process = self._start()

    def _start(self) -> JavaProcess:
        self._start_seconds = START_SECONDS  # the first call also loads the models
        arguments = [
            "-Xmx4G",
            *self._options,
            *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED),
            *("-cp", classpath(self._jars), "auricle.Repeat", "edu.anu.spice.SpiceScorer"),
        ]
        return JavaProcess("SPICE", arguments, oldest=OLDEST_FOR_SPICE)

    def score(self, items: Sequence[_Item], seconds: float) -> list[float]:
        if not self._process.alive:
            self.restart()
        elif self._start_seconds and len(items) == 1:
            self._warm_up()
        return self._score(items, seconds)

    def restart(self) -> None:
        self.close()
        self._process = self._start()
        self._warm_up()

    def _warm_up(self) -> None:
        self._score([_SHORT], 0.0, cached=False)

    def _score(self, items: Sequence[_Item], seconds: float, *, cached: bool = True) -> list[float]:
        input_file, output_file = self._folder / "in.json", self._folder / "out.json"
        output_file.unlink(missing_ok=True)
        rows = [
            {"image_id": number, "test": item.candidate, "refs": item.references}
            for number, item in enumerate(items)
        ]
        input_file.write_text(json.dumps(rows), encoding="utf-8")
        cached = cached and all(item.is_cacheable for item in items)
        cache = ["-cache", str(self._parsed)] if cached else []
        call = [str(input_file), "-out", str(output_file), *cache, "-subset", "-silent"]
        self._process.ask(["\t".join(call)], seconds + self._start_seconds)
        self._start_seconds = 0.0
        return _read_scores(output_file, len(items))

    def close(self) -> None:
        self._process.close()


def run_spice(
    folder: Path,
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    caption_seconds: float = CAPTION_SECONDS,
    progress: ChunkProgress | None = None,
) -> list[float | Unscored]:
    """Computes `spice` with the jars of `folder`, and stores parsed captions there."""
    pairs = zip(candidates, references, strict=True)
    items = [_Item(candidate, tuple(texts)) for candidate, texts in pairs]
    with tempfile.TemporaryDirectory() as scratch:
        program = _Program(folder, Path(scratch), few=len(items) <= _MOST_OF_FEW)
        try:
            return score_in_chunks(
                program,
                items,
                is_long=lambda item: item.is_long,
                caption_seconds=caption_seconds,
                progress=progress,
            )
        finally:
            program.close()


def _read_scores(output_file: Path, expected: int) -> list[float]:
    if not output_file.is_file():
        raise JavaError("SPICE ended without a result")
    results = json.loads(output_file.read_text(encoding="utf-8"))
    scores = {result["image_id"]: result["scores"]["All"]["f"] for result in results}
    if set(scores) != set(range(expected)):
        raise JavaError(f"SPICE gave {len(scores)} scores: expected {expected}, one per caption")
    return [
        0.0 if (score := scores[number]) is None or math.isnan(score) else score
        for number in range(expected)
    ]
