"""Captions and embeddings of many sounds in one SQLite file, and how sounds are found in it.

    files ──> sounds ──> windows ──┬─> words        FTS5: captions and tags, stemmed, ranked by BM25
    path,     content    caption,  └─> embeddings   sqlite-vec: one vector a window, ranked by cosine
    size,     hash       tags, time
    time

A sound is known by its content: a file that was moved or copied is not heard again. What is kept of
a file changes in one transaction, so that an index can be stopped, or killed, at any moment and
holds whole files.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import nlargest
from operator import itemgetter
from pathlib import Path

import apsw
import numpy as np
import sqlite_vec

from auricle.captioning.captioner import Captioner
from auricle.captioning.parallel import side_by_side
from auricle.captioning.results import Caption, Tag
from auricle.checkpoint.folder import fingerprint
from auricle.checkpoint.vocabulary import STOP_WORDS, words
from auricle.errors import AudioError, AuricleError, printable
from auricle.search import By
from auricle.sound.container import Source
from auricle.sound.decode import load_audio

APPLICATION = 0x41555249  # "AURI", by which SQLite files are told apart
VERSION = 1
# A tag at least so likely can be searched for by its name; and what the best match by words adds to
# a cosine. The scores of both were looked at on the split `label_valid`; see docs/search.md.
TAG_PROBABILITY = 0.1
WORDS_WEIGHT = 0.15
CANDIDATES = 100  # windows that either way of searching puts forward; more where more are asked for
MOST_CANDIDATES = 4096  # sqlite-vec finds no more
BUSY_SECONDS = 30
# of the file; copying its pages would take as long again as comparing what they hold
MAPPED_BYTES = 1 << 34

SCHEMA = """
CREATE TABLE model (fingerprint TEXT NOT NULL) STRICT;
CREATE TABLE sounds (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, sound INTEGER NOT NULL REFERENCES sounds
) STRICT, WITHOUT ROWID;
CREATE INDEX files_of_sound ON files (sound);
CREATE TABLE windows (
    id INTEGER PRIMARY KEY, sound INTEGER NOT NULL REFERENCES sounds, start REAL NOT NULL, "end" REAL NOT NULL,
    whole INTEGER NOT NULL, caption TEXT NOT NULL, confidence REAL, tags TEXT NOT NULL
) STRICT;
CREATE INDEX windows_of_sound ON windows (sound);
CREATE VIRTUAL TABLE words USING fts5(caption, tags, content='', contentless_delete=1, tokenize='porter unicode61');
"""
EMBEDDINGS = "CREATE VIRTUAL TABLE embeddings USING vec0(id INTEGER PRIMARY KEY, vector FLOAT[{}] distance_metric=cosine)"
PROBLEMS: dict[type[Exception], str] = {
    apsw.NotADBError: "is no index: name another file by --database",
    apsw.CorruptError: "is damaged: delete it and index anew",
    apsw.FullError: "cannot grow: the disk is full",
    apsw.BusyError: "is in use by another program: try again when that is done",
    apsw.ReadOnlyError: "cannot be written: name another place by --database",
    apsw.CantOpenError: "cannot be opened: name another place by --database",
    PermissionError: "cannot be written: name another place by --database",
    UnicodeEncodeError: "has a name that is no UTF-8, which SQLite wants: name another by --database",
}


@dataclass(frozen=True)
class File:
    """A file as it was found on disk."""

    path: str
    size: int  # bytes
    modified: int  # nanoseconds


@dataclass(frozen=True)
class Changes:
    """How files on disk differ from what an index holds of them."""

    new: tuple[File, ...]  # or other than they were
    unchanged: int
    gone: tuple[str, ...]


@dataclass(frozen=True)
class Indexed:
    """A file that an index has taken in, or why it could not."""

    file: str
    heard: bool = False  # or known by its content
    error: AudioError | None = None


@dataclass(frozen=True)
class _Heard:
    """How the hearing of a file ended."""

    path: str
    digest: bytes
    error: AudioError | None = None


@dataclass(frozen=True)
class Hit:
    """A stretch of a file that was found."""

    file: str
    start: float  # seconds from the file's beginning
    end: float
    caption: str
    # How well it fits. By embedding: the cosine, from -1 to 1. By words: BM25 in relation to the
    # best, from 0 to 1. By both: the cosine + WORDS_WEIGHT times the latter.
    score: float
    whole: bool  # the whole sound, not a stretch of it
    confidence: float | None
    tags: tuple[Tag, ...]


class SoundIndex:
    """An index of sounds in a file; see the module.

    Args:
        path: the file.
        captioner: what hears the sounds; an index holds what one model says.
        create: begin an index where there is none; without, one is opened to be searched only.

    Raises:
        AuricleError: there is no index, or it is another model's, of another format, damaged, or no
            index.
    """

    def __init__(self, path: Path, captioner: Captioner, *, create: bool = False) -> None:
        self.path = path
        self.captioner = captioner
        if path.is_dir():
            raise AuricleError(f"{path} is a folder: name the index's file by --database")
        if not create and not path.exists():
            raise AuricleError(f"there is no index {path}: make one by `auricle index FOLDER`")
        with self._problems():
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            # Searching needs no leave to write, but with it, what a killed program left half done
            # is undone first.
            flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
            self._database = apsw.Connection(str(path), flags)
            try:
                self._set_up(create=create)
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> "SoundIndex":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """What is put within becomes lasting at its end, all or nothing; faster than sound by
        sound.
        """
        with self._problems(), self._database:
            yield

    def changes(self, folders: Iterable[str], files: Iterable[str]) -> Changes:
        """Compares files with what is known of them, by size and time of modification.

        Args:
            folders: where files that are known have gone if they are there no more.
            files: the sounds that are there now.
        """
        known: dict[str, tuple[int, int]] = {}
        with self._problems():
            for folder in folders:
                below = os.fsencode(os.path.join(os.path.abspath(folder), ""))
                rows = self._database.execute(
                    "SELECT path, size, modified FROM files WHERE path >= ? AND path < ?",
                    (below, below[:-1] + bytes([below[-1] + 1])),
                )
                known |= {os.fsdecode(path): (size, modified) for path, size, modified in rows}
        new: list[File] = []
        unchanged = 0
        for path in dict.fromkeys(map(os.path.abspath, files)):
            try:
                status = os.stat(path)
                file = File(path, status.st_size, status.st_mtime_ns)
            except OSError:
                file = File(path, -1, -1)  # reading it says what is wrong
            if known.get(path) == (file.size, file.modified):
                unchanged += 1
            else:
                new.append(file)
        return Changes(tuple(new), unchanged, tuple(path for path in known if _gone(path)))

    def update(self, changes: Changes, jobs: int | None = None) -> Iterator[Indexed]:
        """Hears what is new, a transaction a file, and then forgets what is gone.

        Args:
            changes: what `changes` found.
            jobs: how many sounds at a time; as many as there are processors if None.

        Yields:
            What became of each of the new files, in their order.
        """
        with self._problems():
            known = {digest for (digest,) in self._database.execute("SELECT digest FROM sounds")}
        files = {file.path: file for file in changes.new}
        captions: list[Caption] = []
        results = side_by_side(partial(self._hear, known), ((path, path) for path in files), jobs)
        with contextlib.closing(results):  # type: ignore[type-var]
            for result in results:
                if isinstance(result, Caption):
                    captions.append(result)
                    continue
                if result.error is None:
                    self.put(files[result.path], result.digest, captions)
                    known.add(result.digest)
                else:
                    self._forget([result.path])
                yield Indexed(result.path, bool(captions), result.error)
                captions = []
        self._forget(changes.gone)
        self._sweep()

    def put(self, file: File, digest: bytes, captions: Sequence[Caption]) -> None:
        """Keeps what was heard of a file, in place of what was known of it.

        Args:
            file: as it was before it was read.
            digest: of its content.
            captions: of its windows; none are needed where a sound of this content is known.
        """
        with self._problems(), self._database:
            run = self._database.execute
            sound = run("SELECT id FROM sounds WHERE digest = ?", (digest,)).get
            if sound is None:
                if not captions:
                    raise AuricleError(
                        f"another program removed sounds from the index {self.path}: index once more"
                    )
                sound = run("INSERT INTO sounds (digest) VALUES (?) RETURNING id", (digest,)).get
                for caption in captions:
                    self._put_window(sound, caption)
            values = os.fsencode(file.path), file.size, file.modified, sound
            run("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", values)

    def search(self, sentence: str, by: By = By.both, top: int = 10) -> list[Hit]:
        """Finds stretches of sound by a sentence, the best first; neighbours of one caption are one
        stretch.

        Args:
            sentence: in plain words. Those that the model does not know count by words only.
            by: what is compared.
            top: how many hits at most.

        Raises:
            AuricleError: there is no word in the sentence; or, by embedding, the model cannot
                compare or knows none of them.
        """
        said = words(sentence)
        if not said:
            raise AuricleError(f"'{sentence}' has no words to search by")
        vocabulary, space = (
            self.captioner.checkpoint.vocabulary,
            self.captioner.checkpoint.config.space,
        )
        if by is By.both and not (space and any(word in vocabulary for word in said)):
            by = By.words
        count = _candidates(top)
        with self._problems():
            shares = {} if by is By.embedding else self._shares(said)
            best = dict(nlargest(count, shares.items(), key=itemgetter(1)))
            if by is By.words:
                return self._hits(best, top)
            vector = self.captioner.embed_sentences([sentence])[0]
            cosines = self._nearest(vector, count)
            # What the words put forward is compared as well. Silence has no embedding.
            cosines |= self._nearest(vector, count, best.keys() - cosines.keys())
            either = cosines.keys() | best.keys()
            return self._hits(
                {w: cosines.get(w, 0.0) + WORDS_WEIGHT * shares.get(w, 0.0) for w in either}, top
            )

    def search_like(self, source: Source, top: int = 10) -> list[Hit]:
        """Finds stretches of sound that are like another sound, the likest first.

        Args:
            source: a path, the bytes of a file, or an open binary file, of at most the captioner's
                `longest` seconds.
            top: how many hits at most.

        Raises:
            AudioError: the sound cannot be read, is longer, or silent.
            AuricleError: the model cannot compare sounds.
        """
        if not self.captioner.checkpoint.config.space:
            raise AuricleError(
                f"{self.captioner.checkpoint.folder} cannot compare sounds: it has no space for that"
            )
        name, rate, longest = (
            printable(str(source)[:100]),
            self.captioner.rate,
            self.captioner.longest,
        )
        samples = load_audio(source, rate, max_seconds=longest + 1)
        if len(samples) > longest * rate:
            raise AudioError(f"{name}: longer than {longest:g} s: cut out what is to be found")
        if (vector := self.captioner.caption(samples).embedding) is None:
            raise AudioError(f"{name}: is silent: nothing is like it")
        with self._problems():
            return self._hits(self._nearest(vector, _candidates(top)), top)

    def _set_up(self, *, create: bool) -> None:
        database, run = self._database, self._database.execute
        database.set_busy_timeout(1000 * BUSY_SECONDS)
        # one that begins by reading could not wait for its turn to write
        database.transaction_mode = "IMMEDIATE"
        run(f"PRAGMA query_only = {not create}")
        # an index that came from elsewhere is data, and calls nothing
        run("PRAGMA trusted_schema = OFF")
        database.enable_load_extension(True)
        database.load_extension(sqlite_vec.loadable_path())
        database.enable_load_extension(False)
        run(f"PRAGMA mmap_size = {MAPPED_BYTES}")
        folder, space = self.captioner.checkpoint.folder, self.captioner.checkpoint.config.space
        model = fingerprint(folder)
        if create:
            with database:
                if not run("SELECT 1 FROM sqlite_schema").get:
                    run(SCHEMA)
                    if space:
                        run(EMBEDDINGS.format(space))
                    run("INSERT INTO model VALUES (?)", (model,))
                    run(f"PRAGMA application_id = {APPLICATION}")
                    run(f"PRAGMA user_version = {VERSION}")
        if run("PRAGMA application_id").get != APPLICATION:
            raise AuricleError(
                f"{self.path} is no index of auricle: name another file by --database"
            )
        if (version := run("PRAGMA user_version").get) != VERSION:
            raise AuricleError(
                f"the index {self.path} has format {version}, and {VERSION} is wanted: delete it and index anew"
            )
        if run("SELECT fingerprint FROM model").get != model:
            raise AuricleError(
                f"the index {self.path} is not of the model {folder}: name its own by --checkpoint, "
                "another index by --database, or delete it and index anew"
            )

    @contextlib.contextmanager
    def _problems(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except (apsw.Error, OSError, UnicodeEncodeError) as error:
            reason = PROBLEMS.get(type(error), f"failed: {error}")
            raise AuricleError(f"the index {self.path} {reason}") from None

    def _hear(self, known: set[bytes], path: str, source: Source) -> Iterator[Caption | _Heard]:
        """Captions of a file's windows, unless its content is known, and at last how it ended."""
        digest = b""
        try:
            digest = _digest(path)
            if digest not in known:
                yield from self.captioner.captions(source, merge=False)
            yield _Heard(path, digest)
        except AudioError as error:
            yield _Heard(path, digest, error)

    def _put_window(self, sound: int, caption: Caption) -> None:
        run = self._database.execute
        tags = json.dumps([[tag.name, round(tag.probability, 4)] for tag in caption.tags])
        values = (
            sound,
            caption.start,
            caption.end,
            caption.whole,
            caption.text,
            caption.confidence,
            tags,
        )
        window = run(
            "INSERT INTO windows VALUES (NULL, ?, ?, ?, ?, ?, ?, ?) RETURNING id", values
        ).get
        names = ". ".join(tag.name for tag in caption.tags if tag.probability >= TAG_PROBABILITY)
        run(
            "INSERT INTO words (rowid, caption, tags) VALUES (?, ?, ?)",
            (window, caption.text, names),
        )
        if caption.embedding is not None:
            run("INSERT INTO embeddings VALUES (?, ?)", (window, caption.embedding.tobytes()))

    def _forget(self, paths: Iterable[str]) -> None:
        """Removes files; their sounds stay until `_sweep`, for it may be that they are only called
        otherwise now.
        """
        with self._problems(), self._database:
            self._database.executemany(
                "DELETE FROM files WHERE path = ?", [(os.fsencode(path),) for path in paths]
            )

    def _sweep(self) -> None:
        """Removes sounds that no file has."""
        run = self._database.execute
        with self._problems(), self._database:
            run(
                "CREATE TEMP TABLE orphans AS SELECT id, sound FROM windows WHERE sound NOT IN (SELECT sound FROM files)"
            )
            run("DELETE FROM words WHERE rowid IN (SELECT id FROM temp.orphans)")
            if self.captioner.checkpoint.config.space:
                run("DELETE FROM embeddings WHERE id IN (SELECT id FROM temp.orphans)")
            run("DELETE FROM windows WHERE id IN (SELECT id FROM temp.orphans)")
            run("DELETE FROM sounds WHERE id NOT IN (SELECT sound FROM files)")
            run("DROP TABLE temp.orphans")

    def _nearest(
        self, vector: np.ndarray, count: int, among: Collection[int] | None = None
    ) -> dict[int, float]:
        """The windows nearest to a vector, of all or among some, by number, with cosines."""
        query, values = (
            "SELECT id, distance FROM embeddings WHERE vector MATCH ? AND k = ?",
            [vector.tobytes(), count],
        )
        if among is not None:
            query += " AND id IN (SELECT value FROM json_each(?))"
            values.append(json.dumps(list(among)))
        return {window: 1 - distance for window, distance in self._database.execute(query, values)}

    def _shares(self, said: Sequence[str]) -> dict[int, float]:
        """The windows that have any of the words, by number, with BM25 in relation to the best."""
        query = " OR ".join(
            f'"{word}"' for word in [word for word in said if word not in STOP_WORDS] or said
        )
        rows = self._database.execute(
            "SELECT rowid, -bm25(words) FROM words WHERE words MATCH ?", (query,)
        )
        found: list[tuple[int, float]] = rows.fetchall()  # type: ignore[assignment]
        best = max((score for _, score in found), default=1.0)
        return {window: score / best for window, score in found}

    def _hits(self, scores: dict[int, float], top: int) -> list[Hit]:
        """Windows by number, with their scores -> stretches of files, the best first."""
        run = self._database.execute
        rows = run(
            """SELECT id, sound, start, "end", caption, whole, confidence, tags FROM windows
               WHERE id IN (SELECT value FROM json_each(?)) ORDER BY sound, start""",
            (json.dumps(list(scores)),),
        )
        stretches: list[tuple[int, Hit]] = []
        for window, sound, start, end, caption, whole, confidence, tags in rows:
            known = tuple(Tag(name, probability) for name, probability in json.loads(tags))
            hit = Hit("", start, end, caption, scores[window], bool(whole), confidence, known)
            if stretches and stretches[-1][0] == sound:
                last = stretches[-1][1]
                if (last.end, last.caption) == (start, caption):
                    best = max(last, hit, key=lambda h: h.score)
                    stretches[-1] = sound, replace(best, start=last.start, end=end)
                    continue
            stretches.append((sound, hit))
        stretches.sort(key=lambda pair: -pair[1].score)
        hits: list[Hit] = []
        for sound, hit in stretches[:top]:
            paths = run(
                "SELECT path FROM files WHERE sound = ? ORDER BY path LIMIT ?",
                (sound, top - len(hits)),
            )
            hits += [replace(hit, file=os.fsdecode(path)) for (path,) in paths]
        return hits


def default_database() -> Path:
    """The user's index: auricle/index.sqlite in $XDG_DATA_HOME, else in ~/.local/share.

    Raises:
        AuricleError: there is no such folder.
    """
    try:
        return (
            Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
            / "auricle"
            / "index.sqlite"
        )
    except RuntimeError:
        raise AuricleError(
            "there is no home folder to keep the index in: name its file by --database"
        ) from None


def _candidates(top: int) -> int:
    return min(MOST_CANDIDATES, max(CANDIDATES, 4 * top))


def _digest(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise AudioError(f"{printable(path)}: reading it failed ({error.strerror})") from None


def _gone(path: str) -> bool:
    """Whether there is surely no file; one in a folder that cannot be read may be there."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
