"""The commands `evaluate`, `compare` and `metrics install`."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.options import SkipBad
from auricle.cli.progress import shown_progress
from auricle.data.progress import Report
from auricle.errors import AuricleError

if TYPE_CHECKING:
    from auricle.evaluation.scores import Comparison, Scores

metrics_app = typer.Typer(
    name="metrics", help="Install the programs that metrics need.", no_args_is_help=True
)

CaptionsOption = Annotated[
    Path | None, typer.Option(help="CSV or JSON Lines with the columns file and caption.")
]
_References = typer.Option(
    help="CSV with file and caption_1, caption_2, ..., or file and caption in several rows."
)
Manifest = Annotated[
    Path | None,
    typer.Option(help="Instead of both: a manifest whose sounds are captioned first."),
]
Splits = Annotated[
    list[str] | None, typer.Option(help="The manifest's split to caption; may be repeated.")
]
CheckpointToCaption = Annotated[
    Path | None,
    typer.Option(help="The checkpoint folder to caption with; the embedded model if left out."),
]
ReportFolder = Annotated[
    Path | None, typer.Option(help="Folder for scores.json, scores.md, CSV and a page.")
]
Sounds = Annotated[
    Path | None, typer.Option(help="Folder with the sounds, for the players of the page.")
]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option(help="A slow metric to skip: meteor or spice; may be given twice."),
]
SentenceModelFolder = Annotated[
    Path | None,
    typer.Option(
        help="For sentence similarity: a sentence-transformers folder, "
        "or all-MiniLM-L6-v2 where its package is installed."
    ),
]
FenseModelFolder = Annotated[
    Path | None, typer.Option(help="For FENSE: the folder of paraphrase-TinyBERT-L6-v2.")
]
ErrorDetectorFile = Annotated[
    Path | None,
    typer.Option(
        help="For FENSE and SPIDEr-FL: echecker_clotho_audiocaps_base.ckpt, "
        "with bert-base-uncased's files in the same folder."
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(help="The files' encoding, where it is not UTF-8 or UTF-16: latin-1, cp1252, ..."),
]


def _finite(seconds: float) -> float:
    if not math.isfinite(seconds):
        raise typer.BadParameter("give a number of seconds")
    return seconds


TimeLimit = Annotated[
    float,
    typer.Option(
        min=1.0,
        callback=_finite,
        help="Seconds that METEOR or SPICE may take for one caption. "
        "A caption that takes longer has no score there.",
    ),
]
Resamples = Annotated[
    int, typer.Option(min=0, help="Draws of the bootstrap for the 95 % intervals; 0 for none.")
]
PairedResamples = Annotated[int, typer.Option(min=1, help="Paired draws of the bootstrap.")]
Seed = Annotated[int, typer.Option(help="Seed of the draws.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def evaluate(
    candidates: CaptionsOption = None,
    references: Annotated[Path | None, _References] = None,
    manifest: Manifest = None,
    split: Splits = None,
    checkpoint: CheckpointToCaption = None,
    skip_bad: SkipBad = False,
    report: ReportFolder = None,
    sounds: Sounds = None,
    leave_out: LeaveOut = None,
    sentence_model: SentenceModelFolder = None,
    fense_model: FenseModelFolder = None,
    error_detector: ErrorDetectorFile = None,
    encoding: Encoding = None,
    time_limit: TimeLimit = 60.0,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Score captions: BLEU, ROUGE-L, METEOR, CIDEr-D, SPICE, SPIDEr, and more by given models.

    METEOR and SPICE support English only.

    Examples:

        auricle evaluate --candidates captions.jsonl --references references.csv --report report/

        auricle evaluate --manifest data/clotho/manifest.csv --split evaluation
    """
    from auricle.evaluation.captions import read_candidates, read_references
    from auricle.evaluation.report import scores_json, write_report
    from auricle.evaluation.scores import evaluate as score
    from auricle.evaluation.sentences import SentenceModels

    models = SentenceModels.load(sentence_model, fense_model, error_detector)
    with shown_progress("captions") as progress:
        if candidates and references and not (manifest or checkpoint or split):
            captions = read_candidates(candidates, encoding), read_references(references, encoding)
            title = f"Scores of {candidates.name}"
        elif manifest and split and not (candidates or references):
            captions = _captioned(manifest, split, checkpoint, progress, skip_bad=skip_bad)
            title = f"Scores of {checkpoint or 'the embedded model'} on {', '.join(split)}"
            sounds = sounds or manifest.parent
        else:
            raise AuricleError(
                "evaluate needs --candidates and --references, or --manifest and --split"
            )
        scores = score(
            *captions,
            leave_out=leave_out or (),
            models=models,
            resamples=resamples,
            seed=seed,
            caption_seconds=time_limit,
            progress=progress,
        )
    page = write_report(scores, report, title=title, sounds=sounds) if report else None
    if as_json:
        typer.echo(scores_json(scores), nl=False)
    else:
        _print_scores(scores, page)


def compare(
    first: Annotated[
        Path, typer.Argument(help="One system's captions: CSV or JSON Lines with file and caption.")
    ],
    second: Annotated[Path, typer.Argument(help="The other's, of the same sounds.")],
    references: Annotated[Path, _References],
    leave_out: LeaveOut = None,
    sentence_model: SentenceModelFolder = None,
    fense_model: FenseModelFolder = None,
    error_detector: ErrorDetectorFile = None,
    encoding: Encoding = None,
    time_limit: TimeLimit = 60.0,
    resamples: PairedResamples = 1000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Score two systems' captions of the same sounds and say how sure their difference is."""
    from auricle.evaluation.captions import read_candidates, read_references
    from auricle.evaluation.report import comparison_json
    from auricle.evaluation.scores import compare as score
    from auricle.evaluation.sentences import SentenceModels

    models = SentenceModels.load(sentence_model, fense_model, error_detector)
    systems = read_candidates(first, encoding), read_candidates(second, encoding)
    with shown_progress("captions") as progress:
        comparison = score(
            *systems,
            read_references(references, encoding),
            leave_out=leave_out or (),
            models=models,
            resamples=resamples,
            seed=seed,
            caption_seconds=time_limit,
            progress=progress,
        )
    if as_json:
        typer.echo(comparison_json(comparison), nl=False)
    else:
        _print_comparison(comparison, first.name, second.name)


@metrics_app.callback()
def _metrics() -> None:
    """Install the programs that metrics need."""


@metrics_app.command("install")
def install(
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Folder with CoreNLP 3.6.0's archive or jars, instead of the network."
        ),
    ] = None,
) -> None:
    """Put CoreNLP into the user's cache, for SPICE.

    It is fetched from its makers: 500 MB, of which 16 are kept.
    """
    from auricle.evaluation.install import install as put

    with shown_progress("bytes") as progress:
        folder = put(source, progress=lambda done, total: progress("CoreNLP", done, total))
    typer.echo(f"SPICE is ready: its files are in {folder}")


def _captioned(
    manifest: Path,
    splits: list[str],
    checkpoint: Path | None,
    progress: Report,
    *,
    skip_bad: bool,
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Captions the sounds of a manifest; returns captions and references by file.

    The captions of a long sound's windows are joined. Where `skip_bad`, clips that cannot be read
    are left out and listed on standard error.
    """
    from auricle.captioning.captioner import load
    from auricle.data.manifest import read_manifest

    bad_clips: list[str] = []
    references = {
        os.path.relpath(item.file, manifest.parent): list(item.captions)
        for item in read_manifest(manifest, splits, bad_clips=bad_clips if skip_bad else None)
    }
    progress("Captioning", 0, len(references))
    rows = load(checkpoint).caption_files((name, manifest.parent / name) for name in references)
    texts: dict[str, list[str]] = {}
    unread = 0
    for row in rows:
        if row.caption is not None:
            texts.setdefault(row.file, []).append(row.caption.text)
        elif skip_bad and row.error is not None:
            bad_clips.append(str(row.error))
            texts.pop(row.file, None)  # of its windows before the error
            unread += 1
        else:
            raise row.error or AuricleError(f"{row.file}: no caption")
        progress("Captioning", len(texts) + unread, len(references))
    captions = {file: " ".join(windows) for file, windows in texts.items()}
    if bad_clips:
        typer.echo(f"auricle: {len(bad_clips):,} clips left out:", err=True)
        for problem in bad_clips:
            typer.echo(f"  {problem}", err=True)
    return captions, {file: references[file] for file in captions}


def _print_scores(scores: "Scores", page: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from auricle.evaluation.metrics import TITLES
    from auricle.evaluation.report import number

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
    if page:
        typer.echo(f"report: {page}")


def _print_comparison(comparison: "Comparison", first: str, second: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from auricle.evaluation.metrics import TITLES
    from auricle.evaluation.report import number

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
    notes = (*comparison.first.notes, *comparison.second.notes, *comparison.notes)
    for note in dict.fromkeys(notes):
        typer.echo(f"note: {note}")
