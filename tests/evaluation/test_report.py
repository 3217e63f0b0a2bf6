"""The report: what its files hold, and the page as a browser shows it."""

import csv
import html.parser
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from auricle.evaluation import meteor
from auricle.evaluation.report import scores_markdown, write_report
from auricle.evaluation.scores import Scores, evaluate

HOSTILE = '</script><img src=x onerror="document.title=1">'
CANDIDATES = {
    f"{n}/sound {n}.wav": f"a dog number {'abcdefghij'[n % 10] * 2} barks while {what} falls"
    for n, what in enumerate(["rain", "snow", "hail"] * 20)
} | {f"{HOSTILE}.wav": "a dog barks & <b>rain</b> falls"}
REFERENCES = {
    file: [
        "a dog barks while rain falls",
        f"{('snow', 'wind', 'hail')[n % 3]} falls on a barking dog",
    ]
    for n, file in enumerate(CANDIDATES)
}


@pytest.fixture(scope="module")
def scores() -> Scores:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        patch.delenv("JAVA_HOME", raising=False)
        patch.setattr(meteor, "_running", {})
        plain = {
            file: text.replace("& <b>rain</b>", "and rain") for file, text in CANDIDATES.items()
        }
        found = evaluate(plain, REFERENCES, resamples=200)
    captions = list(found.captions)
    # The page must bear captions that Java-less scoring would not score.
    captions[-1] = type(captions[-1])(
        captions[-1].file,
        CANDIDATES[captions[-1].file],
        captions[-1].references,
        captions[-1].scores,
    )
    return Scores(**{**vars(found), "captions": tuple(captions)})


@pytest.fixture
def report(scores: Scores, tmp_path: Path) -> Path:
    sounds = tmp_path / "sounds"
    (sounds / "0").mkdir(parents=True)
    (sounds / "0" / "sound 0.wav").write_bytes(b"RIFF")
    (sounds / "sound 1.wav").write_bytes(b"RIFF")
    return write_report(scores, tmp_path / "report", title="Scores of a <test>", sounds=sounds)


def data_of(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    return json.loads(text.split('id="data">', 1)[1].split("</script>", 1)[0])


def test_scores_json_has_the_scores_at_the_top(report: Path, scores: Scores) -> None:
    found = json.loads((report.parent / "scores.json").read_text(encoding="utf-8"))
    for name, score in scores.corpus.items():
        assert found[name] == score
    assert set(found["missing"]) == {
        "meteor",
        "spice",
        "spider",
        "spider_fl",
        "fense",
        "sentence_similarity",
    }
    assert "spice" not in found
    low, high = found["intervals"]["cider_d"]
    assert low < found["cider_d"] < high
    assert found["captions"] == len(CANDIDATES)
    assert found["bootstrap"] == {"resamples": 200, "seed": 0, "level": 0.95}


def test_markdown_and_csv(report: Path, scores: Scores) -> None:
    markdown = (report.parent / "scores.md").read_text(encoding="utf-8")
    assert f"| CIDEr-D | {scores.corpus['cider_d']:.4f} | " in markdown
    assert "- SPICE is missing: Java is not installed" in markdown
    assert markdown == scores_markdown(scores, "Scores of a <test>")
    with (report.parent / "per_caption.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == list(CANDIDATES)
    for row, caption in zip(rows, scores.captions, strict=True):
        assert {name: float(row[name]) for name in caption.scores} == caption.scores
        assert (row["reference_1"], row["reference_2"]) == caption.references


def test_the_page_is_one_file_that_asks_for_nothing(report: Path) -> None:
    asked: list[tuple[str, str | None]] = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            asked.extend(
                (tag, value) for name, value in attrs if name in ("src", "href", "data", "action")
            )
            assert not any(name.startswith("on") for name, _ in attrs)

    text = report.read_text(encoding="utf-8")
    Parser().feed(text)
    assert asked == []
    assert "@import" not in text
    assert "url(" not in text
    assert "<!--" not in text
    assert "Scores of a &lt;test&gt;" in text
    assert HOSTILE not in text


def test_sounds_are_found_by_path_or_name_and_only_if_there(report: Path) -> None:
    sounds = [caption["sound"] for caption in data_of(report)["captions"]]
    assert sounds[:3] == ["../sounds/0/sound%200.wav", "../sounds/sound%201.wav", None]


def test_one_caption_makes_a_report_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    scores = evaluate({"a.wav": "a dog"}, {"a.wav": ["rain falls"]})
    assert scores.intervals == {}
    assert data_of(write_report(scores, tmp_path))["captions"][0]["file"] == "a.wav"


@pytest.fixture
def chromium() -> str:
    """The path of a browser."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium on the PATH")
    return found


def test_a_browser_shows_it(report: Path, scores: Scores, chromium: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        assert (
            page.locator("#count").inner_text()
            == f"{len(CANDIDATES)} of {len(CANDIDATES)} captions"
        )
        assert page.locator("#list article").count() == 25
        assert page.title() == "Scores of a <test>"

        by_cider_d = [caption.scores["cider_d"] or 0.0 for caption in scores.captions]
        first = page.locator("#list article .score b").first.inner_text()
        assert float(first) == round(min(by_cider_d), 3)
        page.click("#order")
        first = page.locator("#list article .score b").first.inner_text()
        assert float(first) == round(max(by_cider_d), 3)
        page.select_option("#sort", "file")
        page.click("#more")
        assert page.locator("#list article").count() == 50

        page.fill("#filter", "hail")
        assert page.locator("#count").inner_text() == f"20 of {len(CANDIDATES)} captions"
        page.fill("#filter", "<b>rain")
        assert page.locator("#list article").count() == 1
        assert page.locator("#list blockquote").inner_text() == "a dog barks & <b>rain</b> falls"
        page.fill("#filter", "")

        assert page.locator("#list audio").count() <= 2
        bar = page.locator(".bin[data-metric=cider_d]").first
        bar.click()
        low, high = (float(bar.get_attribute(name) or "nan") for name in ("data-low", "data-high"))
        inside = sum(low <= score < high for score in by_cider_d)
        assert page.locator("#count").inner_text() == f"{inside} of {len(CANDIDATES)} captions"
        page.click("#bin")
        assert (
            page.locator("#count").inner_text()
            == f"{len(CANDIDATES)} of {len(CANDIDATES)} captions"
        )

        picture = page.screenshot(path=report.with_suffix(".png"), full_page=True)
        assert len(picture) > 50_000
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 1280
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert said == []
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        browser.close()
