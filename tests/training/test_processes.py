"""What several processes share, tried in one."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.checkpoint.config import EncoderConfig
from auricle.errors import AuricleError
from auricle.models.contrastive import PreEncoder
from auricle.training.loop import Learner, _prepare
from auricle.training.prepare import share_batch


@settings(deadline=None)
@given(st.integers(1, 64), st.integers(1, 8), st.integers(1, 16))
def test_a_step_learns_from_as_many_sounds_on_any_number_of_processes(
    size: int, accumulate: int, processes: int
):
    if size * accumulate % processes:
        with pytest.raises(AuricleError, match=f"{processes} processes"):
            share_batch(size, accumulate, processes)
        return
    shared, batches = share_batch(size, accumulate, processes)
    assert shared * batches == size * accumulate
    assert shared % processes == 0
    assert shared >= size


def test_the_baseline_runs_on_eight_processes():
    assert share_batch(4, 2, 8) == (8, 1)
    assert share_batch(4, 2, 1) == (4, 2)


def prepared(device: str) -> Any:
    torch.manual_seed(0)
    model = PreEncoder(EncoderConfig("cnn10", 1 / 16), 9, 4, 4, 0.1, False)
    optimizer = torch.optim.SGD(model.parameters())
    learner = Learner(model, optimizer, cast(Any, None))
    accelerator = SimpleNamespace(
        num_processes=2, device=torch.device(device), prepare=lambda *parts: parts
    )
    return _prepare(learner, cast(Any, None), cast(Any, accelerator), sync_batch_norm=True)


def test_batch_norms_of_all_processes_keep_their_tensors():
    training = prepared("cuda")
    kinds = {type(module).__name__ for module in training.model.modules()}
    assert "SyncBatchNorm" in kinds
    assert "BatchNorm2d" not in kinds
    plain = PreEncoder(EncoderConfig("cnn10", 1 / 16), 9, 4, 4, 0.1, False)
    assert training.model.state_dict().keys() == plain.state_dict().keys()
    learnt = {id(p) for group in training.learner.optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in training.model.parameters()} == learnt


def test_batch_norms_of_all_processes_need_gpus():
    with pytest.raises(AuricleError, match="sync_batch_norm needs GPUs"):
        prepared("cpu")
