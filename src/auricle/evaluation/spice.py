"""SPICE 1.0 (Anderson et al., 2016): the original Java program, with the CoreNLP that `install` put
into the cache.
"""

import json
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from auricle.errors import AuricleError
from auricle.evaluation.java import OLDEST_FOR_SPICE, JavaError, run_java
from auricle.evaluation.toolkit import toolkit_folder
from auricle.storage.files import cache_folder

CODE_JAR = "stanford-corenlp-3.6.0.jar"
MODELS_JAR = "stanford-corenlp-3.6.0-models-spice.jar"
# Java's packages that SPICE's serializer looks into, closed to it since Java 16.
_OPENED = ("lang", "util", "util.concurrent", "math", "text", "net")
# LMDB, which keeps the parsed captions, takes keys of 511 bytes, and SPICE stops at a longer one.
_LONGEST_CACHED = 480


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


def spice(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """SPICE's F-score of each PTB-tokenized candidate; 0 where neither it nor its references hold a
    tuple.

    New captions cost about 20 ms each on two cores, captions parsed before next to nothing. The
    corpus score is the mean. Raises MissingSpiceError, MissingJavaError or JavaError.
    """
    lacks = missing_spice()
    if lacks:
        raise MissingSpiceError(lacks)
    return run_spice(metrics_folder(), candidates, references)


def classpath(folder: Path) -> str:
    """Java's class path of SPICE with the CoreNLP in `folder` and our engine for its one line of
    JavaScript.
    """
    parts = toolkit_folder("spice")
    engine = Path(__file__).with_name("spice_engine")
    libraries = sorted((parts / "lib").glob("*.jar"))
    return os.pathsep.join(
        map(
            str,
            [engine, parts / "spice-1.0.jar", *libraries, folder / CODE_JAR, folder / MODELS_JAR],
        )
    )


def run_spice(
    folder: Path, candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> list[float]:
    """`spice` with the jars of `folder`, where parsed captions are kept too."""
    items = [
        {"image_id": number, "test": candidate, "refs": list(its_references)}
        for number, (candidate, its_references) in enumerate(
            zip(candidates, references, strict=True)
        )
    ]
    parsed = folder / "parsed-captions"
    parsed.mkdir(exist_ok=True)
    longest = max(
        (len(text.encode("utf-8")) for item in items for text in (item["test"], *item["refs"])),
        default=0,
    )
    cache = ["-cache", str(parsed)] if longest <= _LONGEST_CACHED else []
    with tempfile.TemporaryDirectory() as name:
        asked, answered = Path(name) / "in.json", Path(name) / "out.json"
        asked.write_text(json.dumps(items), encoding="utf-8")
        run_java(
            [
                "-Xmx4G",
                "-XX:+UseParallelGC",
                *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED),
                *("-cp", classpath(folder), "edu.anu.spice.SpiceScorer", str(asked)),
                *("-out", str(answered), *cache, "-subset", "-silent"),
            ],
            oldest=OLDEST_FOR_SPICE,
        )
        if not answered.is_file():
            raise JavaError("SPICE ended without a result")
        results = json.loads(answered.read_text(encoding="utf-8"))
    scores = {result["image_id"]: result["scores"]["All"]["f"] for result in results}
    if set(scores) != set(range(len(items))):
        raise JavaError(f"SPICE gave {len(scores)} scores for {len(items)} captions")
    return [
        0.0 if (score := scores[number]) is None or math.isnan(score) else score
        for number in range(len(items))
    ]
