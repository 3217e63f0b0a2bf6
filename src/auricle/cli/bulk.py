"""The command `bulk`."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.bulk import ShardForm
from auricle.cli.options import CheckpointFolder, Verbose, finish, tell_skipped
from auricle.errors import printable

if TYPE_CHECKING:
    from auricle.bulk.output import PieceReport

SECONDS_BETWEEN_LINES = 30.0  # of progress, where there is no terminal


def bulk(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A folder, a manifest (CSV or Parquet: file, path or url), or a tar archive; "
            "also by URL.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="OUT", help="The folder for captions; also by URL."),
    ],
    form: Annotated[
        ShardForm, typer.Option("--format", "-f", help="The format of the captions.")
    ] = ShardForm.parquet,
    checkpoint: CheckpointFolder = None,
    window: Annotated[
        float, typer.Option(min=1.0, max=30.0, help="Seconds of a window of sounds over 30 s.")
    ] = 10.0,
    max_duration: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="Refuse longer sounds.")
    ] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Write each caption's embedding, too.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Captioners, each on one processor; all processors.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Join this Ray cluster, with its token; auto: the one here."
        ),
    ] = None,
    shard: Annotated[int, typer.Option(min=1, help="Sounds of a shard; an archive is one.")] = 100,
    verbose: Verbose = False,
) -> None:
    """Caption an archive on all processors, or on a Ray cluster.

    Run the same command again to continue: it captions only missing sounds.

    OUT/captions holds the shards. OUT/errors.jsonl lists the files that failed, with the reasons;
    the next run tries them again. URLs may have any scheme that pyarrow or fsspec opens: s3://,
    gs://, hf://, https://.

    Examples:

        auricle bulk recordings/ -o captions/

        auricle bulk sounds.csv -o captions/ --format jsonl

        auricle bulk s3://archive/2025 -o s3://captions/2025 --embeddings

        auricle bulk /nfs/shards -o /nfs/captions --address auto
    """
    from auricle.bulk.job import caption_pieces, cluster
    from auricle.bulk.output import Options, Output
    from auricle.bulk.places import pieces, place, sounds
    from auricle.checkpoint.folder import load_checkpoint
    from auricle.sound.network import without_secrets

    # A checkpoint that cannot be used must fail before the workers start.
    folder = load_checkpoint(checkpoint.absolute()).folder if checkpoint else None
    options = Options(folder, form, window, max_duration, embeddings)
    origin, target = place(source), Output(place(output), options)
    skipped: list[str] = []
    remarks: list[str] = []
    found = sounds(origin, skipped, remarks)
    tell_skipped(skipped, verbose=verbose)
    if remarks:
        print(f"auricle: {origin.name}: {'; '.join(remarks)}", file=sys.stderr)
    captioned, shards, failed = target.begin()
    missing = pieces(found, shard, captioned, shards)
    total = len(failed)
    if captioned or shards:
        print(
            f"auricle: continuing: {len(captioned)} sounds have captions in {target.folder.name}",
            file=sys.stderr,
        )
    try:
        if missing:
            with cluster(address, workers) as processors:
                written = time.monotonic()
                for report in with_rate(
                    caption_pieces(missing, origin, target, workers or processors), len(missing)
                ):
                    total += report.sounds
                    for name, why in report.failed.items():
                        print(
                            f"auricle: {without_secrets(printable(name))}: {why}", file=sys.stderr
                        )
                    failed |= report.failed
                    if report.failed and time.monotonic() > written + SECONDS_BETWEEN_LINES:
                        target.write_errors(failed)
                        written = time.monotonic()
    except KeyboardInterrupt:
        print("auricle: stopped; run the same command again to continue", file=sys.stderr)
        raise typer.Exit(130) from None
    finally:
        target.end(failed)
    finish(total, len(failed), "captioned")


class Rate:
    """Counts finished pieces and estimates the remaining time; prints as a line."""

    def __init__(self, pieces: int) -> None:
        self._pieces, self._done = pieces, 0
        self._sounds, self._seconds, self._failed = 0, 0.0, 0
        self._began = time.monotonic()

    def add(self, report: "PieceReport") -> None:
        """Counts a finished piece."""
        self._done += 1
        self._sounds += report.sounds
        self._seconds += report.seconds
        self._failed += len(report.failed)

    @property
    def left(self) -> float:
        """The remaining time at the present rate, in seconds."""
        return (time.monotonic() - self._began) * (self._pieces - self._done) / max(1, self._done)

    def __str__(self) -> str:
        hour = self._seconds / max(1e-9, time.monotonic() - self._began)
        done = (
            f"{self._done} of {self._pieces} pieces, {self._sounds} sounds, {self._failed} failed"
        )
        if not self._done:
            return done
        left = timedelta(seconds=round(self.left))
        return f"{done}, {self._seconds / 3600:.2f} h of sound at {hour:.0f} h an hour, {left} left"


def with_rate(reports: "Iterable[PieceReport]", pieces: int) -> "Iterator[PieceReport]":
    """Passes reports on and shows progress: a bar on a terminal, else regular lines."""
    rate = Rate(pieces)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        with Progress(
            BarColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
        ) as bar:
            task = bar.add_task("starting Ray", total=pieces)
            for report in reports:
                rate.add(report)
                bar.update(task, advance=1, description=str(rate))
                yield report
        return
    with _regular_lines(rate):
        for report in reports:
            rate.add(report)
            yield report


@contextlib.contextmanager
def _regular_lines(rate: Rate) -> "Iterator[None]":
    """Prints a rate at the beginning, at regular times, and at the end."""
    ended = threading.Event()

    def write() -> None:
        print(f"auricle: {rate}", file=sys.stderr, flush=True)

    def work() -> None:
        while not ended.wait(SECONDS_BETWEEN_LINES):
            write()

    write()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        write()
