"""Clotho v2.1 (Drossos et al. 2020): fetches and unpacks its files, and writes its manifest.

The paper learns from `development` and `validation` together and is scored on `evaluation`; `test`
has no captions.
"""

import csv
import html
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from auricle.data.manifest import Item, write_manifest
from auricle.data.prepared import Monitor, Prepared, silent
from auricle.errors import AuricleError
from auricle.storage.archives import unpack
from auricle.storage.download import Remote

T = TypeVar("T")

SPLITS = ("development", "validation", "evaluation", "test")
CAPTIONS = tuple(f"caption_{n}" for n in range(1, 6))
LICENCE = (
    "Tampere University's non-commercial licence; "
    "each sound its own Creative Commons licence (metadata CSV)"
)


def _remote(name: str, md5: str, *, record: int = 4783391, size: int | None = None) -> Remote:
    return Remote(
        name, f"https://zenodo.org/record/{record}/files/{name}?download=1", f"md5:{md5}", size
    )


REMOTES = {
    remote.name: remote
    for remote in (
        _remote(
            "clotho_audio_development.7z", "c8b05bc7acdb13895bb3c6a29608667e", size=4_541_582_263
        ),
        _remote(
            "clotho_audio_validation.7z", "7dba730be08bada48bd15dc4e668df59", size=1_260_701_425
        ),
        _remote("clotho_audio_evaluation.7z", "4569624ccadf96223f19cb59fe4f849f"),
        _remote("clotho_audio_test.7z", "9b3fe72560a621641ff4351ba1154349", record=3865658),
        _remote("clotho_captions_development.csv", "d4090b39ce9f2491908eebf4d5b09bae"),
        _remote("clotho_captions_validation.csv", "5879e023032b22a2c930aaa0528bead4"),
        _remote("clotho_captions_evaluation.csv", "1b16b9e57cf7bdb7f13a13802aeb57e2"),
        _remote("clotho_metadata_development.csv", "170d20935ecfdf161ce1bb154118cda5"),
        _remote("clotho_metadata_validation.csv", "2e010427c56b1ce6008b0f03f41048ce"),
        _remote("clotho_metadata_evaluation.csv", "13946f054d4e1bf48079813aac61bf77"),
    )
}


def prepare_clotho(
    folder: Path,
    *,
    splits: Collection[str] = SPLITS,
    audio: Path | None = None,
    remotes: Mapping[str, Remote] = REMOTES,
    mirror: str | None = None,
    monitor: Monitor = silent,
) -> Prepared:
    """Fetches the missing files of Clotho and writes `manifest.csv`; goes on after a stop.

    Args:
        folder: for `<split>/*.wav`, the CSVs and the manifest.
        splits: some of `SPLITS`.
        audio: a folder with the sounds, at any depth; then none is fetched. Several splits are in
            folders named after them. `test` is taken if there is such a folder.
        remotes: the files to fetch, by name.
        mirror: an address with the same files.
        monitor: shows the progress.

    Raises:
        AuricleError: a split is unknown, a file cannot be fetched or read, or there is no sound.
    """
    if unknown := sorted(set(splits) - set(SPLITS)):
        raise AuricleError(f"Clotho has no split '{unknown[0]}': choose of {', '.join(SPLITS)}")
    items: list[Item] = []
    missing: dict[str, list[str]] = {}
    for split in [name for name in SPLITS if name in splits]:
        tables = {}
        if split != "test":
            for kind in ("captions", "metadata"):
                with monitor(f"Clotho {split}: {kind}") as progress:
                    tables[kind] = _table(
                        remotes[f"clotho_{kind}_{split}.csv"].fetch(
                            folder, mirror=mirror, progress=progress
                        )
                    )
        if audio is None:
            _fetch_sounds(folder, split, remotes[f"clotho_audio_{split}.7z"], mirror, monitor)
        files = _sounds(audio, split) if audio else sorted((folder / split).iterdir())
        if split == "test":
            items += [Item(file, split, ()) for file in files]
            continue
        found, missing[split] = _items(split, tables["captions"], tables["metadata"], files)
        items += found
    if not items:
        raise AuricleError(f"{audio or folder}: none of Clotho's sounds are there")
    manifest = folder / "manifest.csv"
    write_manifest(manifest, items)
    return Prepared("Clotho", manifest, items, missing, LICENCE)


def _fetch_sounds(
    folder: Path, split: str, remote: Remote, mirror: str | None, monitor: Monitor
) -> None:
    """Fetches the sounds of a split; its folder appears when all are unpacked."""
    if (folder / split).is_dir():
        (folder / remote.name).unlink(missing_ok=True)  # after a stop between the two steps
        return
    with monitor(f"Clotho {split}: sounds") as progress:
        archive = remote.fetch(folder, mirror=mirror, progress=progress)
    with monitor(f"Clotho {split}: unpacking") as progress:
        unpack(archive, folder / split, _wav, progress)
    archive.unlink()


def _wav(member: str) -> str | None:
    name = re.split(r"[/\\]", member)[-1]
    return name if name.lower().endswith(".wav") and not name.startswith("._") else None


def _table(path: Path) -> list[dict[str, str]]:
    """Reads the rows of a CSV; the metadata are in ISO-8859-1."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    rows = list(csv.DictReader(io.StringIO(text, newline=""), restval=""))
    if not rows or "file_name" not in rows[0]:
        raise AuricleError(f"{path}: no column 'file_name': not one of Clotho's CSVs")
    return rows


def _sounds(audio: Path, split: str) -> list[Path]:
    """Returns the files of a split.

    They are below a folder named after it, or, if no folder is, below none named after a split.
    """
    files = sorted(file for file in audio.rglob("*") if file.is_file())
    if not files:
        raise AuricleError(f"{audio}: no files are there")
    by_split: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        folders = "/".join(file.relative_to(audio).parts[:-1]).lower()
        by_split[next((name for name in SPLITS if name in folders), "")].append(file)
    if split == "test" or split in by_split:
        return by_split[split]
    return by_split[""]


def _items(
    split: str,
    captions: Sequence[dict[str, str]],
    metadata: Sequence[dict[str, str]],
    files: Sequence[Path],
) -> tuple[list[Item], list[str]]:
    """Returns the sounds that are there, and the names of the others."""
    names = [row["file_name"] for row in captions]
    sounds = match_names(names, {file.name: file for file in files})
    recordings = match_names(
        names, {row["file_name"]: row.get("sound_id", "").strip() for row in metadata}
    )
    items = []
    for row in captions:
        name = row["file_name"]
        texts = tuple(text for text in (row.get(column, "").strip() for column in CAPTIONS) if text)
        recording = recordings.get(name, "")
        if name in sounds:
            # The number of a recording that has left Freesound reads "Not found".
            items.append(
                Item(sounds[name], split, texts, group=recording if recording.isdigit() else "")
            )
    return items, [name for name in names if name not in sounds]


def match_names(names: Iterable[str], there: Mapping[str, T]) -> dict[str, T]:
    """Finds the entry of each name, also where an archive, a disk or a shell has changed the name.

    Clotho has names with spaces at their ends, names with `&amp;` in them, and names that differ
    only in a space, a capital or an underscore. So names are first compared exactly. The names that
    are left over are compared less and less exactly, as long as one name and one file are alike.
    """
    matched: dict[str, T] = {}
    names, rest = set(names), dict(there)
    forms: tuple[Callable[[str], str], ...] = (str, _stem, _plain, _loose)
    for form in forms:
        sought, present = defaultdict(list), defaultdict(list)
        for name in names:
            sought[form(name)].append(name)
        for name in rest:
            present[form(name)].append(name)
        for key, (name, *others) in sought.items():
            if not others and len(present.get(key, ())) == 1:
                matched[name] = rest.pop(present[key][0])
                names.remove(name)
    return matched


def _stem(name: str) -> str:
    """The name without the ending of its format."""
    return unicodedata.normalize("NFC", name.rpartition(".")[0] or name)


def _plain(name: str) -> str:
    """The stem without spaces at its ends, and with entities replaced by their characters."""
    return unicodedata.normalize("NFC", html.unescape(_stem(name))).strip()


def _loose(name: str) -> str:
    """The letters and digits of the name."""
    return re.sub(r"[\W_]+", " ", _plain(name).casefold()).strip()
