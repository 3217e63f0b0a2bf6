"""Tags of sounds are heard once, unpadded, and shared by processes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from auricle.data.progress import SILENT
from auricle.models.encoder import frame_mask
from auricle.models.mobilenet import MobileNet
from auricle.training import heard
from auricle.training.heard import hear_tags


def process(rank: int = 0, processes: int = 1) -> Any:
    return SimpleNamespace(
        device=torch.device("cpu"),
        process_index=rank,
        num_processes=processes,
        wait_for_everyone=lambda: None,
    )


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MobileNet:
    monkeypatch.setenv("AURICLE_CACHE", str(tmp_path))
    torch.manual_seed(0)
    return MobileNet(0.1).eval()


@pytest.fixture
def sounds() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = (64, 96, 64, 80, 64)
    return [rng.normal(size=(length, 128)).astype(np.float32) for length in lengths]


def test_tags_are_those_of_each_sound_alone(encoder: MobileNet, sounds: list[np.ndarray]):
    found = hear_tags(encoder, sounds, process(), SILENT)
    assert found.shape == (5, 527)
    for sound, tags in zip(sounds, found, strict=True):
        with torch.inference_mode():
            features = encoder(torch.from_numpy(sound)[None])
            mask = frame_mask(torch.tensor([features.shape[1]]), features.shape[1])
            alone = encoder.tags(features, mask).sigmoid()[0].numpy()
        np.testing.assert_allclose(tags, alone, atol=1e-5)


def test_nothing_is_heard_twice(
    encoder: MobileNet, sounds: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    first = hear_tags(encoder, sounds, process(), SILENT)
    heard_shapes = []
    hear = heard._hear

    def note(network: Any, log_mel: np.ndarray, accelerator: Any) -> np.ndarray:
        heard_shapes.append(log_mel.shape[:2])
        return hear(network, log_mel, accelerator)

    monkeypatch.setattr(heard, "_hear", note)
    assert np.array_equal(hear_tags(encoder, sounds, process(), SILENT), first)
    assert heard_shapes == []
    new = np.ones((64, 128), np.float32)
    hear_tags(encoder, [*sounds, new], process(), SILENT)
    assert heard_shapes == [(1, 64)]
    with torch.no_grad():
        next(encoder.parameters()).add_(1.0)
    hear_tags(encoder, sounds, process(), SILENT)
    assert sum(count for count, _ in heard_shapes) == 1 + len(sounds)


def test_a_process_hears_its_share(
    encoder: MobileNet,
    sounds: list[np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    counts = []
    hear = heard._hear

    def note(network: Any, log_mel: np.ndarray, accelerator: Any) -> np.ndarray:
        counts.append(len(log_mel))
        return hear(network, log_mel, accelerator)

    monkeypatch.setattr(heard, "_hear", note)
    for rank, expected in ((0, 3), (1, 2)):
        monkeypatch.setenv("AURICLE_CACHE", str(tmp_path / str(rank)))
        counts.clear()
        with pytest.raises(KeyError):  # the other process's part is not in this cache
            hear_tags(encoder, sounds, process(rank, 2), SILENT)
        assert sum(counts) == expected
