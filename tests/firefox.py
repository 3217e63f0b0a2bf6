"""Firefox, driven through WebDriver BiDi: Firefox speaks it itself, over a WebSocket."""

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PATIENCE_SECONDS = 120.0  # on a machine that does much else
PREFERENCES = {
    "browser.download.folderList": 2,  # the folder that `browser.download.dir` names
    "browser.download.alwaysOpenPanel": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
    "media.autoplay.default": 0,
}


class Firefox:
    """One tab of Firefox.

    Args:
        socket: the connection to the browser.
        downloads: the folder of its downloads.
    """

    def __init__(self, socket: ClientConnection, downloads: Path) -> None:
        self.downloads = downloads
        self.errors: list[str] = []  # that the page wrote to its console
        self._socket = socket
        self._number = 0
        self._ask("session.new", capabilities={})
        self._ask("session.subscribe", events=["log.entryAdded"])
        [tab] = self._ask("browsingContext.getTree")["contexts"]
        self._tab = tab["context"]

    def open(self, address: str) -> None:
        """Load a page."""
        self._ask("browsingContext.navigate", context=self._tab, url=address, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """Return the value of JavaScript, which must be JSON."""
        return json.loads(self._run(f"JSON.stringify(({expression}) ?? null)")["value"])

    def wait(self, condition: str) -> None:
        """Wait until JavaScript is true.

        Raises:
            AssertionError: it does not become true.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while not self.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < until, f"still not true: {condition}"
            time.sleep(0.1)

    def text(self, selector: str) -> str:
        """Return the text of an element."""
        return self.evaluate(f"{_found(selector)}.textContent")

    def click(self, selector: str) -> None:
        """Click an element with the mouse."""
        self._run(f"{_found(selector)}.scrollIntoView({{ block: 'center' }})")
        origin = {"type": "element", "element": self._element(selector)}
        move = {"type": "pointerMove", "x": 0, "y": 0, "origin": origin}
        press = [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
        self._act({"type": "pointer", "id": "mouse", "actions": [move, *press]})

    def write(self, selector: str, text: str) -> None:
        """Replace the text of a field with the keyboard."""
        self._run(f"(field => {{ field.focus(); field.select(); }})({_found(selector)})")
        keys = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keyboard", "actions": keys})

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a list."""
        set_value = f"list.value = {value!r}; list.dispatchEvent(new Event('change'))"
        self._run(f"(list => {{ {set_value} }})({_found(selector)})")

    def give(self, selector: str, *files: Path) -> None:
        """Choose files."""
        self._ask(
            "input.setFiles",
            context=self._tab,
            element=self._element(selector),
            files=[str(file) for file in files],
        )

    def downloaded(self, name: str, errors: str = "strict") -> str:
        """Return the text of a download, which is removed; `errors` are those of bytes.decode."""
        path = self.downloads / name
        until = time.monotonic() + PATIENCE_SECONDS
        while not path.is_file() or not path.stat().st_size:
            assert time.monotonic() < until, f"{name} was not downloaded"
            time.sleep(0.1)
        text = path.read_text("utf-8", errors)
        path.unlink()
        return text

    def _element(self, selector: str) -> dict[str, Any]:
        return {"sharedId": self._run(_found(selector))["sharedId"]}

    def _act(self, *sources: dict[str, Any]) -> None:
        self._ask("input.performActions", context=self._tab, actions=sources)

    def _run(self, expression: str) -> dict[str, Any]:
        answer = self._ask(
            "script.evaluate",
            expression=expression,
            target={"context": self._tab},
            awaitPromise=True,
            userActivation=True,
        )
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return answer["result"]

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE_SECONDS))
            if answer.get("method") == "log.entryAdded" and answer["params"]["level"] == "error":
                self.errors.append(answer["params"]["text"])
            if answer.get("id") == self._number:
                assert answer["type"] == "success", answer
                return answer["result"]


def _found(selector: str) -> str:
    """Return the JavaScript of the first element that a selector fits."""
    return f"document.querySelector({json.dumps(selector)})"


@contextlib.contextmanager
def running(program: str, folder: Path) -> Iterator[Firefox]:
    """Starts Firefox with a profile of its own, and closes it at the end."""
    profile, downloads = folder / "profile", folder / "downloads"
    for made in (profile, downloads):
        made.mkdir()
    preferences = {**PREFERENCES, "browser.download.dir": str(downloads)}
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in preferences.items()]
    (profile / "user.js").write_text("".join(lines))
    command = [program, "--headless", "--remote-debugging-port", "0", "--profile", str(profile)]
    log = folder / "log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            socket = f"{_address(log)}/session"
            with connect(socket, max_size=None, open_timeout=PATIENCE_SECONDS) as connection:
                yield Firefox(connection, downloads)
        finally:
            process.terminate()


def _address(log: Path) -> str:
    """Return where Firefox says that it listens."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not (found := re.search(r"BiDi listening on (ws://\S+)", log.read_text())):
        assert time.monotonic() < until, f"Firefox did not start: {log.read_text()}"
        time.sleep(0.1)
    return found[1]
