"""A training that was killed and resumed equals one that never stopped, bit for bit."""

import json
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import run_stage, start, tiny_recipe

from auricle.checkpoint.fingerprints import Fingerprints
from auricle.checkpoint.vocabulary import Vocabulary
from auricle.errors import AuricleError
from auricle.training.config import Recipe
from auricle.training.pretrain import pretrain
from auricle.training.run import Run
from auricle.training.weights import load_weights

FOLDERS = {"pretrain": "pre-encoder", "train": "captioner", "scst": "scst"}


def finish(
    stage: str, recipe: object, *, resume: bool = False, die_at: tuple[int, int] | None = None
) -> int | None:
    process = start(run_stage, stage, recipe, resume, die_at)
    process.join(120)
    return process.exitcode


def outcome(output: Path, stage: str) -> tuple[bytes, list[dict[str, Any]], set[str]]:
    """Weights, log without times, and the names of what there is."""
    folder = output / FOLDERS[stage]
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for line in log:
        del line["seconds"], line["waiting"]
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return (folder / "model.safetensors").read_bytes(), log, names


@pytest.fixture(scope="module", params=["pretrain", "train", "scst"])
def unbroken(
    request: pytest.FixtureRequest, tiny_manifest: Path, tmp_path_factory: pytest.TempPathFactory
):
    """A stage and the folder of a training that never stopped."""
    output = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AURICLE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        if request.param == "scst":
            assert finish("train", tiny_recipe(tiny_manifest, output)) == 0
        assert finish(request.param, tiny_recipe(tiny_manifest, output)) == 0
    return request.param, output


def begun(folder: Path, recipe: Recipe, *, resume: bool) -> Run:
    vocabulary = Vocabulary(["dog"])
    fingerprints = Fingerprints(vocabulary=vocabulary.fingerprint())
    return Run(folder, recipe, vocabulary, fingerprints, resume=resume, main=True)


def follow(stage: str, unbroken: Path, output: Path) -> None:
    """Puts what a stage begins with where another training of it will look."""
    if stage == "scst":
        shutil.copytree(unbroken / "captioner", output / "captioner")


def test_killed_in_the_middle_of_an_epoch(
    unbroken: tuple[str, Path], tiny_manifest: Path, tmp_path: Path
):
    stage, output = unbroken
    follow(stage, output, tmp_path)
    recipe = tiny_recipe(tiny_manifest, tmp_path)
    assert finish(stage, recipe, die_at=(1, 2)) == -signal.SIGKILL
    assert (tmp_path / FOLDERS[stage] / "log.jsonl").read_text().count("\n") == 1
    assert finish(stage, recipe, resume=True) == 0
    assert outcome(tmp_path, stage) == outcome(output, stage)


def test_killed_before_the_first_epoch_ends(
    unbroken: tuple[str, Path], tiny_manifest: Path, tmp_path: Path
):
    stage, output = unbroken
    follow(stage, output, tmp_path)
    recipe = tiny_recipe(tiny_manifest, tmp_path)
    assert finish(stage, recipe, die_at=(0, 2)) == -signal.SIGKILL
    assert finish(stage, recipe) == 0  # nothing to lose, so nothing to resume
    assert outcome(tmp_path, stage) == outcome(output, stage)


def test_killed_at_any_moments(unbroken: tuple[str, Path], tiny_manifest: Path, tmp_path: Path):
    stage, output = unbroken
    follow(stage, output, tmp_path)
    recipe = tiny_recipe(tiny_manifest, tmp_path)
    rng, kills = random.Random(stage), 0
    for attempt in range(4):
        process = start(run_stage, stage, recipe, True, None)
        process.join(rng.uniform(0.1, 0.6) + attempt / 4)
        if process.exitcode == 0:
            break
        process.kill()
        process.join(60)
        kills += 1
    else:
        assert finish(stage, recipe, resume=True) == 0
    assert kills
    weights, log, _ = outcome(tmp_path, stage)
    assert (weights, log) == outcome(output, stage)[:2]  # what was half-written may lie about


def test_resuming_what_is_finished_changes_nothing(unbroken: tuple[str, Path], tiny_manifest: Path):
    stage, output = unbroken
    before = outcome(output, stage)
    assert finish(stage, tiny_recipe(tiny_manifest, output), resume=True) == 0
    assert outcome(output, stage) == before


def test_seeds_differ(unbroken: tuple[str, Path], tiny_manifest: Path, tmp_path: Path):
    stage, output = unbroken
    follow(stage, output, tmp_path)
    assert (
        finish(stage, tiny_recipe(tiny_manifest, tmp_path, seed=1, **{f"{stage}__epochs": 1})) == 0
    )
    assert outcome(tmp_path, stage)[1][0] != outcome(output, stage)[1][0]


def test_a_training_is_not_begun_over_another(unbroken: tuple[str, Path], tiny_manifest: Path):
    stage, output = unbroken
    before = outcome(output, stage)
    folder = output / FOLDERS[stage]
    with pytest.raises(AuricleError, match="holds a training: add --resume"):
        begun(folder, tiny_recipe(tiny_manifest, output), resume=False)
    other = tiny_recipe(tiny_manifest, output, seed=5, train__epochs=9, pretrain__patience=3)
    with pytest.raises(AuricleError, match=r"another recipe: pretrain\.patience, seed differ"):
        begun(folder, other, resume=True)
    assert outcome(output, stage) == before


def test_more_epochs_may_follow(tiny_manifest: Path, tmp_path: Path):
    """The plateau schedule of pre-training does not depend on the number of epochs."""
    whole, two, three = (
        tiny_recipe(tiny_manifest, tmp_path / folder, pretrain__epochs=epochs)
        for folder, epochs in (("whole", 3), ("parts", 2), ("parts", 3))
    )
    assert finish("pretrain", whole) == finish("pretrain", two) == 0
    assert finish("pretrain", three, resume=True) == 0
    parts, unbroken = (
        load_weights(tmp_path / name / "pre-encoder" / "model.safetensors")
        for name in ("parts", "whole")
    )
    assert all(torch.equal(parts[name], tensor) for name, tensor in unbroken.items())
    logs = [outcome(tmp_path / name, "pretrain")[1] for name in ("parts", "whole")]
    assert logs[0] == logs[1]
    with pytest.raises(AuricleError, match="has had 3 epochs, more than the 2"):
        pretrain(two, resume=True)


def test_the_stages_themselves_refuse(tiny_manifest: Path, tmp_path: Path):
    recipe = tiny_recipe(tiny_manifest, tmp_path, pretrain__epochs=1)
    pretrain(recipe)
    with pytest.raises(AuricleError, match="add --resume"):
        pretrain(recipe)


def test_the_scale_of_fp16_is_resumed(tmp_path: Path, tiny_manifest: Path):
    recipe, layer = tiny_recipe(tiny_manifest, tmp_path), torch.nn.Linear(2, 2)
    optimizer, scaler = torch.optim.SGD(layer.parameters()), torch.amp.GradScaler("cpu")
    run = begun(tmp_path, recipe, resume=False)
    run.state.scaler = scaler.state_dict() | {"scale": 1024.0, "_growth_tracker": 7}
    run.end_epoch({"loss": 1.0}, {"model": layer}, optimizer)
    again = begun(tmp_path, recipe, resume=True)
    again.restore({"model": layer}, optimizer)
    scaler.load_state_dict(again.state.scaler)
    assert (scaler.get_scale(), scaler._get_growth_tracker()) == (1024.0, 7)


def test_what_was_killed_as_it_tidied_up_is_tidied_up(tmp_path: Path, tiny_manifest: Path):
    recipe, layer = tiny_recipe(tiny_manifest, tmp_path), torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), momentum=0.9)
    run = begun(tmp_path, recipe, resume=False)
    run.end_epoch({"loss": 1.0}, {"model": layer}, optimizer)
    log = (tmp_path / "log.jsonl").read_text()
    (tmp_path / "log.jsonl").unlink()
    for left in ("epoch-0000", "epoch-0002.part"):
        (tmp_path / "state" / left).mkdir()
    begun(tmp_path, recipe, resume=True).restore({"model": layer}, optimizer)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["epoch-0001"]
    assert (tmp_path / "log.jsonl").read_text() == log
