"""Self-critical sequence training learns from the drawn captions, and the reward grows."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import made_tags, tiny_recipe

from auricle.checkpoint.config import DecoderConfig, EncoderConfig
from auricle.checkpoint.vocabulary import EOS, SOS, SPECIAL
from auricle.errors import AuricleError
from auricle.evaluation.cider import CiderD
from auricle.models.captioning import CaptioningModel
from auricle.training.config import ScstConfig
from auricle.training.scst import (
    LONGEST_CAPTION_WORDS,
    NEVER_SAID,
    caption_log_probs,
    draw,
    padded,
    train_scst,
)
from auricle.training.train import train
from auricle.training.validate import caption_record
from auricle.training.weights import load_weights

WORDS = 9


def small_model() -> CaptioningModel:
    torch.manual_seed(0)
    decoder = DecoderConfig(width=16, layers=2, heads=2, feedforward=32, dropout=0.1)
    return CaptioningModel(EncoderConfig("cnn10", 1 / 16), decoder, WORDS).eval()


def test_words_are_drawn_as_often_as_they_are_likely() -> None:
    odds = np.array([0, 0, 0.3, 0, 0.5, 0.2])

    def next_log_probs(tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:  # noqa: ARG001
        with np.errstate(divide="ignore"):
            return np.tile(np.log(odds), (len(tokens), 1))

    drawn = list(chain(*draw(next_log_probs, 1000, 4, np.random.default_rng(0))))
    first = [tokens[0] if tokens else EOS for tokens in drawn]
    for token in (EOS, 4, 5):
        assert first.count(token) / 4000 == pytest.approx(odds[token], abs=0.03)
    assert np.mean([len(tokens) for tokens in drawn]) == pytest.approx(0.7 / 0.3, abs=0.15)


def test_a_draw_continues_what_it_began() -> None:
    model = small_model()
    log_mel, frames = torch.randn(3, 64, 64), torch.tensor([64, 64, 32])
    with torch.inference_mode():
        drawn = draw(model.next_log_probs(log_mel, frames), 3, 4, np.random.default_rng(0))
    assert [len(captions_of_sound) for captions_of_sound in drawn] == [4, 4, 4]
    seen: list[np.ndarray] = []

    def item_number(tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        rows = parents if not seen else seen[-1][parents]
        seen.append(rows)
        log_probs = np.full((len(tokens), WORDS), -np.inf)
        log_probs[np.arange(len(rows)), len(SPECIAL) + rows] = 0
        return log_probs

    assert draw(item_number, 3, 2, np.random.default_rng(0)) == [
        [[len(SPECIAL) + i] * LONGEST_CAPTION_WORDS] * 2 for i in range(3)
    ]


def test_unknown_words_and_beginnings_are_never_drawn() -> None:
    def next_log_probs(tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:  # noqa: ARG001
        return np.zeros((len(tokens), WORDS))

    drawn = draw(next_log_probs, 250, 2, np.random.default_rng(1))
    said = {token for tokens in chain(*drawn) for token in tokens}
    assert said == set(range(len(SPECIAL), WORDS))


def test_log_probabilities_are_those_that_words_are_drawn_with() -> None:
    model, log_mel, frames = small_model(), torch.randn(3, 64, 64), torch.tensor([64, 64, 32])
    captions = [[4, 5, 6], [8], [7, 7]]
    with torch.inference_mode():
        whole = caption_log_probs(model, log_mel, frames, padded(captions))
        for item, caption in enumerate(captions):
            step = model.next_log_probs(log_mel[item : item + 1], frames[item : item + 1])
            total, before = 0.0, SOS
            for token in [*caption, EOS]:
                log_probs = step(np.array([before]), np.array([0]))[0].astype(np.float64)
                log_probs[list(NEVER_SAID)] = -np.inf
                total += log_probs[token] - np.logaddexp.reduce(log_probs)
                before = token
            assert whole[item].item() == pytest.approx(total / (len(caption) + 1), abs=1e-4)


def test_a_step_makes_what_was_rewarded_likelier() -> None:
    model, log_mel, frames = small_model(), torch.randn(2, 64, 64), torch.tensor([64, 64])
    tokens = padded([[4, 5], [6]])
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    before = caption_log_probs(model, log_mel, frames, tokens)
    (-(torch.tensor([1.0, -1.0]) * before).mean()).backward()
    optimizer.step()
    after = caption_log_probs(model, log_mel, frames, tokens)
    assert after[0] > before[0]
    assert after[1] < before[1]


def test_what_tells_of_fluency() -> None:
    scorer = CiderD({"a": ["a dog barks"], "b": ["rain falls"]})
    record = caption_record({"a": ["a", "dog", "barks"], "b": ["rain", "on", "a"]}, scorer)
    assert record["valid_words"] == 3
    assert record["valid_unfinished"] == 0.5
    assert record["valid_distinct"] == 1
    assert record["valid_cider_d"] > 0


def test_without_a_captioner_there_is_nothing_to_train(tiny_manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(AuricleError, match="auricle train"):
        train_scst(tiny_recipe(tiny_manifest, tmp_path))


@pytest.mark.parametrize("baseline", ["others", "greedy"])
def test_either_baseline_trains_a_captioner_on(
    baseline: str, tiny_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auricle.training.prepare.read_tags", made_tags)
    monkeypatch.setattr("auricle.training.train.export_onnx", lambda _: None)
    monkeypatch.setattr("auricle.training.scst.export_onnx", lambda _: None)
    recipe = tiny_recipe(
        tiny_manifest, tmp_path, train__epochs=1, scst__epochs=1, scst__baseline=baseline
    )
    train(recipe)
    train_scst(recipe)
    before, after = (
        load_weights(tmp_path / stage / "model.safetensors") for stage in ("captioner", "scst")
    )
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_one_draw_has_no_others() -> None:
    with pytest.raises(ValueError, match="set 2 or more"):
        ScstConfig(samples=1)
    assert ScstConfig(samples=1, baseline="greedy").samples == 1
