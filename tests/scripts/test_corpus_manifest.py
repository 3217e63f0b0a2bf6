"""What the embedded model may learn from: nothing that it is selected by, scored on, or not
licensed for."""

import csv
import importlib
import sys
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from auricle.checkpoint.vocabulary import words
from auricle.data.manifest import read_manifest
from auricle.sound.decode import load_audio
from auricle.training.tags import CLASSES

pytest.importorskip("torch", reason="auricle.training.tags is imported")

Row = dict[str, str]
LICENCE = "CC0"


@cache
def direction(word: str) -> np.ndarray:
    """Returns the random vector of a word."""
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=64)


def embed(texts: Sequence[str], *, progress: bool = True) -> np.ndarray:  # noqa: ARG001
    """Stands in for the sentence model: the more words two texts share, the nearer they are."""
    rows = np.zeros((len(texts), 64), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in words(text):
            row += direction(word)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with the stand-in."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    for name in ("corpus_manifest", "fitting_captions", "made_sounds"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("corpus_manifest")
    monkeypatch.setattr("fitting_captions.embed_sentences", embed)
    # Such cosines are low; the more candidates pass, the more could leak.
    monkeypatch.setattr("fitting_captions.LEAST_FIT", 0.5)
    monkeypatch.setattr("fitting_captions.MOST_SURPLUS", 1.0)
    return module


def read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, columns: str, *rows: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns.split(), *rows])


@cache
def spelled(text: str) -> str:
    return " ".join(words(text))


def said(texts: Sequence[str]) -> set[str]:
    return set(map(spelled, texts))


def clotho(corpus: Path, split: str) -> dict[str, list[str]]:
    rows = read(corpus / f"captions/clotho_v2.1/clotho_captions_{split}.csv")
    return {row["file_name"]: [row[f"caption_{n}"] for n in range(1, 6)] for row in rows}


@pytest.fixture
def small_corpus(tmp_path: Path) -> Path:
    """Dogs and rain by label, sounds of every split and licence, and a caption file of each data
    set."""
    corpus = tmp_path / "shared" / "corpus"
    columns = (
        "file split source label label_caption clotho_file clotho_split caption_1 caption_2 "
        "caption_3 caption_4 caption_5 "
        "fsid title author clip_licence set_licence url mn04_top5"
    )
    barks = [
        f"a dog barks {n} times in a yard"
        for n in "one two three four five six seven eight nine ten".split()
    ]
    captions_by_sound = {
        name: [f"{name} {n} is heard by people" for n in range(5)]
        for name in ("dev", "val", "eval", "aside")
    }

    def row(
        file: str, split: str, fsid: str, behind: str = "", licence: str = LICENCE
    ) -> list[str]:
        captions = captions_by_sound[behind] if split.startswith("human") else [""] * 5
        of = {
            "dev": "development",
            "aside": "development",
            "val": "validation",
            "eval": "evaluation",
        }.get(behind, "")
        (corpus / file).parent.mkdir(parents=True, exist_ok=True)
        (corpus / file).touch()
        label = ["dog", "A dog barks in a yard."]
        tail = [
            fsid,
            f"Title {fsid}",
            "Author",
            licence,
            "CC BY",
            "https://example.org",
            "Dog 0.9; Speech 0.1",
        ]
        return [
            file,
            split,
            "Data (part)",
            *label,
            f"{behind}.wav" if behind else "",
            of,
            *captions,
            *tail,
        ]

    write(
        corpus / "metadata.csv",
        columns,
        row("audio/learnt.wav", "label_train", "1"),
        row("audio/learnt_too.wav", "label_train", "1"),
        row("audio/sampling.wav", "label_train", "2", licence="CC-Sampling+"),
        row("audio/unknown.wav", "label_train", "3", licence="unknown (Freesound CC)"),
        row("audio/same_recording.wav", "label_train", "11"),
        row("audio/excluded.wav", "label_train", "4", behind="aside"),
        row("audio/evaluated.wav", "label_train", "5", behind="eval"),
        row("audio/selected_by.wav", "label_valid", "6"),
        row("audio/human_train.wav", "human_train", "11", behind="dev"),
        row("audio/human_valid.wav", "human_valid", "12", behind="val"),
        row("audio/human_weak.wav", "human_weak", "13", behind="dev"),
    )
    write(
        corpus / "captions/exclude.csv",
        "clotho_split file_name",
        ["development", "dev.wav"],
        ["development", "aside.wav"],
        ["validation", "val.wav"],
    )
    sets = {
        "development": [
            ["dev.wav", *captions_by_sound["dev"]],
            ["aside.wav", *captions_by_sound["aside"]],
            ["dogs.wav", *barks[:5]],
        ],
        "validation": [["val.wav", *captions_by_sound["val"]], ["more_dogs.wav", *barks[5:]]],
        "evaluation": [["eval.wav", *captions_by_sound["eval"]]],
    }
    for split, rows in sets.items():
        write(
            corpus / f"captions/clotho_v2.1/clotho_captions_{split}.csv",
            "file_name caption_1 caption_2 caption_3 caption_4 caption_5",
            *rows,
        )
    # The words of an excluded sound, as a caption of another sound.
    said_twice = captions_by_sound["aside"][0].upper() + "!"
    write(
        corpus / "captions/audiocaps_v1/train.csv",
        "audiocap_id youtube_id start_time caption",
        ["1", "x", "0", said_twice],
        ["2", "y", "0", "Rain falls"],
        ["3", "z", "0", "A man speaks as a dog barks in a yard"],
    )
    classes = ["Dog", "Speech", *(f"Class {n}" for n in range(2, CLASSES))]
    indexed = ([str(n), "/m", name] for n, name in enumerate(classes))
    write(corpus / "audioset/class_labels_indices.csv", "index mid display_name", *indexed)
    write(
        corpus.parent / "reference/label_words.csv",
        "label words",
        ["dog", "dog dogs"],
        ["rain", "rain rains"],
    )
    return corpus


def test_what_a_small_corpus_gives(script: ModuleType, small_corpus: Path, tmp_path: Path):
    folder, attribution = tmp_path / "out", tmp_path / "ATTRIBUTION.csv"
    script.main(small_corpus, folder, attribution=attribution)
    items = {
        item.file.stem: item
        for item in read_manifest(folder / "sounds.csv")
        if "made" not in item.file.parts
    }
    assert {name: item.split for name, item in items.items()} == {
        "learnt": "train",
        "learnt_too": "train",
        "same_recording": "train",
        "excluded": "train",
        "human_train": "train",
        "selected_by": "label_valid",
        "human_valid": "human_valid",
    }
    assert items["human_train"].captions[0] == "dev 0 is heard by people"
    assert all("dog" in words(caption) for caption in items["learnt"].captions)
    # no speech was heard in it
    assert not any("man" in words(caption) for caption in items["learnt"].captions)
    assert [row["title"] for row in read(attribution)] == ["Title 1", "Title 11", "Title 4"]


def test_made_sounds_can_be_heard(script: ModuleType, small_corpus: Path, tmp_path: Path):
    script.main(small_corpus, tmp_path / "out")
    made = [
        item for item in read_manifest(tmp_path / "out/sounds.csv") if "made" in item.file.parts
    ]
    assert {item.split for item in made} == {"train", "made_valid"}
    assert all(3 <= len(item.captions) <= 4 and item.label for item in made)
    for item in made:
        samples = load_audio(item.file, 32_000)
        assert 3.5 <= len(samples) / 32_000 <= 6
        assert np.abs(samples).max() > 0.005
    waves = {item.file.read_bytes() for item in made}
    assert len(waves) == len(made)


def test_every_run_writes_the_same(script: ModuleType, small_corpus: Path, tmp_path: Path):
    # Side by side, as paths in the manifest are relative to it.
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        script.main(small_corpus, folder, heldout=True)
    files = sorted(path.relative_to(first) for path in first.rglob("*.*"))
    assert files == sorted(path.relative_to(second) for path in second.rglob("*.*"))
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)


def check(corpus: Path, folder: Path, *, heldout: bool) -> None:
    """Raises AssertionError if anything is learnt from that must not be."""
    metadata = read(corpus / "metadata.csv")
    by_file = {(corpus / row["file"]).resolve(): row for row in metadata}
    items = read_manifest(folder / "sounds.csv")
    train = [item for item in items if item.split == "train"]
    sources = [row for item in train if (row := by_file.get(item.file.resolve()))]
    rows = read(folder / "captions.csv")
    assert {row["source"] for row in rows} <= {"audiocaps", "clotho", "ours"}
    texts = [row["caption"] for row in rows if row["source"] != "ours"]  # ours stand at the end
    assert texts == sorted(texts)
    assert len(said(texts)) == len(texts)
    learnt = said(texts) | said([caption for item in train for caption in item.captions])

    assert not {row["split"] for row in sources} & {"human_valid", "human_weak", "label_valid"}
    assert not any(row["clotho_split"] == "evaluation" for row in sources)
    licences = {row["clip_licence"].lower() for row in sources}
    assert not any(word in licence for licence in licences for word in ("sampling+", "unknown"))
    selected_by = {item.group for item in items if item.group and item.split.endswith("_valid")}
    assert not {item.group for item in train} & selected_by
    # Sources, not words: a caption of the evaluation split may by chance be said of another sound
    # too.
    audiocaps = said([row["caption"] for row in read(corpus / "captions/audiocaps_v1/train.csv")])
    by_split = {
        split: clotho(corpus, split) for split in ("development", "validation", "evaluation")
    }
    open_to_learning = [
        t
        for split in ("development", "validation")
        for group in by_split[split].values()
        for t in group
    ]
    assert said(texts) <= audiocaps | said(open_to_learning)
    for item in items:
        if item.split == "human_valid":
            assert not said(item.captions) & learnt
        if item.split == "label_valid":
            assert (
                not (said(item.captions) - said([by_file[item.file.resolve()]["label_caption"]]))
                & learnt
            )
    if heldout:
        excluded = {row["file_name"] for row in read(corpus / "captions/exclude.csv")}
        secret = [
            t
            for split in by_split.values()
            for name, captions_of_sound in split.items()
            if name in excluded
            for t in captions_of_sound
        ]
        human = [row for row in metadata if row["split"].startswith("human_")]
        secret += [row[f"caption_{n}"] for row in human for n in range(1, 6)]
        assert not said(secret) & learnt
        assert not {row["fsid"] for row in sources if row["fsid"]} & {row["fsid"] for row in human}
        assert not {row["clotho_file"] for row in sources} & excluded


@pytest.mark.parametrize("heldout", [False, True])
def test_nothing_of_a_small_corpus_leaks(
    script: ModuleType, small_corpus: Path, tmp_path: Path, heldout: bool
):
    script.main(small_corpus, tmp_path / "out", heldout=heldout)
    check(small_corpus, tmp_path / "out", heldout=heldout)


@pytest.mark.parametrize("heldout", [False, True])
def test_nothing_of_the_corpus_leaks(
    script: ModuleType, shared: Path, tmp_path: Path, heldout: bool
):
    script.main(shared / "corpus", tmp_path / "out", heldout=heldout)
    check(shared / "corpus", tmp_path / "out", heldout=heldout)
