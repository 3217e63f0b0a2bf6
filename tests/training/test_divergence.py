"""A training whose numbers are not finite stops, keeps the weights of before, and says so."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from tiny import tiny_recipe

from auricle.checkpoint.folder import load_checkpoint
from auricle.errors import AuricleError
from auricle.training import pretrain as pretrain_module
from auricle.training import run as run_module
from auricle.training import train as train_module
from auricle.training.config import Recipe
from auricle.training.export import load_model
from auricle.training.pretrain import pretrain
from auricle.training.train import train
from auricle.training.weights import load_weights
from commands import Run


@pytest.fixture(autouse=True)
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were exported, and no curves."""
    folders: list[Path] = []
    monkeypatch.setattr(train_module, "export_onnx", folders.append)
    monkeypatch.setattr(run_module, "draw_curves", lambda *_: None)
    return folders


def spoil(monkeypatch: pytest.MonkeyPatch, module: object, function: str, call: int) -> None:
    """Multiplies what a function returns by NaN from its call number `call` on, in training."""
    real: Callable[..., object] = getattr(module, function)
    calls = 0

    def spoilt(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        return real(*arguments, **options) * (1.0 if calls < call else float("nan"))  # type: ignore[operator]

    monkeypatch.setattr(module, function, spoilt)


def log(folder: Path) -> list[dict[str, float]]:
    """The lines of a log, which must be JSON as others read it."""

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    lines = (folder / "log.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def small(manifest: Path, output: Path, **changes: object) -> Recipe:
    """Three epochs of three steps each, without further sounds or captions."""
    plain = {"captions_per_epoch": 1, "front_end": "panns", "manifest": str(manifest)}
    plain["valid"] = ["valid"]
    changes = {"train__ema": 0.0, "train__texts_per_batch": 0, **changes}
    return tiny_recipe(manifest, output, data=plain, pretrain__texts_per_batch=0, **changes)


@pytest.mark.parametrize("keep", ["last", "best_loss"])
def test_a_loss_that_is_no_number_ends_the_training(
    keep: str,
    tiny_manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exported: list[Path],
):
    recipe = small(tiny_manifest, tmp_path / "run", train__keep=keep)
    spoil(monkeypatch, train_module, "word_loss", 5)
    with pytest.raises(AuricleError) as error:
        train(recipe)
    message = str(error.value)
    assert "the loss is nan in epoch 2, step 2" in message
    assert f"{recipe.captioner_folder} holds the weights of an earlier epoch" in message
    assert "--set train.learning_rate=0.0001 or --set train.clip=1" in message
    assert exported == []
    assert [line["epoch"] for line in log(recipe.captioner_folder)] == [1]
    folder = recipe.captioner_folder
    kept = load_weights(folder / "model.safetensors")
    for name, tensor in load_weights(folder / "state/epoch-0001/model.safetensors").items():
        assert torch.equal(kept[name], tensor.to(kept[name].dtype)), name
    load_model(load_checkpoint(folder))  # which `auricle export` takes


def test_a_first_step_that_fails_leaves_no_weights(
    tiny_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: list[Path]
):
    recipe = small(tiny_manifest, tmp_path / "run")
    spoil(monkeypatch, pretrain_module, "contrastive_loss", 1)
    with pytest.raises(
        AuricleError, match=r"epoch 1, step 1\. In another .*pretrain\.learning_rate"
    ):
        pretrain(recipe)
    assert not list(recipe.pre_encoder_folder.rglob("*.safetensors"))
    assert exported == []


def test_a_measure_that_is_no_number_ends_the_training(
    tiny_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = small(tiny_manifest, tmp_path / "run", train__keep="best_loss")
    spoil(monkeypatch, train_module, "validation_loss", 2)
    with pytest.raises(AuricleError, match="valid_loss is nan after epoch 2"):
        train(recipe)
    assert len(log(recipe.captioner_folder)) == 1


def test_weights_that_are_no_numbers_end_the_training(tiny_manifest: Path, tmp_path: Path):
    # One step, whose loss is finite, leads out of half precision.
    changes: dict[str, object] = {"pretrain__monitor": "loss"}
    changes |= {"train__learning_rate": 1e30, "train__schedule": "paper", "train__batch_size": 16}
    recipe = small(tiny_manifest, tmp_path / "run", **changes)
    recipe = replace(recipe, data=replace(recipe.data, valid=()))
    with pytest.raises(AuricleError, match=r"weights of \S+ are not finite after epoch 1"):
        train(recipe)


def test_the_command_fails_with_one_line(auricle: Run, tiny_manifest: Path, tmp_path: Path):
    recipe = small(tiny_manifest, tmp_path / "run", train__learning_rate=1e30)
    path = tmp_path / "recipe.toml"
    path.write_text(toml(asdict(recipe)), "utf-8")
    result = auricle("train", path)
    assert result.code == 1
    assert result.out == ""
    last = result.err.splitlines()[-1]
    assert last.startswith("auricle: training stopped: the loss is ")
    assert "--set train.learning_rate=1e+29" in last


def toml(table: dict[str, object], at: str = "") -> str:
    """Writes a table as TOML; a value of None is left out."""
    plain = {name: value for name, value in table.items() if not isinstance(value, dict)}
    lines = [f"[{at}]"] if at else []
    lines += [f"{name} = {json.dumps(value)}" for name, value in plain.items() if value is not None]
    for name, value in table.items():
        if isinstance(value, dict):
            lines.append(toml(value, f"{at}.{name}" if at else name))
    return "\n".join(lines)
