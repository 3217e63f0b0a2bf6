"""The command `subtitle`."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.alerts import AlertFile, AlertSentences, alarm
from auricle.cli.options import CheckpointFolder, Track
from auricle.errors import AudioError, AuricleError
from auricle.output.formats import SubtitleFormat
from auricle.storage.files import written_whole

if TYPE_CHECKING:
    import numpy as np

    from auricle.alerts.delivery import Fields
    from auricle.alerts.watch import Alert, Watch
    from auricle.captioning.captioner import Captioner
    from auricle.captioning.segmenter import Event
    from auricle.subtitles.cues import Cue


class CueStyle(StrEnum):
    """The texts of cues."""

    label = "label"
    sentence = "sentence"


def subtitle(
    film: Annotated[str, typer.Argument(help="A film or a sound; - for standard input.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write: .srt, .vtt or .ass; standard output if left out."
        ),
    ] = None,
    mux: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A copy of the film to write, with the captions as a track: .mkv, .mp4, .mov or "
            ".webm. Pictures and sound stay as they are.",
        ),
    ] = None,
    form: Annotated[
        SubtitleFormat | None,
        typer.Option("--format", "-f", help="The format, if no file name tells it."),
    ] = None,
    style: Annotated[
        CueStyle,
        typer.Option(help="label: [dog barking, rain falling]; sentence: the caption as it is."),
    ] = CueStyle.label,
    merge: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Subtitles to add the sounds to, in their gaps; their cues stay as they are.",
        ),
    ] = None,
    speech: Annotated[
        bool, typer.Option("--speech/--no-speech", help="Whether to mention speech.")
    ] = True,
    music: Annotated[
        bool, typer.Option("--music/--no-music", help="Whether to mention music.")
    ] = True,
    track: Track = None,
    confidence: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="The least confidence of a sound that is shown."),
    ] = None,
    checkpoint: CheckpointFolder = None,
    alerts: AlertSentences = None,
    alert_file: AlertFile = None,
) -> None:
    """Subtitle the sounds of a film, in the style of captions for the deaf: [dog barking].

    Cues last one to seven seconds, at most 17 characters a second, in at most two lines of 42.

    Examples:

        auricle subtitle film.mkv -o film.srt

        auricle subtitle film.mkv --mux film.captions.mkv

        auricle subtitle film.mkv --merge film.en.srt -o film.sdh.srt --no-speech

        auricle subtitle film.mkv --merge film.json -o film.sdh.json

        auricle subtitle film.mkv -o film.vtt --style sentence --track 2

        auricle subtitle film.mkv -o film.srt --alert "glass breaking"
    """
    from auricle.captioning.captioner import load
    from auricle.subtitles.cues import MIN_CONFIDENCE, CueOptions, cues
    from auricle.subtitles.files import merge_cues, read_existing, write_cues

    existing = None if merge is None else read_existing(merge)
    written = _written_format(output, merge, form)
    if mux is not None:
        _check_mux(film, mux, merge)
    if merge is not None and output is not None and output.exists() and output.samefile(merge):
        raise AuricleError(f"{merge}: would be overwritten; write to another file")
    options = CueOptions(
        style.value, speech, music, MIN_CONFIDENCE if confidence is None else confidence
    )

    captioner = load(checkpoint)
    failed: list[AudioError] = []
    with alarm(captioner, alerts, alert_file, _say) as (watch, tell):
        events = _events(captioner, _chunks(film, captioner.rate, track, failed), watch, tell)
        found = list(cues(events, options, existing.taken if existing else ()))
    if found or not failed:
        if output is not None or mux is None:
            _write(merge_cues(existing, found) if existing else write_cues(found, written), output)
        if mux is not None:
            _write_film(film, found, mux)
        for path in filter(None, (output, mux)):
            print(f"{path}: {len(found)} cues", file=sys.stderr)
    for error in failed:
        raise AuricleError(f"{error}{'; the sound before it is subtitled' if found else ''}")


def _written_format(
    output: Path | None, merge: Path | None, form: SubtitleFormat | None
) -> SubtitleFormat:
    """Returns the format of the subtitles; a transcript to merge with keeps its own.

    Raises:
        AuricleError: the files and the option are of several formats.
    """
    from auricle.subtitles.files import form_of, is_transcript

    paths = [path for path in (output, merge) if path is not None]
    transcripts = [path for path in paths if is_transcript(path)]
    subtitles: set[SubtitleFormat] = {
        form_of(path) for path in paths if merge is None or path not in transcripts
    }
    if form is not None:
        subtitles.add(form)
    found = [*sorted(subtitles), *(["json"] if merge is not None and transcripts else [])]
    if len(found) > 1:
        raise AuricleError(
            f"{' and '.join(found)}: --output, --merge and --format must be of one format"
        )
    return subtitles.pop() if subtitles else "srt"


def _check_mux(film: str, mux: Path, merge: Path | None) -> None:
    """Refuse a film that cannot be written, before the sound is captioned.

    Raises:
        AuricleError: the options do not fit together.
    """
    from auricle.subtitles.mux import container_of

    container_of(mux)
    if merge is not None:
        raise AuricleError("--mux adds new captions only: leave --merge out")
    if film == "-":
        raise AuricleError("--mux needs a film that is a file, not standard input")
    if mux.exists() and Path(film).exists() and mux.samefile(film):
        raise AuricleError(f"{mux}: would be overwritten; write to another file")


def _write_film(film: str, found: "list[Cue]", output: Path) -> None:
    """Write the copy of the film: all of it or nothing."""
    from auricle.subtitles.mux import add_track, container_of, sorted_cues

    try:
        with written_whole(output) as part:
            add_track(film, sorted_cues(found), part, container_of(output))
    except AudioError as error:
        raise AuricleError(f"{film}: {error}") from None
    except AuricleError as error:
        raise AuricleError(f"{output}: {error}") from None


def _chunks(
    film: str, rate: int, track: int | None, failed: list[AudioError]
) -> Iterator["np.ndarray"]:
    """Yields the film's sound and shows progress; an error ends it and is added to `failed`."""
    from auricle.sound.container import declared_seconds
    from auricle.sound.decode import stream_audio

    source = sys.stdin.buffer if film == "-" else film
    with _progress(declared_seconds(source)) as advance:
        try:
            for chunk in stream_audio(source, rate, track=track, aligned=True):
                yield chunk
                advance(len(chunk) / rate)
        except AudioError as error:
            failed.append(error)


def _events(
    captioner: "Captioner",
    chunks: Iterator["np.ndarray"],
    watch: "Watch | None",
    tell: Callable[["Fields"], None],
) -> Iterator["Event"]:
    """Yields the events of the sound, and reports alerts as they occur."""
    from auricle.alerts.watch import alert_fields
    from auricle.captioning.segmenter import events_of
    from auricle.output.formats import clock

    def told(alerts: "list[Alert]") -> None:
        for alert in alerts:
            _say(f"alert at {clock(alert.start)}: {alert.sentence} (score {alert.score:.2f})")
            tell(alert_fields(alert))

    def watched() -> Iterator["np.ndarray"]:
        for chunk in chunks:
            yield chunk
            if watch:
                told(watch.feed(chunk))
        if watch:
            told(watch.finish())

    yield from events_of(captioner, watched())


@contextlib.contextmanager
def _progress(seconds: float | None) -> Iterator[Callable[[float], None]]:
    """Gives a function that takes the seconds just heard; on a terminal it moves a bar."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("Listening"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=seconds)
        yield lambda more: bar.advance(task, more)


def _write(content: bytes, output: Path | None) -> None:
    """Writes to standard output, or to the file: all of it or nothing."""
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    with written_whole(output) as part:
        part.write_bytes(content)


def _say(message: str) -> None:
    print(f"auricle: {message}", file=sys.stderr)
