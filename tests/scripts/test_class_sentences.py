"""Our sentences for AudioSet's classes: complete, well-formed, and about their class."""

import re
import tomllib
from pathlib import Path

import pytest

from auricle.checkpoint.folder import EMBEDDED

ROOT = Path(__file__).parents[2]
CLASSES = tomllib.loads((ROOT / "scripts" / "class_sentences.toml").read_text("utf-8"))
NAMES = (EMBEDDED / "tags.txt").read_text("utf-8").splitlines()
# Order, counts and trends come from a plan, never from the sentences of one class.
FORBIDDEN = r"\b(then|twice|thrice|several times|again and again|once more|followed by)\b"


def holds(words: list[str], text: str) -> bool:
    """Whether one of the words or phrases stands in a text."""
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text.lower()) for word in words)


def test_every_class_has_an_entry_in_order():
    assert list(CLASSES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_class_is_worded(name: str):
    entry = CLASSES[name]
    assert set(entry["parents"]) <= set(NAMES) - {name}
    assert 0 <= entry["specific"] <= 1
    assert 1 <= len(entry["label"].split()) <= 4
    assert 3 <= len(entry["clause"].split()) <= 7
    assert holds(entry["words"], entry["clause"])
    sentences = entry["sentences"]
    assert len(set(sentences)) == len(sentences) >= 8
    for sentence in sentences:
        assert 8 <= len(sentence.split()) <= 14, sentence
        assert holds(entry["words"], sentence), sentence
        assert not re.search(FORBIDDEN, sentence.lower()), sentence
        assert not re.search(r"\b(\w+) \1\b", sentence.lower()), sentence
