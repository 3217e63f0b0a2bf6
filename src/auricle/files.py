"""Files that are there whole or not at all, whatever becomes of who writes them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write a file that gets its name when it is whole: beside it, as `NAME.part`, in a folder that is made for it.

    Where that fails, nothing is left behind, and an error of the disk, which may not say where, is given the file's name.
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
