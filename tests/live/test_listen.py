"""The rows of live sound, how they are shown, and the command."""

import datetime
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.live import Live

from auricle.alerts.watch import Alert, Watch, WatchedSound
from auricle.captioning.captioner import Captioner
from auricle.captioning.results import Tag
from auricle.captioning.segmenter import Event, Segmenter
from auricle.cli.listen import _name
from auricle.cli.main import main
from auricle.errors import AudioError
from auricle.live.listener import Heard, listen
from auricle.live.rows import heard_fields
from auricle.live.sources import Gap
from auricle.live.view import JsonLines, Lines, Terminal, line
from ears import pieces
from sounds import chirp, tone

RATE = 32_000
BEGIN = datetime.datetime(2026, 1, 2, 12, 0, 0, tzinfo=datetime.UTC)
SOUND = np.concatenate(
    [
        chirp(4, 100, 2_000, RATE),
        np.zeros(2 * RATE, np.float32),
        tone(3, 8_000, RATE),
        chirp(3.3, 9_000, 300, RATE),
    ]
)


def final(rows: list[Heard]) -> list[Event]:
    return [row.row for row in rows if isinstance(row.row, Event) and row.row.state == "end"]


@pytest.mark.parametrize("seed", range(2))
def test_events_are_those_of_the_segmenter_however_sound_comes_in(
    guided: Captioner, seed: int
) -> None:
    segmenter = Segmenter(guided)
    expected = [
        event for event in segmenter.feed(SOUND) + segmenter.finish() if event.state == "end"
    ]
    assert len(expected) >= 2
    assert final(list(listen(guided, pieces(SOUND, np.random.default_rng(seed))))) == expected


def test_what_was_heard_before_damage_is_told_first(guided: Captioner) -> None:
    def damaged() -> Iterator[np.ndarray]:
        yield SOUND
        raise AudioError("it is damaged")

    heard: list[Heard] = []
    with pytest.raises(AudioError, match="it is damaged"):
        heard.extend(listen(guided, damaged()))
    assert final(heard) == final(list(listen(guided, [SOUND])))


def test_times_and_numbers_go_on_over_a_gap(guided: Captioner) -> None:
    watch = Watch(guided, [WatchedSound("a bird sings", threshold=-100.0, hold_off=1.0)])
    sound = np.array_split(SOUND, 100)
    heard = list(listen(guided, [*sound, Gap(50.0), *sound], watch, now=lambda: BEGIN))
    events, seconds = final(heard), len(SOUND) / RATE
    half = len(events) // 2
    assert [event.id for event in events] == list(range(1, 2 * half + 1))
    for first, second in zip(events[:half], events[half:], strict=True):
        assert second.start == pytest.approx(first.start + seconds + 50)
        assert replace(second, id=first.id, start=first.start, end=first.end) == first
    alerts = [row.row for row in heard if isinstance(row.row, Alert)]
    assert not [alert for alert in alerts if alert.start < seconds < alert.end]
    assert min(alert.start for alert in alerts if alert.start > seconds) >= seconds + 50
    named = {alert.caption for alert in alerts}
    assert named <= {None, *(row.row.caption for row in heard if isinstance(row.row, Event))}
    assert named != {None}


def test_the_clock_is_that_of_the_wall(guided: Captioner) -> None:
    """Rows are dated by when their last sample was heard: a sound card's clock is not the
    wall's."""
    heard = list(listen(guided, [SOUND], now=lambda: BEGIN + datetime.timedelta(seconds=100)))
    for row in heard:
        ago = len(SOUND) / RATE - row.row.start
        assert row.time == BEGIN + datetime.timedelta(seconds=100 - ago)


EVENT = Event(
    3, "end", 61.5, 64.75, "[/red] A dog barks.", (Tag("Dog", 0.87), Tag("Bark", 0.5)), 0.9
)
ALERT = Alert("dog [barking]", 62.0, 64.0, 5.25, "A dog barks.")


def test_rows_as_json() -> None:
    found = heard_fields(Heard(EVENT, BEGIN))
    assert list(found) == ["time", "id", "state", "start", "end", "caption", "confidence", "tags"]
    assert found["time"] == "2026-01-02T12:00:00.000Z"
    assert found["tags"] == [
        {"name": "Dog", "probability": 0.87},
        {"name": "Bark", "probability": 0.5},
    ]
    alert = heard_fields(Heard(ALERT, BEGIN))
    assert alert == {
        "time": "2026-01-02T12:00:00.000Z",
        "id": ALERT.id,
        "state": "alert",
        "start": 62.0,
        "end": 64.0,
        "alert": "dog [barking]",
        "score": 5.25,
        "caption": "A dog barks.",
    }


def test_lines_tell_events_that_have_ended_and_alerts() -> None:
    file, errors = io.StringIO(), io.StringIO()
    lines = Lines(file, errors)
    rows = [Heard(replace(EVENT, state="begin"), BEGIN), Heard(ALERT, BEGIN), Heard(EVENT, BEGIN)]
    for row in rows:
        lines.row(row)
    lines.say("the microphone is lost")
    assert file.getvalue() == f"{line(rows[1])}\n{line(rows[2])}\n"
    assert "3.2 s  [/red] A dog barks." in file.getvalue()
    assert errors.getvalue() == "auricle: the microphone is lost\n"
    file.truncate(0)
    for row in rows:
        JsonLines(file, errors).row(row)
    assert len(file.getvalue().splitlines()) == 3


def test_the_terminal_shows_level_tags_captions_and_alerts() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        view = Terminal(live, "microphone")
        view._shown = 0.0  # the last picture was long ago
        view.samples(tone(0.1, 400, RATE, amplitude=0.5))
        assert re.search(r"microphone +█+░+ +-6 dB", file.getvalue())
        view.row(Heard(replace(EVENT, state="begin"), BEGIN))
        assert "Dog 87%  Bark 50%" in file.getvalue()
        assert "[/red] A dog barks." in file.getvalue(), "what a model says is no markup"
        view.row(Heard(ALERT, BEGIN))
        view.row(Heard(EVENT, BEGIN))
        view.say("microphone: is lost")
    shown = file.getvalue()
    assert "ALERT  dog [barking] (score 5.25)" in shown
    assert "auricle: microphone: is lost" in shown
    quiet = Terminal(live, "x")
    quiet.samples(np.zeros(10, np.float32))
    assert "quiet" in "".join(segment.text for segment in console.render(quiet._picture()))


# The command


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny_guided_checkpoint: Path,
) -> Callable:
    def command(*arguments: object, stdin: bytes = b"") -> tuple[object, str, str]:
        checkpoint = ("--checkpoint", str(tiny_guided_checkpoint))
        monkeypatch.setattr(sys, "argv", ["auricle", "listen", *map(str, arguments), *checkpoint])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return command


def test_raw_samples_give_the_rows_of_the_segmenter(
    run: Callable, guided: Captioner, tmp_path: Path
) -> None:
    pcm = (SOUND * 32767).astype("<i2")
    code, out, err = run(
        "-", "--format", "jsonl", "--keep", tmp_path, "--alert", "bird", stdin=pcm.tobytes()
    )
    assert (code, err) == (0, "")
    rows = [json.loads(row) for row in out.splitlines()]
    segmenter = Segmenter(guided)
    samples = pcm.astype(np.float32) / 32768
    expected = segmenter.feed(samples) + segmenter.finish()
    found = [row for row in rows if row["state"] != "alert"]
    assert [(row["id"], row["state"], row["caption"]) for row in found] == [
        (event.id, event.state, event.caption) for event in expected
    ]
    assert [path.suffix for path in tmp_path.iterdir()] == [".flac"]


def test_what_makes_no_sense_is_one_line(run: Callable, tmp_path: Path) -> None:
    for arguments, message in (
        (("film.mkv",), "no such file"),
        (("film.mkv", "--rate", 8000), "describe raw samples"),
        (("-", "--device", "usb"), "names a microphone"),
        (("-", "--alert", "xylophone"), "knows no word"),
        (("-", "--keep", tmp_path, "--keep-limit", 1), "at least 20 MB"),
        (("-", "--alerts", tmp_path / "none.toml"), "No such file"),
    ):
        code, out, err = run(*arguments)
        assert out == ""
        problem = err + str(code)
        assert message in problem
        assert "Traceback" not in problem


def test_the_view_names_sources_without_passwords() -> None:
    assert _name("rtsp://me:password@camera/1?token=secret") == "rtsp://camera/1"
    assert _name("/films/a\x1b[2Jb.mkv") == "a?[2Jb.mkv"
    assert (_name(None), _name("-")) == ("microphone", "standard input")


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_ctrl_c_ends_listening_with_the_last_row(tiny_guided_checkpoint: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "auricle",
        "listen",
        "-",
        "-f",
        "jsonl",
        "--checkpoint",
        str(tiny_guided_checkpoint),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write((SOUND[: 3 * RATE] * 32767).astype("<i2").tobytes())
        process.stdin.flush()
        first = json.loads(process.stdout.readline())
        assert first["state"] == "begin"
        # More is waited for on standard input, which stays open.
        process.send_signal(signal.SIGINT)
        last = json.loads(process.stdout.read().splitlines()[-1])
        assert (last["state"], last["id"]) == ("end", first["id"])
        assert process.stderr.read() == b""
        assert process.wait() == 0
