"""Batches of captions and plans, and the language learnt from them."""

from itertools import islice

import numpy as np
import pytest

from auricle.checkpoint.vocabulary import EOS, SOS, Vocabulary
from auricle.data.plan_captions import SourcedCaption, read_captions
from auricle.data.plan_language import learn_followers, learn_language
from auricle.data.plan_texts import POOL_BATCHES, PlanBatch, PlanTexts, Shares, learnt_words
from auricle.errors import AuricleError
from auricle.planning.checks import mentions_all, tells_marks
from auricle.planning.grammar import plain_sentences
from auricle.planning.plans import Plan, PlannedEvent, Relation, Repetition, Trend
from small_classes import CAPTIONS, small_classes

CLASSES = small_classes()
SOURCED = [SourcedCaption(text, 1) for text in CAPTIONS * 20]
READINGS = read_captions(SOURCED, CLASSES)
LEARNT = learnt_words(READINGS, CLASSES)
VOCABULARY = Vocabulary([*LEARNT, "hippopotamus"])


def make_texts(**shares: float) -> PlanTexts:
    return PlanTexts(READINGS, CLASSES, VOCABULARY, LEARNT, Shares(**shares))


def assert_equal(one: PlanBatch, other: PlanBatch) -> None:
    for name in ("events", "mask", "whole", "tokens"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_batch_depends_on_the_seed_and_its_number_alone():
    texts = make_texts()
    numbers = (0, 3, POOL_BATCHES - 1, POOL_BATCHES, 2 * POOL_BATCHES + 1)
    batches = list(islice(texts.batches(8, seed=0), max(numbers) + 1))
    for number in numbers:
        assert_equal(next(texts.batches(8, seed=0, first=number)), batches[number])
    other = next(texts.batches(8, seed=1))
    assert (
        other.tokens.shape != batches[0].tokens.shape or (other.tokens != batches[0].tokens).any()
    )


@pytest.mark.parametrize(
    "shares",
    [
        {"ours": 1.0, "recombined": 0.0},
        {"ours": 0.0, "recombined": 1.0},
        {"ours": 0.0, "recombined": 0.0},
    ],
)
def test_every_caption_tells_its_plan(shares: dict[str, float]):
    for batch in islice(make_texts(**shares).batches(16, seed=0), 20):
        assert batch.tokens.shape[0] == 16
        assert (batch.tokens[:, 0] == SOS).all()
        assert ((batch.tokens == EOS).sum(1) == 1).all()
        for row, (relation, _) in enumerate(batch.whole):
            events = batch.events[row, batch.mask[row]]
            plan = Plan(
                tuple(PlannedEvent(int(c), Repetition(r), Trend(t)) for c, r, t in events),
                Relation(relation),
            )
            caption_words = VOCABULARY.decode(batch.tokens[row, 1:].tolist())
            assert mentions_all(caption_words, plan, CLASSES), caption_words
            assert tells_marks(caption_words, plan), caption_words


def test_learnt_words_are_ours_and_frequent_ones():
    assert {"falls", "barks", "sneezes", "together", "while"} <= set(LEARNT)
    assert "driving" in LEARNT
    assert "driving" not in learnt_words(READINGS, CLASSES, minimum_count=21)


def test_a_vocabulary_without_a_learnt_word_is_refused():
    with pytest.raises(AuricleError, match="the vocabulary lacks 1 words"):
        PlanTexts(READINGS, CLASSES, Vocabulary(LEARNT[1:]), LEARNT)


def test_texts_without_captions_by_people_are_refused():
    with pytest.raises(AuricleError, match="no caption by people"):
        PlanTexts([], CLASSES, VOCABULARY, LEARNT)


def test_the_fingerprint_tells_texts_apart():
    prints = {make_texts().fingerprint(), make_texts(ours=0.5).fingerprint()}
    assert len(prints) == 2
    assert make_texts().fingerprint() in prints


def test_words_of_other_classes_are_forbidden():
    language = learn_language(READINGS, SOURCED, CLASSES, VOCABULARY, LEARNT, composed=50)
    dog = Plan((PlannedEvent(CLASSES.indices["Dog"]),))
    tokens = language.forbidden_tokens(dog, CLASSES, VOCABULARY)
    forbidden = {VOCABULARY.words[token] for token in tokens}
    assert {"rain", "car", "then", "twice", "hippopotamus"} <= forbidden
    assert {"a", "dog", "barks", "while"}.isdisjoint(forbidden)


def test_the_language_allows_all_our_sentences():
    language = learn_language(READINGS, SOURCED, CLASSES, VOCABULARY, LEARNT, composed=50)
    for index, entry in enumerate(CLASSES.classes):
        for sentence in plain_sentences(entry):
            tokens = VOCABULARY.encode(sentence)
            assert language.class_words[index, tokens].all()
            assert tokens[1] in language.followers.of(tokens[0])
            for first, second, third in zip(tokens, tokens[1:], tokens[2:], strict=False):
                assert third in language.followers.of_pair(first, second)


def test_pairs_of_people_must_stand_twice_and_never_count_music():
    vocabulary = Vocabulary("a music box water pump plays is".split())
    ours = ["a water pump plays", "a music box plays"]
    by_people = ["a music is", "a music is", "water is", "water is", "pump is"]
    followers = learn_followers(ours, by_people, [], vocabulary)

    def follow(first: str, second: str) -> bool:
        one, two = vocabulary.numbers([first, second])
        return two in followers.of(one)

    assert follow("a", "water")
    assert follow("water", "is")
    assert not follow("pump", "is")
    assert not follow("a", "music")


def test_triples_of_other_captions_must_stand_three_times_and_consist_of_known_pairs():
    vocabulary = Vocabulary("a dog cat barks loudly meows".split())
    ours = ["a dog barks", "a cat meows", "cat barks loudly"]
    others = [f"a cat barks {end}" for end in ("", "loudly", "meows")] + ["a dog meows"] * 5
    followers = learn_followers(ours, [], others, vocabulary)
    a, dog, cat, barks, loudly, meows = vocabulary.numbers(vocabulary.words[4:])
    assert followers.of_pair(a, cat).tolist() == [barks, meows]
    assert followers.of_pair(a, dog).tolist() == [barks]
    assert followers.of_pair(cat, barks).tolist() == [loudly]
