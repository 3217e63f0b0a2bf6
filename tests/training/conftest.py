"""Training is tested where torch is installed."""

from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("torch") and find_spec("accelerate") else ["test_*.py"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or touches the user's cache."""
    monkeypatch.setenv("AURICLE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _made_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags are read off captions without a language model."""
    from tiny import made_tags

    monkeypatch.setattr("auricle.training.prepare.read_tags", made_tags)


@pytest.fixture(scope="session")
def tiny_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen made sounds of about a second with two captions each, twelve to learn from and four
    to select by.

    Next to it are the names of tags, and captions without sound.
    """
    from tiny import write_data

    return write_data(tmp_path_factory.mktemp("tiny-data"))
