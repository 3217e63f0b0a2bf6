"""Writes what the embedded model is trained on: sounds with captions, and captions without sound.

    python scripts/corpus_manifest.py ../shared/corpus data/embedded --attribution ATTRIBUTION.csv
    python scripts/corpus_manifest.py ../shared/corpus data/heldout --heldout
    python scripts/corpus_manifest.py ../shared/corpus data/free --heldout --free

    captions.csv   captions without sound and their sources: Clotho's development and validation,
                   AudioCaps' training split, and our sentences for the classes
    sounds.csv     the manifest; its splits:
                   train: recordings with labels or captions, and made sounds
                   label_valid, made_valid: sounds to select by, of recordings and parameters that
                       `train` does not have
                   human_train, human_valid: sounds that people captioned, to score on; without
                       --heldout, `train` has those of human_train
    made/          sounds made from formulas

A sound that has only a label gets captions of captions.csv that name it: those that fit the label
and the sound's own AudioSet tags best, by the cosine of sentence embeddings. Rarer labels get more
of them, since a training visits a sound once for each. With --heldout, `train` has no recording
that people captioned, and captions.csv none of their captions. With --free, `train` has only
recordings whose own licence is CC0, public domain or CC BY, and captions.csv no captions of Clotho.
"""

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from auricle.checkpoint.vocabulary import words
from auricle.planning.classes import SoundClasses
from auricle.training.tags import read_class_names
from fitting_captions import MOST_CAPTIONS, Row, fitting_captions, key
from made_sounds import made_sounds, write_sound

# our words, for labels that few captions name
OWN_SENTENCES = Path(__file__).with_name("label_sentences.csv")
CLASS_SENTENCES = Path(__file__).with_name("class_sentences.toml")
# Licences of recordings that anyone may use, also in products.
FREE_LICENCES = ("cc0", "cc by", "cc-by", "public domain")
COLUMNS = (
    "file",
    "split",
    "label",
    "group",
    *(f"caption_{n}" for n in range(1, MOST_CAPTIONS + 1)),
)


def main(
    corpus: Path,
    folder: Path,
    heldout: Annotated[
        bool, typer.Option(help="Learn nothing of the recordings that people captioned.")
    ] = False,
    free: Annotated[
        bool, typer.Option(help="Learn only from what anyone may use, also in products.")
    ] = False,
    attribution: Annotated[
        Path | None, typer.Option(help="Where to list the recordings learnt from.")
    ] = None,
) -> None:
    """Writes sounds.csv, captions.csv and made/ into the folder, and prints what they hold."""
    rows = rows_to_use(corpus, heldout, free)
    sources = read_captions(corpus, rows, heldout, free)
    described = describe(corpus, rows, list(sources))
    # What sounds are selected by is not learnt from, be it without its sound.
    selected_by = {
        key(text) for row, texts in described if row["split"] == "label_valid" for text in texts
    }
    captions = [
        {"caption": text, "source": source}
        for text, source in sources.items()
        if key(text) not in selected_by
    ]
    captions += [{"caption": text, "source": source} for text, source in own_captions()]
    manifest = [
        manifest_row(
            os.path.relpath(corpus / row["file"], folder),
            row["split"],
            row["label"],
            row["fsid"],
            texts,
        )
        for row, texts in described
    ]
    (folder / "made").mkdir(parents=True, exist_ok=True)
    for sound in made_sounds():
        name = write_sound(sound, folder / "made").relative_to(folder).as_posix()
        manifest.append(manifest_row(name, sound.split, sound.label, sound.name, sound.captions))
    write_csv(folder / "sounds.csv", manifest)
    write_csv(folder / "captions.csv", captions)
    if attribution:
        write_csv(attribution, attribution_rows(row for row in rows if row["split"] == "train"))
    print_summary(manifest, len(captions))


def rows_to_use(corpus: Path, heldout: bool, free: bool = False) -> list[Row]:
    """Returns the metadata of all sounds; those to learn from have the split `train`.

    Left out: other stretches of captioned recordings, sounds of Clotho's evaluation split, and
    sounds to learn from whose licence forbids it or is not known, or with `free` is not free.
    """
    rows = read_csv(corpus / "metadata.csv")
    scored = ("human_train", "human_valid", "human_weak") if heldout else ("human_valid",)
    recordings = {row["fsid"] for row in rows if row["fsid"] and row["split"] in scored}
    excluded = {row["file_name"] for row in excluded_sounds(corpus)} if heldout else set()
    used = []
    for row in rows:
        if row["split"] == "human_weak" or row["clotho_split"] == "evaluation":
            continue
        if row["split"] == "label_train" or (row["split"] == "human_train" and not heldout):
            forbidden = any(
                word in row["clip_licence"].lower() for word in ("sampling+", "unknown")
            )
            forbidden |= free and not is_free(row)
            if forbidden or row["fsid"] in recordings or row["clotho_file"] in excluded:
                continue
            row["split"] = "train"
        used.append(row)
    return used


def is_free(row: Row) -> bool:
    """Returns whether anyone may use a recording, by its own licence.

    A recording that names no licence of its own has that of its set. ESC-50 as a set is CC BY-NC,
    but each of its recordings has a licence from its author, which counts here.
    """
    licence = (row["clip_licence"] or row["set_licence"]).lower()
    return licence.startswith(FREE_LICENCES) and "nc" not in licence.replace("licence", "")


def excluded_sounds(corpus: Path) -> list[Row]:
    """Clotho's sounds behind those that people captioned."""
    return read_csv(corpus / "captions/exclude.csv")


def read_captions(
    corpus: Path, rows: list[Row], heldout: bool, free: bool = False
) -> dict[str, str]:
    """Returns the captions to learn from with their sources, each once, in alphabetical order.

    With `free`, these are AudioCaps' alone. Left out are those of the sounds to score on, or with
    `heldout` of all excluded sounds, also where another sound has the same words.
    """
    if heldout:
        aside = {row["file_name"] for row in excluded_sounds(corpus)}
    else:
        aside = {row["clotho_file"] for row in rows if row["split"] == "human_valid"}
    learnt: dict[str, tuple[str, str]] = {}
    secret: set[str] = set()
    for split in ("development", "validation", "evaluation"):
        for row in read_csv(corpus / f"captions/clotho_v2.1/clotho_captions_{split}.csv"):
            texts = [row[f"caption_{n}"].strip() for n in range(1, 6)]
            if row["file_name"] in aside:
                secret |= set(map(key, texts))
            elif split != "evaluation" and not free:
                learnt |= {key(text): (text, "clotho") for text in texts}
    for row in read_csv(corpus / "captions/audiocaps_v1/train.csv"):
        learnt.setdefault(key(row["caption"]), (row["caption"].strip(), "audiocaps"))
    return dict(sorted(pair for said, pair in learnt.items() if said not in secret))


def own_captions() -> list[tuple[str, str]]:
    """Returns our sentences for all classes, with their source."""
    classes = SoundClasses.read_toml(CLASS_SENTENCES).classes
    return [(text, "ours") for sound_class in classes for text in sound_class.sentences]


def describe(corpus: Path, rows: list[Row], captions: list[str]) -> list[tuple[Row, list[str]]]:
    """Every sound with its captions: people's own, or those that fit it."""
    labelled = [row for row in rows if not row["caption_1"]]
    names = {
        row["label"]: set(row["words"].split())
        for row in read_csv(corpus.parent / "reference/label_words.csv")
    }
    class_names = read_class_names(corpus / "audioset/class_labels_indices.csv")
    captions_by_file = {
        row["file"]: [row[f"caption_{n}"].strip() for n in range(1, 6)]
        for row in rows
        if row["caption_1"]
    }
    # A caption that one sound teaches must not select another sound.
    taken = {key(text) for texts in captions_by_file.values() for text in texts}
    free = [text for text in captions if key(text) not in taken]
    chosen = captions_by_file | fitting_captions(
        labelled, free, names, read_csv(OWN_SENTENCES), class_names
    )
    return [(row, chosen[row["file"]]) for row in rows]


def manifest_row(file: str, split: str, label: str, group: str, captions: Iterable[str]) -> Row:
    """A row of sounds.csv."""
    row = dict.fromkeys(COLUMNS, "") | {
        "file": file,
        "split": split,
        "label": label,
        "group": group,
    }
    return row | {f"caption_{n}": text for n, text in enumerate(captions, start=1)}


def attribution_rows(learnt: Iterable[Row]) -> list[Row]:
    """The recordings of the sounds, each once: title, author, licence, address, data set."""
    recordings: dict[str, Row] = {}
    for row in learnt:
        licence = row["clip_licence"] or row["set_licence"]
        named = {
            "title": row["title"],
            "author": row["author"],
            "licence": licence,
            "url": row["url"],
        }
        recordings.setdefault(
            row["fsid"] or row["file"], {**named, "data_set": row["source"].split(" (")[0]}
        )
    return [recordings[name] for name in sorted(recordings)]


def print_summary(manifest: list[Row], captions: int) -> None:
    """A line for each split."""
    table = Table(
        "split", "sounds", "labels", "captions", "fewest visits of a label", "words in a caption"
    )
    splits: dict[str, list[Row]] = defaultdict(list)
    for row in manifest:
        splits[row["split"]].append(row)
    for split, rows in splits.items():
        visits: Counter[str] = Counter()
        lengths = []
        for row in rows:
            texts = [row[column] for column in COLUMNS[4:] if row[column]]
            visits[row["label"]] += len(texts)
            lengths += [len(words(text)) for text in texts]
        label, fewest = min(visits.items(), key=lambda item: item[1])
        mean = f"{np.mean(lengths):.1f}"
        table.add_row(
            split, str(len(rows)), str(len(visits)), str(len(lengths)), f"{fewest} ({label})", mean
        )
    console = Console()
    console.print(table)
    console.print(f"{captions:,} captions without sound")


def read_csv(path: Path) -> list[Row]:
    """The rows of a CSV with a header."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, rows: list[Row]) -> None:
    """Writes rows of the same columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    typer.run(main)
