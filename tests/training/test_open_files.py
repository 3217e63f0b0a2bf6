"""A training opens few files, however many sounds it has."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from tiny import enter, start

from auricle.training import train as train_module
from auricle.training.config import load_recipe
from auricle.training.train import train
from sounds import write_wav

RATE = 32_000
SOUNDS = 600
MOST_OPEN_FILES = 256
RECIPE = """
output = "{output}"

[data]
manifest = "{manifest}"
front_end = "panns"

[encoder]
width = 0.0625

[decoder]
width = 8
layers = 1
heads = 1
feedforward = 8

[word2vec]
size = 8
epochs = 1

[train]
epochs = 1
batch_size = 50
initial = "random"
encoder_rate = 0.0
"""


def train_with_few_files(environment: dict[str, str], path: Path) -> None:
    """Trains a recipe in a process that may open few files."""
    import resource

    enter(environment)
    train_module.export_onnx = lambda _: None  # it takes longer than the training
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_OPEN_FILES, MOST_OPEN_FILES))
    train(load_recipe(path))


def test_a_training_of_many_sounds_obeys_the_limit_of_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("resource", reason="limits of open files are a Unix matter")
    monkeypatch.setenv("AURICLE_CACHE", str(tmp_path / "cache"))
    samples = np.zeros(RATE // 10, np.float32)
    with (tmp_path / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "split", "caption"])
        for number in range(SOUNDS):
            samples[number] = 0.5  # another content
            write_wav(tmp_path / f"{number}.wav", samples, RATE)
            samples[number] = 0
            writer.writerow([f"{number}.wav", "train", "A click is heard."])
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        RECIPE.format(manifest=tmp_path / "manifest.csv", output=tmp_path / "run"), "utf-8"
    )
    process = start(train_with_few_files, recipe)
    process.join(120)
    assert process.exitcode == 0
    log = (tmp_path / "run" / "captioner" / "log.jsonl").read_text("utf-8")
    assert np.isfinite(json.loads(log)["loss"])
