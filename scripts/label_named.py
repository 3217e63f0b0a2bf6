"""How often a caption names the label of its sound.

    python scripts/label_named.py data/corpus.csv ../shared/reference/label_words.csv --split label_valid

A label counts as named if one of its words stands among the first fifteen of the caption, exactly. As a control, the same
captions are dealt out to the sounds at random.
"""

import csv
import random
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

from auricle import load
from auricle.data.manifest import read_manifest
from auricle.vocabulary import words

FIRST = 15
SHUFFLES = 100


def named(caption: str, label_words: set[str]) -> bool:
    """Whether the caption's first words hold one of the label's."""
    return not label_words.isdisjoint(words(caption)[:FIRST])


def main(
    manifest: Path,
    label_words: Path,
    split: str = "label_valid",
    checkpoint: Annotated[Path | None, typer.Option(help="The embedded model if left out.")] = None,
    seed: int = 0,
    show: Annotated[int, typer.Option(help="Captions to print.")] = 20,
) -> None:
    """Captions a split and prints the share of captions that name the label, and the shuffled control."""
    with label_words.open(encoding="utf-8", newline="") as file:
        wanted = {row["label"]: set(row["words"].split()) for row in csv.DictReader(file)}
    items = [item for item in read_manifest(manifest, [split]) if item.label in wanted]
    captions = [caption.text for caption in load(checkpoint).caption([item.file for item in items])]

    hits = [named(caption, wanted[item.label]) for caption, item in zip(captions, items, strict=True)]
    by_label: dict[str, list[bool]] = defaultdict(list)
    for item, hit in zip(items, hits, strict=True):
        by_label[item.label].append(hit)
    rng = random.Random(seed)
    for item, caption, hit in rng.sample(list(zip(items, captions, hits, strict=True)), min(show, len(items))):
        print(f"{'+' if hit else '-'} {item.label:18} {caption}")
    shuffled = []
    for _ in range(SHUFFLES):
        dealt = rng.sample(captions, len(captions))
        shuffled += [named(caption, wanted[item.label]) for caption, item in zip(dealt, items, strict=True)]
    print(f"sounds                     {len(items)}")
    print(f"label named                {sum(hits) / len(hits):.1%}")
    print(
        f"mean over {len(by_label)} labels        {sum(sum(h) / len(h) for h in by_label.values()) / len(by_label):.1%}"
    )
    print(f"shuffled captions          {sum(shuffled) / len(shuffled):.1%}")
    print(f"distinct captions          {len(set(captions))}")
    print(f"words in a caption         {sum(len(words(caption)) for caption in captions) / len(captions):.1f}")


if __name__ == "__main__":
    typer.run(main)
