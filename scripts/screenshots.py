"""Takes the pictures of docs/serve.md with Chromium: wide and narrow, light and dark.

    auricle serve &
    python scripts/screenshots.py --url http://127.0.0.1:8000 docs/

The sound is the examples, one after another; the microphone hears the same.
"""

import io
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import av
import numpy as np
import typer
from PIL import Image
from playwright.sync_api import sync_playwright

from auricle.sound.decode import load_audio

EXAMPLES = Path(__file__).parents[1] / "examples"
RATE = 32_000
WIDE, NARROW = {"width": 1180, "height": 860}, {"width": 390, "height": 844}
PATIENCE = 120_000  # milliseconds
COLOURS = 128  # of a picture


def write_scene(path: Path) -> None:
    """All examples in a row."""
    samples = np.concatenate([load_audio(file, RATE) for file in sorted(EXAMPLES.glob("*.wav"))])
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])


def picture(page: Any) -> Image.Image:
    """What is in sight."""
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def beside(pictures: list[Image.Image]) -> Image.Image:
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


def captioned(page: Any, scene: Path) -> None:
    """A file's captions, the second of them chosen."""
    page.set_input_files("#chooser", scene)
    page.locator("#said", has_text="Done").wait_for(state="attached", timeout=PATIENCE)
    page.locator("#list").focus()
    page.keyboard.press("ArrowDown")
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(500)


def listened(page: Any) -> None:
    """A while of live captions, until an alert."""
    page.fill("#wanted", "a church bell rings")
    page.click("#wish button")
    page.click("#listen")
    page.locator("#alarm").wait_for(timeout=PATIENCE)
    page.wait_for_timeout(2_500)


def main(
    folder: Annotated[Path, typer.Argument(help="Where pictures go.")],
    url: Annotated[str, typer.Option(help="Of the server.")] = "http://127.0.0.1:8000",
) -> None:
    """Takes the pictures."""
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        scene = Path(temporary) / "scene.wav"
        write_scene(scene)
        arguments = [
            "--no-sandbox",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
        ]
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[*arguments, f"--use-file-for-fake-audio-capture={scene}"],
        )

        def opened(path: str, size: dict[str, int], scheme: str) -> Any:
            context = browser.new_context(
                viewport=size,  # type: ignore[arg-type]
                color_scheme=scheme,  # type: ignore[arg-type]
                permissions=["microphone"],
            )
            page = context.new_page()
            page.goto(f"{url}/{path}")
            page.locator("body[data-ready]").wait_for(timeout=PATIENCE)
            return page

        page = opened("", WIDE, "light")
        captioned(page, scene)
        save(picture(page), folder / "serve-file.png")
        page = opened("#live", WIDE, "dark")
        listened(page)
        save(picture(page), folder / "serve-live.png")
        page.click("#large")
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        page.wait_for_timeout(500)
        large = picture(page)
        start = picture(opened("", NARROW, "light"))
        page = opened("", NARROW, "dark")
        captioned(page, scene)
        save(beside([start, picture(page), large]), folder / "serve-phone.png")
        browser.close()


if __name__ == "__main__":
    typer.run(main)
