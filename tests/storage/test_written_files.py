"""Files are written whole, where the user points, with the mode and owner that they had."""

import contextlib
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from auricle.storage.files import (
    PART_SUFFIX,
    STALE_PART_SECONDS,
    remove_stale_parts,
    written_whole,
)

unix = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes, pipes in folders or umask")


def write(path: Path, text: str) -> None:
    with written_whole(path) as part:
        part.write_text(text)


def fail_halfway(path: Path, error: type[BaseException], **options: bool) -> None:
    with written_whole(path, **options) as part:
        part.write_text("half")
        raise error


def test_content_appears_only_at_the_end(tmp_path: Path):
    path = tmp_path / "new" / "file.txt"
    with written_whole(path) as part:
        part.write_text("whole")
        assert not path.exists()
        assert part.parent == path.parent
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_content_and_leaves_nothing(
    tmp_path: Path, error: type[BaseException]
):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error):
        fail_halfway(path, error)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_an_interrupted_file_can_be_kept(tmp_path: Path):
    path = tmp_path / "file.txt"
    with pytest.raises(KeyboardInterrupt):
        fail_halfway(path, KeyboardInterrupt, keep_interrupted=True)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("file.txt.part", "half")]


@unix
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_followed(tmp_path: Path, exists: bool):
    target, link = tmp_path / "there" / "file.txt", tmp_path / "link.txt"
    target.parent.mkdir()
    if exists:
        target.write_text("old")
    link.symlink_to(Path("there/file.txt"))
    write(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@unix
def test_mode_is_kept_and_a_new_file_obeys_the_umask(tmp_path: Path):
    secret, new, private = tmp_path / "secret", tmp_path / "new", tmp_path / "private"
    secret.write_text("old")
    secret.chmod(0o600)
    before = os.umask(0o027)
    try:
        write(secret, "new")
        write(new, "new")
        with written_whole(private, private=True) as part:
            part.write_text("key")
        with written_whole(tmp_path / "strict") as part:
            part.unlink()  # as a writer does that renames a file of mode 600 of its own
            os.close(os.open(part, os.O_CREAT, 0o600))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"secret": 0o600, "new": 0o640, "private": 0o600, "strict": 0o640}


@unix
def test_owner_is_kept(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    path = tmp_path / "file.txt"
    path.write_text("old")
    os.chown(path, 12_345, 23_456)
    write(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12_345, 23_456)


@unix
def test_pipes_and_devices_are_written_directly(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write(pipe, "through the pipe")
    reader.join(10)
    assert read == ["through the pipe"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    write(Path(os.devnull), "nothing")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@unix
@pytest.mark.parametrize("linked", [True, False])
def test_standard_output_is_written_in_place(tmp_path: Path, linked: bool):
    name = tmp_path / "link" if linked else Path("/dev/stdout")
    if linked:
        name.symlink_to("/dev/stdout")
    code = (
        "import sys; from pathlib import Path; from auricle.storage.files import written_whole\n"
        f"with written_whole(Path({str(name)!r})) as part: part.open('a').write('ours')"
    )
    with (tmp_path / "out.txt").open("w") as file:
        before = os.fstat(file.fileno()).st_ino
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "out.txt").read_text() == "ours"
    assert (tmp_path / "out.txt").stat().st_ino == before


def test_the_longest_name_that_the_disk_allows(tmp_path: Path):
    name = "n" * 255
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("this disk has shorter names")
    write(tmp_path / name, "new")
    assert (tmp_path / name).read_text() == "new"


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path):
    path = tmp_path / "file.txt"
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(written_whole(path)) for _ in range(2)]
        assert parts[0] != parts[1]
        for number, part in enumerate(parts):
            part.write_text(str(number) * 100)
    assert path.read_text() in ("0" * 100, "1" * 100)
    assert os.listdir(tmp_path) == ["file.txt"]


@unix
def test_parts_of_killed_writers_of_the_same_file_are_removed(tmp_path: Path):
    code = (
        "import os; from pathlib import Path; from auricle.storage.files import written_whole\n"
        f"with written_whole(Path({str(tmp_path)!r}) / NAME) as part: os.kill(os.getpid(), 9)"
    )
    for name in ("file.txt", "other.txt"):
        subprocess.run([sys.executable, "-c", f"NAME = {name!r}\n{code}"], check=False)
    assert len(os.listdir(tmp_path)) == 2
    with written_whole(tmp_path / "file.txt") as part:
        write(tmp_path / "file.txt", "by another, while the first still writes")
        assert part.exists()
        part.write_text("new")
    names = sorted(os.listdir(tmp_path))
    assert (len(names), names[1]) == (2, "file.txt")  # and the part of the other file


@unix
def test_an_existing_file_in_a_folder_that_cannot_be_written(tmp_path: Path):
    if os.geteuid() == 0:
        pytest.skip("root may write every folder")
    path = tmp_path / "file.txt"
    path.write_text("old")
    tmp_path.chmod(0o500)
    try:
        write(path, "new")
    finally:
        tmp_path.chmod(0o700)
    assert path.read_text() == "new"


def test_an_error_names_the_file(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as caught:
        write(tmp_path / "file" / "inside.txt", "text")
    assert "part" not in str(caught.value.filename)


def test_only_stale_parts_are_removed(tmp_path: Path):
    for name, age_seconds in (("old", 2 * STALE_PART_SECONDS), ("young", 0.0)):
        path = tmp_path / f"{name}{PART_SUFFIX}"
        path.touch()
        then = path.stat().st_mtime - age_seconds
        os.utime(path, (then, then))
    remove_stale_parts(tmp_path)
    assert os.listdir(tmp_path) == [f"young{PART_SUFFIX}"]
