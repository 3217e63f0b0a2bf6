"""Every view of the page is accessible: axe, and the order in which a screen reader reads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.sound.decode import load_audio
from pages import Stage, give, violations
from server import EXAMPLES
from sounds import write_media

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect

WIDTHS = {"phone": 390, "tablet": 820, "desktop": 1280}  # in pixels
CAPTIONS = [
    {
        "start": start,
        "end": start + 1.5,
        "caption": caption,
        "confidence": confidence,
        "tags": [{"name": "Dog", "probability": 0.8}, {"name": "Rain", "probability": 0.1}],
    }
    for start, caption, confidence in [(0.5, "A dog barks.", 0.7), (2.5, "Rain falls.", 0.2)]
]

Given = Callable[..., list[Path]]


@pytest.fixture
def captions(tmp_path: Path) -> Given:
    """Writes captions, with the sound or the film of the same name where there is one."""

    def write(*names: str) -> list[Path]:
        paths = []
        for name in names:
            path = tmp_path / name
            if path.suffix == ".webm":
                sound = np.resize(load_audio(EXAMPLES / "bell.wav", 48_000), 5 * 48_000)
                write_media(path, sound, 48_000, "libopus", video=True)
            elif path.suffix == ".wav":
                path.write_bytes((EXAMPLES / "bell.wav").read_bytes())
            else:
                path.write_text(json.dumps(CAPTIONS))
            paths.append(path)
        return paths

    return write


def start(page: Any, captions: Given) -> None:  # noqa: ARG001 (as all views are called)
    expect(page.locator("#choose")).to_be_visible()


def a_file(page: Any, captions: Given) -> None:
    give(page, *captions("dog.wav", "dog.json"))
    expect(page.locator(".option")).to_have_count(2)
    expect(page.locator("#tags")).to_be_visible()


def a_film(page: Any, captions: Given) -> None:
    give(page, *captions("dog.webm", "dog.json"))
    expect(page.locator("#player")).to_be_visible()


def many_files(page: Any, captions: Given) -> None:
    give(page, *captions("one.json", "two.json", "three.json"))
    expect(page.locator("#rows tr")).to_have_count(3)


def live(page: Any, captions: Given) -> None:  # noqa: ARG001
    page.click("nav >> text=Live")
    page.fill("#alert-sentence", "a dog barks")
    page.click("#wish button")
    expect(page.locator("#wishlist li")).to_have_count(1)
    page.click("#listen")
    expect(page.locator("#live-state")).to_have_text("Listening")
    page.stage.say("A dog barks.", "begin")
    page.stage.say("Rain falls.")
    expect(page.locator("#history li")).to_have_count(1)


def an_alarm(page: Any, captions: Given) -> None:
    live(page, captions)
    page.stage.alert("a dog barks")
    expect(page.locator("#alarm")).to_be_visible()


def a_lost_connection(page: Any, captions: Given) -> None:
    live(page, captions)
    page.stage.lose()
    expect(page.locator("#live-state")).to_contain_text("Connection lost")


def large_text(page: Any, captions: Given) -> None:
    an_alarm(page, captions)
    page.click("#large")
    expect(page.locator("#big-alarm")).to_be_visible()
    page.stage.lose()
    expect(page.locator("#big-state")).to_be_visible()


VIEWS = [start, a_file, a_film, many_files, live, an_alarm, a_lost_connection, large_text]


def staged(opened: Any) -> Any:
    """Open the page with a stage for live sound."""

    def prepare(page: Any) -> None:
        page.stage = Stage(page)

    page = opened(prepared=prepare, reduced_motion="reduce")
    page.locator("body[data-ready]").wait_for()
    return page


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_at_any_width_in_light_and_dark(opened: Any, captions: Given, view: Any):
    page = staged(opened)
    view(page, captions)
    for name, width in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": 800})
        # A scheme changes nothing but colours.
        for scheme, rules in (("light", []), ("dark", ["color-contrast"])):
            page.emulate_media(color_scheme=scheme)
            assert violations(page, rules) == [], f"{name}, {scheme}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width


LIVE_IN_ORDER = """
- link "Skip to the content"
- banner:
  - link "auricle, to the beginning"
  - navigation "Pages":
    - link "Files"
    - link "Live"
- alert:
  - text: ⚠ a dog barks
  - button "OK"
- main:
  - region "Live captions":
    - heading "Live captions" [level=1]
    - status: Listening
    - paragraph: Rain falls.
    - button "Stop"
    - meter "Level"
    - button "Large text"
    - heading "History" [level=2]
    - list "History":
      - listitem
      - listitem
    - complementary "Tell me when there is":
      - combobox "A sound to wait for"
      - alert
      - list "Sounds that are waited for":
        - listitem:
          - combobox "Sensitivity for “a dog barks”"
          - button "Test the alert “a dog barks”"
          - button "Remove the alert “a dog barks”"
- contentinfo
"""
FILE_IN_ORDER = """
- status:
  - text: The microphone is open. The page listens.
  - link "Show"
  - button "Stop listening"
- main:
  - region "dog.wav":
    - paragraph:
      - link "All files"
    - heading "dog.wav" [level=1]
    - combobox "One caption for"
    - combobox "Format"
    - button "Download"
    - button "Play"
    - slider "Position"
    - combobox "Speed"
    - group "Timeline"
    - heading "Captions" [level=2]
    - searchbox "Find in the captions"
    - listbox "Captions":
      - group "From 0:00":
        - option "0:00.5 – 0:02.0 A dog barks." [selected]
        - option "0:02.5 – 0:04.0 Rain falls."
    - complementary "The chosen caption":
      - textbox "Caption"
      - textbox "From"
      - textbox "to"
      - alert
      - button "Play it"
    - status: 2 captions.
- contentinfo
"""
# Selectors of live regions, and whether they interrupt what a screen reader says.
LIVE_REGIONS = {
    "#alarm": "assertive",
    "#live-banner": "polite",
    "#live-state": "polite",
    "#current": "polite",
    "#said": "polite",
    "#hint": "polite",
    "#trouble": "assertive",
    "#bounds-trouble": "assertive",
    "#wish-trouble": "assertive",
    "#big-alarm": "assertive",
    "#big-state": "polite",
}
MANNER = """
(selector) => {
  const element = document.querySelector(selector);
  return element.ariaLive ?? { alert: "assertive", status: "polite" }[element.getAttribute("role")];
}
"""


def test_a_screen_reader_hears_roles_and_live_regions_in_this_order(opened: Any, captions: Given):
    page = staged(opened)
    an_alarm(page, captions)
    expect(page.locator("body")).to_match_aria_snapshot(LIVE_IN_ORDER)
    page.click("nav >> text=Files")
    a_file(page, captions)
    expect(page.locator("body")).to_match_aria_snapshot(FILE_IN_ORDER)
    assert {name: page.evaluate(MANNER, name) for name in LIVE_REGIONS} == LIVE_REGIONS
