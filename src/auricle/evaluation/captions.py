"""Reads candidates and references from files, and pairs them."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from auricle.errors import AuricleError
from auricle.storage.csv_table import (
    FILE_COLUMNS,
    EncodingError,
    Table,
    TableError,
    parse_table,
    read_text,
)

_MOST_NAMES = 3  # files that a message names


class CaptionsError(AuricleError):
    """Raised for captions that cannot be read or paired; the message begins with their file."""


@dataclass(frozen=True)
class Matched:
    """Candidates with their references, in the candidates' order."""

    files: tuple[str, ...]
    candidates: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    reference_files: tuple[str, ...]  # the files' names in the references
    unused: int  # number of files with references and no candidate

    def in_order_of(self, other: "Matched") -> "Matched":
        """Returns the same pairs in the order of `other`, which has the same files."""
        place = {file: number for number, file in enumerate(self.reference_files)}
        order = [place[file] for file in other.reference_files]
        return Matched(
            files=tuple(self.files[number] for number in order),
            candidates=tuple(self.candidates[number] for number in order),
            references=tuple(self.references[number] for number in order),
            reference_files=other.reference_files,
            unused=self.unused,
        )


def read_candidates(path: Path, encoding: str | None = None) -> dict[str, str]:
    """Reads `{file: caption}` from CSV or JSON Lines with `file` (or `file_name`) and `caption`.

    Other columns are ignored. An empty caption is kept, and scores 0.

    Args:
        path: CSV with commas, semicolons or tabs, or JSON Lines.
        encoding: of the file; if None, UTF-16 with a byte-order mark of UTF-16, else UTF-8.

    Raises:
        CaptionsError: the file cannot be read, or one sound has two captions.
    """
    places: dict[str, int] = {}
    captions: dict[str, str] = {}
    for place, row in _rows(path, encoding):
        file = _file_of(path, place, row)
        caption = row.get("caption")
        if not isinstance(caption, str):
            raise CaptionsError(
                f"{path}, line {place}: no caption: expected a text in the column 'caption'"
            )
        if file in captions:
            raise CaptionsError(
                f"{path}: two captions of {file}, line {places[file]} and {place}: "
                "give one caption of the whole sound"
            )
        places[file] = place
        captions[file] = caption.strip()
    if not captions:
        raise CaptionsError(f"{path}: no captions: expected at least one")
    return captions


def read_references(path: Path, encoding: str | None = None) -> dict[str, tuple[str, ...]]:
    """Reads `{file: its captions}` from CSV or JSON Lines.

    The captions are in `caption_1`, `caption_2`, ..., or in `caption` in several rows. Empty cells
    are skipped. The arguments are those of `read_candidates`.

    Raises:
        CaptionsError: the file cannot be read, or a sound has no caption.
    """
    references: dict[str, list[str]] = {}
    for place, row in _rows(path, encoding):
        captions = references.setdefault(_file_of(path, place, row), [])
        numbered = sorted(
            (name for name in row if re.fullmatch(r"caption_\d+", name)),
            key=lambda name: int(name[8:]),
        )
        columns = ["caption"] * ("caption" in row) + numbered
        if not columns:
            raise CaptionsError(
                f"{path}, line {place}: no caption: expected the column 'caption', or 'caption_1', "
                "'caption_2', ..."
            )
        captions.extend(
            text.strip() for name in columns if isinstance(text := row[name], str) and text.strip()
        )
    if not references:
        raise CaptionsError(f"{path}: no captions: expected at least one")
    empty = [file for file, captions in references.items() if not captions]
    if empty:
        raise CaptionsError(f"{path}: no caption of {_some(empty)}: expected one or more")
    return {file: tuple(captions) for file, captions in references.items()}


def match(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> Matched:
    """Pairs candidates and references by path, else by a file name that is unique on both sides.

    Raises:
        CaptionsError: a candidate fits no reference, or those of several files.
    """
    by_path = {_path(file): file for file in references}
    if len(by_path) < len(references):
        raise CaptionsError(
            f"the references name {_some(_twice(map(_path, references)))} in two ways: "
            "give one path to each file"
        )
    by_name: dict[str, list[str]] = defaultdict(list)
    for file in references:
        by_name[PurePosixPath(_path(file)).name].append(file)
    chosen: dict[str, str] = {}
    without: list[str] = []
    for file in candidates:
        named = by_name[PurePosixPath(_path(file)).name]
        if _path(file) in by_path:
            chosen[file] = by_path[_path(file)]
        elif len(named) == 1:
            chosen[file] = named[0]
        elif named:
            raise CaptionsError(
                f"{file} could be any of {_some(named)} in the references: give paths, not names"
            )
        else:
            without.append(file)
    if without:
        raise CaptionsError(
            f"no references of {_some(without)}: add them, or remove these candidates"
        )
    shared = _twice(chosen.values())
    if shared:
        both = [file for file, reference in chosen.items() if reference == shared[0]]
        raise CaptionsError(
            f"{both[0]} and {both[1]} both fit the references of {shared[0]}: remove one of them"
        )
    files = tuple(candidates)
    return Matched(
        files=files,
        candidates=tuple(candidates[file] for file in files),
        references=tuple(tuple(references[chosen[file]]) for file in files),
        reference_files=tuple(chosen[file] for file in files),
        unused=len(references) - len(files),
    )


def _rows(path: Path, encoding: str | None) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yields each row as (line, {column: cell}); reads JSON Lines if the file begins with {."""
    try:
        text, used = read_text(path, encoding)
        if text.lstrip().startswith("{"):
            yield from _json_rows(path, text)
        else:
            yield from _csv_rows(path, parse_table(path, text, used))
    except EncodingError as error:
        raise CaptionsError(f"{error}: give its encoding, such as --encoding latin-1") from None
    except TableError as error:
        raise CaptionsError(str(error)) from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CaptionsError(
                f"{path}, line {number}: not JSON ({error.msg}): expected one object per line"
            ) from None
        if not isinstance(row, dict):
            raise CaptionsError(
                f"{path}, line {number}: {line.strip()[:40]!r} is not a JSON object"
            )
        yield number, row


def _csv_rows(path: Path, table: Table) -> Iterator[tuple[int, Mapping[str, object]]]:
    repeated = [name for name in table.repeated() if name == "file" or name.startswith("caption")]
    if "file" not in table.columns or repeated:
        columns = ", ".join(table.columns)[:80] or "none"
        found = f"the column {repeated[0]!r} twice" if repeated else f"the columns {columns}"
        raise CaptionsError(
            f"{path}: {found}: the first line must name the columns 'file' and 'caption' (CSV)"
        )
    for line, cells in table.rows:
        if len(cells) != len(table.columns):
            raise CaptionsError(
                f"{path}, line {line}: {len(cells)} fields, expected {len(table.columns)} as in "
                "the header: quote captions that hold a comma"
            )
        yield line, dict(zip(table.columns, cells, strict=True))


def _file_of(path: Path, place: int, row: Mapping[str, object]) -> str:
    named = next((row[column] for column in FILE_COLUMNS if column in row), None)
    if not isinstance(named, str) or not named.strip():
        raise CaptionsError(f"{path}, line {place}: the 'file' field is missing or empty")
    return named


def _path(file: str) -> str:
    """Returns a path for comparison: with forward slashes, without `./`."""
    return str(PurePosixPath(file.replace("\\", "/")))


def _twice(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]


def _some(files: Sequence[str]) -> str:
    """Returns the first names, and the number of the others."""
    more = f" and {len(files) - _MOST_NAMES} more" if len(files) > _MOST_NAMES else ""
    return ", ".join(files[:_MOST_NAMES]) + more
