"""Builds the embedded model, or its held-out twin, by one resumable command.

    python scripts/build_embedded.py ../shared/corpus
    python scripts/build_embedded.py ../shared/corpus --heldout

Writes the manifest, pre-trains, trains and, without --heldout, puts the result into the package.
Run again after a stop, it goes on from the last epoch that was finished.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from auricle.checkpoint.folder import EMBEDDED
from auricle.cli.progress import shown_progress
from auricle.training.config import load_recipe
from auricle.training.pretrain import pretrain
from auricle.training.train import train

ROOT = Path(__file__).parents[1]


def main(
    corpus: Path,
    heldout: Annotated[
        bool, typer.Option(help="Without the sounds and captions that figures are measured on.")
    ] = False,
) -> None:
    """Manifest, pre-encoder, captioner, package."""
    name = "heldout" if heldout else "embedded"
    script = [sys.executable, ROOT / "scripts/corpus_manifest.py", corpus, Path("data") / name]
    more = ["--heldout"] if heldout else ["--attribution", EMBEDDED / "ATTRIBUTION.csv"]
    subprocess.run([*script, *more], check=True)
    recipe = load_recipe(ROOT / f"configs/{name}.toml")
    with shown_progress() as report:
        pretrain(recipe, resume=True, report=report)
        folder = train(recipe, resume=True, report=report)
    if not heldout:
        for file in (
            "config.json",
            "vocabulary.txt",
            "tags.txt",
            "encoder.onnx",
            "decoder.onnx",
            "text.onnx",
        ):
            shutil.copy(folder / file, EMBEDDED / file)
    print(folder)


if __name__ == "__main__":
    typer.run(main)
