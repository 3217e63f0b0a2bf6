"""An archive is unpacked whole into one folder, or not at all."""

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from auricle.storage import unpacking
from auricle.storage.archives import ArchiveError, unpack

py7zr = pytest.importorskip("py7zr", reason="7z archives: pip install 'auricle[data]'")

Make = Callable[[Path, dict[str, bytes]], Path]
FILES = {
    "top/a.wav": b"A" * 3_000_000,
    "top/sub/ b .wav": b"B",
    "top/empty.wav": b"",
    "top/notes.txt": b"x",
}


def make_zip(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        directory = tarfile.TarInfo("top")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def make_7z(folder: Path, files: dict[str, bytes]) -> Path:
    """As py7zr writes it; it writes no path that leads elsewhere, so such a name is put in
    afterwards."""
    path = folder / "archive.7z"
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.set_encoded_header_mode(False)
        for number, (name, content) in enumerate(files.items()):
            archive.writestr(content, f"{number:0{len(name)}}" if unwritable(name) else name)
    content = path.read_bytes()
    for number, name in enumerate(files):
        if unwritable(name):
            content = content.replace(
                f"{number:0{len(name)}}".encode("utf-16-le"), name.encode("utf-16-le")
            )
    return with_right_header_checksum(path, content)


def unwritable(name: str) -> bool:
    return ".." in name or name.startswith("/") or ":" in name


def with_right_header_checksum(path: Path, content: bytes) -> Path:
    """A 7z archive whose last header was changed: its start says where that is, and both have
    checksums."""
    from zlib import crc32

    offset, size = (
        int.from_bytes(content[12:20], "little"),
        int.from_bytes(content[20:28], "little"),
    )
    start = content[12:28] + crc32(content[32 + offset : 32 + offset + size]).to_bytes(4, "little")
    path.write_bytes(content[:8] + crc32(start).to_bytes(4, "little") + start + content[32:])
    return path


MAKERS = [make_zip, make_tar, make_7z]
kinds = pytest.mark.parametrize("make", MAKERS, ids=["zip", "tar", "7z"])


def wavs(name: str) -> str | None:
    return name.partition("/")[2] if name.endswith(".wav") else None


@kinds
def test_what_is_wanted_is_there_whole(make: Make, tmp_path: Path):
    told: list[tuple[int, int | None]] = []
    unpack(make(tmp_path, FILES), tmp_path / "new", wavs, lambda *at: told.append(at))
    found = {
        str(p.relative_to(tmp_path / "new")): p.read_bytes()
        for p in (tmp_path / "new").rglob("*")
        if p.is_file()
    }
    assert found == {"a.wav": FILES["top/a.wav"], "sub/ b .wav": b"B", "empty.wav": b""}
    assert told[-1][0] == 3_000_001
    assert told[-1][1] in (3_000_001, None)
    assert not (tmp_path / "new.part").exists()
    with pytest.raises(ArchiveError, match="exists already"):
        unpack(make(tmp_path, FILES), tmp_path / "new", wavs)


@kinds
@pytest.mark.parametrize(
    "name", ["../a.wav", "top/../../a.wav", "/a.wav", "C:/a.wav", "..\\a.wav", "top/\na.wav"]
)
def test_a_path_that_leads_elsewhere_is_refused(make: Make, name: str, tmp_path: Path):
    (tmp_path / "in").mkdir()
    archive = make(tmp_path / "in", {"top/b.wav": b"b", name: b"evil"})
    with pytest.raises(ArchiveError, match="a path outside of the archive"):
        unpack(archive, tmp_path / "out" / "new", lambda member: Path(member).name)
    assert not (tmp_path / "out" / "new").exists()
    assert not list(tmp_path.glob("*.wav"))
    assert not Path("/a.wav").exists()


def test_links_and_devices_are_refused(tmp_path: Path):
    link = zipfile.ZipInfo("top/a.wav")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        member = tarfile.TarInfo("top/a.wav")
        member.type, member.linkname = kind, "/etc/passwd"
        with tarfile.open(tmp_path / f"{kind.decode()}.tar.gz", "w:gz") as archive:
            archive.addfile(member)
    (tmp_path / "a.wav").symlink_to("/etc/passwd")
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.write(tmp_path / "a.wav", "top/a.wav")
    made = [*tmp_path.glob("*.zip"), *tmp_path.glob("*.tar.gz"), *tmp_path.glob("*.7z")]
    assert len(made) == 6
    for path in made:
        with pytest.raises(ArchiveError, match=r"a link or a device: 'top/a\.wav'"):
            unpack(path, tmp_path / "new", wavs)
    assert not (tmp_path / "new").exists()


@kinds
def test_limits_hold(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    archive = make(tmp_path, FILES)
    with monkeypatch.context() as small:
        small.setattr(unpacking, "MOST_BYTES", 1_000_000)
        with pytest.raises(ArchiveError, match="holds"):
            unpack(archive, tmp_path / "new", wavs)
    monkeypatch.setattr(unpacking, "MOST_FILES_PER_ARCHIVE", 2)
    with pytest.raises(ArchiveError, match="more than 2 files"):
        unpack(archive, tmp_path / "new", wavs)
    assert not (tmp_path / "new").exists()


@kinds
def test_what_is_damaged_or_not_what_was_expected(make: Make, tmp_path: Path):
    archive = make(tmp_path, {name: os.urandom(50_000) for name in ("top/a.wav", "top/b.wav")})
    with pytest.raises(ArchiveError, match="none of the expected files"):
        unpack(archive, tmp_path / "new", lambda _: None)
    content = archive.read_bytes()
    for damaged in (b"", content[:60_000], content[:40_000] + b"!!!!" + content[40_004:]):
        archive.write_bytes(damaged)
        with pytest.raises(ArchiveError) as caught:
            unpack(archive, tmp_path / "new", wavs)
        assert str(caught.value).startswith(f"{archive}: ")
        assert not (tmp_path / "new").exists()


@kinds
def test_two_files_of_one_name_are_refused(make: Make, tmp_path: Path):
    archive = make(tmp_path, {"top/a.wav": b"1", "top/b/a.wav": b"2"})
    with pytest.raises(ArchiveError, match=r"holds a\.wav twice"):
        unpack(archive, tmp_path / "new", lambda name: name.rpartition("/")[2] or None)


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path):
    (tmp_path / "new.part").mkdir()
    (tmp_path / "new.part" / "old.wav").touch()
    unpack(make_zip(tmp_path, FILES), tmp_path / "new", wavs)
    assert not (tmp_path / "new" / "old.wav").exists()
