"""`accelerate launch` over two processes: what one process learns, and a killed process costs no
more than its epoch."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from auricle.training.weights import load_weights

pytestmark = pytest.mark.slow

RECIPE = """
[data]
front_end = "mobilenet"
valid = ["valid"]
captions_per_epoch = 1
[encoder]
architecture = "mobilenet"
width = 0.4
[decoder]
width = 64
layers = 2
heads = 4
feedforward = 128
dropout = 0.0
[word2vec]
size = 64
epochs = 2
[train]
epochs = 20
batch_size = 6
encoder_rate = 0.0
schedule = "cosine"
warmup = 3
learning_rate = 2e-3
"""
SEEDS = 3  # of one process, by which noise is known


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "launch.toml"
    path.write_text(RECIPE)
    return path


def begin(
    processes: int, recipe: Path, manifest: Path, output: Path, *more: str
) -> subprocess.Popen[bytes]:
    """A training by one process, or by several as `accelerate launch` starts them."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    launch: list[str] = []
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launch = [
            "accelerate.commands.launch",
            "--multi_gpu",
            "--num_processes",
            str(processes),
            "--num_machines",
            "1",
        ]
        launch += [
            "--mixed_precision",
            "no",
            "--dynamo_backend",
            "no",
            "--main_process_port",
            str(port),
            "-m",
        ]
    settings = ["--set", f"data.manifest={manifest}", "--set", f"output={output}"]
    command = [sys.executable, "-m", *launch, "auricle", "train", str(recipe), *settings, *more]
    with (output.parent / f"{output.name}.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def ended(process: subprocess.Popen[bytes], output: Path) -> None:
    code = process.wait(1200)
    assert code == 0, (output.parent / f"{output.name}.log").read_text("utf-8", "replace")[-3000:]


def log(output: Path) -> list[dict[str, float]]:
    path = output / "captioner" / "log.jsonl"
    return (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    )


@pytest.fixture(scope="module")
def two(recipe: Path, tiny_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unbroken training by two processes."""
    output = tmp_path_factory.mktemp("two") / "run"
    ended(begin(2, recipe, tiny_manifest, output), output)
    return output


def test_two_processes_score_as_one_does(
    recipe: Path, tiny_manifest: Path, two: Path, tmp_path: Path
):
    ones = []
    for seed in range(SEEDS):
        output = tmp_path / str(seed)
        ended(begin(1, recipe, tiny_manifest, output, "--set", f"seed={seed}"), output)
        ones.append(log(output))
    # Seeds differ, and two processes differ from one by less: the encoder is frozen, so that batch
    # norms, whose statistics are each process's own, do not tell them apart.
    last = [lines[-1]["valid_loss"] for lines in ones]
    assert all(lines[-1]["loss"] < 0.9 * lines[0]["loss"] for lines in [*ones, log(two)])
    assert abs(log(two)[-1]["valid_loss"] - last[0]) < np.std(last, ddof=1), (last, log(two)[-1])


def test_a_killed_process_ends_all_and_resuming_gives_what_an_unbroken_run_gives(
    recipe: Path, tiny_manifest: Path, two: Path, tmp_path: Path
):
    output = tmp_path / "run"
    process = begin(2, recipe, tiny_manifest, output)
    while len(log(output)) < 3:
        assert process.poll() is None, (tmp_path / "run.log").read_text("utf-8", "replace")[-3000:]
        time.sleep(0.05)
    ranks = {
        rank.environ().get("RANK"): rank
        for rank in psutil.Process(process.pid).children(recursive=True)
    }
    ranks["1"].send_signal(signal.SIGKILL)
    assert process.wait(120) != 0
    _, alive = psutil.wait_procs(ranks.values(), timeout=60)
    assert alive == []
    done = len(log(output))
    assert 3 <= done < len(log(two))
    ended(begin(2, recipe, tiny_manifest, output, "--resume"), output)
    assert len(log(output)) == len(log(two))
    found, expected = (
        load_weights(folder / "captioner" / "model.safetensors") for folder in (output, two)
    )
    assert found.keys() == expected.keys()
    assert [name for name, tensor in expected.items() if not tensor.equal(found[name])] == []
