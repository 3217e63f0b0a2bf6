"""Results of captioning."""

from dataclasses import dataclass, field

import numpy as np

from auricle.errors import AudioError
from auricle.sound.container import Source

Sound = Source | np.ndarray


SILENCE = "Silence."


@dataclass(frozen=True)
class Tag:
    """A class of sounds, and how likely it is heard."""

    name: str
    probability: float


@dataclass(frozen=True)
class Alternative:
    """One of the sentences that a sound might be captioned with."""

    text: str
    score: float  # log-probability, length-normalised: at most 0, higher is likelier
    similarity: float | None = (
        None  # to the sound, from -1 to 1, where sentences are reranked by it
    )


@dataclass(frozen=True)
class Caption:
    """What is heard in a stretch of sound."""

    start: float  # seconds from the sound's beginning
    end: float
    text: str
    score: float  # log-probability, length-normalised: at most 0, higher is likelier
    alternatives: tuple[Alternative, ...]  # the n best, the caption itself first
    whole: bool = True  # of the whole sound, not of a window of it
    tags: tuple[
        Tag, ...
    ] = ()  # the likeliest 10, the likeliest first; none where the checkpoint hears no tags
    confidence: float | None = (
        None  # from 0 to 1, that the caption is right; None where the checkpoint was not calibrated
    )
    # (space,), of length 1, to compare the stretch with sentences and other sounds; None of silence, and where the checkpoint
    # cannot compare
    embedding: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Row:
    """One caption of one of many sounds, or why there is none."""

    file: str
    caption: Caption | None = None
    error: AudioError | None = None


@dataclass(frozen=True)
class Match:
    """How similar one of many sounds is to a sentence, or why that cannot be said."""

    file: str
    similarity: float | None = None  # from -1 to 1
    error: AudioError | None = None
