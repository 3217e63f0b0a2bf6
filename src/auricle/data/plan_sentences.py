"""Draws random plans, and varied captions of them by grammar, to train the plan decoder."""

import random
from collections.abc import Sequence
from functools import cache

from auricle.checkpoint.vocabulary import words
from auricle.planning.classes import SoundClass, SoundClasses
from auricle.planning.grammar import (
    COUNT_PHRASES,
    TREND_PHRASES,
    marked_clause,
    plain,
    plain_sentences,
    template,
)
from auricle.planning.language import LENGTHS
from auricle.planning.plans import Plan, PlannedEvent, Relation, Repetition, Trend

MOST_COMPOSED_WORDS = LENGTHS[-1]
MOST_WORDS_IN_PAIR = 9  # the longest sentence of ours in a caption of two events
MOST_DRAWS = 6  # tries to draw a caption that is short enough
MOST_COMPANION_DRAWS = 50  # tries to draw compatible companions
# No form says that a sound can be heard, because every caption implies it.
# {first} and {second} are clauses or sentences; {first_noun} and {second_noun} are noun phrases.
_WHILE = ("{first} while {second}", "{first} as {second}", "{first} and {second}")
_WITH = (
    "{first} with {second_noun}",
    "{first_noun} and {second_noun} are heard together",
)
_THEN = (
    "{first} and then {second}",
    "{first} then {second}",
    "{first} before {second}",
    "{first} and then {second}",
)
_FOLLOWED = (
    "{first} followed by {second_noun}",
    "{first_noun} is followed by {second_noun}",
)
_BEARING_TREND = (
    "{clause}",
    "{clause}",
    "the sound of {noun} {phrase}",
)
_COUNTED = (
    "{clause}",
    "{clause}",
    "{noun} is heard {phrase}",
)
# Sentences that begin with or contain such words are not used in a longer caption.
_NOT_FIRST = frozenset("in from with there on as at while".split())
_NOT_WITHIN = frozenset("while as and with".split())


def draw_plan(classes: SoundClasses, common: Sequence[int], rng: random.Random) -> Plan:
    """Returns a random plan: one event with probability 0.4, two with 0.55, three with 0.05.

    Args:
        classes: all classes.
        common: classes that often occur with others. Half of the companions are drawn from them.
        rng: draws.
    """
    count = rng.choices((1, 2, 3), (0.4, 0.55, 0.05))[0]
    chosen = [rng.choice(classes.usable)]
    for _ in range(MOST_COMPANION_DRAWS):
        if len(chosen) == count:
            break
        other = rng.choice(common if common and rng.random() < 0.5 else classes.usable)
        if all(classes.compatible[other, index] for index in chosen):
            chosen.append(other)
    if rng.random() < 0.5:
        chosen.reverse()
    relation = Relation.SINGLE
    if len(chosen) > 1:
        relation = Relation.THEN if rng.random() < 0.35 else Relation.WHILE
    return Plan(tuple(draw_event(index, classes, rng) for index in chosen), relation)


def draw_event(class_index: int, classes: SoundClasses, rng: random.Random) -> PlannedEvent:
    """Returns an event of a class, with a random repetition or trend if the class allows it."""
    entry = classes.classes[class_index]
    repetition, trend = Repetition.NONE, Trend.NONE
    if entry.repeats and rng.random() < 0.4:
        # SEVERAL is twice as likely as each of the others.
        repetition = rng.choice((*tuple(Repetition)[1:], Repetition.SEVERAL))
    if entry.moves and not repetition and rng.random() < 0.3:
        trend = rng.choice((Trend.APPROACHING, Trend.FADING))
    return PlannedEvent(class_index, repetition, trend)


def compose(plan: Plan, classes: SoundClasses, rng: random.Random) -> str:
    """Returns a random caption of a plan, with at most 16 words if its clauses allow it."""
    for _ in range(MOST_DRAWS):
        text = plain(_compose(plan, classes, rng))
        if len(text.split()) <= MOST_COMPOSED_WORDS:
            return text
    return template(plan, classes)


def class_words(classes: SoundClasses) -> set[str]:
    """Returns all words of our captions: those of the texts for the classes and of the grammar."""
    return _grammar_words().union(*(entry.own_words for entry in classes.classes))


def _grammar_words() -> set[str]:
    """Returns the words that the grammar adds to our texts."""
    phrases = [
        phrase
        for table in (COUNT_PHRASES, TREND_PHRASES)
        for choices in table.values()
        for phrase in choices
    ]
    names = dict.fromkeys(
        ("first", "second", "first_noun", "second_noun", "clause", "noun", "phrase"), ""
    )
    forms = (*_WHILE, *_WITH, *_THEN, *_FOLLOWED, *_BEARING_TREND, *_COUNTED)
    return {
        word
        for text in (*phrases, *(form.format(**names) for form in forms))
        for word in words(text)
    }


def _compose(plan: Plan, classes: SoundClasses, rng: random.Random) -> str:
    events = plan.events
    if len(events) == 1:
        return _compose_single(events[0], classes, rng)
    is_bare = [not event.repetition and not event.trend for event in events]
    is_while = plan.relation is Relation.WHILE
    forms = list(_WHILE * 2 if is_while else _THEN)
    if is_bare[1]:
        with_nouns = _WITH if is_while else _FOLLOWED
        forms += [form for form in with_nouns if is_bare[0] or "{first_noun}" not in form]
    text = rng.choice(forms).format(
        first=rng.choice(_clauses(events[0], classes, rng)),
        second=rng.choice(_clauses(events[1], classes, rng)),
        first_noun=classes.classes[events[0].class_index].noun,
        second_noun=classes.classes[events[1].class_index].noun,
    )
    for event in events[2:]:
        text += f" {'and' if is_while else 'and then'} {marked_clause(event, classes, rng)}"
    return text


def _compose_single(event: PlannedEvent, classes: SoundClasses, rng: random.Random) -> str:
    entry = classes.classes[event.class_index]
    if not event.repetition and not event.trend:
        return rng.choice((*plain_sentences(entry), entry.clause))
    clause = marked_clause(event, classes, rng)
    if event.repetition and event.trend:
        return clause
    if event.trend:
        forms, phrases = _BEARING_TREND, TREND_PHRASES[event.trend]
    else:
        forms, phrases = _COUNTED, COUNT_PHRASES[event.repetition]
    return rng.choice(forms).format(clause=clause, noun=entry.noun, phrase=rng.choice(phrases))


def _clauses(event: PlannedEvent, classes: SoundClasses, rng: random.Random) -> Sequence[str]:
    """Returns the clause of an event and, without marks, a short sentence of its class."""
    clause = marked_clause(event, classes, rng)
    if event.repetition or event.trend:
        return (clause,)
    short = _short_sentences(classes.classes[event.class_index])
    return (clause, clause, rng.choice(short)) if short else (clause,)


@cache
def _short_sentences(entry: SoundClass) -> tuple[str, ...]:
    """Returns the sentences of a class that fit into a longer caption."""
    return tuple(text for text in plain_sentences(entry) if _fits_pair(words(text)))


def _fits_pair(sentence_words: Sequence[str]) -> bool:
    """Returns whether a sentence fits into a longer caption."""
    return (
        len(sentence_words) <= MOST_WORDS_IN_PAIR
        and sentence_words[0] not in _NOT_FIRST
        and _NOT_WITHIN.isdisjoint(sentence_words)
    )
