"""Whether a wheel holds what it should, and captions on every Python that it is declared for.

    python -m build && python scripts/check_wheel.py dist/*.whl

Pythons are looked for on the PATH and among pyenv's; one that is not here is named, and passed
over. On the first, the lowest versions that the wheel allows of what it requires are tried as well.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).parents[1]
MOST_BYTES = 15_000_000
CLASSIFIER = "Programming Language :: Python :: "
EXPECTED_FILES = {
    *("auricle/py.typed", "auricle/configs/paper.toml", "auricle/serving/page/index.html"),
    *("auricle/serving/page/examples/bell.wav", "auricle/evaluation/report.html"),
    *(
        f"auricle/checkpoint/embedded/{name}"
        for name in ("config.json", "vocabulary.txt", "tags.txt", "classes.json", "language.npz")
    ),
    *(f"auricle/checkpoint/embedded/{name}" for name in ("README.md", "ATTRIBUTION.csv")),
    *(
        f"auricle/checkpoint/embedded/{name}.onnx"
        for name in ("encoder", "plan", "decoder", "text")
    ),
}


def check_content(wheel: Path) -> Message:
    """Looks into a wheel; what it gives is what the wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        declared = HeaderParser().parsestr(archive.read(metadata).decode())
    if missing := EXPECTED_FILES - names:
        sys.exit(f"{wheel.name} lacks {', '.join(sorted(missing))}")
    if more := {
        name for name in names if name.split("/")[0] != "auricle" and ".dist-info/" not in name
    }:
        sys.exit(f"{wheel.name} holds {', '.join(sorted(more)[:5])}")
    if unwanted := {
        name
        for name in names
        if Path(name).suffix in (".pyc", ".safetensors", ".pt") or "/tests/" in name
    }:
        sys.exit(f"{wheel.name} holds {', '.join(sorted(unwanted)[:5])}")
    if wheel.stat().st_size > MOST_BYTES:
        sys.exit(f"{wheel.name} has {wheel.stat().st_size} bytes: expected at most {MOST_BYTES}")
    return declared


def interpreter(version: str) -> str | None:
    """A Python of this version, if there is one on this machine."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    return next(map(str, pyenv.glob(f"versions/{version}.*/bin/python")), None) or shutil.which(
        f"python{version}"
    )


def captions(python: str, wheel: Path, pins: Sequence[str]) -> str:
    """What the wheel, installed by itself into a new environment, says of the examples.

    Args:
        python: an interpreter.
        wheel: the file.
        pins: what else pip is told: versions of what the wheel requires.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        install = [
            f"{folder}/bin/pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            *pins,
            wheel,
        ]
        subprocess.run(install, check=True)
        command = [f"{folder}/bin/auricle", "caption", "examples"]
        return subprocess.run(
            command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True
        ).stdout


def main(
    wheel: Annotated[Path, typer.Argument(exists=True)],
    python: Annotated[
        list[str] | None, typer.Option(help="Only this version of Python; may be repeated.")
    ] = None,
) -> None:
    """Checks a wheel."""
    declared = check_content(wheel)
    versions = [
        name.removeprefix(CLASSIFIER)
        for name in declared.get_all("Classifier", [])
        if CLASSIFIER in name
    ]
    lowest = [
        re.sub(">=", "==", name)
        for name in declared.get_all("Requires-Dist", [])
        if "extra" not in name
    ]
    tested = ["-c", str(ROOT / "constraints.txt")]
    tries = [(version, "the tested versions", tested) for version in python or versions]
    if not python:
        tries.append((versions[0], "the lowest versions", lowest))
    said: dict[str, str] = {}
    for version, what, pins in tries:
        if (found := interpreter(version)) is None:
            print(f"Python {version} is not here", flush=True)
            continue
        said[f"Python {version}, {what}"] = captions(found, wheel, pins)
        print(f"Python {version} captions the examples with {what} of its libraries", flush=True)
    if not said:
        sys.exit("none of these Pythons is here")
    if len(set(said.values())) > 1:
        sys.exit(
            "captions differ:\n" + "\n".join(f"{where}\n{text}" for where, text in said.items())
        )


if __name__ == "__main__":
    typer.run(main)
