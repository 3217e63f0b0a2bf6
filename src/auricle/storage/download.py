"""Files from the web: resumed where a connection broke, checked before they get their name."""

import email.message
import errno
import hashlib
import http.client
import re
import shutil
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from auricle.errors import AuricleError

# Called with (bytes so far, bytes in all or None where the server does not say).
Progress = Callable[[int, int | None], None]
# What is wrong with a complete file, or None.
Check = Callable[[Path], str | None]

_BLOCK = 1 << 20
# What a second try does not mend: the disk's own errors.
_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}
)


class DownloadError(AuricleError):
    """A file that could not be fetched; the message begins with its address."""


@dataclass(frozen=True)
class Remote:
    """A published file, and what it must be."""

    name: str  # what it is called here, and at a mirror
    url: str
    checksum: str  # "md5:..." or "sha256:..."
    size: int | None = None  # bytes, where known

    def fetch(
        self, folder: Path, *, mirror: str | None = None, progress: Progress | None = None
    ) -> Path:
        """The file in `folder`, fetched unless it is there and right.

        Args:
            folder: where to.
            mirror: an address under which a file of this name lies, in place of its makers';
                checksums hold as ever.
            progress: told of bytes.

        Raises:
            DownloadError: as `download` does.
        """
        url = f"{mirror.rstrip('/')}/{urllib.parse.quote(self.name)}" if mirror else self.url
        algorithm, _, wanted = self.checksum.partition(":")
        md5, sha256 = (wanted if algorithm == name else None for name in ("md5", "sha256"))
        return download(
            url, folder / self.name, md5=md5, sha256=sha256, progress=progress, max_bytes=self.size
        )


def require_space(folder: Path, size: int, what: str) -> None:
    """Refuses what would not fit on the folder's disk.

    Raises:
        AuricleError: fewer than `size` bytes are free.
    """
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise AuricleError(
            f"{folder}: {what} takes {size / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free on "
            f"its disk"
        )


def download(
    url: str,
    path: Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    check: Check | None = None,
    progress: Progress | None = None,
    max_bytes: int | None = None,
    max_seconds: float | None = None,
    timeout: float = 60.0,
    attempts: int = 5,
    pause: float = 1.0,
) -> Path:
    """Fetch `url` (http or https) into `path`; a file already there that passes its checks is kept.

    The file grows as `path` + ".part" and is renamed when complete. With a checksum or a `check`, a
    broken one goes on where it stopped, within this call (`attempts` in a row without a new byte,
    `pause` seconds before the second, twice as long before each later one) and in later ones;
    without, nothing would show that the halves fit, so it starts over. `timeout` is the silence in
    seconds after which a connection counts as broken.

    Raises DownloadError: no connection, an HTTP error, a file that fails its checks (it is
    removed), more than `max_bytes` or `max_seconds`; AuricleError: less room on the disk than the
    server says that the file takes.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url}: an http:// or https:// address is wanted")
    fetch = _Download(url, path, _checks(md5, sha256, check), progress, max_bytes, timeout)
    if path.exists() and fetch.checks and fetch.problem(path) is None:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = None if max_seconds is None else time.monotonic() + max_seconds
    failures, furthest = 0, fetch.size
    while True:
        if not fetch.checks:
            fetch.part.unlink(missing_ok=True)
        try:
            fetch.run(deadline)
            break
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            hopeless = _is_lasting(error) or (failures == 0 and _is_unreachable(error))
            failures = 1 if fetch.size > furthest else failures + 1
            furthest = max(furthest, fetch.size)
            if hopeless or failures >= attempts:
                raise DownloadError(f"{url}: {_reason(error)}{fetch.kept()}") from error
            time.sleep(pause * 2 ** (failures - 1))
    problem = fetch.problem(fetch.part)
    if problem:
        fetch.part.unlink()
        raise DownloadError(
            f"{url}: {problem}; the file was removed: try again, or tell its makers"
        )
    fetch.part.replace(path)
    return path


class _Download:
    """One file on its way, over as many connections as it takes."""

    def __init__(
        self,
        url: str,
        path: Path,
        checks: Sequence[Check],
        progress: Progress | None,
        max_bytes: int | None,
        timeout: float,
    ) -> None:
        self.url = url
        self.part = path.with_name(path.name + ".part")
        self.checks = checks
        self.progress = progress
        self.max_bytes = max_bytes
        self.timeout = timeout
        # Only the web: urllib's usual opener would follow a redirection to an ftp server.
        self.opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPRedirectHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
        ):
            self.opener.add_handler(handler)

    @property
    def size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def run(self, deadline: float | None) -> None:
        """One connection: append what is missing; OSError if it ends early."""
        start = self.size
        request = urllib.request.Request(
            self.url, headers={"User-Agent": "auricle", "Accept-Encoding": "identity"}
        )
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            response = self.opener.open(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            if error.code != 416 or not start:
                raise
            error.close()
            # Nothing follows what is there: either it is complete or it is no part of this file.
            if self.problem(self.part) is not None:
                self.part.unlink()
                raise OSError("the part that was kept did not fit the file") from error
            return
        with response:
            begin, total = _span(response.status, response.headers)
            if begin not in (0, start):
                raise OSError(f"asked for byte {start}, the server sent from byte {begin}")
            self._refuse_if_too_large(total)
            require_space(self.part.parent, (total or begin) - begin, self.url)
            with self.part.open("ab" if begin else "wb") as file:
                self._copy(response, file.write, begin, total, deadline)

    def _copy(
        self,
        response: http.client.HTTPResponse,
        write: Callable[[bytes], int],
        done: int,
        total: int | None,
        deadline: float | None,
    ) -> None:
        while block := response.read1(_BLOCK):
            done += len(block)
            self._refuse_if_too_large(done)
            if deadline is not None and time.monotonic() > deadline:
                raise DownloadError(
                    f"{self.url}: not complete within the time allowed{self.kept()}"
                )
            write(block)
            if self.progress:
                self.progress(done, total)
        if total is not None and done < total:
            raise OSError(f"the connection ended after {done:,} of {total:,} bytes")

    def _refuse_if_too_large(self, size: int | None) -> None:
        if self.max_bytes is not None and size is not None and size > self.max_bytes:
            self.part.unlink(missing_ok=True)
            raise DownloadError(
                f"{self.url}: {size:,} bytes, at most {self.max_bytes:,} were expected"
            )

    def problem(self, path: Path) -> str | None:
        """What is wrong with the complete file, or None."""
        return next((problem for check in self.checks if (problem := check(path))), None)

    def kept(self) -> str:
        """The end of a message: what a second try can go on from."""
        return (
            f" ({self.size:,} bytes are kept, a second try goes on from there)"
            if self.checks and self.size
            else ""
        )


def _checks(md5: str | None, sha256: str | None, check: Check | None) -> list[Check]:
    def checksum(name: str, wanted: str) -> Check:
        def check_sum(path: Path) -> str | None:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, name).hexdigest()
            return None if found == wanted.lower() else f"{name} {found}, {wanted} was expected"

        return check_sum

    sums = [checksum(name, wanted) for name, wanted in (("md5", md5), ("sha256", sha256)) if wanted]
    return [*sums, check] if check else sums


def _span(status: int, headers: email.message.Message) -> tuple[int, int | None]:
    """The first byte that a response brings, and the size of the whole file where it says."""
    if status == http.HTTPStatus.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if found is None:
            raise OSError(
                f"a part of the file without a usable Content-Range: "
                f"{headers.get('Content-Range')!r}"
            )
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _is_lasting(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code < 500 and error.code not in (408, 429)
    return isinstance(error, OSError) and error.errno in _DISK


def _is_unreachable(error: Exception) -> bool:
    """Whether there is no such server or no network, so that a retry would be pointless."""
    return isinstance(getattr(error, "reason", None), socket.gaierror | ConnectionRefusedError)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    return f"{reason}" if str(reason) else type(error).__name__
