"""Live sound over the socket: the rows are those of `auricle listen`."""

import contextlib
import datetime
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from auricle.captioning.captioner import Captioner
from auricle.errors import AudioError
from auricle.live.listener import listen
from auricle.live.rows import heard_fields
from auricle.live.sources import LiveSource
from auricle.serving.limits import Limits
from auricle.serving.listening import Microphone
from auricle.sound.decode import load_audio
from server import EXAMPLES, Server, serving

TOKEN = "a token of the tests"


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """A bell, then rain; (samples,) at 32 kHz."""
    return np.concatenate(
        [load_audio(EXAMPLES / f"{name}.wav", 32_000) for name in ("bell", "rain")]
    )


def socket_to(server: Server, **headers: str) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{server.port}/v1/listen",
        additional_headers=headers,
        proxy=None,
        open_timeout=30,
    )


def rows(connection: ClientConnection) -> list[dict[str, Any]]:
    """All that comes until the server closes."""
    found = []
    try:
        while True:
            found.append(json.loads(connection.recv(60)))
    except ConnectionClosed:
        return found


def heard(server: Server, samples: np.ndarray, piece: int, **start: Any) -> list[dict[str, Any]]:
    """The rows of a sound that is sent piece by piece."""
    with socket_to(server) as connection:
        connection.send(json.dumps(start))
        assert json.loads(connection.recv(60)) == {"state": "ready"}
        for at in range(0, len(samples), piece):
            connection.send(samples[at : at + piece].tobytes())
        connection.send("{}")
        return rows(connection)


def test_rows_are_those_of_auricle_listen_whatever_the_pieces(
    server: Server, embedded: Captioner, scene: np.ndarray
):
    now = datetime.datetime.now(datetime.UTC)
    expected = [heard_fields(row) for row in listen(embedded, [scene], now=lambda: now)]
    assert len(expected) >= 4
    for piece in (1_111, 64_000):
        found = heard(server, scene, piece, encoding="f32le", rate=32_000)
        assert [row | {"time": 0} for row in found] == [row | {"time": 0} for row in expected]


def test_other_rates_and_sixteen_bits_are_heard_alike(server: Server, scene: np.ndarray):
    slow = (scene[::2] * 32_767).astype("<i2")
    ends = [row for row in heard(server, slow, 1_600, rate=16_000) if row["state"] == "end"]
    assert ends[-1]["end"] == pytest.approx(10, abs=0.1)


def test_alerts_are_among_the_rows(server: Server, scene: np.ndarray):
    alerts = [{"sentence": "a church bell rings"}, {"sentence": "a dog barks", "threshold": 100}]
    found = heard(server, scene, 3_200, encoding="f32le", alerts=alerts)
    alarms = [row for row in found if row["state"] == "alert"]
    assert {row["alert"] for row in alarms} == {"a church bell rings"}
    assert alarms[0]["start"] < 5


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("nonsense", "JSON"),
        ('{"rate": 5}', "rate: "),
        ('{"alerts": [{"sentence": ""}]}', "alerts.0.sentence: "),
        ('{"alarms": []}', "alarms: "),
        ('{"alerts": [{"sentence": "qwxz"}]}', "knows no word of 'qwxz'"),
        ('{"alerts": [{"sentence": "rain", "threshold": NaN}]}', "alerts.0.threshold: "),
        ('{"alerts": [{"sentence": "rain", "threshold": Infinity}]}', "alerts.0.threshold: "),
        ('{"alerts": [{"sentence": "rain", "hold_off": NaN}]}', "alerts.0.hold_off: "),
        ('{"microphone": true}', "has no microphone"),
        (b"\0\0", "first message"),
    ],
)
def test_a_wrong_beginning_is_refused_in_words(server: Server, first: str | bytes, words: str):
    with socket_to(server) as connection:
        connection.send(first)
        found = rows(connection)
    assert [row["state"] for row in found] == ["error"]
    assert words in found[0]["error"]


def test_parameters_of_the_address_are_refused_in_words(server: Server):
    address = f"ws://127.0.0.1:{server.port}/v1/listen?token=x"
    with connect(address, proxy=None, open_timeout=30) as connection:
        assert "takes no parameters" in rows(connection)[0]["error"]


def test_half_a_sample_is_refused_in_words(server: Server):
    with socket_to(server) as connection:
        connection.send(json.dumps({"encoding": "f32le", "rate": 32_000}))
        connection.send(b"\0\0\0")
        assert "no whole number" in rows(connection)[-1]["error"]


def test_a_page_of_another_origin_gets_no_socket(server: Server):
    with pytest.raises(Exception, match="403"):
        socket_to(server, Origin="http://evil.example")


@pytest.fixture(scope="module")
def guarded(scene: np.ndarray) -> Iterator[Server]:
    """With a token, room for one, and a microphone that hears the scene over and over."""

    def pieces() -> Iterator[np.ndarray]:
        while True:
            for at in range(0, len(scene), 3_200):
                time.sleep(0.01)
                yield scene[at : at + 3_200]

    microphone = Microphone(LiveSource("a microphone", pieces, endless=True), lambda _: None)
    microphone.start()
    with serving(Limits(jobs=1, listeners=1, stall=1.0), TOKEN, microphone=microphone) as running:
        yield running


def test_the_token_comes_with_the_first_message(guarded: Server):
    for token in ("", "wrong"):
        with socket_to(guarded) as connection:
            connection.send(json.dumps({"token": token}))
            assert "token" in rows(connection)[0]["error"]
    with socket_to(guarded) as connection:
        connection.send(json.dumps({"token": TOKEN}))
        assert json.loads(connection.recv(30)) == {"state": "ready"}
        with socket_to(guarded, Authorization=f"bearer {TOKEN}") as other:
            other.send("{}")
            assert "1 live streams" in rows(other)[0]["error"]
        assert "no samples came" in rows(connection)[0]["error"]


@pytest.mark.parametrize("message", [b"", b"\0\0"])
def test_messages_without_sound_do_not_hold_a_slot(guarded: Server, message: bytes):
    with socket_to(guarded) as connection:
        connection.send(json.dumps({"token": TOKEN}))
        assert json.loads(connection.recv(30)) == {"state": "ready"}
        began = time.monotonic()
        with contextlib.suppress(ConnectionClosed):
            while time.monotonic() - began < 30:
                connection.send(message)
                time.sleep(0.05)
        assert time.monotonic() - began < 10
        assert "no samples came" in rows(connection)[0]["error"]


def test_a_slow_stream_keeps_its_slot(guarded: Server):
    with socket_to(guarded) as connection:
        connection.send(json.dumps({"token": TOKEN, "rate": 8_000}))
        assert json.loads(connection.recv(30)) == {"state": "ready"}
        for _ in range(15):  # 3 s in all, three times the limit
            connection.send(b"\0\0" * 800)
            time.sleep(0.2)
        connection.send("{}")
        assert not [row for row in rows(connection) if row["state"] == "error"]


def test_the_servers_own_microphone_is_heard(guarded: Server):
    with socket_to(guarded) as connection:
        connection.send(json.dumps({"token": TOKEN, "microphone": True}))
        states = set[str]()
        while not {"ready", "level", "begin"} <= states:
            row = json.loads(connection.recv(30))
            states.add(row["state"])
            if row["state"] == "level":
                assert -100 <= row["level"] <= 0
        connection.send("{}")
        assert rows(connection)[-1]["state"] == "end"


def test_a_microphone_that_cannot_be_opened_is_told_at_once():
    def none() -> Iterator[np.ndarray]:
        raise AudioError("there is no microphone")
        yield

    with pytest.raises(AudioError, match="there is no microphone"):
        Microphone(LiveSource("a microphone", none, endless=True), lambda _: None).start()


@pytest.mark.parametrize("failure", [None, AudioError("it is gone"), ZeroDivisionError("a fault")])
def test_a_microphone_that_ends_ends_all_listeners(failure: Exception | None):
    def pieces() -> Iterator[np.ndarray]:
        yield np.zeros(3_200, np.float32)
        go_on.wait(30)
        if failure is not None:
            raise failure

    go_on, said = threading.Event(), list[str]()
    microphone = Microphone(LiveSource("a microphone", pieces, endless=False), said.append)
    microphone.start()
    with microphone.pieces() as early:
        go_on.set()
        while early.get(timeout=30) is not None:
            pass
        with microphone.pieces() as late:
            assert late.get(timeout=30) is None
    assert bool(said) == (failure is not None)
