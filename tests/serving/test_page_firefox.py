"""The main flows of the page in Firefox: a file, an edit, a download, a film, live sound."""

import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from auricle.live.sources import LiveSource
from auricle.serving.limits import Limits
from auricle.serving.listening import Microphone
from auricle.sound.decode import load_audio
from firefox import Firefox, running
from server import EXAMPLES, Server, serving

PIECE_SAMPLES = 3_200


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """Firefox, which must write no error to its console."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("no Firefox on the PATH")
    with running(program, tmp_path_factory.mktemp("firefox")) as firefox:
        yield firefox
        assert firefox.errors == []


@pytest.fixture(scope="module")
def ringing() -> Iterator[Server]:
    """A server whose microphone hears a bell, again and again."""
    bell = load_audio(EXAMPLES / "bell.wav", 32_000)

    def pieces() -> Iterator[np.ndarray]:
        for start in itertools.cycle(range(0, len(bell) - PIECE_SAMPLES, PIECE_SAMPLES)):
            time.sleep(0.05)
            yield bell[start : start + PIECE_SAMPLES]

    microphone = Microphone(LiveSource("a microphone", pieces, endless=True), lambda _: None)
    microphone.start()
    with serving(Limits(jobs=1), microphone=microphone) as server:
        yield server


def test_firefox_captions_corrects_and_downloads_an_example(firefox: Firefox, ringing: Server):
    firefox.open(ringing.url)
    firefox.wait("document.body.dataset.ready")
    firefox.click("#examples button")
    firefox.wait("document.querySelector('#said')?.textContent.startsWith('Done')")
    heard = firefox.text(".option p")
    firefox.click(".option")
    firefox.write("#text", "A bell, corrected.")
    assert firefox.text(".option p") == "A bell, corrected."
    firefox.choose("#format", "srt written")
    firefox.click("#download")
    name = Path(firefox.text("#name")).stem
    assert "A bell, corrected." in firefox.downloaded(f"{name}.srt")
    firefox.click("#undo")
    firefox.wait(f"document.querySelector('.option p').textContent === {heard!r}")


def test_firefox_shows_a_film_with_its_captions_and_adds_them_as_a_track(
    firefox: Firefox, ringing: Server, film: Path, tmp_path: Path
):
    subtitles = tmp_path / "film.srt"
    subtitles.write_text(
        "1\n00:00:00,500 --> 00:00:04,000\nBefore\n\n2\n00:00:06,000 --> 00:00:09,000\nRain\n"
    )
    firefox.open(ringing.url)
    firefox.wait("document.body.dataset.ready")
    firefox.give("#chooser", film, subtitles)
    firefox.wait("document.querySelectorAll('.option p').length === 2")
    firefox.click(".option")
    firefox.wait("document.querySelector('.option.sounding p')?.textContent === 'Before'")
    firefox.wait(
        "document.querySelector('#player').textTracks[0].activeCues?.[0]?.text === 'Before'"
    )
    firefox.click("#split")
    firefox.wait("document.querySelectorAll('.option p').length === 3")
    firefox.click("#undo")
    firefox.wait("document.querySelectorAll('.option p').length === 2")
    firefox.choose("#format", "film")
    firefox.click("#download")
    assert "Before" in firefox.downloaded("film.captions.webm", errors="replace")


def test_firefox_listens_and_shows_an_alarm_in_every_view(firefox: Firefox, ringing: Server):
    firefox.open(f"{ringing.url}/#live")
    firefox.wait("document.body.dataset.ready")
    firefox.write("#alert-sentence", "a church bell rings")
    firefox.click("#wish button")
    firefox.wait("document.querySelector('#wishlist li')")
    firefox.choose("#source", "server")
    firefox.click("#listen")
    firefox.wait("document.body.dataset.live === 'listening'")
    firefox.click("nav a")
    firefox.wait("!document.querySelector('#live-banner').hidden")
    firefox.wait("document.querySelector('#alarm-text')?.textContent === 'a church bell rings'")
    firefox.wait("document.title.includes('a church bell rings')")
    firefox.click("#live-banner-stop")
    firefox.wait("document.body.dataset.live === 'off'")
