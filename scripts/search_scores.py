"""Search quality by label names: by embedding, by words, by both, and at random.

    python scripts/search_scores.py data/heldout/sounds.csv --checkpoint runs/heldout/captioner

Each label of the split is searched for by its name ("dog_bark" as "dog bark") in an index of all
its sounds; a found sound is right if it has that label. mAP@10: the mean over labels of the average
precision of the first ten, divided by min(10, sounds of the label). Intervals (95 %) draw labels.
"""

import os
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from auricle import load
from auricle.data.manifest import read_manifest
from auricle.errors import AuricleError
from auricle.evaluation.bootstrap import interval, mean, resample
from auricle.search import By
from auricle.search.index import SoundIndex

SPLIT = "label_valid"
FIRST = 10
RESAMPLES = 1000
SHUFFLES = 1000
SEED = 0


def average_precision(found: Sequence[str], label: str, possible: int) -> float:
    """Of the labels that were found, the best first: the mean precision at those that are right."""
    right = np.array([one == label for one in found[:FIRST]], float)
    precision = right.cumsum() / np.arange(1, len(right) + 1)
    return float((precision * right).sum() / min(FIRST, possible))


def main(
    manifest: Annotated[Path, typer.Argument(help="The sounds held out.")],
    checkpoint: Annotated[Path | None, typer.Option(help="The embedded model if left out.")] = None,
    split: str = SPLIT,
) -> None:
    """Prints the table of docs/search.md."""
    labels = {
        os.path.abspath(item.file): item.label
        for item in read_manifest(manifest, [split])
        if item.label
    }
    sounds = Counter(labels.values())
    names = sorted(sounds)
    scores: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        SoundIndex(Path(folder) / "sounds.sqlite", load(checkpoint), create=True) as index,
    ):
        for outcome in index.update(index.changes([], labels)):
            if outcome.error:
                raise AuricleError(str(outcome.error))
        for by in By:
            scores[f"by {by}"] = [
                average_precision(
                    [labels[hit.file] for hit in index.search(name.replace("_", " "), by, FIRST)],
                    name,
                    sounds[name],
                )
                for name in names
            ]
    rng = random.Random(SEED)
    shuffled = [rng.sample(list(labels.values()), FIRST) for _ in range(SHUFFLES)]
    scores["at random"] = [
        float(np.mean([average_precision(found, name, sounds[name]) for found in shuffled]))
        for name in names
    ]
    print(
        f"{len(labels)} sounds, {len(names)} labels\n\n| search | mAP@10 | 95 % |\n| --- | --- | "
        f"--- |"
    )
    for way, values in scores.items():
        drawn = interval(resample({way: mean(np.array(values))}, RESAMPLES, SEED)[way])
        print(f"| {way} | {np.mean(values):.3f} | {drawn.low:.3f} to {drawn.high:.3f} |")


if __name__ == "__main__":
    typer.run(main)
