"""MobileNetV3 over a log-mel spectrogram.

See Howard et al. 2019, "Searching for MobileNetV3", table 1 (large), without the dilated or reduced
tail. Parameters have the names of EfficientAT (Schmid et al. 2023).
"""

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from auricle.models.cnn10 import AUDIOSET_CLASSES, masked_mean


@dataclass(frozen=True)
class Block:
    """One inverted residual block: channels before scaling by the width."""

    kernel: int
    expanded: int
    outputs: int
    squeeze: bool
    hardswish: bool
    stride: int


BLOCKS = (
    Block(3, 16, 16, False, False, 1),
    Block(3, 64, 24, False, False, 2),
    Block(3, 72, 24, False, False, 1),
    Block(5, 72, 40, True, False, 2),
    Block(5, 120, 40, True, False, 1),
    Block(5, 120, 40, True, False, 1),
    Block(3, 240, 80, False, True, 2),
    Block(3, 200, 80, False, True, 1),
    Block(3, 184, 80, False, True, 1),
    Block(3, 184, 80, False, True, 1),
    Block(3, 480, 112, True, True, 1),
    Block(3, 672, 112, True, True, 1),
    Block(5, 672, 160, True, True, 2),
    Block(5, 960, 160, True, True, 1),
    Block(5, 960, 160, True, True, 1),
)


def _conv(
    inputs: int,
    outputs: int,
    kernel: int,
    activation: type[nn.Module],
    stride: int = 1,
    groups: int = 1,
):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
        activation(),
    )


class SqueezeExcitation(nn.Module):
    """Scales each channel by a function of all means over time and frequency (Hu et al. 2018).

    The means cover the whole sound, so padding would change every frame. Therefore batches hold
    sounds of similar length.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _divisible(channels / 4)
        # The names of the published weights need this list of one element.
        self.conc_se_layers = nn.ModuleList(
            [
                nn.ModuleDict(
                    {"fc1": nn.Linear(channels, squeezed), "fc2": nn.Linear(squeezed, channels)}
                )
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, mels, frames) -> the same."""
        layers = self.conc_se_layers[0]
        scale = layers["fc2"](layers["fc1"](x.mean((2, 3))).relu()).sigmoid()  # type: ignore[index]
        return x * scale[:, :, None, None]


class InvertedResidual(nn.Module):
    """Expands, convolves each channel by itself, squeezes and excites, and projects.

    The result is added to the input if the shapes are equal.
    """

    def __init__(self, inputs: int, outputs: int, expanded: int, stage: Block) -> None:
        super().__init__()
        activation = nn.Hardswish if stage.hardswish else nn.ReLU
        layers: list[nn.Module] = []
        if expanded != inputs:
            layers.append(_conv(inputs, expanded, 1, activation))
        layers.append(
            _conv(expanded, expanded, stage.kernel, activation, stage.stride, groups=expanded)
        )
        if stage.squeeze:
            layers.append(SqueezeExcitation(expanded))
        layers.append(_conv(expanded, outputs, 1, nn.Identity))
        self.block = nn.Sequential(*layers)
        self.residual = stage.stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, mels, frames) -> (batch, outputs, mels / stride, frames / stride)."""
        return x + self.block(x) if self.residual else self.block(x)


class MobileNet(nn.Module):
    """EfficientAT's MobileNetV3, which tags AudioSet with a fiftieth of CNN10's arithmetic.

    Args:
        width: multiplies all channels: 0.4 is mn04, 1 is mn10, 4 is mn40.
    """

    reduction = 32  # log-mel frames to a frame of features

    def __init__(self, width: float = 0.4) -> None:
        super().__init__()
        channels = _divisible(16 * width)
        layers: list[nn.Module] = [_conv(1, channels, 3, nn.Hardswish, stride=2)]
        for stage in BLOCKS:
            outputs = _divisible(stage.outputs * width)
            layers.append(
                InvertedResidual(channels, outputs, _divisible(stage.expanded * width), stage)
            )
            channels = outputs
        self.size = 6 * channels
        layers.append(_conv(channels, self.size, 1, nn.Hardswish))
        self.features = nn.Sequential(*layers)
        hidden = _divisible(1280 * width)
        # The two empty layers pool in EfficientAT; here `tags` pools with a mask.
        self.classifier = nn.Sequential(
            nn.Identity(),
            nn.Identity(),
            nn.Linear(self.size, hidden),
            nn.Hardswish(),
            nn.Dropout(0.2),
            nn.Linear(hidden, AUDIOSET_CLASSES),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def output_frames(self, frames: Tensor) -> Tensor:
        """Returns the number of feature frames for a number of log-mel frames."""
        return (frames + self.reduction - 1) // self.reduction

    def forward(self, log_mel: Tensor) -> Tensor:
        """Returns frame features, before the pooling over time.

        (batch, frames, mels) -> (batch, ceil(frames / 32), size).
        """
        # (batch, size, mels / 32, frames / 32)
        x = self.features(log_mel.transpose(1, 2).unsqueeze(1))
        return x.mean(dim=2).transpose(1, 2)

    def embed(self, features: Tensor, mask: Tensor) -> Tensor:
        """Returns clip embeddings, the mean over time.

        (batch, frames, size), (batch, frames) -> (batch, size).
        """
        return masked_mean(features, mask)

    def tags(self, features: Tensor, mask: Tensor) -> Tensor:
        """Returns logits of the 527 AudioSet classes.

        (batch, frames, size), (batch, frames) -> (batch, 527).
        """
        return self.classifier(self.embed(features, mask))

    @property
    def class_vectors(self) -> Tensor:
        """The weights of the tag head for each class: (527, hidden)."""
        return cast("nn.Linear", self.classifier[-1]).weight


def _divisible(channels: float, divisor: int = 8) -> int:
    """Rounds channels to a multiple of the divisor, as MobileNetV2 does.

    Never rounds down by more than a tenth.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
