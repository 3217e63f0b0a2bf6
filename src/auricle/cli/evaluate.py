"""The commands `evaluate`, `compare` and `metrics install`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.errors import AuricleError

if TYPE_CHECKING:
    from auricle.evaluation.scores import Comparison, Scores

metrics_app = typer.Typer(help="What the metrics need beside Python.", no_args_is_help=True)

_Captions = typer.Option(help="CSV or JSON Lines with the columns file and caption.")
_References = typer.Option(
    help="CSV with file and caption_1, caption_2, ..., or file and caption in several rows."
)
_LeaveOut = typer.Option(
    help="A metric not wanted for its cost: meteor or spice; may be given twice."
)
_SentenceModel = typer.Option(
    help="For sentence similarity: a sentence-transformers folder, or all-MiniLM-L6-v2 where its package is installed."
)
_FenseModel = typer.Option(help="For FENSE: the folder of paraphrase-TinyBERT-L6-v2.")
_ErrorDetector = typer.Option(
    help="For FENSE and SPIDEr-FL: echecker_clotho_audiocaps_base.ckpt, with bert-base-uncased's files beside it."
)
_Encoding = typer.Option(
    help="The files' encoding, where it is not UTF-8 or UTF-16: latin-1, cp1252, ..."
)
_Resamples = typer.Option(min=0, help="Draws of the bootstrap for the 95 % intervals; 0 for none.")
_Json = typer.Option("--json", help="Print JSON instead of a table.")


def evaluate(
    candidates: Annotated[Path | None, _Captions] = None,
    references: Annotated[Path | None, _References] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Instead of both: a manifest whose sounds are captioned first."),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="The manifest's split to caption; may be repeated.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="What to caption with: a checkpoint folder; the embedded model if left out."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for scores.json, scores.md, CSV and a page.")
    ] = None,
    sounds: Annotated[
        Path | None, typer.Option(help="Folder with the sounds, for the players of the page.")
    ] = None,
    leave_out: Annotated[list[str] | None, _LeaveOut] = None,
    sentence_model: Annotated[Path | None, _SentenceModel] = None,
    fense_model: Annotated[Path | None, _FenseModel] = None,
    error_detector: Annotated[Path | None, _ErrorDetector] = None,
    encoding: Annotated[str | None, _Encoding] = None,
    resamples: Annotated[int, _Resamples] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    as_json: Annotated[bool, _Json] = False,
) -> None:
    """Score captions against references: BLEU, ROUGE-L, METEOR, CIDEr-D, SPICE, SPIDEr, and more
    where models are given.

    Examples:

        auricle evaluate --candidates captions.jsonl --references references.csv --report report/

        auricle evaluate --checkpoint runs/paper/captioner --manifest data/clotho/manifest.csv --split evaluation
    """
    from auricle.evaluation.captions import read_candidates, read_references
    from auricle.evaluation.report import scores_json, write_report
    from auricle.evaluation.scores import evaluate as score
    from auricle.evaluation.sentences import SentenceModels

    models = SentenceModels.load(sentence_model, fense_model, error_detector)
    if candidates and references and not (manifest or checkpoint or split):
        wanted = read_candidates(candidates, encoding), read_references(references, encoding)
        title = f"Scores of {candidates.name}"
    elif manifest and split and not (candidates or references):
        wanted = _captioned(manifest, split, checkpoint)
        title = f"Scores of {checkpoint or 'the embedded model'} on {', '.join(split)}"
        sounds = sounds or manifest.parent
    else:
        raise AuricleError(
            "evaluate wants --candidates and --references, or --manifest and --split"
        )
    scores = score(
        *wanted, leave_out=leave_out or (), models=models, resamples=resamples, seed=seed
    )
    page = write_report(scores, report, title=title, sounds=sounds) if report else None
    if as_json:
        typer.echo(scores_json(scores), nl=False)
    else:
        _print_scores(scores)
        if page:
            typer.echo(f"report: {page}")


def compare(
    first: Annotated[
        Path, typer.Argument(help="One system's captions: CSV or JSON Lines with file and caption.")
    ],
    second: Annotated[Path, typer.Argument(help="The other's, of the same sounds.")],
    references: Annotated[Path, _References],
    leave_out: Annotated[list[str] | None, _LeaveOut] = None,
    sentence_model: Annotated[Path | None, _SentenceModel] = None,
    fense_model: Annotated[Path | None, _FenseModel] = None,
    error_detector: Annotated[Path | None, _ErrorDetector] = None,
    encoding: Annotated[str | None, _Encoding] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Paired draws of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    as_json: Annotated[bool, _Json] = False,
) -> None:
    """Score two systems' captions of the same sounds and say how sure their difference is."""
    from auricle.evaluation.captions import read_candidates, read_references
    from auricle.evaluation.report import comparison_json
    from auricle.evaluation.scores import compare as score
    from auricle.evaluation.sentences import SentenceModels

    models = SentenceModels.load(sentence_model, fense_model, error_detector)
    systems = read_candidates(first, encoding), read_candidates(second, encoding)
    wanted = read_references(references, encoding)
    comparison = score(
        *systems, wanted, leave_out=leave_out or (), models=models, resamples=resamples, seed=seed
    )
    if as_json:
        typer.echo(comparison_json(comparison), nl=False)
    else:
        _print_comparison(comparison, first.name, second.name)


@metrics_app.callback()
def _metrics() -> None:
    """What the metrics need beside Python."""


@metrics_app.command("install")
def install(
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Folder with CoreNLP 3.6.0's archive or jars, instead of the network."
        ),
    ] = None,
) -> None:
    """Put what SPICE needs into the user's cache: CoreNLP, fetched from its makers (500 MB, of
    which 16 are kept).
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from auricle.evaluation.install import install as put

    columns = (
        TextColumn("CoreNLP"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("CoreNLP", total=None, visible=source is None)
        folder = put(
            source, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    typer.echo(f"SPICE is ready; what it needs is in {folder}")


def _captioned(
    manifest: Path, splits: list[str], checkpoint: Path | None
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Captions of a manifest's sounds, and their references, by file; the windows of a long sound
    are joined.
    """
    from rich.console import Console
    from rich.progress import track

    from auricle.captioning.captioner import load
    from auricle.data.manifest import read_manifest

    references = {
        os.path.relpath(item.file, manifest.parent): list(item.captions)
        for item in read_manifest(manifest, splits)
    }
    rows = load(checkpoint).caption_files((name, manifest.parent / name) for name in references)
    said: dict[str, list[str]] = {}
    console = Console(stderr=True)
    for row in track(rows, "Captioning", len(references), console=console, transient=True):
        if row.caption is None:
            raise row.error or AuricleError(f"{row.file}: no caption")
        said.setdefault(row.file, []).append(row.caption.text)
    return {file: " ".join(texts) for file, texts in said.items()}, references


def _print_scores(scores: "Scores") -> None:
    from rich.console import Console
    from rich.table import Table

    from auricle.evaluation.report import number
    from auricle.evaluation.metrics import TITLES

    table = Table("metric", box=None)
    table.add_column("score", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, score in scores.corpus.items():
        interval = scores.intervals.get(name)
        within = (
            f"{number(name, interval.low)} to {number(name, interval.high)}" if interval else ""
        )
        table.add_row(TITLES[name], number(name, score), within)
    Console().print(table)
    for name, reason in scores.missing.items():
        typer.echo(f"{TITLES[name]} is missing: {reason}")
    for note in scores.notes:
        typer.echo(f"note: {note}")


def _print_comparison(comparison: "Comparison", first: str, second: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from auricle.evaluation.report import number
    from auricle.evaluation.metrics import TITLES

    table = Table("metric", box=None)
    for heading in (escape(first), escape(second), "difference", "95 % interval", "draws above"):
        table.add_column(heading, justify="right")
    for name, found in comparison.differences.items():
        table.add_row(
            TITLES[name],
            number(name, found.first),
            number(name, found.second),
            f"{found.difference:+.4f}",
            f"{found.interval.low:+.4f} to {found.interval.high:+.4f}",
            f"{found.share_above:.1%}",
        )
    Console().print(table)
    for name, reason in (comparison.first.missing | comparison.second.missing).items():
        typer.echo(f"{TITLES[name]} is missing: {reason}")
    for note in dict.fromkeys((*comparison.first.notes, *comparison.second.notes)):
        typer.echo(f"note: {note}")
