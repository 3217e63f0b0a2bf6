"""The output formats: their names, and how subtitles write a cue."""

from typing import Literal

TableFormat = Literal["text", "jsonl", "csv", "tsv"]
CaptionFormat = Literal["text", "jsonl", "csv", "tsv", "srt", "vtt"]
SubtitleFormat = Literal["srt", "vtt", "ass"]
EventFormat = Literal["text", "jsonl"]

# The characters that begin markup in subtitles, and their replacements. Only WebVTT can escape
# them. Players of SubRip take HTML and ASS for markup, and in ASS a backslash before a word joiner
# has no meaning.
MARKUP: dict[SubtitleFormat, dict[str, str]] = {
    "srt": {"<": "‹", ">": "›", "{": "(", "}": ")"},
    "vtt": {"&": "&amp;", "<": "&lt;", "-->": "--&gt;"},
    "ass": {"\\": "\\\u2060", "{": "(", "}": ")"},
}
SUBTITLE_HEADS: dict[SubtitleFormat, str] = {"srt": "", "vtt": "WEBVTT\n\n"}


def cue_block(
    start: float, end: float, text: str, form: Literal["srt", "vtt"], number: int | None = None
) -> str:
    """A cue of SubRip or WebVTT, with the empty line that ends it.

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
    """A time as a subtitle format writes it: H:MM:SS and a fraction."""
    from pysubs2.time import ms_to_times

    hours, minutes, whole, milliseconds = ms_to_times(round(seconds * 1000))
    if form == "ass":  # truncated, so that no cue starts after its sound
        return f"{hours}:{minutes:02d}:{whole:02d}.{milliseconds // 10:02d}"
    mark = "," if form == "srt" else "."
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{mark}{milliseconds:03d}"


def clock(seconds: float) -> str:
    """A time for people: HH:MM:SS.mmm."""
    return timestamp(seconds, "vtt")


def without_markup(text: str, form: SubtitleFormat) -> str:
    """Text in which nothing is markup and nothing ends a cue."""
    for mark, instead in MARKUP[form].items():
        text = text.replace(mark, instead)
    return "\n".join(line for line in text.splitlines() if line.strip())
