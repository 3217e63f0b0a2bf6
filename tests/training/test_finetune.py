"""A captioner taught further: it begins as what it was, learns new words, and stays a captioner."""

from pathlib import Path

import pytest
import torch
from tiny import RATE, made_sound

from auricle.checkpoint.folder import EMBEDDED, Checkpoint, load_checkpoint
from auricle.checkpoint.vocabulary import SPECIAL, Vocabulary
from auricle.cli import main as cli
from auricle.errors import AuricleError
from auricle.models.captioning import CaptioningModel
from auricle.training import train as train_module
from auricle.training.config import Recipe, load_recipe
from auricle.training.export import load_model
from auricle.training.export_planned import load_planned
from auricle.training.initial import (
    WORD_TENSORS,
    load_checkpoint_tensors,
    tensors_of_planned,
)
from auricle.training.prepare import build_vocabulary
from auricle.training.train import build_captioner
from auricle.training.weights import load_weights
from sounds import write_wav

CAPTIONS = ("A dog yelps loudly", "The wind howls", "A lapwing sings in the wind", "Something hums")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    lines = ["file,split,caption"]
    for number in range(8):
        write_wav(folder / f"{number}.wav", made_sound(number), RATE)
        lines.append(f"{number}.wav,{'valid' if number > 5 else 'train'},{CAPTIONS[number % 4]}")
    (folder / "sounds.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "sounds.csv"


def asked(folder: Path, manifest: Path, output: Path, *more: str) -> Recipe:
    settings = [f"train.weights={folder}", f"data.manifest={manifest}", f"output={output}", *more]
    return load_recipe(Path("finetune"), settings)


def begun(recipe: Recipe, checkpoint: Checkpoint) -> tuple[CaptioningModel, Vocabulary]:
    vocabulary = build_vocabulary(recipe.data, CAPTIONS, checkpoint.vocabulary)
    model = build_captioner(recipe, len(vocabulary))
    load_checkpoint_tensors(model, checkpoint, vocabulary, CAPTIONS)
    return model, vocabulary


def test_a_recipe_takes_over_what_the_captioner_is(
    tiny_guided_checkpoint: Path, manifest: Path, tmp_path: Path
):
    config = load_checkpoint(tiny_guided_checkpoint).config
    recipe = asked(tiny_guided_checkpoint, manifest, tmp_path)
    assert (recipe.encoder, recipe.decoder, recipe.data.front_end) == (
        config.encoder,
        config.decoder,
        "panns",
    )
    assert recipe.licence == config.licence
    with pytest.raises(AuricleError, match="not a checkpoint"):
        asked(tmp_path, manifest, tmp_path)


def test_it_begins_as_it_was_and_with_new_words(
    tiny_guided_checkpoint: Path, manifest: Path, tmp_path: Path
):
    checkpoint = load_checkpoint(tiny_guided_checkpoint)
    model, vocabulary = begun(asked(tiny_guided_checkpoint, manifest, tmp_path), checkpoint)
    known = len(checkpoint.vocabulary)
    assert vocabulary.words[:known] == checkpoint.vocabulary.words
    assert set(vocabulary.words[known:]) == {
        "yelps",
        "loudly",
        "howls",
        "lapwing",
        "sings",
        "something",
        "hums",
    } - set(checkpoint.vocabulary.words)
    was, now = load_model(checkpoint).state_dict(), model.state_dict()
    assert was.keys() == now.keys()
    for name, tensor in was.items():
        assert torch.equal(now[name][:known] if name in WORD_TENSORS else now[name], tensor), name
    vectors, new = now["decoder.embedding.weight"], vocabulary.numbers(["howls"])[0]
    torch.testing.assert_close(vectors[new], vectors[vocabulary.numbers(["the", "wind"])].mean(0))
    torch.testing.assert_close(now["decoder.output.bias"][new], was["decoder.output.bias"].mean())


def test_an_encoder_that_learns_leaves_the_space(
    tiny_guided_checkpoint: Path, manifest: Path, tmp_path: Path
):
    recipe = asked(tiny_guided_checkpoint, manifest, tmp_path, "train.encoder_rate=0.1")
    model, _ = begun(recipe, load_checkpoint(tiny_guided_checkpoint))
    assert model.space is None


def test_the_embedded_model_gives_back_every_tensor(manifest: Path, tmp_path: Path):
    checkpoint = load_checkpoint(EMBEDDED)
    model, vocabulary = begun(asked(Path("embedded"), manifest, tmp_path), checkpoint)
    assert vocabulary.words[-1] == "lapwing" or "lapwing" in checkpoint.vocabulary
    was = tensors_of_planned(load_planned(checkpoint))
    state = model.state_dict()
    assert {name.split(".")[0] for name in state.keys() - was.keys()} == {"bridge"}
    for name, tensor in was.items():
        trained = state[name][: len(tensor)] if name in WORD_TENSORS else state[name]
        assert torch.equal(trained, tensor), name
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_it_learns(
    tiny_guided_checkpoint: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # seconds, and tested elsewhere
    monkeypatch.setattr(train_module, "export_onnx", lambda _: None)
    settings = [
        f"data.manifest={manifest}",
        f"output={tmp_path}",
        "train.epochs=3",
        "train.learning_rate=0.01",
    ]
    cli.train(settings=settings, start=str(tiny_guided_checkpoint))
    folder = tmp_path / "captioner"
    before, after = load_checkpoint(tiny_guided_checkpoint), load_checkpoint(folder)
    assert after.vocabulary.words[len(SPECIAL) :][:2] == before.vocabulary.words[len(SPECIAL) :][:2]
    assert "lapwing" in after.vocabulary
    assert after.tags == before.tags
    assert after.config.space == before.config.space
    assert after.config.licence == before.config.licence
    assert after.config.decoder == before.config.decoder
    was, now = (
        load_weights(tiny_guided_checkpoint / "model.safetensors"),
        load_weights(folder / "model.safetensors"),
    )
    assert all(
        torch.equal(now[name], tensor)
        for name, tensor in was.items()
        if name.startswith("encoder.")
    )
    assert not torch.equal(now["bridge.weight"], was["bridge.weight"])


def test_without_recipe_and_captioner_there_is_nothing_to_do():
    with pytest.raises(AuricleError, match="name a recipe"):
        cli.train()
