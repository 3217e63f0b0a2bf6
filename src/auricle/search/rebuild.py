"""Makes an index anew with another model, next to the old one, which it replaces when complete."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import apsw

from auricle.errors import AuricleError
from auricle.search.schema import APPLICATION, PROBLEMS

SUFFIX = ".rebuild"  # of the new index until it is complete


def known_files(path: Path) -> list[str]:
    """Returns the files in an index of any model that are still there.

    Raises:
        AuricleError: there is no index, or the file is no index or damaged.
    """
    if not path.is_file():
        raise AuricleError(f"there is no index {path}: make one by `auricle index FOLDER`")
    try:
        with contextlib.closing(apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)) as database:
            if database.execute("PRAGMA application_id").get != APPLICATION:
                raise AuricleError(
                    f"{path} is no index of auricle: name another file by --database"
                )
            rows = database.execute("SELECT path FROM files ORDER BY path").fetchall()
    except apsw.Error as error:
        problem = PROBLEMS.get(type(error), f"cannot be read: {error}")
        raise AuricleError(f"the index {path} {problem}") from None
    names = [os.fsdecode(path) for (path,) in rows if isinstance(path, bytes)]
    return [name for name in names if os.path.exists(name)]


@contextlib.contextmanager
def replaced_when_complete(path: Path) -> Iterator[Path]:
    """Yields the place of a new index, and puts it in the place of the old one at the end.

    A rebuild that was stopped leaves the old index as it is, and the next one goes on from the
    sounds that the new one holds.
    """
    new = path.with_name(f"{path.name}{SUFFIX}")
    yield new
    for ending in ("-wal", "-shm", "-journal"):
        path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)
    os.replace(new, path)
