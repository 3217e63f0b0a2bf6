"""Events as cues: what is shown when, for how long, in how many lines.

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
from auricle.subtitles.wording import phrases

SHORTEST, LONGEST = 1.0, 7.0  # seconds that a cue is shown
SPEED = 17.0  # characters a second
LINE = 42  # characters, of which there are at most two
GAP = 0.084  # seconds between two cues: two frames of a film
SAID = 10.0  # seconds after a cue in which its text is not shown again,
JOINED = 2.0  # and in which it goes on
LEFT = 0.5  # seconds of a sound that must be left where its cue begins late
PHRASES = 3  # of a cue
CONFIDENCE = 0.25  # of an event under which it is not shown

Style = Literal["label", "sentence"]


@dataclass(frozen=True)
class Cue:
    """Text that is shown for some time."""

    start: float  # seconds
    end: float
    text: str  # lines are divided by a newline


@dataclass(frozen=True)
class CueOptions:
    """What is shown of what is heard."""

    style: Style = "label"  # "[dog barking]", or the caption as it is
    speech: bool = True
    music: bool = True
    confidence: float = CONFIDENCE  # the least that an event is shown at


def cues(
    events: Iterable[Event],
    options: CueOptions = CueOptions(),
    taken: Iterable[tuple[float, float]] = (),
) -> Iterator[Cue]:
    """The cues of events that follow each other, by time, in constant memory.

    Args:
        events: rows that are not final are passed over.
        options: what is shown.
        taken: stretches in which something else is shown, (start, end) in seconds; cues come only
            between them.
    """
    gaps, gap = _gaps(taken), 0
    final = (event for event in events if event.state == "end")
    held: Cue | None = None  # it may be shown longer, or end for the next one
    for event, following in itertools.pairwise(itertools.chain(final, [None])):
        assert event is not None
        after = math.inf if following is None else following.start - GAP
        latest = max(event.start, event.end - LEFT)
        texts = _texts(event, options)
        while gaps[gap][1] <= event.start:
            gap += 1
        for first, last in itertools.islice(gaps, gap, None if texts else gap):
            start = max(event.start, first)
            if start > latest:
                break
            if held is not None and held.text in texts and start - held.end < SAID:
                if first <= held.start and start - held.end < JOINED:
                    held = replace(
                        held, end=max(held.end, min(event.end, last, held.start + LONGEST))
                    )
                break
            # What is shown makes room once it could be read; until then it stays.
            read = (
                -GAP
                if held is None
                else min(held.end, max(held.start + _needed(held.text), start - GAP))
            )
            start = max(start, read + GAP)
            text = _fitting(texts, min(after, last) - start, last - start)
            if text is None or start > latest:
                continue
            if held is not None:
                yield replace(held, end=read)
            held = Cue(
                start, min(last, max(start + _needed(text), min(event.end, start + LONGEST))), text
            )
            break
    if held is not None:
        yield held


def _gaps(taken: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """What lies between stretches, (start, end) in seconds; the last has no end."""
    gaps, free = [], 0.0
    for start, end in sorted(taken):
        if start - GAP > free:
            gaps.append((free, start - GAP))
        free = max(free, end + GAP)
    return [*gaps, (free, math.inf)]


def _texts(event: Event, options: CueOptions) -> list[str]:
    """What may be shown of an event, the longest first; nothing where it is not to be shown."""
    if event.confidence is not None and event.confidence < options.confidence:
        return []
    found = phrases(event.caption, event.tags)
    shown = [
        p.text for p in found if (options.speech or not p.speech) and (options.music or not p.music)
    ]
    if not shown:
        return []
    labels = [f"[{', '.join(shown[:count])}]" for count in range(min(len(shown), PHRASES), 0, -1)]
    texts = [event.caption, *labels] if options.style == "sentence" else labels
    return [text for text in map(_wrapped, texts) if text is not None]


def _fitting(texts: Sequence[str], wished: float, most: float) -> str | None:
    """The longest text that fits the wished seconds, else the shortest if it fits the most."""
    for text in texts:
        if _needed(text) <= wished:
            return text
    return texts[-1] if _needed(texts[-1]) <= most else None


def _needed(text: str) -> float:
    """Seconds that a text must be shown to be read."""
    return max(SHORTEST, len(text) / SPEED)


def _wrapped(text: str) -> str | None:
    """The text in at most two lines of similar length; None if it is too long."""
    if len(text) <= LINE:
        return text
    spaces = [at for at, character in enumerate(text) if character == " "]
    fitting = [at for at in spaces if at <= LINE and len(text) - at - 1 <= LINE]
    if not fitting or _needed(text) > LONGEST:
        return None
    at = min(fitting, key=lambda place: abs(2 * place - len(text)))
    return f"{text[:at]}\n{text[at + 1 :]}"
