"""Does loading keep a GPU busy, and what does a training of many sounds take?

    python benchmarks/loading.py batches
    python benchmarks/loading.py many

`batches` prints how long a batch takes to load, by the number of workers, and next to it the
counted step of the recipe on an A100. `many` trains a pre-encoder on 6,000 made sounds of a second
with at most 1,024 open files. It prints the peak memory and the share of the steps that waited for
data.
"""

import json
import os
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from auricle.checkpoint.vocabulary import Vocabulary
from auricle.data.batches import Batches, BatchOptions
from auricle.data.manifest import Item, write_manifest
from auricle.sound.features import FrontEnd, floor_of, front_end
from auricle.storage.arrays import ArrayStore
from auricle.storage.tables import read
from auricle.training.config import Recipe, load_recipe
from auricle.training.costs import Cost, estimated_costs
from auricle.training.parameters import CLOTHO_WORDS
from auricle.training.pretrain import pretrain

RECIPES = ("paper", "baseline", "gru", "base")
SECONDS = 30.0
SOUNDS = 64  # different spectrograms: more than a processor's cache holds
BATCHES = 8  # of an epoch
WORKERS = (1, 2, 4, 8)
A100_OPERATIONS = 40e12  # a second, as dense convolutions reach with TF32
A100_BYTES = 1.5e12  # a second, to and from memory
CAPTION = "a dog barks while rain falls on the roof of a car"

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class LoadTime:
    """The time of a batch."""

    milliseconds: float  # by the clock
    processor_milliseconds: float  # of all workers together


def made_spectrograms(hears: FrontEnd, folder: Path) -> list[np.ndarray]:
    """Returns spectrograms of half a minute, memory-mapped as those of a training are."""
    frames, rng = hears.frames(round(SECONDS * hears.rate)), np.random.default_rng(0)
    store = ArrayStore(folder, np.float32, hears.mels)
    keys = [str(number) for number in range(SOUNDS)]
    store.add({key: rng.random((frames, hears.mels), np.float32) for key in keys})
    return store.load(keys)


def made_batches(
    hears: FrontEnd, spectrograms: list[np.ndarray], size: int, workers: int
) -> Batches:
    """Returns batches of some size, which visit the spectrograms again and again."""
    count = size * BATCHES
    items = [Item(Path(f"{number}.wav"), "train", (CAPTION,)) for number in range(count)]
    options = BatchOptions(
        size, padding=floor_of(hears), pinned=torch.cuda.is_available(), workers=workers
    )
    visited = [spectrograms[number % SOUNDS] for number in range(count)]
    return Batches(items, visited, Vocabulary.build([CAPTION]), options)


def load_times(by_workers: dict[int, Batches], rounds: int) -> dict[int, LoadTime]:
    """Returns the times of a batch by the number of workers: the least of some epochs.

    The numbers of workers take turns, so that other programs disturb all of them alike.
    """
    clock: dict[int, list[float]] = {workers: [] for workers in by_workers}
    processor: dict[int, list[float]] = {workers: [] for workers in by_workers}
    for epoch in range(rounds):
        for workers, batches in by_workers.items():
            began, worked = time.perf_counter(), time.process_time()
            for _ in batches.epoch(0, epoch):
                pass
            clock[workers].append(1e3 * (time.perf_counter() - began) / BATCHES)
            processor[workers].append(1e3 * (time.process_time() - worked) / BATCHES)
    return {
        workers: LoadTime(min(clock[workers]), min(processor[workers])) for workers in by_workers
    }


def counted_step(cost: Cost, unfrozen: Cost, batch: int, number_bytes: int) -> float:
    """Returns the milliseconds of a step on an A100: by its operations or by its memory.

    Activations are written once and read once in each direction. Those of a frozen encoder have
    the forward direction only.

    Args:
        cost: of the stage.
        unfrozen: the same with an encoder that learns.
        batch: sounds in a batch.
        number_bytes: bytes of a number, 4 or 2. Half of the bytes take half of the time.
    """
    by_operations = batch * cost.training / A100_OPERATIONS
    by_memory = 2 * batch * (cost.activations + unfrozen.activations) / A100_BYTES
    return 1e3 * max(by_operations, by_memory) * number_bytes / 4


@app.command("batches")
def time_batches(
    recipes: Annotated[list[str] | None, typer.Argument()] = None, rounds: int = 5
) -> None:
    """Prints a table: the counted step, and the time of a batch by workers.

    `processor` is the processor time of a batch with one worker. On a machine that does other work
    too, the times by the clock are longer; the least of `rounds` epochs is printed.
    """
    counts = [workers for workers in WORKERS if workers <= (os.cpu_count() or 1)]
    header = ["recipe, stage", "batch", "step on an A100, ms", "processor, ms"]
    header += [f"{workers} workers, ms" for workers in counts]
    print(f"| {' | '.join(header)} |")
    print(f"|{' --- |' * len(header)}", flush=True)
    for name in recipes or RECIPES:
        recipe = load_recipe(Path(name))
        learning = load_recipe(Path(name), ["train.encoder_rate=1.0"])
        unfrozen = estimated_costs(learning, CLOTHO_WORDS, SECONDS)
        hears = front_end(recipe.data.front_end)
        with tempfile.TemporaryDirectory() as folder:
            spectrograms = made_spectrograms(hears, Path(folder))
            for stage, cost in estimated_costs(recipe, CLOTHO_WORDS, SECONDS).items():
                config = recipe.pretrain if stage == "pre-encoder" else recipe.train
                size = config.batch_size
                number_bytes = 2 if stage == "captioner" and recipe.train.bfloat16 else 4
                times = load_times(
                    {
                        workers: made_batches(hears, spectrograms, size, workers)
                        for workers in counts
                    },
                    rounds,
                )
                cells = [f"`{name}`, {stage}", str(size)]
                cells.append(f"{counted_step(cost, unfrozen[stage], size, number_bytes):.1f}")
                cells.append(f"{times[1].processor_milliseconds:.1f}")
                cells += [f"{times[workers].milliseconds:.1f}" for workers in counts]
                print(f"| {' | '.join(cells)} |", flush=True)


@app.command("many")
def train_on_many_sounds(sounds: int = 6_000, open_files: int = 1_024) -> None:
    """Trains a tiny pre-encoder for an epoch, and prints its memory and waiting."""
    from scipy.io import wavfile

    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    rate, rng = 32_000, np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder, items = Path(name), []
        os.environ["AURICLE_CACHE"] = str(folder / "cache")
        for number in range(sounds):
            path = folder / f"{number}.wav"
            wavfile.write(path, rate, rng.integers(-(2**14), 2**14, rate, np.int16))
            items.append(Item(path, "train", (f"sound number {number % 50} is heard",)))
        write_manifest(folder / "manifest.csv", items)
        table = {
            "output": str(folder / "run"),
            "data": {"manifest": str(folder / "manifest.csv"), "front_end": "panns"},
            "encoder": {"width": 0.0625},
            "decoder": {"width": 16, "layers": 1, "heads": 2, "feedforward": 32},
            "word2vec": {"size": 16, "epochs": 1},
            "pretrain": {"epochs": 1, "batch_size": 32, "projection": 16},
        }
        log = pretrain(read(Recipe, table, "many")) / "log.jsonl"
        (line,) = map(json.loads, log.read_text("utf-8").splitlines())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{sounds} sounds, at most {open_files} open files: peak memory {peak:.2f} GB,")
        print(f"{line['seconds']:.0f} s of steps, {line['waiting']:.1%} of them waiting for data")


if __name__ == "__main__":
    app()
