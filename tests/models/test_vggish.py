"""VGGish equals torchvggish on the reference, and takes its published weights."""

import ast
import zlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks run on torch: pip install 'auricle[train]'")

import torch

from auricle.models.vggish import VGGish
from auricle.sound.features import FRONT_ENDS, log_mel


@pytest.fixture(scope="module")
def reference(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "reference" / "vggish" / "vggish_reference.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def weights(reference: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The made-up weights that the reference was computed with, drawn again as its README says."""
    state = {}
    for key, shape in zip(reference["keys"].tolist(), reference["shapes"].tolist(), strict=True):
        dimensions = ast.literal_eval(shape)
        scale = np.sqrt(2 / np.prod(dimensions[1:])) if len(dimensions) > 1 else 0.05
        numbers = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(dimensions)
        state[key] = torch.from_numpy((numbers * scale).astype(np.float32))
    return state


def test_equals_the_reference(reference: dict[str, np.ndarray], weights: dict[str, torch.Tensor]):
    with torch.device("meta"):
        model = VGGish().eval()
    model.load_state_dict(weights, strict=True, assign=True)
    examples = torch.from_numpy(reference["examples"]).flatten(0, 1)
    ours = torch.from_numpy(log_mel(reference["waveform"], FRONT_ENDS["vggish"]))
    for heard in (examples, ours):
        with torch.inference_mode():
            features = model(heard[None])[0]
        np.testing.assert_allclose(
            features, reference["embedding_before_last_relu"], rtol=0, atol=1e-4
        )
        np.testing.assert_allclose(features.relu(), reference["embedding"], rtol=0, atol=1e-4)


def test_an_example_is_heard_by_itself():
    """A vector depends on its own 0.96 s alone, not on the batch or the padding."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VGGish(1 / 16).eval().requires_grad_(False)
        log_mel = torch.randn(2, 300, 64)
    whole = model(log_mel)
    assert whole.shape == (2, 3, 128)
    assert model.output_frames(torch.tensor([95, 96, 300])).tolist() == [0, 1, 3]
    torch.testing.assert_close(whole[1:, 1:2], model(log_mel[1:, 96:192]))
    mask = torch.tensor([[True, True, False]]).expand(2, -1)
    torch.testing.assert_close(model.embed(whole, mask), whole[:, :2].mean(1))
