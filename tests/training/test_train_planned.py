"""A captioner that words a plan, trained from its manifest to its folder."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny import made_tags, tiny_recipe, write_data

from auricle import load
from auricle.checkpoint.config import DecoderConfig, EncoderConfig, SelectionConfig
from auricle.checkpoint.folder import load_checkpoint
from auricle.data.plan_language import learn_language
from auricle.data.progress import Silence
from auricle.errors import AuricleError
from auricle.models.cnn10 import AUDIOSET_CLASSES
from auricle.models.encoder import build_encoder
from auricle.planning.classes import SoundClasses
from auricle.training import planned, prepare
from auricle.training.config import Recipe
from auricle.training.export_planned import load_planned
from auricle.training.plan_config import WordingConfig
from auricle.training.planned import train_planned
from auricle.training.pretrain import pretrain
from auricle.training.weights import save_weights
from small_classes import CAPTIONS

SENTENCES = Path(__file__).parents[2] / "scripts/class_sentences.toml"
CLASSES = ("Dog", "Rain", "Bird", "Engine", "Water", "Walk, footsteps", "Bell", "Wind")
ENCODER = EncoderConfig("mobilenet", 0.1)


class Lines(Silence):
    """Keeps the results of a report."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def result(self, line: str) -> None:
        """Keeps a line."""
        self.lines.append(line)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe of seconds that selects and words, one of whose sounds cannot be read."""
    monkeypatch.setattr(prepare, "read_tags", made_tags)
    quick = partial(learn_language, composed=500)
    monkeypatch.setattr(planned, "learn_language", quick)
    manifest = write_data(tmp_path)
    (tmp_path / "0.wav").write_bytes(b"RIFF, but no sound")
    names = SoundClasses.read_toml(SENTENCES).names[:AUDIOSET_CLASSES]
    _write(tmp_path / "names.csv", [("index", "mid", "display_name"), *_numbered(names)])
    captions = [(caption, "clotho") for caption in CAPTIONS * 20]
    _write(tmp_path / "texts.csv", [("caption", "source"), *captions])
    labels = [(f"l{number}", name) for number, name in enumerate(CLASSES)]
    _write(tmp_path / "labels.csv", [("label", "class"), *labels])
    torch.manual_seed(0)
    save_weights(tmp_path / "mn01.safetensors", build_encoder(ENCODER).state_dict())
    tiny = tiny_recipe(manifest, tmp_path / "run", minimum_seconds=1.0)
    return replace(
        tiny,
        data=replace(tiny.data, front_end="mobilenet", minimum_count=1, sentences=str(SENTENCES)),
        encoder=ENCODER,
        decoder=DecoderConfig(
            width=16, layers=1, heads=2, feedforward=32, dropout=0.1, plan=True, tied=True
        ),
        pretrain=replace(
            tiny.pretrain, epochs=1, initial="weights", weights=str(tmp_path / "mn01.safetensors")
        ),
        probe=replace(tiny.probe, labels=str(tmp_path / "labels.csv")),
        wording=WordingConfig(steps=4, batch_size=4, warmup_steps=2, save_every_steps=2),
        selection=SelectionConfig(),
    )


def _numbered(names: Sequence[str]) -> list[tuple[object, ...]]:
    return [(number, f"/m/{number}", name) for number, name in enumerate(names)]


def _write(path: Path, rows: Sequence[tuple[object, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def test_sounds_that_cannot_be_read_are_left_out_if_asked(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
):
    exported: list[Path] = []  # test_planned_captioner.py captions with what an export writes
    monkeypatch.setattr(planned, "export_planned", exported.append)
    with pytest.raises(AuricleError, match=r"0\.wav"):
        train_planned(recipe)
    pretrain(recipe, skip_bad=True)
    report = Lines()
    folder = train_planned(recipe, skip_bad=True, report=report)
    assert any("1 clips left out" in line and "0.wav" in line for line in report.lines)
    assert exported == [folder]
    load_planned(load_checkpoint(folder))  # refuses a folder that lacks a tensor or a file


@pytest.mark.slow  # an export takes longer than the training
def test_a_trained_captioner_captions(recipe: Recipe, tmp_path: Path):
    pretrain(recipe, skip_bad=True)
    caption = load(train_planned(recipe, skip_bad=True)).caption(tmp_path / "1.wav")
    assert caption.text
    assert caption.events


def test_an_unusable_table_is_reported_before_the_decoder_is_trained(
    recipe: Recipe, tmp_path: Path
):
    pretrain(recipe, skip_bad=True)
    (tmp_path / "labels.csv").write_text("label,class\nl1,Dgo\n", "utf-8")
    with pytest.raises(AuricleError, match="unknown class 'Dgo'"):
        train_planned(recipe, skip_bad=True)
    assert not (recipe.captioner_folder / "log.jsonl").exists()
