"""Computes METEOR 1.5 (Denkowski and Lavie, 2014) with the original Java program.

The program keeps running, because it needs seconds to load its tables.
"""

import atexit
import math
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auricle.evaluation.chunks import (
    CAPTION_SECONDS,
    ChunkProgress,
    Unscored,
    is_long_text,
    score_in_chunks,
)
from auricle.evaluation.java import OLDEST, START_SECONDS, JavaProcess
from auricle.evaluation.toolkit import toolkit_folder

# The parallel collector and a heap of full size at once load the tables in half the time of Java's
# defaults.
_ARGUMENTS = (
    *("-Xmx2G", "-Xms2G", "-XX:+UseParallelGC"),
    *("-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"),
)
_SHORT = "SCORE ||| a dog barks ||| a dog barks"
_STATISTICS = 23
# METEOR's parameters for English; the weights are those of exact, stem, synonym and paraphrase
# matches.
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
STAGE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])


@dataclass(frozen=True)
class MeteorScores:
    """METEOR of the corpus and of each caption.

    The corpus score is computed from the summed statistics; it is not the mean of the captions'
    scores. A caption that METEOR could not score is `Unscored`; its statistics are zero.
    """

    corpus: float
    captions: list[float | Unscored]
    statistics: NDArray[np.float64]  # (captions, 23)


class _Program:
    """Runs the program, which scores chunks of lines, and restarts it if it stopped."""

    def __init__(self) -> None:
        self._process = self._start()

    def _start(self) -> JavaProcess:
        self._ready = False
        folder = toolkit_folder("meteor")
        return JavaProcess("METEOR", _ARGUMENTS, oldest=OLDEST, folder=folder)

    @property
    def alive(self) -> bool:
        return self._process.alive

    def score(self, items: Sequence[str], seconds: float) -> list[str]:
        """Returns the statistics of each line; the lines begin with SCORE."""
        if not self.alive:
            self.restart()
        elif not self._ready:
            self._warm_up()
        return self._process.ask(items, seconds)

    def restart(self) -> None:
        self.close()
        self._process = self._start()
        self._warm_up()

    def _warm_up(self) -> None:
        self._process.ask([_SHORT], START_SECONDS)
        self._ready = True

    def sum_up(self, statistics: Sequence[str]) -> list[float]:
        """Returns the score of each caption, and then the score of the corpus."""
        line = " ||| ".join(["EVAL", *statistics])
        answers = self._process.ask([line], START_SECONDS, answers=len(statistics) + 1)
        return [float(answer) for answer in answers]

    def close(self) -> None:
        self._process.close()


class Meteor:
    """A running METEOR; threads may share it. Close it, or let the interpreter close it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._program = _Program()

    @property
    def alive(self) -> bool:
        """True while the program runs."""
        return self._program.alive

    def score(
        self,
        candidates: Sequence[str],
        references: Sequence[Sequence[str]],
        *,
        caption_seconds: float = CAPTION_SECONDS,
        progress: ChunkProgress | None = None,
    ) -> MeteorScores:
        """Scores PTB-tokenized candidates against their references.

        Args:
            candidates: one for each sound.
            references: one or more for each sound.
            caption_seconds: the limit of one caption.
            progress: receives the number of captions done and of all captions.

        Raises:
            JavaError: the program does not run.
        """
        if not candidates:
            raise ValueError("METEOR got no captions: expected at least one")
        lines = []
        for candidate, texts in zip(candidates, references, strict=True):
            # Cleans a candidate as pycocoevalcap does. METEOR would hang on a reference with the
            # separator.
            candidate = candidate.replace("|||", "").replace("  ", " ")
            texts = [text.replace("|||", "") for text in texts]
            lines.append(" ||| ".join(["SCORE", *texts, candidate]))
        with self._lock:
            results = score_in_chunks(
                self._program,
                lines,
                is_long=lambda line: any(is_long_text(text) for text in line.split(" ||| ")),
                caption_seconds=caption_seconds,
                progress=progress,
            )
            statistics = [line for line in results if not isinstance(line, Unscored)]
            if not statistics:
                return MeteorScores(
                    math.nan,
                    [line for line in results if isinstance(line, Unscored)],
                    np.zeros((len(results), _STATISTICS)),
                )
            if not self.alive:
                self._program.restart()
            *scores, corpus = self._program.sum_up(statistics)
        rows = np.zeros((len(results), _STATISTICS))
        scored = [not isinstance(line, Unscored) for line in results]
        rows[scored] = _summable(np.array([line.split() for line in statistics], dtype=np.float64))
        remaining = iter(scores)
        return MeteorScores(
            corpus=corpus,
            captions=[line if isinstance(line, Unscored) else next(remaining) for line in results],
            statistics=rows,
        )

    def close(self) -> None:
        """Ends the program."""
        self._program.close()


_running: dict[int, Meteor] = {}


def meteor() -> Meteor:
    """Returns the one METEOR of this Python process.

    The first call starts it, and returns before it has loaded its tables.
    """
    process = _running.get(os.getpid())
    if process is None or not process.alive:
        process = _running[os.getpid()] = Meteor()
        atexit.register(process.close)
    return process


def _summable(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns statistics in the form in which METEOR adds them: a perfect match has no chunks."""
    words, reference_words, chunks, matched, reference_matched = statistics[:, [0, 1, 20, 21, 22]].T
    perfect = (matched == words) & (reference_matched == reference_words) & (chunks == 1)
    statistics[perfect, 20] = 0
    return statistics


def score_of_statistics(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Computes METEOR's score of (..., 23) summed statistics, fast enough for many resamples.

    The columns are those of the program: words and function words of candidate and reference; for
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
