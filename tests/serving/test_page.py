"""The page in a real browser: files, corrections, downloads, keyboard, tokens."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from auricle.captioning.captioner import Captioner
from auricle.captioning.segmenter import Segmenter
from auricle.output.label_tracks import RAVEN_COLUMNS
from auricle.serving.limits import Limits
from auricle.sound.decode import load_audio
from pages import captioned, downloaded, give
from server import EXAMPLES, serving
from sounds import write_media

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect

TOKEN = "a token of the tests"


def stamp(seconds: float) -> str:
    return f"00:00:{seconds:06.3f}".replace(".", ",")


def test_a_file_is_captioned_shown_corrected_and_downloaded(
    opened: Any, embedded: Captioner, bells: Path
):
    segmenter = Segmenter(embedded)
    rows = [*segmenter.feed(load_audio(bells, embedded.rate)), *segmenter.finish()]
    expected = [row for row in rows if row.state == "end"]
    page = opened()
    captioned(page, bells)
    assert page.locator(".option p").all_inner_texts() == [event.caption for event in expected]
    assert page.locator("#summary").inner_text() == f"0:15 · Done · {len(expected)} captions"
    blocks = [
        f"{n}\n{stamp(e.start)} --> {stamp(e.end)}\n{e.caption}\n\n"
        for n, e in enumerate(expected, 1)
    ]
    assert downloaded(page, "srt written") == "".join(blocks)
    assert re.search(r"\[[a-z ,]*bell", downloaded(page, "srt label"))

    page.locator(".option").nth(1).click()
    expect(page.locator("#text")).to_have_value(expected[1].caption)
    assert page.locator("#tags .bars div").count() == 6
    page.click("#more summary")
    expect(page.locator("#explanation canvas")).to_have_attribute(
        "aria-label", re.compile("“rain” at")
    )
    assert page.locator("#alternatives button").count() > 0
    page.fill("#text", "Rain <drums> on a roof,\nhard.")
    page.fill("#from", "0:05.5")
    page.locator("#from").press("Enter")
    assert page.locator(".option time").nth(1).inner_text().startswith("0:05.5")
    page.fill("#to", "0:02")
    page.locator("#to").press("Enter")
    expect(page.locator("#bounds-trouble")).to_have_text("It would end before it begins.")

    assert "\n00:00:05,500 -->" in downloaded(page, "srt written")
    assert "Rain &lt;drums> on a roof,\nhard." in downloaded(page, "vtt written")
    assert downloaded(page, "vtt written").startswith("WEBVTT\n\n")
    assert "Dialogue: 0,0:00:05.50," in downloaded(page, "ass written")
    assert ',"Rain <drums> on a roof,\nhard.",' in downloaded(page, "csv")
    assert re.fullmatch(
        r"0\.0+\t\d+\.\d{6}\t[^\t\n]+\n(\S+\t\S+\t[^\t\n]+\n)*", downloaded(page, "audacity")
    )
    raven = downloaded(page, "raven")
    assert raven.partition("\n")[0].split("\t") == list(RAVEN_COLUMNS)
    assert "Rain <drums> on a roof, hard." in raven
    assert 'text = "Rain <drums> on a roof, hard."' in downloaded(page, "textgrid")
    said = json.loads(downloaded(page, "json"))
    assert [caption["caption"] for caption in said["captions"]][
        1
    ] == "Rain <drums> on a roof,\nhard."

    page.locator("#list").focus()
    page.keyboard.press("Delete")
    assert page.locator(".option").count() == len(expected) - 1
    page.click("#undo")
    assert page.locator(".option").count() == len(expected)


def test_cells_that_a_spreadsheet_would_run_are_quoted_as_text(opened: Any):
    page = opened()
    cells = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "a=1",
        'a "b"',
        -1.5,
        "A dog, barking.",
    ]
    written = page.evaluate("async (row) => (await import('/formats.js')).table([row])", cells)
    [read] = csv.reader(io.StringIO(written, newline=""))
    assert read == [
        *("'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "'\r=1"),
        *("a=1", 'a "b"', "-1.5", "A dog, barking."),
    ]
    assert written.startswith('"\'=1+1",')


def test_bounds_are_drawn_and_dragged_on_the_timeline(opened: Any, bells: Path):
    page = opened()
    captioned(page, bells)
    page.locator(".option").first.click()
    page.keyboard.press("Escape")
    box = page.locator("#timeline canvas").bounding_box()
    before = page.input_value("#to")
    end = float(before.removeprefix("0:"))
    x = box["x"] + box["width"] * end / 15
    page.mouse.move(x, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(x - box["width"] / 15, box["y"] + 80, steps=5)
    page.mouse.up()
    assert float(page.input_value("#to").removeprefix("0:")) == pytest.approx(end - 1, abs=0.1)
    page.click("#undo")
    assert page.input_value("#to") == before
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 80)
    assert page.locator("#now").inner_text() in ("0:07.4", "0:07.5", "0:07.6")


def test_a_video_is_shown_and_what_the_browser_cannot_play_is_decoded(opened: Any, tmp_path: Path):
    sound = load_audio(EXAMPLES / "bell.wav", 48_000)
    page = opened()
    captioned(page, write_media(tmp_path / "film.webm", sound, 48_000, "libopus", video=True))
    expect(page.locator("#player")).to_be_visible()
    assert page.locator(".option").count() >= 1
    captioned(page, write_media(tmp_path / "sound.au", sound, 48_000, "pcm_s16be"))
    expect(page.locator("#hint")).to_contain_text("the sound that the server decoded")
    page.click("#play")
    expect(page.locator("#now")).not_to_have_text("0:00.0")


def test_what_cannot_be_captioned_is_said(opened: Any, tmp_path: Path):
    broken = tmp_path / "notes.wav"
    broken.write_text("no sound")
    page = opened()
    give(page, broken)
    expect(page.locator("#trouble")).to_contain_text("notes.wav: is damaged or not a sound")
    expect(page.locator("#progress")).to_be_hidden()
    captioned(page, EXAMPLES / "bell.wav")
    expect(page.locator("#trouble")).to_be_hidden()


def test_all_of_it_works_by_keyboard_alone(opened: Any):
    page = opened()
    page.locator("body[data-ready]").wait_for()
    press = page.keyboard.press
    for _ in range(30):
        press("Tab")
        if page.locator(":focus").inner_text() == "bell":
            break
    press("Enter")
    page.locator("#said", has_text="Done").wait_for(state="attached")
    for _ in range(30):
        press("Tab")
        if page.locator("#list:focus").count():
            break
    press("ArrowDown")
    press("Enter")
    expect(page.locator("#play")).to_have_accessible_name(re.compile("Pause"))
    press("Space")
    expect(page.locator("#play")).to_have_accessible_name("Play")
    press("Tab")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("Heard: ")
    expect(page.locator(".option p").first).to_contain_text("Heard: ")
    press("Tab")
    press("ArrowUp")
    expect(page.locator("#from")).to_have_value("0:00.10")


@pytest.mark.parametrize("width", [360, 820])
def test_nothing_is_cut_off_where_it_is_narrow(opened: Any, width: int):
    page = opened(viewport={"width": width, "height": 740})
    captioned(page, EXAMPLES / "bell.wav")
    for view in ("Files", "Live"):
        page.click(f"nav >> text={view}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_token_is_asked_for_or_taken_from_the_address(opened: Any):
    with serving(Limits(jobs=1), TOKEN) as guarded:
        page = opened("/#token=" + TOKEN.replace(" ", "%20"), url=guarded.url)
        captioned(page, EXAMPLES / "bell.wav")
        assert "token" not in page.url
        page = opened(url=guarded.url)
        page.fill("#token", "wrong")
        page.click("#ask button")
        expect(page.locator("#ask-trouble")).to_have_text("That is not the token.")
        page.fill("#token", TOKEN)
        page.click("#ask button")
        page.locator("body[data-ready]").wait_for()
