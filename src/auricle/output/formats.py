"""Names the output formats, writes cues of subtitles, and reads their times.

Programs read sloppy times differently. FFmpeg takes the fraction as a count of milliseconds (of
hundredths in ASS), so `6,5` is 6.005 s. Others take it as a decimal fraction, 6.5 s. FFmpeg and
pysubs2 ignore the sign of a negative time; others use it. A span covers all readings.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

TableFormat = Literal["text", "jsonl", "csv", "tsv"]
LabelFormat = Literal["audacity", "textgrid", "raven"]
CaptionFormat = Literal[
    "text", "jsonl", "csv", "tsv", "srt", "vtt", "audacity", "textgrid", "raven"
]
SubtitleFormat = Literal["srt", "vtt", "ass"]
EventFormat = Literal["text", "jsonl"]

# The endings of files that hold the captions of one sound.
SUFFIXES: dict[CaptionFormat, str] = {
    "srt": "srt",
    "vtt": "vtt",
    "audacity": "labels.txt",
    "textgrid": "TextGrid",
    "raven": "selections.txt",
}
# The characters that begin markup in subtitles, and their replacements. Only WebVTT can escape
# them. Players of SubRip read HTML and ASS as markup. In ASS, a backslash before a word joiner has
# no meaning.
MARKUP: dict[SubtitleFormat, dict[str, str]] = {
    "srt": {"<": "‹", ">": "›", "{": "(", "}": ")"},
    "vtt": {"&": "&amp;", "<": "&lt;", "-->": "--&gt;"},
    "ass": {"\\": "\\\u2060", "{": "(", "}": ")"},
}
SUBTITLE_HEADS: dict[SubtitleFormat, str] = {"srt": "", "vtt": "WEBVTT\n\n"}


def cue_block(
    start: float, end: float, text: str, form: Literal["srt", "vtt"], number: int | None = None
) -> str:
    """Returns a cue of SubRip or WebVTT, with the empty line that ends it.

    Args:
        start: seconds.
        end: seconds.
        text: plain text.
        form: the format.
        number: the number or name of the cue, which SubRip needs.
    """
    times = f"{timestamp(start, form)} --> {timestamp(end, form)}"
    head = "" if number is None else f"{number}\n"
    return f"{head}{times}\n{without_markup(text, form)}\n\n"


def timestamp(seconds: float, form: SubtitleFormat) -> str:
    """Returns a time in a subtitle format: H:MM:SS and a fraction."""
    from pysubs2.time import ms_to_times

    hours, minutes, whole, milliseconds = ms_to_times(round(seconds * 1000))
    if form == "ass":  # truncates, so that no cue starts after its sound
        return f"{hours}:{minutes:02d}:{whole:02d}.{milliseconds // 10:02d}"
    mark = "," if form == "srt" else "."
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{mark}{milliseconds:03d}"


def clock(seconds: float) -> str:
    """Returns a time for people: HH:MM:SS.mmm."""
    return timestamp(seconds, "vtt")


def without_markup(text: str, form: SubtitleFormat) -> str:
    """Returns text without markup and without empty lines, which would end a cue."""
    for mark, replacement in MARKUP[form].items():
        text = text.replace(mark, replacement)
    return "\n".join(line for line in text.splitlines() if line.strip())


_BLANKS = r"[^\S\r\n]*+"  # possessive: a long line of blanks stays cheap
_NUMBER = rf"{_BLANKS}(\d{{1,9}}){_BLANKS}"


def _clock(marks: str) -> str:
    """Returns a pattern of sign, hours, minutes, seconds, and a fraction after one of the marks."""
    return rf"{_BLANKS}([-+]?)(?:{_NUMBER}:)?{_NUMBER}:{_NUMBER}(?:[{marks}]{_NUMBER})?"


# A position may follow the times, but not a further digit.
_LINE_OF_TIMES = re.compile(rf"{_clock('.,')}-->{_clock('.,')}(?![.,:]?\d)")
_ASS_TIME = re.compile(_clock(".,:;"))
_GROUPS = 5


@dataclass(frozen=True)
class Span:
    """The seconds in which a cue may be shown, covering all readings of its times."""

    start: float
    end: float  # infinite if a reading does not end after its start


def span_of_line(line: str) -> Span | None:
    """Returns the span of a line `time --> time` of SubRip or WebVTT; None for other lines."""
    match = _LINE_OF_TIMES.match(line)
    if match is None:
        return None
    groups = match.groups()
    unit = 0.001
    return _span(_readings(groups[:_GROUPS], unit), _readings(groups[_GROUPS:], unit))


def span_of_fields(start: str, end: str) -> Span | None:
    """Returns the span of the fields Start and End of ASS; None if one is not a time."""
    first, last = _ASS_TIME.fullmatch(start), _ASS_TIME.fullmatch(end)
    if first is None or last is None:
        return None
    unit = 0.01
    return _span(_readings(first.groups(), unit), _readings(last.groups(), unit))


def stray_span(line: str, form: SubtitleFormat) -> Span | None:
    """Returns the span of a line that only pysubs2 reads as times: with two times anywhere."""
    from pysubs2.formats.subrip import SubripFormat
    from pysubs2.formats.webvtt import WebVTTFormat

    reader = WebVTTFormat if form == "vtt" else SubripFormat
    stamps = reader.TIMESTAMP.findall(line)
    if len(stamps) != 2:
        return None
    start, end = (reader.timestamp_to_ms(stamp) / 1000 for stamp in stamps)
    return _span([start], [end])


def _readings(groups: tuple[str | None, ...], unit: float) -> list[float]:
    """Returns the seconds that a time may mean, in the same order for all times.

    Args:
        groups: sign, hours, minutes, seconds and fraction.
        unit: seconds that 1 means, if the fraction is a count.
    """
    sign, hours, minutes, seconds, fraction = groups
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    decimal = whole + float(f"0.{fraction or 0}")
    counted = whole + round(int(fraction or 0) * unit, 3)
    factor = -1 if sign == "-" else 1
    return [decimal, counted, factor * decimal, factor * counted]


def _span(starts: list[float], ends: list[float]) -> Span:
    ordered = all(end > start for start, end in zip(starts, ends, strict=True))
    return Span(min(starts), max(ends) if ordered else math.inf)
