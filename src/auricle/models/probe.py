"""A linear probe that corrects the tags of an encoder for classes with labelled sounds."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.models.cnn10 import AUDIOSET_CLASSES

ABSENT_LOGIT = -50.0  # the logit of a class without a tag that the probe does not detect
DECAY = 1.0  # the weight of the squared weights in the loss of a fit
BALANCE = 0.5  # a target of n sounds counts as n ** (1 - BALANCE) sounds
MOST_ITERATIONS = 300  # of a fit
UNTAGGED_BELOW_SUPPORT = 1.0  # an untagged class is this far below its most probable support


class Probe(nn.Module):
    """Raises the logits of classes that a linear probe detects, and adds classes without a tag.

    The tag head knows all classes of AudioSet. The probe knows its targets better. A target of
    probability p raises its class by `boost * max(0, 1 + log(p) / floor)`, so that the probe
    cannot name a class that the tags exclude: a product of experts with a limited expert. A linear
    probe is also sure about sounds that differ from all its training sounds. Therefore the boost of
    a gated target shrinks with the distance of the clip from the target's training sounds.

    Args:
        size: of a clip embedding.
        targets: the number of targets of the linear layer.
        untagged: the number of classes without a tag, which come after AudioSet's.
    """

    targets: Tensor  # (targets, classes), 1 where a target stands for a class
    boost: Tensor  # (targets,), the logit that a target of probability 1 adds
    support: Tensor  # (untagged, 527), 1 where a tag may back an untagged class
    floor: Tensor  # (1,), a target of probability exp(-floor) or less adds nothing
    mean: Tensor  # (size,), of clip embeddings
    deviation: Tensor  # (size,), of clip embeddings
    centroids: Tensor  # (targets, size), of standardised clips of unit length, of unit length
    gated: Tensor  # (targets,), 1 where the distance counts
    gate: Tensor  # (2,), the cosines to the centroid at which the boost is zero and full

    def __init__(self, size: int, targets: int, untagged: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, targets)
        classes = AUDIOSET_CLASSES + untagged
        self.register_buffer("targets", torch.zeros(targets, classes))
        self.register_buffer("boost", torch.ones(targets))
        self.register_buffer("support", torch.zeros(untagged, AUDIOSET_CLASSES))
        self.register_buffer("floor", torch.ones(1))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.register_buffer("centroids", torch.zeros(targets, size))
        self.register_buffer("gated", torch.zeros(targets))
        self.register_buffer("gate", torch.tensor([0.0, 1.0]))

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
        raised = self.boost * (1 + heard / self.floor).clamp(0, 1) * self._nearness(clips)
        logits = tags
        if self.untagged:
            backed = tags[:, None].masked_fill(self.support == 0, -torch.inf).amax(2)
            # These classes have no tag, so the probe must be fairly sure of them.
            untagged_raised = raised @ self.targets[:, AUDIOSET_CLASSES:]
            sure = untagged_raised >= self.boost.amax(0) / 2
            absent = torch.full_like(backed, ABSENT_LOGIT)
            untagged = torch.where(sure, backed - UNTAGGED_BELOW_SUPPORT, absent)
            logits = torch.cat([tags, untagged], 1)
        return logits + raised @ self.targets

    def _nearness(self, clips: Tensor) -> Tensor:
        """Returns the share of the boost for each target, by its distance from the clip."""
        cosines = self._directions(clips) @ self.centroids.T
        low, high = self.gate
        return torch.where(self.gated > 0, ((cosines - low) / (high - low)).clamp(0, 1), 1.0)

    def _directions(self, clips: Tensor) -> Tensor:
        """Returns standardised clips of unit length."""
        return F.normalize((clips - self.mean) / self.deviation, dim=1)

    def fit(self, clips: Tensor, numbers: Tensor) -> None:
        """Fits the linear layer and the centroids.

        Args:
            clips: (sounds, size), clip embeddings.
            numbers: (sounds,), the number of the target of each sound.
        """
        with torch.no_grad():
            self.mean.copy_(clips.mean(0))
            self.deviation.copy_(clips.std(0) + 1e-3)
            directions = self._directions(clips)
            members = F.one_hot(numbers, len(self.boost)).to(clips.dtype)
            self.centroids.copy_(F.normalize(members.T @ directions, dim=1))
        matrix, bias = fit_logistic((clips - self.mean) / self.deviation, numbers, len(self.boost))
        with torch.no_grad():
            self.linear.weight.copy_(matrix / self.deviation)
            self.linear.bias.copy_(bias - self.linear.weight @ self.mean)


def fit_logistic(inputs: Tensor, targets: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Fits a multinomial logistic regression by L-BFGS.

    Args:
        inputs: (sounds, size), standardised.
        targets: (sounds,), the number of the target of each sound.
        count: the number of targets.

    Returns:
        Weights (count, size) and biases (count,).
    """
    counts = torch.bincount(targets, minlength=count).float().clamp(min=1)
    weights = counts[targets] ** -BALANCE
    weights = weights / weights.mean()
    matrix = torch.zeros(count, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [matrix, bias], max_iter=MOST_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        errors = F.cross_entropy(F.linear(inputs, matrix, bias), targets, reduction="none")
        loss = (errors * weights).mean() + DECAY * matrix.square().sum() / len(inputs)
        loss.backward()
        return loss

    optimizer.step(closure)
    return matrix.detach(), bias.detach()
