"""The probability that a caption is right."""

import math
from dataclasses import replace

from auricle.captioning.results import Caption
from auricle.checkpoint.config import Confidence


def confidence_features(caption: Caption) -> tuple[float, float, float]:
    """The features that predict whether a caption is right; 0 where a caption lacks one.

    Returns:
        The score, the probability of the most probable tag, and the similarity to the sound.
    """
    tag = caption.tags[0].probability if caption.tags else 0.0
    return caption.score, tag, caption.alternatives[0].similarity or 0.0


def with_confidence(caption: Caption, weights: Confidence | None) -> Caption:
    """The caption with its calibrated confidence; unchanged without weights."""
    if weights is None:
        return caption
    score, tag, similarity = confidence_features(caption)
    logit = (
        weights.bias + weights.score * score + weights.tag * tag + weights.similarity * similarity
    )
    # The logistic function, written so that it cannot overflow.
    return replace(caption, confidence=0.5 + 0.5 * math.tanh(logit / 2))
