"""Shared by several commands: options, arguments that name sounds, progress, exit codes."""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Protocol, TextIO, TypeVar

import typer

from auricle.errors import AudioError, AuricleError, printable
from auricle.sound.find import find_sounds
from auricle.storage.files import written_whole

if TYPE_CHECKING:
    from auricle.captioning.captioner import Captioner


class Outcome(Protocol):
    """The outcome of a file."""

    @property
    def file(self) -> str:
        """Its name."""
        ...

    @property
    def error(self) -> AudioError | None:
        """Why it could not be read."""
        ...


AnOutcome = TypeVar("AnOutcome", bound=Outcome)


Paths = Annotated[
    list[str], typer.Argument(help="Sounds, videos, folders, globs; - for standard input.")
]
CheckpointFolder = Annotated[
    Path | None,
    typer.Option(
        help="Checkpoint folder, or owner/name on the Hugging Face Hub; "
        "the embedded model if left out."
    ),
]
Track = Annotated[
    int | None,
    typer.Option(
        min=1, help="Which of several audio tracks; the one that players choose if left out."
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out clips that cannot be read, and list them.")
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Name the files that are skipped.")]
Jobs = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, help="Sounds at a time; one a processor.")
]


def good(outcomes: Iterable[AnOutcome], errors: list[AudioError]) -> Iterator[AnOutcome]:
    """Passes successes on; prints errors and collects them."""
    for outcome in outcomes:
        if outcome.error is None:
            yield outcome
        else:
            errors.append(outcome.error)
            print(f"auricle: {outcome.error}", file=sys.stderr)


def finish(total: int, failed: int, done: str) -> None:
    """Prints counts for several sounds, and exits with 1 if one failed."""
    if failed or total > 1:
        sounds = "1 sound" if total == 1 else f"{total} sounds"
        print(f"{sounds}: {total - failed} {done}, {failed} failed", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def tell_unknown_words(sentence: str, captioner: "Captioner") -> None:
    """Prints the words that the model does not know."""
    if unknown := captioner.unknown_words(sentence):
        print(f"auricle: the model does not know: {', '.join(unknown)}", file=sys.stderr)


def named_sounds(paths: Iterable[str], *, verbose: bool = False) -> list[str]:
    """Returns the sounds that `find_sounds` finds, and counts the files that it skips.

    Args:
        paths: as `find_sounds`.
        verbose: whether skipped files are named.

    Raises:
        AuricleError: there are no sounds.
    """
    skipped: list[str] = []
    names = list(find_sounds(paths, skipped))
    tell_skipped(skipped, verbose=verbose)
    if not names:
        raise AuricleError(f"no sounds in {', '.join(paths)}")
    return names


def tell_skipped(skipped: Sequence[str], *, verbose: bool) -> None:
    """Counts the files that were skipped because of their names, or names them."""
    if verbose:
        for path in skipped:
            print(
                f"auricle: skipped {printable(path)}: its name does not end like a sound's",
                file=sys.stderr,
            )
    elif skipped:
        files = "1 file" if len(skipped) == 1 else f"{len(skipped)} files"
        print(f"auricle: skipped {files} (--verbose names them)", file=sys.stderr)


def opened_sounds(names: Iterable[str]) -> Iterator[tuple[str, str | BinaryIO]]:
    """Returns names with their files, or standard input for `-`."""
    return ((name, sys.stdin.buffer if name == "-" else name) for name in names)


def with_progress(outcomes: Iterable[AnOutcome], total: int, title: str) -> Iterator[AnOutcome]:
    """Shows the number of finished sounds on a terminal, unless the results scroll by there."""
    if not sys.stderr.isatty():
        yield from outcomes
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, last = bar.add_task("", total=total), None
        for outcome in outcomes:
            bar.advance(task, last is not None and outcome.file != last)
            last = outcome.file
            yield outcome


@contextlib.contextmanager
def opened(output: Path | None) -> Iterator[TextIO]:
    """Opens the text file to write to, or standard output; Ctrl-C leaves `NAME.part`."""
    if output is None:
        yield sys.stdout
        return
    with (
        written_whole(output, keep_interrupted=True) as path,
        path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


def settings_folder(kept: str) -> Path:
    """Return the folder of the user's settings.

    Args:
        kept: what goes into it, for the message.

    Raises:
        AuricleError: there is no home folder.
    """
    folder = Path(typer.get_app_dir("auricle"))
    if not folder.is_absolute():
        raise AuricleError(f"there is no home folder to keep {kept} in")
    return folder
