"""The paper's Table 1: about 6 million parameters of the pre-encoder, about 9 million of the
captioner."""

import csv
from pathlib import Path

import pytest
from tiny import tiny_recipe

from auricle.checkpoint.vocabulary import SPECIAL
from auricle.training.config import load_recipe
from auricle.training.parameters import CLOTHO_WORDS, count, describe, part_sizes
from auricle.training.prepare import read_data
from auricle.training.pretrain import build_pre_encoder
from auricle.training.train import build_captioner

PAPER = Path(__file__).parents[2] / "configs" / "paper.toml"


@pytest.fixture
def clotho_manifest(shared: Path, tmp_path: Path) -> Path:
    """Clotho's captions as a manifest; the sounds are not needed."""
    folder = shared / "corpus" / "captions" / "clotho_v2.1"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    path = tmp_path / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "split", *(f"caption_{k}" for k in range(1, 6))])
        for split in ("development", "validation"):
            with (folder / f"clotho_captions_{split}.csv").open(
                encoding="utf-8-sig", newline=""
            ) as captions:
                for row in csv.DictReader(captions):
                    writer.writerow(
                        [f"{split}/{row['file_name']}", split, *list(row.values())[1:6]]
                    )
    return path


def test_table_1(clotho_manifest: Path):
    recipe = load_recipe(PAPER, [f"data.manifest={clotho_manifest}"])
    train, valid, texts, vocabulary = read_data(
        recipe.data, recipe.tags.captions, check_files=False
    )
    assert len(train) == 3839 + 1045
    assert not valid
    assert not texts
    assert len(vocabulary) == 4369  # the paper's count, special words included
    assert len(vocabulary) == CLOTHO_WORDS + len(SPECIAL)
    sizes = {
        network: sum(parts.values()) / 1e6
        for network, parts in part_sizes(recipe, len(vocabulary)).items()
    }
    assert sizes["pre-encoder"] == pytest.approx(6, abs=0.5)
    assert sizes["captioner"] == pytest.approx(9, abs=0.5)
    said = describe(recipe)
    assert f"4,369 words of {clotho_manifest}" in said
    assert describe(load_recipe(PAPER)).splitlines()[1:] == said.splitlines()[1:]


def test_the_trunk_is_panns():
    assert part_sizes(load_recipe(PAPER), 100)["captioner"]["encoder"] == 4_686_272


@pytest.mark.parametrize("architecture", ["cnn10", "mobilenet"])
def test_where_tags_guide_all_is_used(architecture: str, tiny_manifest: Path, tmp_path: Path):
    encoder = {"architecture": architecture, "width": 0.1}
    changes = {"encoder": encoder, "train__initial": "pre-encoder", "train__encoder_rate": 0.0}
    recipe = tiny_recipe(tiny_manifest, tmp_path, **changes)
    sizes = part_sizes(recipe, 100)
    assert sum(sizes["captioner"].values()) == count(build_captioner(recipe, 100))
    # the temperature
    assert sum(sizes["pre-encoder"].values()) == count(build_pre_encoder(recipe, 100)) - 1
    assert "tag tokens" in describe(recipe)
