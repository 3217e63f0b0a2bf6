"""Captions by grammar."""

from dataclasses import replace

from auricle.planning.grammar import plain_captions, plain_sentences, punctuated, template
from auricle.planning.plans import Plan, PlannedEvent, Relation, Repetition, Trend
from small_classes import small_classes

CLASSES = small_classes()
DOG = PlannedEvent(CLASSES.indices["Dog"], Repetition.TWICE)
RAIN = PlannedEvent(CLASSES.indices["Rain"])
CAR = PlannedEvent(CLASSES.indices["Car"], trend=Trend.FADING)


def test_the_template_is_plain():
    expected = {
        Plan((DOG, RAIN), Relation.WHILE): "a dog barks twice while rain falls",
        Plan((RAIN, DOG), Relation.THEN): "rain falls and then a dog barks twice",
        Plan((CAR,)): "a car drives by fading into the distance",
        Plan((RAIN, DOG, CAR), Relation.WHILE): "rain falls while a dog barks twice and a car "
        "drives by fading into the distance",
    }
    assert {plan: template(plan, CLASSES) for plan in expected} == expected


def test_a_single_plain_event_has_our_sentences():
    sentences = plain_captions(Plan((RAIN,)), CLASSES)
    assert sentences == list(plain_sentences(CLASSES.classes[RAIN.class_index]))
    assert set(sentences) < set(CLASSES.classes[RAIN.class_index].sentences)
    assert plain_captions(Plan((DOG,)), CLASSES) == ["a dog barks twice"]


def test_commas_stand_before_loose_ends():
    text = "a car drives by getting closer while rain falls"
    assert punctuated(text) == "a car drives by, getting closer while rain falls"
    assert punctuated("a dog barks followed by rain") == "a dog barks, followed by rain"
    assert punctuated("a dog barks twice") == "a dog barks twice"


def test_fillers_stand_only_in_names():
    rain = CLASSES.classes[RAIN.class_index]
    assert all("can" not in sentence.split() for sentence in plain_sentences(rain))
    can = replace(
        rain,
        clause="a can opens",
        words=("can",),
        sentences=("a can opens", "a can falls close by"),
    )
    assert plain_sentences(can) == ("a can opens",)
    assert plain_sentences(replace(rain, sentences=("rain falls close by",))) == (rain.clause,)
