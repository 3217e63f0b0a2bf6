"""The value of pre-training, transfer and tags: 18 small trainings at one budget.

    python scripts/ablation.py ../shared/reference/label_words.csv --output runs/ablation

Each is a shrunk configs/heldout.toml; three seeds. Finished trainings are kept: run again after a
stop, it goes on.
"""

import itertools
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from auricle.checkpoint.vocabulary import words
from auricle.training.config import load_recipe
from auricle.training.pretrain import pretrain
from auricle.training.train import train
from embedded_scores import caption_labelled, read_label_words

ROOT = Path(__file__).parents[1]
SEEDS = (0, 1, 2)
WEIGHTS = "../shared/corpus/weights/efficientat_mn04/mn04_as_mAP_432.pt"
# The budget is counted in what the decoder learns from: so many steps of eight sounds. Two layers
# learn more from few than three.
BUDGET = [
    "data.captions_per_epoch=1",
    "data.visits_per_label=0",
    "decoder.layers=2",
    "word2vec.epochs=2",
    "pretrain.epochs=2",
    "train.epochs=4",
    "train.batch_size=8",
    "train.texts_per_batch=16",
    "train.ema=0.98",
]
SYSTEMS = {
    "scratch": ["train.initial=random", "train.encoder_rate=1.0"],
    "Experiment 1": ["train.initial=weights", f"train.weights={WEIGHTS}"],
    "Experiment 2": ["train.initial=pre-encoder"],
}
WITHOUT_TAGS = [
    "decoder.tags=0",
    "tags.captions=",
    "pretrain.texts_per_batch=0",
    "train.texts_per_batch=0",
]


def main(
    label_words: Path, output: Annotated[Path, typer.Option()] = Path("runs/ablation")
) -> None:
    """Trains what is not there yet and prints a table: means and standard deviations over seeds."""
    table: dict[tuple[str, bool], list[tuple[float, float, float]]] = {}
    wanted = read_label_words(label_words)
    runs = list(itertools.product(SEEDS, SYSTEMS, (False, True)))
    for seed, system, tags in track(runs, "Trainings"):
        name = f"{system.lower().replace(' ', '-')}{'-tags' if tags else ''}-{seed}"
        settings = [
            *BUDGET,
            *SYSTEMS[system],
            *([] if tags else WITHOUT_TAGS),
            f"seed={seed}",
            f"output={output / name}",
        ]
        recipe = load_recipe(ROOT / "configs/heldout.toml", settings)
        folder = recipe.captioner_folder
        if not (folder / "decoder.onnx").exists():
            if system == "Experiment 2":
                pretrain(recipe, resume=True)
            train(recipe, resume=True)
        labelled = caption_labelled(Path(recipe.data.manifest), wanted, folder)
        by_label = np.mean([right.mean() for right in labelled.by_label().values()])
        length = np.mean([len(words(caption.text)) for caption in labelled.captions])
        table.setdefault((system, tags), []).append(
            (float(labelled.right.mean()), float(by_label), float(length))
        )
    print("| | tags | label named | mean over labels | words |")
    print("| --- | --- | --- | --- | --- |")
    for (system, tags), rows in table.items():
        mean, deviation = np.mean(rows, 0), np.std(rows, 0, ddof=1)
        cells = [f"{100 * mean[i]:.1f} ± {100 * deviation[i]:.1f} %" for i in (0, 1)]
        print(f"| {system} | {'yes' if tags else 'no'} | {' | '.join(cells)} | {mean[2]:.1f} |")


if __name__ == "__main__":
    typer.run(main)
