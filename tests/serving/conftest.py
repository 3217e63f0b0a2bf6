"""A server with the embedded model, for as long as tests need it."""

from collections.abc import Iterator

import pytest

from auricle.captioning.captioner import Captioner, load
from auricle.serving.limits import Limits
from server import Server, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One with usual limits."""
    with serving(Limits(jobs=2)) as running:
        yield running


@pytest.fixture(scope="session")
def embedded() -> Captioner:
    """What the server captions with."""
    return load()
