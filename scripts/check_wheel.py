"""Whether a wheel holds what it should, and captions on every Python that it is declared for.

    python -m build && python scripts/check_wheel.py dist/*.whl

Pythons are looked for on the PATH and among pyenv's; one that is not here is named, and passed over.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).parents[1]
MOST_BYTES = 15_000_000
CLASSIFIER = "Programming Language :: Python :: "
WANTED = {
    *("auricle/py.typed", "auricle/configs/paper.toml", "auricle/serving/page/index.html"),
    *("auricle/serving/page/examples/bell.wav", "auricle/evaluation/report.html"),
    *(
        f"auricle/embedded/{name}"
        for name in ("config.json", "vocabulary.txt", "tags.txt", "README.md", "ATTRIBUTION.csv")
    ),
    *(f"auricle/embedded/{name}.onnx" for name in ("encoder", "decoder", "text")),
}


def check_content(wheel: Path) -> list[str]:
    """Looks into a wheel; what it gives are the versions of Python that it is declared for."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        declared = HeaderParser().parsestr(archive.read(metadata).decode()).get_all("Classifier") or []
    if missing := WANTED - names:
        sys.exit(f"{wheel.name} lacks {', '.join(sorted(missing))}")
    if more := {name for name in names if name.split("/")[0] != "auricle" and ".dist-info/" not in name}:
        sys.exit(f"{wheel.name} holds {', '.join(sorted(more)[:5])}")
    if unwanted := {
        name for name in names if Path(name).suffix in (".pyc", ".safetensors", ".pt") or "/tests/" in name
    }:
        sys.exit(f"{wheel.name} holds {', '.join(sorted(unwanted)[:5])}")
    if wheel.stat().st_size > MOST_BYTES:
        sys.exit(f"{wheel.name} has {wheel.stat().st_size} bytes, and at most {MOST_BYTES} are wanted")
    return [name.removeprefix(CLASSIFIER) for name in declared if name.startswith(CLASSIFIER)]


def interpreter(version: str) -> str | None:
    """A Python of this version, if there is one on this machine."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    return next(map(str, pyenv.glob(f"versions/{version}.*/bin/python")), None) or shutil.which(f"python{version}")


def captions(python: str, wheel: Path, folder: Path) -> str:
    """What the wheel, installed by itself into a new environment, says of the examples."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    install = [folder / "bin/pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    command = [folder / "bin/auricle", "caption", "examples"]
    return subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout


def main(wheel: Annotated[Path, typer.Argument(exists=True)]) -> None:
    """Checks a wheel."""
    found: dict[str, str] = {}
    for version in check_content(wheel):
        if (python := interpreter(version)) is None:
            print(f"Python {version} is not here", flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            found[version] = captions(python, wheel, Path(folder) / "environment")
        print(f"Python {version} captions the examples", flush=True)
    if not found:
        sys.exit("none of the Pythons that the wheel is declared for is here")
    if len(set(found.values())) > 1:
        sys.exit("captions differ:\n" + "\n".join(f"{version}\n{said}" for version, said in found.items()))


if __name__ == "__main__":
    typer.run(main)
