"""Writes the shards of `auricle bulk`, and checks that all have the same options."""

import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import pyarrow
from pyarrow import parquet

from auricle.bulk import ShardForm
from auricle.bulk.places import Piece, Place, text
from auricle.checkpoint.folder import EMBEDDED, fingerprint
from auricle.errors import AuricleError
from auricle.sound.network import without_secrets
from auricle.storage.files import PART_SUFFIX

SHARD_SCHEMA = pyarrow.schema(
    {
        "file": pyarrow.string(),
        "start": pyarrow.float64(),  # seconds
        "end": pyarrow.float64(),
        "caption": pyarrow.string(),
        "score": pyarrow.float64(),
        "confidence": pyarrow.float64(),
        "tags": pyarrow.list_(
            pyarrow.struct({"name": pyarrow.string(), "probability": pyarrow.float64()})
        ),
        "events": pyarrow.list_(
            pyarrow.struct(
                {
                    "name": pyarrow.string(),
                    "label": pyarrow.string(),
                    "probability": pyarrow.float64(),
                    "start": pyarrow.float64(),  # seconds
                    "end": pyarrow.float64(),
                    "repetition": pyarrow.string(),
                    "trend": pyarrow.string(),
                }
            )
        ),
    }
)
EMBEDDING = pyarrow.field("embedding", pyarrow.list_(pyarrow.float32()))


def with_features(schema: pyarrow.Schema) -> pyarrow.Schema:
    """Returns a schema that declares its features for the library `datasets` of Hugging Face."""
    features = {field.name: _feature(field.type) for field in schema}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pyarrow.DataType) -> dict[str, object]:
    if pyarrow.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pyarrow.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    names = {pyarrow.float32(): "float32", pyarrow.float64(): "float64", pyarrow.string(): "string"}
    return {"dtype": names[kind], "_type": "Value"}


@dataclass(frozen=True)
class Options:
    """The options of the captions; all shards of a folder have the same."""

    checkpoint: Path | None = None
    form: ShardForm = ShardForm.parquet
    window: float = 10.0  # seconds
    max_duration: float | None = None  # seconds
    embeddings: bool = False

    def described(self) -> dict[str, object]:
        """Returns the content of `bulk.json`, next to the shards."""
        return {
            "model": fingerprint(self.checkpoint or EMBEDDED),
            "format": self.form.value,
            "window": self.window,
            "max_duration": self.max_duration,
            "embeddings": self.embeddings,
        }


@dataclass(frozen=True)
class PieceReport:
    """The result of a piece."""

    sounds: int  # captioned and failed
    seconds: float  # of captioned sound
    failed: dict[str, str]  # the reason by the name of each failed sound


@dataclass(frozen=True)
class Output:
    """The folder of shards.

    `captions/` holds the shards, and `archives/` the failed members of archives.
    """

    folder: Place
    options: Options

    def _shard(self, key: str) -> Place:
        return self.folder.below(f"captions/{key}.{self.options.form}")

    def begin(self) -> tuple[set[str], set[str], dict[str, str]]:
        """Creates the folder, or reads which captions it has.

        Returns:
            The names of sounds with captions, the keys of shards, and the members of archives that
            failed, with the reason.

        Raises:
            AuricleError: the folder holds captions of another model or other options, or cannot be
                written.
        """
        options_file, options = self.folder.below("bulk.json"), self.options.described()
        files = [PurePosixPath(path) for path in self.folder.below("captions").listed()]
        shards = {path.stem for path in files if path.suffix == f".{self.options.form}"}
        try:
            if any(PurePosixPath(path).name == "bulk.json" for path in self.folder.listed()):
                earlier = json.loads(options_file.read())
                if other := [name for name in options if earlier.get(name) != options[name]]:
                    raise AuricleError(
                        f"{self.folder.name} holds captions made with another {', '.join(other)}: "
                        "give the same options, or another --output"
                    )
            else:
                options_file.write(json.dumps(options, indent=2).encode())
            with ThreadPoolExecutor(8) as pool:
                captioned = set[str]().union(*pool.map(self._files, shards))
            known: dict[str, str] = {}
            for path in self.folder.below("archives").listed():
                known |= json.loads(Place(self.folder.files, path, path).read())
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            problem = without_secrets(str(error))
            raise AuricleError(f"{self.folder.name}: cannot be continued: {problem}") from None
        return captioned, shards, known

    def write(
        self, piece: Piece, rows: Sequence[dict[str, object]], failed: dict[str, str]
    ) -> None:
        """Writes a piece's failed members, and then its captions: a shard marks it as done."""
        if piece.archive and failed:
            # A member that failed will fail again, so its archive is not opened again.
            self.folder.below(f"archives/{piece.key}.json").write(json.dumps(failed).encode())
        rows = [row | {"file": text(str(row["file"]))} for row in rows]
        buffer = io.BytesIO()
        if self.options.form is ShardForm.jsonl:
            buffer.writelines(f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in rows)
        else:
            schema = SHARD_SCHEMA.append(EMBEDDING) if self.options.embeddings else SHARD_SCHEMA
            table = pyarrow.Table.from_pylist(list(rows), with_features(schema))
            parquet.write_table(table, buffer, compression="zstd")
        self._shard(piece.key).write(buffer.getvalue())

    def write_errors(self, errors: dict[str, str]) -> None:
        """Writes `errors.jsonl` in one piece."""
        lines = (
            json.dumps({"file": text(name), "error": text(why)}, ensure_ascii=False)
            for name, why in errors.items()
        )
        self.folder.below("errors.jsonl").write("".join(f"{line}\n" for line in lines).encode())

    def end(self, errors: dict[str, str]) -> None:
        """Writes `errors.jsonl`, and removes the temporary files of killed workers."""
        self.write_errors(errors)
        if self.folder.local:
            for part in Path(self.folder.path, "captions").glob(f"*{PART_SUFFIX}"):
                part.unlink(missing_ok=True)

    def _files(self, key: str) -> set[str]:
        content = self._shard(key).read()
        if self.options.form is ShardForm.jsonl:
            return {json.loads(line)["file"] for line in content.splitlines()}
        table = parquet.read_table(io.BytesIO(content), columns=["file"])
        return set(cast("list[str]", table["file"].unique().to_pylist()))
