"""The commands `index` and `search`."""

import contextlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.options import (
    CheckpointFolder,
    Jobs,
    Verbose,
    good,
    opened,
    tell_skipped,
    tell_unknown_words,
)
from auricle.cli.progress import shown_progress
from auricle.errors import AudioError, AuricleError
from auricle.output.formats import TableFormat
from auricle.search import By
from auricle.sound.find import find_sounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from auricle.data.progress import Report
    from auricle.search.index import Hit, Indexed

HIT_COLUMNS = ("file", "start", "end", "caption", "score")

Database = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The index; if left out the user's own, one for all folders."
    ),
]


def index(
    folders: Annotated[
        list[str] | None,
        typer.Argument(help="Folders of sounds and videos.", metavar="FOLDER..."),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove files that are gone, in all folders.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Hear all files of the index again, with another model."),
    ] = False,
    database: Database = None,
    checkpoint: CheckpointFolder = None,
    jobs: Jobs = None,
    verbose: Verbose = False,
) -> None:
    """Keep captions and embeddings of a folder's sounds, for `auricle search`.

    Run it again when sounds are new, changed or gone. It hears only new sounds, and knows a moved
    or copied file by its content. You can stop it at any moment; the next run continues.

    Examples:

        auricle index ~/recordings

        auricle index field/ studio/ --database sounds.sqlite

        auricle index --prune

        auricle index --rebuild
    """
    from auricle.captioning.captioner import load
    from auricle.search.index import SoundIndex, default_database
    from auricle.search.rebuild import known_files, replaced_when_complete

    if not folders and not prune and not rebuild:
        raise AuricleError("index needs a folder, --prune or --rebuild")
    for folder in folders or []:
        if not os.path.isdir(folder):
            raise AuricleError(f"{folder} is no folder: index takes folders")
    skipped: list[str] = []
    found = {folder: list(find_sounds([folder], skipped)) for folder in folders or []}
    tell_skipped(skipped, verbose=verbose)
    for folder, names in found.items():
        if not names:  # The disk may be detached: nothing is removed.
            raise AuricleError(f"no sounds in {folder}")
    counts: Counter[str] = Counter()
    errors: list[AudioError] = []
    path = database or default_database()
    known = known_files(path) if rebuild else []
    with (
        replaced_when_complete(path) if rebuild else contextlib.nullcontext(path) as written,
        SoundIndex(written, load(checkpoint), create=True) as sounds,
    ):
        names = [*known, *(name for names in found.values() for name in names)]
        changes = sounds.changes(found, names)
        outcomes = sounds.update(changes, jobs)
        with shown_progress("sounds") as report, contextlib.closing(outcomes):  # type: ignore[type-var]
            for outcome in good(_reported(outcomes, len(changes.new), report), errors):
                counts["heard" if outcome.heard else "known by their content"] += 1
        counts |= {"unchanged": changes.unchanged, "gone": len(changes.gone), "failed": len(errors)}
        if prune:
            counts["pruned"] = sounds.prune()
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        print(f"{len(changes.new) + changes.unchanged} sounds: {told}; {path}", file=sys.stderr)
    if errors:
        raise typer.Exit(1)


def _reported(outcomes: "Iterable[Indexed]", total: int, report: "Report") -> "Iterator[Indexed]":
    """Passes outcomes on, and shows their number."""
    if total:
        report("Indexing", 0, total)
    for done, outcome in enumerate(outcomes, start=1):
        report("Indexing", done, total)
        yield outcome


def search(
    sentence: Annotated[str | None, typer.Argument(help="What to find, in plain words.")] = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="SOUND", help="Find sounds similar to this one; at most 30 s."),
    ] = None,
    by: Annotated[
        By,
        typer.Option(
            help="Compare the sentence's meaning with sounds, its words with captions and tags, "
            "or both."
        ),
    ] = By.both,
    top: Annotated[int, typer.Option(min=1, max=1000, help="The number of hits.")] = 10,
    form: Annotated[
        TableFormat, typer.Option("--format", "-f", help="The format of the hits.")
    ] = "text",
    database: Database = None,
    checkpoint: CheckpointFolder = None,
) -> None:
    """Find sounds by a sentence, or by another sound, among those that `auricle index` has heard.

    Each line has the score, the file, the time in it (if it is over 30 s), and the caption. The
    exit code is 1 if nothing is found.

    Examples:

        auricle search "rain on a tin roof"

        auricle search --like clip.wav --top 20

        auricle search chainsaw --by words --format jsonl
    """
    from auricle.captioning.captioner import load
    from auricle.output.writers import write_table
    from auricle.search.index import SoundIndex, default_database

    if (sentence is None) == (like is None):
        raise AuricleError("search needs a sentence, or a sound with --like")
    captioner = load(checkpoint)
    with SoundIndex(database or default_database(), captioner) as sounds:
        if sentence is None:
            assert like is not None
            hits = sounds.search_like(sys.stdin.buffer if like == "-" else like, top)
        else:
            if by is not By.words:
                tell_unknown_words(sentence, captioner)
            hits = sounds.search(sentence, by, top)
    if not hits:
        print("auricle: nothing found", file=sys.stderr)
        raise typer.Exit(1)
    with opened(None) as file:
        write_table(hits, file, form, HIT_COLUMNS, fields=hit_fields, line=hit_line)


def hit_fields(hit: "Hit") -> dict[str, object]:
    """Returns a hit as a JSON object."""
    return {
        "file": hit.file,
        "start": round(hit.start, 3),
        "end": round(hit.end, 3),
        "whole": hit.whole,
        "caption": hit.caption,
        "score": round(hit.score, 4),
        "confidence": None if hit.confidence is None else round(hit.confidence, 4),
        "tags": [{"name": tag.name, "probability": tag.probability} for tag in hit.tags],
    }


def hit_line(hit: "Hit") -> str:
    """Returns a hit as a line for people."""
    from auricle.errors import printable
    from auricle.output.writers import stretch

    time = "" if hit.whole else f" {stretch(hit.start, hit.end)}"
    return f"{hit.score:6.3f}  {printable(hit.file)}{time}: {printable(hit.caption)}"
