"""Exports a captioner that words a plan to the ONNX files that captioning uses.

`encoder.onnx` hears a sound, `plan.onnx` makes the decoder's memory of a plan, `decoder.onnx` is a
step of the decoder, and `text.onnx` embeds sentences. Tensors keep their names.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from auricle.checkpoint.fingerprints import ONE_CAPTIONER
from auricle.checkpoint.folder import Checkpoint, load_checkpoint
from auricle.models.cnn10 import AUDIOSET_CLASSES
from auricle.models.planned import PlannedCaptioner
from auricle.sound.features import front_end
from auricle.training.export import (
    StepGraph,
    export_graph,
    export_step,
    export_text,
    onnx_tensors,
)
from auricle.training.weights import check_fingerprints, load_strictly, load_weights


class _HearGraph(nn.Module):
    """Log-mel spectrogram -> frames, probabilities of classes, and the sound's embedding."""

    def __init__(self, model: PlannedCaptioner) -> None:
        super().__init__()
        self.encoder, self.probe, self.space = model.encoder, model.probe, model.space
        self._model = [model]  # A list hides it from torch, so that its tensors keep their names.

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._model[0].hear(log_mel)


class _PlanGraph(nn.Module):
    """A plan -> the decoder's memory, as keys and values."""

    def __init__(self, model: PlannedCaptioner) -> None:
        super().__init__()
        self.wording = model.wording

    def forward(self, events: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        state = self.wording.begin(events, whole)
        return state.memory_keys, state.memory_values


def load_planned(checkpoint: Checkpoint) -> PlannedCaptioner:
    """Loads the network of a checkpoint folder whose decoder words a plan.

    Raises:
        AuricleError: a tensor is missing, left over, or of another shape.
    """
    config = checkpoint.config
    untagged = len(checkpoint.tags) - AUDIOSET_CLASSES
    sizes = (len(checkpoint.vocabulary), config.space, config.probe_targets, untagged)
    model = PlannedCaptioner(config.encoder, config.decoder, *sizes)
    path = checkpoint.folder / "model.safetensors"
    if path.exists():
        check_fingerprints(path, checkpoint.fingerprints().of_networks(), ONE_CAPTIONER)
        load_strictly(model, load_weights(path), str(path))
        return model.eval()
    # ONNX files lack the counters of batch norms, and tables without rows.
    unused = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if tensor.dim() == 0 or not tensor.numel()
    }
    load_strictly(model, unused | onnx_tensors(checkpoint.folder), str(checkpoint.folder))
    return model.eval()


def export_planned(folder: Path) -> Path:
    """Writes the ONNX files of a checkpoint from its `model.safetensors`; returns its folder."""
    checkpoint = load_checkpoint(folder)
    folder = checkpoint.folder
    model = load_planned(checkpoint)
    metadata = checkpoint.config.fingerprints.metadata()
    mels = front_end(checkpoint.config.front_end).mels
    export_graph(
        _HearGraph(model),
        (torch.zeros(1, 320, mels),),
        folder / "encoder.onnx",
        ["log_mel"],
        ["frames", "tags", "sound_embedding"],
        ({1: Dim.DYNAMIC},),
        metadata,
    )
    export_text(model.space, folder, metadata)
    plan = torch.zeros(1, 2, 3, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.int64)
    graph = _PlanGraph(model).eval()
    keys, values = graph(*plan)
    export_graph(
        graph,
        plan,
        folder / "plan.onnx",
        ["events", "whole"],
        ["memory_keys", "memory_values"],
        ({1: Dim("events")}, {}),
        metadata,
    )
    step = StepGraph("wording", model.wording, model.wording.decoder)
    export_step(step, checkpoint.config.decoder, (keys, values), folder, metadata)
    return folder
