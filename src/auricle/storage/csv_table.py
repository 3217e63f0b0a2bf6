"""Reads CSV files that people and spreadsheets wrote; errors name the line of the damage."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from auricle.errors import AuricleError

FILE_COLUMNS = ("file", "file_name")  # file_name is Clotho's
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}


class TableError(AuricleError):
    """Raised for a file that is not a table; the message begins with its path."""


class EncodingError(TableError):
    """Raised for a file in another encoding."""


@dataclass(frozen=True)
class Table:
    """A CSV file whose first line names its columns."""

    columns: tuple[str, ...]  # trimmed, in lower case; `file_name` is called `file`
    rows: tuple[tuple[int, tuple[str, ...]], ...]  # per row: the number of its first line, cells
    remarks: tuple[str, ...]  # notes on an encoding, delimiter or column name that is not ours

    def repeated(self) -> list[str]:
        """Returns the names that more than one column has."""
        return [name for name in dict.fromkeys(self.columns) if self.columns.count(name) > 1]


def read_text(path: Path, encoding: str | None = None) -> tuple[str, str]:
    """Returns a file's text and its encoding.

    Without `encoding`, a file that begins with a byte-order mark of UTF-16 is read as UTF-16, and
    any other file as UTF-8.

    Raises:
        TableError: the file cannot be read.
        EncodingError: the file cannot be decoded.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror})") from None
    return decode_text(path, content, encoding)


def decode_text(path: Path | str, content: bytes, encoding: str | None = None) -> tuple[str, str]:
    """Returns the text of a file's content and its encoding; see `read_text`.

    Args:
        path: the file, for messages.
        content: all bytes of the file.
        encoding: its encoding; UTF-8 or UTF-16 if None.

    Raises:
        TableError: Python knows no such encoding.
        EncodingError: the content cannot be decoded.
    """
    is_utf_16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    used = encoding or ("utf-16" if is_utf_16 else "utf-8")
    try:
        text = content.decode(used)
    except LookupError:
        raise TableError(
            f"{path}: Python has no encoding {encoding!r}: try utf-8, utf-16 or latin-1"
        ) from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise EncodingError(
            f"{path}, line {line}: not {error.encoding} (byte 0x{content[error.start]:02x})"
        ) from None
    if "\x00" in text:
        raise EncodingError(f"{path}: it is not text in {used}: it holds zero bytes")
    return text.removeprefix("\ufeff"), used


def parse_table(
    path: Path | str,
    text: str,
    encoding: str = "utf-8",
    file_columns: Sequence[str] = FILE_COLUMNS,
) -> Table:
    """Parses the text of a CSV file; skips blank rows.

    Args:
        path: the file, for messages.
        text: its content.
        encoding: its encoding, for the remarks.
        file_columns: names of columns that may hold file names. One of them shows the delimiter.

    Raises:
        TableError: a quote is not closed, or text follows a closing quote; the message names the
            line.
    """
    first = next(iter(text.splitlines()), "")
    delimiter = _delimiter(first, file_columns)
    rows = list(_rows(path, text, delimiter))
    written = rows.pop(0)[1] if rows else ()
    names = [name.strip().lower() for name in written]
    columns = tuple(
        "file" if name == "file_name" and "file" not in names else name for name in names
    )
    file_column = next((name for name in file_columns if name in columns), None)
    if file_column is not None:
        _refuse_swallowed_rows(path, columns, file_column, rows, delimiter)
    remarks = []
    if encoding.lower().replace("-", "") not in ("utf8", "ascii"):
        remarks.append(f"read as {encoding.upper()}")
    if delimiter != ",":
        remarks.append(f"columns are separated by {_DELIMITERS[delimiter]}")
    renamed = [
        f"{given!r} is read as {name!r}"
        for given, name in zip(written, columns, strict=True)
        if given.strip() and given != name
    ]
    return Table(columns, tuple(rows), (*remarks, *renamed))


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Returns the trimmed cells of some columns, by column, for each row of a CSV file.

    Raises:
        TableError: the file is not a table; a column is missing or occurs twice; a row has more or
            fewer cells than the header, or an empty cell in one of the columns.
    """
    table = parse_table(path, *read_text(path))
    given = ", ".join(f"'{name}'" for name in table.columns) or "none"
    for name in columns:
        if table.columns.count(name) != 1:
            raise TableError(
                f"{path}, line 1: expected one column '{name}' (the columns are {given})"
            )
    rows = []
    for line, cells in table.rows:
        if len(cells) != len(table.columns):
            raise TableError(
                f"{path}, line {line}: {len(cells)} fields, expected {len(table.columns)} as "
                f"in the header"
            )
        row = dict(zip(table.columns, cells, strict=True))
        rows.append({name: row[name].strip() for name in columns})
        if empty := [name for name in columns if not rows[-1][name]]:
            raise TableError(f"{path}, line {line}: the '{empty[0]}' field is empty")
    return rows


def _delimiter(header: str, file_columns: Sequence[str]) -> str:
    """Returns the delimiter with which the header has a column of files, else a comma."""
    for delimiter in _DELIMITERS:
        names = next(csv.reader([header], delimiter=delimiter), [])
        if any(name.strip().lower() in file_columns for name in names):
            return delimiter
    return ","


def _rows(path: Path | str, text: str, delimiter: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cells):
                yield line, tuple(cells)
            line = reader.line_num + 1
    except csv.Error as error:
        if reader.line_num > line or "end of data" in str(error):
            reason = "the quote that opens here is not closed"
            if reader.line_num > line:
                reason += f" (noticed in line {reader.line_num})"
        else:
            reason = f"{error}; double each quote inside a quoted cell"
        raise TableError(f"{path}, line {line}: not CSV: {reason}") from None


def _refuse_swallowed_rows(
    path: Path | str,
    columns: Sequence[str],
    file_column: str,
    rows: Sequence[tuple[int, Sequence[str]]],
    delimiter: str,
) -> None:
    """Raises `TableError` for a cell that swallowed later rows, because its quote is not closed.

    A line inside a cell counts as a row if its file has the suffix of another row's file.
    """
    place = columns.index(file_column)
    suffixes = {
        suffix for _, cells in rows if place < len(cells) and (suffix := _suffix(cells[place]))
    }
    for line, cells in rows:
        for cell in cells:
            for inner in cell.splitlines()[1:]:
                inner_cells = inner.split(delimiter)
                if len(inner_cells) < 2 or place >= len(inner_cells):
                    continue
                is_row = (
                    _suffix(inner_cells[place]) in suffixes
                    if suffixes
                    else len(inner_cells) == len(columns)
                )
                if is_row:
                    raise TableError(
                        f"{path}, line {line}: not CSV: the quote that opens here is not closed "
                        f"(its cell holds the row {inner[:40]!r})"
                    )


def _suffix(file: str) -> str:
    return PurePosixPath(file.strip()).suffix.lower()
