"""Opens files on the file systems of pyarrow and fsspec, and lists sounds.

Finds the sounds of a folder, a manifest or tar archives.
"""

import hashlib
import json
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import pyarrow
from pyarrow import parquet
from pyarrow.fs import (
    FileSelector,
    FileSystem,
    FileType,
    FSSpecHandler,
    LocalFileSystem,
    PyFileSystem,
)

from auricle.errors import AuricleError
from auricle.sound.find import find_sounds, is_apple_double, is_sound_name
from auricle.sound.network import shown_url, without_secrets
from auricle.storage.csv_table import decode_text, parse_table
from auricle.storage.files import written_whole

SOUND_COLUMNS = ("file", "path", "url")  # the first of these in a manifest names the sounds
MANIFEST_SUFFIXES = (".csv", ".parquet")
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Place:
    """A file or folder on a file system."""

    files: FileSystem
    path: str  # in the form that the file system expects
    name: str  # for messages: without password and query

    @property
    def local(self) -> bool:
        """True for the file system of this machine."""
        return isinstance(self.files, LocalFileSystem)

    def below(self, relative: str) -> "Place":
        """Returns a file or folder in this one; an absolute path stays as it is."""
        return Place(
            self.files, posixpath.join(self.path, relative), posixpath.join(self.name, relative)
        )

    def read(self) -> bytes:
        """Returns the content of a file."""
        with self.files.open_input_stream(self.path) as stream:
            return stream.read()

    def write(self, content: bytes) -> None:
        """Writes a file whole or not at all.

        An object store shows a file only when its upload has ended.
        """
        if not self.local:
            with self.files.open_output_stream(self.path) as stream:
                stream.write(content)
            return
        path = Path(self.path)
        try:
            with written_whole(path) as part:
                part.write_bytes(content)
        except FileNotFoundError:
            # Another process has completed the same file and removed the parts.
            if not path.exists():
                raise

    def listed(self) -> list[str]:
        """Returns the paths of the files in a folder, at any depth; none if it does not exist."""
        entries = self.files.get_file_info(
            FileSelector(self.path, recursive=True, allow_not_found=True)
        )
        return sorted(entry.path for entry in entries if entry.type == FileType.File)


@dataclass(frozen=True)
class Piece:
    """Some sounds, or a tar archive of sounds, that one call captions into one shard."""

    names: list[str]
    paths: list[str]  # on the input's file system; an empty string if the name is a URL
    archive: bool = False

    @property
    def key(self) -> str:
        """The name of its shard; depends on the names of the sounds only."""
        return hashlib.sha256("\n".join(map(text, self.names)).encode()).hexdigest()[:20]

    def dumps(self) -> str:
        """Returns the piece as one line of ASCII."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, line: str) -> "Piece":
        """Returns the piece of a line from `dumps`."""
        return cls(**json.loads(line))


def text(name: str) -> str:
    """Returns a name that UTF-8 can encode: escapes the bytes that are not text."""
    return name.encode("utf-8", "backslashreplace").decode()


@cache
def _file_system(root: str) -> tuple[FileSystem, str]:
    """Returns the file system of a bucket or a host, and the path of its root."""
    try:
        return FileSystem.from_uri(root)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        from fsspec.core import url_to_fs

        files, path = url_to_fs(root)
        return PyFileSystem(FSSpecHandler(files)), path


def place(address: str) -> Place:
    """Finds the file system of a path or URL: s3://, gs://, hf://, https:// and others.

    Uses pyarrow, and fsspec for schemes that pyarrow does not know. Keys of object stores are taken
    literally, with spaces. The part after a question mark holds options of pyarrow.

    Raises:
        AuricleError: neither can open the URL.
    """
    scheme, mark, rest = address.partition("://")
    if not mark or scheme == "file":
        path = rest if mark else address
        return Place(LocalFileSystem(), os.path.abspath(path), path)
    web = scheme in ("http", "https")  # fsspec takes the whole URL as the path
    rest, mark, query = (rest, "", "") if web else rest.partition("?")
    if scheme == "s3":  # uploads a shard in one request instead of three
        mark, query = "?", f"{query}{mark and '&'}allow_delayed_open=true"
    host, _, path = rest.partition("/")
    try:
        files, root = _file_system(f"{scheme}://{host}{mark}{query}")
    except (ImportError, OSError, ValueError, pyarrow.ArrowException) as error:
        problem = without_secrets(str(error))
        raise AuricleError(f"{shown_url(address)}: cannot be opened ({problem})") from None
    if web:
        return Place(files, address, shown_url(address).rstrip("/"))
    shown = rest.rpartition("@")[2] if "@" in host else rest
    return Place(files, posixpath.join(root, path).rstrip("/"), f"{scheme}://{shown}".rstrip("/"))


def sounds(
    source: Place, skipped: list[str] | None = None, remarks: list[str] | None = None
) -> dict[str, str]:
    """Returns names and paths of the sounds and archives of a folder, manifest or archive.

    The path of a URL is an empty string.

    Args:
        source: the folder, manifest or archive.
        skipped: receives the files of a folder that are neither sounds nor archives.
        remarks: receives notes on a manifest's encoding, delimiter and column names.

    Raises:
        AuricleError: the input does not exist, cannot be read, or has no sounds.
    """
    skipped = [] if skipped is None else skipped
    remarks = [] if remarks is None else remarks
    if not (found := dict(_found(source, skipped, remarks))):
        raise AuricleError(f"no sounds in {source.name}")
    return found


def _found(source: Place, skipped: list[str], remarks: list[str]) -> Iterator[tuple[str, str]]:
    try:
        info = source.files.get_file_info(source.path)
    except OSError as error:
        problem = without_secrets(str(error))
        raise AuricleError(f"{source.name}: cannot be opened ({problem})") from None
    suffix = source.path.lower()
    if info.type == FileType.NotFound:
        raise AuricleError(
            f"{source.name} does not exist: name a folder, a manifest (CSV or Parquet) "
            "or a tar archive"
        )
    if info.type == FileType.Directory:
        yield from _in_local(source, skipped) if source.local else _in_store(source, skipped)
    elif suffix.endswith(MANIFEST_SUFFIXES):
        folder = posixpath.dirname(source.path)
        for name in _named(source, remarks):
            yield name, "" if "://" in name else posixpath.join(folder, name)
    elif suffix.endswith(ARCHIVE_SUFFIXES):
        yield source.name, source.path
    else:
        raise AuricleError(
            f"{source.name} is not a folder, a manifest (CSV or Parquet) or a tar archive: "
            "use `auricle caption` for one sound"
        )


def _in_local(source: Place, skipped: list[str]) -> Iterator[tuple[str, str]]:
    """Yields the sounds of a folder on this machine, and then its archives.

    Names are the same as in `auricle caption`, even if they are not valid text.
    """
    others: list[str] = []
    for name in find_sounds([source.name], others):
        yield name, os.path.abspath(name)
    for other in others:
        if _is_archive(other):
            yield str(Path(other)), os.path.abspath(other)
        else:
            skipped.append(other)


def _in_store(source: Place, skipped: list[str]) -> Iterator[tuple[str, str]]:
    """Yields the sounds and archives of a folder on an object store, in the order of names."""
    for path in source.listed():
        name = source.below(path[len(source.path) :].lstrip("/")).name
        if is_sound_name(path) or _is_archive(path):
            yield name, path
        else:
            skipped.append(name)


def _is_archive(path: str) -> bool:
    return path.lower().endswith(ARCHIVE_SUFFIXES) and not is_apple_double(posixpath.basename(path))


def _named(manifest: Place, remarks: list[str]) -> list[str]:
    """Returns the names of the sounds in a manifest."""
    try:
        if manifest.path.lower().endswith(".parquet"):
            with manifest.files.open_input_file(manifest.path) as file:
                column = _column(manifest, parquet.ParquetFile(file).schema_arrow.names)
                cells = parquet.read_table(file, columns=[column])[column].to_pylist()
            return [str(value) for value in cells if value]
        content = manifest.read()
    except (OSError, pyarrow.ArrowException) as error:
        problem = without_secrets(str(error))
        raise AuricleError(f"{manifest.name}: cannot be read as a manifest: {problem}") from None
    text, encoding = decode_text(manifest.name, content)
    table = parse_table(manifest.name, text, encoding, SOUND_COLUMNS)
    column = _column(manifest, table.columns)
    if column in table.repeated():
        raise AuricleError(f"{manifest.name}: two columns are called '{column}'")
    remarks += table.remarks
    at = table.columns.index(column)
    return [name for _, cells in table.rows if at < len(cells) and (name := cells[at].strip())]


def _column(manifest: Place, names: Sequence[str]) -> str:
    for column in SOUND_COLUMNS:
        if column in names:
            return column
    raise AuricleError(
        f"{manifest.name}: has the columns {', '.join(names)}: "
        f"expected one of {', '.join(SOUND_COLUMNS)}"
    )


def pieces(
    found: Mapping[str, str], size: int, captioned: set[str], shards: set[str]
) -> list[Piece]:
    """Returns the pieces of the input that have no captions yet.

    Divides the whole input first, so that a job that was stopped gets the same pieces again.

    Args:
        found: the names and paths of the input, from `sounds`.
        size: sounds of a piece.
        captioned: names, in the form of `text`, that have captions already.
        shards: keys of pieces that have shards already.
    """
    files, archives = [], []
    for sound in found.items():
        (archives if sound[0].lower().endswith(ARCHIVE_SUFFIXES) else files).append(sound)
    whole_archives = (Piece([name], [path], archive=True) for name, path in archives)
    to_caption = [piece for piece in whole_archives if piece.key not in shards]
    # Failed or new sounds of pieces whose other sounds have captions.
    rest: list[tuple[str, str]] = []
    for begin in range(0, len(files), size):
        chunk = files[begin : begin + size]
        missing = [sound for sound in chunk if text(sound[0]) not in captioned]
        if len(missing) == len(chunk):
            to_caption.append(_piece(chunk))
        else:
            rest += missing
    return to_caption + [_piece(rest[begin : begin + size]) for begin in range(0, len(rest), size)]


def _piece(files: list[tuple[str, str]]) -> Piece:
    return Piece([name for name, _ in files], [path for _, path in files])
