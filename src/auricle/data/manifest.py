"""The data as a CSV: one sound a row, with its split and captions."""

import csv
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from auricle.errors import AuricleError
from auricle.storage.files import written_whole

COLUMNS = ("file", "split", "caption", "label", "group")
SHOWN = 20  # problems printed before the rest is counted only


@dataclass(frozen=True)
class Item:
    """A sound and what people said of it."""

    file: Path
    split: str
    captions: tuple[str, ...]
    label: str = ""  # what can be heard, where a data set says so
    group: str = ""  # the recording it was cut from
    task: int = 0  # which data set's way of captioning it is described in


def read_manifest(
    path: Path,
    splits: Collection[str] | None = None,
    *,
    check_files: bool = True,
    captioned: bool = True,
) -> list[Item]:
    """Reads a manifest and checks all of it.

    Columns: `file` (relative to the manifest's folder), `split`, `caption` or `caption_1`,
        `caption_2`, ...; optional `label` and `group`. A file may stand in several rows: their
        captions are joined.

    Args:
        path: a CSV, UTF-8.
        splits: the splits wanted; all if None.
        check_files: whether the sounds must be there.
        captioned: whether each row must have a caption.

    Raises:
        AuricleError: with every problem, a line each.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = [column or "" for column in reader.fieldnames or []]
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AuricleError(f"{path}: cannot be read as a manifest: {error}") from None
    numbered = sorted(
        (c for c in columns if c.startswith("caption_") and c[8:].isdigit()),
        key=lambda c: int(c[8:]),
    )
    texts = ["caption"] * ("caption" in columns) + numbered
    problems = [
        f"the column '{name}' is missing" for name in ("file", "split") if name not in columns
    ]
    problems += [] if texts else ["no caption column: 'caption', or 'caption_1', 'caption_2', ..."]
    problems += [f"unknown column '{c}'" for c in columns if c not in COLUMNS and c not in numbered]
    if problems:
        raise _invalid(path, problems)

    items: dict[str, Item] = {}
    for number, row in rows:
        if None in row or None in row.values():
            problems.append(f"line {number}: not as many fields as the header has")
            continue
        if splits is not None and row["split"] not in splits:
            continue
        name = row["file"]
        captions = tuple(text for column in texts if (text := row[column].strip()))
        item = Item(
            path.parent / name, row["split"], captions, row.get("label", ""), row.get("group", "")
        )
        if captioned and not captions:
            problems.append(f"line {number}: {name or 'the row'} has no caption")
        if not name:
            problems.append(f"line {number}: no file")
        elif check_files and name not in items and not item.file.is_file():
            problems.append(f"line {number}: {item.file} is not there")
        if name in items:
            before = items[name]
            if (before.split, before.label, before.group) != (item.split, item.label, item.group):
                problems.append(
                    f"line {number}: {name} stood before with another split, label or group"
                )
            item = Item(
                item.file, item.split, before.captions + item.captions, item.label, item.group
            )
        items[name] = item
    if splits is not None:
        found = {item.split for item in items.values()}
        problems += [f"no row has the split '{split}'" for split in splits if split not in found]
    if not items and not problems:
        problems.append("no rows")
    if problems:
        raise _invalid(path, problems)
    return list(items.values())


def write_manifest(path: Path, items: Sequence[Item]) -> None:
    """Writes a manifest, whole or not at all; files are named relative to its folder."""
    most = max((len(item.captions) for item in items), default=0)
    header = [
        "file",
        "split",
        "label",
        "group",
        *(f"caption_{n}" for n in range(1, max(most, 1) + 1)),
    ]
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for item in items:
            name = Path(os.path.relpath(item.file, path.parent)).as_posix()
            row = [name, item.split, item.label, item.group, *item.captions]
            writer.writerow(row + [""] * (len(header) - len(row)))


def _invalid(path: Path, problems: Sequence[str]) -> AuricleError:
    more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return AuricleError("\n  ".join([f"{path}: {count}:", *problems[:SHOWN], *more]))
