"""Labels in the style of subtitles for the deaf: "dog barking, rain falling".

    "A dog barks while rain falls down." -> clauses -> subject, verb, object -> labels

Captions are plain sentences, and words.toml lists nearly all of their verbs, so rules replace a
parser. A label keeps subject, verb and object. It drops manner, place and duration.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from auricle.captioning.results import Tag
from auricle.captioning.segmenter import Event

_LISTS = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))


def _set(name: str) -> frozenset[str]:
    return frozenset(_LISTS[name].split())


_VERBS, _PAST = _LISTS["verbs"], _LISTS["past"]
_ASPECTS = _set("aspect_verbs")
_WEAK = _set("weak_verbs")
_MAKING = _set("making_verbs")
_BE = _set("auxiliaries")
_CONJUNCTIONS = _set("conjunctions")
_PREPOSITIONS = _set("prepositions")
_DETERMINERS = _set("determiners")
_PRONOUNS = _set("pronouns")
_MEASURES = _set("measures")
_PLAIN = _set("plain_adjectives")
_MANNER = _set("manner")
_PEOPLE = _set("people")
_SEVERAL = _set("several_people")
_SAYING = _set("speech_verbs")
_WORDS = _set("speech_objects")
_MUSIC = _set("music")
_SPEECH = _WORDS | _set("speech_nouns")


@dataclass(frozen=True)
class Phrase:
    """The label of one source: "dog barking"."""

    text: str
    speech: bool = False
    music: bool = False


# Classes of sounds that count as speech or music, themselves and as more general classes.
SPEECH_CLASSES = frozenset(
    ("Speech", "Conversation", "Chatter", "Hubbub, speech noise, speech babble", "Whispering")
)
MUSIC_CLASSES = frozenset(("Music", "Singing", "Musical instrument"))


def event_phrases(event: Event) -> list[Phrase]:
    """The labels of an event: of the classes that its caption mentions, or read off the caption."""
    if not event.mentioned:
        return phrases(event.caption, event.tags)
    return [
        Phrase(
            mentioned.label,
            not SPEECH_CLASSES.isdisjoint((mentioned.name, *mentioned.kinds)),
            not MUSIC_CLASSES.isdisjoint((mentioned.name, *mentioned.kinds)),
        )
        for mentioned in event.mentioned
    ]


def phrases(caption: str, tags: Sequence[Tag] = ()) -> list[Phrase]:
    """The labels of a caption, in its order, without repetition; else the most probable tag.

    Args:
        caption: a sentence.
        tags: the most probable one first.
    """
    found = [phrase for phrase in dict.fromkeys(_phrases(caption)) if phrase.text]
    if not found and tags:
        name = tags[0].name.split(",")[0].lower()
        found = [_phrase(name.split(), [])]
    return found


def _phrases(caption: str) -> Iterator[Phrase]:
    # A subject without a verb: the first of two subjects of one verb, or a thing alone.
    pending: list[str] = []
    said = False
    for joint, clause in _clauses(caption):
        if not clause or clause[0] in _PRONOUNS:
            continue
        verbs = _verbs(clause)
        subject = _noun(clause[: verbs[0] if verbs else len(clause)], doer=bool(verbs))
        if not subject and (not verbs or said or not clause[verbs[-1]].endswith("ing")):
            continue  # "barks and growls": what else the same one does
        if (
            not verbs
            and joint
            and (
                joint not in ("and", ",", "by", "then")
                or clause[0] in _PREPOSITIONS
                or (said and clause[0] in VERB_FORMS)
            )
        ):
            continue  # "with a hum", "and forth", "and growls"
        if pending and not (
            verbs and joint == "and" and subject and _people(pending) == _people(subject)
        ):
            yield _phrase(pending, [])
            pending = []
        if verbs:
            together = [*pending, "and", *subject] if pending else subject
            yield _phrase(together, _deed(clause, verbs[-1], keep_place=not subject))
            pending, said = [], True
        else:
            pending = subject
    if pending:
        yield _phrase(pending, [])


def _clauses(caption: str) -> Iterator[tuple[str, list[str]]]:
    """Stretches of lower-case words, each with the conjunction or mark before it."""
    joint, clause = "", list[str]()
    for word in re.findall(r"[^\W_](?:[^\W_]|['-])*|[,;:]", caption.lower()):
        if word in _CONJUNCTIONS or (
            word == "by" and clause and clause[-1] in ("followed", "following", "accompanied")
        ):
            yield joint, clause[:-1] if word == "by" else clause
            joint, clause = word, []
        else:
            clause.append(word)
    yield joint, clause


def _verbs(clause: Sequence[str]) -> list[int]:
    """The positions of the verbs that belong together, the main one last: "is trying to start"."""
    found: list[int] = []
    for at, word in enumerate(clause):
        before = clause[:at]
        if word not in VERB_FORMS or (VERB_FORMS[word] == word and not _plural(before)):
            continue
        if not found:
            # "a barking dog runs": what stands before the noun tells which dog.
            if _noun(before) or (word.endswith("ing") and not _verbs(clause[at + 1 :])):
                found.append(at)
        elif VERB_FORMS[clause[found[-1]]] in _ASPECTS | _WEAK and all(
            w == "to" or w in _BE or w.endswith("ly") for w in clause[found[-1] + 1 : at]
        ):
            found.append(at)
    if found and clause[found[-1]] in ("use", "uses", "using") and "to" in clause[found[-1] :]:
        purpose = clause.index("to", found[-1]) + 1
        if purpose < len(clause) and clause[purpose] in VERB_FORMS:
            found.append(purpose)
    return found


def _plural(before: Sequence[str]) -> bool:
    """Whether a base form here can be a verb: "dogs bark", "starts to bark"; not "a loud bark"."""
    if not before:
        return False
    word = next((w for w in reversed(before) if not w.endswith("ly")), "")
    return (
        word == "to"
        or word in _SEVERAL
        or word in ("sheep", "cattle", "teeth", "feet", "police")
        or word.endswith("s")
    )


def _people(noun: Sequence[str]) -> bool:
    return not _PEOPLE.isdisjoint(noun)


def _noun(words: Sequence[str], *, doer: bool = False) -> list[str]:
    """The two most telling words of a noun phrase: "a large group of crows nearby" is "crows".

    Args:
        words: the phrase.
        doer: whether it is the subject of a verb: "audio of a woman" is then "woman".
    """
    kept: list[str] = []
    for word in words:
        if word == "of" and kept and (doer or kept[-1] in _MEASURES):
            kept = []
        elif word in _PREPOSITIONS or word in ("that", "who", "which"):
            if kept:
                break
        elif (
            word not in _DETERMINERS | _PLAIN | _BE | _MANNER
            and not word.endswith("ly")
            and not word[0].isdigit()
        ):
            kept.append(word)
    return kept[-2:]


def _deed(clause: Sequence[str], verb: int, *, keep_place: bool = False) -> list[str]:
    """The verb as a participle with its object; empty for verbs that say only "is heard".

    Args:
        clause: its words.
        verb: the position of the verb.
        keep_place: whether to keep the place: "types on a keyboard" without a subject.
    """
    word, base, rest = clause[verb], VERB_FORMS[clause[verb]], clause[verb + 1 :]
    if (
        base == "let"
        and rest[:1] == ["out"]
        and (cries := [w for w in rest if w in VERB_FORMS and w not in _MANNER])
    ):
        return [_ing(VERB_FORMS[cries[-1]])]  # "lets out a cry"
    if word in _PARTICIPLES and not _BE.isdisjoint(clause[:verb]):
        return [] if base in _WEAK else ["being", word]
    if (
        rest
        and rest[0] in ("off", "by", "up")
        and (len(rest) == 1 or rest[1] in _PREPOSITIONS | _MANNER)
    ):
        return [_ing(base), rest[0]]
    if keep_place and len(rest) > 1 and rest[0] in ("on", "at", "into"):
        return [_ing(base), rest[0], *_noun(rest[1:])[-1:]]
    thing: list[str] = []
    for at, following in enumerate(rest):
        if (
            following in _PREPOSITIONS
            or following in _MANNER
            or (following in VERB_FORMS and (at or following.endswith("ing")))
        ):
            break
        thing.append(following)
    thing = _noun(thing)
    if base not in _MAKING and thing and thing[-1] in _MEASURES:
        thing = []
    return [] if base in _WEAK and not (thing and base in _MAKING) else [_ing(base), *thing]


def _phrase(who: Sequence[str], deed: Sequence[str]) -> Phrase:
    """Joins subject and verb, and classifies the label: speech, music, or neither.

    Speech is "speaking", or "talking" of several people.
    """
    words = [*who, *deed]
    does = VERB_FORMS.get(deed[0]) if deed else None
    speech = _people(who) and (does in _SAYING or not _WORDS.isdisjoint(deed))
    speech = speech or (bool(who) and not deed and who[-1] in _SPEECH)
    if (
        speech
        and deed
        and does not in ("shout", "yell", "whisper", "murmur", "mumble", "mutter", "babble")
    ):
        deed = ["talking" if "and" in who or not _SEVERAL.isdisjoint(who) else "speaking"]
        words = [*who, *deed]
    return Phrase(" ".join(words), speech, not speech and not _MUSIC.isdisjoint(words))


def _ing(base: str) -> str:
    if base.endswith("ie"):
        return f"{base[:-2]}ying"
    if base.endswith("e") and not base.endswith(("ee", "oe", "ye")):
        return f"{base[:-1]}ing"
    return f"{_doubled(base)}ing"


def _doubled(base: str) -> str:
    """The form of a verb before an ending with a vowel: "hum" becomes "humm"."""
    short = re.fullmatch(r"(?:.*-)?[^aeiou]*(?:qu)?[aeiouy][^aeiouwxy]", base)
    return base + base[-1] if short or base == "begin" else base


def _forms(base: str) -> Iterator[str]:
    yield base
    if base.endswith("y") and base[-2] not in "aeo":
        yield f"{base[:-1]}ies"
        yield f"{base[:-1]}ied"
    else:
        yield (
            f"{base}es"
            if base.endswith(("s", "sh", "ch", "x", "z", "o")) and base != "moo"
            else f"{base}s"
        )
        yield f"{base}d" if base.endswith("e") else f"{_doubled(base)}ed"
    if base in ("coo", "moo", "echo"):
        yield f"{base}s"
    yield _ing(base)


# Every form of every verb -> the verb.
VERB_FORMS = _PAST | {
    form: base
    for base in (*_VERBS.split(), *_ASPECTS, *_WEAK, "give", "do", "let")
    for form in _forms(base)
}
_PARTICIPLES = frozenset(form for form in VERB_FORMS if form.endswith("ed") or form in _PAST)
