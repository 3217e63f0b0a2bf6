"""CNN10 equals PANNs' on the reference, and says how many frames it gives."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks run on torch: pip install 'auricle[train]'")

import torch

from auricle.models.cnn10 import CNN10, masked_max, masked_mean
from auricle.sound.features import FRONT_ENDS, log_mel
from auricle.training.weights import load_published


def test_equals_the_reference(shared: Path):
    folder = shared / "reference" / "panns_cnn10"
    model = CNN10().eval()
    model.load_state_dict(load_published(folder / "cnn10_random.safetensors"), strict=True)
    with np.load(folder / "cnn10_reference.npz") as reference, torch.inference_mode():
        for mel in (reference["logmel"], log_mel(reference["waveform"], FRONT_ENDS["panns"])):
            features = model(torch.from_numpy(mel)[None])
            mask = torch.ones(features.shape[:2], dtype=torch.bool)
            np.testing.assert_allclose(features[0], reference["frames"], rtol=0, atol=1e-4)
            np.testing.assert_allclose(
                model.embed(features, mask)[0], reference["embedding"], rtol=0, atol=1e-4
            )
            tags = model.tags(features, mask).sigmoid()[0]
            np.testing.assert_allclose(tags, reference["clipwise"], rtol=0, atol=1e-4)


def test_the_keys_are_panns(shared: Path):
    with np.load(shared / "reference" / "panns_cnn10" / "cnn10_reference.npz") as reference:
        theirs = dict(zip(reference["keys"].tolist(), reference["shapes"].tolist(), strict=True))
    ours = {name: str(tuple(tensor.shape)) for name, tensor in CNN10().state_dict().items()}
    front_end = ("spectrogram_extractor.", "logmel_extractor.")
    expected = {name: shape for name, shape in theirs.items() if not name.startswith(front_end)}
    assert ours.keys() == expected.keys()
    assert {name: parsed(shape) for name, shape in ours.items()} == {
        n: parsed(s) for n, s in expected.items()
    }


def parsed(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.strip("()[]").replace(" ", "").split(",") if number)


def test_as_many_parameters_as_panns():
    model = CNN10()
    trunk = [p.numel() for name, p in model.named_parameters() if not name.startswith("fc")]
    assert sum(trunk) == 4_686_272
    assert sum(p.numel() for p in model.parameters()) == 5_219_279


@pytest.mark.parametrize("width", [1 / 16, 1 / 8, 1 / 4])
@pytest.mark.parametrize("frames", [16, 17, 31, 32, 101])
def test_output_frames_agree(width: float, frames: int):
    model = CNN10(width, mels=64).eval()
    with torch.inference_mode():
        features = model(torch.zeros(2, frames, 64))
    assert features.shape == (2, int(model.output_frames(torch.tensor(frames))), model.size)
    assert model.size == 512 * width


def test_the_clip_embedding_sees_only_what_is_unmasked():
    torch.manual_seed(0)
    model = CNN10(1 / 16).eval()
    features, mask = torch.randn(2, 9, model.size), torch.arange(9)[None] < torch.tensor([[9], [4]])
    other = torch.where(mask[:, :, None], features, 1e3)
    torch.testing.assert_close(model.embed(features, mask), model.embed(other, mask))
    torch.testing.assert_close(
        model.embed(features, mask)[1:], model.embed(features[1:, :4], mask[1:, :4])
    )


def test_masked_means_and_maxima():
    torch.manual_seed(0)
    x, mask = torch.randn(3, 7, 5), torch.arange(7)[None] < torch.tensor([[7], [3], [1]])
    for row, length in enumerate((7, 3, 1)):
        torch.testing.assert_close(masked_mean(x, mask)[row], x[row, :length].mean(0))
        torch.testing.assert_close(masked_max(x, mask)[row], x[row, :length].amax(0))
