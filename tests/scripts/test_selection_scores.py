"""The fitted confidence, and the scores of selection on made captions."""

import importlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.captioning.results import Caption, CaptionEvent

SCRIPTS = Path(__file__).parents[2] / "scripts"
RATE = 1000
WORDS = {"dog": {"dog", "dogs"}, "rain": {"rain"}, "bell": {"bell"}}


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module(name)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> Any:
    return script("confidence", monkeypatch)


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Any:
    return script("selection_scores", monkeypatch)


def test_logistic_regression_finds_the_model_that_made_the_data(fitted):
    generator = np.random.default_rng(0)
    features = generator.normal([1, -5, 0], [1, 3, 0.01], size=(20_000, 3))
    truth = np.array([1.0, -1.5, 0.4, 0.0])
    probability = fitted.probabilities(truth, features)
    right = (generator.random(20_000) < probability).astype(float)
    found = fitted.fit_logistic(features, right)
    assert found[:3] == pytest.approx(truth[:3], abs=0.15)
    ours = fitted.probabilities(found, features)
    assert np.abs(ours - probability).max() < 0.05
    assert fitted.calibration_error(ours, right) < 0.015
    assert fitted.calibration_error(np.minimum(1, ours + 0.2), right) > 0.1
    # A constant feature, as of a checkpoint without tags, changes nothing.
    assert fitted.fit_logistic(np.column_stack([features, np.ones(20_000)]), right)[
        1:
    ] == pytest.approx([*found[1:], 0])


def test_the_calibration_error_of_a_handful_by_hand(fitted):
    probability, right = np.array([0.1, 0.12, 0.95, 1.0]), np.array([0.0, 1.0, 1.0, 1.0])
    assert fitted.calibration_error(probability, right) == pytest.approx(
        (0.5 - 0.11) / 2 + (1 - 0.975) / 2
    )


def test_a_recording_is_in_one_fold(fitted):
    groups = [str(number // 3) for number in range(60)]
    folds = fitted.folds_of(groups, 0)
    assert len(set(zip(groups, folds.tolist(), strict=True))) == 20
    assert Counter(folds.tolist()) == dict.fromkeys(range(5), 12)


def caption(text: str, *labels: str) -> Caption:
    events = tuple(CaptionEvent(label, label, 0.5, 0.0, 1.0) for label in labels)
    return Caption(0.0, 1.0, text, -1.0, (), events=events)


def test_scenes_are_scored_by_what_their_captions_tell(scores):
    silence = np.zeros(RATE, np.float32)
    told = [
        (scores.Scene("pair", ("dog", "rain"), silence), "A dog barks and then rain falls."),
        (scores.Scene("pair", ("rain", "dog"), silence), "A dog barks and then rain falls."),
        (scores.Scene("pair", ("dog", "bell"), silence), "A dog barks."),
        (scores.Scene("mixture", ("dog", "bell"), silence), "A dog barks while a bell rings."),
        (scores.Scene("mixture", ("dog", "bell"), silence), "A bell rings."),
        (scores.Scene("bed", ("dog", "rain"), silence), "A dog barks, followed by rain."),
    ]
    texts = [text for _, text in told]
    captions = [caption(text) for text in texts]
    found = scores.score_scenes(texts, captions, [scene for scene, _ in told], WORDS)
    assert found["pairs: both named"] == pytest.approx(2 / 3)
    assert found["pairs: told as a sequence"] == pytest.approx(2 / 3)
    assert found["pairs: order right"] == 0.5
    assert found["mixtures: both named"] == 0.5
    assert found["mixtures: at least one named"] == 1
    assert found["beds: false sequence"] == found["beds: event named"] == 1


def test_a_second_source_in_a_loop_is_false_if_it_does_not_name_the_label(scores):
    scene = scores.Scene("loop", ("dog",), np.zeros(RATE, np.float32))
    captions = [caption("A dog barks.", "dog barking")]
    captions.append(caption("A dog barks while rain falls.", "dog barking", "rain falling"))
    captions.append(caption("A dog barks while dogs howl.", "dog barking", "dogs howling"))
    texts = [one.text for one in captions]
    found = scores.score_scenes(texts, captions, [scene] * 3, WORDS)
    assert found["loops: false second source"] == pytest.approx(1 / 3)
    assert found["loops: false sequence"] == 0


def test_a_loop_repeats_its_sound(scores):
    samples = np.arange(300, dtype=np.float32)
    looped = scores.loop(samples, 1.0, RATE)
    assert len(looped) == RATE
    assert (looped[:300] == samples).all()
    assert (looped[300:600] == samples).all()


def test_intervals_widen_with_few_recordings_and_hold_the_mean(scores):
    rng = np.random.default_rng(0)
    hits = (rng.random((3, 200)) < 0.7).astype(float)
    low, high = scores.resampled(hits, [str(number) for number in range(200)])
    assert low < hits.mean() < high
    few_low, few_high = scores.resampled(hits, [str(number % 5) for number in range(200)])
    assert low < hits.mean() < high
    assert few_low < hits.mean() < few_high
    same = scores.resampled(hits, [str(number) for number in range(200)], hits.mean(0))
    assert same[0] < 0 < same[1]
