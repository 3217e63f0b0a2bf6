"""Captions as text, JSON lines, tables and subtitles; sounds sorted by a sentence."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, TextIO, TypeVar

from auricle.captioning.results import Caption, Match, Row
from auricle.captioning.segmenter import Event
from auricle.errors import printable

TableFormat = Literal["text", "jsonl", "csv", "tsv"]
SubtitleFormat = Literal["srt", "vtt", "ass"]
Format = TableFormat | Literal["srt", "vtt"]
COLUMNS = ("file", "start", "end", "caption", "score", "confidence")
MATCH_COLUMNS = ("file", "similarity")
Result = TypeVar("Result")
DIALECTS = {"csv": "excel", "tsv": "excel-tab"}
# What begins markup in subtitles, and what stands for it. Only WebVTT has a way to write the same;
# players of SubRip take HTML and ASS for markup, and a backslash of ASS means nothing before a word
# joiner.
MARKUP: dict[SubtitleFormat, dict[str, str]] = {
    "srt": {"<": "‹", ">": "›", "{": "(", "}": ")"},
    "vtt": {"&": "&amp;", "<": "&lt;", "-->": "--&gt;"},
    "ass": {"\\": "\\\u2060", "{": "(", "}": ")"},
}


def row_fields(row: Row, n_best: int) -> dict[str, object]:
    """A caption as an object of JSON; with `n_best` over 1 its alternatives too."""
    caption = _caption(row)
    fields: dict[str, object] = {
        "file": row.file,
        "start": round(caption.start, 3),
        "end": round(caption.end, 3),
        "caption": caption.text,
        "score": round(caption.score, 4),
        "confidence": _rounded(caption.confidence),
        "tags": [
            {"name": tag.name, "probability": round(tag.probability, 4)} for tag in caption.tags
        ],
    }
    if n_best > 1:
        fields["alternatives"] = [
            {"caption": a.text, "score": round(a.score, 4), "similarity": _rounded(a.similarity)}
            for a in caption.alternatives[:n_best]
        ]
    return fields


def event_fields(event: Event) -> dict[str, object]:
    """A row of the segmenter as an object of JSON."""
    return {
        "id": event.id,
        "state": event.state,
        "start": round(event.start, 3),
        "end": round(event.end, 3),
        "caption": event.caption,
        "confidence": _rounded(event.confidence),
        "tags": [
            {"name": tag.name, "probability": round(tag.probability, 4)} for tag in event.tags
        ],
    }


def write_rows(
    rows: Iterable[Row], file: TextIO, form: Format, *, n_best: int = 1, named: bool = True
) -> None:
    """Writes captions as they come, each line whole.

    Args:
        rows: those with a caption.
        file: open for text.
        form: the format; subtitles are those of one sound.
        n_best: sentences for each sound. Lines of text and of tables hold one each, `score` telling
            them apart; confidence is the first one's.
        named: whether lines of text begin with the file.
    """
    for piece in _pieces(rows, form, n_best, named):
        file.write(piece)
        file.flush()


def write_matches(matches: Iterable[Match], file: TextIO, form: TableFormat) -> None:
    """Writes how similar sounds are to a sentence, a line each.

    Args:
        matches: those with a similarity.
        file: open for text.
        form: the format.
    """
    write_table(
        matches,
        file,
        form,
        MATCH_COLUMNS,
        fields=lambda match: {"file": match.file, "similarity": _rounded(match.similarity)},
        line=lambda match: f"{match.similarity:6.3f}  {printable(match.file)}",
    )


def write_table(
    results: Iterable[Result],
    file: TextIO,
    form: TableFormat,
    columns: Sequence[str],
    *,
    fields: Callable[[Result], dict[str, object]],
    line: Callable[[Result], str],
) -> None:
    """Writes a line for each result.

    Args:
        results: of any kind.
        file: open for text.
        form: the format.
        columns: the fields that tables hold.
        fields: a result as an object of JSON, whose lines hold all fields.
        line: a result as text.
    """
    if form in DIALECTS:
        writer = csv.DictWriter(
            file, columns, extrasaction="ignore", dialect=DIALECTS[form], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(map(fields, results))
        return
    for result in results:
        file.write(
            (json.dumps(fields(result), ensure_ascii=False) if form == "jsonl" else line(result))
            + "\n"
        )


def _pieces(rows: Iterable[Row], form: Format, n_best: int, named: bool) -> Iterator[str]:
    if form == "jsonl":
        for row in rows:
            yield json.dumps(row_fields(row, n_best), ensure_ascii=False) + "\n"
    elif form == "csv" or form == "tsv":
        line = _Line()
        writer = csv.writer(line, DIALECTS[form], lineterminator="\n")
        writer.writerow(COLUMNS)
        yield line.taken()
        for row in rows:
            caption = _caption(row)
            times = round(caption.start, 3), round(caption.end, 3)
            for rank, alternative in enumerate(caption.alternatives[:n_best]):
                confidence = None if rank else _rounded(caption.confidence)
                writer.writerow(
                    (row.file, *times, alternative.text, round(alternative.score, 4), confidence)
                )
            yield line.taken()
    elif form == "text":
        for row in rows:
            caption = _caption(row)
            times = "" if caption.whole else f"{stretch(caption.start, caption.end)} "
            for alternative in caption.alternatives[:n_best]:
                yield f"{f'{printable(row.file)}: ' if named else ''}{times}{alternative.text}\n"
    else:
        if form == "vtt":
            yield "WEBVTT\n\n"
        mark = "," if form == "srt" else "."
        for number, row in enumerate(rows, 1):
            caption = _caption(row)
            times = f"{clock(caption.start, mark)} --> {clock(caption.end, mark)}"
            yield f"{number}\n{times}\n{unmarked(caption.text, form)}\n\n"


class _Line:
    """A file for `csv.writer` that gives back what was written since it was last asked."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def write(self, text: str) -> None:
        self._parts.append(text)

    def taken(self) -> str:
        text, self._parts = "".join(self._parts), []
        return text


def _caption(row: Row) -> Caption:
    if row.caption is None:
        raise ValueError(f"{row.file} has no caption")
    return row.caption


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def unmarked(text: str, form: SubtitleFormat) -> str:
    """A caption as subtitles have it: what would be markup, or end the cue, is text."""
    for mark, instead in MARKUP[form].items():
        text = text.replace(mark, instead)
    return "\n".join(line for line in text.splitlines() if line.strip())


def stretch(start: float, end: float) -> str:
    """From when to when, for people."""
    return f"[{clock(start, '.')} - {clock(end, '.')}]"


def clock(seconds: float, mark: str) -> str:
    """A time as subtitles have it: hours, minutes, seconds, and thousandths behind the mark."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{mark}{milliseconds % 1000:03d}"
