"""SPICE 1.0 (Anderson et al., 2016): the original Java program.

It needs CoreNLP, which `install` puts into the user's cache.
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
    Progress,
    Unscored,
    is_long_text,
    score_in_chunks,
)
from auricle.evaluation.java import OLDEST_FOR_SPICE, JavaError, JavaProcess
from auricle.evaluation.toolkit import toolkit_folder
from auricle.storage.files import cache_folder

CODE_JAR = "stanford-corenlp-3.6.0.jar"
MODELS_JAR = "stanford-corenlp-3.6.0-models-spice.jar"
# Java's packages that SPICE's serializer looks into, closed to it since Java 16.
_OPENED = ("lang", "util", "util.concurrent", "math", "text", "net")
# LMDB, which keeps the parsed captions, takes keys of 511 bytes, and SPICE stops at a longer one.
_LONGEST_CACHED_BYTES = 480
START_SECONDS = 120.0  # the program may take so long to load its models


class MissingSpiceError(AuricleError):
    """SPICE cannot run here; the message says what it lacks and how to get it."""


def metrics_folder() -> Path:
    """The folder of the user's cache that holds what SPICE needs."""
    return cache_folder("metrics")


def missing_spice() -> str | None:
    """What SPICE lacks to run, apart from Java, or None."""
    lacks = [name for name in (CODE_JAR, MODELS_JAR) if not (metrics_folder() / name).is_file()]
    return (
        f"SPICE needs CoreNLP 3.6.0, not in {metrics_folder()}: auricle metrics install"
        if lacks
        else None
    )


def spice(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    caption_seconds: float = CAPTION_SECONDS,
    progress: Progress | None = None,
) -> list[float | Unscored]:
    """Computes SPICE's F-score of each PTB-tokenized candidate; the corpus score is the mean.

    It is 0 where neither the candidate nor its references hold a tuple. A new caption costs about
    20 ms on two cores, a caption parsed before next to nothing. A caption that takes longer than
    `caption_seconds`, or that stops SPICE, is `Unscored`.

    Raises:
        MissingSpiceError: SPICE is not installed.
        MissingJavaError: there is no Java for it.
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
    """Returns Java's class path of SPICE, with the CoreNLP in `folder` and our two classes."""
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
    def is_long(self) -> bool:
        return any(is_long_text(text) for text in self.texts)


_SHORT = _Item("a dog barks", ("a dog barks",))


class _Program:
    """SPICE in a process that scores chunks, and that is started again where it stopped."""

    def __init__(self, jars: Path, folder: Path) -> None:
        """The jars of CoreNLP and the parsed captions are in `jars`; `folder` is a scratch."""
        self._jars, self._folder = jars, folder
        self._parsed = jars / "parsed-captions"
        self._parsed.mkdir(exist_ok=True)
        self._process = self._start()

    def _start(self) -> JavaProcess:
        self._start_seconds = START_SECONDS  # more time for the first call, which loads the models
        arguments = [
            "-Xmx4G",
            "-XX:+UseParallelGC",
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
        asked, answered = self._folder / "in.json", self._folder / "out.json"
        answered.unlink(missing_ok=True)
        rows = [
            {"image_id": number, "test": item.candidate, "refs": item.references}
            for number, item in enumerate(items)
        ]
        asked.write_text(json.dumps(rows), encoding="utf-8")
        longest = max(len(text.encode("utf-8")) for item in items for text in item.texts)
        cached = cached and longest <= _LONGEST_CACHED_BYTES
        cache = ["-cache", str(self._parsed)] if cached else []
        call = [str(asked), "-out", str(answered), *cache, "-subset", "-silent"]
        self._process.ask(["\t".join(call)], seconds + self._start_seconds)
        self._start_seconds = 0.0
        return _read_scores(answered, len(items))

    def close(self) -> None:
        self._process.close()


def run_spice(
    folder: Path,
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    caption_seconds: float = CAPTION_SECONDS,
    progress: Progress | None = None,
) -> list[float | Unscored]:
    """Does the work of `spice` with the jars of `folder`, where parsed captions are kept too."""
    pairs = zip(candidates, references, strict=True)
    items = [_Item(candidate, tuple(its_references)) for candidate, its_references in pairs]
    with tempfile.TemporaryDirectory() as scratch:
        program = _Program(folder, Path(scratch))
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


def _read_scores(answered: Path, expected: int) -> list[float]:
    if not answered.is_file():
        raise JavaError("SPICE ended without a result")
    results = json.loads(answered.read_text(encoding="utf-8"))
    scores = {result["image_id"]: result["scores"]["All"]["f"] for result in results}
    if set(scores) != set(range(expected)):
        raise JavaError(f"SPICE gave {len(scores)} scores for {expected} captions")
    return [
        0.0 if (score := scores[number]) is None or math.isnan(score) else score
        for number in range(expected)
    ]
