"""Writes captions as text, JSON lines, tables, subtitles and label tracks; writes matches."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO, TypeVar

from auricle.captioning.results import Caption, CaptionEvent, Match, Row
from auricle.captioning.segmenter import Event
from auricle.errors import printable
from auricle.output.formats import SUBTITLE_HEADS, CaptionFormat, TableFormat, clock, cue_block
from auricle.output.label_tracks import label_track

CAPTION_COLUMNS = ("file", "start", "end", "caption", "score", "confidence")
MATCH_COLUMNS = ("file", "similarity")
ResultT = TypeVar("ResultT")
DIALECTS = {"csv": "excel", "tsv": "excel-tab"}


def row_fields(row: Row, n_best: int) -> dict[str, object]:
    """Returns a caption as a JSON object, with its alternatives if `n_best` is over 1."""
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
    if caption.events:
        fields["events"] = mentioned_fields(caption.events)
    if n_best > 1:
        fields["alternatives"] = [
            {"caption": a.text, "score": round(a.score, 4), "similarity": _rounded(a.similarity)}
            for a in caption.alternatives[:n_best]
        ]
    return fields


def event_fields(event: Event) -> dict[str, object]:
    """Returns an event as a JSON object."""
    fields: dict[str, object] = {
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
    if event.mentioned:
        fields["events"] = mentioned_fields(event.mentioned)
    return fields


def mentioned_fields(events: Sequence[CaptionEvent]) -> list[dict[str, object]]:
    """Returns mentioned events as JSON objects: class, probability, times and marks."""
    return [
        {
            "name": event.name,
            "label": event.label,
            "probability": round(event.probability, 4),
            "start": round(event.start, 3),
            "end": round(event.end, 3),
            "repetition": event.repetition,
            "trend": event.trend,
        }
        for event in events
    ]


def write_rows(
    rows: Iterable[Row], file: TextIO, form: CaptionFormat, *, n_best: int = 1, named: bool = True
) -> None:
    """Writes captions when they arrive, each line whole.

    Args:
        rows: rows with a caption.
        file: open for text.
        form: the format; subtitles and label tracks hold the captions of one sound.
        n_best: captions per sound. Text and tables get a line for each; only the first one has a
            confidence.
        named: whether lines of text begin with the file.
    """
    for piece in _pieces(rows, form, n_best, named):
        file.write(piece)
        file.flush()


def write_matches(matches: Iterable[Match], file: TextIO, form: TableFormat) -> None:
    """Writes the similarity of sounds to a sentence, one line each.

    Args:
        matches: matches with a similarity.
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
    results: Iterable[ResultT],
    file: TextIO,
    form: TableFormat,
    columns: Sequence[str],
    *,
    fields: Callable[[ResultT], dict[str, object]],
    line: Callable[[ResultT], str],
) -> None:
    """Writes a line for each result.

    Args:
        results: of any kind.
        file: open for text.
        form: the format.
        columns: the fields that tables hold.
        fields: returns a result as a JSON object; JSON lines hold all its fields.
        line: returns a result as text.
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
            (
                json.dumps(fields(result), ensure_ascii=False, allow_nan=False)
                if form == "jsonl"
                else line(result)
            )
            + "\n"
        )


def _pieces(rows: Iterable[Row], form: CaptionFormat, n_best: int, named: bool) -> Iterator[str]:
    if form == "jsonl":
        for row in rows:
            yield json.dumps(row_fields(row, n_best), ensure_ascii=False, allow_nan=False) + "\n"
    elif form == "csv" or form == "tsv":
        line = _Line()
        writer = csv.writer(line, DIALECTS[form], lineterminator="\n")
        writer.writerow(CAPTION_COLUMNS)
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
    elif form == "audacity" or form == "textgrid" or form == "raven":
        yield from label_track(map(_caption, rows), form)
    elif form == "text":
        for row in rows:
            caption = _caption(row)
            times = "" if caption.whole else f"{stretch(caption.start, caption.end)} "
            for alternative in caption.alternatives[:n_best]:
                yield f"{f'{printable(row.file)}: ' if named else ''}{times}{alternative.text}\n"
    else:
        yield SUBTITLE_HEADS[form]
        for number, row in enumerate(rows, 1):
            caption = _caption(row)
            yield cue_block(caption.start, caption.end, caption.text, form, number)


class _Line:
    """A file for `csv.writer` that returns the text written since the last call."""

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


def stretch(start: float, end: float) -> str:
    """Returns a stretch of time for people: [start - end]."""
    return f"[{clock(start)} - {clock(end)}]"
