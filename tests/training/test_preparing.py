"""Training reads its files strictly, leaves out bad clips only if asked, and says how far it is."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from tiny import made_tags, tiny_recipe

from auricle.captioning.captioner import load
from auricle.checkpoint.fingerprints import Fingerprints
from auricle.checkpoint.folder import load_checkpoint
from auricle.checkpoint.vocabulary import Vocabulary
from auricle.cli import progress
from auricle.errors import AuricleError
from auricle.sound.features import floor_of, front_end
from auricle.storage.tables import read
from auricle.training import prepare as prepare_module
from auricle.training import run as run_module
from auricle.training import train as train_module
from auricle.training.config import DataConfig, PretrainConfig, load_recipe
from auricle.training.export import export_onnx
from auricle.training.prepare import Data, read_captions
from auricle.training.pretrain import pretrain
from auricle.training.tags import read_class_names
from commands import Run


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports and curves take seconds, and are tested elsewhere."""
    monkeypatch.setattr(train_module, "export_onnx", lambda _: None)
    monkeypatch.setattr(run_module, "draw_curves", lambda *_: None)
    monkeypatch.setattr(prepare_module, "read_tags", made_tags)


@pytest.fixture
def recipe(tiny_manifest: Path, tmp_path: Path) -> Path:
    """A recipe of one epoch without tags, on data of the test's own."""
    shutil.copytree(tiny_manifest.parent, tmp_path / "data")
    table = asdict(tiny_recipe(tmp_path / "data" / tiny_manifest.name, tmp_path / "run"))
    table["tags"]["captions"] = ""
    table["train"] |= {"epochs": 1, "texts_per_batch": 0}
    table["pretrain"] |= {"epochs": 1, "texts_per_batch": 0}
    path = tmp_path / "tiny.toml"
    path.write_text(toml(table), "utf-8")
    return path


def toml(table: dict[str, object], at: str = "") -> str:
    """Writes a table as TOML; a value of None is left out."""
    plain = {name: value for name, value in table.items() if not isinstance(value, dict)}
    lines = [f"[{at}]"] if at else []
    lines += [f"{name} = {json.dumps(value)}" for name, value in plain.items() if value is not None]
    for name, value in table.items():
        if isinstance(value, dict):
            lines.append(toml(value, f"{at}.{name}" if at else name))
    return "\n".join(lines)


def test_bad_clips_are_left_out_if_asked(auricle: Run, recipe: Path, tmp_path: Path):
    (tmp_path / "data" / "0.wav").write_text("this is no sound")
    (tmp_path / "data" / "1.wav").unlink()
    refused = auricle("train", recipe)
    assert refused.code == 1
    assert "1.wav does not exist" in refused.err
    result = auricle("train", recipe, "--skip-bad")
    assert result.code == 0, result.err
    assert "auricle: 2 clips left out:\n  " in result.err
    for name in ("0.wav", "1.wav"):
        assert name in result.err
    words = load_checkpoint(tmp_path / "run" / "captioner").vocabulary
    assert "roof" not in words  # of the caption of 1.wav
    assert "sing" in words


def test_nothing_but_bad_clips_is_refused(auricle: Run, recipe: Path, tmp_path: Path):
    for sound in (tmp_path / "data").glob("*.wav"):
        sound.write_text("this is no sound")
    result = auricle("train", recipe, "--skip-bad")
    assert result.code == 1
    assert "16 of 16 sounds cannot be used" in result.err


def test_without_a_terminal_an_epoch_has_a_line(
    auricle: Run, recipe: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress, "INTERVAL_SECONDS", 3600.0)
    for command, title in (("pretrain", "pre-encoder"), ("train", "captioner")):
        result = auricle(command, recipe, "--set", f"{command}.epochs=2")
        lines = [line for line in result.err.splitlines() if "epoch" in line]
        assert [re.sub(r"loss .*", "loss", line, count=1) for line in lines] == [
            f"auricle: {title}: epoch {epoch} of 2: loss" for epoch in (1, 2)
        ]
        assert result.out.count("\n") == 1


def test_without_a_terminal_a_minute_has_a_line(
    auricle: Run, recipe: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress, "INTERVAL_SECONDS", 0.02)
    lines = auricle("train", recipe).err.splitlines()
    told = r"auricle: captioner: \d+ of \d+ after 0 min, epoch 1 of 1  loss \d.*"
    assert [line for line in lines if re.fullmatch(told, line)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("words\nA dog barks\n", r"line 1: expected one column 'caption' \(.*'words'\)"),
        ("caption\nA dog barks, then stops\n", "line 2: 2 fields, expected 1 as in the header"),
        (
            'caption\n"A dog barks\nRain falls\n',
            "line 2: not CSV: the quote that opens here is not",
        ),
        ("caption,caption\na,b\n", "line 1: expected one column 'caption'"),
        ("id,caption\n1,\n", "line 2: the 'caption' field is empty"),
        ("caption\n", "no captions"),
    ],
)
def test_lone_captions_are_read_strictly(content: str, said: str, tmp_path: Path):
    (tmp_path / "texts.csv").write_text(content, "utf-8")
    with pytest.raises(AuricleError, match=rf"texts\.csv.*{said}"):
        read_captions(tmp_path / "texts.csv")


def test_lone_captions_are_read_as_spreadsheets_write_them(tmp_path: Path):
    (tmp_path / "texts.csv").write_text("Caption\n A dog barks \n\n", "utf-16")
    assert read_captions(tmp_path / "texts.csv") == ["A dog barks"]


def test_a_damaged_list_of_classes_is_refused_by_line(tmp_path: Path):
    (tmp_path / "names.csv").write_text("index,mid,display_name\n0,/m/0,Speech, male\n", "utf-8")
    with pytest.raises(AuricleError, match=r"line 2: 4 fields, expected 3 .*class_labels_indices"):
        read_class_names(tmp_path / "names.csv")


def test_a_recipe_extends_ours_by_name(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "own"\noutput = "runs/mine"\n', "utf-8")
    mine, base = load_recipe(path), load_recipe(Path("own"))
    assert mine.output == "runs/mine"
    assert (mine.data, mine.train, mine.pretrain) == (base.data, base.train, base.pretrain)
    path.write_text('extends = "owm"\n', "utf-8")
    with pytest.raises(AuricleError, match=r"no recipe 'owm': name a TOML file, or one of .*own"):
        load_recipe(path)


def test_a_file_next_to_a_recipe_comes_before_ours(tmp_path: Path):
    (tmp_path / "own").write_text('output = "a"\ndata.manifest = "b.csv"\n', "utf-8")
    (tmp_path / "mine.toml").write_text('extends = "own"\n', "utf-8")
    assert load_recipe(tmp_path / "mine.toml").data.manifest == "b.csv"


def test_contrastive_batches_of_one_are_refused(tiny_manifest: Path, tmp_path: Path):
    with pytest.raises(AuricleError, match="batch_size is 1: set 2 or more"):
        read(PretrainConfig, {"batch_size": 1}, "recipe")
    lone = tmp_path / "one.csv"
    lone.write_text(f"file,split,caption\n{tiny_manifest.parent / '0.wav'},train,A dog\n", "utf-8")
    data = {"manifest": str(lone), "front_end": "panns"}
    changes = {"pretrain__monitor": "loss", "pretrain__texts_per_batch": 0}
    recipe = tiny_recipe(tiny_manifest, tmp_path / "run", data=data, **changes)
    with pytest.raises(AuricleError, match="every batch holds one of 1 sounds"):
        pretrain(recipe)


@pytest.fixture
def training(tiny_guided_checkpoint: Path, tmp_path: Path) -> Path:
    """The folder of a training with its captioner."""
    shutil.copytree(tiny_guided_checkpoint, tmp_path / "run" / "captioner")
    return tmp_path / "run"


@pytest.mark.parametrize("use", [load_checkpoint, load])
def test_the_folder_of_a_training_stands_for_its_captioner(
    training: Path, use: Callable[[Path], object]
):
    use(training)
    (training / "captioner" / "config.json").unlink()
    with pytest.raises(AuricleError, match=r"run is not a checkpoint: config\.json is missing"):
        use(training)


def test_a_folder_without_networks_names_the_command_that_makes_them(training: Path):
    for network in training.glob("captioner/*.onnx"):
        network.unlink()
    with pytest.raises(AuricleError, match=r"missing: `auricle export .*captioner` makes it"):
        load(training)
    (training / "captioner" / "vocabulary.txt").unlink()
    with pytest.raises(AuricleError, match=r"vocabulary\.txt is missing"):
        export_onnx(training)


@pytest.mark.parametrize("name", ["paper", "panns", "mobilenet", "vggish"])
def test_masked_padding_is_silence_and_the_papers_is_zero(name: str):
    def padding(**changes: object) -> float:
        config = read(DataConfig, {"manifest": "", "front_end": name, **changes}, "test")
        vocabulary = Vocabulary.build(["a"])
        return Data(config, [], [], [], [], vocabulary, Fingerprints()).padding

    assert padding(pad="batch") == floor_of(front_end(name)) != 0
    assert padding(pad="longest") == 0
