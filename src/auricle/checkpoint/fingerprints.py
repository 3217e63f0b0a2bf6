"""Binds weights to the words, tags, data and recipe that they were trained with.

Networks know words by their numbers. A word list of the same length in another order fits every
tensor, but leads to captions with wrong words.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from auricle.errors import AuricleError
from auricle.storage.tables import read

METADATA = "fingerprints"  # the key in the metadata of safetensors and ONNX files
ONE_CAPTIONER = "put all files of one captioner into the folder"  # the advice in error messages


@dataclass(frozen=True)
class Fingerprints:
    """SHA-256 digests in hexadecimal; an empty string means unknown, as in files of auricle 0.1.

    Two sets of fingerprints are compared by the digests that both know.
    """

    vocabulary: str = ""  # of the words in the order of their numbers
    tags: str = ""  # of the names of the classes in order
    manifest: str = ""  # of the captions, splits, labels and groups of all sounds in order
    sounds: str = ""  # of the content of the sound files in order
    features: str = ""  # of the front end
    recipe: str = ""  # of all settings except the output folder

    def differing(self, other: "Fingerprints") -> list[str]:
        """Returns the names of the digests that both know and that differ."""
        pairs = [
            (field.name, getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)
        ]
        return [name for name, one, another in pairs if one and another and one != another]

    def of_networks(self) -> "Fingerprints":
        """Returns the fingerprints that determine the meaning of a network's inputs and outputs."""
        return Fingerprints(vocabulary=self.vocabulary, tags=self.tags, features=self.features)

    def metadata(self) -> dict[str, str]:
        """Returns the fingerprints as metadata of a file of weights."""
        # A single entry, because safetensors writes several in random order.
        return {METADATA: json.dumps(asdict(self))}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str] | None, where: str) -> "Fingerprints":
        """Reads the fingerprints from the metadata of a file of weights.

        Args:
            metadata: the metadata, or None.
            where: the file, for messages.

        Raises:
            AuricleError: the entry is damaged.
        """
        text = (metadata or {}).get(METADATA, "{}")
        try:
            table = json.loads(text)
        except (ValueError, RecursionError):
            table = None
        if not isinstance(table, dict):
            raise AuricleError(f"{where}: its metadata '{METADATA}' are not a JSON object")
        return read(cls, table, f"{where}: metadata '{METADATA}'")


def fingerprint_of(value: object) -> str:
    """Returns the SHA-256 digest, in hexadecimal, of a value that JSON can express."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
