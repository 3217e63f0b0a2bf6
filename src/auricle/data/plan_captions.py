"""Selects captions by people for the training of the plan decoder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from auricle.checkpoint.vocabulary import STOP_WORDS, words
from auricle.data.plan_english import English
from auricle.data.plan_reading import JOINING, Reading, read_plan
from auricle.errors import AuricleError
from auricle.planning.classes import SoundClasses
from auricle.planning.language import SOURCES
from auricle.storage.csv_table import parse_table, read_text

FEWEST_SOURCE_WORDS, MOST_SOURCE_WORDS = 5, 16
SUPPORTING_CAPTIONS = 4  # a word of this number of captions of a class belongs to the class
COMMON_WORDS = 60  # the most frequent words may occur in a caption of any class
# Details that a plan does not contain.
_DETAILS = frozenset(
    "room street kitchen house park restaurant beach forest woods garage station office church "
    "hallway city town school home building yard field jungle bathroom indoors outdoors video "
    "camera recording someone's mic red blue green white black yellow old young elderly little "
    "tiny angry happy sad angrily happily morning evening day afternoon summer winter sunny movie "
    "tv television game foreign language english spanish french german".split()
)
# Words that only annotators use: a horn is "triggered", a noise "occurs".
_STIFF = frozenset("triggered present occur occurs occurring ongoing audible".split())
# Words that refer to something mentioned before.
_POINTING = frozenset("it they them it's i we you this that which who".split())
_REFUSED = _DETAILS | _STIFF | _POINTING
# Words of a second clause. In a caption of one event, no class explains this clause.
_SECOND_CLAUSE = frozenset("while as followed between along".split())
# Words that a noun phrase follows instead of a clause.
BEFORE_NOUN = ("with", "followed", "over")
# Stop words that may end a caption.
_LAST_WORDS = frozenset("by down up off out through over other it".split())
UNFINISHED = STOP_WORDS - _LAST_WORDS


@dataclass(frozen=True)
class SourcedCaption:
    """A caption and its source."""

    text: str
    source: int  # an index of SOURCES


@dataclass(frozen=True)
class SourcedReading:
    """The reading of a caption, and its source."""

    reading: Reading
    source: int  # an index of SOURCES


def read_caption_file(path: Path) -> list[SourcedCaption]:
    """Reads a CSV file with the columns caption and source.

    Raises:
        AuricleError: the file cannot be read, a column is missing, or a source is unknown.
    """
    table = parse_table(path, *read_text(path))
    if not {"caption", "source"} <= set(table.columns):
        raise AuricleError(f"{path}: expected the columns caption and source")
    caption_column, source_column = table.columns.index("caption"), table.columns.index("source")
    captions = []
    for line, cells in table.rows:
        if len(cells) != len(table.columns):
            raise AuricleError(
                f"{path}, line {line}: {len(cells)} fields, expected {len(table.columns)} as in "
                "the header"
            )
        if cells[source_column] not in SOURCES:
            raise AuricleError(
                f"{path}, line {line}: unknown source {cells[source_column]!r}: use one of "
                f"{', '.join(SOURCES)}"
            )
        captions.append(
            SourcedCaption(cells[caption_column].strip(), SOURCES.index(cells[source_column]))
        )
    return captions


def read_captions(
    captions: Sequence[SourcedCaption], classes: SoundClasses
) -> list[SourcedReading]:
    """Returns the readings of captions in good English that contain no more than a plan.

    Args:
        captions: captions by people.
        classes: all classes.
    """
    english = English([words(caption.text) for caption in captions])
    readings = []
    for caption in captions:
        reading = _read_caption(caption.text, classes, english)
        if reading is not None:
            readings.append(SourcedReading(reading, caption.source))
    return _without_foreign_words(readings, classes)


def _read_caption(caption: str, classes: SoundClasses, english: English) -> Reading | None:
    if not FEWEST_SOURCE_WORDS <= len(words(caption)) <= MOST_SOURCE_WORDS:
        return None
    reading = read_plan(caption, classes)
    if reading is None:
        return None
    caption_words = reading.caption_words
    if len(caption_words) < FEWEST_SOURCE_WORDS - 1 or caption_words[-1] in UNFINISHED:
        return None
    if not _REFUSED.isdisjoint(caption_words):
        return None
    if len(reading.events) == 1 and not _SECOND_CLAUSE.isdisjoint(caption_words):
        return None
    clauses = [without_joining(part) for part in reading.parts if part[0] not in BEFORE_NOUN]
    if not all(map(english.is_clause, clauses)) or not english.is_right(caption_words):
        return None
    return reading


def _without_foreign_words(
    readings: Sequence[SourcedReading], classes: SoundClasses
) -> list[SourcedReading]:
    """Drops captions with words that hardly occur elsewhere with their classes."""
    captions_with = Counter[str]()
    captions_of = Counter[tuple[int, str]]()  # by class and word
    for sourced in readings:
        # Uses a dict, because a set's random order would change the choice among equal counts.
        different_words = list(dict.fromkeys(sourced.reading.caption_words))
        captions_with.update(different_words)
        for index in _classes_of(sourced.reading):
            captions_of.update((index, word) for word in different_words)
    usual = STOP_WORDS | {word for word, _ in captions_with.most_common(COMMON_WORDS)}

    def is_known(word: str, reading: Reading) -> bool:
        return word in usual or any(
            captions_of[index, word] >= SUPPORTING_CAPTIONS
            or word in classes.classes[index].own_words
            for index in _classes_of(reading)
        )

    kept = []
    for sourced in readings:
        reading = sourced.reading
        mentioning = classes.mentioning_places(reading.caption_words)
        others = [
            word for place, word in enumerate(reading.caption_words) if place not in mentioning
        ]
        if all(is_known(word, reading) for word in others):
            kept.append(sourced)
    return kept


def _classes_of(reading: Reading) -> set[int]:
    return {index for event in reading.events for index in event.classes}


def without_joining(part: Sequence[str]) -> Sequence[str]:
    """Returns the words of an event without the words that join it to the event before."""
    start = next((place for place, word in enumerate(part) if word not in JOINING), len(part))
    return part[start:]
