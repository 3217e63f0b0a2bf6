"""kill -9 at random moments: the same command again gives what an unbroken run gives, and nothing
half-written in between.

Each task is a command in a process of its own, on data so small that it takes seconds. It is run
once undisturbed, and then again and again in fresh folders, where it is killed after a random share
of that time, as often as asked for, before it may end. After each kill, every file that has its
final name can be read to its end; after the last run, the files are those of an unbroken run,
without more of them, and what they hold is equal.
"""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import onnx
from safetensors import safe_open
from safetensors.numpy import load_file

from auricle.data.manifest import Item, write_manifest
from auricle.sound.decode import load_audio
from auricle.sound.features import FRONT_ENDS
from auricle.storage.arrays import ArrayStore
from sounds import write_wav

SOUNDS = 12
RATE = 32_000
SLOWEST = 1800.0  # seconds after which a command counts as hung

RECIPE = """
output = "run"
[data]
manifest = "sounds.csv"
valid = ["valid"]
front_end = "panns"
[encoder]
width = 0.0625
[decoder]
width = 16
layers = 1
heads = 2
feedforward = 32
[word2vec]
size = 16
epochs = 2
[pretrain]
epochs = 4
batch_size = 4
monitor = "map_10"
[train]
epochs = 4
batch_size = 4
initial = "pre-encoder"
[scst]
epochs = 3
batch_size = 4
samples = 2
"""
# What waits to be fetched is sent so slowly that a kill comes in the middle.
CHUNK, PAUSE = 4_096, 0.02


@dataclass(frozen=True)
class Task:
    """A command, and what it leaves."""

    name: str
    command: Callable[[str], list[str]]  # the first time, for the address of the server
    again: tuple[str, ...]  # added after a kill
    needs: tuple[str, ...]  # tasks whose results it begins with
    results: Callable[[Path], dict[str, str]]  # a folder -> names and digests of what must be equal
    # whether existing results stay; a training's best so far does not
    steady: bool = True
    without: str = ""  # what of the needed tasks' results is taken away first


def python(code: str) -> Callable[[str], list[str]]:
    return lambda url: [sys.executable, "-c", code.replace("URL", url)]


def auricle(*arguments: str) -> Callable[[str], list[str]]:
    return lambda _: [sys.executable, "-m", "auricle", *arguments]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def is_unfinished(path: Path, folder: Path) -> bool:
    """Returns whether a path in a folder has, or lies in a folder that has, a temporary name."""
    return ".part" in str(path.relative_to(folder))


def files(pattern: str) -> Callable[[Path], dict[str, str]]:
    """Digests of files under their final names, byte for byte."""

    def found(folder: Path) -> dict[str, str]:
        whole = [
            path
            for path in sorted(folder.glob(pattern))
            if path.is_file() and not is_unfinished(path, folder)
        ]
        return {str(path.relative_to(folder)): digest(path.read_bytes()) for path in whole}

    return found


def tensors(pattern: str) -> Callable[[Path], dict[str, str]]:
    """Digests of the tensors of safetensors files, bit for bit."""

    def found(folder: Path) -> dict[str, str]:
        result = {}
        for path in sorted(folder.glob(pattern)):
            with safe_open(path, "np") as opened:
                for name in sorted(opened.keys()):
                    result[f"{path.relative_to(folder)}: {name}"] = digest(
                        opened.get_tensor(name).tobytes()
                    )
        return result

    return found


def arrays(pattern: str) -> Callable[[Path], dict[str, str]]:
    """Digests of the arrays of stores, by key; their order in the file is a matter of the kills."""

    def found(folder: Path) -> dict[str, str]:
        result = {}
        for path in sorted(folder.glob(pattern)):
            with closing(sqlite3.connect(path / "index.sqlite")) as database:
                if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
                    continue  # killed before the first array
                keys = [key for (key,) in database.execute("SELECT key FROM arrays ORDER BY key")]
            store = ArrayStore(path, np.float32, FRONT_ENDS["panns"].mels)
            for key, array in zip(keys, store.load(keys), strict=True):
                result[f"{path.name}: {key}"] = digest(array.tobytes())
        return result

    return found


def rows(folder: Path) -> dict[str, str]:
    """The rows of the index; numbers and times of files aside."""
    with closing(sqlite3.connect(f"file:{folder / 'index.sqlite'}?mode=ro", uri=True)) as database:
        query = (
            'SELECT hex(digest), start, "end", caption, tags FROM windows '
            "JOIN sounds ON sounds.id = sound ORDER BY 1, 2"
        )
        found = database.execute(query).fetchall()
        paths = sorted(
            os.path.relpath(path, os.fsencode(folder))
            for (path,) in database.execute("SELECT path FROM files")
        )
    return {"windows": digest(repr(found).encode()), "files": digest(repr(paths).encode())}


FETCH = """
from dataclasses import replace
from pathlib import Path
from auricle.storage.download import Remote
from auricle.data.labelled import ESC50, prepare_labelled
checksum = Path("checksum.txt").read_text()
prepare_labelled(Path("set"), replace(ESC50, remote=Remote("ESC-50.zip", "URL", checksum)))
"""
CACHE = """
from pathlib import Path
from auricle.data.cache import FeatureCache
from auricle.sound.features import FRONT_ENDS
cache = FeatureCache(FRONT_ENDS["panns"], 30.0, Path("features"))
cache.load(sorted(Path("sounds").glob("*.wav")))
"""

_RESUME = ("--resume",)
_TRAINED = ("pretrain", "train")
_ONNX = "run/captioner/*.onnx"
_WEIGHTS = "*.safetensors"
TASKS = {
    task.name: task
    for task in (
        Task("download", python(FETCH), (), (), files("set/**/*.*v")),
        Task("feature cache", python(CACHE), (), (), arrays("features/*")),
        Task(
            "caption",
            auricle(*"caption sounds -f jsonl -o captions.jsonl".split()),
            (),
            (),
            files("captions.jsonl"),
        ),
        Task(
            "index",
            auricle(*"index sounds --database index.sqlite".split()),
            (),
            (),
            rows,
            steady=False,
        ),
        Task(
            "bulk",
            auricle(*"bulk sounds -o out -f jsonl --shard 3 --workers 1".split()),
            (),
            (),
            files("out/captions/*.jsonl"),
        ),
        Task(
            "pretrain",
            auricle("pretrain", "recipe.toml"),
            _RESUME,
            (),
            tensors(f"run/pre-encoder/{_WEIGHTS}"),
            steady=False,
        ),
        Task(
            "train",
            auricle("train", "recipe.toml"),
            _RESUME,
            ("pretrain",),
            tensors(f"run/captioner/{_WEIGHTS}"),
            steady=False,
        ),
        Task(
            "scst",
            auricle("train", "recipe.toml", "--stage", "scst"),
            _RESUME,
            _TRAINED,
            tensors(f"run/scst/{_WEIGHTS}"),
            steady=False,
        ),
        Task(
            "export", auricle("export", "run/captioner"), (), _TRAINED, files(_ONNX), without=_ONNX
        ),
    )
}


def read_lines(path: Path) -> None:
    """JSON Lines, of which the last is whole, too."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    assert not lines or lines[-1].endswith("\n")
    for line in lines:
        json.loads(line)


def check_database(path: Path) -> None:
    """Checks a copy of an SQLite file, because opening it undoes a transaction that was begun."""
    with tempfile.TemporaryDirectory() as folder:
        for part in path.parent.glob(f"{path.name}*"):
            shutil.copy(part, folder)
        with closing(sqlite3.connect(Path(folder) / path.name)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_text("utf-8")),
    ".jsonl": read_lines,
    ".npy": np.load,
    ".onnx": lambda path: onnx.checker.check_model(onnx.load(path)),
    ".png": lambda path: av.open(path).decode(video=0).__next__(),
    ".safetensors": load_file,
    ".sqlite": check_database,
    ".toml": lambda path: tomllib.loads(path.read_text("utf-8")),
    ".wav": lambda path: load_audio(path, RATE),
}


def unreadable(folder: Path) -> list[str]:
    """Files under their final names that cannot be read to their end."""
    found = []
    for path in sorted(folder.rglob("*")):
        if is_unfinished(path, folder) or not path.is_file() or path.suffix not in READERS:
            continue
        try:
            READERS[path.suffix](path)
        except Exception as error:
            found.append(f"{path.relative_to(folder)} ({type(error).__name__}: {str(error)[:80]})")
    return found


def names(folder: Path) -> set[str]:
    """All files, but for the cache's unfinished ones: others may be at work on those, and they go
    when they are old."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {
        name
        for name in there
        if not (name.startswith(("features", "cache")) and name.endswith(".part"))
    }


@dataclass
class Record:
    """How a task fared."""

    task: str
    kills: int = 0
    ended_before: int = 0  # commands that ended before their kill
    failures: list[str] = field(default_factory=list)


def prepare(folder: Path) -> None:
    """Sounds, manifest and recipe, the same each time."""
    (folder / "sounds").mkdir(parents=True)
    items = []
    for number in range(SOUNDS):
        rng = np.random.default_rng(number)
        samples = (0.2 * rng.normal(size=RATE + 999 * number)).astype(np.float32).clip(-1, 1)
        path = write_wav(folder / "sounds" / f"{number:02d}.wav", samples, RATE)
        texts = (
            f"Sound {'abcdefghijkl'[number]} hums in a hall",
            f"A hall with sound {'abcdefghijkl'[number]}",
        )
        items.append(Item(path, "valid" if number % 4 == 3 else "train", texts))
    write_manifest(folder / "sounds.csv", items)
    (folder / "recipe.toml").write_text(RECIPE)


def archive(folder: Path) -> bytes:
    """A data set in miniature, as ESC-50 is packed."""
    path = folder / "archive.zip"
    with zipfile.ZipFile(path, "w") as packed:
        table = ["filename,fold,target,category,esc10,src_file,take"]
        for sound in sorted((folder / "sounds").iterdir()):
            packed.write(sound, f"ESC-50-master/audio/{sound.name}")
            table.append(f"{sound.name},1,0,dog,False,{sound.stem},A")
        packed.writestr("ESC-50-master/meta/esc50.csv", "\n".join(table))
    content = path.read_bytes()
    path.unlink()
    return content


@contextmanager
def slow_server(content: bytes) -> Iterator[str]:
    """An address of the content, which can be had in parts."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

        def do_GET(self) -> None:
            start = int(
                (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-")
            )
            self.send_response(206 if start else 200)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            try:
                for at in range(start, len(content), CHUNK):
                    self.wfile.write(content[at : at + CHUNK])
                    time.sleep(PAUSE)
            except OSError:  # who asked was killed
                return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}/"
        http.shutdown()
        thread.join()


def run(command: list[str], folder: Path, kill_after: float | None = None) -> tuple[int, str]:
    """Runs a command in a folder, kills it after `kill_after` seconds; its exit code and output."""
    environment = os.environ | {"AURICLE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    log = folder.parent / f"{folder.name}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True
        )
        try:
            process.wait(SLOWEST if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if kill_after is None:
                return -signal.SIGKILL, f"it did not end within {SLOWEST:g} s"
    return process.returncode, log.read_text("utf-8", "replace")[-2_000:]


@dataclass
class Killer:
    """Kills one task again and again."""

    task: Task
    url: str
    whole: Path  # where an unbroken run has ended
    seconds: float  # that it took
    kills: int  # in all
    rng: np.random.Generator
    record: Record

    def trial(self, folder: Path) -> str:
        """Kills a command in a fresh folder, then runs it to its end; the problem, or nothing."""
        begun = False  # whether there may be something to go on with
        for _ in range(int(self.rng.integers(1, 4))):
            if self.record.kills == self.kills:
                break
            began, fresh = time.monotonic(), not begun
            code, said = self._run(folder, begun, float(self.rng.uniform(0.02, 1.0) * self.seconds))
            begun = True
            if code != -signal.SIGKILL:
                self.record.ended_before += 1
                if code:
                    return f"ended with {code} after a kill: {said}"
                if fresh:  # machines are busier at one time than at another
                    self.seconds = min(self.seconds, time.monotonic() - began)
                break
            self.record.kills += 1
            if half := unreadable(folder) or self._differing(folder, early=True):
                return f"half-written: {', '.join(half[:5])}"
        code, said = self._run(folder, begun)
        if code:
            return f"again it ended with {code}: {said}"
        if differing := self._differing(folder):
            return f"differs from an unbroken run: {', '.join(differing[:5])}"
        if differing := unreadable(folder) or sorted(names(self.whole) ^ names(folder)):
            return f"other files than an unbroken run's: {', '.join(differing[:5])}"
        return ""

    def _run(self, folder: Path, begun: bool, kill_after: float | None = None) -> tuple[int, str]:
        return run(
            [*self.task.command(self.url), *(self.task.again if begun else ())], folder, kill_after
        )

    def _differing(self, folder: Path, *, early: bool = False) -> list[str]:
        """Results that are not an unbroken run's; before the end, of those that are there."""
        if early and not self.task.steady:
            return []
        expected, found = self.task.results(self.whole), self.task.results(folder)
        return sorted(
            name
            for name in {*found, *(() if early else expected)}
            if found.get(name) != expected.get(name)
        )


def run_kills(task: Task, kills: int, seed: int, work: Path, bases: dict[str, Path]) -> Record:
    """Kills a task so often; its results stay in `bases`, for tasks that need them.

    With no kills it is only run for those.
    """
    record = Record(task.name)
    base = bases[task.needs[-1]] if task.needs else bases[""]
    content = archive(base)
    with slow_server(content) as url:
        whole = work / f"{task.name}-whole"
        copy(base, whole, content, task.without)
        began = time.monotonic()
        code, said = run(task.command(url), whole)
        seconds = time.monotonic() - began
        if code:
            record.failures.append(f"undisturbed it ended with {code}: {said}")
            return record
        if not task.results(whole):
            record.failures.append("undisturbed it leaves nothing to compare")
            return record
        bases[task.name] = whole
        rng = np.random.default_rng((seed, *task.name.encode()))
        killer = Killer(task, url, whole, seconds, kills, rng, record)
        trial = 0
        while record.kills < kills and record.ended_before < kills + 10:
            trial += 1
            folder = work / f"{task.name}-{trial}"
            copy(base, folder, content, task.without)
            if problem := killer.trial(folder):
                record.failures.append(f"trial {trial}: {problem}")
            else:
                shutil.rmtree(folder)
    return record


def copy(base: Path, folder: Path, content: bytes, without: str) -> None:
    """A fresh folder to run in."""
    shutil.copytree(base, folder)
    for path in folder.glob(without) if without else ():
        path.unlink()
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    (folder / "checksum.txt").write_text(checksum)


def run_campaign(names: Collection[str], kills: int, seed: int, work: Path) -> Iterator[Record]:
    """Kills the tasks so often in all, each its share; those that they need come before them."""
    shares = {
        name: kills // len(names) + (place < kills % len(names)) for place, name in enumerate(names)
    }
    bases = {"": work / "base"}
    prepare(bases[""])
    needed = {need for name in names for need in TASKS[name].needs}
    for name, task in TASKS.items():
        if name in names or name in needed:
            record = run_kills(task, shares.get(name, 0), seed, work, bases)
            if name in names or record.failures:
                yield record
            if record.failures and name not in bases:
                return
