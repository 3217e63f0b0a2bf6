"""Finds sound events in a stream: start, end and caption of each.

    samples -> hops -> encode the last second -> unlike the event so far? -> events -> rows

Events begin and end where the sound changes. Decisions fall on a grid of hops, so the result does
not depend on the sizes of the pieces that are fed. A change is told at most a second after it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from auricle.captioning.captioner import Captioner
from auricle.captioning.results import Caption, CaptionEvent, Tag, most_confident
from auricle.sound.features import SlidingLogMel, from_log, with_least_frames
from auricle.sound.silence import is_silent

HOP_SECONDS = 0.25  # from one look at the sound to the next
HOPS_PER_LOOK = 4  # a look encodes a second
MEMORY_HOPS = 16  # hops of an event that the next look is compared with
PAUSE_SECONDS = 0.5  # of silence that end an event
# Seconds of an event after which it is captioned, and captioned again.
NAMING_SECONDS = (0.75, 1.5, 2.0, 3.0, 5.0, 8.0)
PART_SECONDS = 10.0  # of an event that are captioned at once
MARGIN_SECONDS = 0.1  # of a new event that must be heard before it is told
BANDS_AVERAGED = 8  # neighbouring mel bands, in the search for the moment of a change

EventState = Literal["begin", "revise", "end"]


@dataclass(frozen=True)
class Change:
    """Weights of a logistic function: the probability that the last second is another event.

    Levels are those of mel bands, in dB, and differences are means over bands. The weights are
    fitted by `scripts/sequences.py tune` on joined sounds.
    """

    frames: float = 9.91  # cosine distance of the encoder's frames from those of the event
    floor: float = 0.111  # per dB between the quietest hops of this second and of the last one
    level: float = 0.151  # per dB between the mean levels of this second and of the last two
    spread: float = -0.281  # per dB of the standard deviation of the event's levels
    bias: float = -6.17
    threshold: float = 1.2  # of the logit

    def logit(self, differences: np.ndarray) -> float:
        """(4,) differences -> the logit of a change."""
        return float(differences @ (self.frames, self.floor, self.level, self.spread) + self.bias)


CHANGE = Change()
# The same for a captioner that words a plan, whose frames are the encoder's own.
PLANNED_CHANGE = Change(
    frames=11.4, floor=0.0642, level=0.229, spread=-0.311, bias=-5.44, threshold=1.2
)


@dataclass(frozen=True)
class Event:
    """A row about a sound event.

    Every event has one row `begin`, as soon as it has a caption, any number of rows `revise`, when
    the caption changes, and one final row `end`. Events do not overlap; silence is not an event.
    """

    id: int  # counted from 1
    state: EventState
    start: float  # seconds from the stream's beginning; the same in all rows
    end: float  # seconds; the end so far, of which the row `end` may take back up to a second
    caption: str
    tags: tuple[Tag, ...]  # the most probable ones, the most probable first
    # Probability that the caption is right; None where the checkpoint was not calibrated.
    confidence: float | None
    # (space,), of length 1, of the captioned stretch
    embedding: np.ndarray | None = field(default=None, compare=False, repr=False)
    # What the caption mentions; none where the model words no plan.
    mentioned: tuple[CaptionEvent, ...] = ()


def _recent_hops() -> deque[np.ndarray]:
    return deque(maxlen=MEMORY_HOPS + HOPS_PER_LOOK)


@dataclass
class _Open:
    """An event that has not ended. Times are in samples."""

    id: int
    start: int
    part: int  # the start of the part that has no final caption yet
    levels: deque[np.ndarray] = field(default_factory=_recent_hops)  # of the last hops
    frames: deque[np.ndarray] = field(default_factory=_recent_hops)  # of looks at this event alone
    said: Caption | None = None  # of the last row
    surest: Caption | None = None  # of the parts that have a final caption
    named: int = 0  # how often it was captioned


class Segmenter:
    """Finds sound events in samples that arrive in pieces, in constant memory.

    The result does not depend on the sizes of the pieces.

    Args:
        captioner: encodes and captions.
        change: the weights that decide what counts as a change; those of the captioner's kind if
            None.
        interim: whether events get captions before they end. Without, there are only the rows
            `end`, the same ones for less work.
    """

    def __init__(
        self, captioner: Captioner, change: Change | None = None, *, interim: bool = True
    ) -> None:
        self.captioner, self._interim = captioner, interim
        self.change = change or (CHANGE if captioner.planner is None else PLANNED_CHANGE)
        self._hop = round(HOP_SECONDS * captioner.rate)
        self._part = round(PART_SECONDS * captioner.rate)
        self._second = HOPS_PER_LOOK * self._hop
        self._sliding = SlidingLogMel(captioner.front_end)
        self._held = np.zeros(0, np.float32)  # the last seconds of the stream
        self._first = 0  # the position of their first sample in the stream
        self._heard = 0  # samples of the stream that were looked at
        self._silent = 0  # samples before that position that were silent
        self._event: _Open | None = None
        self._count = 0

    def feed(self, samples: np.ndarray) -> list[Event]:
        """Takes more of the stream and returns the rows that it completes.

        Args:
            samples: (samples,) float32 with full scale 1, mono, at the captioner's rate; any number
                of them.
        """
        self._held = np.concatenate([self._held, np.asarray(samples, np.float32)])
        rows: list[Event] = []
        while self._first + len(self._held) >= self._heard + self._hop:
            rows += self._listen(self._heard + self._hop)
        first = max(self._first, self._heard - self._part - 2 * self._second)
        self._held, self._first = self._held[first - self._first :].copy(), first
        return rows

    def finish(self) -> list[Event]:
        """Returns the last rows, at the end of the stream."""
        end = self._first + len(self._held)
        rows = self._listen(end) if end > self._heard else []
        return rows + self._close(self._heard - self._silent)

    def _listen(self, now: int) -> list[Event]:
        """Looks at the stream until `now`, one hop further than before, or less at its end."""
        rows: list[Event] = []
        before, self._heard = self._heard, now
        quiet = is_silent(self._between(before, now), self.captioner.rate)
        self._silent = self._silent + now - before if quiet else 0
        if self._event is None and not quiet:
            self._open(before)
        elif self._silent >= PAUSE_SECONDS * self.captioner.rate:
            rows += self._close(now - self._silent)
        if self._event:
            rows += self._compare(self._event, now)
        if self._event:
            rows += self._name(self._event, now)
        return rows

    def _compare(self, event: _Open, now: int) -> list[Event]:
        """Ends the event and begins another one if the last second differs from it."""
        second = self._between(max(self._first, now - self._second), now)
        frames, levels = look(self.captioner, self._sliding.log_mel(second, now), len(second))
        event.levels.append(levels)
        if now - event.start >= self._second:
            event.frames.append(frames)
        if self._silent or len(event.frames) <= HOPS_PER_LOOK:  # silence is not another event
            return []
        if self.change.logit(differences(event.frames, event.levels)) < self.change.threshold:
            return []
        start = max(event.start, now - 2 * self._second)
        change = start + moment(self.captioner, self._between(start, now))
        rows = self._close(change)
        if is_silent(self._between(change, now), self.captioner.rate):
            return rows  # nothing else has begun
        whole = (now - change) // self._hop  # hops of the new event alone
        self._open(change).levels.extend(list(event.levels)[len(event.levels) - whole :])
        return rows

    def _name(self, event: _Open, now: int) -> list[Event]:
        """Captions the event if enough of it is new."""
        if now - event.part >= self._part:
            said = event.surest = self._surest(event, now)
            event.part = now
        elif (
            self._interim
            and event.named < len(NAMING_SECONDS)
            and now - event.start >= NAMING_SECONDS[event.named] * self.captioner.rate
        ):
            said = self._surest(event, now)
            event.named += 1
        else:
            return []
        return self._say(event, "revise" if event.said else "begin", now, said)

    def _surest(self, event: _Open, end: int) -> Caption:
        """The most confident caption among the parts of an event that lasts until `end`."""
        samples = self._between(event.part, end)
        if event.surest and len(samples) < self._second:
            return event.surest
        seconds = len(samples) / self.captioner.rate
        now = self.captioner.describe(self.captioner.hear(samples), seconds)
        return most_confident((event.surest or now, now))

    def _say(self, event: _Open, state: EventState, end: int, caption: Caption) -> list[Event]:
        """A row, unless it would repeat the last one or interim rows are off."""
        if state != "end" and (
            not self._interim or (event.said and event.said.text == caption.text)
        ):
            return []
        event.said = caption
        start, end_seconds = event.start / self.captioner.rate, end / self.captioner.rate
        row = Event(
            event.id,
            state,
            start,
            end_seconds,
            caption.text,
            caption.tags,
            caption.confidence,
            caption.embedding,
            caption.placed(start, end_seconds).events,
        )
        return [row]

    def _open(self, start: int) -> _Open:
        self._count += 1
        self._event = _Open(self._count, start, start)
        return self._event

    def _close(self, end: int) -> list[Event]:
        if (event := self._event) is None:
            return []
        self._event = None
        said = self._surest(event, end)
        begin = [] if event.said else self._say(event, "begin", end, said)
        return begin + self._say(event, "end", end, said)

    def _between(self, start: int, end: int) -> np.ndarray:
        return self._held[start - self._first : end - self._first]


def look(captioner: Captioner, log_mel: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The features of the last second that are compared with those of the event.

    Args:
        captioner: the encoder.
        log_mel: (frames, mels), of a second, or less at the start of a stream.
        samples: the number of its samples.

    Returns:
        The encoder's frames, averaged, of length 1; and the levels of mel bands in the last hop,
        (mels,) in dB.
    """
    spectrogram = with_least_frames(log_mel, captioner.checkpoint.config.padded_frames)
    frames = captioner.model.hear(spectrogram).mean_frame
    # The spectrogram of a short sound is padded: drop the padding.
    sounding = spectrogram[: samples // captioner.front_end.hop or 1]
    hop = sounding[-round(HOP_SECONDS * captioner.front_end.frames_per_second) :]
    return frames / np.linalg.norm(frames), _decibels(hop, captioner).mean(0)


def differences(frames: Sequence[np.ndarray], levels: Sequence[np.ndarray]) -> np.ndarray:
    """The differences between the last second and the event before it: the features of `Change`.

    Args:
        frames: of looks at the event alone, more than `HOPS_PER_LOOK`.
        levels: of the hops of the event, at least as many.

    Returns:
        (4,)
    """
    mean = np.mean(list(frames)[:-HOPS_PER_LOOK], axis=0)
    past, now = np.split(np.array(levels), [-HOPS_PER_LOOK])
    return np.array(
        [
            1 - frames[-1] @ mean / np.linalg.norm(mean),
            np.abs(past[-HOPS_PER_LOOK:].min(0) - now.min(0)).mean(),
            np.abs(past[-2 * HOPS_PER_LOOK :].mean(0) - now.mean(0)).mean(),
            past.std(0).mean(),
        ]
    )


def moment(captioner: Captioner, samples: np.ndarray) -> int:
    """The sample at which a sound changed in its last second.

    There, the mean spectra before and after it leave the smallest squared error.
    """
    bands = _decibels(captioner.unpadded_spectrogram(samples), captioner)
    whole_groups = bands.shape[1] // BANDS_AVERAGED * BANDS_AVERAGED
    bands = bands[:, :whole_groups].reshape(len(bands), -1, BANDS_AVERAGED).mean(2)
    sums, places = bands.cumsum(0), np.arange(1, len(bands))
    before, after = (
        sums[:-1] / places[:, None],
        (sums[-1] - sums[:-1]) / (len(bands) - places)[:, None],
    )
    gain = ((before - after) ** 2).sum(1) * places * (len(bands) - places)
    left = (1 - places / len(bands)) * len(samples) / captioner.rate  # seconds
    gain[(left > HOPS_PER_LOOK * HOP_SECONDS) | (left < MARGIN_SECONDS)] = -1.0
    return round(float(places[gain.argmax()]) / len(bands) * len(samples))


def _decibels(spectrogram: np.ndarray, captioner: Captioner) -> np.ndarray:
    return 10 * np.log10(from_log(spectrogram, captioner.front_end) + captioner.front_end.floor)
