"""A training opens few files, however many sounds it has."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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


def test_a_training_of_many_sounds_obeys_the_limit_of_open_files(tmp_path: Path):
    resource = pytest.importorskip("resource", reason="limits of open files are a Unix matter")
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
    done = subprocess.run(
        [sys.executable, "-m", "auricle", "train", recipe],
        env=os.environ | {"AURICLE_CACHE": str(tmp_path / "cache")},
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (MOST_OPEN_FILES, MOST_OPEN_FILES)
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    log = (tmp_path / "run" / "captioner" / "log.jsonl").read_text("utf-8")
    assert np.isfinite(json.loads(log)["loss"])
