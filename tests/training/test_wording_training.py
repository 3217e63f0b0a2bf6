"""Training of the plan decoder: it resumes exactly, and learns to word plans."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from auricle.captioning.beam_search import NextLogProbs
from auricle.captioning.wording import word_plan
from auricle.checkpoint.config import DecoderConfig
from auricle.checkpoint.fingerprints import Fingerprints
from auricle.checkpoint.vocabulary import Vocabulary
from auricle.data.plan_captions import SourcedCaption, read_captions
from auricle.data.plan_language import learn_language
from auricle.data.plan_texts import PlanTexts, learnt_words
from auricle.data.progress import SILENT
from auricle.errors import AuricleError
from auricle.models.plan_decoder import PlanDecoder
from auricle.planning.checks import is_faithful
from auricle.planning.plans import Plan, PlannedEvent, Relation, plan_arrays
from auricle.training.config import DataConfig, Recipe, Word2VecConfig
from auricle.training.plan_config import WordingConfig
from auricle.training.run import Run
from auricle.training.wording import learning_rate, train_wording
from small_classes import CAPTIONS, small_classes

CLASSES = small_classes()
SOURCED = [SourcedCaption(text, 1) for text in CAPTIONS * 20]
READINGS = read_captions(SOURCED, CLASSES)
LEARNT = learnt_words(READINGS, CLASSES)
VOCABULARY = Vocabulary(LEARNT)
TEXTS = PlanTexts(READINGS, CLASSES, VOCABULARY, LEARNT)
SHORT = WordingConfig(steps=7, batch_size=4, warmup_steps=2, save_every_steps=3)

DECODER = DecoderConfig(width=32, layers=1, heads=2, feedforward=64, dropout=0.1, plan=True)
FINGERPRINTS = Fingerprints(vocabulary=TEXTS.vocabulary.fingerprint())


def make_recipe(output: Path, wording: WordingConfig = SHORT) -> Recipe:
    data = DataConfig(manifest="sounds.csv")
    return Recipe(str(output), data, word2vec=Word2VecConfig(epochs=0), wording=wording)


def build() -> PlanDecoder:
    return PlanDecoder(DECODER, len(VOCABULARY), len(CLASSES))


def train(recipe: Recipe, *, resume: bool = False) -> PlanDecoder:
    return train_wording(TEXTS, build, recipe, FINGERPRINTS, resume=resume, report=SILENT)


def test_a_stopped_training_ends_as_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = train(make_recipe(tmp_path / "unbroken")).state_dict()
    stopped = make_recipe(tmp_path / "stopped")
    end_epoch = Run.end_epoch

    def stop_after_first(run: Run, *arguments: object) -> None:
        if run.state.epoch:
            raise KeyboardInterrupt
        end_epoch(run, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Run, "end_epoch", stop_after_first)
        with pytest.raises(KeyboardInterrupt):
            train(stopped)
    with pytest.raises(AuricleError, match="holds a training"):
        train(stopped)
    torch.manual_seed(5)
    resumed = train(stopped, resume=True).state_dict()
    assert all(torch.equal(resumed[name], tensor) for name, tensor in expected.items())
    again = train(stopped, resume=True).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in expected.items())


def test_the_rate_rises_and_falls_to_a_small_share():
    config = WordingConfig(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(1, 101)]
    assert rates.index(max(rates)) == 9
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.02)


def next_log_probs(model: PlanDecoder, plan: Plan, manner: int) -> NextLogProbs:
    """The function that words one plan."""
    with torch.inference_mode():
        state = model.begin(*map(torch.from_numpy, plan_arrays(plan, manner)))

    def function(tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        nonlocal state
        with torch.inference_mode():
            log_probs, state, _ = model.decoder.step(
                torch.from_numpy(tokens), torch.from_numpy(parents), state
            )
        return log_probs.numpy()

    return function


def test_a_trained_decoder_words_its_plans(tmp_path: Path):
    wording = replace(
        SHORT,
        steps=300,
        batch_size=32,
        learning_rate=5e-3,
        warmup_steps=20,
        average=0.9,
        save_every_steps=300,
    )
    model = train(make_recipe(tmp_path, wording))
    language = learn_language(READINGS, SOURCED, CLASSES, VOCABULARY, LEARNT, composed=500)
    by_decoder = 0
    for first, second in (("Dog", "Rain"), ("Rain", "Car"), ("Car", "Sneeze")):
        for relation in (Relation.WHILE, Relation.THEN):
            events = tuple(PlannedEvent(CLASSES.indices[name]) for name in (first, second))
            plan = Plan(events, relation)
            search = next_log_probs(model, plan, language.manner(plan))
            best = word_plan(plan, search, VOCABULARY, CLASSES, language)[0]
            assert is_faithful(best.text.split(), plan, CLASSES)
            by_decoder += best.by_decoder
    assert by_decoder >= 4
