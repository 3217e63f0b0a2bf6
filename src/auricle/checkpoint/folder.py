"""Reads, checks and writes checkpoint folders: training writes them, captioning reads them.

A folder describes itself: `config.json` (front end, architecture, decoding options, licence),
`vocabulary.txt`, `tags.txt` (names of the classes that the encoder knows, if any), `encoder.onnx`
and `decoder.onnx` for captioning, `text.onnx` for comparing sentences with sounds,
`model.safetensors` for further training, `README.md` for people. A captioner that words a plan also
has `classes.json` (our English for the classes), `language.npz` (the words that its captions may
use) and `plan.onnx`.
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
# The files for captioning, each with its maximum size in bytes. Some may be missing. BART's decoder
# has 400 MB.
CHECKPOINT_FILES = {
    "config.json": 1 << 20,
    "vocabulary.txt": 1 << 24,
    "merges.txt": 1 << 24,
    "tags.txt": 1 << 20,
    "classes.json": 1 << 24,
    "language.npz": 1 << 24,
    "plan.onnx": (1 << 31) - 1,
    "encoder.onnx": (1 << 31) - 1,  # the maximum size of an ONNX file
    "decoder.onnx": (1 << 31) - 1,
    "text.onnx": (1 << 31) - 1,
}
TRAINED = "captioner"  # the name of the checkpoint in the folder of a training
# owner/name or owner/name@revision
HUB_NAME = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?", re.ASCII)
# Files of captioners that word a plan. Folders of format 1 have none of them.
PLAN_FILES = ("classes.json", "language.npz", "plan.onnx")
MORE_FILES = {"model.safetensors": 1 << 34, "README.md": 1 << 20}

# The part of a card that the Hub reads, and the card of a folder without README.md.
FRONT_MATTER = """\
---
library_name: auricle
license: other
license_name: {licence_name}
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
    """A checkpoint folder, without its weights."""

    folder: Path
    config: CheckpointConfig
    vocabulary: Vocabulary
    tags: tuple[str, ...] = ()  # names of the classes whose probabilities the encoder gives

    def fingerprints(self) -> Fingerprints:
        """Returns the fingerprints of the configuration, with those of words and tags."""
        return replace(
            self.config.fingerprints,
            vocabulary=self.vocabulary.fingerprint(),
            tags=fingerprint_of(self.tags),
        )


def load_checkpoint(folder: Path) -> Checkpoint:
    """Reads a checkpoint folder, without its weights.

    Does not trust the folder: accepts only contents that `save_checkpoint` and `auricle export`
    write.

    Args:
        folder: the folder of a checkpoint, or of a training that has one in `captioner`. If there
            is no such folder, and the name is owner/name or owner/name@revision, it is downloaded
            from the Hugging Face Hub.

    Raises:
        AuricleError: the folder or a file in it is missing or invalid.
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
            f"{folder} is not a checkpoint: {Path(error.filename).name} is missing"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise AuricleError(f"{folder} is not a checkpoint: {error}") from None
    if not isinstance(table, dict):
        raise AuricleError(f"{folder / 'config.json'}: expected a JSON object")
    config = read(CheckpointConfig, table, str(folder / "config.json"))
    if config.decoder.tags and not tags:
        raise AuricleError(
            f"{folder} is not a checkpoint: its decoder needs tags, but tags.txt is missing"
        )
    # Words are printed on terminals, which take some characters as commands.
    if not all(text.isprintable() for text in (*vocabulary.words, *tags, config.licence)):
        raise AuricleError(
            f"{folder} is not a checkpoint: its words, tags or licence hold unprintable characters"
        )
    checkpoint = Checkpoint(folder, config, vocabulary, tuple(tags))
    _check_lists(checkpoint)
    return checkpoint


def _check_lists(checkpoint: Checkpoint) -> None:
    """Raises AuricleError if the words or tags differ from those of the weights."""
    files = {"vocabulary": "vocabulary.txt", "tags": "tags.txt"}
    if differing := checkpoint.config.fingerprints.differing(checkpoint.fingerprints()):
        raise AuricleError(
            f"{checkpoint.folder / files[differing[0]]} differs from the list that the weights "
            "were trained with, in its lines or their order: restore the file, or train and export "
            "the captioner again"
        )


def _fetched(name: str, revision: str | None) -> Path:
    try:
        from auricle.checkpoint.hub import fetch
    except ModuleNotFoundError:
        raise AuricleError(
            f"no folder {name}: to look for it on the Hugging Face Hub, pip install 'auricle[hub]'"
        ) from None
    return fetch(name, revision, CHECKPOINT_FILES | MORE_FILES)


def check_files(folder: Path) -> None:
    """Checks that a folder's files are regular, not too large, and not links out of the folder.

    Raises:
        AuricleError: names the first file that is not.
    """
    for name, most in (CHECKPOINT_FILES | MORE_FILES).items():
        path = folder / name
        try:
            status = path.stat()
        except FileNotFoundError:
            if path.is_symlink():
                raise AuricleError(f"{path} is a broken link: its target does not exist") from None
            continue
        except OSError as error:
            raise AuricleError(f"{path} cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            raise AuricleError(f"{path} is not a file")
        if status.st_size > most:
            raise AuricleError(f"{path} has {status.st_size} bytes: expected at most {most}")
        if not _is_within(path, folder):
            raise AuricleError(f"{path} is a link that leaves the folder: replace it by the file")


def _is_within(path: Path, folder: Path) -> bool:
    """Returns whether a file is in the folder, after following links.

    Installers may link the package's own files, and the Hub's cache links to its blobs.
    """
    if folder == EMBEDDED:
        return True
    target = path.resolve()
    if target.is_relative_to(folder.resolve()):
        return True
    repository = folder.resolve().parent.parent
    return repository.name.startswith("models--") and target.is_relative_to(repository / "blobs")


def card(checkpoint: Checkpoint, name: str) -> str:
    """Returns the card for people and the Hub: README.md, or a text from the configuration.

    Args:
        checkpoint: the folder.
        name: owner/name on the Hub.
    """
    config, readme = checkpoint.config, checkpoint.folder / "README.md"
    # The Hub takes names of lower-case letters, digits, dots and hyphens; quoted, since YAML
    # reads some of them as numbers.
    licence_name = re.sub(r"[^a-z0-9.]+", "-", config.licence.lower()).strip("-.") or "unknown"
    front = FRONT_MATTER.format(licence_name=json.dumps(licence_name))
    if readme.exists():
        text = readme.read_text("utf-8")
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
    """Returns the SHA-256, in hexadecimal, of all files that affect captions."""
    whole = hashlib.sha256()
    for name in CHECKPOINT_FILES:
        path = folder / name
        if name in PLAN_FILES and not path.exists():
            continue  # a folder of format 1 keeps the fingerprint that existing indexes hold
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
        whole.update(f"{name} {digest}\n".encode())
    return whole.hexdigest()
