"""The control of the contrastive stage learns labels, and its encoder is transferred."""

import json
from pathlib import Path

import pytest
import torch
from tiny import tiny_recipe

from auricle.errors import AuricleError
from auricle.training import run as run_module
from auricle.training import train as train_module
from auricle.training.config import Recipe
from auricle.training.pretrain import pretrain
from auricle.training.weights import load_weights


def label_recipe(manifest: Path, output: Path, **changes: object) -> Recipe:
    settings = {
        "decoder__tags": 0,
        "tags": {},
        "pretrain__objective": "labels",
        "pretrain__monitor": "loss",
        "pretrain__texts_per_batch": 0,
        "pretrain__epochs": 2,
        "pretrain__freeze_statistics": False,
        "pretrain__augmentation": {},
        "train__texts_per_batch": 0,
        "train__initial": "pre-encoder",
        "train__encoder_rate": 0.0,
        "train__epochs": 1,
    }
    return tiny_recipe(manifest, output, **settings | changes)


def test_an_encoder_that_learnt_labels_is_transferred(
    tiny_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(train_module, "export_onnx", lambda _: None)
    monkeypatch.setattr(run_module, "draw_curves", lambda *_: None)
    recipe = label_recipe(tiny_manifest, tmp_path)
    folder = pretrain(recipe)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert log[1]["loss"] < log[0]["loss"]
    captioner = load_weights(train_module.train(recipe) / "model.safetensors")
    for name, tensor in load_weights(folder / "model.safetensors").items():
        if name.startswith("audio."):
            assert torch.equal(captioner[f"encoder.{name.removeprefix('audio.')}"], tensor), name


def test_sounds_without_labels_are_refused(tiny_manifest: Path, tmp_path: Path):
    lines = tiny_manifest.read_text("utf-8").splitlines()
    unlabelled = tiny_manifest.with_name("unlabelled.csv")
    text = "\n".join([lines[0], *(line.rpartition(",")[0] + "," for line in lines[1:])])
    unlabelled.write_text(text, "utf-8")
    with pytest.raises(AuricleError, match="has no label"):
        pretrain(label_recipe(unlabelled, tmp_path))


def test_settings_that_labels_cannot_use_are_refused(tiny_manifest: Path, tmp_path: Path):
    with pytest.raises(AuricleError, match="labels of sounds alone"):
        label_recipe(tiny_manifest, tmp_path, pretrain__monitor="map_10")
