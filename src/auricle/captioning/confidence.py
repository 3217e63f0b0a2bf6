"""The probability that a caption is right."""

import math

from auricle.captioning.results import Caption
from auricle.checkpoint.config import Confidence


def confidence_features(caption: Caption) -> tuple[float, ...]:
    """What tells right captions from wrong ones: score, probability of the likeliest tag, similarity; 0 for what there is not."""
    tag = caption.tags[0].probability if caption.tags else 0.0
    return caption.score, tag, caption.alternatives[0].similarity or 0.0


def caption_confidence(caption: Caption, weights: Confidence) -> float:
    """The calibrated probability that a caption is right: logistic regression on `confidence_features`."""
    score, tag, similarity = confidence_features(caption)
    logit = (
        weights.bias + weights.score * score + weights.tag * tag + weights.similarity * similarity
    )
    return 0.5 + 0.5 * math.tanh(logit / 2)  # the logistic function, without overflow
