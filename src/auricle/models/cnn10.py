"""CNN10, the audio tower and encoder of the paper.

Its parameters have the names of PANNs (Kong et al. 2020).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

AUDIOSET_CLASSES = 527


class ConvBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm and ReLU, then 2x2 average pooling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, frames, mels) -> (batch, outputs, frames // 2, mels // 2)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.avg_pool2d(x, 2)


class CNN10(nn.Module):
    """Four convolution blocks over a log-mel spectrogram, and PANNs' two layers for clip tags.

    Args:
        width: multiplies the 64, 128, 256 and 512 channels of the blocks; PANNs' weights need 1.
        mels: mel bands of the front end.
    """

    reduction = 16  # log-mel frames to a frame of features

    def __init__(self, width: float = 1.0, mels: int = 64) -> None:
        super().__init__()
        channels = [max(8, round(c * width)) for c in (64, 128, 256, 512)]
        self.size = channels[-1]
        self.bn0 = nn.BatchNorm2d(mels)
        self.conv_block1 = ConvBlock(1, channels[0])
        self.conv_block2 = ConvBlock(channels[0], channels[1])
        self.conv_block3 = ConvBlock(channels[1], channels[2])
        self.conv_block4 = ConvBlock(channels[2], channels[3])
        self.fc1 = nn.Linear(self.size, self.size)
        self.fc_audioset = nn.Linear(self.size, AUDIOSET_CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def output_frames(self, frames: Tensor) -> Tensor:
        """Returns the number of feature frames for a number of log-mel frames."""
        return frames // self.reduction

    def forward(self, log_mel: Tensor) -> Tensor:
        """Returns frame features: (batch, frames, mels) -> (batch, frames // 16, size).

        Needs at least 16 frames.
        """
        # (batch, mels, frames, 1), because the batch norm works on mel bands
        x = self.bn0(log_mel.transpose(1, 2).unsqueeze(3))
        x = x.permute(0, 3, 2, 1)  # (batch, 1, frames, mels)
        for block in (self.conv_block1, self.conv_block2, self.conv_block3, self.conv_block4):
            x = F.dropout(block(x), 0.2, self.training)
        return x.mean(dim=3).transpose(1, 2)

    def embed(self, features: Tensor, mask: Tensor) -> Tensor:
        """Returns clip embeddings.

        Adds the maximum and the mean over time, and applies `fc1` and ReLU.

        Args:
            features: (batch, frames, size).
            mask: (batch, frames), true where there is sound.

        Returns:
            (batch, size).
        """
        x = masked_max(features, mask) + masked_mean(features, mask)
        x = F.dropout(x, 0.5, self.training)
        return F.relu(self.fc1(x))

    def tags(self, features: Tensor, mask: Tensor) -> Tensor:
        """Returns logits of the 527 AudioSet classes.

        (batch, frames, size), (batch, frames) -> (batch, 527).
        """
        return self.fc_audioset(F.dropout(self.embed(features, mask), 0.5, self.training))

    @property
    def class_vectors(self) -> Tensor:
        """The weights of the tag head for each class: (527, size)."""
        return self.fc_audioset.weight


def masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    """Returns the mean over the frames with sound.

    (batch, frames, size), (batch, frames) -> (batch, size).
    """
    weights = mask.to(features.dtype).unsqueeze(2)
    return (features * weights).sum(1) / weights.sum(1).clamp(min=1)


def masked_max(features: Tensor, mask: Tensor) -> Tensor:
    """Returns the maximum over the frames with sound.

    (batch, frames, size), (batch, frames) -> (batch, size).
    """
    return features.masked_fill(~mask.unsqueeze(2), torch.finfo(features.dtype).min).amax(1)
