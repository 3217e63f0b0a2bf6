"""The decoder: all words at once equal word by word, and masks hide the right positions."""

import itertools
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="networks run on torch: pip install 'auricle[train]'")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.checkpoint.vocabulary import PAD, SOS
from auricle.models.decoder import Attention, TransformerDecoder, sinusoids

WORDS, WIDTH, LAYERS, HEADS = 20, 16, 3, 4


@pytest.fixture(scope="module")
def decoder() -> TransformerDecoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TransformerDecoder(WORDS, WIDTH, LAYERS, HEADS, 32, 0.3).eval().requires_grad_(False)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def captions(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    tokens = torch.randint(4, WORDS, (batch, length), generator=torch.Generator().manual_seed(seed))
    tokens[:, 0] = SOS
    return tokens


def first_mask(lengths: list[int]) -> torch.Tensor:
    return torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]


def forced(
    decoder: TransformerDecoder, tokens: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Teacher forcing: log-probabilities, (batch, length, words)."""
    return decoder(decoder.embed(tokens), memory, mask).log_softmax(2)


def test_stepping_equals_teacher_forcing(decoder: TransformerDecoder):
    tokens, memory, mask = captions(3, 7), drawn(3, 9, WIDTH), first_mask([9, 4, 1])
    expected = forced(decoder, tokens, memory, mask)
    state = decoder.begin(memory, mask)
    for position in range(7):
        log_probs, state, attention = decoder.step(tokens[:, position], torch.arange(3), state)
        torch.testing.assert_close(log_probs, expected[:, position], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(3))
        assert state.past_keys.shape == (LAYERS, 3, HEADS, position + 1, WIDTH // HEADS)
        assert state.past_values.shape == state.past_keys.shape
        torch.testing.assert_close(attention.sum(1), torch.ones(3))
        assert not attention[~mask].any()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), data=st.data())
def test_parents_reorder_the_cache(decoder: TransformerDecoder, seed: int, data: st.DataObject):
    """Hypotheses that grow from each other as in a beam search get what teacher forcing gives their
    whole history."""
    batch, beam = 2, 3
    memory = drawn(batch, 5, WIDTH, seed=seed)
    state = decoder.begin(memory)
    parents, histories = list(range(batch)), [[] for _ in range(batch)]
    for step in range(5):
        tokens = captions(len(parents), 2, seed + step)[:, 1] if step else torch.full((batch,), SOS)
        histories = [
            [*histories[parent], int(token)] for parent, token in zip(parents, tokens, strict=True)
        ]
        log_probs, state, _ = decoder.step(tokens, torch.tensor(parents), state)
        rows = len(parents)
        expected = forced(
            decoder,
            torch.tensor(histories),
            memory.repeat_interleave(rows // batch, 0),
            torch.ones(rows, 5, dtype=torch.bool),
        )[:, -1]
        torch.testing.assert_close(log_probs, expected, rtol=1e-4, atol=1e-5)
        hypotheses_per_item = (
            rows // batch
        )  # the next hypotheses of an item grow from any of its own
        parents = [
            item * hypotheses_per_item + data.draw(st.integers(0, hypotheses_per_item - 1))
            for item, _ in itertools.product(range(batch), range(beam))
        ]


def test_items_do_not_hear_each_other(decoder: TransformerDecoder):
    beam, tokens = 3, captions(6, 2)[:, 1]
    memory = drawn(2, 5, WIDTH)
    other = torch.stack([memory[0], drawn(5, WIDTH, seed=1)])

    def first(memory: torch.Tensor) -> torch.Tensor:
        past = drawn(LAYERS, 6, HEADS, 2, WIDTH // HEADS, seed=2)
        state = replace(decoder.begin(memory), past_keys=past, past_values=past)
        return decoder.step(tokens, torch.arange(6), state)[0]

    torch.testing.assert_close(first(memory)[:beam], first(other)[:beam])
    assert not torch.allclose(first(memory)[beam:], first(other)[beam:], atol=1e-3)


def test_padding_of_the_memory_changes_nothing(decoder: TransformerDecoder):
    tokens, memory = captions(2, 6), drawn(2, 5, WIDTH)
    padded = torch.cat([memory, 1e3 * drawn(2, 4, WIDTH, seed=1)], 1)
    alone = forced(decoder, tokens, memory, first_mask([5, 5]))
    torch.testing.assert_close(forced(decoder, tokens, padded, first_mask([5, 5, 9])[:2]), alone)


def test_padding_of_captions_changes_nothing(decoder: TransformerDecoder):
    tokens, memory, mask = captions(2, 6), drawn(2, 5, WIDTH), first_mask([5, 3])
    padded = torch.cat([tokens, torch.full((2, 3), PAD)], 1)
    torch.testing.assert_close(
        forced(decoder, padded, memory, mask)[:, :6], forced(decoder, tokens, memory, mask)
    )


def test_no_word_sees_a_later_one(decoder: TransformerDecoder):
    tokens, memory, mask = captions(1, 6), drawn(1, 5, WIDTH), first_mask([5])
    for position in range(1, 6):
        changed = tokens.clone()
        changed[0, position] = 4 + (changed[0, position] - 3) % (WORDS - 4)
        difference = (
            (forced(decoder, changed, memory, mask) - forced(decoder, tokens, memory, mask))
            .abs()
            .amax(2)[0]
        )
        assert not difference[:position].any()
        assert (difference[position:] > 0).all()


def test_a_tied_decoder_has_one_matrix_of_words():
    tied = TransformerDecoder(WORDS, WIDTH, LAYERS, HEADS, 32, 0.3, tied=True).eval()
    of_words = [name for name, tensor in tied.named_parameters() if WORDS in tensor.shape]
    assert of_words == ["embedding.weight"]
    tokens, memory, mask = captions(2, 6), drawn(2, 5, WIDTH), first_mask([5, 3])
    expected = forced(tied, tokens, memory, mask)
    log_probs, _, _ = tied.step(tokens[:, 0], torch.arange(2), tied.begin(memory, mask))
    torch.testing.assert_close(log_probs, expected[:, 0], rtol=1e-4, atol=1e-5)


def test_a_sound_without_a_frame_stays_finite(decoder: TransformerDecoder):
    log_probs = forced(
        decoder, captions(1, 4), drawn(1, 5, WIDTH), torch.zeros(1, 5, dtype=torch.bool)
    )
    assert log_probs.isfinite().all()


def test_attention_equals_torchs():
    torch.manual_seed(0)
    ours, mask = Attention(WIDTH, HEADS, 0.0), torch.rand(2, 1, 4, 6) < 0.7
    mask[..., 0] = True
    x, y = drawn(2, 4, WIDTH), drawn(2, 6, WIDTH, seed=1)
    keys, values = ours.keys_values(y)
    expected = torch.nn.functional.scaled_dot_product_attention(
        ours.split(ours.query(x)), keys, values, mask
    )
    torch.testing.assert_close(
        ours(x, keys, values, mask)[0], ours.output(expected.transpose(1, 2).flatten(2))
    )


def test_positions_are_vaswanis():
    encoded = sinusoids(torch.arange(50), 8)
    rates = torch.tensor([10_000 ** (-2 * i / 8) for i in range(4)])
    torch.testing.assert_close(encoded[:, 0::2], torch.sin(torch.arange(50)[:, None] * rates))
    torch.testing.assert_close(encoded[:, 1::2], torch.cos(torch.arange(50)[:, None] * rates))


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(ValueError, match="width is 10: expected a multiple of heads, 4"):
        Attention(10, 4, 0.0)
