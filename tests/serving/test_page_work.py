"""Work in the page is not lost: reloads, lost servers, stopped files, many files, films."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.serving.limits import Limits
from auricle.serving.page_files import PAGE
from auricle.sound.decode import load_audio
from pages import captioned, downloaded, give
from server import EXAMPLES, serving
from sounds import write_wav

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
# Clicks in the page itself: a click from here may come after a short file's last caption.
STOP_AT_SECOND_CAPTION = """() => {
  const observer = new MutationObserver(() => {
    if (document.querySelectorAll(".option").length < 2) return;
    observer.disconnect();
    document.querySelector("#stop").click();
  });
  observer.observe(document.body, { childList: true, subtree: true });
}"""
BELL, RAIN, SIREN = (EXAMPLES / f"{name}.wav" for name in ("bell", "rain", "siren"))


def reopened(page: Any, path: str = "") -> None:
    """Load the page again, as after a crash of the browser."""
    page.wait_for_timeout(600)  # the page keeps text a moment after it changed
    page.goto("about:blank")
    page.goto(path)
    page.locator("body[data-ready]").wait_for()


def test_edits_survive_a_reload_and_a_button_erases_them(opened: Any):
    page = opened()
    captioned(page, BELL)
    address = page.url
    page.fill("#text", "A bell, corrected.")
    page.click("#undo")
    expect(page.locator("#text")).not_to_have_value("A bell, corrected.")
    page.click("#redo")
    expect(page.locator("#text")).to_have_value("A bell, corrected.")
    page.click("#split")
    expect(page.locator(".option")).to_have_count(2)
    page.click("#merge")
    expect(page.locator(".option")).to_have_count(1)
    expect(page.locator("#text")).to_have_value("A bell, corrected.")
    reopened(page, address)
    expect(page.locator(".option p").first).to_have_text("A bell, corrected.")
    assert json.loads(downloaded(page, "json"))["captions"][0]["caption"] == "A bell, corrected."
    page.click("#home")
    expect(page.locator("#rows tr")).to_have_count(1)
    page.on("dialog", lambda dialog: dialog.accept())
    with page.expect_navigation():
        page.click("#erase")
    page.locator("body[data-ready]").wait_for()
    expect(page.locator("#files")).to_be_hidden()
    assert page.evaluate("localStorage.length") == 0


def test_without_its_server_the_page_opens_and_says_what_is_partial(opened: Any, hour: Path):
    with serving(Limits(jobs=1)) as server:
        page = opened(url=server.url)
        give(page, hour)
        expect(page.locator("#doing")).to_contain_text("Listening")
        page.evaluate("navigator.serviceWorker.ready")
        address = page.url
    expect(page.locator("#unfinished-text")).to_contain_text("Interrupted")
    expect(page.locator("#unfinished-text")).to_contain_text("partial")
    reopened(page, address)
    expect(page.locator(".notice").first).to_contain_text("cannot be reached")
    expect(page.locator("#unfinished-text")).to_contain_text("choose the file again")


def test_a_stopped_file_says_so_and_goes_on_where_it_stopped(opened: Any, tmp_path: Path):
    parts = [np.resize(load_audio(path, 32_000), 320_000) for path in (BELL, RAIN, SIREN)]
    samples = np.tile(np.concatenate(parts), 7)
    long = write_wav(tmp_path / "long.wav", samples, 32_000)
    page = opened()
    page.locator("body[data-ready]").wait_for()
    page.select_option("#segments", "windows")
    page.evaluate(STOP_AT_SECOND_CAPTION)
    give(page, long)
    expect(page.locator("#unfinished-text")).to_contain_text("Stopped at")
    expect(page.locator("#summary")).to_contain_text("partial")
    stopped = page.locator(".option").count()
    with page.expect_download() as download:
        page.select_option("#format", "json")
        page.click("#download")
    assert download.value.suggested_filename == "long-partial.json"
    assert json.loads(Path(download.value.path()).read_text("utf-8"))["partial"] is True
    page.locator(".option").first.click()
    page.fill("#text", "Mine.")
    page.click("#continue")
    page.locator("#said", has_text="Done").wait_for(state="attached")
    times = page.locator(".option time").all_inner_texts()
    windows = -(-len(samples) // 320_000)
    assert len(times) == len(set(times)) == windows > stopped
    expect(page.locator(".option p").first).to_have_text("Mine.")


def test_a_file_that_is_chosen_again_goes_on_and_plays(opened: Any, hour: Path):
    page = opened()
    give(page, hour)
    expect(page.locator("#doing")).to_contain_text("Listening")
    page.click("#stop")
    expect(page.locator("#unfinished-text")).to_contain_text("Stopped at")
    reopened(page, page.url)
    for file in (BELL, hour):
        with page.expect_file_chooser() as chooser:
            page.click("#continue")
        chooser.value.set_files(file)
        if file == BELL:
            expect(page.locator("#trouble")).to_contain_text("This is another file")
    expect(page.locator("#player")).to_have_attribute("src", re.compile("^blob:"))
    expect(page.locator("#progress")).to_be_visible()
    page.click("#stop")


def test_a_silent_file_says_so(opened: Any, tmp_path: Path):
    quiet = write_wav(tmp_path / "quiet.wav", np.zeros(64_000, np.float32), 32_000)
    page = opened()
    captioned(page, quiet)
    expect(page.locator("#summary")).to_contain_text("the file is silent")


def test_many_files_stand_in_a_table_sorted_by_a_sentence(opened: Any):
    page = opened()
    give(page, RAIN, BELL, SIREN)
    rows = page.locator("#rows tr")
    expect(rows).to_have_count(3)
    for row in range(3):
        expect(rows.nth(row).locator("td").first).to_contain_text("Done")
        expect(rows.nth(row).locator("td.said")).not_to_be_empty()
    page.fill("#rank-sentence", "a church bell rings")
    page.press("#rank-sentence", "Enter")
    expect(page.locator("#files-note")).to_contain_text("Sorted by")
    expect(rows.first).to_contain_text("bell.wav")
    page.fill("#rank-sentence", "xyzzy")
    page.press("#rank-sentence", "Enter")
    expect(page.locator("#home-trouble")).to_contain_text("does not know")
    with page.expect_download() as download:
        page.click("#download-all")
    text = Path(download.value.path()).read_text("utf-8")
    assert {row["file"] for row in csv.DictReader(io.StringIO(text))} == {
        "bell.wav",
        "rain.wav",
        "siren.wav",
    }
    page.click("#rows >> text=siren.wav")
    expect(page.locator("#name")).to_have_text("siren.wav")
    page.click("#spectrogram")
    expect(page.locator("#spectrogram")).to_have_attribute("aria-pressed", "true")
    page.go_back()
    page.click("#rows >> text=bell.wav")
    expect(page.locator("#spectrogram")).to_have_attribute("aria-pressed", "false")
    page.go_back()
    expect(page.locator("#files")).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#rows >> text=siren.wav")
    page.select_option("#again", "whole")
    page.locator("#said", has_text="Done").wait_for(state="attached")
    expect(page.locator(".option")).to_have_count(1)


def test_a_film_shows_its_captions_and_gets_them_as_a_track(
    opened: Any, film: Path, tmp_path: Path
):
    subtitles = tmp_path / "film.srt"
    subtitles.write_text(
        "1\n00:00:00,500 --> 00:00:04,000\nBefore <i>me</i>\n\n"
        "2\n00:00:06,000 --> 00:00:09,000\nRain & more\n"
    )
    page = opened(viewport={"width": 1280, "height": 860})
    give(page, film, subtitles)
    expect(page.locator(".option p")).to_have_text(["Before me", "Rain & more"])
    expect(page.locator("#player")).to_be_visible()
    player, listed = (page.locator(name).bounding_box() for name in ("#player", "#list"))
    assert player["x"] + player["width"] <= listed["x"]
    page.select_option("#speed", "0.5")
    page.locator(".option").first.click()
    expect(page.locator(".option.sounding p")).to_have_text("Before me")
    page.click("#play")
    cue = "document.querySelector('#player').textTracks[0].activeCues[0].text"
    assert page.evaluate(cue) == "Before me"
    assert page.evaluate("document.querySelector('#player').playbackRate") == 0.5
    page.fill("#find", "rain")
    expect(page.locator(".option:visible p")).to_have_text(["Rain & more"])
    page.select_option("#format", "film")
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "film.captions.webm"
    assert b"Before me" in Path(download.value.path()).read_bytes()


def test_a_caption_is_dragged_on_the_timeline_and_copied(opened: Any, bells: Path):
    page = opened()
    captioned(page, bells)
    page.locator(".option").first.click()
    page.locator("#play").click()
    before = page.input_value("#from"), page.input_value("#to")
    start, end = (float(value.split(":")[1]) for value in before)
    box = page.locator("#timeline canvas").bounding_box()
    x, y = box["x"] + box["width"] * (start + end) / 2 / 15, box["y"] + box["height"] - 20
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 15, y, steps=5)
    page.mouse.up()
    moved = float(page.input_value("#from").split(":")[1])
    assert moved == pytest.approx(start + 1, abs=0.1)
    assert float(page.input_value("#to").split(":")[1]) - moved == pytest.approx(
        end - start, abs=0.02
    )
    page.locator("#list").focus()
    page.keyboard.press("Control+z")
    assert (page.input_value("#from"), page.input_value("#to")) == before
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#copy")
    expect(page.locator("#said")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == page.input_value("#text")


def test_the_service_worker_keeps_every_file_of_the_page():
    worker = (PAGE / "service-worker.js").read_text("utf-8")
    kept = set(re.findall(r'^  "([^"]+)",$', worker, re.MULTILINE))
    files = {path.name for path in PAGE.iterdir() if path.is_file()}
    assert kept == files - {"index.html", "service-worker.js"} | {"./"}
