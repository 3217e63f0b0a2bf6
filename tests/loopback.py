"""A server on loopback that misbehaves as servers do."""

import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """What it will do, and what it was asked."""

    files: dict[str, bytes]
    url: str = ""  # ends in a slash
    ranges: bool = True  # whether it can send a part
    cut: list[int] = field(default_factory=list)  # bytes after which each next connection breaks
    fail: list[int] = field(default_factory=list)  # statuses of the next answers
    length: int | None = None  # what it says the length is
    shift: int = 0  # how far the part that it sends lies from the one asked for
    redirect: str | None = None
    asked: list[str | None] = field(default_factory=list)  # the Range headers
    names: list[str] = field(default_factory=list)  # the files


@contextmanager
def serving(state: Server) -> Iterator[Server]:
    """Serves the files until the end of the context."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

        def do_GET(self) -> None:
            requested = self.headers.get("Range")
            name = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path.lstrip("/"))
            state.asked.append(requested)
            state.names.append(name)
            if state.fail:
                self.send_error(state.fail.pop(0))
                return
            if state.redirect:
                self.send_response(302)
                self.send_header("Location", state.redirect)
                self.end_headers()
                return
            content = state.files.get(name)
            if content is None:
                self.send_error(404)
                return
            start = (
                int(requested.removeprefix("bytes=").rstrip("-"))
                if requested and state.ranges
                else 0
            )
            if requested and state.ranges and start >= len(content):
                self.send_error(416)
                return
            start += state.shift
            body = content[start:]
            self.send_response(206 if requested and state.ranges else 200)
            if requested and state.ranges:
                total = len(content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.send_header(
                "Content-Length", str(state.length if state.length is not None else len(body))
            )
            self.end_headers()
            self.wfile.write(body[: state.cut.pop(0)] if state.cut else body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}/"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()
