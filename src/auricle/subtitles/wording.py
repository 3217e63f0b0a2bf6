"""Captions as captions for the deaf have them: "A dog barks while rain falls down." becomes "dog
barking, rain falling".

    sentence -> clauses -> who, does what, to what -> phrases

Rules instead of a parser: captions are plain sentences, whose verbs are nearly all in the list
below. What follows a verb is dropped, save an object; what a clause says of how, where and for how
long is dropped too.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auricle.captioning.results import Tag

# What things that are heard do, and people who are.
_VERBS = """
accelerate announce answer argue applaud approach baa babble bang bark beat beep belch bellow bend blare blast bleat
bleep blow boil bounce brake break breathe brew bristle brush bubble bump burble burn burp burst buzz cackle call
caterwaul caw chant chat chatter cheep cheer chew chime chip chirp chitter chomp choo chop chuckle chug churn clack
clang clank clap clash clatter clean clear click clink clip clip-clop clop close cluck clunk coo cook cough crack
crackle crank crash crawl creak crinkle croak crow crumble crumple crunch crush cry cut decelerate deliver dial dig
ding discuss drag drain draw dribble drill drink drip drive drizzle drone drop drum eat echo empty erupt exhale
explode fall fart file fill fire fizz flap flick flip flow flush flutter fly fry gallop gargle gasp giggle grate grind
groan growl grumble grunt gulp gurgle gush hammer hiccup hiss hit hoot honk howl hum idle inhale jangle jingle kick
knock land lap laugh leak lick lock march meow mew moan moo mow mumble munch murmur mutter narrate neigh oink open
pace pant pass patter peck peel ping play plop pop pound pour pull pulsate pulse pump punch purr push quack rain rap
rasp rattle recede repeat reverberate rev reverse ride ring rip ripple roar roll rotate row rub ruffle rumble run rush
rustle sail sand saw scamper scrape scratch scream screech scribble scrub scuff scuffle set sew shake sharpen shatter
shave shoot shout shovel shriek shuffle shut sigh sing sip sizzle skid slam slap slice slide slosh slow slurp smack
smash snap snarl sneeze snicker sniff sniffle snip snore snort sob spark sparkle speak speed spin splash splatter
splinter splutter spray sprinkle sputter squawk squeak squeal squish stamp start steam step stir stomp stop stream
strike strum sway sweep swim swing swirl swish swoosh talk tap tear thud thump thunder tick tick-tock tinkle toll
tooth toot touch travel trickle trill trot tune turn tweet twitter type vacuum vibrate vocalize wail wake walk warble
wash weld wheeze whimper whine whinny whip whir whirl whirr whisper whistle whiz whoop whoosh work wrap write yap yell
yelp yip yodel yowl zip zoom converse communicate cascade respond fade circle cross move jog hop jump climb lift
operate pick place put squeeze stroke swallow throw toss tumble unlock wipe
"""
# Followed by another verb, they give way to it: "starts to bark", "uses a saw to cut wood".
_ASPECTS = frozenset(
    "start begin continue keep try use attempt proceed stop go appear seem pretend".split()
)
# They say that something is heard and no more: "music can be heard", "a hum goes on".
_WEAK = frozenset(
    "hear occur happen exist sound come go continue last make produce emit have get become remain follow increase"
    " decrease".split()
)
# that they say nothing else holds only of what is made
_MAKING = frozenset({"make", "produce", "emit", "have"})
_PAST = {
    "beaten": "beat", "blew": "blow", "blown": "blow", "broke": "break", "broken": "break", "cut": "cut", "drew": "draw",
    "drove": "drive", "driven": "drive", "fell": "fall", "fallen": "fall", "flew": "fly", "flown": "fly", "heard": "hear",
    "hit": "hit", "made": "make", "ran": "run", "rang": "ring", "rung": "ring", "sang": "sing", "sung": "sing", "sawn": "saw",
    "set": "set", "shaken": "shake", "shook": "shake", "shot": "shoot", "shut": "shut", "spoke": "speak", "spoken": "speak",
    "spun": "spin", "struck": "strike", "swept": "sweep", "swung": "swing", "thrown": "throw", "tore": "tear", "torn": "tear",
    "went": "go", "written": "write", "came": "come", "began": "begin", "kept": "keep", "had": "have",
    "got": "get", "became": "become",
}  # fmt: skip
_BE = frozenset("is are was were be been being am can could will would has have had".split())
_CONJUNCTIONS = frozenset(
    "and while as with then before after when until but or , ; : plus whilst during although though because where".split()
)
_PREPOSITIONS = frozenset(
    "on in at into onto against by from over under underneath around near down up through to of off for along"
    " alongside across past inside outside toward towards between among amongst amidst without behind above below"
    " beneath within out back away like beside upon throughout together again forth nearby ahead overhead about beyond"
    " via".split()
)
_DETERMINERS = frozenset(
    "a an the some several many multiple few one two three four five various another other others more most all both"
    " each every his her their its our your my this that these those there it's lots much any no who which so also"
    " still just".split()
)
_PRONOUNS = frozenset("it they he she time them him something".split())
# "a group of birds" is birds.
_MEASURES = frozenset(
    "group groups number couple lot lots bunch series variety flock herd pack pair set amount piece pieces kind kinds"
    " type types sort sound sounds noise noises burst bursts stream streams gust gusts chorus line lines sequence"
    " succession swarm crowd round rounds drop drops sheet body lots plenty dozens hundreds collection row array"
    " mixture bit bits part".split()
)
_PLAIN = frozenset(
    "very extremely quite rather somewhat high pitched high-pitched medium adult certain single different same young"
    " old own large small little big tiny huge long short consistent constant continuous continual steady ongoing"
    " regular repeated particular nearby moderate additional overall general generic similar slight present audible".split()
)
_MANNER = frozenset(
    "times time twice once again fast hard loud louder quieter softer slow slower faster closer well while seconds"
    " second minutes way lot bit first forth here there too much more most high low deep nonstop long simultaneously"
    " then now further farther ones each it them himself herself itself themselves one another other pace speed rate"
    " rhythm rhythms".split()
)
_PEOPLE = frozenset(
    "man men male males woman women female females person people someone somebody child children kid kids boy boys"
    " girl girls baby babies crowd audience lady guy speaker announcer narrator reporter adult adults group family"
    " toddler toddlers voice voices individual individuals gentleman infant teacher students human humans".split()
)
_SEVERAL = frozenset(
    "men males women females people children kids boys girls crowd audience adults voices group family toddlers"
    " students humans individuals babies".split()
)
_SAYING = frozenset(
    "speak talk say converse communicate chat chatter narrate announce discuss shout yell whisper murmur mutter"
    " mumble babble vocalize".split()
)
_WORDS = frozenset(
    "speech speeches conversation conversations monologue announcement words discussion dialogue story".split()
)
_SPEECH = _WORDS | frozenset(
    "voice voices narration chatter chatting speaking talking speaker".split()
)
_MUSIC = frozenset(
    "music musical song songs melody melodies tune tunes guitar guitars piano drum drums band orchestra singing sings"
    " sing singer singers instrument instruments violin accordion flute trumpet saxophone cello harp choir chord"
    " chords beat beats bass keyboardist jazz rock pop hymn chant ukulele banjo synthesizer organ harmonica".split()
)


@dataclass(frozen=True)
class Phrase:
    """What one source does: "dog barking"."""

    text: str
    speech: bool = False
    music: bool = False


def phrases(caption: str, tags: Sequence[Tag] = ()) -> list[Phrase]:
    """What is heard, in the order of the caption, nothing twice; the likeliest tag where the
    caption says nothing.

    Args:
        caption: a sentence.
        tags: the likeliest first.
    """
    found = [phrase for phrase in dict.fromkeys(_phrases(caption)) if phrase.text]
    if not found and tags:
        name = tags[0].name.split(",")[0].lower()
        found = [_phrase(name.split(), [])]
    return found


def _phrases(caption: str) -> Iterator[Phrase]:
    # the first of two who do something together, or something that does nothing
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
                or (said and clause[0] in FORMS)
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
    for word in re.findall(r"[a-z0-9][a-z0-9'-]*|[,;:]", caption.lower()):
        if word in _CONJUNCTIONS or (
            word == "by" and clause and clause[-1] in ("followed", "following", "accompanied")
        ):
            yield joint, clause[:-1] if word == "by" else clause
            joint, clause = word, []
        else:
            clause.append(word)
    yield joint, clause


def _verbs(clause: Sequence[str]) -> list[int]:
    """Where the verbs of a clause stand that go together, the last saying most: "is trying to
    start".
    """
    found: list[int] = []
    for at, word in enumerate(clause):
        before = clause[:at]
        if word not in FORMS or (FORMS[word] == word and not _plural(before)):
            continue
        if not found:
            # "a barking dog runs": what stands before the noun tells which dog.
            if _noun(before) or (word.endswith("ing") and not _verbs(clause[at + 1 :])):
                found.append(at)
        elif FORMS[clause[found[-1]]] in _ASPECTS | _WEAK and all(
            w == "to" or w in _BE or w.endswith("ly") for w in clause[found[-1] + 1 : at]
        ):
            found.append(at)
    if found and clause[found[-1]] in ("use", "uses", "using") and "to" in clause[found[-1] :]:
        purpose = clause.index("to", found[-1]) + 1
        if purpose < len(clause) and clause[purpose] in FORMS:
            found.append(purpose)
    return found


def _plural(before: Sequence[str]) -> bool:
    """Whether a verb without an ending can stand here: "dogs bark", "a loud bark"; "starts to
    bark".
    """
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
    """The two words of a noun phrase that say most: "a large group of crows nearby" is "crows".

    Args:
        words: the phrase.
        doer: whether it is who does something: "audio of a woman" is then "woman".
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
    """The verb in its form on -ing, or "being" and what is done, with its object; nothing where it
    only says that it is heard.

    Args:
        clause: of words.
        verb: its place.
        keep_place: whether it matters where: nobody else is named who "types on a keyboard".
    """
    word, base, rest = clause[verb], FORMS[clause[verb]], clause[verb + 1 :]
    if (
        base == "let"
        and rest[:1] == ["out"]
        and (cries := [w for w in rest if w in FORMS and w not in _MANNER])
    ):
        return [_ing(FORMS[cries[-1]])]  # "lets out a cry"
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
            or (following in FORMS and (at or following.endswith("ing")))
        ):
            break
        thing.append(following)
    thing = _noun(thing)
    if base not in _MAKING and thing and thing[-1] in _MEASURES:
        thing = []
    return [] if base in _WEAK and not (thing and base in _MAKING) else [_ing(base), *thing]


def _phrase(who: Sequence[str], deed: Sequence[str]) -> Phrase:
    """Joined, and told apart: speech, music, or neither. What people say is speaking, or talking
    where there are several.
    """
    words = [*who, *deed]
    does = FORMS.get(deed[0]) if deed else None
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
    """What a verb is before an ending that begins with a vowel: "hum" is "humm"."""
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
FORMS = _PAST | {
    form: base
    for base in (*_VERBS.split(), *_ASPECTS, *_WEAK, "give", "do", "let")
    for form in _forms(base)
}
_PARTICIPLES = frozenset(form for form in FORMS if form.endswith("ed") or form in _PAST)
