"""Fixtures of several modules: the reference data next to the repository, and a small model to
caption with."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from auricle.captioning.captioner import Captioner, load
from auricle.checkpoint.config import BeamOptions, CheckpointConfig, DecoderConfig, EncoderConfig
from auricle.checkpoint.folder import Checkpoint, load_checkpoint, save_checkpoint
from auricle.checkpoint.vocabulary import Vocabulary
from auricle.sound.features import FRONT_ENDS, log_mel
from commands import Run, runner
from sounds import chirp

WORDS = (
    "a the is in of and dog bird rain wind engine bell siren clock barks sings falls blows idles "
    "rings wails ticks while"
)
SLOW_FOLDERS = ("evaluation", "training", "soak", "bulk", "serving")


def pytest_configure() -> None:
    """One thread does for networks this small, and many would wait for each other where the machine
    is busy."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starts with the slow folders, so that no process is left with a slow file at the end."""
    items.sort(key=lambda item: item.path.parent.name not in SLOW_FOLDERS)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data, next to the repository and no part of it."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} is not there")
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of a small CNN10 captioner at random weights, exported, that says other
    things of other sounds."""
    return made_once(tmp_path_factory, "tiny", small_checkpoint)


@pytest.fixture(scope="session")
def tiny_guided_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint too, but guided by tags and with a space in which sounds and sentences can
    be compared."""
    return made_once(tmp_path_factory, "guided", partial(small_checkpoint, tags=4, space=8))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Makes a folder that the processes of a test run share: an export takes seconds."""
    if sys.platform == "win32" or "PYTEST_XDIST_WORKER" not in os.environ:
        make(folder := factory.mktemp(name) / name)
        return folder
    import fcntl

    folder = factory.getbasetemp().parent / name
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make(part := folder.with_suffix(".part"))
            part.rename(folder)
    return folder


def small_checkpoint(folder: Path, *, tags: int = 0, space: int = 0) -> Path:
    """Makes the folder of a small captioner at random weights."""
    torch = pytest.importorskip(
        "torch", reason="a checkpoint is made with torch: pip install 'auricle[train]'"
    )
    from auricle.models.captioning import CaptioningModel
    from auricle.models.cnn10 import CNN10
    from auricle.training.export import export_onnx
    from auricle.training.weights import halve, save_weights

    config = CheckpointConfig(
        format=1,
        front_end="panns",
        encoder=EncoderConfig("cnn10", 1 / 16),
        decoder=DecoderConfig(width=16, layers=2, heads=2, feedforward=32, dropout=0.1, tags=tags),
        decoding=BeamOptions(beam=3, max_length=12),
        space=space,
        licence="none: random numbers",
    )
    vocabulary = Vocabulary(WORDS.split())
    names = tuple(f"class {number}" for number in range(527)) if tags else ()
    save_checkpoint(Checkpoint(folder, config, vocabulary, names))
    noise = np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32)
    sound = np.concatenate([chirp(2, 100, 8_000, 32_000), noise, np.zeros(64_000, np.float32)])
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = CaptioningModel(config.encoder, config.decoder, len(vocabulary), space).eval()
        assert isinstance(model.encoder, CNN10)
        assert model.decoder.output is not None
        level = model.encoder.bn0.state_dict()  # tensors shared with the layer
        level["running_mean"].fill_(-30)
        level["running_var"].fill_(900)
        # At random weights a decoder says the same of every sound, unless what it hears varies and
        # weighs much.
        features = model.encoder(torch.from_numpy(log_mel(sound, FRONT_ENDS["panns"]))[None])[0]
        model.bridge.weight *= 3 / features.std(0).mean()
        model.bridge.bias.copy_(-model.bridge.weight @ features.mean(0))
        model.decoder.output.weight *= 3
    fingerprints = load_checkpoint(folder).fingerprints()
    save_weights(folder / "model.safetensors", halve(model.state_dict()), fingerprints.metadata())
    export_onnx(folder)
    return folder


@pytest.fixture
def auricle(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process."""
    return runner(monkeypatch, capsys)


@pytest.fixture(scope="session")
def captioner(tiny_checkpoint: Path) -> Captioner:
    """The small model, ready to caption."""
    return load(tiny_checkpoint)


@pytest.fixture(scope="session")
def guided(tiny_guided_checkpoint: Path) -> Captioner:
    """The small model that is guided by tags, ready to caption."""
    return load(tiny_guided_checkpoint)
