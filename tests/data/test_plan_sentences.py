"""Random plans and captions of them by grammar."""

import random

from auricle.checkpoint.vocabulary import words
from auricle.data.plan_sentences import MOST_COMPOSED_WORDS, class_words, compose, draw_plan
from auricle.planning.checks import mentions_all, tells_marks
from auricle.planning.grammar import plain, punctuated, template
from auricle.planning.plans import Plan, PlannedEvent, Relation, forbidden_words
from small_classes import small_classes

CLASSES = small_classes()


def test_every_sentence_tells_its_plan():
    rng = random.Random(0)
    known = class_words(CLASSES)
    for _ in range(2000):
        plan = draw_plan(CLASSES, [], rng)
        for text in (compose(plan, CLASSES, rng), template(plan, CLASSES)):
            caption_words = text.split()
            assert mentions_all(caption_words, plan, CLASSES), text
            assert tells_marks(caption_words, plan), text
            assert forbidden_words(plan, CLASSES).isdisjoint(caption_words), text
            assert known.issuperset(caption_words), text


def test_sentences_vary_and_are_short():
    dog, rain = (PlannedEvent(CLASSES.indices[name]) for name in ("Dog", "Rain"))
    rng = random.Random(0)
    texts = {compose(Plan((dog, rain), Relation.WHILE), CLASSES, rng) for _ in range(100)}
    assert texts == {
        "a dog barks while rain falls",
        "a dog barks as rain falls",
        "a dog barks and rain falls",
        "a dog barks with falling rain",
        "a barking dog and falling rain are heard together",
    }
    assert max(len(text.split()) for text in texts) <= MOST_COMPOSED_WORDS


def test_drawn_plans_hold_only_compatible_classes():
    rng = random.Random(1)
    counts = [0, 0, 0]
    for _ in range(1000):
        plan = draw_plan(CLASSES, [0, 1, 2], rng)
        indices = plan.class_indices
        counts[len(indices) - 1] += 1
        assert all(CLASSES.compatible[a, b] for i, a in enumerate(indices) for b in indices[:i])
        assert (plan.relation is Relation.SINGLE) == (len(indices) == 1)
    assert counts[1] > counts[0] > counts[2] > 0


def test_commas_change_no_word():
    rng = random.Random(2)
    for _ in range(200):
        text = compose(draw_plan(CLASSES, [], rng), CLASSES, rng)
        assert words(punctuated(text)) == plain(text).split()
