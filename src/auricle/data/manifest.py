"""Reads and writes manifests: CSV files with one sound per row, its split and its captions."""

import csv
import functools
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from auricle.errors import AuricleError
from auricle.storage.csv_table import EncodingError, Table, TableError, parse_table, read_text
from auricle.storage.files import written_whole

MANIFEST_COLUMNS = ("file", "split", "caption", "label", "group")
MOST_LISTED = 20  # problems that an error lists; it counts the others


@dataclass(frozen=True)
class Item:
    """A sound and its captions."""

    file: Path
    split: str
    captions: tuple[str, ...]
    label: str = ""  # the kind of sound, if the data set states it
    group: str = ""  # the recording that contains the sound
    task: int = 0  # the number of the data set that determines the style of its captions


@functools.cache
def print_once(remark: str) -> None:
    """Prints a remark on standard error, unless this process has printed it before."""
    print(f"auricle: {remark}", file=sys.stderr)


def read_manifest(
    path: Path,
    splits: Collection[str] | None = None,
    *,
    check_files: bool = True,
    captioned: bool = True,
    bad_clips: list[str] | None = None,
    say: Callable[[str], None] = print_once,
) -> list[Item]:
    """Reads a manifest and checks all of it.

    The columns are `file` (relative to the manifest's folder) or `file_name`, `split`, `caption` or
    `caption_1`, `caption_2`, ..., and optionally `label` and `group`. Other columns are ignored. If
    several rows name the same file, their captions are joined. Blanks around cells are removed.

    Args:
        path: a CSV in UTF-8, or UTF-16 with a byte-order mark; with commas, semicolons or tabs.
        splits: the splits to read; all if None.
        check_files: whether the sounds must exist.
        captioned: whether each row must have a caption.
        bad_clips: if given, missing sounds are left out, and listed here with their lines.
        say: receives one line if the file differs from UTF-8, commas or the column names above, or
            has columns that are ignored.

    Raises:
        AuricleError: lists all problems, one per line.
    """
    table = _read_table(path)
    texts = _caption_columns(table)
    _check_columns(path, table, texts)
    ignored = [name for name in table.columns if name not in (*MANIFEST_COLUMNS, *texts)]
    remarks = list(table.remarks)
    if ignored:
        remarks.append(f"columns ignored: {', '.join(name or '(no name)' for name in ignored)}")
    if remarks:
        say(f"{path}: {'; '.join(remarks)}")

    sounds = _Sounds(check_files, captioned, bad_clips)
    for line, cells in table.rows:
        if len(cells) != len(table.columns):
            sounds.problems.append(
                f"line {line}: {len(cells)} fields, expected {len(table.columns)} as in the header"
            )
            continue
        row = dict(zip(table.columns, cells, strict=True))
        if splits is None or row["split"].strip() in splits:
            sounds.add(line, row["file"].strip(), _item(path, row, texts))
    items = list(sounds.items.values())
    problems = sounds.problems + _missing_splits(items, splits)
    if not items and not problems:
        problems.append("no rows")
    if problems:
        raise _invalid(path, problems)
    return items


class _Sounds:
    """The sounds of the rows so far, and the problems of the rows."""

    def __init__(self, check_files: bool, captioned: bool, bad_clips: list[str] | None) -> None:
        self.items: dict[str, Item] = {}  # by absolute path: `./x.ogg` equals `x.ogg`
        self.problems: list[str] = []
        self._check_files = check_files
        self._captioned = captioned
        self._bad_clips = bad_clips

    def add(self, line: int, name: str, item: Item) -> None:
        """Adds the sound of a row, or the problem of the row."""
        if self._captioned and not item.captions:
            self.problems.append(f"line {line}: {name or 'the row'} has no caption")
        if not name:
            self.problems.append(f"line {line}: the 'file' field is empty")
            return
        key = os.path.abspath(item.file)
        before = self.items.get(key)
        if before is None and self._check_files and not item.file.is_file():
            absent = f"line {line}: {item.file} does not exist"
            if self._bad_clips is not None:
                self._bad_clips.append(absent)
                return
            self.problems.append(absent)
        if before is not None and not _is_same_sound(before, item):
            self.problems.append(
                f"line {line}: {name} has another split, label or group in an earlier row"
            )
        self.items[key] = item if before is None else _joined(before, item)


def _read_table(path: Path) -> Table:
    try:
        return parse_table(path, *read_text(path))
    except EncodingError as error:
        raise AuricleError(f"{error}: save the manifest as UTF-8") from None
    except TableError as error:
        raise AuricleError(f"{error}: {path.name} cannot be read as a manifest") from None


def _caption_columns(table: Table) -> list[str]:
    """Returns the columns of captions, in the order of their numbers."""
    numbered = [
        name for name in table.columns if name.startswith("caption_") and name[8:].isdecimal()
    ]
    alone = [name for name in table.columns if name == "caption"]
    return [*alone, *sorted(numbered, key=lambda name: int(name[8:]))]


def _check_columns(path: Path, table: Table, texts: Sequence[str]) -> None:
    given = ", ".join(f"'{name}'" for name in table.columns) or "none"
    problems = [
        f"line 1: the column '{name}' is missing (the columns are {given})"
        for name in ("file", "split")
        if name not in table.columns
    ]
    if not texts:
        problems.append(
            "line 1: no caption column: expected 'caption', or 'caption_1', 'caption_2', ..."
        )
    problems += [
        f"line 1: two columns are called '{name}'"
        for name in table.repeated()
        if name in (*MANIFEST_COLUMNS, *texts)
    ]
    if problems:
        raise _invalid(path, problems)


def _item(path: Path, row: Mapping[str, str], texts: Sequence[str]) -> Item:
    file = path.parent / row["file"]
    if row["file"] != row["file"].strip() and not file.is_file():
        file = path.parent / row["file"].strip()
    captions = tuple(text for column in texts if (text := row[column].strip()))
    return Item(
        file=file,
        split=row["split"].strip(),
        captions=captions,
        label=row.get("label", "").strip(),
        group=row.get("group", "").strip(),
    )


def _is_same_sound(one: Item, other: Item) -> bool:
    return (one.split, one.label, one.group) == (other.split, other.label, other.group)


def _joined(before: Item, item: Item) -> Item:
    return replace(item, file=before.file, captions=before.captions + item.captions)


def _missing_splits(items: Collection[Item], splits: Collection[str] | None) -> list[str]:
    found = {item.split for item in items}
    return [f"no row has the split '{split}'" for split in splits or () if split not in found]


def write_manifest(path: Path, items: Sequence[Item]) -> None:
    """Writes a manifest, whole or not at all; files are named relative to its folder."""
    most = max((len(item.captions) for item in items), default=0)
    captions = [f"caption_{number}" for number in range(1, max(most, 1) + 1)]
    header = ["file", "split", "label", "group", *captions]
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for item in items:
            name = Path(os.path.relpath(item.file, path.parent)).as_posix()
            row = [name, item.split, item.label, item.group, *item.captions]
            writer.writerow(row + [""] * (len(header) - len(row)))


def _invalid(path: Path, problems: Sequence[str]) -> AuricleError:
    more = [f"and {len(problems) - MOST_LISTED} more"] if len(problems) > MOST_LISTED else []
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return AuricleError("\n  ".join([f"{path}: {count}:", *problems[:MOST_LISTED], *more]))
