"""The commands `caption` and `rank`."""

import contextlib
import glob
import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.options import (
    CheckpointFolder,
    Jobs,
    Paths,
    Track,
    Verbose,
    finish,
    good,
    named_sounds,
    opened,
    opened_sounds,
    tell_unknown_words,
    with_progress,
)
from auricle.errors import AudioError, AuricleError
from auricle.output.formats import SUFFIXES, CaptionFormat, TableFormat

if TYPE_CHECKING:
    from auricle.captioning.results import Row


def caption(
    paths: Paths,
    checkpoint: CheckpointFolder = None,
    form: Annotated[
        CaptionFormat, typer.Option("--format", "-f", help="The format of the captions.")
    ] = "text",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write; a folder for subtitles of several sounds."
        ),
    ] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, max=64, help="Hypotheses kept by the beam search.")
    ] = None,
    n_best: Annotated[
        int, typer.Option(min=1, max=64, help="Sentences for each sound, the best first.")
    ] = 1,
    window: Annotated[
        float, typer.Option(min=1.0, max=30.0, help="Seconds of a window of sounds over 30 s.")
    ] = 10.0,
    track: Track = None,
    explain: Annotated[
        Path | None,
        typer.Option(metavar="PICTURE.png", help="Draw where in one sound each word was heard."),
    ] = None,
    jobs: Jobs = None,
    max_duration: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="Refuse longer sounds.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Caption sounds: a sentence each, and one every 10 s for sounds over 30 s.

    Examples:

        auricle caption dog.wav

        auricle caption recordings/ --format jsonl --output captions.jsonl

        auricle caption film.mkv --format srt --output film.srt

        auricle caption field.wav --format audacity --output labels.txt

        auricle caption dog.wav --explain dog.png

        ffmpeg -i rtsp://camera -f wav - | auricle caption -
    """
    from auricle.captioning.captioner import Captioner
    from auricle.captioning.results import Row
    from auricle.checkpoint.folder import EMBEDDED, load_checkpoint

    loaded = load_checkpoint(checkpoint or EMBEDDED)
    options = loaded.config.decoding
    options = replace(options, beam=beam or max(options.beam, n_best))
    if n_best > options.beam:
        raise AuricleError(
            f"--n-best {n_best} needs --beam {n_best} or more, but it is {options.beam}"
        )
    captioner = Captioner(loaded, options)
    names = named_sounds(paths, verbose=verbose)
    if explain is not None and len(names) > 1:
        raise AuricleError(f"--explain draws one sound, but {len(names)} are given")
    into_folder = form in SUFFIXES and (len(names) > 1 or (output is not None and output.is_dir()))
    targets: dict[str, Path] = {}
    if into_folder:
        if output is None or output.is_file():
            raise AuricleError(
                f"{len(names)} sounds as {form} need a folder: name it with --output"
            )
        targets = subtitle_targets(paths, names, output, form)

    if explain is not None:
        from auricle.output.explain import explain as draw

        rows = (
            Row(name, draw(captioner, source, explain, track=track))
            for name, source in opened_sounds(names)
        )
    else:
        rows = captioner.caption_files(
            opened_sounds(names), window=window, jobs=jobs, max_duration=max_duration, track=track
        )
    errors: list[AudioError] = []
    with contextlib.closing(rows):  # type: ignore[type-var]
        shown = rows if output is None else with_progress(rows, len(names), "Captioning")
        if into_folder:
            write_each(good(shown, errors), targets, form, n_best)
        else:
            write_all(
                good(shown, errors), output, form, n_best, named=len(names) > 1 or paths != names
            )
    finish(len(names), len(errors), "captioned")


def rank(
    sentence: Annotated[str, typer.Argument(help="What to listen for, in plain words.")],
    paths: Paths,
    checkpoint: CheckpointFolder = None,
    form: Annotated[
        TableFormat, typer.Option("--format", "-f", help="The format of the similarities.")
    ] = "text",
    top: Annotated[
        int | None, typer.Option(min=1, help="Show only this many, the most similar.")
    ] = None,
    jobs: Jobs = None,
    verbose: Verbose = False,
) -> None:
    """Sort sounds by a sentence, the most similar first; a long sound counts as its best 10 s.

    Examples:

        auricle rank "glass breaking" recordings/

        auricle rank "a dog barks in the distance" *.wav --top 10

        auricle rank "rain on a roof" recordings/ --format csv > rain.csv
    """
    from auricle.captioning.captioner import load
    from auricle.output.writers import write_matches

    captioner = load(checkpoint)
    names = named_sounds(paths, verbose=verbose)
    matches = captioner.similarity_files(sentence, opened_sounds(names), jobs=jobs)
    tell_unknown_words(sentence, captioner)
    errors: list[AudioError] = []
    with contextlib.closing(matches):  # type: ignore[type-var]
        found = list(good(with_progress(matches, len(names), "Listening"), errors))
    found.sort(key=lambda match: -(match.similarity or 0.0))
    with opened(None) as file:
        write_matches(found[:top], file, form)
    finish(len(names), len(errors), "compared")


def subtitle_targets(
    paths: Iterable[str], names: Iterable[str], output: Path, form: CaptionFormat
) -> dict[str, Path]:
    """Returns the file of each sound, which keeps the folders of the sound.

    Args:
        paths: the arguments. The folder that holds all of them is left out of the targets.
        names: the sounds that they name.
        output: the folder to write to.
        form: the format, which sets the suffix.

    Raises:
        AuricleError: two sounds have the same target.
    """
    folders = [_fixed_folder(path) for path in paths if path != "-"]
    top = os.path.commonpath(folders) if folders else os.getcwd()
    targets: dict[str, Path] = {}
    seen: dict[Path, str] = {}
    for name in names:
        below = Path("standard-input" if name == "-" else os.path.relpath(name, top))
        target = output / below.parent / f"{below.stem}.{SUFFIXES[form]}"
        if target in seen:
            raise AuricleError(f"{seen[target]} and {name} would both be written to {target}")
        seen[target] = name
        targets[name] = target
    return targets


def _fixed_folder(path: str) -> str:
    """Returns the absolute folder of an argument: of a glob, the part without wildcards."""
    if not os.path.isdir(path):
        is_fixed = os.path.lexists(path)
        parts = Path(path).parts[:-1]
        path = os.path.join(
            ".", *itertools.takewhile(lambda part: is_fixed or not glob.has_magic(part), parts)
        )
    return os.path.abspath(path)


def write_all(
    rows: Iterable["Row"], output: Path | None, form: CaptionFormat, n_best: int, *, named: bool
) -> None:
    """Writes all captions to one file, as they come."""
    from auricle.output.writers import write_rows

    with opened(output) as file:
        write_rows(rows, file, form, n_best=n_best, named=named)


def write_each(
    rows: Iterable["Row"], targets: Mapping[str, Path], form: CaptionFormat, n_best: int
) -> None:
    """Writes a file for each sound, each whole or not at all."""
    from auricle.output.writers import write_rows

    for name, rows_of_file in itertools.groupby(rows, key=lambda row: row.file):
        with opened(targets[name]) as file:
            write_rows(rows_of_file, file, form, n_best=n_best)
