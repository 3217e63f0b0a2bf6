"""The fields of a recipe for captioners that word a plan."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ProbeConfig:
    """How a captioner that words a plan hears: averaged weights, and a probe for labelled sounds.

    See `auricle.training.selection`.
    """

    average: float = 0.7  # share of the initial weights in the encoder; the rest is the pre-encoder
    labels: str = ""  # CSV with columns label and class: classes of the labels in the manifest
    # CSV with columns file and class, as scripts/rendered_sounds.py writes it: further targets.
    rendered: str = ""
    boost: float = 6.0  # the logit that a sure label adds to its class
    rendered_boost: float = 2.0  # the same of a sure target of rendered sounds
    floor: float = 6.0  # a target of probability exp(-floor) or less adds nothing
    # Cosines of a clip to the centroid of a label's sounds that give none and all of the boost.
    gate_low: float = 0.2
    gate_high: float = 0.4
    ridge: float = 10.0  # keeps the projection of sounds near that of the pre-encoder


@dataclass(frozen=True)
class WordingConfig:
    """The stage that learns to word plans: AdamW, with a cosine schedule."""

    steps: int = 4000
    batch_size: int = 128
    learning_rate: float = 2e-3
    warmup_steps: int = 150
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    average: float = 0.995  # decay of the moving average of the weights, which is kept
    save_every_steps: int = 250  # the state from which a stopped training continues
