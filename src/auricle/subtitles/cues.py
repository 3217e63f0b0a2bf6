"""Turns events into cues: their texts, times and lines.

    events -> texts, the longest first -> cues of one to seven seconds, long enough to be read

The limits are those of captions for the deaf (BBC Subtitle Guidelines; Netflix Timed Text Style
Guide; Described and Captioned Media Program): at most 17 characters a second, two lines of 42,
seven seconds, and no two cues at once.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from auricle.captioning.segmenter import Event
from auricle.subtitles.wording import event_phrases

MIN_SECONDS, MAX_SECONDS = 1.0, 7.0  # how long a cue is shown
MAX_CHARACTERS_PER_SECOND = 17.0
MAX_LINE_CHARACTERS = 42  # a cue has at most two lines
GAP_SECONDS = 0.084  # between two cues: two frames of a film
REPEAT_AFTER_SECONDS = 10.0  # after a cue, until its text may be shown again
JOIN_WITHIN_SECONDS = 2.0  # an equal text within this time after a cue extends the cue instead
MIN_SECONDS_LEFT = 0.5  # of a sound that remain when its cue begins late
MAX_PHRASES = 3  # in a cue
MIN_CONFIDENCE = 0.25  # less certain events are not shown

Style = Literal["label", "sentence"]


@dataclass(frozen=True)
class Cue:
    """Text that is shown for some time."""

    start: float  # seconds
    end: float
    text: str  # lines are divided by a newline


@dataclass(frozen=True)
class CueOptions:
    """Options that choose the events and texts to show."""

    style: Style = "label"  # "[dog barking]", or the caption as it is
    speech: bool = True
    music: bool = True
    confidence: float = MIN_CONFIDENCE  # less certain events are not shown


def cues(
    events: Iterable[Event],
    options: CueOptions = CueOptions(),
    taken: Iterable[tuple[float, float]] = (),
) -> Iterator[Cue]:
    """Yields the cues of consecutive events by time, in constant memory.

    Args:
        events: only final rows count.
        options: choose the events and texts to show.
        taken: times in which other cues are shown, (start, end) in seconds. Cues stay between them.
    """
    gaps, gap = _gaps(taken), 0
    final = (event for event in events if event.state == "end")
    held: Cue | None = None  # the next event may extend or shorten it
    for event, following in itertools.pairwise(itertools.chain(final, [None])):
        assert event is not None
        after = math.inf if following is None else following.start - GAP_SECONDS
        latest = max(event.start, event.end - MIN_SECONDS_LEFT)
        texts = _texts(event, options)
        while gaps[gap][1] <= event.start:
            gap += 1
        for first, last in itertools.islice(gaps, gap, None if texts else gap):
            start = max(event.start, first)
            if start > latest:
                break
            if held is not None and held.text in texts and start - held.end < REPEAT_AFTER_SECONDS:
                if first <= held.start and start - held.end < JOIN_WITHIN_SECONDS:
                    held = replace(
                        held, end=max(held.end, min(event.end, last, held.start + MAX_SECONDS))
                    )
                break
            # The held cue stays until it could be read, and then makes room.
            read = (
                -GAP_SECONDS
                if held is None
                else min(held.end, max(held.start + _needed(held.text), start - GAP_SECONDS))
            )
            start = max(start, read + GAP_SECONDS)
            text = _fitting(texts, min(after, last) - start, last - start)
            if text is None or start > latest:
                continue
            if held is not None:
                yield replace(held, end=read)
            held = Cue(
                start,
                min(last, max(start + _needed(text), min(event.end, start + MAX_SECONDS))),
                text,
            )
            break
    if held is not None:
        yield held


def _gaps(taken: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The gaps between the taken times, (start, end) in seconds; the last one has no end."""
    gaps, free = [], 0.0
    for start, end in sorted(taken):
        if start - GAP_SECONDS > free:
            gaps.append((free, start - GAP_SECONDS))
        free = max(free, end + GAP_SECONDS)
    return [*gaps, (free, math.inf)]


def _texts(event: Event, options: CueOptions) -> list[str]:
    """The texts that can show an event, the longest first; none if the options leave it out."""
    if event.confidence is not None and event.confidence < options.confidence:
        return []
    found = event_phrases(event)
    shown = [
        p.text for p in found if (options.speech or not p.speech) and (options.music or not p.music)
    ]
    if not shown:
        return []
    labels = [
        f"[{', '.join(shown[:count])}]" for count in range(min(len(shown), MAX_PHRASES), 0, -1)
    ]
    texts = [event.caption, *labels] if options.style == "sentence" else labels
    return [text for text in map(_wrapped, texts) if text is not None]


def _fitting(texts: Sequence[str], wished: float, most: float) -> str | None:
    """The longest text that fits `wished` seconds, else the shortest if it fits `most` seconds."""
    for text in texts:
        if _needed(text) <= wished:
            return text
    return texts[-1] if _needed(texts[-1]) <= most else None


def _needed(text: str) -> float:
    """The seconds that a viewer needs to read a text."""
    return max(MIN_SECONDS, len(text) / MAX_CHARACTERS_PER_SECOND)


def _wrapped(text: str) -> str | None:
    """Breaks a text into at most two lines of similar length; None if it is too long."""
    if len(text) <= MAX_LINE_CHARACTERS:
        return text
    spaces = [at for at, character in enumerate(text) if character == " "]
    fitting = [
        at
        for at in spaces
        if at <= MAX_LINE_CHARACTERS and len(text) - at - 1 <= MAX_LINE_CHARACTERS
    ]
    if not fitting or _needed(text) > MAX_SECONDS:
        return None
    at = min(fitting, key=lambda place: abs(2 * place - len(text)))
    return f"{text[:at]}\n{text[at + 1 :]}"
