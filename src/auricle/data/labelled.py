"""Prepares ESC-50 (Piczak 2015) and UrbanSound8K (Salamon et al. 2014), which have no captions.

Like Clotho, both consist of parts of recordings on Freesound. `group` names the recording, and
`auricle data audit` finds recordings that data sets share. Their folds keep a recording together,
so the folds become the splits `fold1`, `fold2`, ...
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from auricle.data.manifest import Item, write_manifest
from auricle.data.prepared import Monitor, Prepared, silent
from auricle.errors import AuricleError
from auricle.storage.archives import unpack
from auricle.storage.download import Remote


@dataclass(frozen=True)
class LabelledSet:
    """A data set of one archive, with one table of all sounds."""

    name: str
    remote: Remote
    table: str  # its path in the unpacked folder
    file: str  # the pattern of a sound's path in the unpacked folder, from its row
    label: str  # the column of labels
    group: str  # the column of recordings
    licence: str


ESC50 = LabelledSet(
    "ESC-50",
    # The checksum of this commit's archive may change if its host packs it differently.
    Remote(
        "ESC-50.zip",
        "https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip",
        "sha256:661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
        645_832_161,
    ),
    table="meta/esc50.csv",
    file="audio/{filename}",
    label="category",
    group="src_file",
    licence="CC BY-NC 3.0; the LICENSE of ESC-50 has the licence of each sound",
)

URBANSOUND8K = LabelledSet(
    "UrbanSound8K",
    Remote(
        "UrbanSound8K.tar.gz",
        "https://zenodo.org/record/1203745/files/UrbanSound8K.tar.gz?download=1",
        "md5:9aa69802bbf37fb986f71ec1483a196e",
    ),
    table="metadata/UrbanSound8K.csv",
    file="audio/fold{fold}/{slice_file_name}",
    label="class",
    group="fsID",
    licence="CC BY-NC 4.0; FREESOUNDCREDITS.txt names the authors",
)


def prepare_labelled(
    folder: Path, data_set: LabelledSet, *, mirror: str | None = None, monitor: Monitor = silent
) -> Prepared:
    """Downloads and unpacks a data set and writes `manifest.csv`, with empty captions.

    Args:
        folder: receives the manifest, and the sounds in a folder named after the data set.
        data_set: the set to prepare.
        mirror: an address with the same archive.
        monitor: shows the progress.

    Raises:
        AuricleError: the data set cannot be downloaded, unpacked or read.
    """
    unpacked = folder / data_set.name
    if not unpacked.is_dir():
        with monitor(f"{data_set.name}: downloading") as progress:
            archive = data_set.remote.fetch(folder, mirror=mirror, progress=progress)
        with monitor(f"{data_set.name}: unpacking") as progress:
            unpack(archive, unpacked, _below_top, progress)
    (folder / data_set.remote.name).unlink(missing_ok=True)
    table = unpacked / data_set.table
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        items = [
            Item(
                unpacked / data_set.file.format(**row),
                f"fold{row['fold']}",
                (),
                row[data_set.label],
                row[data_set.group],
            )
            for row in rows
        ]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError) as error:
        raise AuricleError(
            f"{table}: cannot be read as the table of {data_set.name}: {error!r}"
        ) from None
    missing: dict[str, list[str]] = {}
    for item in items:
        if not item.file.is_file():
            missing.setdefault(item.split, []).append(item.file.name)
    existing = [item for item in items if item.file.is_file()]
    if not existing:
        raise AuricleError(
            f"{unpacked}: it holds no sounds of {data_set.name}: remove the folder and try again"
        )
    manifest = folder / "manifest.csv"
    write_manifest(manifest, existing)
    return Prepared(data_set.name, manifest, existing, missing, data_set.licence)


def _below_top(member: str) -> str | None:
    """Removes the top folder from a path; returns None for hidden files, which macOS or git add."""
    path = member.replace("\\", "/").partition("/")[2]
    hidden = any(part.startswith(".") for part in path.split("/"))
    return None if not path or hidden else path
