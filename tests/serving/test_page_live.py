"""Live sound in the page: captions, alarms, and a live state that every view shows."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.live.sources import LiveSource
from auricle.serving.limits import Limits
from auricle.serving.listening import Microphone
from auricle.sound.decode import load_audio
from pages import FAR, Stage
from server import serving

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
PLATFORM = """
    window.told = [];
    window.Notification = class { constructor(title) { told.push(title); }
                                  static permission = "granted";
                                  static async requestPermission() { return "granted"; } };
    navigator.vibrate = () => told.push("vibration");
    Object.defineProperty(navigator, "wakeLock", { value: { request: async () => {
        told.push("awake");
        return { addEventListener() {}, release: () => told.push("asleep") };
    } } });
"""  # Chromium without a screen has none of them.


@pytest.fixture
def staged(opened: Any) -> Callable[..., tuple[Any, Stage]]:
    """Opens the live view with a stage, and listens."""

    def listen(**options: Any) -> tuple[Any, Stage]:
        stages: list[Stage] = []
        page = opened(
            "/#live",
            script=PLATFORM,
            prepared=lambda page: stages.append(Stage(page)),
            **options,
        )
        [stage] = stages
        page.locator("body[data-ready]").wait_for()
        page.click("#listen")
        expect(page.locator("#live-state")).to_have_text("Listening")
        return page, stage

    return listen


def test_a_lost_connection_is_shown_in_every_view_and_the_gap_is_told(staged: Any):
    page, stage = staged()
    page.check("#vibrate")
    stage.say("A dog barks.", "begin")
    expect(page.locator("#sentence")).to_have_text("A dog barks.")
    page.click("#large")
    expect(page.locator("#big-state")).to_be_hidden()
    stage.lose()
    expect(page.locator("#big-state")).to_contain_text("Connection lost")
    colour = "getComputedStyle(document.querySelector('#big-sentence')).color"
    assert page.evaluate(colour) != "rgb(255, 255, 255)"
    page.wait_for_timeout(300)  # the microphone goes on
    level = "document.querySelector('#big-level span').style.transform"
    assert page.evaluate(level) == "scaleX(0)"
    assert "vibration" in page.evaluate("told")
    assert "Connection lost" in page.title()
    page.keyboard.press("Escape")
    expect(page.locator("#live-state")).to_contain_text("Connection lost")
    page.click("nav >> text=Files")
    expect(page.locator("#live-banner")).to_contain_text("Connection lost")
    stage.refuses = False
    expect(page.locator("#live-banner")).to_contain_text("The page listens")
    page.click("#live-banner >> text=Show")
    expect(page.locator("#history li.gap")).to_contain_text(
        re.compile(r"No sound was received for \d+ s")
    )


def test_an_alarm_and_the_open_microphone_are_shown_in_every_view(staged: Any):
    page, stage = staged()
    page.check("#notify")
    page.click("nav >> text=Files")
    expect(page.locator("#live-banner")).to_contain_text("The microphone is open")
    assert page.title().startswith("●")
    stage.alert("a doorbell rings")
    expect(page.locator("#alarm-text")).to_have_text("a doorbell rings")
    assert "a doorbell rings" in page.title()
    assert "a doorbell rings" in page.evaluate("told")
    colours = "(s) => getComputedStyle(document.querySelector(s)).backgroundColor"
    assert page.evaluate(colours, "#alarm") != page.evaluate(colours, "#choose")
    page.click("#alarm-seen")
    expect(page.locator("#alarm")).to_be_hidden()
    page.click("#live-banner-stop")
    expect(page.locator("#live-banner")).to_be_hidden()
    assert page.title() == "auricle"


def test_an_unknown_word_is_said_in_its_field_and_listening_goes_on(staged: Any):
    page, stage = staged()
    page.fill("#alert-sentence", "xyzzy")
    page.click("#wish button")
    expect(page.locator("#wish-trouble")).to_contain_text("“xyzzy”")
    expect(page.locator("#wishlist li")).to_have_count(0)
    assert len(stage.starts) == 1
    page.fill("#alert-sentence", "a dog barks")
    page.click("#wish button")
    expect(page.locator("#wishlist li")).to_have_count(1)
    page.select_option("#wishlist select", "high")
    expect(page.locator("#live-state")).to_have_text("Listening")
    assert stage.starts[-1]["alerts"] == [{"sentence": "a dog barks", "threshold": 0.4}]
    page.click("#wishlist >> text=Test")
    expect(page.locator("#alarm-text")).to_have_text("Test: a dog barks")


def test_sounds_are_left_out_and_history_and_alerts_are_kept_if_chosen(staged: Any):
    page, stage = staged()
    page.fill("#alert-sentence", "a dog barks")
    page.click("#wish button")
    expect(page.locator("#wishlist li")).to_have_count(1)
    page.check("#keep-history")
    page.fill("#hide", "speech, rain")
    stage.say("A man speaks.", tag="Speech")
    stage.say("Rain falls.")
    stage.say("A dog barks.")
    expect(page.locator("#history li p")).to_have_text(["A dog barks."])
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#listen")
    page.wait_for_timeout(300)
    page.reload()
    page.locator("body[data-ready]").wait_for()
    expect(page.locator("#history li p")).to_have_text(["A dog barks."])
    expect(page.locator("#wishlist .wish")).to_have_text("a dog barks")
    expect(page.locator("#hide")).to_have_value("speech, rain")


def test_the_microphone_is_heard_live_with_alerts(opened: Any):
    page = opened("/#live", script=PLATFORM)
    page.locator("body[data-ready]").wait_for()
    page.check("#vibrate")
    page.check("#notify")
    page.fill("#alert-sentence", "a church bell rings")
    page.click("#wish button")
    page.click("#listen")
    expect(page.locator("#alarm-text")).to_have_text("a church bell rings")
    page.click("#large")
    expect(page.locator("#big-sentence")).to_contain_text(re.compile("bell", re.IGNORECASE))
    page.keyboard.press("Escape")
    expect(page.locator("#history li.sound p").first).to_be_visible()
    page.click("#wishlist li >> text=×")  # the microphone stays open
    expect(page.locator("#wishlist li")).to_have_count(0)
    page.click("#listen")
    expect(page.locator("#listen")).to_have_text("Listen")
    told = page.evaluate("told")
    assert {"a church bell rings", "vibration", "awake"} <= set(told)
    assert told[-1] == "asleep"
    with page.expect_download() as download:
        page.click("#save-history")
    assert "ALERT: a church bell rings" in Path(download.value.path()).read_text("utf-8")


def test_far_from_the_server_its_microphone_is_heard_and_what_is_missing_is_said(
    opened: Any, bells: Path
):
    def pieces() -> Iterator[np.ndarray]:
        samples = load_audio(bells, 32_000)
        while True:
            for at in range(0, len(samples), 3_200):
                time.sleep(0.05)
                yield samples[at : at + 3_200]

    microphone = Microphone(LiveSource("a microphone", pieces, endless=True), lambda _: None)
    microphone.start()
    with serving(Limits(jobs=1), names=(FAR,), microphone=microphone) as with_one:
        page = opened("/#live", url=f"http://{FAR}:{with_one.port}")
        expect(page.locator("#source")).to_have_value("server")
        page.click("#listen")
        expect(page.locator("#history li")).not_to_have_count(0)
        page.click("#listen")
    with serving(Limits(jobs=1), names=(FAR,)) as without:
        page = opened("/#live", url=f"http://{FAR}:{without.port}")
        expect(page.locator("#live-trouble")).to_contain_text(
            "Start the server with TLS (auricle serve --tls)"
        )
        expect(page.locator("#listen")).to_be_disabled()
