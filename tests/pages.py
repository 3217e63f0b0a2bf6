"""What tests of the page do with it."""

import datetime
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# For the browser another machine, to which it does not entrust its microphone.
FAR = "sounds.example"
PATIENCE = 120_000  # milliseconds, on a machine that does much else


def give(page: Any, *files: Path) -> None:
    """Give the page files."""
    page.locator("body[data-ready]").wait_for()
    page.set_input_files("#chooser", files)


def captioned(page: Any, file: Path) -> None:
    """Give the page a file, and wait until it is captioned."""
    give(page, file)
    page.locator("#said", has_text="Done").wait_for(state="attached")


def downloaded(page: Any, form: str) -> str:
    """Download the captions in a form, and return the text of the file."""
    page.select_option("#format", form)
    with page.expect_download() as download:
        page.click("#download")
    return Path(download.value.path()).read_text("utf-8")


class Stage:
    """A server of live sound whose rows a test sets."""

    def __init__(self, page: Any) -> None:
        self.sockets: list[Any] = []
        self.starts: list[dict[str, Any]] = []
        self.refuses = False
        page.route_web_socket(re.compile("/v1/listen"), self._connected)
        self._page = page

    def _connected(self, socket: Any) -> None:
        if self.refuses:
            socket.close()
            return
        self.sockets.append(socket)

        def received(message: str | bytes) -> None:
            if isinstance(message, str):
                self.starts.append(json.loads(message))
                socket.send(json.dumps({"state": "ready"}))

        socket.on_message(received)

    def say(self, caption: str, state: str = "end", tag: str = "Dog") -> None:
        """Send a caption."""
        now = datetime.datetime.now(datetime.UTC).isoformat()
        tags = [{"name": tag, "probability": 0.9}]
        row = {"time": now, "state": state, "start": 0, "end": 1, "confidence": 0.5, "tags": tags}
        self.sockets[-1].send(json.dumps({**row, "caption": caption}))

    def alert(self, sentence: str) -> None:
        """Send an alert."""
        now = datetime.datetime.now(datetime.UTC).isoformat()
        row = {"time": now, "state": "alert", "alert": sentence, "caption": None}
        self.sockets[-1].send(json.dumps(row))

    def lose(self) -> None:
        """Close the connection, and refuse others."""
        self.refuses = True
        self.sockets[-1].close()


def violations(page: Any, rules: Sequence[str] = ()) -> list[str]:
    """Return what axe finds wrong with the page as it is, by its `rules` or by all of them."""
    from axe_playwright_python.base import AXE_SCRIPT
    from axe_playwright_python.sync_playwright import Axe

    axe = Axe("" if page.evaluate("'axe' in window") else AXE_SCRIPT)
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    response = axe.run(page, options=options).response
    assert len(response["passes"]) > (0 if rules else 10)  # it did look
    found = response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html']} {v['nodes'][0]['failureSummary']}" for v in found]
