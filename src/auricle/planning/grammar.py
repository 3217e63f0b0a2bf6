"""Captions of a plan by grammar, which need no decoder."""

import random
import re
from functools import cache

from auricle.checkpoint.vocabulary import words
from auricle.planning.classes import SoundClass, SoundClasses
from auricle.planning.plans import Plan, PlannedEvent, Relation, Repetition, Trend

# Phrases that follow a clause, the plainest first. They fit singular and plural subjects alike.
COUNT_PHRASES = {
    Repetition.ONCE: ("once",),
    Repetition.TWICE: ("twice",),
    Repetition.SEVERAL: (
        "several times",
        "again and again",
        "repeatedly",
        "a few times",
        "many times",
    ),
    Repetition.CONTINUOUS: ("continuously", "without stopping", "without a pause"),
}
TREND_PHRASES = {
    Trend.APPROACHING: ("getting closer", "coming closer", "growing louder", "getting louder"),
    Trend.FADING: (
        "fading into the distance",
        "growing fainter",
        "moving away into the distance",
    ),
}
# A comma stands before these phrases.
LOOSE_PHRASES = (
    *(phrase for phrases in TREND_PHRASES.values() for phrase in phrases),
    "followed by",
)
_PAUSE = re.compile(rf"(?<=\w) (?=(?:{'|'.join(LOOSE_PHRASES)})(?: |$))")


# That a sound can be heard goes without saying, and a plan does not tell its distance. These words
# stand only in names such as "a can".
FILLER_WORDS = frozenset("can microphone close nearby somewhere".split())


def filler_words(entry: SoundClass) -> frozenset[str]:
    """Returns the words that say nothing in captions of a class."""
    return FILLER_WORDS.difference(words(f"{entry.clause} {entry.noun}"))


@cache
def plain_sentences(entry: SoundClass) -> tuple[str, ...]:
    """Returns our sentences for a class without fillers; its clause if all have some."""
    fillers = filler_words(entry)
    found = tuple(text for text in entry.sentences if fillers.isdisjoint(words(text)))
    return found or (entry.clause,)


def template(plan: Plan, classes: SoundClasses) -> str:
    """Returns the plainest caption of a plan, in lower case without punctuation."""
    clauses = [marked_clause(event, classes) for event in plan.events]
    if plan.relation is Relation.THEN:
        return plain(" and then ".join(clauses))
    if len(clauses) == 1:
        return plain(clauses[0])
    return plain(f"{clauses[0]} while {' and '.join(clauses[1:])}")


def plain_captions(plan: Plan, classes: SoundClasses) -> list[str]:
    """Returns captions without a decoder: our sentences for a single class, else the template."""
    event = plan.events[0]
    if len(plan.events) > 1 or event.repetition or event.trend:
        return [template(plan, classes)]
    return [plain(text) for text in plain_sentences(classes.classes[event.class_index])]


def marked_clause(
    event: PlannedEvent, classes: SoundClasses, rng: random.Random | None = None
) -> str:
    """Returns the clause of an event's class with its repetition and trend; see `marked`."""
    return marked(classes.classes[event.class_index].clause, event, rng)


def marked(clause: str, event: PlannedEvent, rng: random.Random | None = None) -> str:
    """Returns a clause with the repetition and trend of its event.

    Args:
        clause: the clause.
        event: its event.
        rng: chooses the phrases; None: the plainest ones.
    """
    parts = [clause]
    if event.repetition:
        phrases = COUNT_PHRASES[event.repetition]
        parts.append(rng.choice(phrases) if rng else phrases[0])
    if event.trend:
        phrases = TREND_PHRASES[event.trend]
        parts.append(rng.choice(phrases) if rng else phrases[0])
    return " ".join(parts)


def punctuated(text: str) -> str:
    """Returns a caption with commas before loose ends: "a car drives by, getting closer"."""
    return _PAUSE.sub(", ", text)


def plain(text: str) -> str:
    """Returns the words of a text, in lower case without punctuation."""
    return " ".join(words(text))
