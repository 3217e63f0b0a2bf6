"""The typed contents of `config.json`."""

from dataclasses import dataclass, field
from typing import Literal

from auricle.checkpoint.fingerprints import Fingerprints

FORMAT = 2  # of the folders that this version writes
READABLE_FORMATS = (1, 2)


@dataclass(frozen=True)
class EncoderConfig:
    """Which network hears."""

    architecture: Literal["cnn10", "mobilenet", "vggish", "gru"] = "cnn10"
    width: float = 1.0  # multiplies the channels: 1 is CNN10, VGGish or mn10, 0.4 is mn04


@dataclass(frozen=True)
class DecoderConfig:
    """Which network speaks, and its sizes."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    feedforward: int = 2048
    dropout: float = 0.2
    tags: int = (
        0  # how many of the likeliest AudioSet tags stand in the memory beside the sound's frames
    )
    # Whether the decoder words a plan: the memory holds the plan's events, and no frames.
    plan: bool = False
    tied: bool = False  # whether a Transformer's output layer is the word embedding
    # transformer: the paper's. gru: recurrent. bart: its layers as in BART, with learnt positions,
    # GELU and tied output.
    architecture: Literal["transformer", "bart", "gru"] = "transformer"
    encoder_layers: int = (
        0  # of BART's Transformer encoder between the sound's frames and the decoder
    )

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.heads, self.feedforward) < 1:
            raise ValueError("width, layers, heads and feedforward are to be 1 at least")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be shared among {self.heads} heads")
        if self.architecture == "gru" and self.heads != 1:
            raise ValueError(f"heads is {self.heads}: the attention of a recurrent decoder has one")


@dataclass(frozen=True)
class BeamOptions:
    """How to search. Lengths are in tokens, without beginning and end."""

    beam: int = 4  # hypotheses kept alive
    length_penalty: float = 0.6  # score = log-probability / (length + 1) ** length_penalty
    min_length: int = 3
    max_length: int = 30
    no_repeat_ngram: int = 0  # n-grams of this size occur once; 0 allows all
    no_repeat_words: bool = True  # no token occurs twice but the repeatable ones (stop words)

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise ValueError(f"beam is {self.beam}: it must be at least 1")
        if not 0 <= self.min_length <= self.max_length:
            raise ValueError(
                f"lengths run from {self.min_length} to {self.max_length}: 0 <= min <= max is "
                f"wanted"
            )


@dataclass(frozen=True)
class Confidence:
    """Logistic regression for the probability that a caption is right: a bias and weights."""

    bias: float
    score: float  # of the caption's score
    tag: float  # of the probability of the first event, or else of the likeliest tag
    similarity: float  # of the caption's similarity to the sound
    margin: float = 0.0  # of the natural logarithm of the margin of the first event


@dataclass(frozen=True)
class SelectionConfig:
    """Selects the events that a caption mentions, in a captioner that words a plan.

    See `auricle.captioning.selection`. Scores are probabilities of classes times their weights.
    """

    second_share: float = 0.4  # a second event has at least this share of the first one's score
    part_score: float = 0.2  # the first class of a part scores at least this
    other_part_share: float = 0.3  # and has at most this share of its score in the other part
    return_share: float = 0.05  # a part that returns for this share of the other is background

    def __post_init__(self) -> None:
        for name in ("second_share", "part_score", "other_part_share", "return_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"selection.{name} is {getattr(self, name)}: expected 0 to 1")


@dataclass(frozen=True)
class SecondEvent:
    """When a caption tells of a second event, which is searched for without the first's words."""

    below: float  # only captions less similar to the sound are gone on with
    gain: float  # how much more similar the sentence of both must be


@dataclass(frozen=True)
class CheckpointConfig:
    """What `config.json` says."""

    format: int
    front_end: str
    encoder: EncoderConfig
    decoder: DecoderConfig
    decoding: BeamOptions = field(default_factory=BeamOptions)
    # Size of the space in which sounds and sentences can be compared; 0: they cannot.
    space: int = 0
    # Times the similarity to the sound, added to the score of a sentence to choose by.
    rerank: float = 0.0
    selection: SelectionConfig | None = None  # of a captioner that words a plan
    probe_targets: int = 0  # of the probe that corrects the tags, where there is a selection
    second_event: SecondEvent | None = None  # None: a caption is one sentence of the decoder's
    confidence: Confidence | None = None  # of captions; None: not calibrated
    maximum_seconds: float = 30.0  # the longest sound that it was trained on
    # Log-mel frames to which training padded every sound with zeros, as captioning must; 0: none.
    padded_frames: int = 0
    minimum_seconds: float = 0.0  # shorter sounds are padded with silence
    licence: str = "unknown"  # of the weights
    # Of what the weights were trained with; `save_checkpoint` adds those of words and tags.
    fingerprints: Fingerprints = field(default_factory=Fingerprints)

    def __post_init__(self) -> None:
        if self.format not in READABLE_FORMATS:
            raise ValueError(
                f"format {self.format}, and this auricle reads up to {FORMAT}: "
                "install the auricle that wrote it, or a newer one"
            )
        if self.decoder.plan != (self.selection is not None):
            raise ValueError("decoder.plan and selection belong together: one is missing")
        # What a search may cost is not for whoever made the folder to say.
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
                raise ValueError(f"{name} is {value}: from {least} to {most} is wanted")
