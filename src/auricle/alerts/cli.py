"""The command `alert-test`, and the options of alerts that other commands have."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.errors import AuricleError

if TYPE_CHECKING:
    from auricle.alerts.actions import Fields, Say
    from auricle.alerts.watch import Watch
    from auricle.captioner import Captioner

AlertSentences = Annotated[
    list[str] | None,
    typer.Option("--alert", metavar="SENTENCE", help="Tell when this is heard; may be repeated. Not a safety device."),
]
AlertFile = Annotated[
    Path | None,
    typer.Option("--alerts", metavar="FILE.toml", help="Alerts with thresholds, and whom to tell; see docs/alerts.md."),
]


@contextlib.contextmanager
def alarm(
    captioner: "Captioner", sentences: list[str] | None, file: Path | None, say: "Say"
) -> Iterator[tuple["Watch | None", Callable[["Fields"], None]]]:
    """What the options of alerts ask for, until the end of the context: what watches, if anything, and what to tell.

    Args:
        captioner: what hears.
        sentences: `--alert`.
        file: `--alerts`.
        say: is told what went wrong with telling, and which words of the sentences are not known.
    """
    from auricle.alerts.actions import AlertConfig, actions, load_config
    from auricle.alerts.watch import Watch
    from auricle.vocabulary import words

    config = AlertConfig() if file is None else load_config(file)
    wanted = config.wanted(sentences or [])
    if file is not None and not wanted:
        raise AuricleError(f"{file}: names no sound to wait for: [[alert]] with a sentence, or --alert, is wanted")
    for sound in wanted:
        if unknown := [word for word in words(sound.sentence) if word not in captioner.checkpoint.vocabulary]:
            say(f"'{sound.sentence}': the model does not know: {', '.join(unknown)}")
    watch = Watch(captioner, wanted) if wanted else None
    with actions(config, say) as tell:
        yield watch, tell
