"""`auricle metrics install`: from a folder, and over the web from a server on loopback."""

import shutil
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from auricle.evaluation import install as module
from auricle.evaluation.install import InstallError, install
from auricle.evaluation.java import MissingJavaError
from auricle.evaluation.spice import CODE_JAR, MODELS_JAR, metrics_folder, missing_spice
from auricle.storage.download import DownloadError

WHOLE = "stanford-corenlp-3.6.0-models.jar"
FOLDER = "stanford-corenlp-full-2015-12-09"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def archive(java: str, shared: Callable[[str], Path], tmp_path: Path) -> Path:
    """CoreNLP's archive as its makers pack it, with the entries that are at hand."""
    del java
    jars = shared("reference/spice/jars")
    path = tmp_path / "web" / f"{FOLDER}.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as whole:
        whole.write(jars / CODE_JAR, f"{FOLDER}/{CODE_JAR}")
        whole.write(jars / MODELS_JAR, f"{FOLDER}/{WHOLE}")
        whole.writestr(f"{FOLDER}/README.txt", "CoreNLP")
    return path


@pytest.fixture
def web(archive: Path) -> Iterator[str]:
    handler = partial(_Quiet, directory=str(archive.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{archive.name}"
        server.shutdown()
        thread.join()


def test_over_the_web(web: str) -> None:
    seen: list[int] = []
    assert missing_spice() is not None
    folder = install(url=web, progress=lambda done, total: seen.append(done))  # noqa: ARG005
    assert folder == metrics_folder()
    assert seen[-1] > 15_000_000
    assert {path.name for path in folder.iterdir()} == {CODE_JAR, MODELS_JAR}
    assert missing_spice() is None
    with zipfile.ZipFile(folder / MODELS_JAR) as jar:
        names = jar.namelist()
    assert len(names) == len(module._MODELS_SHA256) + 3
    assert sum("ner/" in name for name in names) == 3


def test_a_damaged_archive_is_refused_and_removed(web: str, archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[2_000_000] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DownloadError, match="the file was removed"):
        install(url=web)
    assert list(metrics_folder().iterdir()) == []


def test_offline_is_said(java: str) -> None:
    del java
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:1/x.zip: .*refused"):
        install(url="http://127.0.0.1:1/x.zip")


@pytest.mark.usefixtures("untried")
def test_from_a_folder_with_the_archive(archive: Path) -> None:
    install(archive.parent)
    assert archive.exists(), "the user's own copy stays"
    assert missing_spice() is None


def test_from_a_folder_that_lacks_something(
    shared: Callable[[str], Path], java: str, tmp_path: Path
) -> None:
    del java
    jars = shared("reference/spice/jars")
    with pytest.raises(InstallError, match=r"is not a folder: give a folder with CoreNLP 3\.6\.0"):
        install(tmp_path / "none")
    source = tmp_path / "source"
    source.mkdir()
    shutil.copyfile(jars / CODE_JAR, source / CODE_JAR)
    with pytest.raises(InstallError, match=f"or both {CODE_JAR} and {WHOLE}"):
        install(source)
    with zipfile.ZipFile(source / WHOLE, "w") as jar:
        jar.writestr("edu/stanford/nlp/models/lexparser/englishPCFG.ser.gz", b"another parser")
    with pytest.raises(InstallError, match=f"englishPCFG.ser.gz in {WHOLE} has sha256"):
        install(source)
    (source / WHOLE).write_bytes(b"no jar")
    with pytest.raises(InstallError, match=f"{WHOLE} is not a complete jar"):
        install(source)
    (source / CODE_JAR).write_bytes(b"another program")
    with pytest.raises(
        InstallError, match=f"{CODE_JAR} has sha256 .* expected that of CoreNLP 3.6.0"
    ):
        install(source)
    assert missing_spice() is not None
    assert list(metrics_folder().iterdir()) == []


def test_without_java(
    without_java: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_java(monkeypatch)
    with pytest.raises(MissingJavaError, match="install Java 17"):
        install()


@pytest.mark.parametrize("name", ["Engine", "Repeat"])
def test_our_java_classes_are_what_their_sources_say(java: str, tmp_path: Path, name: str) -> None:
    compiler = Path(java).resolve().with_name("javac")
    if not compiler.exists():
        pytest.skip("no javac next to java")
    engine = Path(module.__file__).with_name("spice_engine")
    options = ["--release", "8", "-g:none", "-Xlint:-options", "-d", str(tmp_path)]
    subprocess.run([compiler, *options, str(engine / f"{name}.java")], check=True)
    disassemble = [compiler.with_name("javap"), "-p", "-c"]
    made, shipped = (
        subprocess.run(
            [*disassemble, folder / "auricle" / f"{name}.class"], check=True, capture_output=True
        ).stdout
        for folder in (tmp_path, engine)
    )
    assert made == shipped
