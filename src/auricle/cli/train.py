"""The commands `pretrain`, `train` and `export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.options import SkipBad
from auricle.cli.progress import shown_progress
from auricle.errors import AuricleError

RecipeFile = Annotated[
    Path,
    typer.Argument(help="A recipe: a TOML file, or one of configs/ by name.", metavar="CONFIG"),
]


Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Replace a value of the recipe by section.key=value; may be repeated."
    ),
]


Resume = Annotated[
    bool, typer.Option("--resume", help="Continue a training that was stopped, or add epochs.")
]


def pretrain(
    recipe: RecipeFile, settings: Settings = None, resume: Resume = False, skip_bad: SkipBad = False
) -> None:
    """Train the pre-encoder: contrastive learning on sounds and their captions.

    Examples:

        auricle pretrain configs/paper.toml

        auricle pretrain configs/paper.toml --set pretrain.epochs=10 --resume

        accelerate launch -m auricle pretrain configs/paper.toml
    """
    from auricle.training.config import load_recipe
    from auricle.training.pretrain import pretrain

    loaded = load_recipe(recipe, settings or [])
    with shown_progress() as report:
        folder = pretrain(loaded, resume=resume, report=report, skip_bad=skip_bad)
    print(folder)


class TrainingSignal(StrEnum):
    """The signal that a captioner learns from."""

    words = "words"
    scst = "scst"


def train(
    recipe: Annotated[
        Path | None,
        typer.Argument(help="A recipe, as for pretrain; finetune with --from.", metavar="CONFIG"),
    ] = None,
    settings: Settings = None,
    resume: Resume = False,
    skip_bad: SkipBad = False,
    stage: Annotated[
        TrainingSignal,
        typer.Option(
            help="words: the next word of captions; scst: afterwards, CIDEr-D of its own captions."
        ),
    ] = TrainingSignal.words,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FOLDER", help="Train a captioner further: a checkpoint, or embedded."
        ),
    ] = None,
) -> None:
    """Train the captioner, and export it to a checkpoint folder.

    Examples:

        auricle train configs/paper.toml

        auricle train configs/scratch.toml --set data.manifest=my/sounds.csv --set output=runs/mine

        auricle caption clip.wav --checkpoint runs/mine/captioner

        auricle train configs/paper.toml --stage scst

        auricle train --from embedded --set data.manifest=my/sounds.csv --set output=runs/mine
    """
    if recipe is None and start is None:
        raise AuricleError(
            "name a recipe with `auricle train CONFIG`, or fine-tune with `--from embedded`"
        )
    from auricle.training.config import load_recipe

    initial = [] if start is None else ["train.initial=checkpoint", f"train.weights={start}"]
    loaded = load_recipe(recipe or Path("finetune"), [*initial, *(settings or [])])
    if loaded.decoder.plan and stage is TrainingSignal.scst:
        raise AuricleError("a captioner that words a plan has no stage scst")
    from auricle.training.planned import train_planned
    from auricle.training.scst import train_scst
    from auricle.training.train import train

    train_words = train_planned if loaded.decoder.plan else train
    train_stage = train_words if stage is TrainingSignal.words else train_scst
    with shown_progress() as report:
        folder = train_stage(loaded, resume=resume, report=report, skip_bad=skip_bad)
    print(folder)


def export(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A checkpoint folder with model.safetensors; with --portable, any checkpoint, or "
            "embedded.",
            metavar="CHECKPOINT",
        ),
    ],
    portable: Annotated[
        Path | None,
        typer.Option(help="Write a folder for programs in other languages instead.", metavar="DIR"),
    ] = None,
) -> None:
    """Write a checkpoint's ONNX files from its weights, as `auricle train` does at its end.

    With --portable, write its networks, data, rules and test vectors in open formats: ONNX, JSON
    and raw arrays.

    Examples:

        auricle export runs/paper/captioner

        auricle export embedded --portable portable
    """
    if portable is not None:
        from auricle.portable.folder import export_portable

        print(export_portable(folder, portable))
        return
    from auricle.checkpoint.folder import load_checkpoint
    from auricle.training.export import export_onnx
    from auricle.training.export_planned import export_planned

    plan = load_checkpoint(folder).config.decoder.plan
    print(export_planned(folder) if plan else export_onnx(folder))
