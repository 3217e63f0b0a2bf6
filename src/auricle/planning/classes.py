"""Our English for the classes of sounds, and the classes that the words of a caption mention."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from auricle.checkpoint.vocabulary import words
from auricle.errors import AuricleError
from auricle.storage.files import written_whole

# A checkpoint may be a stranger's, so its file must stay within these limits.
MOST_CLASSES = 10_000
MOST_CLASSES_BYTES = 1 << 24
MOST_TEXT_CHARACTERS = 300
MOST_TEXTS = 200  # in one list of a class
STEM_ENDINGS = ("ing", "ed", "es", "s", "e")
SHORTEST_STEM = 3  # characters


@dataclass(frozen=True)
class SoundClass:
    """Our English for one class."""

    name: str
    clause: str  # a complete main clause: "a dog barks"
    noun: str  # a noun phrase: "a barking dog"
    label: str  # for subtitles: "dog barking"
    words: tuple[str, ...]  # each of these words or phrases in a caption mentions the class
    parents: tuple[str, ...]  # names of more general classes for the same sound
    specific: float  # 0: never in a caption; about 0.3: says little; 1: a normal class
    repeats: bool  # a short, countable sound
    moves: bool  # may approach, or fade into the distance
    sentences: tuple[str, ...]  # captions in which this class is the only event
    # A steady noise, as of rain or an engine. Two of them together sound like one.
    noise: bool = False
    near: tuple[str, ...] = ()  # names of classes that must not stand in one caption with this one
    # Names of classes of which one must back this one. Empty for AudioSet's classes, which the tag
    # head knows by itself. Only training reads it: `SoundClasses.save` leaves it out.
    support: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def own_words(self) -> frozenset[str]:
        """The words of our texts for the class."""
        texts = (self.clause, self.noun, *self.sentences)
        return frozenset(word for text in texts for word in words(text))

    @cached_property
    def own_stems(self) -> frozenset[str]:
        """The stems of the words of our texts for the class."""
        return frozenset(map(stem, self.own_words))

    @cached_property
    def phrases(self) -> dict[tuple[str, ...], int]:
        """The phrases that mention the class, each as its words, and their places in the list."""
        places: dict[tuple[str, ...], int] = {}
        for place, phrase in enumerate(self.words):
            places.setdefault(tuple(words(phrase)), place)
        return places

    def find_mention(self, caption_words: Sequence[str]) -> int | None:
        """Returns the index of the first word of a caption that mentions the class, if any."""
        longest = max(map(len, self.phrases))
        for start in range(len(caption_words)):
            for end in range(start + 1, start + longest + 1):
                if tuple(caption_words[start:end]) in self.phrases:
                    return start
        return None


@dataclass(frozen=True)
class Mention:
    """A phrase of a caption that mentions classes."""

    start: int  # index of its first word
    end: int  # index of the word after its last
    places: Mapping[int, int]  # class index -> the phrase's place in that class's list


@dataclass(frozen=True)
class SoundClasses:
    """All classes, by index."""

    classes: tuple[SoundClass, ...]

    @classmethod
    def read_toml(cls, path: Path) -> "SoundClasses":
        """Reads the source file: one table for each class, in the order of the classes.

        Raises:
            AuricleError: the file cannot be read, or a table is wrong.
        """
        import tomllib  # only training reads this file

        try:
            tables = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise AuricleError(f"{path}: cannot read the classes: {error}") from None
        return cls._from_tables([{"name": name, **table} for name, table in tables.items()], path)

    @classmethod
    def load(cls, path: Path) -> "SoundClasses":
        """Reads the file that `save` wrote.

        Raises:
            AuricleError: the file cannot be read, is too large, or an entry is wrong.
        """
        try:
            if path.stat().st_size > MOST_CLASSES_BYTES:
                raise ValueError(f"more than {MOST_CLASSES_BYTES} bytes")
            tables = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise AuricleError(f"{path}: cannot read the classes: {error}") from None
        return cls._from_tables(tables, path)

    @classmethod
    def _from_tables(cls, tables: object, path: Path) -> "SoundClasses":
        if not isinstance(tables, list) or not 1 <= len(tables) <= MOST_CLASSES:
            raise AuricleError(f"{path}: expected a list of 1 to {MOST_CLASSES} classes")
        sound_classes = cls(tuple(_read_class(table, path) for table in tables))
        if len(sound_classes.indices) != len(tables):
            raise AuricleError(f"{path}: two classes have the same name")
        for sound_class in sound_classes.classes:
            named = (*sound_class.parents, *sound_class.near, *sound_class.support)
            if unknown := sorted(set(named) - sound_classes.indices.keys()):
                raise AuricleError(
                    f"{path}: {sound_class.name!r} names unknown classes: {', '.join(unknown)}"
                )
        return sound_classes

    def save(self, path: Path) -> None:
        """Writes a compact `classes.json`, without the classes' support."""
        keys = [key for key in _KEYS if key != "support"]
        tables = [{key: getattr(entry, key) for key in keys} for entry in self.classes]
        with written_whole(path) as part:
            part.write_text(json.dumps(tables, ensure_ascii=False, separators=(",", ":")), "utf-8")

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the classes, by index."""
        return tuple(entry.name for entry in self.classes)

    @cached_property
    def indices(self) -> dict[str, int]:
        """Class name -> index."""
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def usable(self) -> tuple[int, ...]:
        """The classes that captions may mention."""
        return tuple(index for index, entry in enumerate(self.classes) if entry.specific > 0)

    @cached_property
    def weights(self) -> np.ndarray:
        """(classes,) float32, how much a class says: 0 never in a caption, 1 a normal class."""
        return np.array([entry.specific for entry in self.classes], np.float32)

    @cached_property
    def repeats(self) -> np.ndarray:
        """(classes,) bool, true for short, countable sounds."""
        return np.array([entry.repeats for entry in self.classes], bool)

    @cached_property
    def moves(self) -> np.ndarray:
        """(classes,) bool, true for sounds that may approach, or fade into the distance."""
        return np.array([entry.moves for entry in self.classes], bool)

    @cached_property
    def ancestors(self) -> tuple[frozenset[int], ...]:
        """For each class, its parents, their parents, and so on."""
        parents = [[self.indices[name] for name in entry.parents] for entry in self.classes]
        ancestors = []
        for index in range(len(parents)):
            found: set[int] = set()
            waiting = list(parents[index])
            while waiting:
                parent = waiting.pop()
                if parent not in found and parent != index:
                    found.add(parent)
                    waiting += parents[parent]
            ancestors.append(frozenset(found))
        return tuple(ancestors)

    @cached_property
    def compatible(self) -> np.ndarray:
        """(classes, classes) bool, true where one caption may mention both classes.

        Classes are incompatible if they are the same, one is an ancestor of the other, one is near
        the other, their lists share a word or phrase, or their noun phrases are the same.
        """
        apart = np.eye(len(self), dtype=bool)
        sharing: dict[tuple[str, str], list[int]] = {}
        for index, entry in enumerate(self.classes):
            apart[index, list(self.ancestors[index])] = True
            apart[index, [self.indices[name] for name in entry.near]] = True
            sharing.setdefault(("noun", entry.noun), []).append(index)
            for phrase in set(entry.words):
                sharing.setdefault(("words", phrase), []).append(index)
        for indices in sharing.values():
            if len(indices) > 1:
                apart[np.ix_(indices, indices)] = True
        return ~(apart | apart.T)

    @cached_property
    def distinct(self) -> np.ndarray:
        """(classes, classes) bool, true where both classes can be told apart at the same time.

        They are compatible, and at most one of them is a noise.
        """
        noise = np.array([entry.noise for entry in self.classes], bool)
        return self.compatible & ~np.outer(noise, noise)

    @cached_property
    def _phrases(self) -> dict[str, list[tuple[tuple[str, ...], dict[int, int]]]]:
        """First word -> the phrases that begin with it, the longest first, and their classes."""
        places: dict[tuple[str, ...], dict[int, int]] = {}
        for index, entry in enumerate(self.classes):
            for phrase, place in entry.phrases.items():
                places.setdefault(phrase, {})[index] = place
        phrases: dict[str, list[tuple[tuple[str, ...], dict[int, int]]]] = {}
        for phrase in sorted(places, key=len, reverse=True):
            phrases.setdefault(phrase[0], []).append((phrase, places[phrase]))
        return phrases

    def mentions(self, caption_words: Sequence[str]) -> list[Mention]:
        """Returns the phrases that mention classes, in order; a longer one hides those in it."""
        found: list[Mention] = []
        start = 0
        while start < len(caption_words):
            for phrase, places in self._phrases.get(caption_words[start], ()):
                end = start + len(phrase)
                if tuple(caption_words[start:end]) == phrase:
                    found.append(Mention(start, end, places))
                    start = end
                    break
            else:
                start += 1
        return found

    def classes_meant(self, text: str) -> list[int]:
        """Returns the classes that a text asks for, by index.

        Where classes share a phrase, such as "car horn", those are meant that list it earliest.
        Classes that captions never mention are left out.
        """
        meant: set[int] = set()
        for mention in self.mentions(words(text)):
            places = {i: place for i, place in mention.places.items() if self.weights[i] > 0}
            earliest = min(places.values(), default=None)
            meant.update(index for index, place in places.items() if place == earliest)
        return sorted(meant)

    def mentioning_places(self, caption_words: Sequence[str]) -> set[int]:
        """Returns the places of all words of a caption that are part of a mention."""
        mentions = self.mentions(caption_words)
        return {place for mention in mentions for place in range(mention.start, mention.end)}

    def named_by(self, word: str) -> frozenset[int]:
        """Returns the classes that a word mentions by itself."""
        found = (places for phrase, places in self._phrases.get(word, ()) if len(phrase) == 1)
        return frozenset(index for places in found for index in places)


@lru_cache(maxsize=1 << 14)
def stem(word: str) -> str:
    """Returns a word roughly without its ending: "barks", "barking" and "barked" become equal."""
    for ending in STEM_ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > SHORTEST_STEM and word[-1] == word[-2] else word


_KEYS = tuple(each.name for each in fields(SoundClass))
_TEXTS = ("name", "clause", "noun", "label")
_LISTS = ("words", "parents", "sentences", "near", "support")
_OPTIONAL = {"near": [], "support": [], "noise": False}


def _read_class(table: object, path: Path) -> SoundClass:
    """Checks the entry of one class.

    Raises:
        AuricleError: a key is missing or unknown, or a value has a wrong type or size.
    """
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise AuricleError(f"{path}: expected a table with a name for each class")
    where = f"{path}: class {table['name']!r}"
    if differing := sorted((set(_KEYS) ^ set(table)) - set(_OPTIONAL)):
        raise AuricleError(f"{where}: missing or unknown keys: {', '.join(map(repr, differing))}")
    values: dict[str, Any] = {**_OPTIONAL, **table}
    for key in _LISTS:
        if not isinstance(values[key], list) or len(values[key]) > MOST_TEXTS:
            raise AuricleError(f"{where}: {key} must be a list of at most {MOST_TEXTS} texts")
    texts = [values[key] for key in _TEXTS]
    texts += [text for key in _LISTS for text in values[key]]
    short = all(type(text) is str and len(text) <= MOST_TEXT_CHARACTERS for text in texts)
    if not short or not "".join(texts).isprintable():
        raise AuricleError(
            f"{where}: expected printable texts of at most {MOST_TEXT_CHARACTERS} characters"
        )
    for key in ("words", "sentences"):
        if not values[key]:
            raise AuricleError(f"{where}: {key} must not be empty")
    for text in (values["clause"], values["noun"], *values["words"]):
        if not words(text):
            raise AuricleError(f"{where}: {text!r} has no word")
    values |= {key: tuple(values[key]) for key in _LISTS}
    specific = values["specific"]
    is_number = isinstance(specific, int | float) and not isinstance(specific, bool)
    if not is_number or not 0 <= specific <= 1:
        raise AuricleError(f"{where}: specific must be a number from 0 to 1")
    for key in ("repeats", "moves", "noise"):
        if not isinstance(values[key], bool):
            raise AuricleError(f"{where}: {key} must be true or false")
    return SoundClass(**values)
