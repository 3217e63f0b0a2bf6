"""Batches: a function of seed and epoch that visits everything once, shared out among processes,
padded without harm."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="batches are torch tensors: pip install 'auricle[train]'"
)

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from auricle.checkpoint.vocabulary import EOS, PAD, SOS, UNKNOWN, Vocabulary  # noqa: E402
from auricle.data.batches import Batches, BatchOptions, Share  # noqa: E402
from auricle.data.collation import Batch, BatchMemory  # noqa: E402
from auricle.data.manifest import Item  # noqa: E402
from auricle.data.mixtures import Mixtures  # noqa: E402
from auricle.data.sampler import LONGEST_BY_SHORTEST  # noqa: E402
from auricle.data.texts import SoundTags, Texts  # noqa: E402
from auricle.errors import AuricleError  # noqa: E402
from auricle.sound.features import FRONT_ENDS  # noqa: E402

MELS = 4


def made(
    counts: list[int],
    size: int,
    labels: list[str] | None = None,
    shortest: int = 27,
    texts: Texts | None = None,
    sound_tags: SoundTags | None = None,
    share: Share | None = None,
    **options: Any,
) -> Batches:
    """Batches of a sound for each count of captions, with different lengths up to 39 frames."""
    items = [
        Item(
            Path(f"{i}.wav"),
            "train",
            tuple(f"sound {i} said {k}" for k in range(n)),
            labels[i] if labels else "",
        )
        for i, n in enumerate(counts)
    ]
    rng = np.random.default_rng(0)
    spectrograms = [
        rng.normal(1, 1, (int(rng.integers(shortest, 40)), MELS)).astype(np.float32) for _ in items
    ]
    vocabulary = Vocabulary.build([caption for item in items for caption in item.captions])
    return Batches(
        items,
        spectrograms,
        vocabulary,
        BatchOptions(size, **options),
        texts=texts,
        sound_tags=sound_tags,
        share=share,
    )


def spectrograms_of(batches: Batches) -> Any:
    return batches.collator.source.spectrograms


data = st.lists(st.integers(1, 5), min_size=1, max_size=60)


@settings(deadline=None, max_examples=50)
@given(data, st.integers(1, 9), st.integers(0, 99), st.integers(0, 99))
def test_an_epoch_visits_every_caption_once_and_no_sound_twice_in_a_batch(
    counts: list[int], size: int, seed: int, epoch: int
):
    plan = made(counts, size).plan(seed, epoch)
    pairs = [pair for batch in plan for pair in batch]
    assert sorted(pairs) == [(i, k) for i, count in enumerate(counts) for k in range(count)]
    for batch in plan:
        assert 1 <= len(batch) <= size
        assert len({sound for sound, _ in batch}) == len(batch)


@settings(deadline=None, max_examples=30)
@given(data, st.integers(1, 9), st.integers(1, 6))
def test_rounds_visit_so_many_captions_of_each_sound(counts: list[int], size: int, rounds: int):
    pairs = [pair for batch in made(counts, size, rounds=rounds).plan(0, 0) for pair in batch]
    assert len(set(pairs)) == len(pairs)
    for sound, count in enumerate(counts):
        assert sum(i == sound for i, _ in pairs) == min(count, rounds)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["", "a", "b", "c"])), min_size=1),
    st.integers(1, 9),
)
def test_labels_are_visited_equally_often_and_their_sounds_nearly_so(
    sounds: list[tuple[int, str]], visits: int
):
    counts, labels = zip(*sounds, strict=True)
    pairs = [
        pair
        for batch in made(list(counts), 8, list(labels), visits_per_label=visits).plan(0, 0)
        for pair in batch
    ]
    for label in set(labels) - {""}:
        times = [
            sum(i == sound for i, _ in pairs)
            for sound, own_label in enumerate(labels)
            if own_label == label
        ]
        assert sum(times) == visits
        assert max(times) - min(times) <= 1
    for sound, (count, label) in enumerate(sounds):
        said = [caption for i, caption in pairs if i == sound]
        if not label:
            assert sorted(said) == list(range(count))
        assert len(set(said)) == min(count, len(said))


def test_sounds_in_a_batch_are_of_like_length():
    batches = made([2] * 100, 8, shortest=3)
    lengths = [
        [len(spectrograms_of(batches)[sound]) for sound, _ in batch] for batch in batches.plan(0, 0)
    ]
    assert all(max(batch) <= LONGEST_BY_SHORTEST * min(batch) for batch in lengths)
    assert sum(map(len, lengths)) == 200
    assert len(lengths) < 100


def test_the_plan_is_a_function_of_seed_and_epoch():
    counts = [3] * 50
    plan = made(counts, 8).plan(1, 2)
    np.random.default_rng().random()
    assert made(counts, 8).plan(1, 2) == plan
    assert made(counts, 8).plan(2, 2) != plan
    assert made(counts, 8).plan(1, 3) != plan


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(1, 5), min_size=8, max_size=60),
    st.integers(4, 9),
    st.integers(2, 4),
    st.integers(0, 99),
)
def test_processes_share_every_batch(counts: list[int], size: int, ranks: int, epoch: int):
    shares = [made(counts, size, share=Share(rank, ranks)) for rank in range(ranks)]
    plan = shares[0].plan(0, epoch)
    assert all(share.plan(0, epoch) == plan for share in shares)
    numbers_of_shares = [list(share.epoch(0, epoch)) for share in shares]
    for number, pairs in enumerate(plan):
        parts = [batches[number] for batches in numbers_of_shares]
        # gathering needs equally many rows of each process
        assert len({len(part.items) for part in parts}) == 1
        captions = sorted(caption for part in parts for caption in part.captions)
        assert captions == sorted(shares[0].items[i].captions[k] for i, k in pairs)


def test_too_many_processes_are_refused():
    with pytest.raises(AuricleError, match="cannot be shared among 4 processes"):
        made([1] * 20, 3, share=Share(0, 4))
    with pytest.raises(AuricleError, match="cannot be shared among 4 processes"):
        made([1] * 3, 16, share=Share(0, 4))


@settings(deadline=None, max_examples=20)
@given(data, st.integers(1, 9))
def test_tensors_hold_the_sounds_and_captions_and_padding(counts: list[int], size: int):
    batches = made(counts, size, padding=-7.5)
    for batch in batches.epoch(0, 0):
        assert batch.log_mel.shape == (len(batch.items), int(batch.frames.max()), MELS)
        for row, item in enumerate(batch.items):
            spectrogram = spectrograms_of(batches)[list(batches.items).index(item)]
            length = int(batch.frames[row])
            np.testing.assert_array_equal(batch.log_mel[row, :length], spectrogram)
            assert (batch.log_mel[row, length:] == -7.5).all()
            encoded = batches.collator.vocabulary.encode(batch.captions[row])
            assert batch.tokens[row, : len(encoded)].tolist() == encoded
            assert (batch.tokens[row, len(encoded) :] == PAD).all()
            assert batch.captions[row] in item.captions
        assert (batch.tokens[:, -1] != PAD).any()


def test_batches_do_not_depend_on_the_workers():
    one, three = (made([2] * 40, 4, workers=workers) for workers in (1, 3))
    for batch, same in zip(one.epoch(5, 1), three.epoch(5, 1), strict=True):
        assert batch.captions == same.captions
        assert torch.equal(batch.log_mel, same.log_mel)
        assert torch.equal(batch.tokens, same.tokens)


def test_a_batch_in_use_is_never_overwritten():
    batches, same = made([2] * 40, 4, workers=3), made([2] * 40, 4)
    held = [batch.log_mel[1:] for batch in batches.epoch(5, 1)]
    assert sum(1 for _ in batches.epoch(5, 2)) == len(held)
    for rows, batch in zip(held, same.epoch(5, 1), strict=True):
        assert torch.equal(rows, batch.log_mel[1:])


def test_memory_is_used_again_once_nothing_refers_to_it():
    memory = BatchMemory()
    batch = memory.take((4, 50, MELS))
    place, rows = batch.data_ptr(), batch[2:]
    del batch
    other = memory.take((4, 50, MELS))
    assert other.data_ptr() != place
    del rows
    assert memory.take((3, 40, MELS)).data_ptr() == place
    del other
    assert memory.take((9, 50, MELS)).shape == (9, 50, MELS)


def test_padding_to_the_longest_counts_as_sound():
    batches = made([1] * 10, 4, padded_frames=40)
    # the shortest with the longest, if need be
    assert sorted(map(len, batches.plan(0, 0))) == [2, 4, 4]
    for batch in batches.epoch(0, 0):
        assert batch.log_mel.shape[1] == 40
        assert (batch.frames == 40).all()


def test_sounds_of_like_length_come_together():
    batches = made([1] * 200, 8)
    padded = [max(batch.frames) - min(batch.frames) for batch in batches.epoch(0, 0)]
    assert np.mean(padded) < 0.3 * (40 - 3)


def test_an_epoch_may_be_left_before_its_end():
    epoch = made([1] * 100, 2).epoch(0, 0)
    next(epoch)
    del epoch


def test_an_error_in_the_thread_ahead_is_raised():
    batches = made([1] * 20, 2)
    spectrograms_of(batches).clear()
    with pytest.raises(IndexError):
        list(batches.epoch(0, 0))


def test_words_are_the_known_words_alone():
    vocabulary = Vocabulary(["dog", "barks"])
    captions = ("A dog barks.", "Barks dog", "Nothing known here at all", "", "dog")
    encoded = [vocabulary.encode(caption) for caption in captions]
    tokens = torch.full((5, max(map(len, encoded))), PAD)
    for row, numbers in enumerate(encoded):
        tokens[row, : len(numbers)] = torch.tensor(numbers)
    before = tokens.clone()
    words = Batch(torch.zeros(5, 1, MELS), torch.ones(5), tokens, (), captions).words()
    assert torch.equal(tokens, before)
    assert not ((words == SOS) | (words == EOS)).any()
    kept = [[vocabulary.words[int(n)] for n in row if n != PAD] for row in words]
    unknown = vocabulary.words[UNKNOWN]
    assert kept == [["dog", "barks"], ["barks", "dog"], [unknown], [unknown], ["dog"]]


def mixtures(share: float) -> Mixtures:
    return Mixtures(share, FRONT_ENDS["panns"])


def made_texts(count: int) -> Texts:
    rng = np.random.default_rng(0)
    profiles = np.sort(rng.uniform(0.01, 1, (9, 4)).astype(np.float32))[:, ::-1]
    captions = [f"sound {number} said {number}" for number in range(count)]
    vocabulary = Vocabulary(["sound", "said"])
    return Texts(
        captions,
        [{number % 20: 0.5} for number in range(count)],
        profiles,
        rng.normal(size=(20, 3)),
        vocabulary,
    )


def rows(batch: Batch) -> list[tuple[str, bytes, list[int]]]:
    """The sounds of a batch, whatever they are padded to: caption, spectrogram, known tokens."""
    return [
        (caption, log_mel[:length].numpy().tobytes(), tokens[tokens != PAD].tolist())
        for caption, log_mel, length, tokens in zip(
            batch.captions, batch.log_mel, batch.frames, batch.tokens, strict=False
        )
    ]


def text_rows(batch: Batch) -> list[tuple[str, bytes]]:
    assert batch.text_tags is not None
    return [
        (caption, tags.numpy().tobytes())
        for caption, tags in zip(batch.captions[len(batch.items) :], batch.text_tags, strict=True)
    ]


def test_captions_without_sound_come_after_those_of_the_sounds():
    texts = made_texts(11)
    visited = []
    for batch in made([1] * 10, 4, texts=texts, texts_per_batch=3).epoch(0, 0):
        assert batch.text_tags is not None
        assert batch.text_tags.shape == (3, 20)
        assert len(batch.log_mel) == len(batch.frames) == len(batch.items)
        assert len(batch.tokens) == len(batch.captions) == len(batch.items) + 3
        assert len(batch.words()) == len(batch.tokens)
        for row in range(len(batch.items), len(batch.captions)):
            number = texts.captions.index(batch.captions[row])
            encoded = texts.tokens[number]
            assert batch.tokens[row, : len(encoded)].tolist() == encoded
            assert (batch.tokens[row, len(encoded) :] == PAD).all()
            visited.append(number)
    assert len(set(visited)) == len(visited) == 9


def test_without_texts_there_are_no_tags():
    assert all(batch.text_tags is None for batch in made([1] * 10, 4).epoch(0, 0))


def test_fewer_texts_than_processes_are_none():
    shares = made([1] * 8, 4, texts=made_texts(5), texts_per_batch=1, share=Share(0, 2))
    assert all(batch.text_tags is None and len(batch.captions) == 2 for batch in shares.epoch(0, 0))


def test_mixtures_and_texts_are_a_function_of_seed_and_epoch():
    def epoch(seed: int, number: int) -> list[object]:
        batches = made([2] * 30, 4, mixtures=mixtures(0.5), texts=made_texts(40), texts_per_batch=2)
        return [(rows(batch), text_rows(batch)) for batch in batches.epoch(seed, number)]

    first = epoch(1, 2)
    np.random.default_rng().random()
    assert epoch(1, 2) == first
    assert epoch(2, 2) != first
    assert epoch(1, 3) != first


@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_together_have_the_rows_of_one(ranks: int):
    """Also mixtures and tags, which are drawn anew for each row."""
    options: dict[str, Any] = {
        "mixtures": mixtures(0.5),
        "texts": made_texts(50),
        "texts_per_batch": 4,
    }
    whole = list(made([1] * 40, 8, **options).epoch(3, 1))
    shares = [
        list(made([1] * 40, 8, **options, share=Share(rank, ranks)).epoch(3, 1))
        for rank in range(ranks)
    ]
    for number, batch in enumerate(whole):
        for rank, share in enumerate(shares):
            assert rows(share[number]) == rows(batch)[rank::ranks]
            assert text_rows(share[number]) == text_rows(batch)[rank::ranks]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_as_many_sounds_are_mixed_as_are_wanted(share: float):
    batches = made([1] * 300, 16, mixtures=mixtures(share))
    captions = [caption for batch in batches.epoch(0, 0) for caption in batch.captions]
    assert np.mean([caption.count("said") == 2 for caption in captions]) == pytest.approx(
        share, abs=0.08
    )


def test_a_mixture_is_heard_and_told_of_and_known_by_both_its_sounds():
    labels = [f"l{number % 7}" for number in range(40)]
    batches = made([1] * 40, 8, labels, mixtures=mixtures(1))
    found = 0
    for batch in batches.epoch(0, 0):
        for item, caption, log_mel, length in zip(
            batch.items, batch.captions, batch.log_mel, batch.frames, strict=True
        ):
            first = int(item.file.stem)
            told = [int(number) for number in re.findall(r"sound (\d+)", caption)]
            assert first in told
            if len(told) == 2:
                found += 1
                other = sum(told) - first
                assert labels[first] != labels[other]  # the same would be no mixture
                assert item.label == "+".join(sorted((labels[first], labels[other])))
                assert length <= len(spectrograms_of(batches)[first])
                assert not np.allclose(log_mel[:length], spectrograms_of(batches)[first][:length])
            else:
                np.testing.assert_array_equal(log_mel[:length], spectrograms_of(batches)[first])
    assert found > 20


def test_the_tags_of_a_mixture_are_those_of_its_sounds_and_of_what_is_told_of_them():
    """Each sound is heard as a class of its own, and told of as another."""
    heard = np.full((20, 50), 0.1, np.float32)
    heard[np.arange(20), np.arange(20)] = 0.7
    told = {f"sound {i} said 0": {20 + i: 0.6, 49: 0.05} for i in range(20)}
    batches = made(
        [1] * 20, 8, mixtures=Mixtures(0.5, FRONT_ENDS["panns"]), sound_tags=SoundTags(heard, told)
    )
    mixed = 0
    for batch in batches.epoch(0, 0):
        assert batch.sound_tags is not None
        for caption, tags in zip(batch.captions, batch.sound_tags, strict=True):
            sounds = {int(number) for number in re.findall(r"sound (\d+)", caption)}
            expected = np.full(50, 0.1, np.float32)
            for sound in sounds:
                expected[sound], expected[20 + sound] = 0.7, 0.6
            np.testing.assert_allclose(tags, expected)
            mixed += len(sounds) == 2
    assert 4 <= mixed <= 16
    assert heard.max() < 0.8, "what was given stays as it was"
    assert (heard == 0.1).sum() == 20 * 49


def test_sounds_of_which_nothing_is_known_are_mixed_but_not_with_themselves():
    for batch in made([1] * 3, 3, mixtures=mixtures(1)).epoch(0, 0):
        for item, caption in zip(batch.items, batch.captions, strict=True):
            numbers = re.findall(r"sound (\d+)", caption)
            assert len(set(numbers)) == len(numbers)
            assert item.label == item.group == ""  # and so they fit no other by it
