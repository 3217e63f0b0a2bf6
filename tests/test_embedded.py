"""The model in the package names what is heard in our examples."""

from pathlib import Path

import pytest

import auricle
from auricle.checkpoint import EMBEDDED

pytestmark = pytest.mark.skipif(not (EMBEDDED / "config.json").is_file(), reason="the embedded model is not there yet")

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.wav"))
NAMES = {
    "siren": ("siren", "sirens"),
    "clock": ("clock", "ticking", "ticks"),
    "rain": ("rain", "raining", "water"),
    "bell": ("bell", "bells"),
    "car_horn": ("horn", "honk", "honks", "honking"),
}


def test_every_example_is_expected():
    assert {path.stem for path in EXAMPLES} == set(NAMES)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_named(path: Path):
    text = auricle.load().caption(path).text
    assert set(text.lower().rstrip(".").split()) & set(NAMES[path.stem]), text
