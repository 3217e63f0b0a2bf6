"""Defines the tables of an index; sets its file up and checks it."""

from pathlib import Path

import apsw
import sqlite_vec

from auricle.checkpoint.folder import fingerprint
from auricle.errors import AuricleError

APPLICATION = 0x41555249  # "AURI": SQLite's application_id distinguishes our files from others
INDEX_VERSION = 1
BUSY_SECONDS = 30
# A memory map of the file, because copying its pages would take as long as comparing the vectors.
MAPPED_BYTES = 1 << 34

SQL_SCHEMA = """
CREATE TABLE model (fingerprint TEXT NOT NULL) STRICT;
CREATE TABLE sounds (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL,
    sound INTEGER NOT NULL REFERENCES sounds
) STRICT, WITHOUT ROWID;
CREATE INDEX files_of_sound ON files (sound);
CREATE TABLE windows (
    id INTEGER PRIMARY KEY, sound INTEGER NOT NULL REFERENCES sounds,
    start REAL NOT NULL, "end" REAL NOT NULL, whole INTEGER NOT NULL,
    caption TEXT NOT NULL, confidence REAL, tags TEXT NOT NULL
) STRICT;
CREATE INDEX windows_of_sound ON windows (sound);
CREATE VIRTUAL TABLE words USING fts5(
    caption, tags, content='', contentless_delete=1, tokenize='porter unicode61'
);
"""
EMBEDDINGS = """
CREATE VIRTUAL TABLE embeddings USING vec0(
    id INTEGER PRIMARY KEY, vector FLOAT[{}] distance_metric=cosine
)
"""
PROBLEMS: dict[type[Exception], str] = {
    apsw.NotADBError: "is not an index: name another file with --database",
    apsw.CorruptError: "is damaged: delete it and index again",
    apsw.FullError: "cannot grow: the disk is full",
    apsw.BusyError: "is in use by another program: try again when that has ended",
    apsw.ReadOnlyError: "cannot be written: name another file with --database",
    apsw.CantOpenError: "cannot be opened: name another file with --database",
    PermissionError: "cannot be written: name another file with --database",
    UnicodeEncodeError: "has a name that is not UTF-8: name another file with --database",
}


def set_up(
    database: apsw.Connection, path: Path, folder: Path, space: int, *, create: bool
) -> None:
    """Sets a connection up, and checks that the file is an index of this model.

    Args:
        database: a new connection.
        path: its file, for errors.
        folder: the checkpoint.
        space: dimensions of embeddings; 0 if the model has none.
        create: creates an index in an empty file; otherwise the connection only reads.

    Raises:
        AuricleError: the file is no index, or an index of another model or format.
    """
    run = database.execute
    database.set_busy_timeout(1000 * BUSY_SECONDS)
    # SQLite does not wait for write access in a transaction that began by reading.
    database.transaction_mode = "IMMEDIATE"
    run(f"PRAGMA query_only = {not create}")
    # An index from another machine must not call functions.
    run("PRAGMA trusted_schema = OFF")
    database.enable_load_extension(True)
    database.load_extension(sqlite_vec.loadable_path())
    database.enable_load_extension(False)
    run(f"PRAGMA mmap_size = {MAPPED_BYTES}")
    model = fingerprint(folder)
    if create:
        with database:
            if not run("SELECT 1 FROM sqlite_schema").get:
                run(SQL_SCHEMA)
                if space:
                    run(EMBEDDINGS.format(space))
                run("INSERT INTO model VALUES (?)", (model,))
                run(f"PRAGMA application_id = {APPLICATION}")
                run(f"PRAGMA user_version = {INDEX_VERSION}")
    if run("PRAGMA application_id").get != APPLICATION:
        raise AuricleError(f"{path} is not an index of auricle: name another file with --database")
    if (version := run("PRAGMA user_version").get) != INDEX_VERSION:
        raise AuricleError(
            f"the index {path} has format {version}, this version reads format {INDEX_VERSION}: "
            "delete it and index again"
        )
    if run("SELECT fingerprint FROM model").get != model:
        raise AuricleError(
            f"the index {path} belongs to another model than {folder}: run `auricle index "
            "--rebuild` to index its files again, or name its model with --checkpoint, or another "
            "index with --database"
        )
