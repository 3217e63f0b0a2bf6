"""Trying an alert on sounds that hold what it waits for and on others."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from auricle.alerts.trial import Compared, Trial, compare, draw, wilson
from auricle.captioning.captioner import Captioner
from auricle.cli.main import main
from auricle.errors import AuricleError
from ears import RATE, ear, played
from sounds import chirp, tone, write_wav


def scored(*peaks: float, seconds: float = 10.0) -> tuple[Compared, ...]:
    return tuple(
        Compared(f"{n}", seconds, np.array([seconds]), np.array([float(peak)]))
        for n, peak in enumerate(peaks)
    )


def test_each_sound_is_compared_by_itself(tmp_path: Path) -> None:
    sounds = {
        "a": played(("high", 3.2)),
        "b": played(("low", 0.7)),
        "c": played((None, 2), ("low", 1), ("high", 4)),
    }
    files = [
        (name, str(write_wav(tmp_path / f"{name}.wav", samples, RATE)))
        for name, samples in sounds.items()
    ]
    together = list(compare(ear(), "high", files))
    for file, found in zip(files, together, strict=True):
        (alone,) = compare(ear(), "high", [file])
        assert alone.seconds == found.seconds == pytest.approx(len(sounds[found.file]) / RATE)
        np.testing.assert_array_equal(alone.ends, found.ends)
        np.testing.assert_array_equal(alone.scores, found.scores)
    assert together[0].peak > together[1].peak + 2


def test_a_sound_that_cannot_be_read_is_an_error_and_the_others_are_compared(
    tmp_path: Path,
) -> None:
    good = str(write_wav(tmp_path / "good.wav", played(("high", 2)), RATE))
    missing, found = compare(
        ear(), "high", [("missing", str(tmp_path / "missing.wav")), ("good", good)]
    )
    assert missing.error is not None
    assert found.error is None
    assert len(found.scores)


def test_what_a_threshold_gives() -> None:
    alarms = Compared("long", 3580.0, np.arange(10, 3580, 10.0), np.full(357, 5.0))
    trial = Trial("x", scored(1, 2, 3, 4), (*scored(0.5, 2.5), alarms))
    assert trial.hours == pytest.approx(1.0)
    low = trial.at(2.2)
    # Of a sound that goes on for an hour, an alert every 30 s.
    assert (low.heard, low.false) == (2, 1 + 119)
    assert low.precision == pytest.approx(2 / 122)
    assert low.recall == 0.5
    assert low.false_per_hour == pytest.approx(120)
    assert math.isnan(trial.at(9.0).precision)


def test_the_proposed_threshold_parts_what_can_be_parted() -> None:
    trial = Trial("x", scored(3, 4, 5), scored(-1, 0, 1))
    assert trial.proposed == 2
    point = trial.at(trial.proposed)
    assert point.precision == point.recall == point.f1 == 1
    thresholds = [point.threshold for point in trial.table()]
    assert (thresholds[0], thresholds[-1], len(thresholds)) == (3, 5, 21)


@pytest.mark.parametrize("seed", range(10))
def test_no_threshold_has_a_better_f1_than_the_proposed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    trial = Trial("x", scored(*rng.normal(2, 1, 12)), scored(*rng.normal(0, 1, 30)))
    best = trial.at(trial.proposed).f1
    assert all(trial.at(threshold).f1 <= best for threshold in np.linspace(-4, 6, 500))


def test_silence_alone_cannot_be_tried() -> None:
    silent = Compared("silent", 5.0)
    with pytest.raises(AuricleError, match="silent"):
        _ = Trial("x", (silent,), (silent,)).proposed


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (5, 5), (3, 10), (80, 100)])
def test_wilson_inverts_the_score_test(successes: int, trials: int) -> None:
    low, high = wilson(successes, trials)
    share = successes / trials
    for end in (low, high):
        if 0 < end < 1:
            assert abs(share - end) == pytest.approx(1.96 * math.sqrt(end * (1 - end) / trials))
    assert low <= share <= high
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_picture_is_drawn_whole(tmp_path: Path) -> None:
    pytest.importorskip(
        "matplotlib", reason="pictures need matplotlib: pip install 'auricle[explain]'"
    )
    draw(Trial("x", scored(3, 4), scored(0, 3.5)), tmp_path / "new" / "x.png")
    assert (tmp_path / "new" / "x.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.png"]


def test_the_command(
    guided: Captioner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(3):
        folder = tmp_path / "positives"
        folder.mkdir(exist_ok=True)
        write_wav(folder / f"{number}.wav", chirp(2 + number, 100, 4_000, 16_000), 16_000)
        (tmp_path / "negatives").mkdir(exist_ok=True)
        write_wav(tmp_path / "negatives" / f"{number}.wav", tone(2 + number, 400, 16_000), 16_000)
    (tmp_path / "negatives" / "bad.wav").write_bytes(b"no sound")

    def run(*more: str) -> tuple[object, str, str]:
        arguments = (
            "alert-test",
            "a bird sings or a xylophone",
            "--checkpoint",
            str(guided.checkpoint.folder),
        )
        sounds = (
            "--positives",
            str(tmp_path / "positives"),
            "--negatives",
            str(tmp_path / "negatives"),
        )
        monkeypatch.setattr(sys, "argv", ["auricle", *arguments, *sounds, *more])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    code, out, err = run("--json")
    assert code == 1, "a sound could not be read"
    assert "bad.wav" in err
    assert "does not know: xylophone" in err
    assert "7 sounds: 6 compared, 1 failed" in err
    found = json.loads(out)
    assert (found["positives"], found["negatives"]) == (3, 3)
    assert found["hours_of_negatives"] == pytest.approx(9 / 3600, abs=1e-3)
    (tmp_path / "negatives" / "bad.wav").unlink()
    code, out, err = run()
    assert code == 0
    assert f"threshold = {found['proposed']['threshold']:.2f}" in out
