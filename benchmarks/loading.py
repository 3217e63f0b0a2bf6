"""Does loading keep a GPU busy, and what does a training of many sounds take?

    python benchmarks/loading.py batches
    bash -c 'ulimit -n 1024; python benchmarks/loading.py many'

`batches` prints the milliseconds of a batch by the number of workers, and next to them the counted
step of the recipe on an A100. `many` trains on 6,000 made sounds of a second, and prints the peak
memory and the share of the steps that waited for data.
"""

import json
import resource
import tempfile
import time
from pathlib import Path

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
from auricle.training.costs import Cost, stage_costs
from auricle.training.parameters import CLOTHO_WORDS
from auricle.training.train import train

RECIPES = ("paper", "baseline", "gru", "base")
SECONDS = 30.0
SOUNDS = 256
WORKERS = (1, 2, 4, 8)
A100_OPERATIONS = 40e12  # a second, as dense convolutions reach with TF32
A100_BYTES = 1.5e12  # a second, to and from memory
CAPTION = "a dog barks while rain falls on the roof of a car"

app = typer.Typer(add_completion=False)


def made_spectrograms(hears: FrontEnd, folder: Path) -> list[np.ndarray]:
    """Returns spectrograms of half a minute, memory-mapped as those of a training are."""
    frames, rng = hears.frames(round(SECONDS * hears.rate)), np.random.default_rng(0)
    store = ArrayStore(folder, np.float32, hears.mels)
    keys = [str(number) for number in range(SOUNDS)]
    for key in keys:
        store.add({key: rng.normal(size=(frames, hears.mels))})
    return store.load(keys)


def milliseconds(batches: Batches) -> float:
    """Returns the time of a batch, the least of three epochs."""
    times = []
    for epoch in range(3):
        began = time.perf_counter()
        count = sum(1 for _ in batches.epoch(0, epoch))
        times.append(1e3 * (time.perf_counter() - began) / count)
    return min(times)


def counted_step(cost: Cost, batch: int) -> float:
    """Returns the milliseconds of a step on an A100: by its operations or by its memory.

    Activations are written once and read once in each direction.
    """
    by_operations = batch * cost.training / A100_OPERATIONS
    by_memory = 4 * batch * cost.activations / A100_BYTES
    return 1e3 * max(by_operations, by_memory)


@app.command("batches")
def time_batches() -> None:
    """Prints a table: recipe and stage, the counted step, and a batch's time by workers."""
    print("| recipe, stage | batch | step on an A100, ms |", end="")
    print("".join(f" {workers} workers, ms |" for workers in WORKERS))
    print("| --- |" + " --- |" * (2 + len(WORKERS)))
    for name in RECIPES:
        recipe = load_recipe(Path(name))
        hears = front_end(recipe.data.front_end)
        items = [Item(Path(f"{number}.wav"), "train", (CAPTION,)) for number in range(SOUNDS)]
        vocabulary = Vocabulary.build([CAPTION])
        with tempfile.TemporaryDirectory() as folder:
            spectrograms = made_spectrograms(hears, Path(folder))
            for stage, cost in stage_costs(recipe, CLOTHO_WORDS, SECONDS).items():
                size = (recipe.pretrain if stage == "pre-encoder" else recipe.train).batch_size
                cells = []
                for workers in WORKERS:
                    options = BatchOptions(
                        size,
                        padding=floor_of(hears),
                        pinned=torch.cuda.is_available(),
                        workers=workers,
                    )
                    made = Batches(items, spectrograms, vocabulary, options)
                    cells.append(f"{milliseconds(made):.1f}")
                step = f"{counted_step(cost, size):.1f}"
                print(f"| {' | '.join([f'`{name}`, {stage}', str(size), step, *cells])} |")


@app.command("many")
def train_on_many_sounds(sounds: int = 6_000) -> None:
    """Trains an epoch on made sounds of a second, and prints its memory and waiting."""
    from scipy.io import wavfile

    rate, rng = 32_000, np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder, items = Path(name), []
        for number in range(sounds):
            path = folder / f"{number}.wav"
            wavfile.write(path, rate, rng.normal(0, 0.1, rate).astype(np.float32))
            items.append(Item(path, "train", (f"sound number {number % 50} is heard",)))
        write_manifest(folder / "manifest.csv", items)
        table = {
            "output": str(folder / "run"),
            "data": {"manifest": str(folder / "manifest.csv"), "front_end": "panns"},
            "encoder": {"width": 0.125},
            "decoder": {"width": 64, "layers": 2, "heads": 4, "feedforward": 128},
            "word2vec": {"size": 64, "epochs": 1},
            "train": {"epochs": 1, "batch_size": 32},
        }
        log = train(read(Recipe, table, "many")) / "log.jsonl"
        (line,) = map(json.loads, log.read_text("utf-8").splitlines())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        print(f"{sounds} sounds, at most {files} open files: peak memory {peak:.2f} GB,")
        print(f"{line['seconds']:.0f} s of steps, {line['waiting']:.1%} of them waiting for data")


if __name__ == "__main__":
    app()
