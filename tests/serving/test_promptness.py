"""Connections that send their headers too slowly are closed, and no others."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import uvicorn
from websockets.sync.client import connect

from auricle.cli.serve import bound
from auricle.serving import promptness

HEAD_SECONDS = 0.5
ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers after a while; a WebSocket says the same."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.sleep(2 * HEAD_SECONDS)
        await send({"type": "websocket.send", "text": "late"})
    elif scope["type"] == "http":
        await asyncio.sleep(2 * HEAD_SECONDS)
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}
        )
        await send({"type": "http.response.body", "body": b"late"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server that waits half a second for a request."""
    monkeypatch.setattr(promptness, "HEAD_SECONDS", HEAD_SECONDS)
    with closing(bound("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            app,
            http=promptness.PromptProtocol,
            ws="websockets-sansio",
            lifespan="off",
            log_level="warning",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def answer(connection: socket.socket) -> bytes:
    """What comes until the connection ends or the answer is whole."""
    said = b""
    while not said.endswith(b"late") and (more := connection.recv(1000)):
        said += more
    return said


def drip(connection: socket.socket) -> None:
    """Half a minute of headers."""
    for _ in range(600):
        connection.sendall(b"X: y\r\n")
        time.sleep(0.05)


def test_a_request_that_does_not_begin_is_let_go(port: int):
    for beginning in (b"", ASK[:-2]):
        with closing(socket.create_connection(("127.0.0.1", port), 30)) as connection:
            connection.sendall(beginning)
            assert answer(connection) == b""


def test_a_drop_at_a_time_is_not_enough(port: int):
    with closing(socket.create_connection(("127.0.0.1", port), 30)) as connection:
        connection.sendall(ASK[:-2])
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            drip(connection)


def test_a_slow_answer_is_waited_for_and_the_next_request_has_its_own_time(port: int):
    with closing(socket.create_connection(("127.0.0.1", port), 30)) as connection:
        for _ in range(2):
            connection.sendall(ASK)
            assert answer(connection).startswith(b"HTTP/1.1 200")
        connection.sendall(ASK[:-2])
        assert answer(connection) == b""


def test_a_websocket_stays(port: int):
    with connect(f"ws://127.0.0.1:{port}/") as connection:
        assert connection.recv(30) == "late"


def test_a_request_that_is_not_http_is_refused_in_json(port: int):
    for nonsense in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"):
        with closing(socket.create_connection(("127.0.0.1", port), 30)) as connection:
            connection.sendall(nonsense)
            head, _, body = answer(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"content-type: application/json" in head
        assert json.loads(body)["error"]
