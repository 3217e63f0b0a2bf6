"""Finds the events of a caption by the words that mention classes."""

from collections.abc import Sequence
from dataclasses import dataclass

from auricle.planning.classes import Mention, SoundClasses, stem
from auricle.planning.plans import PEOPLE

# The weight of an ancestor that the caption mentions too, relative to the more specific class.
ANCESTOR_WEIGHT = 0.4
LEAST_WEIGHT = 0.2  # relative to the most probable class of an event
MOST_MENTIONS = 10
# Words that may occur between a subject and its verb.
_BETWEEN = frozenset(
    "is are was be being of the a an 's and's loud loudly softly can has have sound sounds noise "
    "noises to".split()
)


@dataclass(frozen=True)
class FoundEvent:
    """A stretch of words in a caption that describes one event."""

    start: int  # the place of its first word
    end: int  # the place after its last word
    classes: dict[int, float]  # classes that the words may mean, with weights up to 1


@dataclass(frozen=True)
class _Group:
    """Mentions that one class explains."""

    mentions: tuple[Mention, ...]
    classes: dict[int, float]  # empty for people until a verb describes their action

    @property
    def start(self) -> int:
        return self.mentions[0].start

    @property
    def end(self) -> int:
        return self.mentions[-1].end


def find_events(caption_words: Sequence[str], classes: SoundClasses) -> list[FoundEvent]:
    """Returns the events in order; an empty list if a mention fits no event."""
    groups: list[_Group] = []
    for mentions in _fewest_groups(classes.mentions(caption_words), classes):
        group = _Group(tuple(mentions), _weigh(mentions, classes))
        is_people = all(
            mention.end == mention.start + 1 and caption_words[mention.start] in PEOPLE
            for mention in mentions
        )
        before = groups[-1] if groups else None
        if before is not None and _BETWEEN.issuperset(caption_words[before.end : group.start]):
            # The group before is the subject, or the source, of this one.
            groups.pop()
            if before.classes:
                group = _join(caption_words, before, group, classes)
                if not group.classes:
                    return []
        elif before is not None and not before.classes:
            groups.pop()
        groups.append(_Group(group.mentions, {}) if is_people else group)
    if not all(group.classes for group in groups):
        return []
    return [FoundEvent(group.start, group.end, group.classes) for group in groups]


def _join(
    caption_words: Sequence[str], subject: _Group, verb: _Group, classes: SoundClasses
) -> _Group:
    """Joins a subject and its verb, which mention different classes.

    The joint event has the classes of each whose own texts use the words of the other too.
    """
    joint: dict[int, float] = {}
    for group, other in ((verb, subject), (subject, verb)):
        other_stems = {
            stem(word)
            for mention in other.mentions
            for word in caption_words[mention.start : mention.end]
        }
        for index, weight in group.classes.items():
            if other_stems <= classes.classes[index].own_stems:
                joint[index] = weight
    return _Group((*subject.mentions, *verb.mentions), joint)


def _fewest_groups(mentions: Sequence[Mention], classes: SoundClasses) -> list[list[Mention]]:
    """Divides mentions into the fewest groups of neighbours; one class explains each group.

    Returns no groups for captions with many mentions.
    """
    if len(mentions) > MOST_MENTIONS:
        return []
    best: list[list[list[Mention]]] = [[]]  # the groups of the first n mentions
    for end in range(1, len(mentions) + 1):
        options = [
            [*best[start], list(mentions[start:end])]
            for start in range(end)
            if end - start == 1 or _explaining_classes(mentions[start:end], classes)
        ]
        best.append(min(options, key=len))
    return best[-1]


def _explaining_classes(mentions: Sequence[Mention], classes: SoundClasses) -> set[int]:
    """Returns the classes that all mentions name, by themselves or by an ancestor."""
    candidates = {index for mention in mentions for index in mention.places}
    return {
        index
        for index in candidates
        if all(
            index in mention.places or not classes.ancestors[index].isdisjoint(mention.places)
            for mention in mentions
        )
    }


def _weigh(mentions: Sequence[Mention], classes: SoundClasses) -> dict[int, float]:
    """Returns the explaining classes with weights.

    A class gets a higher weight if the words are early in its list, or if most mentions name the
    class itself.
    """
    weights: dict[int, float] = {}
    for index in _explaining_classes(mentions, classes):
        places = [mention.places[index] for mention in mentions if index in mention.places]
        weights[index] = len(places) / len(mentions) / (1 + min(places))
    for index in list(weights):
        for ancestor in classes.ancestors[index]:
            if any(ancestor in mention.places for mention in mentions):
                weights.setdefault(ancestor, ANCESTOR_WEIGHT * weights[index])
    most = max(weights.values())
    return {
        index: weight / most for index, weight in weights.items() if weight >= LEAST_WEIGHT * most
    }
