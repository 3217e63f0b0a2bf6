"""Which captions, written by people of other sounds, fit a sound of which only the label is known.

    captions -> name the label, and mean it -> fit the tags, mention nothing else -> a few, drawn

A caption names a label by one of its exact words, holds no word of another label, and is nearer to
the label's sentences than to those of other labels, by the cosine of sentence embeddings. The tags
are the likeliest AudioSet classes that a tagger heard in the sound. The numbers were chosen by
reading what they choose.
"""

import hashlib
import itertools
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache

import numpy as np

from auricle.checkpoint.vocabulary import words
from auricle.training.tags import embed_sentences

Row = dict[str, str]

MOST_CAPTIONS = 8
VISITS = 50  # of each label in an epoch, as far as the number of captions allows
VALID_CAPTIONS = 5
VALID_SHARE = 0.1  # of the candidates is kept for the sounds to select by
NEAREST = 30  # candidates that a sound's captions are drawn from
SHORTEST, LONGEST = 5, 14  # words of a candidate
LENGTH_BONUS = 0.02  # a word, up to ten: sentence embeddings are nearest to the shortest captions
LEAST_FIT = 0.6  # to a sentence of the label: below it the label's word has another sense
NEARLY = 0.03  # as much nearer may a candidate be to a sentence of another label
# to a class that neither the label's sentences nor the sound's tags are near to: another sound
MOST_SURPLUS = 0.2

# Words of one label that captions of others may well hold.
COMMON = set(
    "break breaks broken can crowd drop drops fired flies fly keys machine people saw shot shots "
    "street "
    "type types".split()
)
# A sound of some seconds is one event rather than a story, and has no jokes in it.
STORY = set(
    "followed follows following then before after afterwards finally eventually later until "
    "belch belches belching burp burps burping fart farts farting gas video clip".split()
)
SPEECH = set(
    "talk talks talking talked speak speaks speaking spoke speech conversation conversations "
    "converse conversing chat chats "
    "chatting chatter chattering announcer announcement announces says saying narrates narrating "
    "voice voices "
    "man men woman women male males female females boy boys girl girls guy lady he she his her "
    "him".split()
)
SPOKEN = {"children_playing", "coffee-shop"}  # labels that tell of speech


@dataclass(frozen=True)
class Candidates:
    """The captions that name a label."""

    texts: list[str]
    lengths: np.ndarray  # (texts,), in words
    embeddings: np.ndarray  # (texts, width)
    to_label: np.ndarray  # (texts,), the cosine to the nearest of the label's sentences
    # (texts, classes), how much nearer each is to a class than the label's sentences are
    surplus: np.ndarray


def fitting_captions(
    rows: list[Row],
    captions: list[str],
    names: dict[str, set[str]],
    own_sentences: list[Row],
    class_names: list[str],
) -> dict[str, list[str]]:
    """File -> captions, for sounds that have a label only.

    Args:
        rows: their metadata; those of the split `train` get the more captions the rarer their label
            is, others five.
        captions: those to choose from.
        names: label -> the words of which a caption must hold one to name it.
        own_sentences: columns label, sentence: more of them for labels that few captions name.
        class_names: of AudioSet, by index.
    """
    sentences = {row["label"]: [row["label_caption"]] for row in rows}
    for row in own_sentences:
        if row["label"] in sentences:
            sentences[row["label"]].append(row["sentence"])
    class_index = {name: index for index, name in enumerate(class_names)}
    classes = embed_sentences([name.lower() for name in class_names])
    candidates = find_candidates(captions, sentences, names, classes)
    frequency = Counter(row["label"] for row in rows if row["split"] == "train")
    chosen = {}
    for row in rows:
        label, learnt = row["label"], row["split"] == "train"
        pairs = (tag.rsplit(" ", 1) for tag in row["mn04_top5"].split("; "))
        tags = {class_index[name]: float(probability) for name, probability in pairs}
        spoken = label in SPOKEN or tags.get(class_index["Speech"], 0) >= 0.5
        best = (
            text
            for text in in_order_of_fit(candidates[label], tags, classes)
            if is_kept_aside(text) != learnt and (spoken or SPEECH.isdisjoint(words(text)))
        )
        pool = list(itertools.islice(best, NEAREST))
        if learnt:
            pool += sentences[label][1:]
        count = (
            min(MOST_CAPTIONS, max(2, round(VISITS / frequency[label])))
            if learnt
            else VALID_CAPTIONS
        )
        # Drawn by the file's name, so that every run draws the same.
        drawn = random.Random(row["file"]).sample(pool, min(count, len(pool)))
        chosen[row["file"]] = drawn if len(drawn) == count else [*drawn, row["label_caption"]]
    return chosen


def find_candidates(
    captions: list[str],
    sentences: dict[str, list[str]],
    names: dict[str, set[str]],
    classes: np.ndarray,
) -> dict[str, Candidates]:
    """For each label, captions of a good length that name it, mean it, and name no other label."""
    foreign = {  # labels that share a word, as dog and dog_bark, do not exclude each other
        label: {
            word
            for other in sentences
            if names[label].isdisjoint(names[other])
            for word in names[other]
        }
        - COMMON
        for label in sentences
    }
    naming: dict[str, list[str]] = defaultdict(list)  # word -> the labels that it names
    for label in sentences:
        for word in names[label]:
            naming[word].append(label)
    named: dict[str, list[str]] = {label: [] for label in sentences}
    for text in captions:
        said = words(text)
        if SHORTEST <= len(said) <= LONGEST and STORY.isdisjoint(said):
            for label in {label for word in said for label in naming.get(word, ())}:
                if foreign[label].isdisjoint(said):
                    named[label].append(text)

    texts = sorted({text for texts in named.values() for text in texts})
    place = {text: number for number, text in enumerate(texts)}
    embeddings = embed_sentences(texts)
    rows = iter(
        embed_sentences([text for texts_of_label in sentences.values() for text in texts_of_label])
    )
    anchors = {
        label: np.stack([next(rows) for _ in texts_of_label])
        for label, texts_of_label in sentences.items()
    }
    to_label = {label: (embeddings @ anchor.T).max(axis=1) for label, anchor in anchors.items()}
    nearest = np.max(list(to_label.values()), axis=0)
    candidates = {}
    for label, texts_of_label in named.items():
        places = np.array([place[text] for text in texts_of_label], int)
        fit = to_label[label][places]
        places = places[(fit >= LEAST_FIT) & (fit >= nearest[places] - NEARLY)]
        surplus = embeddings[places] @ classes.T - (anchors[label] @ classes.T).max(axis=0)
        chosen = [texts[n] for n in places]
        lengths = np.array([len(words(text)) for text in chosen])
        candidates[label] = Candidates(
            chosen, lengths, embeddings[places], to_label[label][places], surplus
        )
    return candidates


def in_order_of_fit(
    candidates: Candidates, tags: dict[int, float], classes: np.ndarray
) -> list[str]:
    """The candidates for a sound that mention no other sound, the best fitting first."""
    heard = np.array(list(tags.values())) @ classes[list(tags)] / sum(tags.values())
    surplus = np.delete(candidates.surplus, list(tags), axis=1).max(axis=1)
    bonus = LENGTH_BONUS * np.minimum(candidates.lengths, 10)
    fit = (candidates.to_label + candidates.embeddings @ heard) / 2 - surplus / 2 + bonus
    return [
        candidates.texts[place]
        for place in np.argsort(-fit, kind="stable")
        if surplus[place] <= MOST_SURPLUS
    ]


def is_kept_aside(text: str) -> bool:
    """Whether a candidate goes to sounds to select by, rather than to learn from."""
    return hashlib.blake2b(key(text).encode()).digest()[0] < 256 * VALID_SHARE


@cache
def key(text: str) -> str:
    """A caption's words, by which two captions are the same."""
    return " ".join(words(text))
