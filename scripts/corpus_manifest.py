"""Writes the manifest of the development corpus that the embedded model is trained on.

    python scripts/corpus_manifest.py ../shared/corpus data/corpus.csv

Sounds with captions by people keep them. A sound that only has a label gets the label's own sentence, and four captions from
the pool of its label, drawn by its name, so that every run draws the same. Left out: captions of Clotho's evaluation split,
other stretches of captioned recordings, and sounds to learn from whose licence forbids it or is not known.
"""

import csv
import os
import random
import sys
from collections import defaultdict
from pathlib import Path

POOL_CAPTIONS = 4
COLUMNS = ["file", "split", "label", "group", *(f"caption_{n}" for n in range(1, 6))]


def corpus_rows(corpus: Path, folder: Path) -> list[dict[str, str]]:
    """The manifest's rows; files are relative to `folder`, where the manifest will stand."""
    pool: dict[str, list[str]] = defaultdict(list)
    with (corpus / "captions/class_caption_pool.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            pool[row["label"]].append(row["caption"])
    rows = []
    with (corpus / "metadata.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            refused = any(word in row["clip_licence"].lower() for word in ("sampling+", "unknown"))
            learnt = row["split"].endswith("_train")
            if row["split"] == "human_weak" or row["clotho_split"] == "evaluation" or (refused and learnt):
                continue
            captions = [row[f"caption_{n}"] for n in range(1, 6)]
            if not any(captions):
                drawn = random.Random(row["file"]).sample(
                    pool[row["label"]], min(POOL_CAPTIONS, len(pool[row["label"]]))
                )
                captions = [row["label_caption"], *drawn]
            captions += [""] * (5 - len(captions))
            name = os.path.relpath(corpus / row["file"], folder)
            rows.append(dict(zip(COLUMNS, [name, row["split"], row["label"], row["fsid"], *captions], strict=True)))
    return rows


if __name__ == "__main__":
    corpus, manifest = map(Path, sys.argv[1:])
    manifest.parent.mkdir(parents=True, exist_ok=True)
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(corpus_rows(corpus, manifest.parent))
