"""Downloads against a server on loopback that misbehaves as servers do."""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from auricle.errors import AuricleError
from auricle.storage.download import DownloadError, Remote, download
from auricle.storage.files import cache_folder
from loopback import Server, serving

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server({"file.bin": CONTENT})) as state:
        yield state


def test_a_whole_file_with_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = download(
        server.url + "file.bin",
        tmp_path / "new" / "file.bin",
        sha256=SHA256.upper(),
        md5=MD5,
        progress=lambda *at: seen.append(at),
    )
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [file.name for file in path.parent.iterdir()] == ["file.bin"]
    download(server.url + "file.bin", path, sha256=SHA256)
    assert server.asked == [None], "a file that is there and right is not fetched again"


def test_a_broken_connection_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cut = [1000, 70_000]
    path = download(server.url + "file.bin", tmp_path / "file.bin", sha256=SHA256, pause=0)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-", "bytes=71000-"]


def test_a_later_call_goes_on(server: Server, tmp_path: Path) -> None:
    server.cut = [1000] + [0] * 2
    with pytest.raises(
        DownloadError, match=r"ended after 1,000 of 512,000 bytes \(1,000 bytes are kept"
    ):
        download(server.url + "file.bin", tmp_path / "file.bin", md5=MD5, attempts=2, pause=0)
    assert not (tmp_path / "file.bin").exists()
    server.cut = []
    assert download(server.url + "file.bin", tmp_path / "file.bin", md5=MD5).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=1000-"


def test_without_a_checksum_it_starts_over(server: Server, tmp_path: Path) -> None:
    server.cut = [1000]
    assert download(server.url + "file.bin", tmp_path / "file.bin", pause=0).read_bytes() == CONTENT
    assert server.asked == [None, None]


def test_a_server_that_sends_no_parts(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cut = False, [1000]
    assert (
        download(server.url + "file.bin", tmp_path / "file.bin", md5=MD5, pause=0).read_bytes()
        == CONTENT
    )
    assert server.asked == [None, "bytes=1000-"]


def test_a_part_that_is_not_the_one_asked_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    server.shift = 5
    with pytest.raises(
        DownloadError, match="requested bytes from 1000, the server sent bytes from 1005"
    ):
        download(server.url + "file.bin", tmp_path / "file.bin", md5=MD5, attempts=1)


@pytest.mark.parametrize("part", [CONTENT, b"x" * len(CONTENT), CONTENT + b"x"])
def test_a_part_that_is_already_as_long_as_the_file(
    server: Server, tmp_path: Path, part: bytes
) -> None:
    (tmp_path / "file.bin.part").write_bytes(part)
    assert (
        download(server.url + "file.bin", tmp_path / "file.bin", md5=MD5, pause=0).read_bytes()
        == CONTENT
    )


def test_a_wrong_checksum_is_refused_and_nothing_kept(server: Server, tmp_path: Path) -> None:
    server.files["file.bin"] = CONTENT[:-1] + b"!"
    with pytest.raises(
        DownloadError, match=f"sha256 [0-9a-f]{{64}}: expected {SHA256}; the file was removed"
    ):
        download(server.url + "file.bin", tmp_path / "file.bin", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_a_check_of_ones_own(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="no zip archive; the file was removed"):
        download(
            server.url + "file.bin",
            tmp_path / "file.bin",
            check=lambda path: "no zip archive" if path.exists() else None,
        )
    target = tmp_path / "file.bin"
    assert download(server.url + "file.bin", target, check=lambda _path: None).exists()


def test_a_length_that_lies(server: Server, tmp_path: Path) -> None:
    server.length = len(CONTENT) + 10
    with pytest.raises(DownloadError, match="ended after 512,000 of 512,010 bytes"):
        download(server.url + "file.bin", tmp_path / "unchecked.bin", attempts=2, pause=0)
    assert (
        download(
            server.url + "file.bin", tmp_path / "file.bin", sha256=SHA256, pause=0
        ).read_bytes()
        == CONTENT
    )
    server.length = 1000
    with pytest.raises(DownloadError, match=r"sha256 [0-9a-f]{64}: expected"):
        download(server.url + "file.bin", tmp_path / "short.bin", sha256=SHA256)


def test_more_than_was_expected(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="512,000 bytes: expected at most 1,000"):
        download(server.url + "file.bin", tmp_path / "file.bin", max_bytes=1000)
    assert list(tmp_path.iterdir()) == []


def test_longer_than_was_allowed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="exceeded its time limit"):
        download(server.url + "file.bin", tmp_path / "file.bin", max_seconds=-1)


@pytest.mark.parametrize(("statuses", "asked"), [([404], 1), ([503, 500], 3), ([429], 2)])
def test_answers_that_last_and_answers_that_pass(
    server: Server, tmp_path: Path, statuses: list[int], asked: int
) -> None:
    server.fail = list(statuses)
    if statuses == [404]:
        with pytest.raises(DownloadError, match="the server answered 404 Not Found"):
            download(server.url + "file.bin", tmp_path / "file.bin", pause=0)
    else:
        assert (
            download(server.url + "file.bin", tmp_path / "file.bin", pause=0).read_bytes()
            == CONTENT
        )
    assert len(server.asked) == asked


def test_no_connection_and_no_web_address(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:1/file: .*refused"):
        download("http://127.0.0.1:1/file", tmp_path / "file.bin", attempts=2, pause=0)
    secret = tmp_path / "secret"
    secret.write_text("x")
    with pytest.raises(
        DownloadError, match="expected an address that begins with http:// or https://"
    ):
        download(secret.as_uri(), tmp_path / "file.bin")


def test_a_redirection_leaves_the_web_nowhere(server: Server, tmp_path: Path) -> None:
    server.redirect = "ftp://127.0.0.1/file"
    with pytest.raises(DownloadError):
        download(server.url + "file.bin", tmp_path / "file.bin", attempts=1)
    server.redirect = (tmp_path / "secret").as_uri()
    with pytest.raises(DownloadError):
        download(server.url + "file.bin", tmp_path / "file.bin", attempts=1)


class Disk(NamedTuple):
    """As shutil.disk_usage tells."""

    total: int
    used: int
    free: int


def test_a_file_larger_than_the_disk_is_refused_before_it_is_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(1 << 40, 1 << 40, 400_000))
    with pytest.raises(
        AuricleError, match=r"file\.bin takes 0\.0 GB, but its disk has only 0\.0 GB free"
    ):
        download(server.url + "file.bin", tmp_path / "new" / "file.bin", sha256=SHA256, pause=0)
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:200_000])
    assert (
        download(server.url + "file.bin", tmp_path / "file.bin", sha256=SHA256).read_bytes()
        == CONTENT
    )


def test_a_full_disk_is_not_tried_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DownloadError, match="No space left on device"):
        download(server.url + "file.bin", tmp_path / "file.bin", sha256=SHA256, pause=0)
    assert len(server.asked) == 1


def test_a_published_file_comes_from_its_makers_or_a_mirror(server: Server, tmp_path: Path) -> None:
    remote = Remote("file.bin", server.url + "file.bin", f"sha256:{SHA256}", len(CONTENT))
    assert remote.fetch(tmp_path / "a").read_bytes() == CONTENT
    server.files = {"there/file.bin": CONTENT}
    assert remote.fetch(tmp_path / "b", mirror=server.url + "there/").read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="404"):
        remote.fetch(tmp_path / "c")
    server.files = {"file.bin": CONTENT + b"x"}
    with pytest.raises(DownloadError, match="expected at most 512,000"):
        remote.fetch(tmp_path / "d")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AURICLE_CACHE": "/own"}, "/own/metrics"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/auricle/metrics"),
        ({"HOME": "/home/a"}, "/home/a/.cache/auricle/metrics"),
    ],
)
def test_the_cache_lies_where_the_user_says(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    clear: Callable[[str], None] = lambda name: monkeypatch.delenv(name, raising=False)  # noqa: E731
    for name in ("AURICLE_CACHE", "XDG_CACHE_HOME"):
        clear(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder("metrics") == Path(expected)
