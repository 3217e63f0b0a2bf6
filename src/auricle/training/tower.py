"""The common parts of the stages that train an audio tower: the contrastive one and its control."""

from typing import Any

import torch
from torch import nn

from auricle.training.config import PretrainConfig
from auricle.training.loop import Training


class TowerStage:
    """The parts of `auricle.training.loop.Stage` that follow from the settings."""

    config: PretrainConfig

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return self.config.epochs

    @property
    def remedy(self) -> str:
        """The settings to try where the loss is not finite."""
        return f"--set pretrain.learning_rate={self.config.learning_rate / 10:g}"

    def begin_epoch(self, training: Training[Any]) -> None:
        """Puts the network into training mode, but for batch norms that keep their statistics."""
        training.prepared.train()
        if self.config.freeze_statistics:
            freeze_statistics(training.model.audio)

    def set_rates(self, optimizer: torch.optim.Optimizer, epochs_done: float) -> None:
        """Leaves the rates to the plateau schedule."""

    def finish(self) -> None:
        """Does nothing: the folder is complete."""


def parameter_groups(model: nn.Module, config: PretrainConfig) -> list[dict[str, Any]]:
    """Returns the audio tower and the other parameters, each with its learning rate."""
    rest = [
        parameter
        for name, parameter in model.named_parameters()
        if not name.startswith("audio.") and parameter.requires_grad
    ]
    audio = model.get_submodule("audio")
    tower_rate = config.learning_rate * config.encoder_rate
    return [{"params": rest}, {"params": list(audio.parameters()), "lr": tower_rate}]


def plateau(
    optimizer: torch.optim.Optimizer, config: PretrainConfig
) -> torch.optim.lr_scheduler.ReduceLROnPlateau:
    """Returns the schedule that cuts the learning rates when `monitor` stands still."""
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        "min" if config.monitor == "loss" else "max",
        factor=config.factor,
        patience=config.patience,
        min_lr=config.minimum_learning_rate,
    )


def freeze_statistics(network: nn.Module) -> None:
    """Makes batch norms use the statistics that they have.

    The statistics of a few sounds are far from AudioSet's.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
