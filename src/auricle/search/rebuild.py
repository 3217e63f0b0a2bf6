"""Rebuilds an index with another model, next to the old index, and replaces that when complete."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import apsw

from auricle.errors import AuricleError
from auricle.search.schema import APPLICATION, PROBLEMS

SUFFIX = ".rebuild"  # follows the name of the new index until it is complete


def known_files(path: Path) -> list[str]:
    """Returns the files of an index of any model that still exist.

    Raises:
        AuricleError: the file is missing, damaged, or no index.
    """
    if not path.is_file():
        raise AuricleError(f"no index {path}: make one with `auricle index FOLDER`")
    try:
        with contextlib.closing(apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)) as database:
            if database.execute("PRAGMA application_id").get != APPLICATION:
                raise AuricleError(
                    f"{path} is not an index of auricle: name another file with --database"
                )
            rows = database.execute("SELECT path FROM files ORDER BY path").fetchall()
    except apsw.Error as error:
        problem = PROBLEMS.get(type(error), f"cannot be read: {error}")
        raise AuricleError(f"the index {path} {problem}") from None
    names = [os.fsdecode(path) for (path,) in rows if isinstance(path, bytes)]
    return [name for name in names if os.path.exists(name)]


@contextlib.contextmanager
def replaced_when_complete(path: Path) -> Iterator[Path]:
    """Yields the path of a new index, and replaces the old index with it at the end.

    A rebuild that is stopped leaves the old index unchanged. The next rebuild continues with the
    sounds that the new index lacks.
    """
    new = path.with_name(f"{path.name}{SUFFIX}")
    yield new
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
    os.replace(new, path)
