"""Opens files wherever pyarrow or fsspec reach, and lists the sounds there.

The sounds are those of a folder, a manifest or tar archives.
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

COLUMNS = ("file", "path", "url")  # of a manifest: the first that it has names the sounds
MANIFESTS = (".csv", ".parquet")
ARCHIVES = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Place:
    """A file or folder, and the file system that it is on."""

    files: FileSystem
    path: str  # as the file system takes it
    name: str  # as it is printed: without password and query

    @property
    def local(self) -> bool:
        """Whether it is on this machine's own file system."""
        return isinstance(self.files, LocalFileSystem)

    def below(self, relative: str) -> "Place":
        """A file or folder in this one; an absolute path is itself."""
        return Place(
            self.files, posixpath.join(self.path, relative), posixpath.join(self.name, relative)
        )

    def read(self) -> bytes:
        """All of a file."""
        with self.files.open_input_stream(self.path) as stream:
            return stream.read()

    def write(self, content: bytes) -> None:
        """Writes a file whole or not at all.

        An object store shows the file when the put has ended.
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
            # Another attempt at the same file has finished it and removed the parts.
            if not path.exists():
                raise

    def listed(self) -> list[str]:
        """Paths of files in a folder, at any depth; none where it is not there."""
        found = self.files.get_file_info(
            FileSelector(self.path, recursive=True, allow_not_found=True)
        )
        return sorted(info.path for info in found if info.type == FileType.File)


@dataclass(frozen=True)
class Piece:
    """Some sounds, or a tar archive of sounds: the work of one call, and of one shard."""

    names: list[str]
    paths: list[str]  # on the input's file system; empty where the name is a URL
    archive: bool = False

    @property
    def key(self) -> str:
        """The name of its shard: of the same sounds, the same."""
        return hashlib.sha256("\n".join(map(text, self.names)).encode()).hexdigest()[:20]

    def dumps(self) -> str:
        """As a line of ASCII, whatever files are called."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, line: str) -> "Piece":
        """The piece that became the line."""
        return cls(**json.loads(line))


def text(name: str) -> str:
    """A name as UTF-8 has it: with its bytes that are no text written out."""
    return name.encode("utf-8", "backslashreplace").decode()


@cache
def _file_system(root: str) -> tuple[FileSystem, str]:
    """The file system of a bucket, a host or the like, and where its root is."""
    try:
        return FileSystem.from_uri(root)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        from fsspec.core import url_to_fs

        files, path = url_to_fs(root)
        return PyFileSystem(FSSpecHandler(files)), path


def place(address: str) -> Place:
    """Finds the file system of a path or URL: s3://, gs://, hf://, https:// and others.

    pyarrow or fsspec open it.

    Keys of object stores are taken as they are, spaces and all; what follows a question mark are
    pyarrow's options.

    Raises:
        AuricleError: nothing opens such URLs.
    """
    scheme, mark, rest = address.partition("://")
    if not mark or scheme == "file":
        path = rest if mark else address
        return Place(LocalFileSystem(), os.path.abspath(path), path)
    web = scheme in ("http", "https")  # where the whole URL is the path
    rest, mark, query = (rest, "", "") if web else rest.partition("?")
    if scheme == "s3":  # a shard is one request then, not the three of an upload in parts
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

    A URL's path is empty.

    Args:
        source: the folder, manifest or archive.
        skipped: receives the files of a folder that are neither sounds nor archives.
        remarks: receives how a manifest departs from UTF-8, commas and our column names.

    Raises:
        AuricleError: there is no such thing, a manifest that cannot be read, or no sound.
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
            f"{source.name} is not there: name a folder, a manifest (CSV or Parquet) "
            "or a tar archive"
        )
    if info.type == FileType.Directory:
        yield from _in_local(source, skipped) if source.local else _in_store(source, skipped)
    elif suffix.endswith(MANIFESTS):
        folder = posixpath.dirname(source.path)
        for name in _named(source, remarks):
            yield name, "" if "://" in name else posixpath.join(folder, name)
    elif suffix.endswith(ARCHIVES):
        yield source.name, source.path
    else:
        raise AuricleError(
            f"{source.name} is no folder, manifest (CSV or Parquet) or tar archive; "
            "for one sound, use `auricle caption`"
        )


def _in_local(source: Place, skipped: list[str]) -> Iterator[tuple[str, str]]:
    """Yields the sounds of a folder on this machine, and then its archives.

    They have the names that `auricle caption` gives them, also where a name is no text.
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
    """Yields the sounds and archives of a folder on an object store, by name."""
    for path in source.listed():
        name = source.below(path[len(source.path) :].lstrip("/")).name
        if is_sound_name(path) or _is_archive(path):
            yield name, path
        else:
            skipped.append(name)


def _is_archive(path: str) -> bool:
    return path.lower().endswith(ARCHIVES) and not is_apple_double(posixpath.basename(path))


def _named(manifest: Place, remarks: list[str]) -> list[str]:
    """Returns the sounds that a manifest names."""
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
    table = parse_table(manifest.name, text, encoding, COLUMNS)
    column = _column(manifest, table.columns)
    if column in table.repeated():
        raise AuricleError(f"{manifest.name}: two columns are called '{column}'")
    remarks += table.remarks
    at = table.columns.index(column)
    return [name for _, cells in table.rows if at < len(cells) and (name := cells[at].strip())]


def _column(manifest: Place, names: Sequence[str]) -> str:
    for column in COLUMNS:
        if column in names:
            return column
    raise AuricleError(
        f"{manifest.name}: has the columns {', '.join(names)}; expected one of {', '.join(COLUMNS)}"
    )


def pieces(
    found: Mapping[str, str], size: int, captioned: set[str], shards: set[str]
) -> list[Piece]:
    """What is to be captioned.

    The whole input is divided first, so that what was begun and stopped is divided the same and
    gets the same names again.

    Args:
        found: the input, as `sounds` has it.
        size: sounds of a piece.
        captioned: names, as `text` has them, that have captions already.
        shards: keys of pieces that are there already.
    """
    files, archives = [], []
    for sound in found.items():
        (archives if sound[0].lower().endswith(ARCHIVES) else files).append(sound)
    whole_archives = (Piece([name], [path], archive=True) for name, path in archives)
    wanted = [piece for piece in whole_archives if piece.key not in shards]
    # of pieces that are done but for some: sounds that failed, or are new
    rest: list[tuple[str, str]] = []
    for begin in range(0, len(files), size):
        whole = files[begin : begin + size]
        missing = [sound for sound in whole if text(sound[0]) not in captioned]
        if len(missing) == len(whole):
            wanted.append(_piece(whole))
        else:
            rest += missing
    return wanted + [_piece(rest[begin : begin + size]) for begin in range(0, len(rest), size)]


def _piece(files: list[tuple[str, str]]) -> Piece:
    return Piece([name for name, _ in files], [path for _, path in files])
