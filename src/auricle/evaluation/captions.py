"""Candidates and references from files, and which belong together."""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from auricle.errors import AuricleError

_FILE_COLUMNS = ("file", "file_name")  # file_name is Clotho's
_SHOWN = 3


class CaptionsError(AuricleError):
    """Captions that cannot be read or matched; the message begins with the file they came from,
    where there is one.
    """


@dataclass(frozen=True)
class Matched:
    """Candidates with their references, in the candidates' order."""

    files: tuple[str, ...]
    candidates: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    reference_files: tuple[str, ...]  # as the references name them
    unused: int  # files with references and no candidate

    def in_order_of(self, other: "Matched") -> "Matched":
        """The same, in the order in which `other` has the same files."""
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
    """Read `{file: caption}` from CSV or JSON Lines with `file` (or `file_name`) and `caption`; the
    rest is ignored.

    An empty caption is kept, and scores 0. UTF-8 or, with a byte-order mark, UTF-16; another
    encoding must be named. Raises CaptionsError, also where a file has two captions.
    """
    places: dict[str, int] = {}
    captions: dict[str, str] = {}
    for place, row in _rows(path, encoding):
        file = _file_of(path, place, row)
        caption = row.get("caption")
        if not isinstance(caption, str):
            raise CaptionsError(
                f"{path}, line {place}: no caption: one column must be called 'caption'"
            )
        if file in captions:
            raise CaptionsError(
                f"{path}: two captions of {file}, line {places[file]} and {place}: "
                "one caption of the whole sound is wanted"
            )
        places[file] = place
        captions[file] = caption.strip()
    if not captions:
        raise CaptionsError(f"{path}: no captions")
    return captions


def read_references(path: Path, encoding: str | None = None) -> dict[str, tuple[str, ...]]:
    """Read `{file: its captions}` from CSV or JSON Lines: `caption_1`, `caption_2`, ... or
    `caption` in several rows.

    Empty cells are passed over. Encodings as in `read_candidates`. Raises CaptionsError, also where
    a file has none.
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
                f"{path}, line {place}: no 'caption' and no 'caption_1', 'caption_2', ..."
            )
        captions.extend(
            text.strip() for name in columns if isinstance(text := row[name], str) and text.strip()
        )
    if not references:
        raise CaptionsError(f"{path}: no captions")
    empty = [file for file, captions in references.items() if not captions]
    if empty:
        raise CaptionsError(f"{path}: {_some(empty)} without any caption")
    return {file: tuple(captions) for file, captions in references.items()}


def match(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> Matched:
    """Bring candidates and references together: by path, else by a base name that stands once on
    either side.

    Raises CaptionsError if a candidate has no references, or could have those of two files.
    """
    by_path = {_path(file): file for file in references}
    if len(by_path) < len(references):
        raise CaptionsError(
            f"the references name {_some(_twice(map(_path, references)))} in two ways"
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
                f"{file}: references of {_some(named)} could be meant: give paths, not names alone"
            )
        else:
            without.append(file)
    if without:
        raise CaptionsError(
            f"{_some(without)} without references: add them, or leave these candidates out"
        )
    shared = _twice(chosen.values())
    if shared:
        both = [file for file, reference in chosen.items() if reference == shared[0]]
        raise CaptionsError(
            f"{both[0]} and {both[1]} would have the same references, of {shared[0]}"
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
    """Each row as (its line, {column: cell}); JSON Lines where the file begins with a brace."""
    text = _text(path, encoding)
    if text.lstrip().startswith("{"):
        yield from _json_rows(path, text)
    else:
        yield from _csv_rows(path, text)


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CaptionsError(
                f"{path}, line {number}: no JSON ({error.msg}); one object a line"
            ) from None
        if not isinstance(row, dict):
            raise CaptionsError(f"{path}, line {number}: {line.strip()[:40]!r} is no JSON object")
        yield number, row


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        repeated = [
            name for name in _twice(header) if name in _FILE_COLUMNS or name.startswith("caption")
        ]
        if not any(name in header for name in _FILE_COLUMNS) or repeated:
            what = (
                f"the column {repeated[0]!r} twice"
                if repeated
                else f"the columns {', '.join(header)[:80] or 'none'}"
            )
            raise CaptionsError(
                f"{path}: {what}; a first line with 'file' and 'caption' is wanted (CSV, commas)"
            )
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise CaptionsError(
                    f"{path}, line {reader.line_num}: {len(cells)} fields, the first line has {len(header)}: "
                    "quote captions that hold a comma"
                )
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise CaptionsError(f"{path}, line {reader.line_num}: no CSV ({error})") from None


def _text(path: Path, encoding: str | None) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CaptionsError(f"{path}: cannot be read ({error.strerror})") from None
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode(encoding or ("utf-16" if marked else "utf-8"))
    except LookupError:
        raise CaptionsError(
            f"{path}: there is no encoding {encoding!r}; utf-8, utf-16 or latin-1, perhaps?"
        ) from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CaptionsError(
            f"{path}, line {line}: not {error.encoding} "
            f"(byte 0x{content[error.start]:02x}): name the encoding, as --encoding latin-1"
        ) from None
    if "\x00" in text:
        raise CaptionsError(
            f"{path}: no text in {encoding or 'utf-8'} (it holds zero bytes): name the encoding"
        )
    return text.removeprefix("\ufeff")


def _file_of(path: Path, place: int, row: Mapping[str, object]) -> str:
    named = next((row[column] for column in _FILE_COLUMNS if column in row), None)
    if not isinstance(named, str) or not named.strip():
        raise CaptionsError(f"{path}, line {place}: no file named")
    return named


def _path(file: str) -> str:
    """A path for comparison: forward slashes, no `./`."""
    return str(PurePosixPath(file.replace("\\", "/")))


def _twice(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]


def _some(files: Sequence[str]) -> str:
    """A few names, and how many more."""
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return ", ".join(files[:_SHOWN]) + more
