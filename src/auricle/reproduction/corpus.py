"""The scored sets of the development corpus, and the thinned data of its CNN10."""

import csv
import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from auricle.data.manifest import Item, read_manifest, write_manifest
from auricle.errors import AuricleError

CNN10_SHARE = 6  # on the corpus, CNN10 learns from one recording in six
REFERENCES = 5  # of a label
HUMAN = ("human_train", "human_valid")


@dataclass(frozen=True)
class ScoredSet:
    """Sounds that every run captions."""

    name: str
    items: Sequence[Item]  # with the references as captions
    note: str = ""
    # the words that name each label, where that is scored
    label_words: Mapping[str, frozenset[str]] | None = None
    # Whether hyper-parameters are chosen by this set. The report shows no scores on it.
    for_selection: bool = False


def corpus_sets(manifest: Path, corpus: Path) -> tuple[ScoredSet, ...]:
    """Returns the sets of the development corpus.

    `people` has sounds that people captioned. `label_score` and `label_select` have sounds with
    labels and pseudo-references: hyper-parameters are chosen by the one and scored on the other.

    Raises:
        AuricleError: the manifest or the corpus is not there.
    """
    if not manifest.exists():
        raise AuricleError(
            f"{manifest} is not there: "
            f"python scripts/corpus_manifest.py {corpus} {manifest.parent} --heldout"
        )
    try:
        pool = _pool(corpus)
        words = {
            row["label"]: frozenset(row["words"].split())
            for row in _rows(corpus.parent / "reference" / "label_words.csv")
        }
        halves = {
            (corpus / row["file"]).resolve(): row["set"]
            for row in _rows(corpus.parent / "reference" / "label_split.csv")
        }
    except (OSError, KeyError) as error:
        raise AuricleError(f"{corpus}: not the development corpus: {error!r}") from None
    learnt = {_key(text) for item in read_manifest(manifest, {"train"}) for text in item.captions}
    references: dict[str, tuple[str, ...]] = {}
    for label, texts in pool.items():
        drawn = random.Random(label).sample(texts, len(texts))
        # Captions that were not learnt from come first; some labels have no others.
        references[label] = tuple(sorted(drawn, key=lambda text: _key(text) in learnt)[:REFERENCES])
    labelled = [
        replace(item, captions=references.get(item.label) or item.captions)
        for item in read_manifest(manifest, {"label_valid"})
        if item.label in words
    ]
    people = ScoredSet(
        "people", read_manifest(manifest, set(HUMAN)), "Five captions by people. Never learnt from."
    )
    sets = [people]
    for name in ("label_score", "label_select"):
        half = [item for item in labelled if halves.get(item.file.resolve()) == name]
        note = _note_on_references(half, references, learnt)
        sets.append(ScoredSet(name, half, note, words, for_selection=name == "label_select"))
    return tuple(sets)


def _note_on_references(
    items: Sequence[Item], references: Mapping[str, Sequence[str]], learnt: Collection[str]
) -> str:
    texts = [text for label in {i.label for i in items} for text in references.get(label, ())]
    seen = sum(_key(text) in learnt for text in texts)
    return (
        f"Pseudo-references: up to {REFERENCES} captions a label, drawn once from "
        "class_caption_pool.csv, the same for every sound of the label; "
        f"{seen} of them are in the training data too, because the pool holds no others. "
        "They tell systems apart; they do not measure how well a sound is described, "
        "and they are no score on Clotho. The hyper-parameters were first chosen on all of "
        "`label_valid`, of which this is a half; since then only `label_select` has been used."
    )


def _pool(corpus: Path) -> dict[str, list[str]]:
    """Captions that fit a label, by label, without the sounds that people captioned."""
    aside = {row["file_name"] for row in _rows(corpus / "captions" / "exclude.csv")}
    pool: dict[str, list[str]] = defaultdict(list)
    for row in _rows(corpus / "captions" / "class_caption_pool.csv"):
        if row["source_id"] not in aside and row["caption"] not in pool[row["label"]]:
            pool[row["label"]].append(row["caption"])
    for row in _rows(corpus / "metadata.csv"):
        text = row["label_caption"]
        if text and len(pool[row["label"]]) < REFERENCES and text not in pool[row["label"]]:
            pool[row["label"]].append(text)
    return pool


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _key(text: str) -> str:
    return text.strip().rstrip(".").lower()


def thinned_manifest(manifest: Path, target: Path) -> Path:
    """Writes a manifest with one in `CNN10_SHARE` training recordings of each label, drawn once.

    The other splits are kept whole.
    """
    items = read_manifest(manifest, check_files=False)
    recordings: dict[str, list[str]] = defaultdict(list)
    for item in items:
        name = item.group or str(item.file)
        if item.split == "train" and name not in recordings[item.label]:
            recordings[item.label].append(name)
    kept: set[tuple[str, str]] = set()
    for label, names in recordings.items():
        chosen = random.Random(label).sample(names, -(-len(names) // CNN10_SHARE))
        kept |= {(label, name) for name in chosen}
    thinned = [
        item
        for item in items
        if item.split != "train" or (item.label, item.group or str(item.file)) in kept
    ]
    write_manifest(target, thinned)
    return target
