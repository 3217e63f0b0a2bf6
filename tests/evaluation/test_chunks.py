"""One bad caption costs its own score, and no other."""

from collections.abc import Sequence

import pytest

from auricle.evaluation.chunks import LONG_WORDS, Unscored, is_long_text, score_in_chunks
from auricle.evaluation.java import JavaError, JavaTimeoutError


class LengthProgram:
    """Scores a caption by its length; stops at "crash", and takes too long at "loop"."""

    def __init__(self, *, runs: bool = True) -> None:
        self.runs = runs
        self.chunks: list[tuple[str, ...]] = []
        self.limits: list[float] = []

    def score(self, items: Sequence[str], seconds: float) -> list[int]:
        self.chunks.append(tuple(items))
        self.limits.append(seconds)
        if not self.runs or any("crash" in item for item in items):
            raise JavaError("it stopped")
        if any("loop" in item for item in items):
            raise JavaTimeoutError(f"it took more than {seconds:g} s")
        return [len(item) for item in items]

    def restart(self) -> None:
        if not self.runs:
            raise JavaError("it does not start")


def test_only_the_offenders_have_no_score() -> None:
    captions = ["x" * number for number in range(1, 200)]
    captions[0], captions[77], captions[150] = "crash", "loop", "crash"
    program = LengthProgram()
    scores = score_in_chunks(program, captions, is_long=lambda _: False, caption_seconds=7)
    offenders = {0: "it stopped", 77: "it took more than 7 s", 150: "it stopped"}
    assert scores == [
        Unscored(offenders[number]) if number in offenders else len(caption)
        for number, caption in enumerate(captions)
    ]
    assert len(program.chunks) < 50


def test_a_caption_that_failed_on_a_busy_machine_is_tried_again() -> None:
    class Stalled(LengthProgram):
        """Takes too long for the third caption until that has gone alone once."""

        def score(self, items: Sequence[str], seconds: float) -> list[int]:
            stalls = "ccc" in items and ("ccc",) not in self.chunks
            scores = super().score(items, seconds)
            if stalls:
                raise JavaTimeoutError("stalled")
            return scores

    program = Stalled()
    captions = ["a", "bb", "ccc", "dddd"]
    assert score_in_chunks(program, captions, is_long=lambda _: False) == [1, 2, 3, 4]
    assert program.chunks.count(("ccc",)) == 2


def test_a_long_caption_goes_alone_after_the_others() -> None:
    program = LengthProgram()
    long = "word " * (LONG_WORDS + 1)
    assert score_in_chunks(program, [long, "a", "b"], is_long=is_long_text, caption_seconds=7) == [
        len(long),
        1,
        1,
    ]
    assert program.chunks == [("a", "b"), (long,)]
    assert program.limits == [7, 7]


def test_a_program_that_never_runs_is_an_error() -> None:
    program = LengthProgram(runs=False)
    with pytest.raises(JavaError, match="does not start"):
        score_in_chunks(program, ["a"] * 40, is_long=lambda _: False)
    assert len(program.chunks) == 1


def test_progress_ends_at_all_captions() -> None:
    reports: list[tuple[int, int]] = []
    score_in_chunks(
        LengthProgram(),
        ["a"] * 300,
        is_long=lambda _: False,
        progress=lambda done, total: reports.append((done, total)),
    )
    assert reports[-1] == (300, 300)
    assert [done for done, _ in reports] == sorted({done for done, _ in reports})
