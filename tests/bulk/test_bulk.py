"""Captions of archives: pieces, members and shards, on Ray and on clusters with killed parts."""

import contextlib
import io
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from auricle.captioning.captioner import load
from auricle.captioning.results import Row
from auricle.errors import AuricleError
from auricle.output.writers import row_fields
from auricle.storage.files import PART_PREFIX, PART_SUFFIX
from sounds import chirp, tone, write_wav

if find_spec("ray") is None:  # imported, it would have read its environment
    pytest.skip("the extra ray is not installed", allow_module_level=True)
from pyarrow import Schema, Table, parquet

from auricle.bulk import ShardForm, job, worker
from auricle.bulk.output import EMBEDDING, SHARD_SCHEMA, Options, Output, PieceReport, with_features
from auricle.bulk.places import Piece, Place, pieces, place, sounds, text
from auricle.bulk.worker import Worker
from auricle.cli.bulk import Rate

RATE = 32_000
DEADLINE = 240  # seconds that a command may take


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sounds, one of which is in a folder below and one long, and a file that is none."""
    folder = tmp_path_factory.mktemp("bulk")
    (folder / "below").mkdir()
    write_wav(folder / "a.wav", chirp(2, 100, 5_000, RATE), RATE)
    write_wav(folder / "below" / "b, ü.wav", tone(1, 700, RATE), RATE)
    write_wav(folder / "c.wav", chirp(1, 4_000, 300, RATE), RATE)
    write_wav(folder / "long.wav", chirp(34, 100, 12_000, RATE), RATE)
    (folder / "bad.wav").write_bytes(b"no sound")
    (folder / "notes.txt").write_text("no sound either")
    return folder


def rows(out: Path, key: str = "*") -> list[dict[str, Any]]:
    """What the shards hold, in the order of sounds and their times."""
    found: list[dict[str, Any]] = []
    for path in (out / "captions").glob(f"{key}.jsonl"):
        found += map(json.loads, path.read_text("utf-8").splitlines())
    for path in (out / "captions").glob(f"{key}.parquet"):
        found += parquet.read_table(path).to_pylist()
    return sorted(found, key=lambda row: (row["file"], row["start"]))


def errors(out: Path) -> dict[str, str]:
    """What failed, and why."""
    lines = (out / "errors.jsonl").read_text("utf-8").splitlines()
    return {row["file"]: row["error"] for row in map(json.loads, lines)}


def said(folder: Path, names: list[str]) -> list[dict[str, Any]]:
    """What the captioner says of the sounds itself."""
    captioner = load()
    found = [
        row_fields(Row(n, caption), 1) for n in names for caption in captioner.captions(folder / n)
    ]
    return [row | {"file": str(folder / str(row["file"]))} for row in found]


GOOD = ["a.wav", "below/b, ü.wav", "c.wav", "long.wav"]


def work(
    source: Path | str, out: Path | str, size: int = 100, **options: Any
) -> list[dict[str, Any]]:
    """Does the work in this process; gives the reports."""
    origin, output = place(str(source)), Output(place(str(out)), Options(**options))
    found = sounds(origin)
    captioned, shards, _ = output.begin()
    parts = [piece.dumps() for piece in pieces(found, size, captioned, shards)]
    return [json.loads(line) for line in Worker(origin, output)({"piece": parts})["report"]]


def test_a_piece_survives_a_line_and_its_name_follows_from_its_sounds():
    piece = Piece(["a.wav", "b\udcff\n.wav"], ["/a.wav", "/b\udcff\n.wav"])
    assert Piece.loads(piece.dumps()) == piece
    assert piece.dumps().isascii()
    assert piece.key == Piece(piece.names, ["/elsewhere/a.wav", "/b"]).key
    assert piece.key != Piece(piece.names[:1], piece.paths[:1]).key


def test_what_was_begun_is_divided_the_same_again():
    found = {f"{number}.wav": f"/{number}.wav" for number in range(10)} | {
        "x.tar": "/x.tar",
        "y.tgz": "/y.tgz",
    }
    first = pieces(found, 4, set(), set())
    assert [len(piece.names) for piece in first] == [1, 1, 4, 4, 2]
    done = {*first[2].names, *first[3].names} - {"1.wav", "6.wav"}
    again = pieces(found, 4, done, {first[0].key})
    assert [piece.key for piece in again[:2]] == [first[1].key, first[4].key]
    assert again[2:] == [Piece(["1.wav", "6.wav"], ["/1.wav", "/6.wav"])]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_manifest_names_sounds_relative_to_itself_and_by_url(tmp_path: Path, suffix: str):
    named = ["below/a.wav", "/b.wav", "s3://bucket/c d.wav", "below/a.wav"]
    if suffix == "csv":
        (tmp_path / "m.csv").write_text("id,url\n" + "".join(f"0,{name}\n" for name in named))
    else:
        parquet.write_table(
            Table.from_pydict({"id": [0] * 4, "path": named}), tmp_path / "m.parquet"
        )
    found = sounds(place(str(tmp_path / f"m.{suffix}")))
    assert found == {
        named[0]: str(tmp_path / named[0]),
        "/b.wav": "/b.wav",
        "s3://bucket/c d.wav": "",
    }


def test_manifests_are_read_as_people_write_them(tmp_path: Path):
    text = "Path ; note\n a.wav ;\n;none\nb.wav;two\n"
    (tmp_path / "m.csv").write_bytes(text.encode("utf-16"))
    remarks: list[str] = []
    found = sounds(place(str(tmp_path / "m.csv")), remarks=remarks)
    assert found == {name: str(tmp_path / name) for name in ("a.wav", "b.wav")}
    assert remarks == [
        "read as UTF-16",
        "columns are separated by semicolons",
        "'Path ' is read as 'path'",
        "' note' is read as 'note'",
    ]


def test_a_folder_tells_what_it_passes_over(folder: Path, tmp_path: Path):
    for name in ("a.wav", "._a.wav", "b.tar", "._b.tar", "notes.txt"):
        (tmp_path / name).touch()
    skipped: list[str] = []
    found = sounds(place(str(tmp_path)), skipped)
    assert [Path(name).name for name in found] == ["a.wav", "b.tar"]
    assert sorted(Path(name).name for name in skipped) == ["._a.wav", "._b.tar", "notes.txt"]
    path = tar(tmp_path / "in.tar", {"._a.wav": b"", "a.wav": (folder / "a.wav").read_bytes()})
    (report,) = work(path, tmp_path / "out")
    assert (report["sounds"], report["failed"]) == (1, {})


def test_inputs_that_are_none_are_refused_in_a_line(tmp_path: Path):
    (tmp_path / "m.csv").write_text("sound\na.wav\n")
    (tmp_path / "open_quote.csv").write_text('path,note\na.wav,"no end\nb.wav,\n')
    (tmp_path / "twice.csv").write_text("url,URL\na.wav,b.wav\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "empty").mkdir()
    for name, message in {
        "m.csv": "expected one of file, path, url",
        "open_quote.csv": "line 2: not CSV: the quote that opens here is not closed",
        "twice.csv": "two columns are called 'url'",
        "broken.parquet": "cannot be read as a manifest",
        "a.txt": "is not a folder, a manifest",
        "empty": "no sounds",
        "none": "does not exist",
    }.items():
        with pytest.raises(AuricleError, match=message):
            sounds(place(str(tmp_path / name)))
    with pytest.raises(AuricleError, match="cannot be opened"):
        place("nosuch://place/a")


def test_names_do_not_tell_secrets():
    assert place("s3://key:secret@bucket/a b?region=us-east-1").name == "s3://bucket/a b"
    assert place("https://user:word@host/a%20b.wav?signature=s").name == "https://host/a%20b.wav"
    path = place("https://user:word@host/a.wav?signature=s").path
    error = worker._reason("a", FileNotFoundError(path))
    assert error == "reading it failed (https://host/a.wav)"
    assert place("s3://bucket/100%25 ü #1.wav?region=us-east-1").path == "bucket/100%25 ü #1.wav"


@pytest.mark.parametrize("form", ShardForm)
def test_shards_hold_what_the_captioner_says(folder: Path, tmp_path: Path, form: ShardForm):
    report = work(folder, tmp_path, form=form, embeddings=True)
    assert [(r["sounds"], list(r["failed"])) for r in report] == [(5, [str(folder / "bad.wav")])]
    assert report[0]["seconds"] == pytest.approx(38)
    found = rows(tmp_path)
    assert all(abs(np.linalg.norm(row.pop("embedding")) - 1) < 1e-3 for row in found)
    assert found == said(folder, GOOD)


def test_a_restart_does_what_is_missing_and_what_failed(folder: Path, tmp_path: Path):
    copy, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(folder, copy)
    work(copy, out, size=2)
    before = {path: path.read_bytes() for path in (out / "captions").iterdir()}
    shutil.copy(copy / "a.wav", copy / "bad.wav")
    shutil.copy(copy / "a.wav", copy / "aa.wav")
    assert sum(report["sounds"] for report in work(copy, out, size=2)) == 2
    assert (
        before.items() <= {path: path.read_bytes() for path in (out / "captions").iterdir()}.items()
    )
    assert {row["file"] for row in rows(out)} == {
        str(copy / n) for n in [*GOOD, "bad.wav", "aa.wav"]
    }
    assert Counter(row["file"] for row in rows(out))[str(copy / "a.wav")] == 1
    assert work(copy, out, size=2) == []


def test_what_decodes_before_a_late_error_is_captioned(folder: Path, tmp_path: Path):
    copy = tmp_path / "in"
    copy.mkdir()
    whole = (folder / "long.wav").read_bytes()
    (copy / "long.wav").write_bytes(whole[: len(whole) * 2 // 3])
    with tarfile.open(copy / "x.tar", "w") as archive:
        archive.add(copy / "long.wav", "long.wav")
    reports = work(copy, tmp_path / "out")
    names = [str(copy / "long.wav"), str(copy / "x.tar" / "long.wav")]
    failed = {name: reason for report in reports for name, reason in report["failed"].items()}
    assert sorted(failed) == names
    assert all("is truncated" in reason for reason in failed.values())
    found = rows(tmp_path / "out")
    alone = [row["caption"] for row in found if row["file"] == names[0]]
    assert alone == [row["caption"] for row in found if row["file"] == names[1]]
    assert alone == [row["caption"] for row in said(folder, ["long.wav"])][: len(alone)] != []
    assert work(copy, tmp_path / "out") == [], "a damaged file stays as it is"


def test_the_end_of_a_job_removes_the_parts_of_killed_workers(folder: Path, tmp_path: Path):
    work(folder, tmp_path)
    (shard,) = (tmp_path / "captions").iterdir()
    shard.with_name(f"{PART_PREFIX}0123{PART_SUFFIX}").write_bytes(b"PAR1")
    Output(place(str(tmp_path)), Options()).end({"a": "why"})
    assert set((tmp_path / "captions").iterdir()) == {shard}
    assert errors(tmp_path) == {"a": "why"}


def test_other_options_are_refused_where_captions_are(folder: Path, tmp_path: Path):
    work(folder, tmp_path)
    others: list[dict[str, Any]] = [
        {"window": 5.0},
        {"form": ShardForm.jsonl},
        {"embeddings": True},
    ]
    for options in others:
        with pytest.raises(
            AuricleError, match=f"another {next(iter(options)).replace('form', 'format')}"
        ):
            work(folder, tmp_path, **options)


def tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    """Writes an archive."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_archives_are_read_where_they_are_and_only_their_sounds(folder: Path, tmp_path: Path):
    archives, out = tmp_path / "in", tmp_path / "out"
    archives.mkdir()
    sound = (folder / "c.wav").read_bytes()
    tar(
        archives / "a.tar",
        {"1.wav": sound, "1.json": b"{}", "../../up.wav": sound, "bad.wav": b"no sound"},
    )
    tar(archives / "b.tar.gz", {"1.wav": sound}, "w:gz")
    cut = tar(archives / "cut.tar", {"1.wav": sound, "2.wav": sound})
    cut.write_bytes(cut.read_bytes()[: len(sound) + 10_000])
    work(archives, out, form=ShardForm.jsonl)
    names = ["a.tar/../../up.wav", "a.tar/1.wav", "b.tar.gz/1.wav", "cut.tar/1.wav"]
    assert [row["file"] for row in rows(out)] == [f"{archives}/{name}" for name in names]
    assert {row["caption"] for row in rows(out)} == {said(folder, ["c.wav"])[0]["caption"]}
    # A file that is in no archive is not written, and an archive is not opened twice. Its failed
    # members stay known.
    assert {path.name for path in tmp_path.rglob("*.wav")} == set()
    assert work(archives, out, form=ShardForm.jsonl) == []
    _, shards, failed = Output(place(str(out)), Options(form=ShardForm.jsonl)).begin()
    assert len(shards) == 3
    assert (
        {f"{archives}/a.tar/bad.wav", str(cut)}
        <= failed.keys()
        <= {f"{archives}/{name}" for name in ("a.tar/bad.wav", "cut.tar", "cut.tar/2.wav")}
    )


def test_links_in_an_archive_are_sounds_of_their_own_names(folder: Path, tmp_path: Path):
    path, out = tmp_path / "in.tar", tmp_path / "out"
    first, last = ((folder / name).read_bytes() for name in ("a.wav", "c.wav"))
    tar(path, {"late/later.txt": b"", "double.wav": first, "one.wav": first, "bad.wav": b"none"})
    links = [
        ("hard.wav", tarfile.LNKTYPE, "one.wav"),
        ("deep/soft.wav", tarfile.SYMTYPE, "../one.wav"),
        ("chain.wav", tarfile.SYMTYPE, "deep/soft.wav"),
        ("early.wav", tarfile.SYMTYPE, "late.wav"),
        ("to_bad.wav", tarfile.SYMTYPE, "bad.wav"),
        ("away.wav", tarfile.SYMTYPE, str(folder / "a.wav")),
        ("circle.wav", tarfile.SYMTYPE, "circle.wav"),
        ("text.txt", tarfile.SYMTYPE, "one.wav"),
    ]
    with tarfile.open(path, "a") as archive:
        for name, kind, target in links:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
        for name in ("./double.wav", "late.wav"):
            member = tarfile.TarInfo(name)
            member.size = len(last)
            archive.addfile(member, io.BytesIO(last))
    work(path, out, form=ShardForm.jsonl)
    captions = {Path(row["file"]).name: row["caption"] for row in rows(out)}
    of_first, of_last = (said(folder, [name])[0]["caption"] for name in ("a.wav", "c.wav"))
    alike = dict.fromkeys(("one.wav", "hard.wav", "soft.wav", "chain.wav"), of_first)
    assert captions == alike | dict.fromkeys(("double.wav", "late.wav", "early.wav"), of_last)
    files = [(row["file"], row["start"]) for row in rows(out)]
    assert len(files) == len(set(files)), "one name, one file"
    _, _, failed = Output(place(str(out)), Options(form=ShardForm.jsonl)).begin()
    assert {Path(name).name for name in failed} == {
        "bad.wav",
        "to_bad.wav",
        "away.wav",
        "circle.wav",
    }
    assert failed[f"{path}/away.wav"] == "is a link, but not to a sound of its archive"


def test_ray_is_asked_for_gpus_only_where_onnx_runtime_has_them(monkeypatch: pytest.MonkeyPatch):
    providers = ["CPUExecutionProvider"]
    monkeypatch.setattr(job.onnxruntime, "get_available_providers", lambda: providers)
    assert job._gpu_share(2, 4) == 0
    providers.append("CUDAExecutionProvider")
    assert job._gpu_share(2, 4) == 0.5
    assert job._gpu_share(8, 4) == 1
    assert job._gpu_share(0, 4) == 0


def test_sounds_come_by_http(folder: Path, tmp_path: Path):
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)
    )
    url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "m.csv").write_text(f"file\n{url}/c.wav\n{url}/none.wav\n")
    try:
        (report,) = work(tmp_path / "m.csv", tmp_path / "out")
    finally:
        server.shutdown()
        server.server_close()
    assert list(report["failed"]) == [f"{url}/none.wav"]
    assert [row["file"] for row in rows(tmp_path / "out")] == [f"{url}/c.wav"]


def test_names_that_are_no_text(folder: Path, tmp_path: Path):
    (tmp_path / "in").mkdir()
    name = os.fsdecode(os.fsencode(tmp_path / "in") + b"/\xff.wav")
    shutil.copy(folder / "c.wav", name)
    for form in ShardForm:
        out = tmp_path / form
        work(tmp_path / "in", out, form=form)
        assert [row["file"] for row in rows(out)] == [text(name)]
        assert work(tmp_path / "in", out, form=form) == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = place(str(tmp_path / "new" / "a"))
    target.write(b"first")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        target.write(b"second")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "new").iterdir()] == [
        ("a", b"first")
    ]


def test_what_would_stop_every_piece_is_reported_as_fatal(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # all of them fail: nothing is written
    (report,) = work(folder, tmp_path / "a", max_duration=0.5)
    assert len(report["failed"]) == 5
    assert not (tmp_path / "a" / "captions").exists()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    origin, output = place(str(folder)), Output(place(str(tmp_path / "b")), Options())
    (piece,) = pieces(sounds(origin), 100, *output.begin()[:2])
    monkeypatch.setattr(Place, "write", full)
    (line,) = Worker(origin, output)({"piece": [piece.dumps()]})["report"]
    assert "cannot be written: No space left on device" in json.loads(line)["fatal"]
    (line,) = Worker(origin, Output(output.folder, Options(checkpoint=tmp_path)))(
        {"piece": [piece.dumps()]}
    )["report"]
    assert str(tmp_path) in json.loads(line)["fatal"]


def test_progress_says_how_fast_and_how_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "monotonic", iter([0.0, 10.0, 10.0]).__next__)
    rate = Rate(4)
    rate.add(PieceReport(100, 7200.0, {"a": "why"}))
    assert (
        str(rate)
        == "1 of 4 pieces, 100 sounds, 1 failed, 2.00 h of sound at 720 h an hour, 0:00:30 left"
    )


def environment(**more: str) -> dict[str, str]:
    """Of a command, with little memory for Ray."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {"OMP_NUM_THREADS": "1"} | more


def bulk(*arguments: object, **more: str) -> subprocess.Popen[str]:
    """The command, begun in a process group of its own."""
    command = [sys.executable, "-m", "auricle", "bulk", *map(str, arguments)]
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment(**more), start_new_session=True
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """How a command ends, and what it said."""
    try:
        _, told = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    return process.returncode, told


def test_on_ray_it_says_what_caption_says_whatever_the_number_of_workers(
    folder: Path, tmp_path: Path
):
    code, told = ended(
        bulk(folder, "-o", tmp_path / "two", "-f", "jsonl", "--shard", 1, "--workers", 2)
    )
    assert (code, "5 sounds: 4 captioned, 1 failed" in told) == (1, True), told
    assert "auricle: 0 of 5 pieces" in told
    assert "auricle: 5 of 5 pieces, 5 sounds, 1 failed" in told
    assert [line for line in told.splitlines() if not line.startswith("auricle: ")] == [
        "5 sounds: 4 captioned, 1 failed"
    ], "Ray's own lines are not shown"
    assert rows(tmp_path / "two") == said(folder, GOOD)
    assert errors(tmp_path / "two").keys() == {str(folder / "bad.wav")}
    assert "damaged or not a sound" in errors(tmp_path / "two")[str(folder / "bad.wav")]


KILLED = 120  # sounds of the archive that is captioned as things die


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many sounds that take a while."""
    folder = tmp_path_factory.mktemp("archive")
    write_wav(folder / "000.wav", chirp(90, 100, 12_000, RATE), RATE)
    for number in range(1, KILLED):
        os.link(folder / "000.wav", folder / f"{number:03}.wav")
    return folder


# Ray reads its token once in a process.
TOKEN = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextlib.contextmanager
def nodes(count: int) -> Iterator[tuple[Any, list[Any]]]:
    """A cluster whose nodes are at 127.0.0.3 and so on.

    Each claims a processor and a GPU; the head has none.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in TOKEN.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        memory = 100 << 20
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "node_ip_address": "127.0.0.2",
                "object_store_memory": memory,
                "include_dashboard": False,
            },
        )  # fmt: skip
        try:
            added = [
                cluster.add_node(
                    num_cpus=1,
                    num_gpus=1,
                    node_ip_address=f"127.0.0.{3 + number}",
                    object_store_memory=memory,
                )
                for number in range(count)
            ]
            yield cluster, added
        finally:
            cluster.shutdown()


def wait_for(
    process: subprocess.Popen[str], condition: Callable[[], object], seconds: float = 90
) -> None:
    """Until something has happened, while the command still runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.1)


def shards(out: Path) -> int:
    """How many there are."""
    return len(list((out / "captions").glob("*.jsonl")))


def actors() -> list[int]:
    """Processes that caption."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::MapWorker"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def check_whole(archive: Path, out: Path) -> None:
    """Every sound has its captions, and once."""
    one = said(archive, ["000.wav"])
    found = Counter((row["file"], row["start"]) for row in rows(out))
    assert found == Counter((str(path), row["start"]) for path in archive.iterdir() for row in one)
    assert {row["caption"] for row in rows(out)} == {row["caption"] for row in one}
    assert not list(out.rglob("*.part"))


@pytest.mark.slow
def test_a_worker_and_a_node_are_killed_and_nothing_is_lost(archive: Path, tmp_path: Path):
    with nodes(3) as (cluster, added):
        running = bulk(
            archive,
            "-o",
            tmp_path,
            "-f",
            "jsonl",
            "--shard",
            3,
            "--address",
            cluster.address,
            **TOKEN,
        )
        wait_for(running, lambda: shards(tmp_path) > 3)
        os.kill(actors()[0], signal.SIGKILL)
        wait_for(running, lambda: shards(tmp_path) > 10)
        cluster.remove_node(added[0], allow_graceful=False)
        before = shards(tmp_path)
        assert before < KILLED / 3
        code, told = ended(running)
        assert (code, f"{KILLED} sounds: {KILLED} captioned" in told) == (0, True), told
    check_whole(archive, tmp_path)


@pytest.mark.slow
def test_the_driver_is_killed_and_the_same_command_goes_on(archive: Path, tmp_path: Path):
    with nodes(2) as (cluster, _):
        command = (
            archive,
            "-o",
            tmp_path,
            "-f",
            "jsonl",
            "--shard",
            3,
            "--address",
            cluster.address,
        )
        running = bulk(*command, **TOKEN)
        wait_for(running, lambda: shards(tmp_path) > 5)
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
        before = shards(tmp_path)
        assert before < KILLED / 3
        code, told = ended(bulk(*command, **TOKEN))
        assert (code, "going on" in told) == (0, True), told
        again = re.search(r"(\d+) sounds: (\d+) captioned", told)
        # Shards may have come between the count and the end of those who wrote.
        assert again is not None
        assert int(again[1]) == int(again[2]) <= KILLED - 3 * before
    check_whole(archive, tmp_path)


@pytest.mark.slow
def test_a_sound_that_kills_whoever_reads_it_takes_no_other_along(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "in")
    deadly = write_wav(tmp_path / "in" / "aa.wav", chirp(900, 100, 12_000, RATE), RATE)
    running = bulk(tmp_path / "in", "-o", tmp_path / "out", "-f", "jsonl", "--workers", 1)
    while running.poll() is None:
        for pid in actors():
            with contextlib.suppress(OSError):
                if any(
                    os.readlink(path) == str(deadly) for path in Path(f"/proc/{pid}/fd").iterdir()
                ):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    code, told = ended(running)
    assert (code, "6 sounds: 4 captioned, 2 failed" in told) == (1, True), told
    assert "each process that read it died" in errors(tmp_path / "out")[str(deadly)]
    found = [
        row | {"file": row["file"].replace(str(tmp_path / "in"), str(folder))}
        for row in rows(tmp_path / "out")
    ]
    assert found == said(folder, GOOD)


@pytest.mark.slow
def test_a_cluster_is_not_joined_without_its_token(folder: Path, tmp_path: Path):
    with nodes(1) as (cluster, _):
        for token in {}, {"RAY_AUTH_TOKEN": "0" * 64}:
            home = str(tmp_path / "home")
            code, told = ended(
                bulk(
                    folder, "-o", tmp_path / "out", "--address", cluster.address, HOME=home, **token
                )
            )
            assert (code, "cannot join" in told) == (1, True), told
    assert not list((tmp_path / "out" / "captions").glob("*"))


@pytest.fixture
def s3(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which s3://archive/2025 holds the folder and s3://captions is empty, on a
    server of its own."""
    server = shutil.which("moto_server")
    if server is None:
        pytest.skip(
            "no S3 server: moto needs other versions of packages; "
            ".ci/run installs it into its own environment"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    access = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    access |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_EC2_METADATA_DISABLED": "true"}
    running = subprocess.Popen([server, "-H", "127.0.0.1", "-p", port], stderr=subprocess.DEVNULL)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in access.items():
                patch.setenv(name, value)
            files = place("s3://archive?allow_bucket_creation=true").files
            for attempt in range(120):
                try:
                    files.create_dir("archive")
                    break
                except OSError:
                    assert attempt < 119
                    time.sleep(0.5)
            files.create_dir("captions")
            for path in folder.rglob("*.wav"):
                with files.open_output_stream(f"archive/2025/{path.relative_to(folder)}") as stream:
                    stream.write(path.read_bytes())
            yield access
    finally:
        running.kill()
        running.wait()


def fetched(target: Path, folder: Path) -> list[dict[str, Any]]:
    """What s3://captions/2025 holds, with the folder's own names."""
    output = place("s3://captions/2025")
    for path in output.listed():
        local = target / path.removeprefix("captions/2025/")
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_bytes(Place(output.files, path, path).read())
    return [
        row | {"file": row["file"].replace("s3://archive/2025", str(folder))}
        for row in rows(target)
    ]


@pytest.mark.usefixtures("s3")
def test_what_is_written_to_s3_is_what_is_captioned_here(folder: Path, tmp_path: Path):
    options = {"size": 2, "form": ShardForm.jsonl}
    reports = work("s3://archive/2025", "s3://captions/2025", **options)
    assert [
        sum(report["sounds"] for report in reports),
        sum(len(report["failed"]) for report in reports),
    ] == [5, 1]
    (again,) = work("s3://archive/2025", "s3://captions/2025", **options)
    assert (again["sounds"], [*again["failed"]]) == (1, ["s3://archive/2025/bad.wav"])
    assert fetched(tmp_path, folder) == said(folder, GOOD)


@pytest.mark.slow
def test_on_s3(s3: dict[str, str], folder: Path, tmp_path: Path):
    command = ("s3://archive/2025", "-o", "s3://captions/2025", "-f", "jsonl", "--shard", 2)
    code, told = ended(bulk(*command, **s3))
    assert (code, "5 sounds: 4 captioned, 1 failed" in told) == (1, True), told
    code, told = ended(bulk(*command, **s3))
    assert (code, "1 sounds: 0 captioned, 1 failed" in told) == (1, True), told
    assert fetched(tmp_path, folder) == said(folder, GOOD)
    assert errors(tmp_path).keys() == {"s3://archive/2025/bad.wav"}


@pytest.mark.parametrize("schema", [SHARD_SCHEMA, SHARD_SCHEMA.append(EMBEDDING)])
def test_shards_declare_their_features_for_datasets(schema: Schema):
    declared = with_features(schema)
    assert declared == schema
    features = json.loads(declared.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["caption"] == {"dtype": "string", "_type": "Value"}
    assert features["tags"]["feature"]["probability"] == {"dtype": "float64", "_type": "Value"}
    datasets = pytest.importorskip("datasets", reason="pip install datasets")
    expected = datasets.Features.from_arrow_schema(schema)
    assert datasets.Features.from_dict(features) == expected
