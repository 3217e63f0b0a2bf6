"""Compares the browser site with Python on real sounds, and times its first caption.

    python scripts/browser_site.py site
    python benchmarks/browser.py site SOUNDS

SOUNDS is a folder of sound files. Each sound is captioned three times: by Python, in Chromium from
the same samples, and in Chromium from the file, which the browser decodes and resamples. Needs
Playwright and Chromium.
"""

import base64
import functools
import http.server
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from auricle.captioning.captioner import load
from auricle.sound.decode import load_audio

SEED = 20
PATIENCE_MS = 600_000
LOAD = """async () => {
  const { Captioner } = await import("./captioner.js");
  const { decode } = await import("./sound.js");
  globalThis.captioner = await Captioner.load(new URL("model/", location.href));
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const first = (samples, seconds) => samples.slice(0, seconds * captioner.model.input.rate);
  const say = async (samples) => (await captioner.caption(samples)).text;
  globalThis.fromSamples = (text) => say(new Float32Array(bytes(text)));
  globalThis.fromFile = async (text, seconds) =>
    say(first(await decode(bytes(text), captioner.model.input.rate), seconds));
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Drops the line."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a folder on this machine; yields its address."""
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def time_first_caption(browser: Any, url: str, sound: Path) -> tuple[float, float]:
    """Returns the seconds until the page is ready, and until its first caption, cold."""
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE_MS)
    start = time.perf_counter()
    page.goto(url)
    page.locator("body[data-ready]").wait_for()
    ready = time.perf_counter() - start
    page.set_input_files("#chooser", sound)
    page.locator("#sounds .option p").first.wait_for()
    first = time.perf_counter() - start
    page.context.close()
    return ready, first


def compare(page: Any, files: list[Path], seconds: float) -> None:
    """Prints each difference, and how many sounds get Python's caption."""
    captioner = load()
    same = {"samples": 0, "file": 0}
    spent = 0.0
    for path in files:
        samples = load_audio(path, captioner.rate)[: round(seconds * captioner.rate)]
        expected = captioner.caption_samples(samples).text
        content = base64.b64encode(samples.astype("<f4").tobytes()).decode()
        start = time.perf_counter()
        found = {"samples": page.evaluate("(text) => fromSamples(text)", content)}
        spent += time.perf_counter() - start
        content = base64.b64encode(path.read_bytes()).decode()
        found["file"] = page.evaluate("([text, s]) => fromFile(text, s)", [content, seconds])
        for name, text in found.items():
            same[name] += text == expected
            if text != expected:
                print(json.dumps({"sound": path.name, name: text, "python": expected}), flush=True)
    print(f"same caption from samples: {same['samples']} of {len(files)}")
    print(f"same caption from files: {same['file']} of {len(files)}")
    print(f"{spent / len(files):.2f} s for a caption")


def main(
    site: Annotated[Path, typer.Argument(help="The folder that scripts/browser_site.py built.")],
    sounds: Annotated[Path, typer.Argument(help="A folder of sounds.")],
    count: Annotated[int, typer.Option(help="How many of them.")] = 50,
    seconds: Annotated[float, typer.Option(help="Of the beginning of each sound.")] = 10.0,
) -> None:
    """Compare the browser site with Python."""
    from playwright.sync_api import sync_playwright

    files = sorted(path for path in sounds.rglob("*") if path.suffix in (".ogg", ".flac", ".wav"))
    chosen = np.random.default_rng(SEED).choice(len(files), min(count, len(files)), replace=False)
    paths = [files[number] for number in sorted(chosen)]
    with served(site) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        ready, first = time_first_caption(browser, url, paths[0])
        print(f"ready after {ready:.1f} s, first caption after {first:.1f} s", flush=True)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(url)
        page.evaluate(LOAD)
        compare(page, paths, seconds)
        browser.close()


if __name__ == "__main__":
    typer.run(main)
