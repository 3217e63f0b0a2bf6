"""The table of metrics: each is scored, or missing with a reason, and a bad caption is null."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from auricle.evaluation import meteor as meteor_module
from auricle.evaluation.chunks import Unscored
from auricle.evaluation.metrics import FIGURES, METRICS, TABLE, TITLES, Task, score_all
from auricle.evaluation.report import comparison_json, scores_json, write_report
from auricle.evaluation.scores import Scores, UnscoredCaption, compare, evaluate
from auricle.evaluation.sentences import SentenceModels

CANDIDATES = {"a.wav": "a dog barks", "b.wav": "rain falls", "c.wav": "birds sing"}
REFERENCES = {
    "a.wav": ["a dog is barking"],
    "b.wav": ["rain falls on a roof"],
    "c.wav": ["birds sing near a road"],
}


@pytest.fixture
def looping(monkeypatch: pytest.MonkeyPatch, java: str) -> None:
    """A SPICE that cannot score the caption of b.wav."""
    del java

    def spice(candidates: list[str], *_: object, **__: object) -> list[float | Unscored]:
        return [Unscored("it loops") if "rain" in text else 0.5 for text in candidates]

    monkeypatch.setattr("auricle.evaluation.metrics.missing_spice", lambda: None)
    monkeypatch.setattr("auricle.evaluation.metrics.spice", spice)


def test_names_are_unique_and_a_metric_stands_below_those_that_it_needs() -> None:
    names = [metric.name for metric in TABLE]
    assert len(set(names)) == len(names)
    assert set(names) == {*METRICS, *FIGURES} == set(TITLES)
    assert names.index("spider") > max(names.index("spice"), names.index("cider_d"))
    assert names.index("spider_fl") > names.index("spider")


def test_every_metric_is_scored_or_missing_with_a_reason(
    without_java: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_java(monkeypatch)
    task = Task(["a dog"], [["a dog"]], uncertain=None, models=SentenceModels())
    score_all(task)
    assert task.results.keys() | task.missing.keys() == set(TITLES)
    assert not task.results.keys() & task.missing.keys()
    assert all(task.missing.values())


def scored() -> Scores:
    return evaluate(CANDIDATES, REFERENCES, leave_out=["meteor"], resamples=50)


@pytest.mark.usefixtures("looping")
def test_a_caption_that_cannot_be_scored_is_null_and_the_others_are_scored() -> None:
    scores = scored()
    first, second, third = scores.captions
    assert second.scores["spice"] is None
    assert second.scores["spider"] is None
    assert second.scores["cider_d"] is not None
    assert (first.scores["spice"], third.scores["spice"], scores.corpus["spice"]) == (0.5,) * 3
    spiders = [first.scores["spider"], third.scores["spider"]]
    assert scores.corpus["spider"] == pytest.approx(sum(filter(None, spiders)) / 2)
    assert scores.unscored == (
        UnscoredCaption("b.wav", "spice", "it loops"),
        UnscoredCaption("b.wav", "spider", "it loops"),
    )
    assert any("SPICE has no score for b.wav (it loops)" in note for note in scores.notes)
    assert scores.intervals["spice"].low == scores.intervals["spice"].high == 0.5
    assert not any(
        math.isnan(end) for each in scores.intervals.values() for end in (each.low, each.high)
    )


@pytest.mark.usefixtures("looping")
def test_reports_give_null_with_its_reason(tmp_path: Path) -> None:
    scores = scored()
    found = json.loads(scores_json(scores))
    assert found["unscored"][0] == {
        "file": "b.wav",
        "metric": "spice",
        "score": None,
        "reason": "it loops",
    }
    page = write_report(scores, tmp_path).read_text(encoding="utf-8")
    assert '"spice": null' in page
    assert "it loops" in page
    assert "nan" not in page.lower()
    rows = (tmp_path / "per_caption.csv").read_text(encoding="utf-8").splitlines()
    assert rows[2].startswith("b.wav,rain falls,")
    assert ",," in rows[2]


@pytest.mark.usefixtures("looping")
def test_systems_are_compared_on_captions_that_both_have_scores_for() -> None:
    better = CANDIDATES | {"b.wav": "it pours"}  # this one SPICE scores
    comparison = compare(CANDIDATES, better, REFERENCES, leave_out=["meteor"], resamples=50)
    found = comparison.differences["spice"]
    assert found.first == found.second == 0.5
    assert found.difference == 0
    assert any("SPICE" in note and "2 of 3" in note for note in comparison.notes)
    assert json.loads(comparison_json(comparison))["unscored"]["second"] == []
    assert comparison.differences["cider_d"].first == comparison.first.corpus["cider_d"]


@pytest.mark.usefixtures("looping")
def test_a_metric_that_scores_no_caption_is_missing() -> None:
    scores = evaluate({"b.wav": "rain falls"}, {"b.wav": REFERENCES["b.wav"]}, leave_out=["meteor"])
    assert "spice" not in scores.corpus
    assert scores.missing["spice"] == "it could score no caption (it loops)"
    assert scores.missing["spider"].endswith("(it loops)")


def test_cider_d_of_one_sound_explains_its_0(
    without_java: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_java(monkeypatch)
    one = {"a.wav": "a dog barks"}
    scores = evaluate(one, REFERENCES)
    assert scores.corpus["cider_d"] == 0
    assert any(note.startswith("CIDEr-D of a single sound is always 0") for note in scores.notes)
    assert not any("one sound" in note for note in evaluate(CANDIDATES, REFERENCES).notes)


def test_meteor_without_an_answer_is_missing(java: str, monkeypatch: pytest.MonkeyPatch) -> None:
    del java
    monkeypatch.setattr(meteor_module, "_running", {})
    monkeypatch.setattr(meteor_module, "_ARGUMENTS", ("-version",))
    scores = evaluate(CANDIDATES, REFERENCES, leave_out=["spice"])
    assert scores.missing["meteor"].startswith("METEOR stopped")
    assert "cider_d" in scores.corpus


def test_metrics_for_english_are_missing_in_another_language():
    task = Task(["ein stein fällt"], [["ein stein fällt ins wasser"]], None, SentenceModels())
    score_all(task)
    assert {"bleu_1", "rouge_l", "cider_d"} <= task.results.keys()
    for name in ("meteor", "spice"):
        assert "supports English only" in task.missing[name]
