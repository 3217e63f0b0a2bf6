"""MobileNet equals EfficientAT's mn04, and says how many frames it gives."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="networks run on torch: pip install 'auricle[train]'")

import torch

from auricle.errors import AuricleError
from auricle.models.mobilenet import MobileNet
from auricle.training.weights import load_published, load_strictly


@pytest.fixture(scope="module")
def mn04_folder(shared: Path) -> Path:
    folder = shared / "corpus" / "weights" / "efficientat_mn04"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


def test_equals_the_reference(mn04_folder: Path):
    model = MobileNet(0.4).eval()
    model.load_state_dict(load_published(mn04_folder / "mn04_as_mAP_432.pt"), strict=True)
    with np.load(mn04_folder / "reference_outputs.npz") as reference, torch.inference_mode():
        for name in sorted({key.partition("__")[0] for key in reference.files}):
            features = model(torch.from_numpy(reference[f"{name}__mel"]).transpose(1, 2))
            mask = torch.ones(features.shape[:2], dtype=torch.bool)
            np.testing.assert_allclose(
                features[0], reference[f"{name}__featmap"].mean(1).T, rtol=0, atol=1e-4
            )
            np.testing.assert_allclose(
                model.embed(features, mask)[0], reference[f"{name}__emb"], rtol=0, atol=1e-4
            )
            np.testing.assert_allclose(
                model.tags(features, mask)[0], reference[f"{name}__logits"], rtol=0, atol=1e-4
            )


def test_weights_of_another_width_are_refused_in_one_line(mn04_folder: Path):
    state = load_published(mn04_folder / "mn04_as_mAP_432.pt")
    with pytest.raises(AuricleError, match="mn04 does not fit MobileNet") as refusal:
        load_strictly(MobileNet(0.1), state, "mn04")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("width", [0.1, 0.2])
@pytest.mark.parametrize("frames", [1, 32, 33, 100, 101])
def test_output_frames_agree(width: float, frames: int):
    model = MobileNet(width).eval()
    with torch.inference_mode():
        features = model(torch.zeros(2, frames, 128))
    assert features.shape == (2, int(model.output_frames(torch.tensor(frames))), model.size)


def test_width_is_a_multiple_of_mn10():
    assert MobileNet(0.4).size == 384
    assert MobileNet(1.0).size == 960


def test_tags_see_only_what_is_unmasked():
    torch.manual_seed(0)
    model = MobileNet(0.1).eval()
    features, mask = torch.randn(2, 9, model.size), torch.arange(9)[None] < torch.tensor([[9], [4]])
    other = torch.where(mask[:, :, None], features, 1e3)
    torch.testing.assert_close(model.tags(features, mask), model.tags(other, mask))


def test_a_batch_of_equal_lengths_equals_its_items():
    torch.manual_seed(0)
    model = MobileNet(0.1).eval()
    mels = torch.randn(3, 70, 128)
    with torch.inference_mode():
        together = model(mels)
        for item in range(3):
            torch.testing.assert_close(
                together[item : item + 1], model(mels[item : item + 1]), rtol=1e-4, atol=1e-5
            )
