"""Reads plans from captions that people wrote.

Reading uses exact words, never similarity. A caption with an uncertain plan gets no plan.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise

from auricle.checkpoint.vocabulary import words
from auricle.data.plan_events import FoundEvent, find_events
from auricle.planning.classes import SoundClasses
from auricle.planning.plans import COUNTS, ORDER, TIME_WORDS, TRENDS, Relation, Repetition, Trend

# Words that join two events.
JOINING = frozenset("while as with and over then before followed".split())
# Between an event and its mark, one of these words begins a new clause.
_NEW_CLAUSE = frozenset("and while as with then".split())
# Remarks on the distance of a sound. A plan does not contain it.
_DISTANCE = re.compile(
    r",? (?:(?:off |far )?(?:in|into|from|at) (?:the |a )?"
    r"(?:far |near |nearby |immediate )?(?:off )?(?:distance|foreground|vicinity)|far away|"
    r"far off|close by|close up|up close|nearby|from afar|in close proximity)(?= |$)"
)
_BACKGROUND = re.compile(r",? (?:in|on) the (?:far )?background(?= |$)")

# Words for the number, gender and age of people.
MANY_PEOPLE_WORDS = frozenset(
    "people men women children kids boys girls crowd crowds group groups others each both two "
    "three four several couple conversation conversations conversing audience ladies guys males "
    "females adults voices they their them converse converses chat chats chatting discuss "
    "discussing another among amongst persons everyone many".split()
)
_LARGE_CROWD_WORDS = frozenset("crowd crowds many everyone large".split())
_NUMBERS = frozenset("two three four several couple multiple".split())
_MALE_WORDS = frozenset("man men male males guy guys gentleman he him his man's men's".split())
_FEMALE_WORDS = frozenset(
    "woman women female females lady ladies she her hers woman's women's".split()
)
_YOUNG_WORDS = frozenset(
    "child children kid kids boy boys girl girls toddler toddlers teenager baby babies "
    "infant".split()
)
_YOUNG_CLASS = re.compile("Child|Baby|Kid")
_NEUTRAL_FORMS = (
    ("person", "man woman lady guy male female gentleman"),
    ("people", "men women ladies guys males females"),
    ("their", "his her"),
    ("someone", "he she"),
    ("them", "him"),
    ("person's", "man's woman's"),
)
_NEUTRAL = {word: neutral for neutral, forms in _NEUTRAL_FORMS for word in forms.split()}
_ONE_PERSON_CLASSES = (
    "Speech",
    "Male speech, man speaking",
    "Female speech, woman speaking",
    "Child speech, kid speaking",
    "Narration, monologue",
)
_CONVERSATION_CLASS = "Conversation"
_CROWD_CLASSES = ("Chatter", "Crowd", "Hubbub, speech noise, speech babble")


@dataclass(frozen=True)
class ReadEvent:
    """An event of a caption."""

    classes: Mapping[int, float]  # classes that its words may mean, with weights
    repetition: Repetition = Repetition.NONE
    trend: Trend = Trend.NONE


@dataclass(frozen=True)
class Reading:
    """A caption and its plan, except for the choice of one class for each event."""

    caption_words: tuple[str, ...]
    events: tuple[ReadEvent, ...]
    relation: Relation
    # The place of the word that joins two events; the number of words if there is one event.
    cut: int

    @property
    def parts(self) -> tuple[tuple[str, ...], ...]:
        """The words that describe each event."""
        parts = (self.caption_words[: self.cut], self.caption_words[self.cut :])
        return parts[: len(self.events)]


def read_plan(caption: str, classes: SoundClasses) -> Reading | None:
    """Returns the plan of a caption; None if it is uncertain."""
    text = _DISTANCE.sub("", " ".join(words(caption)))
    found = find_events(text.split(), classes)
    if len(found) == 1:
        text = _BACKGROUND.sub("", text)
        found = find_events(text.split(), classes)
    if not 1 <= len(found) <= 2:
        return None
    caption_words = text.split()
    relation = _read_relation(caption_words, found)
    if relation is None:
        return None
    events = _read_marks(caption_words, found, classes)
    if events is None:
        return None
    cut = _find_cut(caption_words, found)
    return _limit_people(Reading(tuple(caption_words), tuple(events), relation, cut), classes)


def _read_relation(caption_words: Sequence[str], found: Sequence[FoundEvent]) -> Relation | None:
    """Returns the relation of the events; None if it is uncertain."""
    text = f" {' '.join(caption_words)} "
    phrases = [phrase for phrase in ORDER if f" {phrase} " in text]
    if len(found) == 1:
        return None if phrases else Relation.SINGLE
    between = caption_words[found[0].end : found[1].start]
    if not phrases:
        return Relation.WHILE if JOINING.intersection(between) else None
    text_between = f" {' '.join(between)} "
    joins = any(f" {phrase} " in text_between for phrase in phrases)
    is_only_one = sum(text.count(f" {phrase} ") for phrase in phrases) == 1
    return Relation.THEN if joins and is_only_one else None


def _find_cut(caption_words: Sequence[str], found: Sequence[FoundEvent]) -> int:
    """Returns the place where the second event's words begin."""
    if len(found) == 1:
        return len(caption_words)
    between = range(found[0].end, found[1].start)
    return next(place for place in between if caption_words[place] in JOINING)


def _read_marks(
    caption_words: Sequence[str], found: Sequence[FoundEvent], classes: SoundClasses
) -> list[ReadEvent] | None:
    """Returns the events with repetition and trend; None if a word of time is not understood.

    An event that repeats or moves has only candidate classes that can do so.
    """
    understood = classes.mentioning_places(caption_words)
    for event in found:
        understood |= set(range(event.start, event.end))
    repetitions = _assign_marks(caption_words, found, COUNTS, understood)
    trends = _assign_marks(caption_words, found, TRENDS, understood)
    if repetitions is None or trends is None:
        return None
    if not _understands_time(caption_words, understood):
        return None
    events = []
    for index, event in enumerate(found):
        repetition = Repetition(repetitions.get(index, 0))
        trend = Trend(trends.get(index, 0))
        candidates = {
            number: weight
            for number, weight in event.classes.items()
            if (not repetition or classes.repeats[number]) and (not trend or classes.moves[number])
        }
        if not candidates:
            return None
        events.append(ReadEvent(candidates, repetition, trend))
    return events


def _assign_marks(
    caption_words: Sequence[str],
    found: Sequence[FoundEvent],
    phrases: Mapping[str, IntEnum],
    understood: set[int],
) -> dict[int, IntEnum] | None:
    """Returns the marks by the index of their event; None if an event is uncertain.

    A mark belongs to the event before it. Adds the places of its words to `understood`.
    """
    marks: dict[int, IntEnum] = {}
    text = f" {' '.join(caption_words)} "
    for phrase in sorted(phrases, key=len, reverse=True):
        if f" {phrase} " not in text:
            continue
        parts = phrase.split()
        for start in range(len(caption_words) - len(parts) + 1):
            places = set(range(start, start + len(parts)))
            if list(caption_words[start : start + len(parts)]) != parts or understood & places:
                continue
            if phrase == "once" and start and caption_words[start - 1] == "at":
                return None
            before = [index for index, event in enumerate(found) if event.start < start]
            if not before or before[-1] in marks:
                return None
            owner = before[-1]
            if _NEW_CLAUSE.intersection(caption_words[found[owner].end : start]):
                return None
            marks[owner] = phrases[phrase]
            understood |= places
    return marks


def _understands_time(caption_words: Sequence[str], understood: set[int]) -> bool:
    """Returns whether every word of time is understood, here or by other functions."""
    # `_read_relation` reads words of order, and `_limit_people` reads numbers of people.
    elsewhere = {"then", "before"} | MANY_PEOPLE_WORDS
    if " followed by " in f" {' '.join(caption_words)} ":
        elsewhere.add("followed")
    return all(
        place in understood or word in elsewhere
        for place, word in enumerate(caption_words)
        if word in TIME_WORDS
    )


def _limit_people(reading: Reading, classes: SoundClasses) -> Reading | None:
    """Returns a reading without a number, gender or age of people that its classes do not have.

    Speech of several people always becomes a conversation or a crowd.
    """
    caption_words: list[str] = []
    events = []
    for event, part in zip(reading.events, reading.parts, strict=True):
        told = set(_without_counts(part))
        event = _speakers(event, told, classes)
        names = [classes.names[index] for index in event.classes]
        if not _NUMBERS.isdisjoint(told) and _CONVERSATION_CLASS not in names:
            return None
        if not _YOUNG_WORDS.isdisjoint(told) and not any(map(_YOUNG_CLASS.search, names)):
            return None
        unknown: set[str] = set()
        for gender, prefix in ((_MALE_WORDS, "Male"), (_FEMALE_WORDS, "Female")):
            if not any(name.startswith(prefix) for name in names):
                unknown |= gender
        caption_words += [_NEUTRAL.get(word, word) if word in unknown else word for word in part]
        events.append(event)
    if any(first == second for first, second in pairwise(caption_words)):
        return None
    return replace(reading, caption_words=tuple(caption_words), events=tuple(events))


def _speakers(event: ReadEvent, told: set[str], classes: SoundClasses) -> ReadEvent:
    """Replaces the speech of one person by a conversation or crowd if the words mean several."""
    one_person = {classes.indices[name] for name in _ONE_PERSON_CLASSES}
    if MANY_PEOPLE_WORDS.isdisjoint(told) or one_person.isdisjoint(event.classes):
        return event
    is_large = not _LARGE_CROWD_WORDS.isdisjoint(told)
    names = _CROWD_CLASSES if is_large else (_CONVERSATION_CLASS,)
    indices = sorted(classes.indices[name] for name in names)
    return replace(event, classes=dict.fromkeys(indices, 1.0))


def _without_counts(part: Sequence[str]) -> list[str]:
    """Returns words without counts of a sound: "several times" does not mean several people."""
    text = f" {' '.join(part)} "
    for phrase in COUNTS:
        text = text.replace(f" {phrase} ", " ")
    return text.split()
