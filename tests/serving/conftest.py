"""A server with the embedded model, and a browser, for as long as tests need them."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.captioning.captioner import Captioner, load
from auricle.serving.limits import Limits
from auricle.sound.decode import load_audio
from pages import FAR, PATIENCE
from server import EXAMPLES, Server, serving
from sounds import tone, write_media, write_wav


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One with usual limits."""
    with serving(Limits(jobs=2)) as running:
        yield running


@pytest.fixture(scope="session")
def embedded() -> Captioner:
    """What the server captions with."""
    return load()


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute and more of different sounds."""
    samples = np.concatenate([load_audio(path, 32_000) for path in sorted(EXAMPLES.glob("*.wav"))])
    return write_wav(
        tmp_path_factory.mktemp("scene") / "scene.wav", np.resize(samples, 34 * 32_000), 32_000
    )


@pytest.fixture(scope="session")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour of sound, which takes longer than a test waits."""
    samples = np.resize(tone(1, 440, 4_000), 3_600 * 4_000)
    return write_wav(tmp_path_factory.mktemp("hour") / "hour.wav", samples, 4_000)


@pytest.fixture(scope="session")
def bells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bell, then rain, then a siren."""
    samples = [load_audio(EXAMPLES / f"{name}.wav", 32_000) for name in ("bell", "rain", "siren")]
    return write_wav(
        tmp_path_factory.mktemp("page") / "a scene.wav", np.concatenate(samples), 32_000
    )


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of bell, rain and siren."""
    samples = [load_audio(EXAMPLES / f"{name}.wav", 48_000) for name in ("bell", "rain", "siren")]
    path = tmp_path_factory.mktemp("film") / "film.webm"
    return write_media(path, np.concatenate(samples), 48_000, "libopus", video=True)


@pytest.fixture(scope="module")  # it runs an event loop, and other modules need their own
def browser(bells: Path) -> Iterator[Any]:
    """Chromium, whose microphone hears bells, rain and a siren."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on the PATH")
    arguments = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={bells}",
        "--autoplay-policy=no-user-gesture-required",
        f"--host-resolver-rules=MAP {FAR} 127.0.0.1",
    ]
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any, server: Server) -> Iterator[Callable[..., Any]]:
    """Opens the page; it must say nothing on the console, and ask nobody but its server."""
    said: list[str] = []
    contexts = []
    # The browser's own words, where a test refuses a request or stops the server.
    refused = re.compile(
        "Failed to load resource: (the server responded with a status of (401|422)|net::ERR_)"
        "|WebSocket connection to .* failed"
    )

    def open_page(
        path: str = "/",
        url: str = server.url,
        script: str = "",
        prepared: Callable[[Any], object] = lambda _: None,
        **options: Any,
    ) -> Any:
        context = browser.new_context(accept_downloads=True, permissions=["microphone"], **options)
        context.add_init_script(script)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on(
            "console", lambda m: m.type != "error" or refused.match(m.text) or said.append(m.text)
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda r: r.url.startswith((url, "blob:", "ws")) or said.append(f"asks {r.url}"),
        )
        prepared(page)
        page.goto(f"{url}{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
