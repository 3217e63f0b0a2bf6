"""Retrieval on validation splits: each sound stands once among the sounds, and all of its captions
are right."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from auricle.checkpoint.vocabulary import Vocabulary
from auricle.data.batches import Batches, BatchOptions
from auricle.data.manifest import Item
from auricle.models.contrastive import PreEncoder
from auricle.training.validate import evaluate_retrieval

SOUNDS, CAPTIONS = 15, 3


class Oracle:
    """Knows a sound by its level and a caption by its first word; hears some sounds as the one
    after."""

    def __init__(self, wrong: int) -> None:
        self.wrong = wrong

    def eval(self) -> None:
        pass

    def embed_audio(self, log_mel: Tensor, _: Tensor) -> Tensor:
        level = log_mel[:, 0, 0].long()
        return F.one_hot(
            torch.where(level < self.wrong, (level + 1) % SOUNDS, level), SOUNDS
        ).float()

    def embed_text(self, words: Tensor) -> Tensor:
        return F.one_hot((words - 4).amax(1), SOUNDS).float()


@pytest.mark.parametrize("wrong", [0, 6])
def test_each_sound_once_and_all_its_captions(wrong: int):
    names = [f"w{i:02}" for i in range(SOUNDS)]
    items = [
        Item(Path(f"{i}.wav"), "valid", tuple(f"{name} said {k}" for k in range(CAPTIONS)))
        for i, name in enumerate(names)
    ]
    spectrograms = [np.full((2, 4), i, np.float32) for i in range(SOUNDS)]
    batches = Batches(items, spectrograms, Vocabulary(names), BatchOptions(4))
    measured = evaluate_retrieval(cast(PreEncoder, Oracle(wrong)), batches, torch.device("cpu"))
    share = 1 - wrong / SOUNDS
    assert measured["audio_to_text_recall_1"] == pytest.approx(share, abs=1e-4)
    if not wrong:
        assert set(measured.values()) == {1.0}  # also of captions that are but one of several
