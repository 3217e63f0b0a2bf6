"""Plans: their words, their arrays, and the checks of captions."""

import numpy as np

from auricle.planning.checks import (
    invented,
    is_faithful,
    mentions_all,
    tells_marks,
    tells_twice,
)
from auricle.planning.plans import (
    Plan,
    PlannedEvent,
    Relation,
    Repetition,
    Trend,
    forbidden_words,
    plan_arrays,
)
from small_classes import small_classes

CLASSES = small_classes()
DOG, RAIN, CAR = (CLASSES.indices[name] for name in ("Dog", "Rain", "Car"))
THEN = Plan((PlannedEvent(DOG), PlannedEvent(RAIN)), Relation.THEN)
WHILE = Plan((PlannedEvent(DOG), PlannedEvent(RAIN)), Relation.WHILE)


def test_words_of_time_are_forbidden_unless_planned():
    single = forbidden_words(Plan((PlannedEvent(DOG),)), CLASSES)
    assert {"then", "twice", "approaching", "followed"} <= single
    twice = Plan((PlannedEvent(DOG, Repetition.TWICE), PlannedEvent(RAIN)), Relation.THEN)
    assert {"then", "followed", "before", "twice"}.isdisjoint(forbidden_words(twice, CLASSES))


def test_a_caption_must_mention_all_events_in_order():
    assert mentions_all("a dog barks and then rain falls".split(), THEN, CLASSES)
    assert not mentions_all("rain falls before a dog barks".split(), THEN, CLASSES)
    assert mentions_all("rain falls while a dog barks".split(), WHILE, CLASSES)
    assert not mentions_all("a dog barks".split(), WHILE, CLASSES)


def test_a_caption_must_tell_the_marks():
    twice = Plan((PlannedEvent(DOG, Repetition.TWICE),))
    assert tells_marks("a dog barks twice".split(), twice)
    assert not tells_marks("a dog barks".split(), twice)
    assert not tells_marks("a dog barks several times".split(), twice)
    assert not tells_marks("a dog barks while rain falls".split(), THEN)
    fading = Plan((PlannedEvent(CAR, trend=Trend.FADING),))
    assert not tells_marks("a car drives by getting closer".split(), fading)


def test_mentions_beyond_the_plan_are_invented():
    dog = Plan((PlannedEvent(DOG),))
    dog_words = CLASSES.classes[DOG].own_words
    assert not invented("an animal barks like a dog".split(), dog, CLASSES, dog_words)
    assert invented("a dog barks in the rain".split(), dog, CLASSES, dog_words) == ["rain"]
    assert invented("a dog howls".split(), dog, CLASSES, dog_words) == ["howls"]
    assert invented("a person with a dog".split(), dog, CLASSES, dog_words) == ["person"]


def test_a_single_event_is_told_in_one_clause():
    dog = Plan((PlannedEvent(DOG),))
    for text in ("a dog barks and a dog is barking", "a dog is heard while an animal barks"):
        assert tells_twice(text.split(), dog, CLASSES)
        assert not is_faithful(text.split(), dog, CLASSES)
    assert not tells_twice("a dog barks and pauses".split(), dog, CLASSES)
    assert not tells_twice("a dog barks".split(), dog, CLASSES)
    assert not tells_twice("a dog barks and a dog barks while rain falls".split(), WHILE, CLASSES)


def test_only_one_of_two_events_at_a_time_is_in_the_background():
    said = "a dog barks and rain falls in the background".split()
    assert is_faithful(said, WHILE, CLASSES)
    assert not is_faithful(
        "a dog barks in the background".split(), Plan((PlannedEvent(DOG),)), CLASSES
    )
    assert "background" in forbidden_words(THEN, CLASSES)


def test_a_faithful_caption_passes_every_check():
    assert is_faithful("a dog barks while rain falls".split(), WHILE, CLASSES)
    assert not is_faithful("a dog barks and then rain falls".split(), WHILE, CLASSES)
    assert not is_faithful("a dog barks at a car while rain falls".split(), WHILE, CLASSES)


def test_a_plan_is_two_arrays():
    events, whole = plan_arrays(THEN, 5)
    np.testing.assert_array_equal(events, [[[DOG, 0, 0], [RAIN, 0, 0]]])
    np.testing.assert_array_equal(whole, [[Relation.THEN, 5]])
    assert events.dtype == whole.dtype == np.int64
