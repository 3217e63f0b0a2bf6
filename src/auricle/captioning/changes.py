"""Finds the events of a stream: where the sound changes, without captions.

    samples -> hops -> encode the last second -> unlike the event so far? -> stretches to caption

Decisions fall on a grid of hops, so the result does not depend on the sizes of the pieces that are
fed. A change is told at most a second after it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from auricle.captioning.captioner import Captioner
from auricle.sound.features import SlidingLogMel, from_log, with_least_frames
from auricle.sound.silence import is_silent

HOP_SECONDS = 0.25  # from one look at the sound to the next
HOPS_PER_LOOK = 4  # a look encodes a second
MEMORY_HOPS = 16  # hops of an event that the next look is compared with
PAUSE_SECONDS = 0.5  # of silence that end an event
PART_SECONDS = 10.0  # of an event that are captioned at once
MARGIN_SECONDS = 0.1  # of a new event that must be heard before it is told
BANDS_AVERAGED = 8  # neighbouring mel bands, in the search for the moment of a change


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
class Stretch:
    """A stretch of an event that can be captioned. Times are in samples.

    Every event has any number of stretches `early`, which later ones contain, and `part`, which
    follow each other, and then one stretch `end`.
    """

    id: int  # of the event, counted from 1
    kind: Literal["early", "part", "end"]
    start: int  # of the event
    end: int  # of the event so far
    # (samples,) float32; none where the end of an event is too short for a caption of its own.
    samples: np.ndarray = field(repr=False)


def _recent_hops() -> deque[np.ndarray]:
    return deque(maxlen=MEMORY_HOPS + HOPS_PER_LOOK)


@dataclass
class _Open:
    """An event that has not ended. Times are in samples."""

    id: int
    start: int
    part: int  # the start of the part that has not been given out as a whole
    levels: deque[np.ndarray] = field(default_factory=_recent_hops)  # of the last hops
    frames: deque[np.ndarray] = field(default_factory=_recent_hops)  # of looks at this event alone
    early: int = 0  # the number of its stretches `early`


class EventFinder:
    """Finds events in samples that arrive in pieces, in constant memory.

    The result does not depend on the sizes of the pieces.

    Args:
        captioner: encodes; its frames show changes.
        change: the weights that decide what counts as a change.
        early_seconds: the seconds of an event after which it gives a stretch `early`.
    """

    def __init__(
        self, captioner: Captioner, change: Change, early_seconds: Sequence[float] = ()
    ) -> None:
        self.captioner, self.change = captioner, change
        self._early = [seconds * captioner.rate for seconds in early_seconds]
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

    def feed(self, samples: np.ndarray) -> list[Stretch]:
        """Takes more of the stream and returns the stretches that it completes.

        Args:
            samples: (samples,) float32 with full scale 1, mono, at the captioner's rate; any number
                of them.
        """
        self._held = np.concatenate([self._held, np.asarray(samples, np.float32)])
        found: list[Stretch] = []
        while self._first + len(self._held) >= self._heard + self._hop:
            found += self._listen(self._heard + self._hop)
        first = max(self._first, self._heard - self._part - 2 * self._second)
        self._held, self._first = self._held[first - self._first :].copy(), first
        return found

    def finish(self) -> list[Stretch]:
        """Returns the last stretches, at the end of the stream."""
        end = self._first + len(self._held)
        found = self._listen(end) if end > self._heard else []
        return found + self._close(self._heard - self._silent)

    def _listen(self, now: int) -> list[Stretch]:
        """Looks at the stream until `now`, one hop further than before, or less at its end."""
        found: list[Stretch] = []
        before, self._heard = self._heard, now
        quiet = is_silent(self._between(before, now), self.captioner.rate)
        self._silent = self._silent + now - before if quiet else 0
        if self._event is None and not quiet:
            self._open(before)
        elif self._silent >= PAUSE_SECONDS * self.captioner.rate:
            found += self._close(now - self._silent)
        if self._event:
            found += self._compare(self._event, now)
        if self._event:
            found += self._give_out(self._event, now)
        return found

    def _compare(self, event: _Open, now: int) -> list[Stretch]:
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
        found = self._close(change)
        if is_silent(self._between(change, now), self.captioner.rate):
            return found  # nothing else has begun
        whole = (now - change) // self._hop  # hops of the new event alone
        self._open(change).levels.extend(list(event.levels)[len(event.levels) - whole :])
        return found

    def _give_out(self, event: _Open, now: int) -> list[Stretch]:
        """Gives out the event's stretch if enough of it is new."""
        part = event.part
        if now - part >= self._part:
            event.part = now
            return [Stretch(event.id, "part", event.start, now, self._between(part, now))]
        if event.early < len(self._early) and now - event.start >= self._early[event.early]:
            event.early += 1
            return [Stretch(event.id, "early", event.start, now, self._between(part, now))]
        return []

    def _open(self, start: int) -> _Open:
        self._count += 1
        self._event = _Open(self._count, start, start)
        return self._event

    def _close(self, end: int) -> list[Stretch]:
        if (event := self._event) is None:
            return []
        self._event = None
        samples = self._between(event.part, end)
        if event.part > event.start and len(samples) < self._second:
            samples = samples[:0]
        return [Stretch(event.id, "end", event.start, end, samples)]

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
