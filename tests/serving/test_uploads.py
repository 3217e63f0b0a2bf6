"""Uploads when the disk, their folder or their server fails; late errors keep captions."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from auricle.serving.limits import Limits
from auricle.serving.uploads import upload_folder
from server import EXAMPLES, Server, serving

BELL = (EXAMPLES / "bell.wav").read_bytes()


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the server makes its own."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def brief(parent: Path) -> Iterator[Server]:
    """A server whose longest sound has 33 seconds."""
    before, tempfile.tempdir = tempfile.tempdir, str(parent)
    try:
        with serving(Limits(jobs=1, seconds=33)) as running:
            yield running
    finally:
        tempfile.tempdir = before


def test_a_folder_that_vanished_is_made_again(brief: Server, parent: Path):
    [folder] = parent.iterdir()
    for removed in (folder, parent):
        shutil.rmtree(removed)
        assert brief.ask("/v1/captions", BELL).status == 200
        assert brief.form("/v1/captions", ("bell.wav", BELL)).status == 200
    assert not [path for path in folder.iterdir() if path.name != "lock"]


@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EIO, 500)]
)
def test_a_disk_that_fails_is_told_in_json(
    brief: Server, parent: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
):
    def fail(**_: object) -> None:
        raise OSError(number, os.strerror(number), str(parent))

    monkeypatch.setattr("auricle.serving.uploads.tempfile.mkstemp", fail)
    for answer in (
        brief.ask("/v1/captions", BELL),
        brief.form("/v1/captions", ("bell.wav", BELL)),
        brief.ask("/v1/sound", BELL),
    ):
        assert answer.status == status
        assert "disk is full" in answer.json["error"] or "cannot write" in answer.json["error"]
        assert str(parent) not in answer.json["error"]


def test_a_sound_that_proves_too_long_keeps_its_captions(brief: Server, scene: Path):
    # Raw mp3 has no header with a length; the scene has 34 s.
    with serving(Limits(jobs=1)) as other:
        mp3 = other.ask("/v1/sound", scene.read_bytes()).body
    endless = mp3[mp3.index(b"\xff\xfb", 1_500) :]
    answer = brief.ask("/v1/captions?name=scene.mp3&segments=events", endless)
    assert answer.status == 422
    assert answer.json["error"].startswith("scene.mp3: is longer than")
    assert answer.json["file"] == "scene.mp3"
    assert answer.json["captions"]
    assert all(caption["state"] == "end" for caption in answer.json["captions"])
    assert answer.json["seconds"] > 20
    events = brief.ask("/v1/captions?segments=events&format=sse", endless).events
    told = [data for name, data in events if name == "caption" and data["state"] == "end"]
    assert told == answer.json["captions"]
    assert events[-1][0] == "error"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock: nothing is swept")
def test_uploads_of_a_killed_server_are_swept_and_those_of_a_running_one_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    hold = (
        "import sys, time; from auricle.serving.uploads import upload_folder\n"
        "with upload_folder() as folder:\n"
        "    (folder / 'sound').write_bytes(b'left'); print(folder, flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True, env=environment
    ) as killed:
        assert killed.stdout is not None
        theirs = Path(killed.stdout.readline().strip())
        try:
            with upload_folder() as our_folder:
                assert (theirs / "sound").exists()  # its server runs
                with upload_folder():
                    assert our_folder.exists()
        finally:
            killed.kill()
    (stranger := tmp_path / "auricle-uploads-of-nobody").mkdir()  # no lock: not ours to judge
    with upload_folder() as our_folder:
        assert set(tmp_path.iterdir()) == {our_folder, stranger}
    assert set(tmp_path.iterdir()) == {stranger}
