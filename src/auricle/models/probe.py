"""A linear probe that corrects the tags of an encoder for classes with labelled sounds."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.models.cnn10 import AUDIOSET_CLASSES

ABSENT_LOGIT = -50.0  # of a class without a tag that the probe does not hear
UNTAGGED_BELOW_SUPPORT = 1.0  # an untagged class lies this far under its likeliest support


class Probe(nn.Module):
    """Raises the logits of classes that a linear probe hears, and adds classes without a tag.

    The tag head knows all classes of AudioSet. The probe knows its targets better. A target of
    probability p raises its class by `boost * max(0, 1 + log(p) / floor)`, so that the probe
    cannot name a class that the tags exclude: a product of experts with a limited expert.

    Args:
        size: of a clip embedding.
        targets: the number of targets of the linear layer.
        untagged: the number of classes without a tag, which come after AudioSet's.
    """

    targets: Tensor  # (targets, classes), 1 where a target stands for a class
    boost: Tensor  # (targets,), the logit that a target of probability 1 adds
    support: Tensor  # (untagged, 527), 1 where a tag may back an untagged class
    floor: Tensor  # a target of probability exp(-floor) or less adds nothing

    def __init__(self, size: int, targets: int, untagged: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, targets)
        classes = AUDIOSET_CLASSES + untagged
        self.register_buffer("targets", torch.zeros(targets, classes))
        self.register_buffer("boost", torch.ones(targets))
        self.register_buffer("support", torch.zeros(untagged, AUDIOSET_CLASSES))
        self.register_buffer("floor", torch.ones(1))

    @property
    def untagged(self) -> int:
        """The number of classes without a tag."""
        return len(self.support)

    def forward(self, clips: Tensor, tags: Tensor) -> Tensor:
        """Returns the logits of all classes, the untagged ones last.

        Args:
            clips: (batch, size), clip embeddings.
            tags: (batch, 527), logits of the tag head.

        Returns:
            (batch, 527 + untagged).
        """
        heard = F.log_softmax(self.linear(clips), dim=1)
        raised = self.boost * (1 + heard / self.floor).clamp(0, 1)
        logits = tags
        if self.untagged:
            backed = tags[:, None].masked_fill(self.support == 0, -torch.inf).amax(2)
            # No tag stands for these classes, so the probe must be fairly sure of them.
            own = raised @ self.targets[:, AUDIOSET_CLASSES:]
            sure = own >= self.boost.amax(0) / 2
            absent = torch.full_like(backed, ABSENT_LOGIT)
            untagged = torch.where(sure, backed - UNTAGGED_BELOW_SUPPORT, absent)
            logits = torch.cat([tags, untagged], 1)
        return logits + raised @ self.targets


def fit_probe(
    clips: Tensor,
    targets: Tensor,
    count: int,
    *,
    decay: float = 1.0,
    balance: float = 0.5,
    iterations: int = 300,
) -> nn.Linear:
    """Fits a multinomial logistic regression by L-BFGS.

    Args:
        clips: (sounds, size), clip embeddings; they are standardised inside.
        targets: (sounds,), the number of the target of each sound.
        count: of targets.
        decay: weight of the squared weights.
        balance: a target of n sounds counts as n ** (1 - balance) sounds.
        iterations: at most.

    Returns:
        The layer for clip embeddings as they are.
    """
    mean, deviation = clips.mean(0), clips.std(0) + 1e-3
    standardised = (clips - mean) / deviation
    counts = torch.bincount(targets, minlength=count).float().clamp(min=1)
    weights = counts[targets] ** -balance
    weights = weights / weights.mean()
    matrix = torch.zeros(count, clips.shape[1], requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [matrix, bias], max_iter=iterations, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        errors = F.cross_entropy(F.linear(standardised, matrix, bias), targets, reduction="none")
        loss = (errors * weights).mean() + decay * matrix.square().sum() / len(clips)
        loss.backward()
        return loss

    optimizer.step(closure)
    layer = nn.Linear(clips.shape[1], count)
    with torch.no_grad():
        layer.weight.copy_(matrix / deviation)
        layer.bias.copy_(bias - (matrix / deviation) @ mean)
    return layer
