"""Weights go where they fit, all of them, or are refused in a line that says why."""

import hashlib
import io
import os
import pickle  # noqa: TID251 - to make one that must not be read
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import tiny_recipe

from auricle.checkpoint.config import DecoderConfig, EncoderConfig
from auricle.checkpoint.vocabulary import SPECIAL, Vocabulary
from auricle.errors import AuricleError
from auricle.models.captioning import CaptioningModel
from auricle.models.cnn10 import CNN10
from auricle.models.mobilenet import MobileNet
from auricle.storage.download import Remote
from auricle.training import train as train_module
from auricle.training.initial import load_encoder, standardise_bridge
from auricle.training.prepare import read_data
from auricle.training.pretrain import load_pre_encoder, pretrain
from auricle.training.train import train
from auricle.training.weights import (
    PUBLISHED,
    Published,
    fetch_published,
    halve,
    load_published,
    load_strictly,
    load_weights,
    save_weights,
)
from loopback import Server, serving


@pytest.fixture
def published(shared: Path) -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = shared / name
        if not path.is_file():
            pytest.skip(f"{path} is not there")
        return path

    return find


def refused(function: Callable[[], object]) -> str:
    with pytest.raises(AuricleError) as caught:
        function()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize("architecture", ["cnn10", "mobilenet"])
def test_the_pre_encoders_tower_becomes_the_captioners_encoder(
    architecture: str, tiny_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(train_module, "export_onnx", lambda _: None)
    recipe = tiny_recipe(
        tiny_manifest,
        tmp_path,
        encoder={"architecture": architecture, "width": 0.1},
        data={
            "manifest": str(tiny_manifest),
            "valid": ["valid"],
            "front_end": "panns" if architecture == "cnn10" else "mobilenet",
        },
        pretrain__epochs=1,
        train__initial="pre-encoder",
        train__epochs=0,
    )
    pretrain(recipe)
    train(recipe)
    best = load_weights(tmp_path / "pre-encoder" / "model.safetensors")
    captioner = load_weights(tmp_path / "captioner" / "model.safetensors")
    tower = {
        name.removeprefix("audio."): tensor
        for name, tensor in best.items()
        if name.startswith("audio.")
    }
    encoder = {
        name.removeprefix("encoder."): tensor
        for name, tensor in captioner.items()
        if name.startswith("encoder.")
    }
    assert tower.keys() == encoder.keys()
    assert all(torch.equal(tower[name], encoder[name]) for name in tower)
    vocabulary = read_data(recipe.data, recipe.tags.captions)[-1]
    model = load_pre_encoder(recipe, vocabulary)
    assert all(
        torch.equal(tensor, best[name].to(tensor.dtype))
        for name, tensor in model.state_dict().items()
    )
    other = Vocabulary([*vocabulary.words[len(SPECIAL) :], "unheard"])
    assert "other words" in refused(lambda: load_pre_encoder(recipe, other))


def test_a_pre_encoder_of_another_recipe_or_unfinished_is_refused(
    tiny_manifest: Path, tmp_path: Path
):
    settings = {"pretrain__epochs": 1, "train__initial": "pre-encoder"}
    recipe = tiny_recipe(tiny_manifest, tmp_path, **settings)
    vocabulary = read_data(recipe.data, recipe.tags.captions)[-1]
    pretrain(recipe)
    for change, field in (
        ({"pretrain__epochs": 3}, "pretrain.epochs"),
        ({"pretrain__temperature": 0.5}, "pretrain.temperature"),
        ({"data__maximum_seconds": 5.0}, "data.maximum_seconds"),
        ({"seed": 1}, "seed"),
    ):
        other = tiny_recipe(tiny_manifest, tmp_path, **{**settings, **change})
        assert f"{field} differ" in refused(lambda other=other: load_pre_encoder(other, vocabulary))
    captioners = {"train__epochs": 9, "decoder__layers": 1, "licence": "other"}
    assert load_pre_encoder(
        tiny_recipe(tiny_manifest, tmp_path, **settings | captioners), vocabulary
    )
    (tmp_path / "pre-encoder" / "log.jsonl").write_text("")  # as if stopped in its first epoch
    assert "0 of the 1 epochs" in refused(lambda: load_pre_encoder(recipe, vocabulary))


def test_a_pre_encoder_that_is_not_there_is_asked_for(tiny_manifest: Path, tmp_path: Path):
    recipe = tiny_recipe(tiny_manifest, tmp_path, train__initial="pre-encoder")
    assert "auricle pretrain" in refused(lambda: train(recipe))
    assert not (tmp_path / "captioner" / "state").exists()


def test_weights_have_the_mode_of_other_files(tmp_path: Path):
    save_weights(tmp_path / "model.safetensors", {"one": torch.ones(1)})
    (tmp_path / "plain").touch()
    modes = [(tmp_path / name).stat().st_mode for name in ("model.safetensors", "plain")]
    assert modes[0] == modes[1]


def test_mn04_loads_strictly_and_nowhere_else(published: Callable[[str], Path]):
    path = published("corpus/weights/efficientat_mn04/mn04_as_mAP_432.pt")
    model = MobileNet(0.4)
    load_encoder(model, str(path))
    state = load_published(path)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert "does not fit CNN10" in refused(lambda: load_encoder(CNN10(), str(path)))
    assert "of another shape" in refused(lambda: load_encoder(MobileNet(1.0), str(path)))


def test_panns_load_strictly_without_their_front_end(published: Callable[[str], Path]):
    path = published("reference/panns_cnn10/cnn10_random.safetensors")
    model = CNN10()
    load_encoder(model, str(path))
    state = load_published(path)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert "does not fit MobileNet" in refused(lambda: load_encoder(MobileNet(), str(path)))


def test_a_tensor_too_few_or_too_many_is_named():
    model = CNN10(1 / 16)
    state = model.state_dict()
    less = {name: tensor for name, tensor in state.items() if name != "fc1.bias"}
    assert "1 missing (fc1.bias" in refused(lambda: load_strictly(model, less, "x"))
    more = {**state, "stray": torch.zeros(1)}
    assert "1 left over (stray" in refused(lambda: load_strictly(model, more, "x"))


def test_what_is_damaged_is_refused(tmp_path: Path):
    for name, content in (
        ("a.pth", b""),
        ("b.pt", b"no weights"),
        ("c.safetensors", b"\x08"),
        ("d.pth", b"PK\x03\x04"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert refused(lambda path=path: load_published(path)).startswith(
            f"{path}: not a checkpoint of weights: "
        )
    assert "no such weights" in refused(lambda: load_published(tmp_path / "none.pth"))
    assert "cannot be read as weights" in refused(
        lambda: load_weights(tmp_path / "none.safetensors")
    )
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save({"model": {"epoch": 3}}, tmp_path / "more.pth")
    for name in ("list.pth", "more.pth"):
        assert "not a checkpoint" in refused(lambda name=name: load_published(tmp_path / name))


def test_a_name_with_a_published_checksum_must_have_it(tmp_path: Path):
    for name in ("Cnn10_mAP=0.380.pth", "mn04_as_mAP_432.pt"):
        torch.save(CNN10(1 / 16).state_dict(), tmp_path / name)
        assert "fetch it again" in refused(lambda name=name: load_published(tmp_path / name))


class _Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_is_executed(tmp_path: Path):
    torch.save({"model": _Hostile(tmp_path / "executed")}, tmp_path / "hostile.pth")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(_Hostile(tmp_path / "executed")))
    for name in ("hostile.pth", "plain.pt"):
        assert "not a checkpoint" in refused(lambda name=name: load_published(tmp_path / name))
    assert not (tmp_path / "executed").exists()


def pickled(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def test_published_weights_become_safetensors(tmp_path: Path):
    state = CNN10(1 / 16).state_dict()
    files = {
        "a=1.pth": pickled(
            {"model": {**state, "spectrogram_extractor.x": torch.zeros(1)}, "epoch": 3}
        ),
        "names.csv": b"index,name\n",
        "hostile.pth": pickled({"model": _Hostile(tmp_path / "executed")}),
    }
    remotes = {
        name: Remote(name, "", f"sha256:{hashlib.sha256(content).hexdigest()}")
        for name, content in files.items()
    }
    with serving(Server(files)) as server:
        for name in ("a=1.pth", "hostile.pth", "names.csv"):
            remotes[name] = replace(remotes[name], url=f"{server.url}{name}")
        published = Published((remotes["a=1.pth"], remotes["names.csv"]), True, "MIT", "small")
        server.cut = [1000]
        kept = fetch_published("small", tmp_path / "w", published=published)
        assert [path.name for path in kept] == ["small.safetensors", "names.csv"]
        assert sorted(path.name for path in (tmp_path / "w").iterdir()) == [
            "names.csv",
            "small.safetensors",
        ]
        found = load_published(kept[0])
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], state[key]) for key in state)
        with safe_open(kept[0], "pt") as opened:
            assert opened.metadata() == {
                "source": f"{server.url}a=1.pth",
                "checksum": remotes["a=1.pth"].checksum,
                "licence": "MIT",
            }
        asked = len(server.names)
        assert fetch_published("small", tmp_path / "w", published=published) == kept
        assert len(server.names) == asked, "an existing file is not fetched again"

        hostile = replace(published, files=(remotes["hostile.pth"],))
        assert "not a checkpoint of weights" in refused(
            lambda: fetch_published("x", tmp_path / "w", published=hostile)
        )
        assert not (tmp_path / "executed").exists()
        assert not (tmp_path / "w" / "x.safetensors").exists()

        tokenizer = replace(published, files=(remotes["names.csv"],), weights=False)
        kept = fetch_published("tokens", tmp_path / "t", published=tokenizer, mirror=server.url)
        assert kept == [tmp_path / "t" / "tokens" / "names.csv"]


def test_published_checksums_are_those_of_the_files_at_hand(published: Callable[[str], Path]):
    remotes = {file.name: file for each in PUBLISHED.values() for file in each.files}
    for name in (
        "weights/efficientat_mn04/mn04_as_mAP_432.pt",
        "audioset/class_labels_indices.csv",
    ):
        path = published(f"corpus/{name}")
        assert (
            remotes[path.name].checksum == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        )


def test_pickled_and_safe_checkpoints_are_read_alike(tmp_path: Path):
    state = CNN10(1 / 16).state_dict()
    torch.save(
        {"model": {**state, "spectrogram_extractor.stft.conv_real.weight": torch.zeros(1)}},
        tmp_path / "a.pth",
    )
    torch.save(state, tmp_path / "b.pt")
    save_file(state, tmp_path / "c.safetensors")
    for name in ("a.pth", "b.pt", "c.safetensors"):
        found = load_published(tmp_path / name)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], state[key]) for key in state)


def test_finished_weights_keep_vectors_whole(tmp_path: Path):
    state = CNN10(1 / 16).to(memory_format=torch.channels_last).state_dict()  # type: ignore[call-overload]
    save_weights(tmp_path / "model.safetensors", halve(state))
    found = load_weights(tmp_path / "model.safetensors")
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == (torch.float16 if tensor.dim() > 1 else tensor.dtype)
        torch.testing.assert_close(found[name].to(tensor.dtype), tensor, rtol=1e-3, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_memory_of_a_frozen_encoder_begins_as_varied_as_words(scale: float):
    model, spectrograms = captioner_and_sounds(scale)
    model.freeze_encoder()
    standardise_bridge(model, spectrograms)
    with torch.inference_mode():
        features = torch.cat(
            [model.encoder(torch.from_numpy(spectrogram)[None])[0] for spectrogram in spectrograms]
        )
        memory = model.bridge(features)
    assert memory.square().mean().item() == pytest.approx(1, abs=1e-3)
    assert memory.mean(0).abs().max() < 1e-3


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_memory_of_an_encoder_that_learns_begins_so_too(scale: float):
    model, spectrograms = captioner_and_sounds(scale)
    was = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    standardise_bridge(model, spectrograms)
    assert all(tensor.equal(was[name]) for name, tensor in model.encoder.state_dict().items())
    batch = torch.stack([torch.from_numpy(spectrogram[:64]) for spectrogram in spectrograms])
    # batch norms take their statistics from the batch, as they do in training
    with torch.no_grad():
        memory = model.train().bridge(model.encoder(batch))
    assert 0.5 < memory.square().mean().item() < 2


def captioner_and_sounds(scale: float) -> tuple[CaptioningModel, list[np.ndarray]]:
    torch.manual_seed(0)
    model = CaptioningModel(EncoderConfig("cnn10", 1 / 16), DecoderConfig(16, 1, 2, 16), 9)
    with torch.no_grad():
        model.bridge.weight *= scale
    return model, [made_log_mel(number) for number in range(20)]


def made_log_mel(number: int) -> np.ndarray:
    return (
        np.random.default_rng(number)
        .normal(number % 5, 1 + number % 3, (64 + number, 64))
        .astype(np.float32)
    )
