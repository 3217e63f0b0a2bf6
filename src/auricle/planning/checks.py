"""Checks whether a caption tells its plan, and nothing beyond it."""

from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum

from auricle.planning.classes import SoundClasses, stem
from auricle.planning.plans import (
    COUNTS,
    JOINING_WORDS,
    ORDER,
    PEOPLE,
    TRENDS,
    Plan,
    Relation,
    forbidden_words,
    own_words,
)


def is_faithful(
    caption_words: Sequence[str],
    plan: Plan,
    classes: SoundClasses,
    usual_words: Collection[str] = (),
) -> bool:
    """Returns whether a caption tells its plan: all events in order, and nothing beyond them.

    Args:
        caption_words: the words of the caption.
        plan: its plan.
        classes: all classes.
        usual_words: words that captions of the plan's classes often hold, besides our own texts.
    """
    if not mentions_all(caption_words, plan, classes) or not tells_marks(caption_words, plan):
        return False
    if not forbidden_words(plan, classes).isdisjoint(caption_words):
        return False
    if tells_twice(caption_words, plan, classes):
        return False
    return not invented(caption_words, plan, classes, own_words(plan, classes).union(usual_words))


def mentions_all(caption_words: Sequence[str], plan: Plan, classes: SoundClasses) -> bool:
    """Returns whether a caption mentions every event, in order if the plan has an order."""
    starts: list[int] = []
    for index in plan.class_indices:
        start = classes.classes[index].find_mention(caption_words)
        if start is None:
            return False
        starts.append(start)
    return plan.relation is not Relation.THEN or starts == sorted(starts)


def tells_marks(caption_words: Sequence[str], plan: Plan) -> bool:
    """Returns whether a caption tells the order, repetitions and trends of its plan."""
    text = f" {' '.join(caption_words)} "

    def tells(phrases: Mapping[str, IntEnum], value: IntEnum) -> bool:
        return any(f" {phrase} " in text for phrase, meaning in phrases.items() if meaning == value)

    if plan.relation is Relation.THEN and not tells(ORDER, Relation.THEN):
        return False
    for event in plan.events:
        if event.repetition and not tells(COUNTS, event.repetition):
            return False
        if event.trend and not tells(TRENDS, event.trend):
            return False
    return True


def tells_twice(caption_words: Sequence[str], plan: Plan, classes: SoundClasses) -> bool:
    """Returns whether two clauses tell a single event: "an infant is crying and a baby cries"."""
    if len(plan.events) != 1:
        return False
    find = classes.classes[plan.class_indices[0]].find_mention
    return any(
        find(caption_words[:place]) is not None and find(caption_words[place + 1 :]) is not None
        for place, word in enumerate(caption_words)
        if word in JOINING_WORDS
    )


def invented(
    caption_words: Sequence[str],
    plan: Plan,
    classes: SoundClasses,
    known_words: Collection[str] = (),
) -> list[str]:
    """Returns phrases that mention classes beyond the plan, and people that the plan lacks.

    An ancestor of a planned class is not invented; a more specific class is.

    Args:
        caption_words: the words of the caption.
        plan: its plan.
        classes: all classes.
        known_words: words that belong to the plan's classes, such as those of our own texts.
    """
    allowed = set(plan.class_indices).union(
        *(classes.ancestors[index] for index in plan.class_indices)
    )
    known_stems = set(map(stem, known_words))
    phrases = []
    for mention in classes.mentions(caption_words):
        phrase = caption_words[mention.start : mention.end]
        if (
            allowed.isdisjoint(mention.places)
            and not known_stems.issuperset(map(stem, phrase))
            and not PEOPLE.issuperset(phrase)
        ):
            phrases.append(" ".join(phrase))
    if PEOPLE.isdisjoint(known_words):
        phrases += [word for word in caption_words if word in PEOPLE]
    return phrases
