"""The probability that a caption is right."""

import math
from dataclasses import replace

from auricle.captioning.results import Caption
from auricle.checkpoint.config import Confidence


def confidence_features(caption: Caption, margin: float = 1.0) -> tuple[float, ...]:
    """Returns the features that predict whether a caption is right; 0 where a caption lacks one.

    Args:
        caption: without confidence.
        margin: of the first event, see `auricle.captioning.selection.Selection`.

    Returns:
        The score, the probability of the first event or else of the likeliest tag, the similarity
        to the sound, and the natural logarithm of the margin: as `Confidence` weighs them.
    """
    likely = caption.events or caption.tags
    probability = likely[0].probability if likely else 0.0
    return caption.score, probability, caption.alternatives[0].similarity or 0.0, math.log(margin)


def with_confidence(caption: Caption, weights: Confidence | None, margin: float = 1.0) -> Caption:
    """Returns the caption with its calibrated confidence; unchanged without weights.

    Args:
        caption: without confidence.
        weights: of a logistic regression.
        margin: of the first event.
    """
    if weights is None:
        return caption
    of_features = (weights.score, weights.tag, weights.similarity, weights.margin)
    features = confidence_features(caption, margin)
    logit = weights.bias + sum(w * x for w, x in zip(of_features, features, strict=True))
    # The logistic function, written so that it cannot overflow.
    return replace(caption, confidence=0.5 + 0.5 * math.tanh(logit / 2))
