"""The static site captions sounds in the browser as Python does, and asks nobody for anything."""

import base64
import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.captioning.captioner import Captioner
from auricle.sound.decode import load_audio
from pages import PATIENCE, violations
from server import EXAMPLES
from sounds import chirp, tone, write_media

ROOT = Path(__file__).parents[2]
MOST_LINES = 400
# Captions samples, which arrive as the base64 text of float32 numbers, without the page around it.
CAPTION = """async (text) => {
  const { Captioner } = await import("./captioner.js");
  globalThis.captioner ??= Captioner.load(new URL("model/", location.href));
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return (await (await captioner).caption(new Float32Array(bytes.buffer))).text;
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built by its script."""
    pytest.importorskip("onnx", reason="the site is built with onnx (extra portable)")
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, ROOT / "scripts" / "browser_site.py", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "cannot be fetched" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[0])
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def page(browser: Any, site: Path) -> Iterator[Any]:
    """The site's page, which must say nothing on the console, and ask nobody but its host."""
    said: list[str] = []
    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{host.server_port}/"
        context = browser.new_context(permissions=["microphone"])
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda m: m.type == "error" and said.append(m.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        context.on("request", lambda r: r.url.startswith(url) or said.append(f"asks {r.url}"))
        page.goto(url)
        page.locator("body[data-ready]").wait_for()
        yield page
        context.close()
        host.shutdown()
    assert said == []


@pytest.fixture(scope="module")
def says(page: Any) -> Callable[[np.ndarray], str]:
    """Captions samples in the browser."""

    def caption(samples: np.ndarray) -> str:
        return page.evaluate(CAPTION, base64.b64encode(samples.astype("<f4").tobytes()).decode())

    return caption


def test_a_file_gets_its_caption(page: Any, embedded: Captioner):
    path = EXAMPLES / "bell.wav"
    page.set_input_files("#chooser", path)
    page.locator("#sounds .small", has_text="Done.").wait_for()
    assert page.locator("#sounds h2").text_content() == "bell.wav"
    assert page.locator("#sounds .option p").text_content() == embedded.caption(path).text
    assert violations(page) == []


def test_the_microphone_is_captioned_until_it_is_stopped(page: Any):
    page.get_by_role("button", name="Use the microphone").click()
    heard = page.locator("#sounds section", has_text="Microphone")
    sentence = heard.locator(".option p").first
    sentence.wait_for()
    assert (sentence.text_content() or "").endswith(".")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Use the microphone").wait_for()


def test_a_file_that_is_no_sound_is_told(page: Any, tmp_path: Path):
    path = tmp_path / "letter.wav"
    path.write_text("Dear Sir or Madam")
    page.set_input_files("#chooser", path)
    page.locator("#sounds .small", has_text="This sound cannot be captioned").wait_for()


def test_the_examples_are_captioned_as_in_python(
    says: Callable[[np.ndarray], str], embedded: Captioner
):
    for path in sorted(EXAMPLES.glob("*.wav")):
        samples = load_audio(path, embedded.rate)
        assert says(samples) == embedded.caption_samples(samples).text, path.name
    silence = np.zeros(embedded.rate, np.float32)
    assert says(silence) == embedded.caption_samples(silence).text


def test_real_sounds_are_captioned_as_in_python(
    says: Callable[[np.ndarray], str], embedded: Captioner, shared: Path
):
    files = sorted((shared / "corpus" / "audio").rglob("*.ogg"))
    for path in files[50 :: len(files) // 3]:
        samples = load_audio(path, embedded.rate)[: 10 * embedded.rate]
        assert says(samples) == embedded.caption_samples(samples).text, path.name


@pytest.mark.parametrize("rate", [44_100, 16_000])
def test_resampling_keeps_a_tone(page: Any, rate: int):
    samples = tone(0.5, 5_000, rate)
    script = """async ([samples, rate]) => {
      const { resample } = await import("./resample.js");
      return [...resample(Float32Array.from(samples), rate, 32_000)];
    }"""
    found = np.array(page.evaluate(script, [samples.tolist(), rate]))
    inside = slice(200, -200)  # of the ends, a part of the filter is missing
    np.testing.assert_allclose(found[inside], tone(0.5, 5_000, 32_000)[inside], atol=1e-3)


@pytest.mark.parametrize(
    ("codec", "name"), [("pcm_s16le", "a.wav"), ("flac", "a.flac"), ("vorbis", "a.ogg")]
)
def test_a_file_is_decoded_as_in_python(page: Any, tmp_path: Path, codec: str, name: str):
    rising = chirp(1, 50, 10_500, 22_050)
    write_media(tmp_path / name, np.stack([rising, 0.5 * rising]), 22_050, codec)
    script = """async (text) => {
      const { decode } = await import("./sound.js");
      const content = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
      return [...(await decode(content, 32_000))];
    }"""
    content = base64.b64encode((tmp_path / name).read_bytes()).decode()
    found = np.array(page.evaluate(script, content))
    expected = load_audio(tmp_path / name, 32_000)
    inside = slice(200, 31_000)
    np.testing.assert_allclose(found[inside], expected[inside], atol=5e-3)


def test_the_browser_refuses_to_send_sound_elsewhere(browser: Any, page: Any):
    other = browser.new_context().new_page()
    other.goto(page.url)
    refused = other.evaluate(
        """() => new Promise((resolve) => {
          addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
          fetch("http://sounds.example/").catch(() => {});
        })"""
    )
    assert refused == "connect-src"
    other.context.close()


def test_scripts_are_short_and_the_folder_is_not_overwritten(site: Path):
    for path in (ROOT / "scripts" / "browser_site").glob("*.js"):
        assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES
    command = [sys.executable, ROOT / "scripts" / "browser_site.py", site]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "is not empty" in done.stderr
