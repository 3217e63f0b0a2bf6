"""A control of the contrastive stage: the encoder learns the labels of sounds instead of captions.

Its audio tower is transferred as a pre-encoder's is. So it tells what the contrast with captions is
worth, beyond more training on the same sounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.checkpoint.config import EncoderConfig
from auricle.data.collation import Batch
from auricle.data.manifest import Item
from auricle.data.progress import Report
from auricle.errors import AuricleError
from auricle.models.encoder import build_encoder, frame_mask
from auricle.sound.features import front_end
from auricle.training.augment import spec_augment
from auricle.training.config import PretrainConfig
from auricle.training.initial import load_encoder
from auricle.training.loop import Learner, Training
from auricle.training.prepare import Data, share_batch
from auricle.training.tower import TowerStage, parameter_groups, plateau


class Labeller(nn.Module):
    """An audio tower with a linear layer from clip embeddings to labels.

    Args:
        encoder: the audio tower.
        labels: the labels, in the order of the logits.
    """

    def __init__(self, encoder: EncoderConfig, labels: Sequence[str]) -> None:
        super().__init__()
        self.audio = build_encoder(encoder)
        self.labels = nn.Linear(self.audio.size, len(labels))
        self.numbers = {label: number for number, label in enumerate(labels)}

    def forward(self, log_mel: Tensor, frames: Tensor) -> Tensor:
        """(batch, frames, mels) and the frames with sound (batch,) -> logits (batch, labels)."""
        features = self.audio(log_mel)
        mask = frame_mask(self.audio.output_frames(frames), features.shape[1])
        return self.labels(self.audio.embed(features, mask))


def labels_of(items: Sequence[Item]) -> list[str]:
    """Returns the labels of some sounds, sorted.

    Raises:
        AuricleError: a sound has no label.
    """
    for item in items:
        if not item.label:
            raise AuricleError(
                f"{item.file} has no label: pretrain.objective='labels' needs the column 'label'"
            )
    return sorted({item.label for item in items})


@dataclass(frozen=True)
class LabelStage(TowerStage):
    """Trains an audio tower to tell the labels of sounds apart."""

    folder: Path
    config: PretrainConfig
    encoder: EncoderConfig
    initial_files: Sequence[Path]
    title: str = "labels"
    bfloat16: bool = False

    def build(
        self,
        data: Data,
        accelerator: Accelerator,
        report: Report,  # noqa: ARG002 - nothing here takes long
    ) -> Learner[Labeller]:
        """Builds the audio tower with its initial weights, Adam and the batches."""
        config = self.config
        model = Labeller(self.encoder, labels_of(data.train))
        if config.initial == "weights":
            load_encoder(model.audio, config.weights)
        optimizer = torch.optim.Adam(
            parameter_groups(model, config), config.learning_rate, fused=True
        )
        size, _ = share_batch(config.batch_size, 1, accelerator.num_processes)
        batches = data.batches(size, accelerator, augmentation=config.augmentation)
        return Learner(model, optimizer, batches, plateau=plateau(optimizer, config))

    def loss(
        self, training: Training[Labeller], batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Returns the mean cross entropy of the labels, and the share of right ones."""
        hears = front_end(training.data.config.front_end)
        log_mel = spec_augment(batch.log_mel, self.config.augmentation, hears)
        logits = training.prepared(log_mel, batch.frames)
        numbers = training.model.numbers
        targets = torch.tensor([numbers[item.label] for item in batch.items], device=logits.device)
        right = (logits.argmax(1) == targets).float().mean()
        return F.cross_entropy(logits, targets), {"labels_right": float(right)}

    def validate(self, training: Training[Labeller]) -> dict[str, float]:
        """Returns the learning rate."""
        return {"learning_rate": training.learner.optimizer.param_groups[0]["lr"]}

    def score(self, record: Mapping[str, float]) -> float:
        """Returns the negative training loss."""
        return -record["loss"]
