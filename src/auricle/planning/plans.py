"""Plans: the events that a caption must mention, their order, repetition and trend in loudness.

Bark (twice) while Car (approaching) -> "a dog barks twice while a car approaches"
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from auricle.planning.classes import SoundClasses


class Repetition(IntEnum):
    """How often a sound occurs; NONE: the plan does not tell."""

    NONE = 0
    ONCE = 1
    TWICE = 2
    SEVERAL = 3
    CONTINUOUS = 4


class Trend(IntEnum):
    """How the loudness of a sound develops; NONE: the plan does not tell."""

    NONE = 0
    APPROACHING = 1
    FADING = 2


class Relation(IntEnum):
    """How the events of a plan lie in time."""

    SINGLE = 0
    WHILE = 1
    THEN = 2


@dataclass(frozen=True)
class PlannedEvent:
    """One event of a caption."""

    class_index: int
    repetition: Repetition = Repetition.NONE
    trend: Trend = Trend.NONE


@dataclass(frozen=True)
class Plan:
    """The content of a caption: one to three events in order."""

    events: tuple[PlannedEvent, ...]
    relation: Relation = Relation.SINGLE

    @property
    def class_indices(self) -> list[int]:
        """The class of each event."""
        return [event.class_index for event in self.events]


MOST_EVENTS = 3


def plan_arrays(plan: Plan, manner: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a plan as the inputs of the plan decoder.

    Args:
        plan: the plan.
        manner: from `Language.manner`.

    Returns:
        (1, events, 3) int64: class, repetition and trend of each event; and (1, 2) int64: relation
        and manner.
    """
    events = [(event.class_index, event.repetition, event.trend) for event in plan.events]
    return np.array([events], np.int64), np.array([[plan.relation, manner]], np.int64)


# Words of order, count and trend. A caption may hold them only if its plan says so.
ORDER = {"then": Relation.THEN, "followed by": Relation.THEN, "before": Relation.THEN}
# By relation, the words that tell it. Only one of several events at a time is in the background.
RELATION_WORDS = {
    Relation.WHILE: frozenset({"background"}),
    Relation.THEN: frozenset({"then", "followed", "before"}),
}
# They join the clauses of a caption.
JOINING_WORDS = frozenset({"and", "as", "while"})
COUNTS = {
    "once": Repetition.ONCE,
    "one time": Repetition.ONCE,
    "twice": Repetition.TWICE,
    "two times": Repetition.TWICE,
    "several times": Repetition.SEVERAL,
    "a few times": Repetition.SEVERAL,
    "many times": Repetition.SEVERAL,
    "multiple times": Repetition.SEVERAL,
    "a number of times": Repetition.SEVERAL,
    "three times": Repetition.SEVERAL,
    "repeatedly": Repetition.SEVERAL,
    "again and again": Repetition.SEVERAL,
    "over and over": Repetition.SEVERAL,
    "over and over again": Repetition.SEVERAL,
    "in succession": Repetition.SEVERAL,
    "in quick succession": Repetition.SEVERAL,
    "in rapid succession": Repetition.SEVERAL,
    "continuously": Repetition.CONTINUOUS,
    "constantly": Repetition.CONTINUOUS,
    "nonstop": Repetition.CONTINUOUS,
    "without stopping": Repetition.CONTINUOUS,
    "without a pause": Repetition.CONTINUOUS,
}
TRENDS = {
    "approaches": Trend.APPROACHING,
    "approach": Trend.APPROACHING,
    "approaching": Trend.APPROACHING,
    "is getting closer": Trend.APPROACHING,
    "gets closer": Trend.APPROACHING,
    "getting closer": Trend.APPROACHING,
    "comes closer": Trend.APPROACHING,
    "coming closer": Trend.APPROACHING,
    "draws closer": Trend.APPROACHING,
    "closer and closer": Trend.APPROACHING,
    "gets louder": Trend.APPROACHING,
    "getting louder": Trend.APPROACHING,
    "growing louder": Trend.APPROACHING,
    "grows louder": Trend.APPROACHING,
    "louder and louder": Trend.APPROACHING,
    "fades": Trend.FADING,
    "fades away": Trend.FADING,
    "fades out": Trend.FADING,
    "fade away": Trend.FADING,
    "fading": Trend.FADING,
    "fading away": Trend.FADING,
    "fades into the distance": Trend.FADING,
    "moves away": Trend.FADING,
    "moving away": Trend.FADING,
    "drives away": Trend.FADING,
    "driving away": Trend.FADING,
    "into the distance": Trend.FADING,
    "gets quieter": Trend.FADING,
    "getting quieter": Trend.FADING,
    "grows quieter": Trend.FADING,
    "grows fainter": Trend.FADING,
    "growing fainter": Trend.FADING,
}
# Each of these words tells something of relation, count or trend by itself.
TIME_WORDS = frozenset(
    "then before followed after afterwards afterward later next finally eventually until till "
    "begin begins starts start starting beginning started began stops stop stopping stopped "
    "ends ending first last initially subsequently suddenly end when once twice time times "
    "repeatedly repeated repeating repetitive repetitively again succession successive series "
    "continuously continuous continues continue continuing constantly constant nonstop non-stop "
    "intermittently intermittent occasionally occasional periodically sometimes sporadically "
    "sporadic single few several two three four five six seven eight nine ten multiple couple "
    "regular intervals interval approaches approach approaching approached closer nearer louder "
    "quieter softer fainter fade fades faded fading away recede recedes receding increase "
    "increases increasing increasingly decrease decreases decreasing gradually slower "
    "faster background".split()
)
# People are no event by themselves.
PEOPLE = frozenset(
    "man men woman women person persons people someone somebody child children kid kids boy boys "
    "girl girls baby infant lady ladies guy guys male males female females adult adults group "
    "crowd audience toddler toddlers teenager human humans".split()
)


def plan_words(plan: Plan) -> frozenset[str]:
    """Returns the words of relation, count and trend that a caption of this plan may hold."""
    allowed = set(RELATION_WORDS.get(plan.relation, ()))
    for event in plan.events:
        counts = [phrase for phrase, value in COUNTS.items() if value == event.repetition]
        trends = [phrase for phrase, value in TRENDS.items() if value == event.trend]
        allowed.update(word for phrase in (*counts, *trends) for word in phrase.split())
    return frozenset(allowed)


def forbidden_words(plan: Plan, classes: SoundClasses) -> frozenset[str]:
    """Returns the words of relation, count and trend that a caption of this plan must not hold.

    Words of our own texts for the plan's classes are allowed: a clock has a regular tick.
    """
    return TIME_WORDS - plan_words(plan) - own_words(plan, classes)


def own_words(plan: Plan, classes: SoundClasses) -> frozenset[str]:
    """Returns the words of our own texts for the classes of a plan."""
    return frozenset().union(*(classes.classes[index].own_words for index in plan.class_indices))
