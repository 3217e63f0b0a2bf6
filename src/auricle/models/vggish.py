"""VGGish (Hershey et al. 2017), the encoder of the DCASE 2022 baseline.

Its parameters have the names of torchvggish.
"""

from torch import Tensor, nn

from auricle.models.cnn10 import masked_mean


class VGGish(nn.Module):
    """Six 3x3 convolutions and three linear layers; gives a vector of size 128 for each 0.96 s.

    As in the baseline, the last ReLU is left out, and vectors are not quantised or whitened.

    Args:
        width: multiplies the 64 to 512 channels and the 4,096 units of the two hidden layers; the
            published weights need 1.
    """

    reduction = 96  # log-mel frames to a frame of features
    size = 128

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        one, two, three, four = (
            max(8, round(channels * width)) for channels in (64, 128, 256, 512)
        )
        hidden = max(8, round(4096 * width))
        self.features = nn.Sequential(
            *_convolution(1, one),
            nn.MaxPool2d(2),
            *_convolution(one, two),
            nn.MaxPool2d(2),
            *_convolution(two, three),
            *_convolution(three, three),
            nn.MaxPool2d(2),
            *_convolution(three, four),
            *_convolution(four, four),
            nn.MaxPool2d(2),
        )
        self.embeddings = nn.Sequential(
            nn.Linear(6 * 4 * four, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, self.size),
        )

    def output_frames(self, frames: Tensor) -> Tensor:
        """Returns the number of vectors for a number of log-mel frames.

        Ignores the remainder at the end.
        """
        return frames // self.reduction

    def forward(self, log_mel: Tensor) -> Tensor:
        """Returns a vector for each 0.96 s: (batch, frames, 64) -> (batch, frames // 96, 128).

        Needs at least 96 frames.
        """
        count = log_mel.shape[1] // self.reduction
        examples = (
            log_mel[:, : count * self.reduction].unflatten(1, (count, self.reduction)).flatten(0, 1)
        )
        x = self.features(examples.unsqueeze(1))  # (batch * count, channels, 6, 4)
        # Puts the channels last, because the weights were trained in TensorFlow.
        x = x.permute(0, 2, 3, 1).flatten(1)
        return self.embeddings(x).unflatten(0, (-1, count))

    def embed(self, features: Tensor, mask: Tensor) -> Tensor:
        """Returns clip embeddings, the mean over time.

        (batch, frames, 128), (batch, frames) -> (batch, 128).
        """
        return masked_mean(features, mask)


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()
