"""A server of auricle in a thread, with its workers, and a client."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from auricle.cli.serve import bound
from auricle.serving.app import make_app
from auricle.serving.guard import Guard
from auricle.serving.limits import Limits

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Server-sent events: their names and data."""
        events = []
        for block in self.body.decode().split("\n\n")[:-1]:
            name, data = block.split("\n")
            events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        return events


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    port: int
    app: Guard
    token: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, body: bytes | None = None, method: str | None = None, **headers: str
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(connection):
            connection.request(method or ("GET" if body is None else "POST"), path, body, named)
            response = connection.getresponse()
            return Answer(
                response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
            )

    def form(
        self, path: str, *files: tuple[str, bytes], field: str = "file", cut: int = 0
    ) -> Answer:
        body = b"".join(
            b'--edge\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n'
            % (field.encode(), name.encode(), data)
            for name, data in files
        )
        body = (body + b"--edge--\r\n")[: -cut or None]
        return self.ask(path, body, content_type="multipart/form-data; boundary=edge")


@contextlib.contextmanager
def serving(limits: Limits, token: str | None = None, **options: Any) -> Iterator[Server]:
    """Runs a server until the end of the context."""
    app = make_app(None, limits, token=token, **options)
    with contextlib.closing(bound("127.0.0.1", 0)) as socket:
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=5
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.02)
            yield Server(socket.getsockname()[1], app, token)
        finally:
            server.should_exit = True
            thread.join()
