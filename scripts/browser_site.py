"""Builds a static site that captions sounds in the browser, without a server.

    python scripts/browser_site.py DIR

The site holds the embedded model as a portable folder, ONNX Runtime's WebAssembly build from npm,
our page's design, and the port of captioning in scripts/browser_site/. Any host of static files can
serve it; it fetches nothing from elsewhere.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from auricle.errors import AuricleError
from auricle.portable.folder import export_portable
from auricle.storage.files import folder_written_whole

ROOT = Path(__file__).parents[1]
SOURCE = Path(__file__).parent / "browser_site"
PAGE = ROOT / "src" / "auricle" / "serving" / "page"
# Parts of our page that the site shares.
SHARED = ("style.css", "icon.svg", "elements.js", "formats.js", "microphone.js", "capture.js")
PACKAGE = "onnxruntime-web@1.30.0"
INTEGRITY = (
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02V"
    "b7QmRMDs1SigqR4CXAfKYQ=="
)
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
# Only makers of other ports need these.
UNUSED = ("vectors", "test_vectors.json")


def fetch_runtime(folder: Path) -> None:
    """Writes the files of ONNX Runtime that the site needs.

    Raises:
        AuricleError: npm is missing or cannot fetch the package, or the package is another one.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise AuricleError(f"{PACKAGE} cannot be fetched: npm is not installed")
    with tempfile.TemporaryDirectory() as temporary:
        command = [npm, "pack", PACKAGE, "--prefer-offline", "--pack-destination", temporary]
        done = subprocess.run(command, cwd=temporary, capture_output=True, text=True)
        archives = list(Path(temporary).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            raise AuricleError(f"{PACKAGE} cannot be fetched: {done.stderr.strip()}")
        digest = hashlib.sha512(archives[0].read_bytes()).digest()
        if f"sha512-{base64.b64encode(digest).decode()}" != INTEGRITY:
            raise AuricleError(f"{PACKAGE} is not the package that was tested: its hash differs")
        folder.mkdir()
        with tarfile.open(archives[0]) as archive:
            for name in RUNTIME:
                member = archive.extractfile(f"package/dist/{name}")
                assert member is not None
                (folder / name).write_bytes(member.read())


def notices() -> str:
    """Returns the licences of the site's parts."""
    licence = (ROOT / "LICENSE").read_text("utf-8")
    terms = licence[licence.index("Permission is hereby granted") :]
    return (
        f"auricle\n\n{licence}\n\n"
        f"ONNX Runtime ({PACKAGE})\n\nMIT License\n\n"
        f"Copyright (c) Microsoft Corporation\n\n{terms}\n\n"
        "The model: see model/README.md and model/ATTRIBUTION.csv\n"
    )


def build(folder: Path, checkpoint: Path) -> None:
    """Writes the site, which appears whole.

    Raises:
        AuricleError: the folder is not empty, or a part of the site cannot be made.
    """
    with folder_written_whole(folder) as part:
        fetch_runtime(part / "ort")
        export_portable(checkpoint, part / "model")
        for name in UNUSED:
            path = part / "model" / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(SOURCE, part, dirs_exist_ok=True)
        for name in SHARED:
            shutil.copyfile(PAGE / name, part / name)
        (part / "examples").mkdir()
        for path in (ROOT / "examples").glob("*.wav"):
            shutil.copyfile(path, part / "examples" / path.name)
        (part / "NOTICES.txt").write_text(notices(), "utf-8")


def main(
    folder: Annotated[
        Path, typer.Argument(help="A new folder for the site.", metavar="DIR", show_default=False)
    ],
    checkpoint: Annotated[
        Path, typer.Option(help="A captioner that words events, or embedded.")
    ] = Path("embedded"),
) -> None:
    """Build a static site that captions sounds in the browser.

    Example:

        python scripts/browser_site.py site
    """
    try:
        build(folder, checkpoint)
    except AuricleError as error:
        sys.exit(f"browser_site: {error}")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
