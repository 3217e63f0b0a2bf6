"""Checkpoint folders: the seam between training and captioning.

A folder describes itself: `config.json` (how it hears, what it is, how it decodes, its licence),
`vocabulary.txt`, `tags.txt` (names of the classes that it hears, if it does), `encoder.onnx` and
`decoder.onnx` to caption with, `text.onnx` to compare sentences with sounds, `model.safetensors` to
train on from, `README.md` for people. A captioner that words a plan has `classes.json` (our English
for the classes), `language.npz` (the words that its captions may use) and `plan.onnx` as well.
"""

import hashlib
import json
import re
import stat
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from auricle.checkpoint.config import CheckpointConfig
from auricle.checkpoint.fingerprints import Fingerprints, fingerprint_of
from auricle.checkpoint.vocabulary import Vocabulary
from auricle.errors import AuricleError
from auricle.storage.files import written_whole
from auricle.storage.tables import read

EMBEDDED = Path(__file__).parent / "embedded"
# What a folder captions with, as far as it is there, and how many bytes each may have. BART's
# decoder has 400 MB.
FILES = {
    "config.json": 1 << 20,
    "vocabulary.txt": 1 << 24,
    "merges.txt": 1 << 24,
    "tags.txt": 1 << 20,
    "classes.json": 1 << 24,
    "language.npz": 1 << 24,
    "plan.onnx": (1 << 31) - 1,
    "encoder.onnx": (1 << 31) - 1,  # more no ONNX file can have
    "decoder.onnx": (1 << 31) - 1,
    "text.onnx": (1 << 31) - 1,
}
TRAINED = "captioner"  # the checkpoint in the folder of a training
# owner/name, and after an at sign a revision
HUB_NAME = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?", re.ASCII)
# Files of captioners that word a plan. Folders of format 1 have none of them.
PLAN_FILES = ("classes.json", "language.npz", "plan.onnx")
MORE_FILES = {"model.safetensors": 1 << 34, "README.md": 1 << 20}

# What the Hub reads of a card, and a card for a folder without one.
FRONT_MATTER = """\
---
library_name: auricle
license: other
license_name: {licence}
tags:
- audio-captioning
---
"""
CARD = """\
# {name}

An audio captioner: a sound goes in, a sentence comes out. Made with auricle.

    pip install 'auricle[hub]'
    auricle caption sound.wav --checkpoint {name}

| | |
| --- | --- |
{facts}

Licence of the weights: {licence}.
"""


@dataclass(frozen=True)
class Checkpoint:
    """A folder that can be captioned with."""

    folder: Path
    config: CheckpointConfig
    vocabulary: Vocabulary
    tags: tuple[str, ...] = ()  # names of the classes whose probabilities the encoder gives

    def fingerprints(self) -> Fingerprints:
        """Returns the fingerprints that the configuration names, with those of words and tags."""
        return replace(
            self.config.fingerprints,
            vocabulary=self.vocabulary.fingerprint(),
            tags=fingerprint_of(self.tags),
        )


def load_checkpoint(folder: Path) -> Checkpoint:
    """Reads what a folder says of itself; weights are left alone.

    The folder may be a stranger's: what is not as `save_checkpoint` and `auricle export` write it
    is refused.

    Args:
        folder: the folder of a checkpoint, or of a training that has one in `captioner`. Where
            there is none, and its name is owner/name or owner/name@revision, it is fetched from the
            Hugging Face Hub.

    Raises:
        AuricleError: the folder, or a file in it, is missing or not what it should be.
    """
    if not folder.exists() and (on_hub := HUB_NAME.fullmatch(folder.as_posix())):
        folder = _fetched(*on_hub.groups())
    inner = folder / TRAINED
    if not (folder / "config.json").exists() and (inner / "config.json").exists():
        folder = inner
    check_files(folder)
    try:
        table = json.loads((folder / "config.json").read_text("utf-8"))
        vocabulary = Vocabulary.load(folder / "vocabulary.txt")
        tags = (
            (folder / "tags.txt").read_text("utf-8").splitlines()
            if (folder / "tags.txt").exists()
            else []
        )
    except FileNotFoundError as error:
        raise AuricleError(
            f"{folder} is no checkpoint: {Path(error.filename).name} is not there"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise AuricleError(f"{folder} is no checkpoint: {error}") from None
    if not isinstance(table, dict):
        raise AuricleError(f"{folder / 'config.json'}: an object is wanted")
    config = read(CheckpointConfig, table, str(folder / "config.json"))
    if config.decoder.tags and not tags:
        raise AuricleError(
            f"{folder} is no checkpoint: its decoder is guided by tags, and tags.txt is not there"
        )
    # Words are printed on terminals, which obey some characters.
    if not all(text.isprintable() for text in (*vocabulary.words, *tags, config.licence)):
        raise AuricleError(
            f"{folder} is no checkpoint: its words, tags or licence hold what cannot be printed"
        )
    checkpoint = Checkpoint(folder, config, vocabulary, tuple(tags))
    _check_lists(checkpoint)
    return checkpoint


def _check_lists(checkpoint: Checkpoint) -> None:
    """Refuses lists of words or tags that differ from those of the weights."""
    files = {"vocabulary": "vocabulary.txt", "tags": "tags.txt"}
    if differing := checkpoint.config.fingerprints.differing(checkpoint.fingerprints()):
        raise AuricleError(
            f"{checkpoint.folder / files[differing[0]]} is not the list that the weights were "
            "trained with: lines are other ones, or in another order; restore the file, or train "
            "and export the captioner again"
        )


def _fetched(name: str, revision: str | None) -> Path:
    try:
        from auricle.checkpoint.hub import fetch
    except ModuleNotFoundError:
        raise AuricleError(
            f"{name} is no folder; to look for it on the Hugging Face Hub: pip install "
            f"'auricle[hub]'"
        ) from None
    return fetch(name, revision, FILES | MORE_FILES)


def check_files(folder: Path) -> None:
    """Refuses a folder with files that lie elsewhere, are not regular, or are too large.

    Raises:
        AuricleError: the first of them.
    """
    for name, most in (FILES | MORE_FILES).items():
        path = folder / name
        try:
            status = path.stat()
        except FileNotFoundError:
            if path.is_symlink():
                raise AuricleError(f"{path} is a link to what is not there") from None
            continue
        except OSError as error:
            raise AuricleError(f"{path} cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            raise AuricleError(f"{path} is no file")
        if status.st_size > most:
            raise AuricleError(f"{path} has {status.st_size} bytes, and at most {most} are read")
        if not _is_within(path, folder):
            raise AuricleError(
                f"{path} is a link that leaves the folder: put the file itself there"
            )


def _is_within(path: Path, folder: Path) -> bool:
    """Whether a file really lies in the folder.

    An installer may link the package's own files, and the Hub's cache links to its blobs.
    """
    if folder == EMBEDDED:
        return True
    target = path.resolve()
    if target.is_relative_to(folder.resolve()):
        return True
    repository = folder.resolve().parent.parent
    return repository.name.startswith("models--") and target.is_relative_to(repository / "blobs")


def card(checkpoint: Checkpoint, name: str) -> str:
    """The card for people and the Hub: the folder's README.md, or one made from its configuration.

    Args:
        checkpoint: the folder.
        name: owner/name, under which it is to be had.
    """
    config, own = checkpoint.config, checkpoint.folder / "README.md"
    front = FRONT_MATTER.format(licence=json.dumps(config.licence, ensure_ascii=False))
    if own.exists():
        text = own.read_text("utf-8")
        return text if text.startswith("---\n") else f"{front}\n{text}"
    facts = {
        "front end": config.front_end,
        "encoder": f"{config.encoder.architecture}, width {config.encoder.width:g}",
        "decoder": f"{config.decoder.architecture}, {config.decoder.layers} layers of "
        f"{config.decoder.width}",
        "vocabulary": f"{len(checkpoint.vocabulary)} words",
        "tags": f"{len(checkpoint.tags)} classes of sounds" if checkpoint.tags else "none",
        "compares sounds with sentences": "yes" if config.space else "no",
        "longest sound trained on": f"{config.maximum_seconds:g} s",
    }
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    return f"{front}\n{CARD.format(name=name, facts=rows, licence=config.licence)}"


def save_checkpoint(checkpoint: Checkpoint) -> None:
    """Writes `config.json`, `vocabulary.txt` and, if there are tags, `tags.txt`.

    The configuration gets the fingerprints of words and tags.
    """
    config = replace(checkpoint.config, fingerprints=checkpoint.fingerprints())
    checkpoint.vocabulary.save(checkpoint.folder / "vocabulary.txt")
    if checkpoint.tags:
        with written_whole(checkpoint.folder / "tags.txt") as part:
            part.write_text("".join(f"{name}\n" for name in checkpoint.tags), "utf-8")
    with written_whole(checkpoint.folder / "config.json") as part:
        part.write_text(json.dumps(asdict(config), indent=2, allow_nan=False) + "\n", "utf-8")


def fingerprint(folder: Path) -> str:
    """The SHA-256, in hexadecimal, of all files that affect captions."""
    whole = hashlib.sha256()
    for name in FILES:
        path = folder / name
        if name in PLAN_FILES and not path.exists():
            continue  # so that a folder of format 1 keeps the fingerprint that indexes know
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
        whole.update(f"{name} {digest}\n".encode())
    return whole.hexdigest()
