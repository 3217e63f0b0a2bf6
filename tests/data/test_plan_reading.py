"""Plans read off captions."""

import pytest

from auricle.data.plan_reading import Reading, read_plan
from auricle.planning.plans import Relation, Repetition, Trend
from small_classes import small_classes

CLASSES = small_classes()


def read(caption: str) -> Reading:
    reading = read_plan(caption, CLASSES)
    assert reading is not None
    return reading


def names(caption: str) -> list[str]:
    """The likeliest class of each event of a caption."""
    events = [event.classes for event in read(caption).events]
    return [CLASSES.classes[max(event, key=lambda index: event[index])].name for event in events]


@pytest.mark.parametrize(
    ("caption", "expected", "relation"),
    [
        ("A dog barks.", ["Dog"], Relation.SINGLE),
        ("A dog barks while rain falls", ["Dog", "Rain"], Relation.WHILE),
        ("rain falls and then a dog barks", ["Rain", "Dog"], Relation.THEN),
        ("rain falls followed by a barking dog", ["Rain", "Dog"], Relation.THEN),
        ("a dog howls", ["Howl"], Relation.SINGLE),
        ("a car horn honks", ["Car horn"], Relation.SINGLE),
        ("a man speaks as a car drives by", ["Male speech, man speaking", "Car"], Relation.WHILE),
    ],
)
def test_reads_events_in_order(caption: str, expected: list[str], relation: Relation):
    assert names(caption) == expected
    assert read(caption).relation is relation


@pytest.mark.parametrize(
    "caption",
    [
        "something happens",  # no class
        "a dog barks as rain falls and a car drives by",  # three events
        "after a dog barks rain falls",  # its order is told in an unknown way
        "a dog barks until rain falls",
        "rain falls twice",  # rain is not counted
        "a dog approaches",  # dogs do not move
        "rain a car",  # nothing joins the two
        "two dogs bark",
        "at once a dog barks",
    ],
)
def test_unsure_captions_have_no_plan(caption: str):
    assert read_plan(caption, CLASSES) is None


def test_marks_belong_to_the_event_before_them():
    reading = read("a dog barks several times while a car approaches")
    assert [event.repetition for event in reading.events] == [Repetition.SEVERAL, Repetition.NONE]
    assert [event.trend for event in reading.events] == [Trend.NONE, Trend.APPROACHING]
    assert reading.parts[1][0] == "while"


def test_an_ancestor_that_is_mentioned_is_an_alternative():
    (event,) = read("a dog howls").events
    assert {CLASSES.names[index] for index in event.classes} == {"Howl", "Dog"}


def test_several_speakers_are_no_single_speech():
    assert names("people talk to each other") == ["Conversation"]
    (event,) = read("a large crowd of people talking").events
    found = {CLASSES.names[index] for index in event.classes}
    assert found == {"Chatter", "Crowd", "Hubbub, speech noise, speech babble"}


def test_gender_and_age_stand_only_where_the_class_tells_them():
    assert read("a man sneezes").caption_words == ("a", "person", "sneezes")
    assert read_plan("a child sneezes", CLASSES) is None
    assert "man" in read("a man talks").caption_words


def test_remarks_on_distance_are_left_out():
    assert read("a dog barks in the distance").caption_words == ("a", "dog", "barks")
    assert read("a dog barks in the background").caption_words == ("a", "dog", "barks")
