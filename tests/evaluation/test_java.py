import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from auricle.evaluation import java as module
from auricle.evaluation.java import JavaError, MissingJavaError, find_java, run_java

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="stands in for java with a shell script"
)


@pytest.fixture
def fake_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a script the Java of JAVA_HOME."""

    def make(script: str) -> str:
        path = tmp_path / "bin" / "java"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        module._version.cache_clear()
        return str(path)

    return make


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "1.8.0_392"', 8),
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "25" 2025', 25),
    ],
)
def test_versions_are_read(fake_java: Callable[[str], str], said: str, version: int) -> None:
    path = fake_java(f"echo '{said}' >&2")
    assert find_java(version) == path
    with pytest.raises(
        MissingJavaError, match=f"is Java {version}: install Java {version + 1} or newer"
    ):
        find_java(version + 1)


def test_what_is_no_java(
    fake_java: Callable[[str], str],
    without_java: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_java("echo 'no Java runtime present'; exit 1")
    with pytest.raises(
        MissingJavaError, match="printed 'no Java runtime present': install Java 17"
    ):
        find_java()
    without_java(monkeypatch)
    with pytest.raises(MissingJavaError, match=r"not installed .*JAVA_HOME not set"):
        find_java()


def test_a_failure_is_told_by_its_cause(fake_java: Callable[[str], str]) -> None:
    fake_java("""[ "$1" = -version ] && { echo 'openjdk version "21"' >&2; exit; }
echo 'some chatter' >&2
echo 'java.lang.OutOfMemoryError: Java heap space' >&2
echo '  at Main.main(1)' >&2; exit 1""")
    with pytest.raises(
        JavaError, match=r"exit status 1: java.lang.OutOfMemoryError: Java heap space$"
    ):
        run_java(["-jar", "x.jar"])
