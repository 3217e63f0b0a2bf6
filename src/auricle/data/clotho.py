"""Prepares Clotho v2.1 (Drossos et al. 2020): downloads it, unpacks it, and writes its manifest.

The paper trains on `development` and `validation` together and scores on `evaluation`. `test` has
no captions.
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

EntryT = TypeVar("EntryT")

SPLITS = ("development", "validation", "evaluation", "test")
CLOTHO_CAPTION_COLUMNS = tuple(f"caption_{n}" for n in range(1, 6))
LICENCE = (
    "Tampere University's non-commercial licence; "
    "each sound has its own Creative Commons licence (metadata CSV)"
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
    """Downloads the missing files of Clotho and writes `manifest.csv`; resumes after a stop.

    Args:
        folder: receives `<split>/*.wav`, the CSVs and the manifest.
        splits: some of `SPLITS`.
        audio: a folder with the sounds, at any depth; if given, no sounds are downloaded. Several
            splits must be in folders named after them. `test` is used if it has such a folder.
        remotes: the files to download, by name.
        mirror: an address with the same files.
        monitor: shows the progress.

    Raises:
        AuricleError: a split is unknown, a file cannot be downloaded or read, or there is no sound.
    """
    if unknown := sorted(set(splits) - set(SPLITS)):
        raise AuricleError(f"Clotho has no split '{unknown[0]}': choose one of {', '.join(SPLITS)}")
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
        raise AuricleError(f"{audio or folder}: it holds no sounds of Clotho")
    manifest = folder / "manifest.csv"
    write_manifest(manifest, items)
    return Prepared("Clotho", manifest, items, missing, LICENCE)


def _fetch_sounds(
    folder: Path, split: str, remote: Remote, mirror: str | None, monitor: Monitor
) -> None:
    """Downloads the sounds of a split; its folder appears when all are unpacked."""
    if (folder / split).is_dir():
        (folder / remote.name).unlink(missing_ok=True)  # left by a stop after unpacking
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
        raise AuricleError(f"{path}: no column 'file_name': expected a CSV of Clotho")
    return rows


def _sounds(audio: Path, split: str) -> list[Path]:
    """Returns the files of a split.

    These are the files below a folder named after the split. Without such a folder, they are the
    files that are below no folder of another split.
    """
    files = sorted(file for file in audio.rglob("*") if file.is_file())
    if not files:
        raise AuricleError(f"{audio}: no files: expected the sounds of Clotho")
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
    """Returns the sounds that exist, and the names of the others."""
    names = [row["file_name"] for row in captions]
    sounds = match_names(names, {file.name: file for file in files})
    recordings = match_names(
        names, {row["file_name"]: row.get("sound_id", "").strip() for row in metadata}
    )
    items = []
    for row in captions:
        name = row["file_name"]
        texts = tuple(
            text
            for text in (row.get(column, "").strip() for column in CLOTHO_CAPTION_COLUMNS)
            if text
        )
        recording = recordings.get(name, "")
        if name in sounds:
            # A recording that was removed from Freesound has the number "Not found".
            items.append(
                Item(sounds[name], split, texts, group=recording if recording.isdigit() else "")
            )
    return items, [name for name in names if name not in sounds]


def match_names(names: Iterable[str], entries: Mapping[str, EntryT]) -> dict[str, EntryT]:
    """Finds the entry of each name, even if an archive, a disk or a shell has changed the name.

    Clotho has names that end in spaces, names with `&amp;`, and names that differ only in a space,
    a capital or an underscore. Therefore names are first compared exactly. The remaining names are
    then compared less and less exactly; a match needs exactly one name and one entry.
    """
    matched: dict[str, EntryT] = {}
    names, rest = set(names), dict(entries)
    forms: tuple[Callable[[str], str], ...] = (str, _stem, _plain, _loose)
    for form in forms:
        names_by_form, entries_by_form = defaultdict(list), defaultdict(list)
        for name in names:
            names_by_form[form(name)].append(name)
        for name in rest:
            entries_by_form[form(name)].append(name)
        for key, (name, *others) in names_by_form.items():
            if not others and len(entries_by_form.get(key, ())) == 1:
                matched[name] = rest.pop(entries_by_form[key][0])
                names.remove(name)
    return matched


def _stem(name: str) -> str:
    """Returns the name without suffix."""
    return unicodedata.normalize("NFC", name.rpartition(".")[0] or name)


def _plain(name: str) -> str:
    """Returns the stem without spaces at its ends, with HTML entities decoded."""
    return unicodedata.normalize("NFC", html.unescape(_stem(name))).strip()


def _loose(name: str) -> str:
    """Returns the letters and digits of the name, in lower case."""
    return re.sub(r"[\W_]+", " ", _plain(name).casefold()).strip()
