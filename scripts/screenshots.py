"""Takes all pictures of docs/serve.md with Chromium: wide and narrow, light and dark.

    python scripts/screenshots.py docs/

It starts a server of its own. The sound is the examples, one after another; the microphone and the
film have the same.
"""

import contextlib
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import av
import numpy as np
import typer
from PIL import Image
from playwright.sync_api import Page, Playwright, ViewportSize, WebSocketRoute, sync_playwright

from auricle.sound.decode import load_audio

EXAMPLES = Path(__file__).parents[1] / "examples"
RATE = 32_000
WIDE: ViewportSize = {"width": 1180, "height": 860}
NARROW: ViewportSize = {"width": 390, "height": 844}
PATIENCE = 120_000  # milliseconds
FILM_RATE = 5  # pictures a second
COLOURS = 128  # of a picture


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Runs `auricle serve`; returns its address."""
    command = [sys.executable, "-m", "auricle", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            found = re.search(r"http://\S+:\d+", server.stdout.readline())
            assert found, "the server did not start"
            yield found[0]
        finally:
            server.terminate()


def write_scene(path: Path) -> None:
    """All examples in a row."""
    samples = np.concatenate([load_audio(file, RATE) for file in sorted(EXAMPLES.glob("*.wav"))])
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])


def write_film(path: Path, sound: Path) -> None:
    """A film of the sound, with a dawn that grows brighter."""
    samples = load_audio(sound, 48_000)
    with av.open(path, "w") as container:
        video = container.add_stream("libvpx", rate=FILM_RATE)
        video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
        audio = container.add_stream("libopus", rate=48_000, layout="mono")
        sky = np.linspace(0, 1, 360)[:, None, None] * np.array([230, 120, 60])
        for number in range(len(samples) * FILM_RATE // 48_000):
            light = 0.4 + 0.6 * number * 48_000 / (len(samples) * FILM_RATE)
            pixels = np.broadcast_to(sky * light + 20, (360, 640, 3)).clip(0, 255)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels, np.uint8), "rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(samples[None], "flt", "mono")
        frame.sample_rate = 48_000
        container.mux([*audio.encode(frame), *audio.encode(None)])


def picture(page: Page) -> Image.Image:
    """Takes a picture of the visible part of a page."""
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def in_a_row(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one height in a row."""
    gap = 24
    row = Image.new(
        "RGB", (sum(p.width + gap for p in pictures) - gap, pictures[0].height), "white"
    )
    left = 0
    for one in pictures:
        row.paste(one, (left, 0))
        left += one.width + gap
    return row


def save(image: Image.Image, path: Path) -> None:
    """A small PNG."""
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


def captioned(page: Page, scene: Path) -> None:
    """A file's captions, the second of them chosen."""
    page.set_input_files("#chooser", scene)
    page.locator("#said", has_text="Done").wait_for(state="attached")
    page.locator("#list").focus()
    page.keyboard.press("ArrowDown")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.wait_for_timeout(500)


def listened(page: Page) -> None:
    """A while of live captions, until an alert."""
    page.fill("#alert-sentence", "a church bell rings")
    page.click("#wish button")
    page.click("#listen")
    page.locator("#alarm").wait_for()
    page.wait_for_timeout(2_500)


def watched(page: Page, film: Path) -> None:
    """A film that plays, with a caption over it."""
    page.set_input_files("#chooser", film)
    page.locator("#said", has_text="Done").wait_for(state="attached")
    page.select_option("#speed", "0.5")
    page.locator(".option").nth(1).click()
    page.wait_for_timeout(1_000)
    page.click("#play")
    page.wait_for_timeout(500)


def listed(page: Page) -> None:
    """All examples in a table, sorted by a sentence."""
    page.set_input_files("#chooser", sorted(EXAMPLES.glob("*.wav")))
    page.locator("#stop-all").wait_for(state="hidden")
    page.fill("#rank-sentence", "rain falls on a roof")
    page.press("#rank-sentence", "Enter")
    page.locator("#files-note", has_text="Sorted by").wait_for()
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")


class Wire:
    """The connection of live sound, until it is cut."""

    def __init__(self, page: Page) -> None:
        self._sockets: list[WebSocketRoute] = []
        self._cut = False
        page.route_web_socket(re.compile("/v1/listen"), self._connected)

    def _connected(self, socket: WebSocketRoute) -> None:
        self._sockets.append(socket)
        if self._cut:
            socket.close()
        else:
            socket.connect_to_server()

    def cut(self) -> None:
        """Close the connection, and refuse others."""
        self._cut = True
        for socket in self._sockets:
            socket.close()


class Studio:
    """Pages of one browser, whose microphone hears the scene."""

    def __init__(self, playwright: Playwright, url: str, scene: Path) -> None:
        self._url = url
        self._browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[
                "--no-sandbox",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={scene}",
            ],
        )

    def opened(self, path: str, size: ViewportSize, scheme: Literal["light", "dark"]) -> Page:
        """Open the page with nothing kept."""
        context = self._browser.new_context(
            viewport=size, color_scheme=scheme, permissions=["microphone"]
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{self._url}/{path}")
        page.locator("body[data-ready]").wait_for()
        return page


def file_pictures(studio: Studio, folder: Path, scene: Path, film: Path) -> None:
    """Takes the pictures of a file, many files and a film."""
    page = studio.opened("", WIDE, "light")
    captioned(page, scene)
    save(picture(page), folder / "serve-file.png")
    page = studio.opened("", WIDE, "light")
    listed(page)
    save(picture(page), folder / "serve-batch.png")
    page = studio.opened("", {"width": 1280, "height": 900}, "dark")
    watched(page, film)
    save(picture(page), folder / "serve-film.png")


def live_pictures(studio: Studio, folder: Path) -> Image.Image:
    """Takes the pictures of live sound; returns that of large text on a phone."""
    page = studio.opened("", WIDE, "dark")
    wire = Wire(page)
    page.click("nav >> text=Live")
    listened(page)
    save(picture(page), folder / "serve-live.png")
    page.click("#large")
    page.set_viewport_size(NARROW)
    page.wait_for_timeout(500)
    large = picture(page)
    wire.cut()
    page.set_viewport_size(WIDE)
    page.locator("#big-alarm").wait_for(state="hidden")
    page.locator("#big-state").wait_for()
    save(picture(page), folder / "serve-lost.png")
    return large


def phone_picture(studio: Studio, folder: Path, scene: Path, large: Image.Image) -> None:
    """Takes the picture of three views on a phone."""
    start = picture(studio.opened("", NARROW, "light"))
    page = studio.opened("", NARROW, "dark")
    captioned(page, scene)
    save(in_a_row([start, picture(page), large]), folder / "serve-phone.png")


def main(
    folder: Annotated[Path, typer.Argument(help="Where pictures go.")],
) -> None:
    """Takes the pictures."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        serving() as url,
        sync_playwright() as playwright,
    ):
        scene, film = Path(temporary) / "scene.wav", Path(temporary) / "film.webm"
        write_scene(scene)
        write_film(film, scene)
        studio = Studio(playwright, url, scene)
        large = live_pictures(studio, folder)
        file_pictures(studio, folder, scene, film)
        phone_picture(studio, folder, scene, large)


if __name__ == "__main__":
    typer.run(main)
