"""Checks a caption's English roughly."""

from collections import Counter
from collections.abc import Iterable, Sequence

from auricle.data.plan_reading import JOINING

FEWEST_PARTICIPLES = 15  # a word is a verb if its form in -ing occurs this number of times
FEWEST_SINGULARS = 5  # a word is a plural if it occurs this number of times without its -s
FEWEST_WITH_ARTICLE = 3  # a noun is countable if it follows "a" this number of times
# Nouns that never follow "a", and nouns that follow it only in compounds ("a water pump").
NEVER_COUNTED = frozenset("music thunder applause laughter traffic".split())
MASS_NOUNS = NEVER_COUNTED | {"percussion", "static", "rain", "water"}
_PLURALS = frozenset("people men women children cattle geese mice kids".split())
_FINITE_VERBS = frozenset("is are can has have hits does do goes makes".split())
_NOT_VERBS = frozenset(
    "even morn noth someth anyth everyth build ceil evening string sting king bell ring "
    "thing".split()
)
# A word after one of these is a plural noun rather than a verb.
_DETERMINERS = frozenset(
    "a an the of several some many multiple loud soft their few various other more different "
    "metal small".split()
)
_BEFORE_NOUN_PHRASE = JOINING | {"by", "of"}
_THIRD_PERSON_ENDINGS = {"s": "", "es": "", "ies": "y"}


class English:
    """Checks captions by the counts of words in a corpus of captions.

    Args:
        captions: the corpus, each caption as its words.
    """

    def __init__(self, captions: Iterable[Sequence[str]]) -> None:
        self._counts = Counter[str]()
        self._without_article = Counter[str]()  # counts at the beginning of a noun phrase
        self._with_article = Counter[str]()
        for caption_words in captions:
            self._counts.update(caption_words)
            for place, word in enumerate(caption_words):
                before = caption_words[place - 1] if place else ""
                self._without_article[word] += not before or before in _BEFORE_NOUN_PHRASE
                self._with_article[word] += before in ("a", "an")
        known = list(self._counts)
        self._verbs = {word for word in known if len(word) > 2 and self._has_participle(word)}
        self._verbs -= _NOT_VERBS
        self._third_persons = {
            word for word in known if any(map(self._has_participle, _bases(word)))
        }
        self._after_nouns = self._verbs | self._third_persons | _FINITE_VERBS | JOINING

    def is_clause(self, phrase: Sequence[str]) -> bool:
        """Returns whether the words contain a finite verb."""
        for place, word in enumerate(phrase):
            if word in _FINITE_VERBS:
                return True
            before = phrase[place - 1] if place else ""
            if not before:
                continue
            if word in self._third_persons and before not in _DETERMINERS:
                return True
            if word in self._verbs and not word.endswith("ing"):
                if before.endswith("ly") and place > 1:
                    before = phrase[place - 2]
                if before in _PLURALS or (before.endswith("s") and len(before) > 3):
                    return True
        return False

    def is_right(self, caption_words: Sequence[str]) -> bool:
        """Returns whether articles and verbs fit their nouns, judged by counts."""
        followed = [*caption_words, "", ""]
        for place, word in enumerate(caption_words):
            after, beyond = followed[place + 1 : place + 3]
            begins = place == 0 or caption_words[place - 1] in _BEFORE_NOUN_PHRASE
            if begins and self._needs_article(word):
                return False
            if self._is_plural(word) and after in self._third_persons:
                return False
            if word in ("a", "an") and not self._fits_article(word, after, beyond):
                return False
            if word == after:
                return False
        return True

    def _needs_article(self, word: str) -> bool:
        with_article = self._with_article[word]
        return with_article >= FEWEST_WITH_ARTICLE and with_article > self._without_article[word]

    def _fits_article(self, article: str, noun: str, beyond: str) -> bool:
        """Returns whether a noun fits "a" or "an"; `beyond` is the word after it, if any."""
        ends = not beyond or beyond in self._after_nouns
        if ends and (self._is_plural(noun) or noun in MASS_NOUNS):
            return False
        if article == "a":
            return not noun or noun[0] not in "aeio" or noun.startswith("one")
        return not noun or noun[0] in "aeiouh"

    def _is_plural(self, word: str) -> bool:
        if word in _PLURALS:
            return True
        is_regular = word.endswith("s") and not word.endswith("ss")
        return (
            is_regular
            and word not in self._third_persons
            and self._counts[word[:-1]] >= FEWEST_SINGULARS
        )

    def _has_participle(self, base: str) -> bool:
        forms = [f"{base}ing", f"{base}{base[-1]}ing"]
        if base.endswith("e"):
            forms.append(f"{base[:-1]}ing")
        return any(self._counts[form] >= FEWEST_PARTICIPLES for form in forms)


def _bases(word: str) -> list[str]:
    """Returns the possible base forms of a verb in the third person."""
    bases = [
        word.removesuffix(ending) + base_ending
        for ending, base_ending in _THIRD_PERSON_ENDINGS.items()
        if word.endswith(ending)
    ]
    return [base for base in bases if len(base) > 2 and base not in _NOT_VERBS]
