"""The contrastive loss is the paper's, and retrieval is measured as defined."""

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks run on torch: pip install 'auricle[train]'")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from auricle.checkpoint.config import EncoderConfig
from auricle.checkpoint.vocabulary import PAD, UNKNOWN
from auricle.models.cnn10 import AUDIOSET_CLASSES
from auricle.models.contrastive import (
    HEARD_TAGS,
    PreEncoder,
    TextTower,
    contrastive_loss,
    fitting_pairs,
    retrieval,
    tag_features,
)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def written_out(
    audio: torch.Tensor, captions: torch.Tensor, tau: float, also_fit: np.ndarray
) -> float:
    """Equations (7) to (10), pair by pair; pairs that also fit are left out of the sums."""
    n = len(audio)
    s = [[float(audio[i] @ captions[j]) for j in range(n)] for i in range(n)]
    total = 0.0
    for i in range(n):
        pair = math.exp(s[i][i] / tau)
        total -= math.log(
            pair / sum(math.exp(s[i][j] / tau) for j in range(n) if not also_fit[i][j])
        )
        total -= math.log(
            pair / sum(math.exp(s[j][i] / tau) for j in range(n) if not also_fit[j][i])
        )
    return total / n


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(0, 999), st.floats(0.05, 2), st.booleans())
def test_the_loss_is_the_papers(n: int, seed: int, tau: float, masked: bool):
    audio, captions = (
        F.normalize(drawn(seed, n, 5), dim=1),
        F.normalize(drawn(seed + 1, n, 5), dim=1),
    )
    also_fit = np.random.default_rng(seed).random((n, n)) < 0.4 * masked
    np.fill_diagonal(also_fit, False)
    loss = contrastive_loss(audio, captions, tau, torch.from_numpy(also_fit) if masked else None)
    assert float(loss) == pytest.approx(
        written_out(audio, captions, tau, also_fit), rel=1e-9, abs=1e-12
    )


def test_known_losses():
    same = torch.ones(7, 1)
    assert float(contrastive_loss(same, same, 0.07)) == pytest.approx(2 * math.log(7))
    assert float(contrastive_loss(torch.eye(4), torch.eye(4), 1e-3)) == pytest.approx(0)
    everything = ~torch.eye(7, dtype=torch.bool)
    assert float(contrastive_loss(same, same, 0.07, everything)) == pytest.approx(0)


@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_is_that_of_the_loss(masked: bool):
    also_fit = torch.zeros(5, 5, dtype=torch.bool)
    also_fit[0, 1] = also_fit[1, 0] = also_fit[2, 4] = masked
    inputs = [drawn(0, 5, 3).requires_grad_(), drawn(1, 5, 3).requires_grad_()]
    tau = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def function(audio: torch.Tensor, captions: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
        return contrastive_loss(
            F.normalize(audio, dim=1), F.normalize(captions, dim=1), tau, also_fit
        )

    assert torch.autograd.gradcheck(function, (*inputs, tau))


def test_pairs_that_fit():
    fit = fitting_pairs(["g", "g", "", ""], ["a", "b", "c", "a"], ["", "x", "x", ""])
    expected = np.eye(4, dtype=bool)
    for i, j in ((0, 1), (0, 3), (1, 2)):
        expected[i, j] = expected[j, i] = True
    np.testing.assert_array_equal(fit, expected)


def slowly(similarity: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    """The same measures, as their definitions read."""
    recalls, precisions = {1: [], 5: [], 10: []}, []
    for scores, right in zip(similarity, relevant, strict=True):
        ranking = sorted(range(len(scores)), key=lambda j: -scores[j])
        for k, found in recalls.items():
            found.append(any(right[j] for j in ranking[:k]))
        average = [
            sum(right[ranking[: place + 1]]) / (place + 1)
            for place, j in enumerate(ranking[:10])
            if right[j]
        ]
        precisions.append(sum(average) / max(1, min(10, sum(right))))
    return {
        **{f"recall_{k}": float(np.mean(found)) for k, found in recalls.items()},
        "map_10": float(np.mean(precisions)),
    }


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 999))
def test_retrieval_is_as_defined(sounds: int, captions: int, seed: int):
    rng = np.random.default_rng(seed)
    similarity, relevant = rng.normal(size=(sounds, captions)), rng.random((sounds, captions)) < 0.3
    measured = retrieval(similarity, relevant)
    for name, s, r in (
        ("audio_to_text", similarity, relevant),
        ("text_to_audio", similarity.T, relevant.T),
    ):
        for key, value in slowly(s, r).items():
            assert measured[f"{name}_{key}"] == pytest.approx(value)


def test_known_retrievals():
    eye = np.eye(30, dtype=bool)
    assert set(retrieval(eye.astype(float), eye).values()) == {1.0}
    third = np.roll(eye, 1, 1) * 2.0 + np.roll(eye, 2, 1) * 1.5 + eye  # the own one comes third
    measured = retrieval(third, eye)
    assert (measured["audio_to_text_recall_1"], measured["audio_to_text_recall_5"]) == (0, 1)
    assert measured["audio_to_text_map_10"] == pytest.approx(1 / 3)
    assert set(retrieval(-eye.astype(float), eye).values()) == {0.0}
    several = np.zeros((1, 30), bool)
    several[0, :20] = True
    assert retrieval(several.astype(float), several)["audio_to_text_map_10"] == 1


def test_a_caption_is_the_mean_of_its_words_however_it_is_padded():
    tower = TextTower(10, 6)
    short = torch.tensor([[4, 7, 4]])
    padded = torch.tensor([[PAD, 4, 7, PAD, 4, PAD, PAD]])
    expected = (2 * tower.embedding.weight[4] + tower.embedding.weight[7]) / 3
    torch.testing.assert_close(tower(short)[0], expected)
    torch.testing.assert_close(tower(padded)[0], expected)
    assert tower(torch.full((1, 3), PAD)).isfinite().all()


def test_unknown_words_alone_are_a_caption_too():
    tower = TextTower(10, 6)
    torch.testing.assert_close(
        tower(torch.tensor([[UNKNOWN, PAD]]))[0], tower.embedding.weight[UNKNOWN]
    )


def test_padding_has_no_gradient():
    tower = TextTower(10, 6)
    tower(torch.tensor([[4, PAD]])).sum().backward()
    gradient = tower.embedding.weight.grad
    assert gradient is not None
    assert gradient[4].any()
    assert not gradient[PAD].any()


@pytest.mark.parametrize(
    ("architecture", "width", "mels"), [("cnn10", 1 / 16, 64), ("mobilenet", 0.1, 128)]
)
def test_both_towers_meet_on_the_sphere(architecture: str, width: float, mels: int):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PreEncoder(EncoderConfig(architecture, width), 10, 6, 12, 0.07, False).eval()  # type: ignore[arg-type]
        audio, text, tau, tags = model(
            torch.randn(3, 64, mels), torch.tensor([64, 40, 64]), torch.tensor([[4], [5], [6]])
        )
    assert tags is None
    assert audio.shape == text.shape == (3, 12)
    torch.testing.assert_close(audio.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(3))
    assert float(tau) == pytest.approx(0.07)


def test_a_learned_temperature_stays_above_a_hundredth():
    model = PreEncoder(EncoderConfig("cnn10", 1 / 16), 10, 6, 12, 0.001, True).eval()
    with torch.no_grad():
        _, _, tau, _ = model(torch.zeros(1, 16, 64), torch.tensor([16]), torch.tensor([[4]]))
    assert float(tau) == pytest.approx(0.01)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(0, 999))
def test_only_the_likeliest_tags_are_heard(batch: int, seed: int):
    probabilities = drawn(seed, batch, AUDIOSET_CLASSES).sigmoid()
    features = tag_features(probabilities)
    heard = features > 0
    assert (heard.sum(1) == HEARD_TAGS).all()
    torch.testing.assert_close(features[heard].square(), probabilities[heard])
    assert (
        probabilities.masked_fill(~heard, 1).amin(1) >= probabilities.masked_fill(heard, 0).amax(1)
    ).all()
    # as captions without sound have them
    torch.testing.assert_close(tag_features(probabilities * heard), features)


def hearing_tags() -> PreEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PreEncoder(EncoderConfig("cnn10", 1 / 16), 10, 6, 12, 0.07, False, tags=True).eval()


def test_captions_without_sound_are_known_by_their_tags_alone():
    model, frames, tokens = (
        hearing_tags(),
        torch.tensor([64, 64]),
        torch.tensor([[4], [5], [6], [7]]),
    )
    sounds = [
        torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)
    ]
    tags = torch.zeros(2, AUDIOSET_CLASSES)
    tags[0, :8], tags[1, 8:16] = 0.5, 0.5
    with torch.no_grad():
        first, text, _, logits = model(sounds[0], frames, tokens, tags)
        other, other_text, _, _ = model(sounds[1], frames, tokens, tags)
        alone, text_alone, _, _ = model(sounds[0], frames, tokens[:2])
        told, _, _, _ = model(sounds[0], frames, tokens, tags.flip(0))
        embedded = model.embed_audio(sounds[0], frames)
    assert first.shape == text.shape == (4, 12)
    assert logits.shape == (2, AUDIOSET_CLASSES)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(other[2:], first[2:])
    assert (other[:2] - first[:2]).abs().amax(1).min() > 1e-3
    torch.testing.assert_close(told[2:], first[2:].flip(0))
    torch.testing.assert_close(other_text, text)
    # And sounds do not depend on the others in the batch, in training or by themselves.
    for sound in (alone, told[:2], embedded):
        torch.testing.assert_close(sound, first[:2])
    torch.testing.assert_close(text_alone, text[:2])


def test_tags_are_not_taught_by_the_pairs():
    """They stay AudioSet's: what keeps them is the distillation, and the contrastive loss does not
    reach them."""
    model = hearing_tags()
    sounds, text, tau, _ = model(
        torch.randn(2, 64, 64), torch.tensor([64, 64]), torch.tensor([[4], [5]])
    )
    contrastive_loss(sounds, text, tau).backward()
    assert model.audio.class_vectors.grad is None
    assert model.space.tag_projection is not None
    assert model.space.tag_projection.weight.grad is not None
    assert model.space.tag_projection.weight.grad.any()
