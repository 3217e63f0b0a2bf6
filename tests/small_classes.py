"""A small language of sixteen classes, to test plans and their captions."""

from dataclasses import dataclass

from auricle.planning.classes import SoundClass, SoundClasses


@dataclass(frozen=True)
class Entry:
    """A class in short; lists are separated by bars."""

    name: str
    clause: str
    noun: str
    words: str
    parents: str = ""
    near: str = ""
    repeats: bool = False
    moves: bool = False


ENTRIES = (
    Entry("Animal", "an animal calls", "an animal call", "animal|animals"),
    Entry(
        "Dog", "a dog barks", "a barking dog", "dog|dogs|bark|barks|barking", "Animal", repeats=True
    ),
    Entry("Howl", "a dog howls", "a howling dog", "howl|howls|howling", "Dog"),
    Entry("Car", "a car drives by", "a passing car", "car|cars", moves=True),
    Entry(
        "Car horn",
        "a car horn honks",
        "a car horn",
        "car horn|horn|honks",
        near="Car",
        repeats=True,
    ),
    Entry("Rain", "rain falls", "falling rain", "rain|raining"),
    Entry(
        "Speech",
        "a person speaks",
        "a person speaking",
        "speech|speaks|speaking|talk|talks|talking",
    ),
    Entry("Male speech, man speaking", "a man speaks", "a man speaking", "man|man talks", "Speech"),
    Entry("Female speech, woman speaking", "a woman speaks", "a woman speaking", "woman", "Speech"),
    Entry("Child speech, kid speaking", "a child speaks", "a child speaking", "child", "Speech"),
    Entry("Narration, monologue", "a narrator speaks", "a narrator", "narrator", "Speech"),
    Entry(
        "Conversation",
        "people converse",
        "a conversation",
        "conversation|converse|people talk",
        "Speech",
    ),
    Entry("Chatter", "people chatter", "chatter", "chatter", "Crowd"),
    Entry("Crowd", "a crowd makes noise", "a noisy crowd", "crowd"),
    Entry("Hubbub, speech noise, speech babble", "voices babble", "a babble", "babble", "Crowd"),
    Entry("Sneeze", "somebody sneezes", "a sneeze", "sneeze|sneezes|sneezing", repeats=True),
)


def small_classes() -> SoundClasses:
    """Animals, cars, rain and people, with three sentences for each class."""
    return SoundClasses(tuple(map(_sound_class, ENTRIES)))


def _sound_class(entry: Entry) -> SoundClass:
    sentences = (
        entry.clause,
        f"{entry.noun} can be heard",
        f"there is {entry.noun} and nothing else",
    )
    return SoundClass(
        name=entry.name,
        clause=entry.clause,
        noun=entry.noun,
        label=entry.noun,
        words=tuple(entry.words.split("|")),
        parents=_names(entry.parents),
        specific=1.0,
        repeats=entry.repeats,
        moves=entry.moves,
        sentences=sentences,
        near=_names(entry.near),
    )


def _names(names: str) -> tuple[str, ...]:
    return tuple(names.split("|")) if names else ()


# Captions in which people tell of these classes.
CAPTIONS = [
    "a dog barks while rain falls",
    "a dog barks and a car drives by",
    "a car drives by and then a dog barks",
    "a man speaks as rain falls",
    "rain falls on a car while a dog barks several times",
    "a dog is barking while rain is falling",
    "a man is speaking and a car is driving by",
]
