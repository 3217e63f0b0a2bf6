"""A server with the embedded model, for as long as tests need it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from auricle.captioning.captioner import Captioner, load
from auricle.serving.limits import Limits
from auricle.sound.decode import load_audio
from server import EXAMPLES, Server, serving
from sounds import tone, write_wav


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One with usual limits."""
    with serving(Limits(jobs=2)) as running:
        yield running


@pytest.fixture(scope="session")
def embedded() -> Captioner:
    """What the server captions with."""
    return load()


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute and more of different sounds."""
    samples = np.concatenate([load_audio(path, 32_000) for path in sorted(EXAMPLES.glob("*.wav"))])
    return write_wav(
        tmp_path_factory.mktemp("scene") / "scene.wav", np.resize(samples, 34 * 32_000), 32_000
    )


@pytest.fixture(scope="session")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour of sound, which takes longer than a test waits."""
    samples = np.resize(tone(1, 440, 4_000), 3_600 * 4_000)
    return write_wav(tmp_path_factory.mktemp("hour") / "hour.wav", samples, 4_000)
