"""Eclipse Mosquitto on loopback, and a client that records all messages."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE_SECONDS = 30.0


class Broker:
    """A broker that tests stop and start again; it forgets its messages in between.

    Args:
        folder: for its configuration.
        settings: further lines of its configuration.
    """

    def __init__(self, folder: Path, *settings: str) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            pytest.skip("there is no MQTT broker: apt install mosquitto")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "user root", "persistence false", *settings]
        config.write_text("\n".join(lines))
        self._command = [program, "-c", str(config)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_server(self.port)

    def stop(self) -> None:
        """Stops it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_SECONDS)
            self._process = None


@contextmanager
def running(folder: Path, *settings: str) -> Iterator[Broker]:
    """Yields a broker that runs until the end of the context."""
    broker = Broker(folder, *settings)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class Subscriber:
    """Notes the messages of a broker, and keeps the last of each topic."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.kept: set[str] = set()  # topics of messages that came from an earlier time

    def last(self, topic: str) -> str | None:
        """Returns the last payload of a topic."""
        return dict(self.messages).get(topic)

    def of(self, topic: str) -> list[str]:
        """Returns all payloads of a topic."""
        return [payload for name, payload in self.messages if name == topic]


@contextmanager
def subscribed(
    broker: Broker, user: str | None = None, password: str | None = None
) -> Iterator[Subscriber]:
    """Yields a client that records all messages until the end of the context."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    noted, ready = Subscriber(), threading.Event()
    client = Client(CallbackAPIVersion.VERSION2)
    client.reconnect_delay_set(0.05, 0.1)  # type: ignore[arg-type]
    client.username_pw_set(user, password)

    def subscribe(client: Client, *_: object) -> None:
        client.subscribe("#")

    client.on_connect = subscribe
    client.on_subscribe = lambda *_: ready.set()

    def note(_client: object, _data: object, message: object) -> None:
        noted.messages.append((message.topic, message.payload.decode()))  # type: ignore[attr-defined]
        if message.retain:  # type: ignore[attr-defined]
            noted.kept.add(message.topic)  # type: ignore[attr-defined]

    client.on_message = note
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert ready.wait(PATIENCE_SECONDS)
        yield noted
    finally:
        client.disconnect()
        client.loop_stop()


def wait_for_server(port: int) -> None:
    """Waits until a port of this machine takes connections."""

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers)


def wait_until(happened: Callable[[], object]) -> None:
    """Waits for something; fails after `PATIENCE_SECONDS`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
