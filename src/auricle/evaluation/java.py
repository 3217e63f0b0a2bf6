"""Java, which METEOR, SPICE and the PTB tokenizer are written in: found, its version checked,
run.
"""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from auricle.errors import AuricleError

OLDEST = 8
OLDEST_FOR_SPICE = 17
# METEOR reads and writes numbers by the locale of its user; a comma for the point would break it.
LOCALE = ("-Duser.country=US", "-Duser.language=en", "-Dfile.encoding=UTF-8")


class MissingJavaError(AuricleError):
    """No usable Java; the message says what was looked for."""


class JavaError(AuricleError):
    """A Java program that did not do what it was run for."""


@functools.cache
def _version(java: str) -> int:
    """The major version of the Java at this path: 17 for `17.0.15`, 8 for `1.8.0_392`."""
    try:
        answer = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingJavaError(
            f"{java} cannot be run ({error}): install Java {OLDEST_FOR_SPICE} or newer"
        ) from error
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    if answer.returncode != 0 or found is None:
        said = " ".join((answer.stderr + answer.stdout).split())[:120]
        raise MissingJavaError(
            f"{java} -version said {said!r}: install Java {OLDEST_FOR_SPICE} or newer"
        )
    return int(found[1])


def find_java(oldest: int = OLDEST) -> str:
    """The path of `$JAVA_HOME/bin/java` or of `java` on the PATH; MissingJavaError if neither is
    new enough.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    java = java or shutil.which("java")
    if java is None:
        raise MissingJavaError(
            f"Java is not installed (no `java` on the PATH, JAVA_HOME {'holds none' if home else 'not set'}): "
            f"install Java {OLDEST_FOR_SPICE} or newer"
        )
    version = _version(java)
    if version < oldest:
        raise MissingJavaError(
            f"{java} is Java {version}, {oldest} or newer is wanted: install it or set JAVA_HOME"
        )
    return java


def run_java(arguments: Sequence[str], *, oldest: int = OLDEST, folder: Path | None = None) -> str:
    """Run Java to its end in `folder` and return what it printed; JavaError with the cause if it
    failed.
    """
    command = [find_java(oldest), *LOCALE, *arguments]
    done = subprocess.run(command, capture_output=True, cwd=folder, check=False)
    if done.returncode != 0:
        raise JavaError(f"Java failed with exit status {done.returncode}: {_cause(done.stderr)}")
    return done.stdout.decode("utf-8")


def _cause(stderr: bytes) -> str:
    """The line of a stack trace that names the exception, or the last words before the end."""
    lines = [
        line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()
    ]
    named = [
        line
        for line in lines
        if re.search(r"(Exception|Error)\b", line) and not line.startswith("at ")
    ]
    return (named or lines or ["it said nothing"])[-1][:300]
