"""A full disk, what cannot be written, no home, Ctrl-C, a reader that leaves, two at once: right
words, right exit codes."""

import errno
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from auricle.data.cache import FeatureCache
from auricle.errors import AuricleError
from auricle.sound.decode import load_audio
from auricle.sound.features import FRONT_ENDS, log_mel
from auricle.storage.files import cache_folder, written_whole
from commands import Run
from sounds import chirp, write_wav

RATE = 32_000
linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="/dev/full and /proc are Linux's"
)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hard")
    write_wav(folder / "a.wav", chirp(1, 100, 5_000, RATE), RATE)
    return folder


@pytest.fixture
def command(tiny_checkpoint: Path) -> Callable[..., list[str]]:
    """A command line for a process of its own."""

    def make(*arguments: object) -> list[str]:
        return [
            sys.executable,
            "-m",
            "auricle",
            *map(str, arguments),
            "--checkpoint",
            str(tiny_checkpoint),
        ]

    return make


@pytest.fixture
def fails(auricle: Run) -> Callable[..., str]:
    """Runs a command in this process, and gives the one line that it ends with."""

    def run(*arguments: object) -> str:
        result = auricle(*arguments)
        assert result.code == 1
        return result.err.splitlines()[-1]  # after lines of progress

    return run


@linux
def test_a_full_disk_is_said_once(command: Callable[..., list[str]], sounds: Path):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command("caption", sounds / "a.wav"), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "auricle: output: No space left on device\n"


@linux
def test_a_file_that_cannot_grow_does_not_get_its_name(
    command: Callable[..., list[str]], sounds: Path, tmp_path: Path
):
    limited = "import resource, runpy\nresource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))\n"
    limited += "runpy.run_module('auricle', run_name='__main__')"
    _, _, _, *arguments = command(
        "caption", sounds / "a.wav", "-f", "jsonl", "-o", tmp_path / "out.jsonl"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == f"auricle: {tmp_path / 'out.jsonl'}: File too large\n"
    assert not (tmp_path / "out.jsonl").exists()


SAVES = {
    "array": "from auricle.storage.arrays import ArrayStore; save = lambda path, data: "
    "ArrayStore(path, np.float32, 1).add({'a': data}); data = np.zeros(9999)",
    "weights": "import torch; from auricle.training.weights import save_weights as save; data = "
    "{'a': torch.ones(9999)}",
}
SAVE = """
import resource
from pathlib import Path
import numpy as np
from auricle.errors import AuricleError
{}
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    save(Path('file'), data)
except AuricleError as error:
    print(error)
"""


@linux
@pytest.mark.parametrize("kind", SAVES)
def test_a_full_disk_leaves_no_part_of_a_file(kind: str, tmp_path: Path):
    if kind == "weights":
        pytest.importorskip("torch", reason="weights are torch's: pip install 'auricle[train]'")
    code = SAVE.format(SAVES[kind])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert "cannot be written" in done.stdout, done.stderr
    assert not list(tmp_path.rglob("*.part"))
    assert kind == "array" or list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_named(
    fails: Callable[..., str], tiny_checkpoint: Path, sounds: Path
):
    inside = sounds / "a.wav" / "out.csv"
    said = fails(
        "caption", sounds / "a.wav", "-f", "csv", "-o", inside, "--checkpoint", tiny_checkpoint
    )
    assert said.startswith(f"auricle: {inside}: ")


def test_a_full_disk_names_the_file_and_leaves_no_part_of_it(tmp_path: Path):
    def write_half() -> None:
        with written_whole(tmp_path / "new" / "a.txt") as part:
            part.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space") as error:
        write_half()
    assert error.value.filename == str(tmp_path / "new" / "a.txt")
    assert list((tmp_path / "new").iterdir()) == []
    for text in ("one", "two"):
        with written_whole(tmp_path / "new" / "a.txt") as part:
            part.write_text(text)
        assert [path.read_text() for path in (tmp_path / "new").iterdir()] == [text]


def test_nothing_is_kept_in_the_home_of_who_captions(
    command: Callable[..., list[str]], sounds: Path, tmp_path: Path
):
    unset = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ORT_DISABLE_TELEMETRY")
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {
        "HOME": str(tmp_path)
    }
    done = subprocess.run(
        command("caption", sounds / "a.wav"), env=environment, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert list(tmp_path.rglob("*")) == []


@linux
def test_a_folder_whose_name_is_no_text_is_printed(tiny_checkpoint: Path, tmp_path: Path):
    folder = tmp_path / os.fsdecode(b"\xff")
    shutil.copytree(tiny_checkpoint, folder)
    done = subprocess.run(
        [sys.executable, "-m", "auricle", "info", str(folder)], capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"folder      " + os.fsencode(tmp_path))


def test_stopped_by_ctrl_c_bulk_says_how_to_go_on(
    sounds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    auricle: Run,
):
    pytest.importorskip("pyarrow", reason="bulk is Ray Data's: pip install 'auricle[ray]'")

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("auricle.bulk.job.cluster", stopped)
    result = auricle("bulk", sounds, "-o", tmp_path / "out")
    assert (result.code, result.err) == (
        130,
        "auricle: stopped; run the same command again to continue\n",
    )
    assert (tmp_path / "out" / "errors.jsonl").read_text() == ""


@linux
def test_a_cache_that_cannot_be_written_is_named(
    fails: Callable[..., str], sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AURICLE_CACHE", "/proc/auricle")
    (tmp_path / "sounds.csv").write_text(f"file,split,caption\n{sounds / 'a.wav'},test,A.\n")
    assert fails("data", "audit", tmp_path / "sounds.csv", "--test", "test").startswith(
        "auricle: /proc/auricle/fingerprints-1 cannot be written: "
    )


def test_no_home(monkeypatch: pytest.MonkeyPatch):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("AURICLE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(AuricleError, match="set AURICLE_CACHE"):
        cache_folder("features")


def test_longer_than_allowed(auricle: Run, tiny_checkpoint: Path, tmp_path: Path):
    short = write_wav(tmp_path / "a.wav", chirp(1, 100, 5_000, RATE), RATE)
    long = write_wav(tmp_path / "b.wav", chirp(40, 100, 5_000, RATE), RATE)
    arguments = [
        "caption",
        short,
        long,
        "-f",
        "jsonl",
        "--max-duration",
        35,
        "--checkpoint",
        tiny_checkpoint,
    ]
    result = auricle(*arguments)
    assert result.code == 1
    assert [json.loads(line)["file"] for line in result.out.splitlines()] == [str(short)]
    assert f"auricle: {long}: is longer than the 35 s that are allowed\n" in result.err


@pytest.fixture
def many(sounds: Path, tmp_path: Path) -> Path:
    """A folder whose sounds take a while."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1_000):
        os.link(sounds / "a.wav", folder / f"{number:03d}.wav")
    return folder


def test_ctrl_c(command: Callable[..., list[str]], many: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    arguments = command("caption", many, "-f", "jsonl", "-o", out, "-j", 1)
    # A process in the background of a script, as tests may be, ignores Ctrl-C. So do its children.
    heeds = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, preexec_fn=heeds)
    part = out.with_name("out.jsonl.part")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".auricle-*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert part.exists()
    assert not out.exists()


def test_a_reader_that_has_enough(command: Callable[..., list[str]], many: Path):
    process = subprocess.Popen(
        command("caption", many, "-j", 1), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(os.fsencode(many))
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 1
    process.stderr.close()


@linux
def test_names_that_are_no_text(command: Callable[..., list[str]], sounds: Path, tmp_path: Path):
    name = os.fsencode(tmp_path) + b"/\xff\xfe bell.wav"
    shutil.copy(sounds / "a.wav", os.fsdecode(name))
    done = subprocess.run(command("caption", tmp_path, "-f", "jsonl"), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    (row,) = map(json.loads, done.stdout.splitlines())
    assert os.fsencode(row["file"]) == name


LOAD = """
from pathlib import Path
import sys
from auricle.data.cache import FeatureCache
from auricle.sound.features import FRONT_ENDS
cache = FeatureCache(FRONT_ENDS["panns"], 30.0, Path(sys.argv[2]))
cache.load(sorted(Path(sys.argv[1]).iterdir()))
"""


def test_two_processes_on_one_cache(tmp_path: Path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number in range(20):
        write_wav(folder / f"{number}.wav", chirp(1, 100 + number, 5_000, RATE), RATE)
    arguments = [sys.executable, "-c", LOAD, str(folder), str(tmp_path / "cache")]
    processes = [subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(process.communicate(timeout=100)[1], process.returncode) for process in processes] == [
        ("", 0)
    ] * 2
    files = sorted(folder.iterdir())
    cache = FeatureCache(FRONT_ENDS["panns"], 30.0, tmp_path / "cache")
    loaded = cache.load(files).spectrograms
    for file, spectrogram in zip(files, loaded, strict=True):
        expected = log_mel(load_audio(file, FRONT_ENDS["panns"].rate), FRONT_ENDS["panns"])
        np.testing.assert_array_equal(spectrogram, expected)
    (stored,) = (tmp_path / "cache").rglob("arrays.bin")
    assert stored.stat().st_size == sum(spectrogram.nbytes for spectrogram in loaded)
