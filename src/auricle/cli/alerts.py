"""The command `alert-test`, and the options of alerts that other commands have."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.options import (
    CheckpointFolder,
    finish,
    good,
    named_sounds,
    opened_sounds,
    with_progress,
)
from auricle.errors import AudioError, AuricleError

if TYPE_CHECKING:
    from auricle.alerts.delivery import Fields, Say
    from auricle.alerts.trial import Compared, Point, Trial
    from auricle.alerts.watch import Watch
    from auricle.captioning.captioner import Captioner

AlertSentences = Annotated[
    list[str] | None,
    typer.Option(
        "--alert",
        metavar="SENTENCE",
        help="Tell when this is heard; may be repeated. Not a safety device.",
    ),
]
AlertFile = Annotated[
    Path | None,
    typer.Option(
        "--alerts",
        metavar="FILE.toml",
        help="Alerts with thresholds, and their receivers; see docs/alerts.md.",
    ),
]


@contextlib.contextmanager
def alarm(
    captioner: "Captioner", sentences: list[str] | None, file: Path | None, say: "Say"
) -> Iterator[tuple["Watch | None", Callable[["Fields"], None]]]:
    """Yields the watch that the options ask for, or None, and a function that sends alerts.

    Args:
        captioner: hears the sound.
        sentences: `--alert`.
        file: `--alerts`.
        say: takes messages about alerts that were not delivered, and about unknown words.
    """
    from auricle.alerts.actions import actions
    from auricle.alerts.config import AlertConfig, load_config
    from auricle.alerts.watch import Watch

    config = AlertConfig() if file is None else load_config(file)
    watched = config.watched(sentences or [])
    if file is not None and not watched:
        raise AuricleError(
            f"{file}: names no sound to wait for: add [[alert]] with a sentence, or give --alert"
        )
    warn_of_unknown(captioner, [sound.sentence for sound in watched], say)
    watch = Watch(captioner, watched) if watched else None
    with actions(config, say) as tell:
        yield watch, tell


def warn_of_unknown(captioner: "Captioner", sentences: list[str], say: "Say") -> None:
    """Says which words of sentences the model does not know: it passes over them."""
    from auricle.alerts.watch import alternatives

    for sentence in sentences:
        parts = alternatives(sentence)
        if unknown := [word for part in parts for word in captioner.unknown_words(part)]:
            say(f"'{sentence}': the model does not know: {', '.join(unknown)}")


def alert_test(
    sentence: Annotated[str, typer.Argument(help="What to wait for, in plain words.")],
    positives: Annotated[
        list[str],
        typer.Option(
            metavar="DIR", help="Sounds that hold it: a folder, file or glob; may be repeated."
        ),
    ],
    negatives: Annotated[
        list[str],
        typer.Option(
            metavar="DIR", help="Sounds that do not, the longer the better; may be repeated."
        ),
    ],
    checkpoint: CheckpointFolder = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="PICTURE.png", help="Draw the table (extra explain).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Try an alert on sounds with and without its target, and propose a threshold.

    Recall is the share of positives that give an alert, precision the share of alerts that come
    from positives; alerts in negatives are false alarms. Negatives should be hours of the place
    where you will listen.

    Examples:

        auricle alert-test "glass breaking" --positives glass/ --negatives livingroom/

        auricle alert-test "a gunshot" --positives shots/ --negatives city/ --plot shots.png
    """
    if plot is not None:
        import matplotlib  # noqa: F401 - that it is missing is said now, not after an hour of listening

    from auricle.alerts.trial import Trial, compare
    from auricle.captioning.captioner import load

    captioner = load(checkpoint)
    names = [
        (kind, name)
        for kind, paths in enumerate((positives, negatives))
        for name in named_sounds(paths)
    ]
    warn_of_unknown(
        captioner, [sentence], lambda message: print(f"auricle: {message}", file=sys.stderr)
    )
    errors: list[AudioError] = []
    kept: tuple[list[Compared], list[Compared]] = [], []
    compared = with_progress(
        compare(captioner, sentence, opened_sounds(n for _, n in names)), len(names), "Listening"
    )
    for (kind, _), outcome in zip(names, compared, strict=True):
        kept[kind].extend(good([outcome], errors))
    trial = Trial(sentence, *map(tuple, kept))
    if not all(kept):
        raise AuricleError(
            "no positive or no negative sound can be read: give at least one of each"
        )
    (_print_json if as_json else _print_trial)(trial)
    if plot is not None:
        from auricle.alerts.trial import draw

        draw(trial, plot)
    finish(len(names), len(errors), "compared")


def _print_json(trial: "Trial") -> None:
    def fields(point: "Point") -> dict[str, object]:
        return {
            "threshold": round(point.threshold, 3),
            "precision": None if point.precision != point.precision else round(point.precision, 4),
            "recall": round(point.recall, 4),
            "false_alarms_per_hour": round(point.false_per_hour, 3),
        }

    typer.echo(
        json.dumps(
            {
                "sentence": trial.sentence,
                "positives": len(trial.positives),
                "negatives": len(trial.negatives),
                "hours_of_negatives": round(trial.hours, 4),
                "proposed": fields(trial.at(trial.proposed)),
                "thresholds": [fields(point) for point in trial.table()],
            },
            indent=2,
            ensure_ascii=False,
        )
    )


def _print_trial(trial: "Trial") -> None:
    from rich.console import Console
    from rich.table import Table

    from auricle.alerts.trial import wilson

    proposed = trial.at(trial.proposed)
    table = Table(box=None)
    for heading in ("threshold", "precision", "recall", "false alarms per hour"):
        table.add_column(heading, justify="right")
    for point in sorted([*trial.table(), proposed], key=lambda point: point.threshold):
        precision = "-" if point.precision != point.precision else f"{point.precision:.3f}"
        row = (
            f"{point.threshold:.2f}",
            precision,
            f"{point.recall:.3f}",
            f"{point.false_per_hour:.1f}",
        )
        table.add_row(*row, style="bold" if point is proposed else None)
    Console().print(table)
    low, high = wilson(proposed.heard, len(trial.positives))
    right = wilson(proposed.heard, proposed.heard + proposed.false)
    typer.echo(
        f"\n{len(trial.positives)} positives; {len(trial.negatives)} negatives, "
        f"{trial.hours * 60:.1f} minutes\n"
        f"proposed, by the best F1: {proposed.threshold:.2f}, "
        f"with precision {proposed.precision:.2f} ({right[0]:.2f} to {right[1]:.2f}), "
        f"recall {proposed.recall:.2f} ({low:.2f} to {high:.2f}), "
        f"{proposed.false_per_hour:.1f} false alarms an hour\n\n"
        f"[[alert]]\nsentence = {json.dumps(trial.sentence, ensure_ascii=False)}\n"
        f"threshold = {proposed.threshold:.2f}"
    )
