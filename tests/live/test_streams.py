"""Several streams in one process: they do not disturb each other, and the file that names them."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auricle.alerts.watch import Alert, Watch, WatchedSound
from auricle.captioning.captioner import Captioner, load
from auricle.captioning.segmenter import Event
from auricle.errors import AudioError, AuricleError
from auricle.live import sources
from auricle.live.listener import Heard, listen
from auricle.live.rows import heard_fields
from auricle.live.sources import LiveSource, url_source
from auricle.live.stream_config import load_streams
from auricle.live.streams import Stream, StreamGroup
from auricle.live.view import line
from cameras import cameras
from commands import Run
from mosquitto import running, subscribed, wait_until
from sounds import chirp, tone, write_wav

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoint-0.1"
RATE = 32_000
SOUNDS = {
    "front door": np.concatenate([chirp(2, 100, 2_000, RATE), tone(2, 8_000, RATE)]),
    "nursery": np.concatenate([tone(1.5, 500, RATE), chirp(2, 9_000, 300, RATE)]),
}
SECRET = "open-sesame"


@pytest.fixture(scope="module")
def small() -> Captioner:
    """A small model that needs no torch."""
    return load(CHECKPOINT)


def source(
    pieces: Callable[[], Iterator[np.ndarray]], *, endless: bool = False, name: str = "it"
) -> LiveSource:
    return LiveSource(name, pieces, endless)


def played(sound: np.ndarray) -> Callable[[], Iterator[np.ndarray]]:
    def pieces() -> Iterator[np.ndarray]:
        yield from np.array_split(sound, 40)

    return pieces


def shape(rows: list[Heard]) -> list[tuple]:
    """Rows without the fields that differ between two runs: clocks and random numbers of alerts."""
    return [(type(row.row), row.row.start, row.row.end, row.row.caption) for row in rows]


def test_each_stream_has_the_rows_that_it_has_alone_with_its_name(small: Captioner) -> None:
    def watch() -> Watch:
        return Watch(small, [WatchedSound("a bird sings", threshold=-100.0, hold_off=1.0)])

    alone = {name: list(listen(small, played(sound)(), watch())) for name, sound in SOUNDS.items()}
    streams = [Stream(name, source(played(SOUNDS[name])), watch()) for name in SOUNDS]
    group = StreamGroup(small, streams, print, lambda *_: None)
    rows = list(group.rows(threading.Event()))
    for name, expected in alone.items():
        found = [row for row in rows if row.stream == name]
        assert shape(found) == shape(expected)
        assert {type(row.row) for row in found} == {Event, Alert}
        assert heard_fields(found[0])["stream"] == name
        assert f"  {name}  " in line(found[0])
    assert "stream" not in heard_fields(replace(rows[0], stream=None))
    assert group.failed == []


def test_a_stream_that_fails_or_hangs_stops_no_other_and_all_end_when_they_are_told(
    small: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang, opened = threading.Event(), list[str]()

    def damaged() -> Iterator[np.ndarray]:
        yield SOUNDS["nursery"]
        raise AudioError("it is damaged")

    def wrong() -> Iterator[np.ndarray]:
        raise RuntimeError(f"rtsp://me:{SECRET}@camera")
        yield

    def hanging() -> Iterator[np.ndarray]:
        hang.wait(60)
        yield SOUNDS["nursery"]

    def away() -> Iterator[np.ndarray]:
        opened.append("away")
        raise AudioError("it is away")
        yield

    def going_on() -> Iterator[np.ndarray]:
        yield from np.array_split(SOUNDS["front door"], 40)
        hang.wait(60)

    monkeypatch.setattr(sources, "FIRST_WAIT", 0.01)
    said, there = list[str](), list[tuple[str, bool]]()
    streams = [
        Stream("damaged", source(damaged)),
        Stream("wrong", source(wrong)),
        Stream("hanging", source(hanging, endless=True)),
        Stream("away", source(away, endless=True)),
        Stream("good", source(going_on, endless=True)),
    ]
    group = StreamGroup(small, streams, said.append, lambda name, on: there.append((name, on)))
    stopping, rows = threading.Event(), list[Heard]()
    for row in group.rows(stopping):
        rows.append(row)
        if not stopping.is_set() and row.stream == "good":
            wait_until(lambda: len(opened) >= 3 and len(group.failed) == 2)
            stopping.set()
    hang.set()
    assert sorted(group.failed) == ["damaged", "wrong"]
    assert {row.stream for row in rows} == {"damaged", "good"}
    for name in ("damaged", "good"):
        last = [row.row for row in rows if row.stream == name][-1]
        assert isinstance(last, Event)
        assert last.state == "end"
    assert "damaged: it is damaged" in said
    assert "wrong: RuntimeError" in said
    assert SECRET not in "".join(said)
    assert any(message.startswith("away: it is away; trying again in") for message in said)
    assert [on for name, on in there if name == "good"] == [True, False]
    assert ("hanging", True) not in there


def test_cameras_that_lose_power_come_back_by_themselves(
    small: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "FIRST_WAIT", 0.1)
    with cameras() as first, cameras() as second:
        addresses = {"first": first.url("ticks"), "second": second.url("tone")}
        streams = [Stream(name, url_source(url, RATE)) for name, url in addresses.items()]
        said, stopping, rows = list[str](), threading.Event(), list[Heard]()
        group = StreamGroup(small, streams, said.append, lambda *_: None)

        def collect() -> None:
            for row in group.rows(stopping):
                rows.append(row)

        def begun(name: str) -> int:
            return len([row for row in rows if row.stream == name])

        listening = threading.Thread(target=collect)
        listening.start()
        try:
            wait_until(lambda: {row.stream for row in rows} == {"first", "second"})
            first.stop()
            wait_until(lambda: said)
            before = begun("second")
            first.start()
            wait_until(lambda: any("is back after" in message for message in said))
            came = begun("first")
            wait_until(lambda: begun("first") > came)
            assert begun("second") >= before
        finally:
            stopping.set()
            listening.join(30)
    assert not listening.is_alive()
    assert group.failed == []
    assert {message.partition(":")[0] for message in said} == {"first"}
    assert "secret" not in "".join(said)


# The file


def written(folder: Path, text: str) -> Path:
    path = folder / "streams.toml"
    path.write_text(text)
    return path


def test_a_file_names_streams(tmp_path: Path) -> None:
    text = f"""
        [[stream]]
        name = "front door"
        source = "rtsp://me:{SECRET}@camera/1"
        alert = ["a doorbell"]
        alerts = "front.toml"
        [[stream]]
        name = "nursery"
        device = "usb"
    """
    config = load_streams(written(tmp_path, text))
    assert [stream.name for stream in config.stream] == ["front door", "nursery"]
    assert config.stream[0].alert == ("a doorbell",)
    assert config.stream[1].source is None
    assert SECRET not in repr(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"begin with \[\[stream\]\]"),
        ("stream = []", r"begin with \[\[stream\]\]"),
        ("[[streams]]\nname = 'a'", "no field 'streams': did you mean stream"),
        (f"[stream]\nsource = '{SECRET}'", "double brackets"),
        (f"[[stream]]\nsource = '{SECRET}'", "'stream.0..name' is missing"),
        (f"[[stream]]\nname = 'a'\nsorce = '{SECRET}'", "did you mean source"),
        (f"[[stream]]\nname = 'a'\nsource = ['{SECRET}']", "must be a text"),
        ("[[stream]]\nname = 3", "name is 3"),
        ("[[stream]]\nname = ''", "1 to 60 characters"),
        ("[[stream]]\nname = '''a\nb'''", "printable"),
        ("[[stream]]\nname = 'a'\nsource = '-'", "a sound file or an address"),
        (f"[[stream]]\nname = 'a'\nsource = '{SECRET}'\ndevice = 'b'", "leave out"),
        ("[[stream]]\nname = 'A b'\n[[stream]]\nname = 'a-b'", "two streams are called"),
        (f"[[stream]\nsource = '{SECRET}'", "line 1"),
    ],
)
def test_a_file_that_is_wrong_is_told_without_its_secrets(
    tmp_path: Path, text: str, message: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(AuricleError, match=message) as error:
        load_streams(path)
    assert str(error.value).startswith(str(path))
    assert SECRET not in str(error.value)


# The command


def test_rows_of_a_file_have_the_names_of_streams_and_topics_of_their_own(
    auricle: Run, tmp_path: Path
) -> None:
    for name, sound in (("a.wav", chirp(1.5, 100, 2_000, RATE)), ("b.wav", tone(1.5, 900, RATE))):
        write_wav(tmp_path / name, sound, RATE)
    (tmp_path / "bird.toml").write_text('[[alert]]\nsentence = "bird"\nthreshold = -100.0\n')
    text = """
        [[stream]]
        name = "front door"
        source = "a.wav"
        alerts = "bird.toml"
        [[stream]]
        name = "nursery"
        source = "b.wav"
        [[stream]]
        name = "cellar"
        source = "none.wav"
    """
    config = written(tmp_path, text)
    arguments = ("listen", "--format", "jsonl", "--config", config, "--checkpoint", CHECKPOINT)
    with running(tmp_path, "allow_anonymous true") as broker, subscribed(broker) as noted:
        result = auricle(*arguments, "--mqtt", f"127.0.0.1:{broker.port}", "--mqtt-name", "pi")
    assert result.code == 1
    assert "cellar: " in result.err
    assert result.err.endswith("1 of 3 streams ended with an error\n")
    rows = [json.loads(row) for row in result.out.splitlines()]
    events = [row for row in rows if row["state"] != "alert"]
    for name in ("front door", "nursery"):
        topic = f"auricle/pi/{name.replace(' ', '-')}/event"
        rows_of_stream = [row for row in events if row["stream"] == name]
        assert [json.loads(payload) for payload in noted.of(topic)] == rows_of_stream != []
    alerts = [row for row in rows if row["state"] == "alert"]
    assert {row["stream"] for row in alerts} == {"front door"}
    states = [json.loads(payload) for payload in noted.of("auricle/pi/front-door/alert/bird")]
    assert [state["last"] for state in states if state["on"]] == alerts != []


def test_options_of_one_source_do_not_go_with_a_file(auricle: Run, tmp_path: Path) -> None:
    config = written(tmp_path, "[[stream]]\nname = 'a'\nsource = 'a.wav'\nalerts = 'none.toml'")
    for options, message in (
        (("film.mkv",), "leave them out here"),
        (("--alert", "bird"), "leave them out here"),
        ((), "none.toml: No such file"),
    ):
        result = auricle("listen", *options, "--config", config, "--checkpoint", CHECKPOINT)
        assert result.code == 1
        assert message in result.err


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_ctrl_c_ends_all_streams_with_their_last_rows(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", chirp(60, 100, 2_000, RATE), RATE)
    with socket.socket() as silent:  # takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        text = f"""
            [[stream]]
            name = "film"
            source = "a.wav"
            [[stream]]
            name = "camera"
            source = "http://me:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/live"
        """
        config = written(tmp_path, text)
        command = [sys.executable, "-m", "auricle", "listen", "-f", "jsonl"]
        command += ["--config", str(config), "--checkpoint", str(CHECKPOINT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            first = json.loads(process.stdout.readline())
            assert (first["stream"], first["state"]) == ("film", "begin")
            process.send_signal(signal.SIGINT)
            last = json.loads(process.stdout.read().splitlines()[-1])
            assert (last["stream"], last["state"]) == ("film", "end")
            assert process.stderr.read() == b""
            assert process.wait() == 0
