"""The classes of labels: known ones, one for each label of the corpus."""

import csv
import importlib
import tomllib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


ROWS = read(SCRIPTS / "label_classes.csv")
LABELS = {row["label"] for row in ROWS}


def test_every_class_is_one_of_audioset_or_one_of_our_four():
    sentences = tomllib.loads((SCRIPTS / "class_sentences.toml").read_text("utf-8"))
    classes = {row["class"] for row in ROWS}
    assert classes <= set(sentences)


def test_a_label_has_one_class():
    assert len(LABELS) == len(ROWS)


def test_every_public_label_has_a_class():
    assert {row["label"] for row in read(SCRIPTS / "public_labels.csv")} <= LABELS


def test_the_labels_are_those_of_the_corpus_and_of_made_sounds(
    shared: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    made = {sound.label for sound in importlib.import_module("made_sounds").made_sounds()}
    corpus = {row["label"] for row in read(shared / "corpus" / "metadata.csv")} - {""}
    assert corpus <= LABELS <= corpus | made
