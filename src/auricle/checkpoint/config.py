"""Defines the contents of `config.json`."""

from dataclasses import asdict, dataclass, field
from typing import Literal

from auricle.checkpoint.fingerprints import Fingerprints

CHECKPOINT_FORMAT = 2  # the format of the folders that this version writes
READABLE_FORMATS = (1, 2)


@dataclass(frozen=True)
class EncoderConfig:
    """The network that encodes the sound."""

    architecture: Literal["cnn10", "mobilenet", "vggish", "gru"] = "cnn10"
    width: float = 1.0  # multiplies the channels: 1 is CNN10, VGGish or mn10, 0.4 is mn04


@dataclass(frozen=True)
class DecoderConfig:
    """The network that writes the caption, and its sizes."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    feedforward: int = 2048
    dropout: float = 0.2
    tags: int = 0  # the most probable AudioSet tags that the memory holds after the sound's frames
    # Whether the decoder words a plan: the memory holds the plan's events, and no frames.
    plan: bool = False
    tied: bool = False  # whether a Transformer's output layer is the word embedding
    # transformer: the paper's. gru: recurrent. bart: layers as in BART, with learnt positions, GELU
    # and tied output.
    architecture: Literal["transformer", "bart", "gru"] = "transformer"
    encoder_layers: int = 0  # of BART's encoder between the sound's frames and the decoder

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "feedforward"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected at least 1")
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}: expected a multiple of heads, {self.heads}")
        if self.architecture == "gru" and self.heads != 1:
            raise ValueError(f"heads is {self.heads}: expected 1 for a recurrent decoder")


@dataclass(frozen=True)
class BeamOptions:
    """The options of beam search. Lengths are in tokens, without <sos> and <eos>."""

    beam: int = 4  # hypotheses kept at each step
    length_penalty: float = 0.6  # score = log-probability / (length + 1) ** length_penalty
    min_length: int = 3
    max_length: int = 30
    no_repeat_ngram: int = 0  # n-grams of this size occur at most once; 0 allows all
    no_repeat_words: bool = True  # only repeatable tokens (stop words) occur more than once

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise ValueError(f"beam is {self.beam}: expected at least 1")
        if not 0 <= self.min_length <= self.max_length:
            raise ValueError(
                f"min_length is {self.min_length} and max_length is {self.max_length}: "
                "expected 0 <= min_length <= max_length"
            )


@dataclass(frozen=True)
class Confidence:
    """Logistic regression for the probability that a caption is right: a bias and weights."""

    bias: float
    score: float  # weight of the caption's score
    tag: float  # weight of the probability of the first event, or else of the most probable tag
    similarity: float  # weight of the caption's similarity to the sound
    margin: float = 0.0  # weight of the natural logarithm of the margin of the first event


@dataclass(frozen=True)
class SelectionConfig:
    """Selects the events that a caption mentions, in a captioner that words a plan.

    See `auricle.captioning.selection`. Scores are probabilities of classes times their weights.
    """

    second_share: float = 0.5  # a second event has at least this share of the first one's score
    second_probability: float = 0.1  # and at least this probability
    part_score: float = 0.2  # the first class of a part scores at least this
    other_part_share: float = 0.3  # and has at most this share of its score in the other part
    return_share: float = 0.05  # a part that returns for this share of the other is background

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise ValueError(f"selection.{name} is {value}: expected 0 to 1")


@dataclass(frozen=True)
class SecondEvent:
    """When a caption mentions a second event, found by a search without the first event's words."""

    below: float  # only captions of a lower similarity to the sound are extended
    gain: float  # the least increase of the similarity by the second event


@dataclass(frozen=True)
class CheckpointConfig:
    """The contents of `config.json`."""

    format: int
    front_end: str
    encoder: EncoderConfig
    decoder: DecoderConfig
    decoding: BeamOptions = field(default_factory=BeamOptions)
    # Dimensions of the embeddings that compare sounds with sentences; 0: the model has none.
    space: int = 0
    # The weight of the similarity to the sound in the choice among sentences.
    rerank: float = 0.0
    selection: SelectionConfig | None = None  # for a captioner that words a plan
    probe_targets: int = 0  # outputs of the probe that corrects the tags, if there is a selection
    second_event: SecondEvent | None = None  # None: a caption mentions no second event
    confidence: Confidence | None = None  # of captions; None: not calibrated
    maximum_seconds: float = 30.0  # the longest sound that the model was trained on
    # Training padded every sound with zeros to this number of log-mel frames, so captioning does
    # too; 0: no padding.
    padded_frames: int = 0
    minimum_seconds: float = 0.0  # shorter sounds are padded with silence
    licence: str = "unknown"  # of the weights
    # Of the training's inputs; `save_checkpoint` adds those of words and tags.
    fingerprints: Fingerprints = field(default_factory=Fingerprints)

    def __post_init__(self) -> None:
        if self.format not in READABLE_FORMATS:
            raise ValueError(
                f"format is {self.format}, this version of auricle reads up to "
                f"{CHECKPOINT_FORMAT}: install a newer version"
            )
        if self.decoder.plan != (self.selection is not None):
            raise ValueError("expected both decoder.plan and selection, or neither")
        # A checkpoint must not set its own resource limits.
        limits = {
            "decoding.beam": (self.decoding.beam, 1, 64),
            "decoding.max_length": (self.decoding.max_length, 1, 1000),
            "decoding.length_penalty": (self.decoding.length_penalty, 0, 10),
            "space": (self.space, 0, 1 << 16),
            "rerank": (self.rerank, 0, 1000),
            "maximum_seconds": (self.maximum_seconds, 1, 600),
            "padded_frames": (self.padded_frames, 0, 100_000),
            "minimum_seconds": (self.minimum_seconds, 0, 10),
            "probe_targets": (self.probe_targets, 0, 10_000),
        }
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}: expected {least} to {most}")
