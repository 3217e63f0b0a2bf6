"""Makes endless batches of captions and their plans, to train the plan decoder."""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count

import numpy as np

from auricle.checkpoint.vocabulary import Vocabulary
from auricle.data.plan_captions import (
    BEFORE_NOUN,
    UNFINISHED,
    SourcedReading,
    without_joining,
)
from auricle.data.plan_sentences import class_words, compose, draw_event, draw_plan
from auricle.errors import AuricleError
from auricle.planning.classes import SoundClasses
from auricle.planning.grammar import marked
from auricle.planning.language import LENGTHS, OURS, manner_index
from auricle.planning.plans import Plan, PlannedEvent, Relation

MOST_MARKED_WORDS = LENGTHS[-1] + 1  # marks make captions longer than those of people
POOL_BATCHES = 20  # drawn together, so that captions of similar length share a batch
COMMON_CLASSES = 60
FEWEST_CLAUSE_WORDS = 3
CLAUSE_COUNT = 2  # a clause of this number of captions may be recombined
# A clause with one of these words refers to other classes too.
_NOT_ALONE = frozenset("background another other then".split())
_THEN_JOINTS = ("and then", "and then", "then", "before")
_WHILE_JOINTS = ("while", "as", "and")


@dataclass(frozen=True)
class PlanText:
    """A caption, its plan, and its source."""

    plan: Plan
    caption_words: tuple[str, ...]
    source: int  # an index of SOURCES


@dataclass(frozen=True)
class PlanBatch:
    """Captions and their plans as arrays for the network, int64, padded at the end."""

    events: np.ndarray  # (rows, events, 3): class, repetition, trend
    mask: np.ndarray  # (rows, events) bool, true where there is an event
    whole: np.ndarray  # (rows, 2): relation, manner
    tokens: np.ndarray  # (rows, length)


@dataclass(frozen=True)
class Shares:
    """The shares of texts by origin; the rest are captions by people."""

    ours: float = 0.45  # captions by grammar
    recombined: float = 0.15  # new combinations of clauses by people


@dataclass(frozen=True)
class Clause:
    """A clause by people that describes one class only."""

    text: str
    source: int  # an index of SOURCES


def learnt_words(
    readings: Sequence[SourcedReading], classes: SoundClasses, minimum_count: int = 4
) -> list[str]:
    """Returns the words that the decoder learns, the most frequent first.

    These are all words of our own texts, and the words that people use often enough.

    Args:
        readings: captions by people.
        classes: all classes.
        minimum_count: occurrences of a word in captions by people.
    """
    counts = Counter(word for sourced in readings for word in sourced.reading.caption_words)
    known = {word for word, number in counts.items() if number >= minimum_count}
    known |= class_words(classes)
    return sorted(known, key=lambda word: (-counts[word], word))


class PlanTexts:
    """Draws captions and plans. Each batch depends on the seed and its number only.

    Args:
        readings: captions by people. Captions with words that are not learnt are left out.
        classes: all classes.
        vocabulary: holds at least the learnt words.
        learnt: the words to learn, from `learnt_words`.
        shares: of texts by origin.

    Raises:
        AuricleError: a learnt word is not in the vocabulary, or all captions are left out.
    """

    def __init__(
        self,
        readings: Sequence[SourcedReading],
        classes: SoundClasses,
        vocabulary: Vocabulary,
        learnt: Sequence[str],
        shares: Shares | None = None,
    ) -> None:
        if missing := [word for word in learnt if word not in vocabulary]:
            raise AuricleError(f"the vocabulary lacks {len(missing)} words, such as {missing[0]!r}")
        known = set(learnt)
        self.classes, self.vocabulary = classes, vocabulary
        self._shares = shares or Shares()
        self._readings = [
            sourced for sourced in readings if known.issuperset(sourced.reading.caption_words)
        ]
        if not self._readings:
            raise AuricleError("no caption by people has a plan: add captions")
        captions_of = Counter(
            index
            for sourced in self._readings
            for event in sourced.reading.events
            for index in event.classes
        )
        self._common = [
            index
            for index, _ in captions_of.most_common(COMMON_CLASSES)
            if classes.classes[index].specific > 0
        ]
        self._cumulative_weights = list(
            accumulate(_reading_weight(sourced, captions_of) for sourced in self._readings)
        )
        self._clauses = _clause_bank(self._readings)
        self._clause_classes = list(self._clauses)
        self._clause_weights = [len(self._clauses[index]) ** 0.5 for index in self._clause_classes]

    def fingerprint(self) -> str:
        """Returns the SHA-256, in hexadecimal, of everything that batches depend on."""
        parts = (self.classes.classes, self.vocabulary.words, self._readings, self._shares)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def batches(self, size: int, seed: int, first: int = 0) -> Iterator[PlanBatch]:
        """Yields batches without end.

        Args:
            size: rows of each.
            seed: of all draws.
            first: the number of the first batch; earlier ones are skipped.
        """
        for pool in count(first // POOL_BATCHES):
            rng = random.Random(f"{seed} {pool}")
            texts: list[PlanText] = []
            while len(texts) < POOL_BATCHES * size:
                text = self._draw(rng)
                if len(text.caption_words) <= MOST_MARKED_WORDS:
                    texts.append(text)
            texts.sort(key=lambda text: (len(text.caption_words), rng.random()))
            rows = [texts[start : start + size] for start in range(0, len(texts), size)]
            rng.shuffle(rows)
            for number, batch in enumerate(rows, start=pool * POOL_BATCHES):
                if number >= first:
                    yield self._batch(batch)

    def _draw(self, rng: random.Random) -> PlanText:
        kind = rng.random()
        if kind < self._shares.ours:
            plan = draw_plan(self.classes, self._common, rng)
            return PlanText(plan, tuple(compose(plan, self.classes, rng).split()), OURS)
        if kind < self._shares.ours + self._shares.recombined and self._clauses:
            return self._recombine(rng)
        sourced = rng.choices(self._readings, cum_weights=self._cumulative_weights)[0]
        events = []
        for event in sourced.reading.events:
            index = rng.choices(list(event.classes), list(event.classes.values()))[0]
            events.append(PlannedEvent(index, event.repetition, event.trend))
        plan = Plan(tuple(events), sourced.reading.relation)
        return PlanText(plan, sourced.reading.caption_words, sourced.source)

    def _recombine(self, rng: random.Random) -> PlanText:
        """Returns one or two clauses by people, with marks by grammar."""
        clauses = 1 if rng.random() < 0.15 else 2
        chosen = rng.choices(self._clause_classes, self._clause_weights, k=clauses)
        if len(chosen) == 2 and not self.classes.compatible[chosen[0], chosen[1]]:
            chosen = chosen[:1]
        events, texts, sources = [], [], []
        for index in chosen:
            options = self._clauses[index]
            clause = rng.choices(list(options), [number**0.5 for number in options.values()])[0]
            event = draw_event(index, self.classes, rng)
            events.append(event)
            texts.append(marked(clause.text, event, rng))
            sources.append(clause.source)
        relation, joint = Relation.SINGLE, ""
        if len(chosen) == 2:
            is_then = rng.random() < 0.3
            relation = Relation.THEN if is_then else Relation.WHILE
            joint = rng.choice(_THEN_JOINTS if is_then else _WHILE_JOINTS)
        caption_words = tuple(f" {joint} ".join(texts).split())
        return PlanText(Plan(tuple(events), relation), caption_words, max(sources))

    def _batch(self, texts: Sequence[PlanText]) -> PlanBatch:
        tokens = [self.vocabulary.encode(" ".join(text.caption_words)) for text in texts]
        most_events = max(len(text.plan.events) for text in texts)
        whole = [
            (text.plan.relation, manner_index(text.source, len(text.caption_words)))
            for text in texts
        ]
        batch = PlanBatch(
            np.zeros((len(texts), most_events, 3), np.int64),
            np.zeros((len(texts), most_events), bool),
            np.array(whole, np.int64),
            np.zeros((len(texts), max(map(len, tokens))), np.int64),
        )
        for row, (text, words) in enumerate(zip(texts, tokens, strict=True)):
            for place, event in enumerate(text.plan.events):
                batch.events[row, place] = event.class_index, event.repetition, event.trend
            batch.mask[row, : len(text.plan.events)] = True
            batch.tokens[row, : len(words)] = words
        return batch


def _reading_weight(sourced: SourcedReading, captions_of: Counter[int]) -> float:
    """Returns the weight of a caption in the draw.

    Captions of rare classes have a higher weight. So have captions of one event, in particular long
    ones, because people wrote few of them.
    """
    reading = sourced.reading
    indices = [index for event in reading.events for index in event.classes]
    rarity = max((captions_of[index] + 3) ** -0.5 for index in indices)
    if len(reading.events) > 1:
        return rarity
    return rarity * (2 if len(reading.caption_words) < 8 else 3)


def _clause_bank(readings: Iterable[SourcedReading]) -> dict[int, Counter[Clause]]:
    """Returns clauses of each class with their counts, taken from captions of two events."""
    bank: dict[int, Counter[Clause]] = {}
    for sourced in readings:
        reading = sourced.reading
        if len(reading.events) != 2:
            continue
        for event, part in zip(reading.events, reading.parts, strict=True):
            if part[0] in BEFORE_NOUN or event.repetition or event.trend:
                continue
            clause = without_joining(part)
            if len(clause) < FEWEST_CLAUSE_WORDS or clause[-1] in UNFINISHED:
                continue
            if _NOT_ALONE.isdisjoint(clause):
                for index in event.classes:
                    clauses = bank.setdefault(index, Counter())
                    clauses[Clause(" ".join(clause), sourced.source)] += 1
    for index, clauses in bank.items():
        bank[index] = Counter(
            {clause: number for clause, number in clauses.items() if number >= CLAUSE_COUNT}
        )
    return {index: clauses for index, clauses in bank.items() if clauses}
