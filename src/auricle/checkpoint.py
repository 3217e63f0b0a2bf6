"""Checkpoint folders: the seam between training and captioning.

A folder describes itself: `config.json` (how it hears, what it is, how it decodes, its licence), `vocabulary.txt`, `tags.txt`
(names of the classes that it hears, if it does), `encoder.onnx` and `decoder.onnx` to caption with, `text.onnx` to compare
sentences with sounds, `model.safetensors` to train on from, `README.md` for people.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from auricle.beam_search import BeamOptions
from auricle.config import DecoderConfig, EncoderConfig, read
from auricle.errors import AuricleError
from auricle.vocabulary import Vocabulary

FORMAT = 1
EMBEDDED = Path(__file__).parent / "embedded"
# What a folder captions with, as far as it is there.
FILES = ("config.json", "vocabulary.txt", "tags.txt", "encoder.onnx", "decoder.onnx", "text.onnx")


@dataclass(frozen=True)
class Confidence:
    """How sure a caption is to be right, fitted by logistic regression: a bias, and the weights of what tells it."""

    bias: float
    score: float  # of the caption's score
    tag: float  # of the probability of the likeliest tag
    similarity: float  # of the caption's similarity to the sound


@dataclass(frozen=True)
class CheckpointConfig:
    """What `config.json` says."""

    format: int
    front_end: str
    encoder: EncoderConfig
    decoder: DecoderConfig
    decoding: BeamOptions = field(default_factory=BeamOptions)
    space: int = 0  # size of the space in which sounds and sentences can be compared; 0: they cannot
    rerank: float = 0.0  # times the similarity to the sound, added to the score of a sentence to choose by
    confidence: Confidence | None = None  # of captions; None: not calibrated
    maximum_seconds: float = 30.0  # the longest sound that it was trained on
    padded_frames: int = (
        0  # log-mel frames that every sound was padded to with zeros, and is again to be captioned; 0: none
    )
    licence: str = "unknown"  # of the weights

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"format {self.format}, and this auricle reads {FORMAT}: install the one that wrote it")


@dataclass(frozen=True)
class Checkpoint:
    """A folder that can be captioned with."""

    folder: Path
    config: CheckpointConfig
    vocabulary: Vocabulary
    tags: tuple[str, ...] = ()  # names of the classes whose probabilities the encoder gives


def load_checkpoint(folder: Path) -> Checkpoint:
    """Reads what a folder says of itself; weights are left alone.

    Raises:
        AuricleError: the folder, or a file in it, is missing or not what it should be.
    """
    try:
        table = json.loads((folder / "config.json").read_text("utf-8"))
        vocabulary = Vocabulary.load(folder / "vocabulary.txt")
        tags = (folder / "tags.txt").read_text("utf-8").splitlines() if (folder / "tags.txt").exists() else []
    except FileNotFoundError as error:
        raise AuricleError(f"{folder} is no checkpoint: {Path(error.filename).name} is not there") from None
    except (OSError, ValueError) as error:
        raise AuricleError(f"{folder} is no checkpoint: {error}") from None
    if not isinstance(table, dict):
        raise AuricleError(f"{folder / 'config.json'}: an object is wanted")
    config = read(CheckpointConfig, table, str(folder / "config.json"))
    if config.decoder.tags and not tags:
        raise AuricleError(f"{folder} is no checkpoint: its decoder is guided by tags, and tags.txt is not there")
    return Checkpoint(folder, config, vocabulary, tuple(tags))


def save_checkpoint(checkpoint: Checkpoint) -> None:
    """Writes `config.json`, `vocabulary.txt` and, if there are tags, `tags.txt`."""
    checkpoint.folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(checkpoint.config), indent=2) + "\n"
    (checkpoint.folder / "config.json").write_text(text, "utf-8")
    checkpoint.vocabulary.save(checkpoint.folder / "vocabulary.txt")
    if checkpoint.tags:
        (checkpoint.folder / "tags.txt").write_text("".join(f"{name}\n" for name in checkpoint.tags), "utf-8")


def fingerprint(folder: Path) -> str:
    """Tells checkpoints apart that do not say the same: SHA-256, in hexadecimal, of what the folder captions with."""
    whole = hashlib.sha256()
    for name in FILES:
        path = folder / name
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
        whole.update(f"{name} {digest}\n".encode())
    return whole.hexdigest()
