"""A guided captioner, from its recipe to ONNX: what it was taught is what runs."""

import shutil
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny import made_tags, tiny_recipe

from auricle.captioning.beam_search import search_captions
from auricle.captioning.captioner import load
from auricle.checkpoint.folder import Checkpoint, load_checkpoint
from auricle.checkpoint.vocabulary import PAD, sentence
from auricle.errors import AuricleError
from auricle.models.captioning import CaptioningModel
from auricle.sound.decode import load_audio
from auricle.sound.features import FRONT_ENDS, log_mel
from auricle.training import prepare
from auricle.training.export import load_model
from auricle.training.pretrain import pretrain
from auricle.training.train import train
from auricle.training.weights import load_weights

HEARS = FRONT_ENDS["mobilenet"]


@pytest.fixture(scope="module")
def folder(tiny_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both stages: the captioner leaves the pre-encoder's audio tower as it was, and
    keeps its space."""
    output = tmp_path_factory.mktemp("guided")
    recipe = tiny_recipe(
        tiny_manifest,
        output,
        data={"manifest": str(tiny_manifest), "valid": ["valid"], "front_end": "mobilenet"},
        encoder={"architecture": "mobilenet", "width": 0.1},
        pretrain__epochs=1,
        train__epochs=1,
        train__initial="pre-encoder",
        train__encoder_rate=0.0,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AURICLE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr(prepare, "read_tags", made_tags)
        pretrain(recipe)
        train(recipe)
    return output


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return load_checkpoint(folder / "captioner")


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> CaptioningModel:
    return load_model(checkpoint).requires_grad_(False)


def run(path: Path, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, cast("list[np.ndarray]", session.run(names, inputs)), strict=True))


def test_the_encoder_and_the_space_are_the_pre_encoders(folder: Path):
    taught = load_weights(folder / "pre-encoder" / "model.safetensors")
    kept = load_weights(folder / "captioner" / "model.safetensors")
    for name, tensor in taught.items():
        if name != "log_temperature":
            assert torch.equal(kept[name.replace("audio.", "encoder.", 1)], tensor), name


def test_a_checkpoint_names_the_tags_and_has_a_space(checkpoint: Checkpoint, tiny_manifest: Path):
    lines = (tiny_manifest.parent / "names.csv").read_text().splitlines()
    assert checkpoint.tags == tuple(line.split(",")[2] for line in lines[1:])
    assert checkpoint.config.space == 16
    assert checkpoint.config.decoder.tags == 3


@pytest.mark.parametrize("frames", [101, 320, 333, 1001])
def test_tags_and_the_place_in_the_space_are_torchs(
    checkpoint: Checkpoint, model: CaptioningModel, frames: int
):
    heard = torch.randn(1, frames, HEARS.mels, generator=torch.Generator().manual_seed(frames))
    found = run(checkpoint.folder / "encoder.onnx", log_mel=heard.numpy())
    features, mask, tags = model.hear(heard, torch.tensor([frames]))
    assert tags is not None
    assert model.space is not None
    np.testing.assert_allclose(found["tags"], tags, atol=1e-5)
    embedding = model.space.embed_sound(model.encoder.embed(features, mask), tags)
    np.testing.assert_allclose(found["sound_embedding"], embedding, atol=1e-5)
    memory, _ = model.remember(features, mask, tags)
    assert memory.shape[1] == features.shape[1] + 3
    state = model.decoder.begin(memory)
    np.testing.assert_allclose(found["memory_keys"], state.memory_keys, atol=1e-4)
    np.testing.assert_allclose(found["memory_values"], state.memory_values, atol=1e-4)


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 9), (5, 2), (40, 30)])
def test_sentences_are_placed_as_in_torch(
    checkpoint: Checkpoint, model: CaptioningModel, rows: int, length: int
):
    assert model.space is not None
    generator = torch.Generator().manual_seed(rows)
    tokens = torch.randint(1, len(checkpoint.vocabulary), (rows, length), generator=generator)
    ends = torch.randint(1, length + 1, (rows, 1), generator=generator)
    tokens = tokens.masked_fill(torch.arange(length) >= ends, PAD)
    found = run(checkpoint.folder / "text.onnx", tokens=tokens.numpy())
    np.testing.assert_allclose(
        found["sentence_embedding"], model.space.embed_text(tokens), atol=1e-5
    )


def test_onnx_and_torch_caption_alike(
    checkpoint: Checkpoint, model: CaptioningModel, tiny_manifest: Path
):
    captioner = load(checkpoint.folder)
    for number in (0, 3):
        path = tiny_manifest.parent / f"{number}.wav"
        heard = torch.from_numpy(log_mel(load_audio(path, HEARS.rate), HEARS))[None]
        search = model.next_log_probs(heard, torch.tensor([heard.shape[1]]))
        best = search_captions(search, checkpoint.vocabulary, checkpoint.config.decoding)[0][0]
        caption = captioner.caption(path)
        assert caption.text == sentence(checkpoint.vocabulary.decode(best.tokens))
        assert caption.score == pytest.approx(best.score, abs=1e-3)


@pytest.fixture
def without_weights(checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    """The same folder, as the package has its model: ONNX files alone."""
    for path in checkpoint.folder.iterdir():
        if path.suffix in {".onnx", ".json", ".txt"}:
            shutil.copy(path, tmp_path)
    return load_checkpoint(tmp_path)


def test_every_tensor_is_read_back_from_onnx_alone(
    without_weights: Checkpoint, model: CaptioningModel
):
    with torch.random.fork_rng():
        torch.manual_seed(1)  # what were left as drawn would differ
        state = load_model(without_weights).state_dict()
    for name, tensor in model.state_dict().items():
        if tensor.dim():
            assert torch.equal(state[name], tensor), name


def test_a_tensor_that_is_not_there_is_missed(without_weights: Checkpoint):
    (without_weights.folder / "text.onnx").unlink()
    with pytest.raises(AuricleError, match=r"missing \(space\.text\.embedding\.weight"):
        load_model(without_weights)
    path = without_weights.folder / "encoder.onnx"
    network = onnx.load(path)
    (bias,) = (
        tensor for tensor in network.graph.initializer if tensor.name == "encoder.classifier.5.bias"
    )
    network.graph.initializer.remove(bias)
    path.unlink()  # a link to the file of all tests
    onnx.save(network, path)
    with pytest.raises(AuricleError, match=r"missing \(encoder\.classifier\.5\.bias"):
        load_model(without_weights)
