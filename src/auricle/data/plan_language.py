"""Learns the words that the plan decoder may use from its training captions."""

import random
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise, product

import numpy as np

from auricle.checkpoint.vocabulary import SPECIAL, STOP_WORDS, Vocabulary, words
from auricle.data.plan_captions import SourcedCaption, SourcedReading
from auricle.data.plan_english import MASS_NOUNS, NEVER_COUNTED
from auricle.data.plan_reading import MANY_PEOPLE_WORDS, Reading
from auricle.data.plan_sentences import compose, draw_plan
from auricle.errors import AuricleError
from auricle.planning.classes import SoundClasses
from auricle.planning.grammar import FILLER_WORDS, filler_words, plain, plain_sentences
from auricle.planning.language import MOST_VOCABULARY_WORDS, OURS, Followers, Language
from auricle.planning.plans import PEOPLE, TIME_WORDS

WORD_CAPTIONS = 3  # a word belongs to a class if this number of its captions by people hold it
# A pair of words is allowed if this number of captions by people with a plan hold it.
PAIR_CAPTIONS = 2
# A triple of words is allowed if this number of captions by people, with a plan or not, hold it.
TRIPLE_CAPTIONS = 3
GENERAL_CLASSES = 60  # a word of this number of classes belongs to all classes
# A word of other classes belongs to a class if this share of the class's captions hold it.
OTHER_CLASS_SHARE = 0.08
COMPOSED_CAPTIONS = 16_000  # the number of captions by grammar
STYLE_CAPTIONS = 10  # a class with this number of captions by people is worded in their style
SURE_WEIGHT = 0.3  # a caption counts for a class of at least this weight in its reading
# Words that introduce a further source.
_OTHERS = frozenset("another other others each else".split())
# Words for scenes. Many captions have them, but a plan does not contain them.
_SCENES = frozenset(
    "background foreground distance nearby outside inside outdoors indoors ground surface "
    "recording".split()
)


def learn_language(
    readings: Sequence[SourcedReading],
    captions: Sequence[SourcedCaption],
    classes: SoundClasses,
    vocabulary: Vocabulary,
    learnt: Sequence[str],
    *,
    seed: int = 0,
    composed: int = COMPOSED_CAPTIONS,
) -> Language:
    """Learns from captions by people, our sentences, and captions by grammar.

    Args:
        readings: captions by people that tell a plan.
        captions: all captions by people.
        classes: all classes.
        vocabulary: the decoder's vocabulary.
        learnt: the words that the decoder learnt, from `learnt_words`.
        seed: of the captions by grammar.
        composed: the number of captions by grammar.

    Raises:
        AuricleError: the vocabulary is too large.
    """
    if len(vocabulary) > MOST_VOCABULARY_WORDS:
        raise AuricleError(
            f"the vocabulary has {len(vocabulary)} words; the limit is {MOST_VOCABULARY_WORDS}"
        )
    rng = random.Random(seed)
    ours = [
        plain(text) for each in classes.classes for text in (each.clause, *plain_sentences(each))
    ]
    ours += [compose(draw_plan(classes, [], rng), classes, rng) for _ in range(composed)]
    plain_readings = [sourced.reading for sourced in readings]
    known = set(learnt)
    by_people = [r.caption_words for r in plain_readings if known.issuperset(r.caption_words)]
    captions_of = Counter(
        index
        for sourced in readings
        if sourced.source != OURS
        for event in sourced.reading.events
        for index, weight in event.classes.items()
        if weight > SURE_WEIGHT
    )
    return Language(
        learn_class_words(plain_readings, classes, vocabulary, known),
        learn_followers(
            ours,
            [" ".join(caption_words) for caption_words in by_people],
            [caption.text for caption in captions],
            vocabulary,
        ),
        np.array([captions_of[index] >= STYLE_CAPTIONS for index in range(len(classes))]),
    )


def learn_class_words(
    readings: Sequence[Reading], classes: SoundClasses, vocabulary: Vocabulary, known: set[str]
) -> np.ndarray:
    """Returns (classes, words) bool, true if captions of the class use the word.

    Args:
        readings: captions by people.
        classes: all classes.
        vocabulary: the columns.
        known: the words that may be used at all.
    """
    captions_of = Counter[int]()
    word_counts = [Counter[str]() for _ in classes.classes]
    for reading in readings:
        for event, part in zip(reading.events, reading.parts, strict=True):
            for index in event.classes:
                captions_of[index] += 1
                word_counts[index].update(set(part))
    used = [
        _words_of_class(index, counts, captions_of[index], classes)
        for index, counts in enumerate(word_counts)
    ]
    class_counts = Counter(word for class_words in used for word in class_words)
    general = {word for word, number in class_counts.items() if number >= GENERAL_CLASSES}
    general -= {word for entry in classes.classes for text in entry.words for word in words(text)}
    general -= PEOPLE | _SCENES
    general |= (STOP_WORDS - _OTHERS) | TIME_WORDS  # the plan decides about words of time
    general -= FILLER_WORDS
    table = np.zeros((len(classes), len(vocabulary)), bool)
    for index, class_words in enumerate(used):
        table[index, vocabulary.numbers((class_words | general) & known)] = True
    table[:, : len(SPECIAL)] = True
    return table


def _words_of_class(
    index: int, counts: Counter[str], captions: int, classes: SoundClasses
) -> set[str]:
    """Returns the words that captions of a class use.

    Args:
        index: the class.
        counts: the number of captions by people with each word.
        captions: the number of captions by people.
        classes: all classes.
    """
    entry = classes.classes[index]
    used = {word for word, number in counts.items() if number >= WORD_CAPTIONS} - MANY_PEOPLE_WORDS
    # Keeps "chirps" for birds, whose captions often hold it, but drops the rare "howls" for dogs.
    lineage = {index} | classes.ancestors[index]
    for word in list(used):
        named = classes.named_by(word)
        if named and lineage.isdisjoint(named) and counts[word] < OTHER_CLASS_SHARE * captions:
            used.remove(word)
    if PEOPLE.isdisjoint(entry.own_words):
        used -= PEOPLE
    return (used | entry.own_words) - filler_words(entry)


def learn_followers(
    ours: Sequence[str], by_people: Sequence[str], others: Sequence[str], vocabulary: Vocabulary
) -> Followers:
    """Returns the allowed sequences of words, from captions.

    Pairs of words come from our captions, and from at least two captions by people with a plan.
    Mass nouns follow "a" only if they do in our captions ("a water pump"); "music" never does.
    Triples consist of these pairs. They come from our captions, from captions by people with a
    plan, and from at least three other captions.

    Args:
        ours: our captions.
        by_people: captions by people with a plan.
        others: all captions by people.
        vocabulary: the words.
    """
    pairs = {pair for text in ours for pair in pairwise(vocabulary.encode(text))}
    pairs -= _article_pairs(NEVER_COUNTED, vocabulary)
    counts = Counter(pair for text in by_people for pair in pairwise(vocabulary.encode(text)))
    written = {pair for pair, number in counts.items() if number >= PAIR_CAPTIONS}
    pairs |= written - _article_pairs(MASS_NOUNS, vocabulary)
    triples = {triple for text in (*ours, *by_people) for triple in _triples(text, vocabulary)}
    counts_of_triples = Counter(
        triple for text in dict.fromkeys(others) for triple in _triples(text, vocabulary)
    )
    triples |= {triple for triple, n in counts_of_triples.items() if n >= TRIPLE_CAPTIONS}
    ordered_pairs = sorted(pairs)
    places = {pair: place for place, pair in enumerate(ordered_pairs)}
    placed = sorted(
        (places[triple[:2]], triple[2])
        for triple in triples
        if triple[:2] in places and triple[1:] in places
    )
    return Followers(
        *_lists(ordered_pairs, len(vocabulary)),
        *_lists(placed, len(ordered_pairs)),
    )


def _triples(text: str, vocabulary: Vocabulary) -> Iterator[tuple[int, int, int]]:
    tokens = vocabulary.encode(text)
    return zip(tokens, tokens[1:], tokens[2:], strict=False)


def _lists(pairs: Sequence[tuple[int, int]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the list of each of `count` keys begins, and the values of all lists."""
    ordered = np.array(pairs, np.int64).reshape(-1, 2)
    starts = np.searchsorted(ordered[:, 0], np.arange(count + 1))
    return starts.astype(np.int32), ordered[:, 1].astype(np.uint16)


def _article_pairs(nouns: Collection[str], vocabulary: Vocabulary) -> set[tuple[int, int]]:
    return set(product(vocabulary.numbers(("a", "an")), vocabulary.numbers(nouns)))
