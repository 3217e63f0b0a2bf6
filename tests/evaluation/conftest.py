"""Captions with known scores, and the programs that score them, or a reason to skip."""

import ast
import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from auricle.evaluation import install as install_module
from auricle.evaluation import meteor
from auricle.evaluation.install import install
from auricle.evaluation.java import MissingJavaError, find_java

SHARED = Path(__file__).parents[3] / "shared"
# The published columns' names for our keys.
PUBLISHED = "best_fense.cands."


@dataclass(frozen=True)
class System:
    """One system's captions of Clotho evaluation, and what was published of them."""

    candidates: dict[str, str]
    references: dict[str, tuple[str, ...]]
    published: dict[str, dict[str, float]]  # by file, by key
    corpus: dict[str, float]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or touches the user's cache."""
    monkeypatch.setenv("AURICLE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def java() -> str:
    """A Java that runs every metric."""
    try:
        return find_java(17)
    except MissingJavaError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def without_java(tmp_path_factory: pytest.TempPathFactory) -> Callable[[pytest.MonkeyPatch], None]:
    """Hides Java for a test."""
    empty = tmp_path_factory.mktemp("no-java")

    def hide(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(empty))
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setattr(meteor, "_running", {})

    return hide


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Finds a file of the reference data next to the repository, or skips."""

    def find(name: str) -> Path:
        if not (SHARED / name).exists():
            pytest.skip(f"no {name} in ../shared: it is not part of the project")
        return SHARED / name

    return find


@pytest.fixture(scope="session")
def system(shared: Callable[[str], Path]) -> System:
    """1,045 captions of a published system with their published scores."""
    with shared("reference/metrics/conette_outputs_clotho_eval.csv").open(
        encoding="utf-8", newline=""
    ) as file:
        rows = list(csv.DictReader(file))
    corpus = {}
    scores = shared("reference/metrics/conette_scores_clotho_eval.yaml").read_text(encoding="utf-8")
    for line in scores.splitlines():
        key, value = line.rsplit(": ", 1)
        if key.startswith(f"clotho_eval/{PUBLISHED}"):
            corpus[key.removeprefix(f"clotho_eval/{PUBLISHED}")] = float(value)
    return System(
        candidates={row["fname"]: row["cands"] for row in rows},
        references={row["fname"]: tuple(ast.literal_eval(row["mrefs"])) for row in rows},
        published={
            row["fname"]: {
                key.removeprefix(PUBLISHED): float(value)
                for key, value in row.items()
                if key.startswith(PUBLISHED)
            }
            for row in rows
        },
        corpus=corpus,
    )


@pytest.fixture(scope="session")
def clotho(shared: Callable[[str], Path]) -> dict[str, tuple[str, ...]]:
    """The captions of Clotho evaluation."""
    from auricle.evaluation.captions import read_references

    return read_references(shared("corpus/captions/clotho_v2.1/clotho_captions_evaluation.csv"))


@pytest.fixture(scope="session")
def spice_cache(
    java: str, shared: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A cache with SPICE in it, installed from jars at hand."""
    del java
    jars = shared("reference/spice/jars")
    cache = tmp_path_factory.mktemp("spice")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AURICLE_CACHE", str(cache))
        install(jars)
    return cache


@pytest.fixture
def installed(spice_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SPICE is installed, for one test."""
    monkeypatch.setenv("AURICLE_CACHE", str(spice_cache))
    return spice_cache


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `install` neither train its model nor try SPICE, which takes 12 s of processor time."""
    monkeypatch.setattr(install_module, "_add_entities", lambda _: None)
    monkeypatch.setattr(install_module, "run_spice", lambda *_: [0.5])
