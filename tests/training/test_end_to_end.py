"""From a recipe to a caption, through the commands."""

import json
from pathlib import Path

import pytest
from tiny import tiny_recipe

from auricle.captioning.captioner import load
from auricle.cli import main as cli
from auricle.training.config import load_recipe

RECIPE = """
output = "{output}"

[data]
manifest = "{manifest}"
valid = ["valid"]
front_end = "panns"

[encoder]
width = 0.0625

[decoder]
width = 16
layers = 2
heads = 2
feedforward = 32

[word2vec]
size = 16
epochs = 2

[pretrain]
epochs = 2
batch_size = 4
monitor = "map_10"

[train]
epochs = 1
batch_size = 4
initial = "pre-encoder"
keep = "best_loss"
"""


def test_pretrain_train_caption(
    tiny_manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(manifest=tiny_manifest, output=tmp_path / "run"))
    cli.pretrain(path)
    cli.train(path, ["train.epochs=2"])
    printed = capsys.readouterr().out.split()
    assert str(tmp_path / "run" / "pre-encoder") in printed
    assert str(tmp_path / "run" / "captioner") == printed[-1]
    for stage, measured in (("pre-encoder", "text_to_audio_map_10"), ("captioner", "valid_loss")):
        folder = tmp_path / "run" / stage
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2]
        for line in lines:
            assert 0 <= line["waiting"] <= 1
            assert line["seconds"] > 0
            assert {"loss", "learning_rate", measured} <= line.keys()
        assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert json.loads((folder / "recipe.json").read_text())["train"]["initial"] == "pre-encoder"
    captioner = load(tmp_path / "run" / "captioner")
    caption = captioner.caption(tiny_manifest.parent / "0.wav")
    assert caption.text.endswith(".")
    assert caption.score < 0
    assert caption.text == captioner.caption(tiny_manifest.parent / "0.wav").text
    cli.info(tmp_path / "run" / "captioner")
    cli.info(path)
    assert "pre-encoder" in capsys.readouterr().out


def test_the_tiny_recipe_is_one_of_ours(tiny_manifest: Path, tmp_path: Path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(manifest=tiny_manifest, output=tmp_path / "run"))
    assert load_recipe(path).encoder == tiny_recipe(tiny_manifest, tmp_path).encoder
