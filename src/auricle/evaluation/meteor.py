"""METEOR 1.5 (Denkowski and Lavie, 2014): the original Java program, kept alive, for loading its
tables takes long.
"""

import atexit
import contextlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auricle.evaluation.java import LOCALE, JavaError, find_java
from auricle.evaluation.toolkit import toolkit_folder

# The parallel collector and a heap of full size at once load the tables in half the time of Java's
# defaults.
_COMMAND = (
    *("-Xmx2G", "-Xms2G", "-XX:+UseParallelGC", *LOCALE),
    *("-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"),
)
# METEOR's parameters for English; the weights are those of exact, stem, synonym and paraphrase
# matches.
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
STAGE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])


@dataclass(frozen=True)
class MeteorScores:
    """The corpus score (of summed statistics, not the mean), a score per caption, and (captions,
    23) statistics.
    """

    corpus: float
    captions: list[float]
    statistics: NDArray[np.float64]


class Meteor:
    """A running METEOR. Threads may share it; close it, or let the interpreter do so at its end."""

    def __init__(self) -> None:
        command, folder = [find_java(), *_COMMAND], toolkit_folder("meteor")
        self._lock = threading.Lock()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - read when the process has died; closed with it
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._process.poll() is None

    def score(self, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> MeteorScores:
        """Score PTB-tokenized candidates against their references; JavaError if the program has
        died.
        """
        if not candidates:
            raise ValueError("METEOR was given no captions")
        lines = []
        for candidate, its_references in zip(candidates, references, strict=True):
            # As pycocoevalcap cleans a candidate; a reference with the separator would make it
            # hang.
            candidate = candidate.replace("|||", "").replace("  ", " ")
            its_references = [reference.replace("|||", "") for reference in its_references]
            lines.append(" ||| ".join(["SCORE", *its_references, candidate]))
        with self._lock:
            statistics = self._ask(lines, len(lines))
            scores = self._ask([" ||| ".join(["EVAL", *statistics])], len(lines) + 1)
        return MeteorScores(
            corpus=float(scores[-1]),
            captions=[float(score) for score in scores[:-1]],
            statistics=_summable(np.array([line.split() for line in statistics], dtype=np.float64)),
        )

    def _ask(self, lines: Sequence[str], answers: int) -> list[str]:
        """Write lines while reading answers: a line at a time, each would wait for the one
        before.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        stdin = self._process.stdin

        def write() -> None:
            # A broken pipe is found by the reader, who knows what the program said.
            with contextlib.suppress(OSError, ValueError):
                stdin.write("".join(line + "\n" for line in lines).encode("utf-8"))
                stdin.flush()

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        read = [self._process.stdout.readline().decode("utf-8").strip() for _ in range(answers)]
        writer.join()
        if not read[-1]:
            self._complaints.seek(0)
            said = self._complaints.read().decode("utf-8", "replace").split("\n")
            self.close()
            raise JavaError(
                f"METEOR stopped: {next((line for line in said if line.strip()), 'it said nothing')[:300]}"
            )
        return read

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        # Closing flushes, which fails on a pipe whose reader is gone.
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait()
        self._complaints.close()


_running: dict[int, Meteor] = {}


def meteor() -> Meteor:
    """The one METEOR of this Python process, started at the first call; returns before it has
    loaded its tables.
    """
    process = _running.get(os.getpid())
    if process is None or not process.alive:
        process = _running[os.getpid()] = Meteor()
        atexit.register(process.close)
    return process


def _summable(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Statistics as METEOR adds them up: the one chunk of a perfect match is not counted."""
    words, reference_words, chunks, matched, reference_matched = statistics[:, [0, 1, 20, 21, 22]].T
    perfect = (matched == words) & (reference_matched == reference_words) & (chunks == 1)
    statistics[perfect, 20] = 0
    return statistics


def score_of_statistics(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """METEOR's score of (..., 23) summed statistics, in numpy, so that thousands of resamples take
    no time.

    Columns, as the program prints them: words and function words of candidate and reference; for
    each of four stages the matched content words of candidate and reference, then function words;
    chunks; all matched words of both.
    """
    words, reference_words, function, reference_function = np.moveaxis(sums[..., :4], -1, 0)
    stages = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)
    chunks, matched, reference_matched = np.moveaxis(sums[..., 20:], -1, 0)
    content = STAGE_WEIGHTS @ stages[..., :2]
    functional = STAGE_WEIGHTS @ stages[..., 2:]
    weighted = DELTA * content + (1 - DELTA) * functional
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = weighted[..., 0] / (DELTA * (words - function) + (1 - DELTA) * function)
        recall = weighted[..., 1] / (
            DELTA * (reference_words - reference_function) + (1 - DELTA) * reference_function
        )
        f_mean = 1 / ((1 - ALPHA) / precision + ALPHA / recall)
        fragmentation = chunks / ((matched + reference_matched) / 2)
        score = f_mean * (1 - GAMMA * fragmentation**BETA)
    return np.nan_to_num(score, nan=0.0)
