"""Prepares AudioCaps (Kim et al. 2019): captions of ten seconds of videos.

The user provides the sounds.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from auricle.data.manifest import Item, write_manifest
from auricle.data.prepared import Monitor, Prepared, silent
from auricle.errors import AuricleError
from auricle.storage.download import Remote

SPLITS = ("train", "val", "test")
LICENCE = (
    "MIT for the captions, whose authors ask for academic use only; each sound has its own terms"
)
_COMMIT = "80fb3ade6d400d4311354a360db25da051a48cc1"
_BASE = f"https://raw.githubusercontent.com/cdjkim/audiocaps/{_COMMIT}/dataset"
_CLIP_SECONDS = 10

REMOTES = {
    split: Remote(f"{split}.csv", f"{_BASE}/{split}.csv", f"sha256:{checksum}")
    for split, checksum in (
        ("train", "c0c5223db682b3bf724ce7e7ce58d5b36929f74572e8526a7211f92d2eef7c8e"),
        ("val", "dab1c96641d5f3053ddb99dca3949450da9a75737bda53e11cc0aa8b102be0c3"),
        ("test", "b91c4b7ded2f4f6e7db5b9c4983dc1e1dca3d556f505b61e3fd65cac7e1c638a"),
    )
}


@dataclass
class Clip:
    """Ten seconds of a video, with their captions."""

    youtube_id: str
    start_time: str  # seconds, in the form of the CSV: "130"
    audiocap_ids: list[str] = field(default_factory=list)  # one for each caption
    captions: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The clip's name, from the columns of the CSV."""
        return f"{self.youtube_id}_{self.start_time}"

    def names(self) -> Iterator[str]:
        """Yields the names of copies of the clip, without suffix, the most exact first.

        Some download tools add a Y before the video, the end after the start, three decimals, or
        milliseconds. Others name clips by `audiocap_id`.
        """
        yield self.name
        times = [self.start_time]
        if self.start_time.isdecimal():
            start, end = int(self.start_time), int(self.start_time) + _CLIP_SECONDS
            times += [f"{start}_{end}", f"{start}.000", f"{start}.000_{end}.000"]
            times += [f"{start}000_{end}000"]
        for prefix in ("", "Y"):
            for time in times:
                yield f"{prefix}{self.youtube_id}_{time}"
        yield from self.audiocap_ids


def fetch_captions(
    folder: Path,
    *,
    remotes: Mapping[str, Remote] = REMOTES,
    mirror: str | None = None,
    monitor: Monitor = silent,
) -> dict[str, Path]:
    """Returns the CSV of each split; downloads missing ones."""
    paths = {}
    for split in SPLITS:
        with monitor(f"AudioCaps {split}: captions") as progress:
            paths[split] = remotes[split].fetch(folder, mirror=mirror, progress=progress)
    return paths


def read_clips(path: Path) -> list[Clip]:
    """Reads a CSV's clips with their captions.

    Raises:
        AuricleError: the file cannot be read.
    """
    clips: dict[str, Clip] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file, strict=True):
                clip = Clip(row["youtube_id"], row["start_time"])
                clip = clips.setdefault(clip.name, clip)
                clip.audiocap_ids.append(row["audiocap_id"])
                clip.captions.append(row["caption"].strip())
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise AuricleError(f"{path}: cannot be read as captions of AudioCaps: {error!r}") from None
    return list(clips.values())


def prepare_audiocaps(
    folder: Path,
    audio: Path,
    *,
    remotes: Mapping[str, Remote] = REMOTES,
    mirror: str | None = None,
    monitor: Monitor = silent,
) -> Prepared:
    """Downloads the three CSVs and writes `manifest.csv` with the clips that exist.

    Args:
        folder: receives the CSVs and the manifest.
        audio: the clips, at any depth and in any format, with one of the names of `Clip.names`.
        remotes: the files to download, by split.
        mirror: an address with the same files.
        monitor: shows the progress.

    Raises:
        AuricleError: a CSV cannot be downloaded or read, or no clip exists.
    """
    files = _files_by_name(audio)
    items: list[Item] = []
    missing: dict[str, list[str]] = {}
    paths = fetch_captions(folder, remotes=remotes, mirror=mirror, monitor=monitor)
    for split, path in paths.items():
        missing[split] = []
        for clip in read_clips(path):
            name = next((name for name in clip.names() if name in files), None)
            if name is None:
                missing[split].append(clip.name)
            else:
                captions = tuple(clip.captions)
                items.append(Item(files[name], split, captions, group=clip.youtube_id))
    if not items:
        example = next(iter(missing["train"]), "youtube-id_30")
        raise AuricleError(
            f"{audio}: it holds no clips of AudioCaps: name them {example}.wav, Y{example}.wav, "
            f"or by their audiocap_id"
        )
    manifest = folder / "manifest.csv"
    write_manifest(manifest, items)
    return Prepared("AudioCaps", manifest, items, missing, LICENCE)


def _files_by_name(audio: Path) -> dict[str, Path]:
    """Returns the files below a folder by their names, with and without suffix."""
    files = [file for file in sorted(audio.rglob("*")) if file.is_file()]
    # "Yabc_30.000" has no suffix, although ".000" looks like one.
    return {file.name: file for file in files} | {file.stem: file for file in files}
