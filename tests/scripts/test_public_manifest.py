"""The recipe from public data: every label has captions, and nothing that is scored on is learnt
from."""

import csv
import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from auricle.checkpoint.vocabulary import words
from auricle.data.manifest import Item, read_manifest, write_manifest
from sounds import write_wav

pytest.importorskip("torch", reason="auricle.training.tags is imported")

from test_corpus_manifest import embed, read, write

from auricle.models.cnn10 import AUDIOSET_CLASSES

ROOT = Path(__file__).parents[2]
NUMBERS = "one two three four five six seven eight nine ten".split()
BARKS = tuple(f"a dog barks {number} times in a yard" for number in NUMBERS)


def captions_by_people(path: Path) -> list[tuple[str, str]]:
    """The captions of a file that are not ours, and their sources."""
    rows = [(row["caption"], row["source"]) for row in read(path)]
    people = [(caption, source) for caption, source in rows if source != "ours"]
    assert len(people) < len(rows), "our own sentences are missing"
    return people


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with a stand-in for the sentence model."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    for name in ("public_manifest", "corpus_manifest", "fitting_captions", "made_sounds"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("public_manifest")
    monkeypatch.setattr("fitting_captions.embed_sentences", embed)
    monkeypatch.setattr("fitting_captions.LEAST_FIT", 0.3)
    monkeypatch.setattr("fitting_captions.MOST_SURPLUS", 1.0)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three data sets in miniature; recording 7 is in ESC-50 and in Clotho's evaluation."""
    folder = tmp_path / "data"

    def sound(name: str, seed: int) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(seed).uniform(-0.3, 0.3, 32_000).astype(np.float32)
        return write_wav(path, samples, 32_000)

    clotho = [
        Item(sound("clotho/development/a.wav", 0), "development", BARKS[:5], group="1"),
        Item(sound("clotho/development/b.wav", 1), "development", BARKS[5:], group="7"),
        Item(
            sound("clotho/validation/c.wav", 2),
            "validation",
            ("a dog barks in secret here",),
            group="3",
        ),
        Item(
            sound("clotho/evaluation/d.wav", 3),
            "evaluation",
            ("a dog is heard by people",),
            group="7",
        ),
        Item(sound("clotho/test/e.wav", 4), "test", ()),
    ]
    write_manifest(folder / "clotho/manifest.csv", clotho)
    esc = [
        Item(sound("esc50/ESC-50/audio/1.wav", 5), "fold1", (), "dog", "5"),
        Item(sound("esc50/ESC-50/audio/2.wav", 6), "fold2", (), "dog", "7"),
        Item(folder / "esc50/ESC-50/audio/broken.wav", "fold2", (), "dog", "8"),
    ]
    (folder / "esc50/ESC-50/audio/broken.wav").write_bytes(b"no sound")
    write_manifest(folder / "esc50/manifest.csv", esc)
    header = "audiocap_id youtube_id start_time caption"
    twice = "A dog barks in secret, here!"
    write(
        folder / "audiocaps/train.csv",
        header,
        ["1", "x", "0", twice],
        ["2", "y", "0", "Rain falls"],
    )
    classes = ([str(n), "/m", name] for n, name in enumerate(audioset_names()))
    write(tmp_path / "classes.csv", "index mid display_name", *classes)
    return folder


def audioset_names() -> list[str]:
    tags = (ROOT / "src/auricle/checkpoint/embedded/tags.txt").read_text("utf-8").splitlines()
    return tags[:AUDIOSET_CLASSES]  # further ones are the captioner's own


def test_nothing_scored_on_is_learnt_from(script: ModuleType, data: Path, tmp_path: Path):
    script.main(data, tmp_path / "out", tmp_path / "classes.csv")
    items = read_manifest(tmp_path / "out/sounds.csv")
    found = {
        f"{item.file.parent.name}/{item.file.name}": item
        for item in items
        if item.file.parent.name != "made"
    }
    assert {name: item.split for name, item in found.items()} == {
        "development/a.wav": "train",
        "validation/c.wav": "validation",
        "evaluation/d.wav": "evaluation",
        "audio/1.wav": "train",
    }
    labelled = found["audio/1.wav"]
    assert len(labelled.captions) >= 2
    assert all("dog" in words(caption) for caption in labelled.captions)
    learnt = [
        " ".join(words(text)) for item in items if item.split == "train" for text in item.captions
    ]
    assert captions_by_people(tmp_path / "out/captions.csv") == [
        ("Rain falls", "audiocaps"),
        *((caption, "clotho") for caption in sorted(BARKS[:5])),  # the others' sound leaks
    ]
    assert "a dog barks in secret here" not in learnt
    assert any(item.file.parent.name == "made" for item in items)


def test_the_recipe_reads_what_the_script_writes(script: ModuleType, data: Path, tmp_path: Path):
    from auricle.data.plan_captions import read_caption_file
    from auricle.training.config import load_recipe
    from auricle.training.prepare import read_data

    script.main(data, tmp_path / "out", tmp_path / "classes.csv")
    where = {
        "data.manifest": tmp_path / "out/sounds.csv",
        "tags.captions": tmp_path / "out/captions.csv",
        "tags.names": tmp_path / "classes.csv",
    }
    recipe = load_recipe(
        ROOT / "configs/public.toml", [f"{name}={path}" for name, path in where.items()]
    )
    train, valid, lone, vocabulary = read_data(recipe.data, recipe.tags.captions)
    assert {item.split for item in train} == {"train"}
    assert [item.file.name for item in valid] == ["c.wav"]
    captions = read_caption_file(tmp_path / "out/captions.csv")
    assert lone == [caption.text for caption in captions]
    assert {"Rain falls", *BARKS[:5]} <= set(lone)
    assert "dog" in vocabulary


def test_every_label_has_a_sentence_that_names_it(shared: Path):
    rows = {row["label"]: row for row in read(ROOT / "scripts/public_labels.csv")}
    with (shared / "corpus/metadata.csv").open(encoding="utf-8", newline="") as file:
        labels = {
            row["label"]
            for row in csv.DictReader(file)
            if row["source"].startswith(("ESC", "UrbanSound"))
        }
    assert labels <= rows.keys()
    assert len(rows) >= 58
    for label, row in rows.items():
        assert not set(row["words"].split()).isdisjoint(words(row["caption"])), label
