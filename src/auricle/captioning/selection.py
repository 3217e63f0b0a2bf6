"""Selects the events of a sound: the plan that the decoder words.

    tags ────── scores ── likeliest, compatible ──┐
                                                  ├─> Selection: events, relation
    log-mel ── evidence: change, return, count, trend ──┘

A sound that changes is cut at the change, and the encoder hears each part anew: its frames of the
whole clip also hold the other part.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from auricle.captioning.evidence import (
    SILENT_PART_DECIBELS,
    STEP_SECONDS,
    Floats,
    Levels,
    band_levels,
    change_step,
    find_repetition,
    find_trend,
    level_difference,
    returning_share,
)
from auricle.checkpoint.config import SelectionConfig
from auricle.planning.classes import SoundClasses
from auricle.planning.plans import Plan, PlannedEvent, Relation, Repetition, Trend

HearTags = Callable[[Floats], Floats]  # (frames, mels) log-mel -> (classes,) probabilities

CONSIDERED_CLASSES = 30  # the second event is one of this many likeliest classes


@dataclass(frozen=True)
class SelectedEvent:
    """One source of sound. Times are in seconds from the start of the clip."""

    class_index: int
    probability: float  # of the class, from 0 to 1
    start: float
    end: float
    repetition: Repetition = Repetition.NONE
    trend: Trend = Trend.NONE


@dataclass(frozen=True)
class Selection:
    """The events that a caption must mention, in the order in which it mentions them."""

    events: tuple[SelectedEvent, ...]
    relation: Relation
    # How much likelier the first event is than the next class that is not related to it: the ratio
    # of their scores, at least 1.
    margin: float = 1.0

    @property
    def plan(self) -> Plan:
        """The same events as the decoder gets them."""
        events = (
            PlannedEvent(event.class_index, event.repetition, event.trend) for event in self.events
        )
        return Plan(tuple(events), self.relation)


@dataclass(frozen=True)
class HeardClip:
    """A clip as the selection gets it."""

    log_mel: Floats  # (frames, mels), the encoder's input
    power: Floats  # (frames, mels), the power of each mel band, without padding
    tags: Floats  # (classes,), probabilities
    frames_per_second: float
    seconds: float


class Selector:
    """Selects events from tags and from evidence in the spectrogram.

    Args:
        classes: facts about the classes.
        config: thresholds.
        hear_tags: the encoder, for parts of a clip.
    """

    def __init__(self, classes: SoundClasses, config: SelectionConfig, hear_tags: HearTags) -> None:
        self._classes, self._config, self._hear_tags = classes, config, hear_tags

    def select(self, clip: HeardClip) -> Selection:
        """Returns the events of a clip."""
        levels = band_levels(clip.power, clip.frames_per_second)
        scores = class_scores(clip.tags, self._classes)
        margin = self._margin(scores)
        if (ordered := self._order_in_time(clip, levels)) is not None:
            return Selection(ordered, Relation.THEN, margin)
        chosen = pick_classes(clip.tags, self._classes, self._config)
        if len(chosen) > 1:
            events = tuple(
                SelectedEvent(index, float(clip.tags[index]), 0.0, clip.seconds) for index in chosen
            )
            return Selection(events, Relation.WHILE, margin)
        only = chosen[0]
        # A count or a trend belongs to one source, so it is told only where the clip has no other.
        repetition, trend = Repetition.NONE, Trend.NONE
        if self._classes.repeats[only]:
            repetition = find_repetition(clip.power, clip.frames_per_second)
        if self._classes.moves[only]:
            trend = find_trend(levels)
        event = SelectedEvent(only, float(clip.tags[only]), 0.0, clip.seconds, repetition, trend)
        return Selection((event,), Relation.SINGLE, margin)

    def _margin(self, scores: Floats) -> float:
        """Returns the ratio of the best score and the best score of an unrelated class."""
        first = int(scores.argmax())
        others = scores[self._classes.compatible[first]]
        rival = float(others.max()) if len(others) else 0.0
        return max(1.0, float(scores[first]) / max(rival, 1e-6))

    def _order_in_time(self, clip: HeardClip, levels: Levels) -> tuple[SelectedEvent, ...] | None:
        """Returns the events of two parts, or None where the clip is not one and then another."""
        config = self._config
        step = change_step(levels)
        if step is None or level_difference(levels, step) > SILENT_PART_DECIBELS:
            return None
        if returning_share(levels, step) >= config.return_share:
            return None
        change_seconds = step * STEP_SECONDS
        frame = round(change_seconds * clip.frames_per_second)
        parts = self._hear_tags(clip.log_mel[:frame]), self._hear_tags(clip.log_mel[frame:])
        before, after = (class_scores(part, self._classes) for part in parts)
        first, second = int(before.argmax()), int(after.argmax())
        sure = min(before[first], after[second]) >= config.part_score
        apart = (
            after[first] <= config.other_part_share * before[first]
            and before[second] <= config.other_part_share * after[second]
        )
        if not (sure and apart and self._classes.compatible[first, second]):
            return None
        return (
            SelectedEvent(first, float(parts[0][first]), 0.0, change_seconds),
            SelectedEvent(second, float(parts[1][second]), change_seconds, clip.seconds),
        )


def class_scores(tags: Floats, classes: SoundClasses) -> Floats:
    """Returns the score of each class, (classes,): generic classes count for less."""
    return tags * classes.weights


def pick_classes(tags: Floats, classes: SoundClasses, config: SelectionConfig) -> list[int]:
    """Returns the class of the best score and, where one scores enough, a class heard with it.

    Args:
        tags: (classes,), probabilities.
        classes: which classes can be told apart when they sound together.
        config: the share and the probability that a second class needs.
    """
    scores = class_scores(tags, classes)
    order = np.argsort(-scores, kind="stable")[:CONSIDERED_CLASSES]
    first = int(order[0])
    for second in order[1:]:
        if scores[second] < config.second_share * scores[first]:
            break
        if tags[second] >= config.second_probability and classes.distinct[first, second]:
            return [first, int(second)]
    return [first]
