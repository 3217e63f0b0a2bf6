"""Subtitle files: writes ours, and puts ours between the cues of an existing file.

SubRip has blocks of a number, times and text. WebVTT has the same with optional names, and STYLE,
REGION and NOTE blocks. Advanced SubStation Alpha has a line for each cue in its section [Events],
whose line Format names the columns. An existing file stays as it is, byte for byte.
"""

import bisect
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from auricle.errors import AuricleError
from auricle.output.formats import (
    SUBTITLE_HEADS,
    Span,
    SubtitleFormat,
    cue_block,
    span_of_fields,
    span_of_line,
    stray_span,
    timestamp,
    without_markup,
)
from auricle.subtitles.cues import Cue
from auricle.subtitles.transcripts import Transcript, merge_segments, parse_transcript

SUBTITLE_FORMATS: tuple[SubtitleFormat, ...] = ("srt", "vtt", "ass")
MAX_BYTES = 64 << 20  # of a file to merge with
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class _UnreadableTimesError(Exception):
    """A line that looks like the times of a cue, but cannot be read as such."""

    def __init__(self, number: int, line: str) -> None:
        super().__init__(
            f"line {number}: {line.strip()[:60]!r} has no times that can be read; "
            "correct or delete it"
        )


@dataclass(frozen=True)
class Existing:
    """A cue of an existing file, and the time in which players may show it."""

    start: float  # seconds
    end: float  # infinite if nothing ends the cue
    first: int  # where it begins in the text
    behind: int  # where the next cue may begin


@dataclass(frozen=True)
class SubtitleFile:
    """An existing file."""

    form: SubtitleFormat
    mark: bytes  # the byte order mark
    encoding: str
    text: str
    cues: tuple[Existing, ...]
    strays: tuple[Span, ...] = ()  # times amid the text, which pysubs2 takes for cues

    @property
    def taken(self) -> list[tuple[float, float]]:
        """The times in which players may show something, (start, end) in seconds."""
        return [(shown.start, shown.end) for shown in (*self.cues, *self.strays)]


def form_of(path: Path) -> SubtitleFormat:
    """The format of a file by the ending of its name.

    Raises:
        AuricleError: the ending is unknown.
    """
    for form in SUBTITLE_FORMATS:
        if path.suffix.lower() == f".{form}":
            return form
    raise AuricleError(
        f"{path}: its ending '{path.suffix}' names no format: use .srt, .vtt or .ass"
    )


def is_transcript(path: Path) -> bool:
    """Returns whether the ending of a file's name is that of a transcript."""
    return path.suffix.lower() == ".json"


def read_existing(path: Path) -> SubtitleFile | Transcript:
    """Reads a file into which cues will be merged: a transcript in JSON, or subtitles.

    Raises:
        AuricleError: it cannot be read, holds no cue of its format, or a line or field is not the
            expected one.
    """
    if is_transcript(path):
        return parse_transcript(_content(path, "a transcript in JSON"), path)
    return read_subtitles(path)


def read_subtitles(path: Path) -> SubtitleFile:
    """Reads subtitles into which cues will be merged.

    Raises:
        AuricleError: they cannot be read, hold no cue of their format, or a line looks like the
            times of a cue and cannot be read as such.
    """
    form = form_of(path)
    content = _content(path, "a subtitle file")
    mark, encoding = next(
        ((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", "utf-8")
    )
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        # Every byte is a character of Latin-1 and comes back as it was, whatever it means.
        mark, encoding, text = b"", "latin-1", content.decode("latin-1")
    try:
        cues, strays = (_ass_cues(text), []) if form == "ass" else _block_cues(text, form)
    except _UnreadableTimesError as error:
        raise AuricleError(f"{path}, {error}") from None
    if not cues:
        raise AuricleError(
            f"{path}: holds no cue of {form}; expected a subtitle file with at least one"
        )
    return SubtitleFile(form, mark, encoding, text, tuple(_ended(cues)), tuple(strays))


def _content(path: Path, expected: str) -> bytes:
    """Returns the bytes of a file of limited size."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AuricleError(
            f"{path}: cannot be read ({error.strerror}); expected {expected}"
        ) from None
    if len(content) > MAX_BYTES:
        raise AuricleError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; expected {expected}")
    return content


def write_cues(cues: Iterable[Cue], form: SubtitleFormat) -> bytes:
    """A file of cues."""
    from pysubs2 import SSAFile

    head = SSAFile().to_string("ass") if form == "ass" else SUBTITLE_HEADS[form]
    write = _writer(SubtitleFile(form, b"", "utf-8", head, ()))
    return (head + "".join(map(write, cues))).encode()


def merge_cues(file: SubtitleFile | Transcript, cues: Iterable[Cue]) -> bytes:
    """The file with more cues in it, each behind those that begin before it."""
    if isinstance(file, Transcript):
        return merge_segments(file, cues)
    found = re.search(r"\r\n|\r|\n", file.text)
    newline = found[0] if found else "\n"
    existing = sorted(file.cues, key=lambda cue: cue.start)
    starts = [cue.start for cue in existing]
    ours: dict[int, list[Cue]] = {}
    for cue in cues:
        before = bisect.bisect_right(starts, cue.start)
        place = existing[before - 1].behind if before else min(old.first for old in existing)
        ours.setdefault(place, []).append(cue)
    write = _writer(file)
    parts, done = [], 0
    for place, ours_here in sorted(ours.items()):
        parts += [
            file.text[done:place],
            _joint(file.text[max(0, place - 9) : place], newline, file.form),
        ]
        parts += [write(cue).replace("\n", newline) for cue in ours_here]
        done = place
    text = "".join([*parts, file.text[done:]])
    return file.mark + text.encode(
        file.encoding, "replace" if file.encoding == "latin-1" else "strict"
    )


def _joint(before: str, newline: str, form: SubtitleFormat) -> str:
    """The line ends that must follow the end of the text `before` a cue can."""
    if not before or (form != "ass" and re.search(r"(?:\r\n|\r|\n)[ \t]*(?:\r\n|\r|\n)\Z", before)):
        return ""
    ended = before.endswith(("\r", "\n"))
    return "" if ended and form == "ass" else newline * (2 - ended if form != "ass" else 1)


def _block_cues(text: str, form: SubtitleFormat) -> tuple[list[Existing], list[Span]]:
    """The cues of SubRip and WebVTT, and times amid the text that pysubs2 takes for cues.

    Raises:
        _UnreadableTimesError: a line has an arrow and no times that can be read.
    """
    lines = [match.span() for match in _LINE.finditer(text)]
    places = [*(first for first, _ in lines), len(text)]
    empty = [not text[first:last].strip() for first, last in lines]
    times: list[tuple[int, Span]] = []
    strays: list[Span] = []
    for at, (first, last) in enumerate(lines):
        line = text[first:last]
        if span := span_of_line(line):
            times.append((at, span))
        elif stray := stray_span(line, form):
            strays.append(stray)
        elif "-->" in line:
            raise _UnreadableTimesError(at + 1, line)

    def is_head(at: int) -> bool:
        """Whether a line before times is their number or name, and not the text of a cue."""
        if form == "srt":
            return at >= 0 and text[places[at] : places[at + 1]].strip().isdecimal()
        return at >= 1 and not empty[at] and empty[at - 1]

    heads = [at - 1 if is_head(at - 1) else at for at, _ in times]
    following_heads = [*heads, len(lines)][1:]
    cues: list[Existing] = []
    for (at, span), head, following in zip(times, heads, following_heads, strict=True):
        behind = following
        if form == "vtt":
            # Notes may follow a cue, which an empty line ends. In SubRip nothing does, and sloppy
            # texts hold empty lines.
            behind = next((line for line in range(at, following) if empty[line]), following)
            behind = next((line for line in range(behind, following) if not empty[line]), following)
        cues.append(Existing(span.start, span.end, places[head], places[behind]))
    return cues, strays


def _ended(cues: Sequence[Existing]) -> Iterator[Existing]:
    """The same cues. One without an end lasts until the next one starts, as FFmpeg shows it."""
    starts = sorted(cue.start for cue in cues)
    for cue in cues:
        if math.isinf(cue.end):
            after = bisect.bisect_right(starts, cue.start)
            cue = replace(cue, end=starts[after] if after < len(starts) else math.inf)
        yield cue


def _writer(file: SubtitleFile) -> Callable[[Cue], str]:
    return _ass_writer(file.text) if file.form == "ass" else _block_writer(file)


def _block_writer(file: SubtitleFile) -> Callable[[Cue], str]:
    """Writes cues of SubRip, which go on counting, and of WebVTT, which need no numbers."""
    assert file.form != "ass"
    form: Literal["srt", "vtt"] = file.form
    heads = (
        re.match(r"\s*(\d{1,9})\s*[\r\n]", file.text[cue.first : cue.first + 40])
        for cue in file.cues
    )
    numbers = itertools.count(max((int(head[1]) for head in heads if head), default=0) + 1)

    def write(cue: Cue) -> str:
        number = next(numbers) if form == "srt" else None
        return cue_block(cue.start, cue.end, cue.text, form, number)

    return write


def _ass_cues(text: str) -> list[Existing]:
    """The lines `Dialogue` of Advanced SubStation Alpha, and of SubStation Alpha.

    FFmpeg and pysubs2 show them in any section.

    Raises:
        _UnreadableTimesError: the times of a line cannot be read.
    """
    columns = _columns(text)
    cues: list[Existing] = []
    for number, match in enumerate(_LINE.finditer(text), 1):
        kind, colon, rest = match[0].partition(":")
        if colon and kind.strip().lower() == "dialogue":
            values = dict(zip(columns, rest.split(",", len(columns) - 1), strict=False))
            span = span_of_fields(values.get("start", ""), values.get("end", ""))
            if span is None:
                raise _UnreadableTimesError(number, match[0])
            cues.append(Existing(span.start, span.end, *match.span()))
    return cues


def _ass_writer(text: str) -> Callable[[Cue], str]:
    """Writes cues as lines of Advanced SubStation Alpha, in the file's columns and style."""
    columns = _columns(text)
    names = [
        match[0].partition(":")[2].split(",")[0].strip()
        for section, match in _ass_lines(text)
        if section.endswith("styles") and match[0].lower().startswith("style:")
    ]
    style = "Default" if "Default" in names or not names else names[0]
    fixed = {"layer": "0", "marked": "Marked=0", "style": style} | {
        f"margin{side}": "0" for side in "lrv"
    }

    def write(cue: Cue) -> str:
        fields = fixed | {
            "start": timestamp(cue.start, "ass"),
            "end": timestamp(cue.end, "ass"),
            "text": without_markup(cue.text, "ass").replace("\n", "\\N"),
        }
        return f"Dialogue: {','.join(fields.get(column, '') for column in columns)}\n"

    return write


def _ass_lines(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """The lines of the file with the section they are in."""
    section = ""
    for match in _LINE.finditer(text):
        if (line := match[0].strip()).startswith("["):
            section = line.strip("[]").lower()
        else:
            yield section, match


def _columns(text: str) -> list[str]:
    """The columns of an event, in lower case."""
    for section, match in _ass_lines(text):
        kind, _, rest = match[0].partition(":")
        if section == "events" and kind.strip().lower() == "format":
            return [column.strip().lower() for column in rest.split(",")]
    return [
        "layer",
        "start",
        "end",
        "style",
        "name",
        "marginl",
        "marginr",
        "marginv",
        "effect",
        "text",
    ]
