"""AudioCaps (Kim et al. 2019): captions of ten seconds of videos; the sounds are the user's own
copies.
"""

import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from auricle.data.manifest import Item, write_manifest
from auricle.data.prepared import Monitor, Prepared, silent
from auricle.errors import AuricleError
from auricle.storage.download import Remote

SPLITS = ("train", "val", "test")
LICENCE = "captions MIT, for academic use as its authors ask; sounds as their makers say"
_BASE = "https://raw.githubusercontent.com/cdjkim/audiocaps/80fb3ade6d400d4311354a360db25da051a48cc1/dataset"

REMOTES = {
    split: Remote(f"{split}.csv", f"{_BASE}/{split}.csv", f"sha256:{checksum}")
    for split, checksum in (
        ("train", "c0c5223db682b3bf724ce7e7ce58d5b36929f74572e8526a7211f92d2eef7c8e"),
        ("val", "dab1c96641d5f3053ddb99dca3949450da9a75737bda53e11cc0aa8b102be0c3"),
        ("test", "b91c4b7ded2f4f6e7db5b9c4983dc1e1dca3d556f505b61e3fd65cac7e1c638a"),
    )
}


def fetch_captions(
    folder: Path,
    *,
    remotes: Mapping[str, Remote] = REMOTES,
    mirror: str | None = None,
    monitor: Monitor = silent,
) -> dict[str, Path]:
    """The CSV of each split, fetched unless it is there."""
    paths = {}
    for split in SPLITS:
        with monitor(f"AudioCaps {split}: captions") as progress:
            paths[split] = remotes[split].fetch(folder, mirror=mirror, progress=progress)
    return paths


def read_captions(path: Path) -> dict[str, list[str]]:
    """A CSV's captions by the names of their clips, {youtube_id}_{start_time}.

    Raises:
        AuricleError: it cannot be read.
    """
    captions: dict[str, list[str]] = defaultdict(list)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                captions[f"{row['youtube_id']}_{row['start_time']}"].append(row["caption"].strip())
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise AuricleError(f"{path}: cannot be read as AudioCaps' captions: {error!r}") from None
    return captions


def prepare_audiocaps(
    folder: Path,
    audio: Path,
    *,
    remotes: Mapping[str, Remote] = REMOTES,
    mirror: str | None = None,
    monitor: Monitor = silent,
) -> Prepared:
    """Fetches the three CSVs and writes `manifest.csv` of the clips that are there.

    Args:
        folder: for the CSVs and the manifest.
        audio: the clips, at any depth and in any format, each named {youtube_id}_{start_time}.
        remotes: what is fetched, by split.
        mirror: an address with the same files.
        monitor: shown what goes on.

    Raises:
        AuricleError: a CSV that cannot be fetched or read; no clip is there.
    """
    there = {file.stem: file for file in sorted(audio.rglob("*")) if file.is_file()}
    items: list[Item] = []
    missing: dict[str, list[str]] = {}
    for split, path in fetch_captions(
        folder, remotes=remotes, mirror=mirror, monitor=monitor
    ).items():
        captions = read_captions(path)
        missing[split] = [name for name in captions if name not in there]
        for name, texts in captions.items():
            if name in there:
                items.append(Item(there[name], split, tuple(texts), group=name.rpartition("_")[0]))
    if not items:
        example = next(iter(missing["train"]), "youtube-id_30")
        raise AuricleError(
            f"{audio}: none of AudioCaps' clips are there: names such as {example}.wav are wanted"
        )
    manifest = folder / "manifest.csv"
    write_manifest(manifest, items)
    return Prepared("AudioCaps", manifest, items, missing, LICENCE)
