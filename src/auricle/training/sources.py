"""Binds a training to the weights that it began from.

    sources.json         file -> SHA-256 of the initial weights of a stage

A captioner is worth nothing as evidence about a pre-encoder that has been trained anew since.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from auricle.errors import AuricleError
from auricle.storage.files import written_whole

RECORD = "sources.json"


def record_sources(folder: Path, files: Sequence[Path]) -> None:
    """Writes the fingerprints of the files that a stage begins from."""
    with written_whole(folder / RECORD) as part:
        part.write_text(json.dumps(_digests(files), indent=2) + "\n", "utf-8")


def check_sources(folder: Path, files: Sequence[Path]) -> None:
    """Compares the files that a stage would begin from now with those that it began from.

    Raises:
        AuricleError: a file differs, or the folder has no record.
    """
    path = folder / RECORD
    try:
        recorded = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise AuricleError(
            f"{path} cannot be read: {error}. Remove {folder} to train it again"
        ) from None
    for name, digest in _digests(files).items():
        if recorded.get(name) != digest:
            raise AuricleError(
                f"{folder} was trained from another {name} than is there now: "
                f"remove {folder} to train it again, or restore the old file"
            )


def _digests(files: Sequence[Path]) -> dict[str, str]:
    """Returns the SHA-256 of each file, by its name and that of its folder."""
    found = {}
    for file in files:
        with file.open("rb") as opened:
            found[f"{file.parent.name}/{file.name}"] = hashlib.file_digest(
                opened, "sha256"
            ).hexdigest()
    return found
