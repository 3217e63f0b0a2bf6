"""The commands `auricle data ...`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.errors import AuricleError

if TYPE_CHECKING:
    from auricle.data.labelled import LabelledSet
    from auricle.data.leakage import Heard
    from auricle.data.manifest import Item
    from auricle.data.prepared import Prepared
    from auricle.storage.download import Progress

data_app = typer.Typer(
    help="Public data sets and weights: fetched, checked, described by manifests; and what they share.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


class Weights(StrEnum):
    """What others trained."""

    cnn10 = "cnn10"
    vggish = "vggish"
    mn04 = "mn04"
    mn10 = "mn10"
    bart_tokenizer = "bart-tokenizer"


Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Where the data go, and manifest.csv.")]
Mirror = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Fetch the same files from here; checksums hold all the same."
    ),
]


@data_app.command()
def clotho(
    folder: Folder,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="development, validation, evaluation or test; may be repeated. All if left out."
        ),
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="Where the sounds are already; only the CSVs are fetched.")
    ] = None,
    mirror: Mirror = None,
) -> None:
    """Fetch Clotho v2.1 (about 8 GB, unpacked 14 GB) and write its manifest, with the paper's
    splits.

    After a stop, the same command goes on.

    Examples:

        auricle data clotho data/clotho

        auricle data clotho data/clotho --split evaluation

        auricle data clotho data/clotho --audio /archive/clotho
    """
    from auricle.data.clotho import SPLITS, prepare_clotho

    say(prepare_clotho(folder, splits=split or SPLITS, audio=audio, mirror=mirror, monitor=shown))


@data_app.command()
def audiocaps(
    folder: Folder,
    audio: Annotated[
        Path | None,
        typer.Option(
            help="Your copies of the clips, each named {youtube_id}_{start_time}, in any format."
        ),
    ] = None,
    mirror: Mirror = None,
) -> None:
    """Fetch AudioCaps' captions, and with --audio write a manifest of the clips that you have.

    Examples:

        auricle data audiocaps data/audiocaps

        auricle data audiocaps data/audiocaps --audio /archive/audiocaps
    """
    from auricle.data.audiocaps import fetch_captions, prepare_audiocaps

    if audio is None:
        for path in fetch_captions(folder, mirror=mirror, monitor=shown).values():
            print(path)
    else:
        say(prepare_audiocaps(folder, audio, mirror=mirror, monitor=shown))


@data_app.command()
def esc50(folder: Folder, mirror: Mirror = None) -> None:
    """Fetch ESC-50 (650 MB) and write its manifest: labels and folds, no captions.

    Example:

        auricle data esc50 data/esc50
    """
    from auricle.data.labelled import ESC50

    _labelled(folder, ESC50, mirror)


@data_app.command()
def urbansound8k(folder: Folder, mirror: Mirror = None) -> None:
    """Fetch UrbanSound8K (6 GB) and write its manifest: labels and folds, no captions.

    Example:

        auricle data urbansound8k data/urbansound8k
    """
    from auricle.data.labelled import URBANSOUND8K

    _labelled(folder, URBANSOUND8K, mirror)


def _labelled(folder: Path, data_set: "LabelledSet", mirror: str | None) -> None:
    from auricle.data.labelled import prepare_labelled

    say(prepare_labelled(folder, data_set, mirror=mirror, monitor=shown))


@data_app.command()
def weights(
    name: Annotated[Weights, typer.Argument(help="Which.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="Where to.")] = Path("weights"),
    mirror: Mirror = None,
) -> None:
    """Fetch published weights, check them, and keep them as safetensors; nothing in them is
    executed.

    Examples:

        auricle data weights cnn10

        auricle data weights bart-tokenizer --to /archive/weights
    """
    from auricle.training.weights import PUBLISHED, fetch_published

    for file in fetch_published(name.value, to, mirror=mirror, monitor=shown):
        print(file)
    published = PUBLISHED[name.value]
    print(f"{published.what}; licence: {published.licence}", file=sys.stderr)


@data_app.command()
def audit(
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST.csv", help="A manifest of all splits.")
    ],
    test: Annotated[list[str], typer.Option(help="A split to score on; may be repeated.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="LEAKS.csv", help="Where to list the pairs of sounds."
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="MANIFEST.csv", help="A manifest without the leaking sounds to learn from."
        ),
    ] = None,
    listen: Annotated[
        bool, typer.Option(help="Compare sounds too, not only the manifest's groups.")
    ] = True,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Sounds at a time; one a processor.")
    ] = None,
) -> None:
    """Find the recordings that are learnt from and scored on: by group, by equal files, and by
    equal stretches of sound.

    Ends with exit code 1 where any is found and --write does not leave it out.

    Examples:

        auricle data audit data/clotho/manifest.csv --test evaluation --output leaks.csv

        auricle data audit sounds.csv --test valid --test test --write clean.csv
    """
    from auricle.data.leakage import find_leaks, write_leaks
    from auricle.data.manifest import read_manifest, write_manifest

    items = read_manifest(manifest, check_files=False, captioned=False)
    if unknown := sorted(set(test) - {item.split for item in items}):
        splits = ", ".join(dict.fromkeys(item.split for item in items))
        raise AuricleError(f"{manifest}: no split '{unknown[0]}': it has {splits}")
    heard, failed = _heard(items, jobs) if listen else ({}, 0)
    leaks = find_leaks(items, test, heard)
    if output:
        write_leaks(output, leaks, manifest.parent)
    learnt = {leak.train.file for leak in leaks}
    scored = {leak.test.file for leak in leaks}
    every = len({item.file for item in items if item.split in test})
    for what, pairs in (
        ("of one group", [leak for leak in leaks if leak.recording]),
        ("equal files", [leak for leak in leaks if leak.copy]),
        ("equal stretches of sound", [leak for leak in leaks if leak.similarity]),
        (
            "equal stretches, and not of one group",
            [leak for leak in leaks if leak.similarity and not leak.recording],
        ),
    ):
        print(f"{len(pairs):6,} pairs {what}")
    print(
        f"{len(scored):6,} of {every:,} sounds to score on, by {len(learnt):,} sounds to learn from"
    )
    if failed:
        print(f"{failed:6,} sounds could not be heard")
    if write:
        write_manifest(write, [item for item in items if item.file not in learnt])
        print(f"{write}: without {len(learnt):,} sounds to learn from")
    if (leaks and not write) or failed:
        raise typer.Exit(1)


def _heard(items: "Sequence[Item]", jobs: int | None) -> "tuple[dict[Path, Heard], int]":
    """What could be heard, and how many files could not be."""
    from rich.console import Console
    from rich.progress import track

    from auricle.data.leakage import Heard, hear

    files = list(dict.fromkeys(item.file for item in items))
    heard: dict[Path, Heard] = {}
    console = Console(stderr=True)
    results = track(
        hear(files, jobs=jobs), "Listening", len(files), console=console, transient=True
    )
    for file, result in zip(files, results, strict=True):
        if isinstance(result, Heard):
            heard[file] = result
        else:
            print(f"auricle: {result}", file=sys.stderr)
    return heard, len(files) - len(heard)


def say(prepared: "Prepared") -> None:
    """Prints where the manifest is, and what it holds."""
    from rich.console import Console
    from rich.table import Table

    table = Table("split", box=None)
    for title in ("sounds", "captions", "missing"):
        table.add_column(title, justify="right")
    for split, counts in prepared.counts().items():
        table.add_row(split, *(f"{count:,}" for count in counts))
    console = Console(stderr=True)
    console.print(table)
    for split, names in prepared.missing.items():
        if names:
            rest = f", and {len(names) - 3:,} more" if len(names) > 3 else ""
            console.print(
                f"missing of {split}: {', '.join(map(repr, names[:3]))}{rest}",
                markup=False,
                soft_wrap=True,
            )
    console.print(f"licence: {prepared.licence}", markup=False, soft_wrap=True)
    print(prepared.manifest)


@contextmanager
def shown(title: str) -> "Iterator[Progress | None]":
    """A bar for one step on a terminal, and its name alone elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        print(title, file=sys.stderr)
        yield None
        return
    columns = (
        TextColumn(title),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
