"""Progress without a terminal: a line when a step begins, then one for each interval."""

import re
import time

import pytest

from auricle.cli import progress
from auricle.cli.progress import Unit, shown_progress


@pytest.fixture
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL_SECONDS", 0.05)


def written(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


@pytest.mark.usefixtures("short_interval")
def test_a_silent_step_still_writes_a_line_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress("captions") as report:
        report("SPICE", 1, 1045)
        time.sleep(0.5)
    lines = written(capsys)
    assert lines[0] == "auricle: SPICE"
    assert 2 <= len(lines) <= 11
    assert set(lines[1:]) == {"auricle: SPICE: 1 of 1,045 captions after 0 min"}


def test_reports_within_an_interval_write_nothing_but_the_titles(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with shown_progress("captions") as report:
        for done in range(1000):
            report("METEOR", done, 1000)
        report("SPICE", 0, 1000)
    assert written(capsys) == ["auricle: METEOR", "auricle: SPICE"]


@pytest.mark.usefixtures("short_interval")
@pytest.mark.parametrize(
    ("unit", "done", "total", "amount"),
    [
        ("bytes", 1_500_000, None, "1.5 MB"),
        ("bytes", 1_500_000, 2_000_000_000, "1.5 MB of 2,000.0 MB"),
        ("sounds", 3, 5000, "3 of 5,000 sounds"),
    ],
)
def test_amounts_have_units(
    capsys: pytest.CaptureFixture[str], unit: Unit, done: int, total: int | None, amount: str
) -> None:
    with shown_progress(unit) as report:
        report("Step", done, total)
        time.sleep(0.2)
    assert re.fullmatch(rf"auricle: Step: {amount} after 0 min", written(capsys)[1])


def test_nothing_is_written_where_no_step_begins(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress("captions"):
        pass
    assert written(capsys) == []
