"""Results of captioning."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from auricle.errors import AudioError
from auricle.sound.container import Source

Sound = Source | np.ndarray
SILENCE = "Silence."


@dataclass(frozen=True)
class Tag:
    """A class of sounds and the probability that it is present."""

    name: str
    probability: float


@dataclass(frozen=True)
class Alternative:
    """A candidate caption of a sound."""

    text: str
    score: float  # log-probability, length-normalised: at most 0, higher is likelier
    # Cosine to the sound, from -1 to 1; None where captions are not reranked by it.
    similarity: float | None = None


@dataclass(frozen=True)
class CaptionEvent:
    """An event that a caption mentions."""

    name: str  # of its class
    label: str  # a few words for it, as in subtitles: "dog barking"
    probability: float  # of the class
    start: float  # seconds from the beginning of the sound
    end: float
    repetition: str | None = None  # once, twice, several or continuous; None: not told
    trend: str | None = None  # approaching or fading; None: not told
    kinds: tuple[str, ...] = ()  # names of more general classes for the same sound


@dataclass(frozen=True)
class Caption:
    """The caption of a stretch of sound."""

    start: float  # seconds from the beginning of the file, or of the samples
    end: float
    text: str
    score: float  # log-probability, length-normalised: at most 0, higher is likelier
    alternatives: tuple[Alternative, ...]  # the n best, the caption itself first
    whole: bool = True  # whether this is the whole sound, not a window of it
    # The ten most probable tags, the most probable first; none where the checkpoint has no tags.
    tags: tuple[Tag, ...] = ()
    # Probability that the caption is right; None where the checkpoint was not calibrated.
    confidence: float | None = None
    # (space,), of length 1, to compare the stretch with sentences and other sounds; None for
    # silence, and where the checkpoint cannot compare.
    embedding: np.ndarray | None = field(default=None, compare=False, repr=False)
    # The events that it mentions, in its order; none where the model words no plan.
    events: tuple[CaptionEvent, ...] = ()

    def begun_at(self, start: float) -> "Caption":
        """The same caption that begins at another time, in seconds, and is as long as before."""
        return self.placed(start, start + self.end - self.start, whole=self.whole)

    def placed(self, start: float, end: float, *, whole: bool = False) -> "Caption":
        """The same caption for a stretch that begins and ends at other times, in seconds.

        Its events move along, and one that lasted to the end still does.
        """
        shift = start - self.start
        events = tuple(
            replace(
                event,
                start=event.start + shift,
                end=end if event.end >= self.end else min(event.end + shift, end),
            )
            for event in self.events
        )
        return replace(self, start=start, end=end, whole=whole, events=events)


@dataclass(frozen=True)
class Row:
    """One caption of one of many sounds, or the error of a sound that cannot be read."""

    file: str
    caption: Caption | None = None
    error: AudioError | None = None


@dataclass(frozen=True)
class Match:
    """The similarity of one of many sounds to a sentence, or the error of the sound."""

    file: str
    similarity: float | None = None  # from -1 to 1
    error: AudioError | None = None


def silent_caption(seconds: float, confidence: float) -> Caption:
    """The caption of a silent sound."""
    alternatives = (Alternative(SILENCE, 0.0),)
    return Caption(0.0, seconds, SILENCE, 0.0, alternatives, confidence=confidence)


def most_confident(captions: Iterable[Caption]) -> Caption:
    """The caption of the highest confidence, then of the highest score; the first of equal ones."""
    return max(captions, key=lambda caption: (caption.confidence or 0.0, caption.score))
