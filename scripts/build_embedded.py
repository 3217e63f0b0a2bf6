"""Builds the embedded model, or one of its twins, by one resumable command.

    python scripts/build_embedded.py ../shared/corpus --recipe heldout
    python scripts/build_embedded.py ../shared/corpus --recipe free --package

Writes the manifest, renders sounds, trains the pre-encoder and the captioner, and with --package
puts the result into the package. Run again after a stop, it goes on from the last state.
"""

import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from auricle.checkpoint.folder import CHECKPOINT_FILES, EMBEDDED
from auricle.cli.progress import shown_progress
from auricle.training.config import load_recipe
from auricle.training.planned import train_planned
from auricle.training.pretrain import pretrain

ROOT = Path(__file__).parents[1]


class RecipeName(StrEnum):
    """A recipe of the embedded model."""

    embedded = "embedded"
    heldout = "heldout"
    free = "free"


# Options of the two scripts that make the data.
MANIFEST_OPTIONS = {
    RecipeName.embedded: [],
    RecipeName.heldout: ["--heldout"],
    RecipeName.free: ["--heldout", "--free"],
}
RENDERING_OPTIONS = {RecipeName.free: ["--no-share-alike"]}


def main(
    corpus: Path,
    recipe: Annotated[
        RecipeName, typer.Option(help="heldout and free never see the scored sounds.")
    ] = RecipeName.embedded,
    seed: Annotated[int, typer.Option(help="Of all draws; the output gets it as a suffix.")] = 0,
    package: Annotated[bool, typer.Option(help="Put the model into the package.")] = False,
) -> None:
    """Manifest, rendered sounds, pre-encoder, captioner, package."""
    manifest = [ROOT / "scripts/corpus_manifest.py", corpus, Path("data") / recipe]
    options = list(MANIFEST_OPTIONS[recipe])
    if package:
        options += ["--attribution", EMBEDDED / "ATTRIBUTION.csv"]
    subprocess.run([sys.executable, *manifest, *options], check=True)
    settings = [] if not seed else [f"seed={seed}", f"output=runs/{recipe}-{seed}"]
    loaded = load_recipe(ROOT / f"configs/{recipe}.toml", settings)
    rendered = Path(loaded.probe.rendered).parent
    rendering = [ROOT / "scripts/rendered_sounds.py", rendered, *RENDERING_OPTIONS.get(recipe, [])]
    subprocess.run([sys.executable, *rendering], check=True)
    with shown_progress() as report:
        pretrain(loaded, resume=True, report=report)
        folder = train_planned(loaded, resume=True, report=report)
    if package:
        for name in CHECKPOINT_FILES:
            if (folder / name).exists():
                shutil.copy(folder / name, EMBEDDED / name)
    print(folder)


if __name__ == "__main__":
    typer.run(main)
