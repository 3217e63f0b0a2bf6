"""Downloads files: resumes after a broken connection, checks a file before it gets its name."""

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

# Receives the bytes so far and the total, or None if the server does not state it.
DownloadProgress = Callable[[int, int | None], None]
# Returns the problem of a complete file, or None.
Check = Callable[[Path], str | None]

_BLOCK_BYTES = 1 << 20
# Errors of the disk. A retry does not help.
_DISK_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}
)


class DownloadError(AuricleError):
    """Raised for a file that cannot be downloaded; the message begins with its address."""


@dataclass(frozen=True)
class Remote:
    """A published file with its checksum."""

    name: str  # of the local file, and of the file at a mirror
    url: str
    checksum: str  # "md5:..." or "sha256:..."
    size: int | None = None  # bytes, where known

    def fetch(
        self, folder: Path, *, mirror: str | None = None, progress: DownloadProgress | None = None
    ) -> Path:
        """Downloads the file into `folder`, unless a file with the right checksum is there.

        Args:
            folder: receives the file.
            mirror: the address of a folder that holds a file of this name; replaces `url`. The
                checksum stays the same.
            progress: receives the bytes so far and the total.

        Returns:
            The file's path.

        Raises:
            DownloadError: as `download` does.
        """
        url = f"{mirror.rstrip('/')}/{urllib.parse.quote(self.name)}" if mirror else self.url
        algorithm, _, expected = self.checksum.partition(":")
        md5, sha256 = (expected if algorithm == name else None for name in ("md5", "sha256"))
        return download(
            url, folder / self.name, md5=md5, sha256=sha256, progress=progress, max_bytes=self.size
        )


def require_space(folder: Path, size: int, what: str) -> None:
    """Checks that `size` bytes fit on the folder's disk.

    Args:
        folder: may be missing; its nearest existing parent counts.
        size: in bytes.
        what: names the content, for the message.

    Raises:
        AuricleError: fewer than `size` bytes are free.
    """
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if size > free:
        raise AuricleError(
            f"{folder}: {what} takes {size / 1e9:,.1f} GB, but its disk has only "
            f"{free / 1e9:,.1f} GB free"
        )


def download(
    url: str,
    path: Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    check: Check | None = None,
    progress: DownloadProgress | None = None,
    max_bytes: int | None = None,
    max_seconds: float | None = None,
    timeout: float = 60.0,
    attempts: int = 5,
    pause: float = 1.0,
) -> Path:
    """Downloads `url` into `path`; keeps an existing file that passes its checks.

    The content grows in `path` + ".part", which is renamed when complete. With a checksum or a
    `check`, a broken download is resumed, in this call and in later ones. Without one, nothing
    would show that the parts fit together, so the download starts over.

    Args:
        url: begins with http:// or https://.
        path: the file to write.
        md5: the expected checksum, in hexadecimal.
        sha256: the expected checksum, in hexadecimal.
        check: returns the problem of the complete file, or None.
        progress: receives the bytes so far and the total.
        max_bytes: the largest accepted size.
        max_seconds: the longest accepted duration of the whole download.
        timeout: seconds without a byte after which a connection counts as broken.
        attempts: tries in a row that bring no new byte.
        pause: seconds before the second try; doubles before each later one.

    Returns:
        `path`.

    Raises:
        DownloadError: no connection; an HTTP error; a file that fails its checks, which is removed;
            or a download of more than `max_bytes` or `max_seconds`.
        AuricleError: the disk has less space than the file takes according to the server.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url}: expected an address that begins with http:// or https://")
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
            f"{url}: {problem}; the file was removed: try again, or report it to its publisher"
        )
    fetch.part.replace(path)
    return path


class _Download:
    """A download in progress, over one or more connections."""

    def __init__(
        self,
        url: str,
        path: Path,
        checks: Sequence[Check],
        progress: DownloadProgress | None,
        max_bytes: int | None,
        timeout: float,
    ) -> None:
        self.url = url
        self.part = path.with_name(path.name + ".part")
        self.checks = checks
        self.progress = progress
        self.max_bytes = max_bytes
        self.timeout = timeout
        # Allows HTTP only: urllib's default opener would follow a redirection to an FTP server.
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
        """Opens one connection and appends the missing bytes; raises OSError if it ends early."""
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
            # The server has no bytes after ours: the part is complete, or of another file.
            if self.problem(self.part) is not None:
                self.part.unlink()
                raise OSError("the part that was kept does not belong to the file") from error
            return
        with response:
            begin, total = _span(response.status, response.headers)
            if begin not in (0, start):
                raise OSError(f"requested bytes from {start}, the server sent bytes from {begin}")
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
        while block := response.read1(_BLOCK_BYTES):
            done += len(block)
            self._refuse_if_too_large(done)
            if deadline is not None and time.monotonic() > deadline:
                raise DownloadError(
                    f"{self.url}: the download exceeded its time limit{self.kept()}"
                )
            write(block)
            if self.progress:
                self.progress(done, total)
        if total is not None and done < total:
            raise OSError(f"the connection ended after {done:,} of {total:,} bytes")

    def _refuse_if_too_large(self, size: int | None) -> None:
        if self.max_bytes is not None and size is not None and size > self.max_bytes:
            self.part.unlink(missing_ok=True)
            raise DownloadError(f"{self.url}: {size:,} bytes: expected at most {self.max_bytes:,}")

    def problem(self, path: Path) -> str | None:
        """Returns the problem of the complete file, or None."""
        return next((problem for check in self.checks if (problem := check(path))), None)

    def kept(self) -> str:
        """Returns the end of a message: how many bytes the next try need not download."""
        return (
            f" ({self.size:,} bytes are kept: try again to continue from there)"
            if self.checks and self.size
            else ""
        )


def _checks(md5: str | None, sha256: str | None, check: Check | None) -> list[Check]:
    def checksum(algorithm: str, expected: str) -> Check:
        def check_sum(path: Path) -> str | None:
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, algorithm).hexdigest()
            return (
                None if actual == expected.lower() else f"{algorithm} {actual}: expected {expected}"
            )

        return check_sum

    checks = []
    if md5:
        checks.append(checksum("md5", md5))
    if sha256:
        checks.append(checksum("sha256", sha256))
    if check:
        checks.append(check)
    return checks


def _span(status: int, headers: email.message.Message) -> tuple[int, int | None]:
    """Returns the position of a response's first byte, and the size of the whole file if known."""
    if status == http.HTTPStatus.PARTIAL_CONTENT:
        content_range = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if content_range is None:
            raise OSError(
                f"the server sent a part of the file with an unreadable Content-Range: "
                f"{headers.get('Content-Range')!r}"
            )
        begin, total = content_range.groups()
        return int(begin), None if total == "*" else int(total)
    length = headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _is_lasting(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code < 500 and error.code not in (408, 429)
    return isinstance(error, OSError) and error.errno in _DISK_ERRORS


def _is_unreachable(error: Exception) -> bool:
    """Returns whether the server or the network is missing, so that a retry would be pointless."""
    return isinstance(getattr(error, "reason", None), socket.gaierror | ConnectionRefusedError)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    return f"{reason}" if str(reason) else type(error).__name__
