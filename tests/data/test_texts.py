"""Captions without sound: each in its turn, with tags as uncertain as a tagger's."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.checkpoint.vocabulary import Vocabulary
from auricle.data.texts import NEIGHBOURS, Texts

CLASSES = np.random.default_rng(0).normal(size=(60, 5))  # vectors
TOLD = ({7: 0.8}, {3: 0.5, 9: 0.7, 20: 0.43}, {number: 1 - number / 100 for number in range(12)})


def made(captions: int = len(TOLD), tags: int = 8) -> Texts:
    rng = np.random.default_rng(0)
    profiles = np.sort(rng.uniform(0.001, 1, (30, tags)).astype(np.float32))[:, ::-1]
    told = [TOLD[number % len(TOLD)] for number in range(captions)]
    names = ["caption" + " goes on" * (number % 7) for number in range(captions)]
    return Texts(names, told, profiles, CLASSES, Vocabulary(["caption"]))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 20), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99)
)
def test_all_are_visited_before_any_is_again(
    captions: int, batches: int, size: int, epochs: int, seed: int
):
    texts = made(captions)
    visits = np.zeros(captions, int)
    for epoch in range(epochs):
        order = texts.order(seed, epoch, batches, size)
        assert order.shape == (batches, size)
        np.add.at(visits, order.ravel(), 1)
        assert visits.max() - visits.min() <= 1


def test_captions_in_a_batch_are_of_like_length():
    texts = made(60)
    lengths = np.array([len(tokens) for tokens in texts.tokens])
    spans = [np.ptp(lengths[batch]) for batch in texts.order(0, 0, 12, 5)]
    assert np.ptp(lengths) > 0
    assert sum(span > 0 for span in spans) < len(np.unique(lengths))


def test_the_order_is_a_function_of_seed_and_epoch():
    texts = made(50)
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        np.testing.assert_array_equal(
            texts.order(seed, epoch, 4, 5), made(50).order(seed, epoch, 4, 5)
        )
    assert (
        len(
            {
                tuple(texts.order(seed, epoch, 4, 5).ravel())
                for seed in range(3)
                for epoch in range(3)
            }
        )
        == 9
    )


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(TOLD) - 1), st.integers(1, 10), st.integers(0, 999))
def test_tags_are_as_likely_as_those_of_a_real_sound(caption: int, tags: int, seed: int):
    texts = made(tags=tags)
    drawn = texts.draw_tags(caption, np.random.default_rng(seed))
    assert drawn.shape == (len(CLASSES),)
    assert drawn.dtype == np.float32
    likeliest = np.sort(drawn)[::-1]
    assert not likeliest[tags:].any()
    assert (texts.profiles == likeliest[:tags]).all(1).any()
    np.testing.assert_array_equal(
        drawn, made(tags=tags).draw_tags(caption, np.random.default_rng(seed))
    )


def likeliest(caption: int, draws: int = 400) -> Counter[int]:
    texts = made()
    return Counter(
        int(texts.draw_tags(caption, np.random.default_rng(seed)).argmax()) for seed in range(draws)
    )


def test_what_is_told_is_the_likeliest_more_often_than_noise():
    counts = likeliest(0)
    assert counts[7] > 0.85 * 400
    assert len(counts) > 1  # a tagger errs
    counts = likeliest(1)
    assert [number for number, _ in counts.most_common(2)] == [9, 3]  # the nearest before the next
    assert sum(counts[number] for number in TOLD[1]) > 0.85 * 400


@pytest.mark.parametrize("caption", [0, 1])
def test_all_that_is_told_is_among_the_tags(caption: int):
    for seed in range(50):
        drawn = made().draw_tags(caption, np.random.default_rng(seed))
        assert drawn[list(TOLD[caption])].all()


def test_the_rest_goes_to_classes_that_are_taken_for_what_is_told_and_seldom_to_any():
    unit = CLASSES / np.linalg.norm(CLASSES, axis=1, keepdims=True)
    near = set(np.argsort(-unit @ unit[7])[1 : NEIGHBOURS + 1].tolist())
    texts, found = made(), Counter()
    for seed in range(300):
        found.update(np.flatnonzero(texts.draw_tags(0, np.random.default_rng(seed))).tolist())
    del found[7]
    elsewhere = sum(count for number, count in found.items() if number not in near)
    assert 0 < elsewhere < 0.3 * found.total()
