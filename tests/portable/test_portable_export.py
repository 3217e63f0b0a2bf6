"""A portable folder is complete: a port that reads nothing else says the same."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from port import Port

from auricle.captioning.captioner import Captioner, load
from auricle.checkpoint.config import CheckpointConfig, DecoderConfig, EncoderConfig
from auricle.checkpoint.folder import Checkpoint, save_checkpoint
from auricle.checkpoint.vocabulary import Vocabulary
from auricle.errors import AuricleError
from auricle.portable.folder import export_portable
from auricle.portable.front_end_graph import front_end_graph
from auricle.sound.decode import load_audio
from auricle.sound.features import FRONT_ENDS, FrontEnd, log_mel
from commands import Run
from sounds import chirp, tone

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.wav"))
pytest.importorskip("onnx", reason="a portable folder is made with onnx (extra portable)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model's portable folder."""
    return export_portable(Path("embedded"), tmp_path_factory.mktemp("portable") / "folder")


@pytest.fixture(scope="module")
def port(folder: Path) -> Port:
    """A captioner that reads only the folder."""
    return Port(folder)


@pytest.fixture(scope="module")
def embedded() -> Captioner:
    return load()


def vectors() -> list[str]:
    return [
        "silence",
        "click",
        "two beeps",
        "five beeps",
        "noise",
        "rising noise",
        "siren",
        "noise and tone",
        "noise, then siren",
        "siren, then noise",
    ]


def vector(folder: Path, name: str) -> Any:
    known = json.loads((folder / "test_vectors.json").read_text("utf-8"))
    assert sorted(one["name"] for one in known) == sorted(vectors())
    return next(one for one in known if one["name"] == name)


@pytest.mark.parametrize("name", vectors())
def test_the_port_agrees_with_each_step_of_a_test_vector(folder: Path, port: Port, name: str):
    expected = vector(folder, name)
    samples = port.array(expected["samples"]).astype(np.float32) / 32768
    assert port.is_silent(samples) == expected["silent"]
    assert port.caption(samples) == expected["text"]
    if expected["silent"]:
        return
    found = port.describe(samples)
    np.testing.assert_allclose(found.log_mel, port.array(expected["log_mel"]), atol=1e-4)
    np.testing.assert_allclose(
        found.probabilities, port.array(expected["probabilities"]), atol=1e-3
    )
    assert found.relation == expected["relation"]
    assert [(event.index, event.repetition, event.trend) for event in found.events] == [
        (event["class"], event["repetition"], event["trend"]) for event in expected["events"]
    ]
    assert found.tokens == expected["tokens"]
    assert found.alternatives == expected["alternatives"]
    assert found.confidence == pytest.approx(expected["confidence"], abs=1e-3)


def test_the_vectors_lead_to_every_relation(folder: Path):
    relations = {vector(folder, name).get("relation") for name in vectors()}
    assert relations == {None, "single", "while", "then"}


def test_the_port_says_the_same_of_the_examples(port: Port, embedded: Captioner):
    for path in EXAMPLES:
        samples = load_audio(path, embedded.rate)
        assert port.caption(samples) == embedded.caption_samples(samples).text


def test_the_port_says_the_same_of_real_sounds(port: Port, embedded: Captioner, shared: Path):
    files = sorted((shared / "corpus" / "audio").rglob("*.ogg"))
    for path in files[:: len(files) // 8]:
        samples = load_audio(path, embedded.rate)[: 30 * embedded.rate]
        assert port.caption(samples) == embedded.caption_samples(samples).text, path.name


def hard_sounds(front_end: FrontEnd) -> list[np.ndarray]:
    """Noise, a loud tone next to faint bands, silence; short, uneven and longer ones."""
    rate = front_end.rate
    rng = np.random.default_rng(0)
    return [
        np.zeros(1, np.float32),
        rng.normal(0, 0.1, rate // 7).astype(np.float32),
        tone(1, 440, rate, amplitude=1.0),
        tone(1.0003, 50, rate, amplitude=1.0),
        chirp(2.71, 20, rate / 2, rate),
        rng.normal(0, 1e-4, 3 * rate + 17).astype(np.float32),
        np.zeros(2 * rate, np.float32),
    ]


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_the_graph_of_a_front_end_equals_ours(name: str):
    import onnxruntime

    front_end = FRONT_ENDS[name]
    network = onnxruntime.InferenceSession(front_end_graph(front_end).SerializeToString())
    tolerance = 0.1 if front_end.logarithm == "decibel" else 1e-4
    for samples in hard_sounds(front_end):
        (found,) = network.run(None, {"samples": samples[None]})
        np.testing.assert_allclose(
            np.asarray(found)[0], log_mel(samples, front_end), rtol=0, atol=tolerance
        )


def test_the_command_writes_the_folder_and_refuses_to_mix_it_with_other_files(
    auricle: Run, tmp_path: Path, folder: Path
):
    target = tmp_path / "new"
    target.mkdir()  # an empty folder is fine
    assert auricle("export", "embedded", "--portable", target).out == f"{target}\n"
    assert {path.name for path in target.iterdir()} == {path.name for path in folder.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    before = (target / "model.json").stat().st_mtime_ns
    done = auricle("export", "embedded", "--portable", target)
    assert done.code == 1
    assert done.err == f"auricle: {target} is not empty: name a new folder\n"
    assert (target / "model.json").stat().st_mtime_ns == before


def test_nothing_is_left_where_the_export_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("auricle.portable.folder.write_vectors", fail)
    with pytest.raises(OSError, match="No space"):
        export_portable(Path("embedded"), tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_words_no_events_is_refused(tmp_path: Path):
    source = tmp_path / "paper"
    config = CheckpointConfig(2, "paper", EncoderConfig(), DecoderConfig())
    save_checkpoint(Checkpoint(source, config, Vocabulary(["rain"])))
    with pytest.raises(AuricleError, match=r"does not word events: only captioners like"):
        export_portable(source, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_missing_onnx_is_one_line_and_torch_is_not_needed(tmp_path: Path):
    without = "import sys; sys.modules.update(onnx=None, torch=None)"
    run = "from auricle.cli.main import main; main()"
    command = [sys.executable, "-c", f"{without}; {run}", "export", "embedded"]
    done = subprocess.run(
        [*command, "--portable", tmp_path / "folder"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "auricle: onnx is not installed: pip install 'auricle[portable]'\n"
    torchless = [part.replace("onnx=None, ", "") for part in command]
    done = subprocess.run(
        [*torchless, "--portable", tmp_path / "folder"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_specification_has_no_path_of_this_machine(folder: Path):
    for name in ("model.json", "test_vectors.json", "classes.json"):
        assert not re.search(r"/(home|root|tmp|work)/", (folder / name).read_text("utf-8"))
