"""Files that are there whole or not at all, whatever becomes of who writes them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from auricle.errors import AuricleError


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write a file that gets its name when it is whole: beside it, as `NAME.part`, in a
    folder that is made for it.

    Where that fails, nothing is left behind, and an error of the disk, which may not say where, is
    given the file's name.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:
            error.filename = error.filename or str(path)
        raise


def cache_folder(name: str) -> Path:
    """The folder `name` in the user's cache: $AURICLE_CACHE, else auricle in $XDG_CACHE_HOME, else
    ~/.cache/auricle.

    Raises:
        AuricleError: none of the three is there.
    """
    if own := os.environ.get("AURICLE_CACHE"):
        return Path(own) / name
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auricle" / name
    except RuntimeError:
        raise AuricleError(
            "there is no home folder to cache in: set AURICLE_CACHE to a folder"
        ) from None
