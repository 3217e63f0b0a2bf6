"""Writes the manifest of the development corpus that the embedded model is trained on.

    python scripts/corpus_manifest.py ../shared/corpus data/corpus.csv [ATTRIBUTION.csv]

Sounds with captions by people keep them. A sound that only has a label gets the label's own sentence and captions from the pool
of its label, drawn by its name, so that every run draws the same. Sounds to learn from get more of them the rarer their
label is, since a training visits a sound once for each of its captions. Left out: captions of Clotho's evaluation split,
other stretches of captioned recordings, and sounds to learn from whose licence forbids it or is not known. The second
file, if named, lists the recordings to learn from with their authors and licences.
"""

import csv
import os
import random
import sys
from collections import Counter, defaultdict
from pathlib import Path

MOST_CAPTIONS = 6
VISITS = 50  # of each label in an epoch, as far as the number of captions allows
COLUMNS = ["file", "split", "label", "group", *(f"caption_{n}" for n in range(1, MOST_CAPTIONS + 1))]


def corpus_rows(corpus: Path, folder: Path) -> list[dict[str, str]]:
    """The manifest's rows; files are relative to `folder`, where the manifest will stand."""
    pool: dict[str, list[str]] = defaultdict(list)
    with (corpus / "captions/class_caption_pool.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            pool[row["label"]].append(row["caption"])
    with (corpus / "metadata.csv").open(encoding="utf-8", newline="") as file:
        metadata = [row for row in csv.DictReader(file) if is_wanted(row)]
    frequency = Counter(row["label"] for row in metadata if row["split"] == "label_train")
    rows = []
    for row in metadata:
        captions = [row[f"caption_{n}"] for n in range(1, 6)]
        if not any(captions):
            count = min(MOST_CAPTIONS, max(1, round(VISITS / frequency[row["label"]])))
            own = pool[row["label"]]
            captions = draw_captions(row, own, count if row["split"] == "label_train" else 5)
        captions += [""] * (MOST_CAPTIONS - len(captions))
        name = os.path.relpath(corpus / row["file"], folder)
        rows.append(dict(zip(COLUMNS, [name, row["split"], row["label"], row["fsid"], *captions], strict=True)))
    return rows


def is_wanted(row: dict[str, str]) -> bool:
    """Whether a sound may be learnt from, or selected by."""
    refused = any(word in row["clip_licence"].lower() for word in ("sampling+", "unknown"))
    learnt = row["split"].endswith("_train")
    return row["split"] != "human_weak" and row["clotho_split"] != "evaluation" and not (refused and learnt)


def draw_captions(row: dict[str, str], pool: list[str], count: int) -> list[str]:
    """`count` captions of a labelled sound: its label's sentence, and others while the pool lasts, then the sentence again."""
    rng = random.Random(row["file"])
    if count == 1 and pool and rng.random() < 0.5:
        return [rng.choice(pool)]
    drawn = [row["label_caption"], *rng.sample(pool, min(count - 1, len(pool)))]
    return drawn + [row["label_caption"]] * (count - len(drawn))


def attribution_rows(corpus: Path) -> list[dict[str, str]]:
    """The recordings of the sounds to learn from, each once: title, author, licence, address, data set."""
    learnt = {row["file"] for row in corpus_rows(corpus, corpus) if row["split"].endswith("_train")}
    recordings: dict[str, dict[str, str]] = {}
    with (corpus / "metadata.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["file"] in learnt:
                licence = row["clip_licence"] or row["set_licence"]
                named = {"title": row["title"], "author": row["author"], "licence": licence, "url": row["url"]}
                recordings.setdefault(row["fsid"] or row["file"], {**named, "data_set": row["source"].split(" (")[0]})
    return [recordings[key] for key in sorted(recordings)]


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    """Writes rows of the same columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    corpus, manifest, *attribution = map(Path, sys.argv[1:])
    write_csv(manifest, corpus_rows(corpus, manifest.parent))
    for path in attribution:
        write_csv(path, attribution_rows(corpus))
