"""The commands `auricle data ...`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.progress import shown_progress
from auricle.errors import AuricleError

if TYPE_CHECKING:
    from auricle.data.labelled import LabelledSet
    from auricle.data.leakage import FileFingerprint, Leak
    from auricle.data.manifest import Item
    from auricle.data.prepared import Prepared
    from auricle.storage.download import DownloadProgress

data_app = typer.Typer(
    name="data",
    help="Fetch public data sets and weights, write their manifests, and find shared recordings.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


class Weights(StrEnum):
    """Published weights."""

    cnn10 = "cnn10"
    vggish = "vggish"
    mn04 = "mn04"
    mn10 = "mn10"
    bart_tokenizer = "bart-tokenizer"


Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The folder for the data and manifest.csv.")
]
Mirror = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Fetch the same files from this address; their checksums are still checked.",
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
        Path | None, typer.Option(help="A folder with the sounds; only the CSVs are fetched.")
    ] = None,
    mirror: Mirror = None,
) -> None:
    """Fetch Clotho v2.1 (8 GB, unpacked 14 GB) and write its manifest, with the paper's splits.

    If it stops, run the same command again to continue.

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
            help="Your copies of the clips, in any format, named {youtube_id}_{start_time}, "
            "Y{youtube_id}_{start_time} or {audiocap_id}."
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
    name: Annotated[Weights, typer.Argument(help="The weights to fetch.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="The folder for them.")] = Path("weights"),
    mirror: Mirror = None,
) -> None:
    """Fetch published weights, check them, and keep them as safetensors.

    Nothing in them is executed.

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
            "--output", "-o", metavar="LEAKS.csv", help="A file for the list of pairs of sounds."
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="MANIFEST.csv",
            help="A file for a manifest without the leaking sounds of the other splits.",
        ),
    ] = None,
    listen: Annotated[
        bool, typer.Option(help="Compare sounds too, not only the manifest's groups.")
    ] = True,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, help="Sounds at a time; one for each processor if left out."
        ),
    ] = None,
) -> None:
    """Find recordings that are used both for training and for scoring.

    They are found by group, by equal files, and by equal stretches of sound. The exit code is 1
    where any is found and --write does not leave it out.

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
    heard, unheard = _heard(items, jobs) if listen else ({}, 0)
    leaks = find_leaks(items, test, heard)
    if output:
        write_leaks(output, leaks, manifest.parent)
    _print_leaks(leaks, sounds_to_score_on=len({item.file for item in items if item.split in test}))
    if unheard:
        print(f"{unheard:6,} sounds could not be heard")
    if write:
        learnt = {leak.train.file for leak in leaks}
        write_manifest(write, [item for item in items if item.file not in learnt])
        print(f"{write}: without {len(learnt):,} sounds to learn from")
    if (leaks and not write) or unheard:
        raise typer.Exit(1)


def _print_leaks(leaks: "Sequence[Leak]", *, sounds_to_score_on: int) -> None:
    counts = {
        "of one group": sum(bool(leak.recording) for leak in leaks),
        "equal files": sum(leak.copy for leak in leaks),
        "equal stretches of sound": sum(bool(leak.similarity) for leak in leaks),
        "equal stretches, and not of one group": sum(
            bool(leak.similarity and not leak.recording) for leak in leaks
        ),
    }
    for kind, count in counts.items():
        print(f"{count:6,} pairs {kind}")
    learnt = {leak.train.file for leak in leaks}
    scored = {leak.test.file for leak in leaks}
    print(
        f"{len(scored):6,} of {sounds_to_score_on:,} sounds to score on, "
        f"by {len(learnt):,} sounds to learn from"
    )


def _heard(items: "Sequence[Item]", jobs: int | None) -> "tuple[dict[Path, FileFingerprint], int]":
    """Returns the fingerprints by file, and the number of files without one."""
    from auricle.data.leakage import FileFingerprint, fingerprint_files

    files = list(dict.fromkeys(item.file for item in items))
    heard: dict[Path, FileFingerprint] = {}
    with shown_progress("sounds") as progress:
        progress("Listening", 0, len(files))
        results = zip(files, fingerprint_files(files, jobs=jobs), strict=True)
        for done, (file, result) in enumerate(results, start=1):
            if isinstance(result, FileFingerprint):
                heard[file] = result
            else:
                print(f"auricle: {result}", file=sys.stderr)
            progress("Listening", done, len(files))
    return heard, len(files) - len(heard)


def say(prepared: "Prepared") -> None:
    """Prints the path of the manifest, and the counts of its sounds and captions."""
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
def shown(title: str) -> "Iterator[DownloadProgress]":
    """Shows the progress of one step, in bytes."""
    with shown_progress("bytes") as report:
        report(title, 0, None)
        yield lambda done, total: report(title, done, total)
