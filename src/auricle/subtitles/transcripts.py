"""Transcripts in JSON, as whisper, faster-whisper and whisperX write them.

A transcript is an object with a list `segments`. Each segment has `start` and `end` in seconds,
a `text`, and perhaps a list `words` with times of their own. Our cues become segments with the mark
`"auricle": true` between the others. All bytes of the file stay.
"""

import bisect
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from auricle.errors import AuricleError
from auricle.subtitles.cues import Cue

MAX_TIME_SECONDS = 1e7  # 115 days
MAX_TEXT_CHARACTERS = 100_000
_BOM = b"\xef\xbb\xbf"
_BLANKS = " \t\n\r"
_SHOWN_CHARACTERS = 60  # of a wrong value


@dataclass(frozen=True)
class Segment:
    """A segment of an existing transcript."""

    start: float  # seconds; of the segment or its first word
    end: float  # seconds; of the segment or its last word
    first: int  # where its object begins in the text
    behind: int  # where its object ends


@dataclass(frozen=True)
class Transcript:
    """An existing transcript."""

    mark: bytes  # the byte order mark
    text: str
    segments: tuple[Segment, ...]
    empty_at: int  # where the list of segments begins
    has_words: bool

    @property
    def taken(self) -> list[tuple[float, float]]:
        """The times in which somebody speaks, (start, end) in seconds."""
        return [(segment.start, segment.end) for segment in self.segments]


class _WrongValueError(Exception):
    """A value of the transcript is not the expected one."""


def parse_transcript(content: bytes, path: Path) -> Transcript:
    """Parses a file into which cues will be merged.

    Args:
        content: of the file.
        path: for messages.

    Raises:
        AuricleError: it is no JSON, or a field is not the expected one.
    """
    mark = _BOM if content.startswith(_BOM) else b""
    try:
        text = content[len(mark) :].decode()
        whole = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_object,
        )
        spans, has_words = _checked(whole)
        empty_at, places = _places(text)
    except json.JSONDecodeError as error:
        found = error.doc[error.pos : error.pos + _SHOWN_CHARACTERS].splitlines()
        raise AuricleError(
            f"{path}, line {error.lineno}, column {error.colno}: found "
            f"{ascii(found[0]) if found else 'the end of the file or line'}, expected JSON "
            f"({error.msg})"
        ) from None
    except UnicodeDecodeError as error:
        raise AuricleError(
            f"{path}: byte {len(mark) + error.start} is not UTF-8; expected a transcript in JSON"
        ) from None
    except _WrongValueError as error:
        raise AuricleError(f"{path}, {error}") from None
    except (RecursionError, ValueError):  # ValueError: an integer with thousands of digits
        raise AuricleError(
            f"{path}: found deep nesting or a number with thousands of digits; "
            "expected a transcript in JSON"
        ) from None
    segments = tuple(Segment(*span, *place) for span, place in zip(spans, places, strict=True))
    return Transcript(mark, text, segments, empty_at, has_words)


def merge_segments(transcript: Transcript, cues: Iterable[Cue]) -> bytes:
    """Returns the transcript with a segment for each cue, behind those that begin before it."""
    text, ordered = transcript.text, sorted(transcript.segments, key=lambda old: old.start)
    starts = [old.start for old in ordered]
    ours: dict[int, list[str]] = {}
    for cue in cues:
        before = bisect.bisect_right(starts, cue.start)
        if before:
            place = ordered[before - 1].behind
        else:
            place = min((old.first for old in ordered), default=transcript.empty_at)
        ours.setdefault(place, []).append(_segment(cue, has_words=transcript.has_words))
    separator = _separator(transcript)
    firsts = {old.first for old in ordered}
    parts, done = [], 0
    for place, written in sorted(ours.items()):
        joined = separator.join(written)
        if place in firsts:
            joined += separator
        elif ordered:
            joined = separator + joined
        parts += [text[done:place], joined]
        done = place
    return transcript.mark + "".join([*parts, text[done:]]).encode()


def _segment(cue: Cue, *, has_words: bool) -> str:
    """Returns a cue as a segment.

    Programs that read words take the text from there, so ours is one word then.
    """
    text = " " + cue.text.replace("\n", " ")  # whisper's texts begin with a blank
    times = {"start": round(cue.start, 3), "end": round(cue.end, 3)}
    words = {"words": [{"word": text, **times}]} if has_words else {}
    return json.dumps({**times, "text": text, **words, "auricle": True})


def _separator(transcript: Transcript) -> str:
    """Returns the text between two segments, with the file's own indentation."""
    places = sorted((old.first, old.behind) for old in transcript.segments)
    return transcript.text[places[0][1] : places[1][0]] if len(places) > 1 else ", "


def _checked(whole: object) -> tuple[list[tuple[float, float]], bool]:
    """Returns the times of the segments, (start, end) in seconds, and whether one has words."""
    if not isinstance(whole, dict):
        _refuse("the file", whole, "an object with a list 'segments'")
    if "segments" not in whole:
        raise _WrongValueError(
            f"the file: found the fields {', '.join(map(ascii, [*whole][:9])) or 'none'}, "
            "expected 'segments'"
        )
    segments = whole["segments"]
    if not isinstance(segments, list):
        _refuse("segments", segments, "a list")
    spans: list[tuple[float, float]] = []
    has_words = False
    for number, segment in enumerate(segments):
        path = f"segments[{number}]"
        if not isinstance(segment, dict):
            _refuse(path, segment, "an object with start, end and text")
        start, end = _span(segment, path)
        _check_text(segment, "text", path)
        words = segment.get("words")
        if words is not None and not isinstance(words, list):
            _refuse(f"{path}.words", words, "a list or null")
        for at, word in enumerate(words or ()):
            place = f"{path}.words[{at}]"
            if not isinstance(word, dict):
                _refuse(place, word, "an object with word, start and end")
            _check_text(word, "word", place)
            # whisperX gives no times to words that it cannot align.
            if word.get("start") is not None or word.get("end") is not None:
                first, last = _span(word, place)
                start, end = min(start, first), max(end, last)
        has_words = has_words or words is not None
        spans.append((start, end))
    return spans, has_words


def _span(fields: dict[str, object], path: str) -> tuple[float, float]:
    start, end = _seconds(fields, "start", path), _seconds(fields, "end", path)
    if end < start:
        _refuse(f"{path}.end", end, f"at least its start, {start:g}")
    return start, end


def _seconds(fields: dict[str, object], name: str, path: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(f"{path}.{name}", value, "seconds as a number")
    if not 0 <= value <= MAX_TIME_SECONDS:
        _refuse(f"{path}.{name}", value, f"0 to {MAX_TIME_SECONDS:.0f} seconds")
    return float(value)


def _check_text(fields: dict[str, object], name: str, path: str) -> None:
    value = fields.get(name)
    if not isinstance(value, str):
        _refuse(f"{path}.{name}", value, "a text")
    if len(value) > MAX_TEXT_CHARACTERS:
        _refuse(f"{path}.{name}", f"{len(value)} characters", f"at most {MAX_TEXT_CHARACTERS}")


def _refuse(path: str, found: object, expected: str) -> NoReturn:
    shown = "nothing" if found is None else ascii(found)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[:_SHOWN_CHARACTERS]}..."
    raise _WrongValueError(f"{path}: found {shown}, expected {expected}")


def _refuse_constant(name: str) -> NoReturn:
    raise _WrongValueError(f"found {name}, expected numbers that JSON allows")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        _refuse("a number", digits, "a number that is not too large")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Returns an object of JSON. Readers disagree about a name that comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _WrongValueError(f"found the field {twice!a} twice in an object, expected once")
    return found


def _places(text: str) -> tuple[int, list[tuple[int, int]]]:
    """Returns where the list of segments begins, and where each segment begins and ends.

    Args:
        text: valid JSON: an object with a list `segments`.
    """
    decoder = json.JSONDecoder()
    at = _behind_blanks(text, _behind_blanks(text, 0) + 1)
    while True:
        name, at = decoder.raw_decode(text, at)
        at = _behind_blanks(text, _behind_blanks(text, at) + 1)
        if name == "segments":
            break
        _, at = decoder.raw_decode(text, at)
        at = _behind_blanks(text, _behind_blanks(text, at) + 1)
    empty_at = at + 1
    places: list[tuple[int, int]] = []
    at = _behind_blanks(text, empty_at)
    while text[at] != "]":
        _, behind = decoder.raw_decode(text, at)
        places.append((at, behind))
        at = _behind_blanks(text, behind)
        if text[at] == ",":
            at = _behind_blanks(text, at + 1)
    return empty_at, places


def _behind_blanks(text: str, at: int) -> int:
    while text[at] in _BLANKS:
        at += 1
    return at
