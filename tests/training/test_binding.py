"""Weights belong to the words, data and front end that they were trained with, and to no others."""

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny import RATE, made_sound, made_tags, tiny_recipe

from auricle.captioning.captioner import load
from auricle.checkpoint.fingerprints import Fingerprints
from auricle.checkpoint.folder import load_checkpoint, save_checkpoint
from auricle.checkpoint.vocabulary import SPECIAL, Vocabulary
from auricle.errors import AuricleError
from auricle.training import prepare as prepare_module
from auricle.training import run as run_module
from auricle.training import train as train_module
from auricle.training.config import Recipe, recipe_fingerprint
from auricle.training.export import export_onnx
from auricle.training.pretrain import load_pre_encoder, pretrain
from auricle.training.scst import train_scst
from auricle.training.train import train
from auricle.training.weights import load_weights, read_fingerprints, save_weights
from sounds import write_wav

Rows = list[list[str]]


@pytest.fixture(autouse=True, scope="module")
def _unexported() -> Iterator[None]:
    """Exports and curves take seconds, and are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "export_onnx", lambda _: None)
        patch.setattr(run_module, "draw_curves", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def trained(tiny_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The recipe of both stages, trained on data of its own."""
    folder = tmp_path_factory.mktemp("binding")
    shutil.copytree(tiny_manifest.parent, folder / "data")
    recipe = tiny_recipe(
        folder / "data" / tiny_manifest.name,
        folder / "run",
        pretrain__epochs=1,
        train__epochs=1,
        scst__epochs=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AURICLE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr(prepare_module, "read_tags", made_tags)
        pretrain(recipe)
        train(recipe)
    return recipe


@pytest.fixture
def manifest(trained: Recipe) -> Iterator[Path]:
    """The manifest of `trained`, to be changed with the files next to it."""
    path = Path(trained.data.manifest)
    kept = content(path.parent)
    yield path
    for file in content(path.parent).keys() - kept.keys():
        file.unlink()
    for file, data in kept.items():
        file.write_bytes(data)


def changed(manifest: Path, change: Callable[[Rows], None]) -> None:
    """Changes the rows below the header."""
    with manifest.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    change(rows)
    with manifest.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def refused(training: Callable[..., object], recipe: Recipe) -> str:
    """The message with which a training is not resumed; its folder stays as it is."""
    before = content(Path(recipe.output))
    with pytest.raises(AuricleError) as error:
        training(recipe, resume=True)
    assert content(Path(recipe.output)) == before
    return str(error.value)


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_more_crow(rows: Rows) -> None:
    """Makes rare words frequent: all words stay, and their numbers change."""
    rows[0][2:4] = ["Thunder rumbles", "Thunder rumbles after a dog barks at a passing car"]


def another_word(rows: Rows) -> None:
    rows[0][2] = "A dog growls at a passing car"


def two_captions_swapped(rows: Rows) -> None:
    rows[0][2], rows[1][2] = rows[1][2], rows[0][2]


def another_label(rows: Rows) -> None:
    rows[2][4] = "l7"


def another_split(rows: Rows) -> None:
    rows[3][1], rows[7][1], rows[2][1] = "train", "valid", "valid"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (one_more_crow, r"the vocabulary changed: of its words, \d+ have another number;"),
        (another_word, r"the vocabulary changed: of its words, 1 is new \(growls\)"),
        (two_captions_swapped, "captions, splits, labels or groups in .*manifest.csv"),
        (another_label, "captions, splits, labels or groups in .*manifest.csv"),
        (another_split, "captions, splits, labels or groups in .*manifest.csv"),
    ],
)
def test_a_training_is_not_resumed_with_another_manifest(
    trained: Recipe, manifest: Path, change: Callable[[Rows], None], said: str
):
    changed(manifest, change)
    message = refused(train, trained)
    assert re.search(said, message), message
    assert "--set output=FOLDER" in message
    assert "restore the old files, and use --resume" in message


def test_a_training_is_not_resumed_with_other_sounds(trained: Recipe, manifest: Path):
    (manifest.parent / "2.wav").rename(manifest.parent / "two.wav")
    changed(manifest, lambda rows: rows[2].__setitem__(0, "two.wav"))
    pretrain(trained, resume=True)  # a file is known by its content
    write_wav(manifest.parent / "two.wav", made_sound(20), RATE)
    assert "sound files changed" in refused(pretrain, trained)


def test_a_training_is_not_resumed_with_other_lone_captions(trained: Recipe, manifest: Path):
    texts = manifest.parent / "texts.csv"
    header, *lines = texts.read_text("utf-8").splitlines()
    texts.write_text("\n".join([header, *reversed(lines)]), "utf-8")
    assert "texts.csv changed" in refused(pretrain, trained)


def test_a_training_is_not_resumed_with_other_classes(trained: Recipe, manifest: Path):
    names = manifest.parent / "names.csv"
    names.write_text(names.read_text("utf-8").replace("Class 400", "Hum"), "utf-8")
    assert "names of classes" in refused(pretrain, trained)


@pytest.mark.usefixtures("manifest")
def test_a_training_is_resumed_with_its_own_data(trained: Recipe):
    before = content(trained.captioner_folder)
    train(trained, resume=True)
    assert content(trained.captioner_folder) == before


def test_a_state_of_0_1_is_not_resumed(trained: Recipe):
    (state,) = trained.pre_encoder_folder.glob("state/*/model.safetensors")
    kept = state.read_bytes()
    save_weights(state, load_weights(state))
    assert "an older auricle, which did not record its words" in refused(pretrain, trained)
    state.write_bytes(kept)


def test_weights_and_configuration_name_what_they_were_trained_with(trained: Recipe):
    folder = trained.captioner_folder
    checkpoint = load_checkpoint(folder)
    found = checkpoint.config.fingerprints
    assert all(vars(found).values())
    assert found.vocabulary == checkpoint.vocabulary.fingerprint()
    assert found.recipe == recipe_fingerprint(replace(trained, output="elsewhere"))
    for path in (folder / "model.safetensors", *folder.glob("state/*/*.safetensors")):
        assert read_fingerprints(path) == found, path


def test_scst_begins_from_a_captioner_of_the_same_words(trained: Recipe, manifest: Path):
    changed(manifest, one_more_crow)
    with pytest.raises(AuricleError, match=r"vocabulary differ.*run `auricle train` again"):
        train_scst(trained)


def test_a_pre_encoder_has_the_words_and_the_front_end_of_the_captioner(trained: Recipe):
    path = trained.pre_encoder_folder / "vocabulary.txt"
    vocabulary, kept = Vocabulary.load(path), path.read_bytes()
    load_pre_encoder(trained, vocabulary)
    other = replace(trained, data=replace(trained.data, front_end="paper"))
    with pytest.raises(AuricleError, match=r"another recipe: data\.front_end differ"):
        load_pre_encoder(other, vocabulary)
    swapped = Vocabulary(reversed(vocabulary.words[len(SPECIAL) :]))
    swapped.save(path)
    with pytest.raises(AuricleError, match="vocabulary differ"):
        load_pre_encoder(trained, swapped)
    path.write_bytes(kept)


@pytest.fixture
def captioner_folder(tiny_guided_checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_guided_checkpoint, tmp_path / "captioner")


def swap_lines(path: Path, one: int, other: int) -> None:
    lines = path.read_text("utf-8").splitlines()
    lines[one], lines[other] = lines[other], lines[one]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


@pytest.mark.parametrize("name", ["vocabulary.txt", "tags.txt"])
def test_swapped_lines_are_noticed(captioner_folder: Path, name: str):
    load(captioner_folder)
    swap_lines(captioner_folder / name, 5, 9)
    for use in (load, load_checkpoint, export_onnx):
        with pytest.raises(
            AuricleError, match=f"{name} differs from the list .* restore the file, or"
        ):
            use(captioner_folder)
    swap_lines(captioner_folder / name, 5, 9)
    load(captioner_folder)


def test_files_of_a_captioner_with_other_words_are_noticed(
    tiny_guided_checkpoint: Path, captioner_folder: Path
):
    swap_lines(captioner_folder / "vocabulary.txt", 5, 9)
    config = json.loads((captioner_folder / "config.json").read_text("utf-8"))
    del config["fingerprints"]
    (captioner_folder / "config.json").write_text(json.dumps(config), "utf-8")
    save_checkpoint(load_checkpoint(captioner_folder))  # a consistent folder of other words
    with pytest.raises(AuricleError, match=r"encoder.onnx does not fit: vocabulary differ"):
        load(captioner_folder)
    with pytest.raises(AuricleError, match=r"model.safetensors .*vocabulary differ"):
        export_onnx(captioner_folder)
    load(tiny_guided_checkpoint)


def test_fingerprints_pass_through_a_file(tmp_path: Path):
    fingerprints, path = Fingerprints(vocabulary="ab", recipe="cd"), tmp_path / "w.safetensors"
    save_weights(path, {"w": torch.zeros(1)}, fingerprints.metadata())
    assert read_fingerprints(path) == fingerprints
    with safe_open(path, "pt") as file:
        assert len(file.metadata()) == 1  # safetensors writes several in random order
    for damaged in ("[]", "{", '{"words": "ab"}'):
        save_weights(path, {"w": torch.zeros(1)}, {"fingerprints": damaged})
        with pytest.raises(AuricleError, match=r"w\.safetensors: "):
            read_fingerprints(path)


def test_differences_are_those_that_both_know():
    known = Fingerprints(vocabulary="a", tags="b", features="c")
    assert known.differing(Fingerprints()) == []
    assert known.differing(replace(known, tags="x", recipe="y")) == ["tags"]
