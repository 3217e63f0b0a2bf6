"""The commands `push` and `info`."""

from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.train import Settings


def push(
    folder: Annotated[Path, typer.Argument(help="A checkpoint folder.")],
    name: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="The repository on the Hugging Face Hub.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    message: Annotated[
        str, typer.Option("--message", "-m", help="Of the commit.")
    ] = "Push by auricle",
) -> None:
    """Put a checkpoint on the Hugging Face Hub, with its README.md as card, or a generated one.

    `hf auth login` logs you in. Only the files of the checkpoint are pushed.

    Examples:

        auricle push runs/mine/captioner me/city-sounds --private

        auricle caption tram.wav --checkpoint me/city-sounds
    """
    from auricle.captioning.captioner import Captioner
    from auricle.checkpoint import hub
    from auricle.checkpoint.folder import CHECKPOINT_FILES, MORE_FILES, card, load_checkpoint

    checkpoint = load_checkpoint(folder)
    Captioner(checkpoint)  # A checkpoint that does not load is not pushed.
    files: dict[str, Path | bytes] = {
        file: path
        for file in CHECKPOINT_FILES | MORE_FILES
        if (path := checkpoint.folder / file).exists()
    }
    files["README.md"] = card(checkpoint, name).encode()
    print(hub.push(name, files, private=private, message=message))


def info(
    target: Annotated[
        Path | None,
        typer.Argument(
            help="A checkpoint folder, or a recipe: a TOML file, or one of configs/ by name."
        ),
    ] = None,
    settings: Settings = None,
) -> None:
    """Describe a checkpoint and its licence, or count the parameters of a recipe's networks.

    Examples:

        auricle info

        auricle info runs/paper/captioner

        auricle info paper
    """
    from auricle.training.config import load_recipe
    from auricle.training.recipe_files import is_recipe

    if target is not None and is_recipe(target):
        from auricle.training.parameters import describe

        print(describe(load_recipe(target, settings or [])))
        return
    from auricle.checkpoint.folder import EMBEDDED, load_checkpoint

    checkpoint = load_checkpoint(target or EMBEDDED)
    config = checkpoint.config
    print(f"folder      {checkpoint.folder}")
    print(f"front end   {config.front_end}")
    print(f"encoder     {config.encoder.architecture}, width {config.encoder.width:g}")
    print(
        f"decoder     {config.decoder.layers} layers of {config.decoder.width}, "
        f"{config.decoder.heads} heads"
    )
    print(f"vocabulary  {len(checkpoint.vocabulary)} words")
    most = config.decoder.tags
    tags = f"{len(checkpoint.tags)} classes, of which the likeliest {most} guide the decoder"
    if config.decoder.plan:
        tags = f"{len(checkpoint.tags)} classes, of which the decoder words one or two"
    print(f"tags        {tags if config.decoder.tags or config.decoder.plan else 'none'}")
    space = f"{config.space} dimensions for the comparison of sounds and sentences"
    print(f"space       {space if config.space else 'none'}")
    print(f"licence     {config.licence}")
