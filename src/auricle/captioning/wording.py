"""Words a plan: a beam search over the plan decoder, a check, and our own sentences otherwise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from auricle.captioning.beam_search import NextLogProbs, search_captions
from auricle.checkpoint.config import BeamOptions
from auricle.checkpoint.vocabulary import Vocabulary
from auricle.planning.checks import is_faithful
from auricle.planning.classes import SoundClasses
from auricle.planning.grammar import plain_captions
from auricle.planning.language import Followers, Language
from auricle.planning.plans import Plan

DEFAULT_OPTIONS = BeamOptions(
    beam=5, length_penalty=1.0, min_length=5, max_length=16, no_repeat_ngram=2
)
LEAST_SCORE = -0.9  # of a hypothesis; below it, our own sentences are better English
# (captions,) -> (captions,), how well each caption fits the sound.
Fit = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class WordedCaption:
    """A caption that tells a plan."""

    text: str  # lower case, without punctuation
    # Log-probability, length-normalised, at most 0; 0 for a sentence of ours.
    score: float = 0.0
    fit: float | None = None  # how well it fits the sound, where that is compared
    by_decoder: bool = True  # False: one of our own sentences


def word_plan(
    plan: Plan,
    next_log_probs: NextLogProbs,
    vocabulary: Vocabulary,
    classes: SoundClasses,
    language: Language,
    *,
    options: BeamOptions = DEFAULT_OPTIONS,
    fit: Fit | None = None,
    weight: float = 0.0,
) -> list[WordedCaption]:
    """Returns captions that mention every event of a plan and nothing else, the best first.

    These are the faithful and probable hypotheses of the search. If there is none, they are our own
    sentences for the plan.

    Args:
        plan: the plan.
        next_log_probs: the plan decoder with the plan as its memory.
        vocabulary: the decoder's vocabulary.
        classes: all classes.
        language: the words, and sequences of words, that the search may use.
        options: of the search.
        fit: how well captions fit the sound.
        weight: captions are ranked by their score + weight * fit; our own sentences by their fit.
    """
    hypotheses = search_captions(
        only_followers(next_log_probs, language.followers),
        vocabulary,
        options,
        without=language.forbidden_tokens(plan, classes, vocabulary),
    )[0]
    usual_words = language.usual_words(plan, vocabulary)
    captions = []
    for hypothesis in hypotheses:
        caption_words = vocabulary.decode(hypothesis.tokens)
        probable = hypothesis.score >= LEAST_SCORE
        if probable and is_faithful(caption_words, plan, classes, usual_words):
            captions.append(WordedCaption(" ".join(caption_words), hypothesis.score))
    if not captions:
        captions = [WordedCaption(text, by_decoder=False) for text in plain_captions(plan, classes)]
        weight = 1.0
    if fit is not None and weight:
        fits = fit([caption.text for caption in captions])
        captions = [
            replace(caption, fit=float(value))
            for caption, value in zip(captions, fits, strict=True)
        ]
    return sorted(captions, key=lambda caption: -(caption.score + weight * (caption.fit or 0.0)))


def only_followers(next_log_probs: NextLogProbs, followers: Followers) -> NextLogProbs:
    """Returns the same function, but with words impossible that may not follow the last two."""
    last_tokens: np.ndarray | None = None  # of the call before

    def limited(tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
        nonlocal last_tokens
        log_probs = next_log_probs(tokens, parents)
        result = np.full_like(log_probs, -np.inf)
        for row, (token, parent) in enumerate(zip(tokens, parents, strict=True)):
            if last_tokens is None:
                allowed = followers.of(token)
            else:
                allowed = followers.of_pair(int(last_tokens[parent]), int(token))
            result[row, allowed] = log_probs[row, allowed]
        last_tokens = tokens
        return result

    return limited
