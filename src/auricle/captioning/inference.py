"""From one encoded sound to its caption: search, second event, reranking, tags, confidence."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from auricle.captioning.beam_search import Hypothesis, search_captions
from auricle.captioning.confidence import with_confidence
from auricle.captioning.onnx_backend import EncodedSound, OnnxModel
from auricle.captioning.results import Alternative, Caption, Tag
from auricle.checkpoint.config import BeamOptions
from auricle.checkpoint.folder import Checkpoint
from auricle.checkpoint.vocabulary import STOP_WORDS, sentence
from auricle.errors import AuricleError

TAGS_PER_CAPTION = 10
LINK = "while"  # between two events
SECOND_EVENT_WORDS = 4  # the least that is told of a second event


@dataclass(frozen=True)
class RankedHypothesis:
    """A hypothesis of the beam search and its similarity to the sound, if that is compared."""

    hypothesis: Hypothesis
    similarity: float | None

    def rank(self, rerank: float) -> float:
        """The score plus `rerank` times the similarity."""
        return self.hypothesis.score + rerank * (self.similarity or 0.0)


def describe(
    checkpoint: Checkpoint,
    model: OnnxModel,
    options: BeamOptions,
    sound: EncodedSound,
    seconds: float,
) -> Caption:
    """The caption of an encoded sound of `seconds`, whether it is silent or not.

    Raises:
        AuricleError: the search finds no sentence.
    """
    ranked = _search(checkpoint, model, options, sound)
    if not ranked:
        raise AuricleError(
            "the model finds no sentence for this sound: its decoding options may be too strict, "
            "or its weights damaged"
        )
    both = _with_second_event(checkpoint, model, options, sound, ranked[0])
    if both is not None:
        ranked = [both, *ranked][: options.beam]
    alternatives = tuple(
        Alternative(
            sentence(checkpoint.vocabulary.decode(found.hypothesis.tokens)),
            found.hypothesis.score,
            found.similarity,
        )
        for found in ranked
    )
    caption = Caption(
        0.0,
        seconds,
        alternatives[0].text,
        alternatives[0].score,
        alternatives,
        tags=likeliest_tags(checkpoint, sound),
        embedding=sound.embedding,
    )
    return with_confidence(caption, checkpoint.config.confidence)


def likeliest_tags(checkpoint: Checkpoint, sound: EncodedSound) -> tuple[Tag, ...]:
    """The ten most probable tags, the most probable first; none where there are no tags."""
    if sound.tags is None:
        return ()
    likeliest = np.argsort(-sound.tags, kind="stable")[:TAGS_PER_CAPTION]
    return tuple(Tag(checkpoint.tags[i], float(sound.tags[i])) for i in likeliest)


def _search(
    checkpoint: Checkpoint,
    model: OnnxModel,
    options: BeamOptions,
    sound: EncodedSound,
    without: Collection[int] = (),
) -> list[RankedHypothesis]:
    """Hypotheses without some words, the best first."""
    config = checkpoint.config
    assert sound.memory is not None
    next_log_probs = model.next_log_probs(sound.memory)
    (found,) = search_captions(next_log_probs, checkpoint.vocabulary, options, without=without)
    similarities: list[float | None] = [None] * len(found)
    if sound.embedding is not None and (config.rerank or config.second_event):
        sentences = model.embed_sentences([hypothesis.tokens for hypothesis in found])
        similarities = (sentences @ sound.embedding).tolist()
    ranked = [RankedHypothesis(*pair) for pair in zip(found, similarities, strict=True)]
    return sorted(ranked, key=lambda hypothesis: -hypothesis.rank(config.rerank))


def _with_second_event(
    checkpoint: Checkpoint,
    model: OnnxModel,
    options: BeamOptions,
    sound: EncodedSound,
    first: RankedHypothesis,
) -> RankedHypothesis | None:
    """The first hypothesis joined with one of a second event; None if that fits no better."""
    limits, vocabulary = checkpoint.config.second_event, checkpoint.vocabulary
    if limits is None or LINK not in vocabulary or sound.embedding is None:
        return None
    if first.similarity is None or first.similarity >= limits.below:
        return None
    content_words = set(first.hypothesis.tokens).difference(vocabulary.numbers(STOP_WORDS))
    short = replace(options, min_length=min(options.min_length, SECOND_EVENT_WORDS))
    for found in _search(checkpoint, model, short, sound, content_words)[:1]:
        second = found.hypothesis
        spoken = [*vocabulary.decode(first.hypothesis.tokens), LINK]
        spoken += vocabulary.decode(second.tokens)
        tokens = tuple(vocabulary.encode(" ".join(spoken))[1:-1])
        log_prob = first.hypothesis.log_prob + second.log_prob
        score = log_prob / (len(tokens) + 1) ** options.length_penalty
        similarity = float(model.embed_sentences([tokens])[0] @ sound.embedding)
        if similarity > first.similarity + limits.gain:
            return RankedHypothesis(Hypothesis(tokens, log_prob, score), similarity)
    return None
