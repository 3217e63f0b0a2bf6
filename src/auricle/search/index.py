"""Keeps captions and embeddings of sounds in one SQLite file, and finds sounds in it.

    files ──> sounds ──> windows ──┬─> words       FTS5: captions, tags; stemmed; BM25
    path,     content    caption,  └─> embeddings  sqlite-vec: one vector a window; cosine
    size,     hash       tags, time
    time

The index knows a sound by its content: a moved or copied file is not captioned again. All rows of a
file change in one transaction, so the index holds whole files even if its process is killed.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from heapq import nlargest
from operator import itemgetter
from pathlib import Path

import apsw

from auricle.captioning.captioner import Captioner
from auricle.captioning.parallel import side_by_side
from auricle.captioning.results import Caption
from auricle.checkpoint.vocabulary import words
from auricle.errors import AudioError, AuricleError, printable
from auricle.search import By
from auricle.search.files import Changes, File, digest_of, gone
from auricle.search.ranking import Hit, best_hits, nearest, word_shares
from auricle.search.schema import PROBLEMS, set_up
from auricle.sound.container import Source, source_name

# Both values were chosen by scores on the split `label_valid`; see docs/search.md.
TAG_PROBABILITY = 0.1  # tags of at least this probability can be found by their names
WORDS_WEIGHT = 0.15  # the best match by words adds this to a cosine
CANDIDATES = 100  # windows from each kind of comparison; more if the caller asks for more hits
MOST_CANDIDATES = 4096  # the limit of sqlite-vec


@dataclass(frozen=True)
class Indexed:
    """The result of indexing one file."""

    file: str
    heard: bool = False  # whether it was captioned; False if its content was known
    error: AudioError | None = None  # why it, or its end, could not be indexed


@dataclass(frozen=True)
class _CaptionedFile:
    """The result of captioning one file."""

    path: str
    digest: bytes
    error: AudioError | None = None


class SoundIndex:
    """An index of sounds in a file; see the module.

    Args:
        path: the file.
        captioner: captions the sounds; an index belongs to one model.
        create: creates a missing index and allows changes. Otherwise the index is only searched.

    Raises:
        AuricleError: the file is missing, damaged, or no index; or the index has another format or
            belongs to another model.
    """

    def __init__(self, path: Path, captioner: Captioner, *, create: bool = False) -> None:
        self.path = path
        self.captioner = captioner
        if path.is_dir():
            raise AuricleError(f"{path} is a folder: name the index's file with --database")
        if not create and not path.exists():
            raise AuricleError(f"no index {path}: make one with `auricle index FOLDER`")
        with self._problems():
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            # Searching needs no write access. With it, SQLite first undoes the unfinished
            # transaction of a killed program.
            flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
            self._database = apsw.Connection(str(path), flags)
            try:
                checkpoint = captioner.checkpoint
                space = checkpoint.config.space or 0
                set_up(self._database, path, checkpoint.folder, space, create=create)
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
        """Groups calls of `put`, which is faster: keeps all of them at its end, or none."""
        with self._problems(), self._database:
            yield

    def changes(self, folders: Iterable[str], files: Iterable[str]) -> Changes:
        """Compares files with those of the index, by size and time of modification.

        Args:
            folders: folders in which indexed files that no longer exist count as gone.
            files: the sound files that exist now.
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
                file = File(path, -1, -1)  # reading it will raise an error with the reason
            if known.get(path) == (file.size, file.modified):
                unchanged += 1
            else:
                new.append(file)
        return Changes(tuple(new), unchanged, tuple(path for path in known if gone(path)))

    def update(self, changes: Changes, jobs: int | None = None) -> Iterator[Indexed]:
        """Captions new files, in one transaction per file, and then removes files that are gone.

        Args:
            changes: the result of `changes`.
            jobs: the number of sounds captioned at a time; the number of processors if None.

        Yields:
            The result of each new file, in the order of the files.
        """
        with self._problems():
            known = {digest for (digest,) in self._database.execute("SELECT digest FROM sounds")}
        files = {file.path: file for file in changes.new}
        captions: list[Caption] = []
        results = side_by_side(
            partial(self._caption_file, known), ((path, path) for path in files), jobs
        )
        with contextlib.closing(results):  # type: ignore[type-var]
            for result in results:
                if isinstance(result, Caption):
                    captions.append(result)
                    continue
                file = files[result.path]
                if result.error is None:
                    self.put(file, result.digest, captions)
                    known.add(result.digest)
                elif captions:
                    # A late error keeps the captions of the sound before it. The next run tries
                    # the file again.
                    self.put(replace(file, modified=-1), sha256(result.digest).digest(), captions)
                else:
                    self._forget([result.path])
                yield Indexed(result.path, bool(captions), result.error)
                captions = []
        self._forget(changes.gone)
        self._sweep()

    def put(self, file: File, digest: bytes, captions: Sequence[Caption]) -> None:
        """Stores the captions of a file, and replaces those that the index has.

        Args:
            file: its size and time of modification before it was read.
            digest: the SHA-256 of its content.
            captions: one per window; may be empty if the index knows this content.

        Raises:
            AuricleError: the index does not know the content, and there are no captions.
        """
        with self._problems(), self._database:
            run = self._database.execute
            sound = run("SELECT id FROM sounds WHERE digest = ?", (digest,)).get
            if sound is None:
                if not captions:
                    raise AuricleError(
                        f"another program removed sounds from the index {self.path}: index again"
                    )
                sound = run("INSERT INTO sounds (digest) VALUES (?) RETURNING id", (digest,)).get
                for caption in captions:
                    self._put_window(sound, caption)
            values = os.fsencode(file.path), file.size, file.modified, sound
            run("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", values)
            # Removes the old path of a moved file, in any folder.
            for (path,) in run("SELECT path FROM files WHERE sound = ?", (sound,)).fetchall():
                assert isinstance(path, bytes)
                if path != values[0] and gone(os.fsdecode(path)):
                    run("DELETE FROM files WHERE path = ?", (path,))

    def search(self, sentence: str, by: By = By.both, top: int = 10) -> list[Hit]:
        """Finds stretches of sound by a sentence, the best first.

        Joins neighbouring windows with the same caption to one stretch. Omits files that are gone.

        Args:
            sentence: plain words. Words that the model does not know are compared with captions
                and tags only.
            by: the kind of comparison.
            top: the maximum number of hits.

        Raises:
            AuricleError: the sentence has no words; or, by embedding, the model cannot compare
                sounds or knows none of the words.
        """
        sentence_words = words(sentence)
        if not sentence_words:
            raise AuricleError(f"'{sentence}' has no words: expected at least one to search for")
        vocabulary, space = (
            self.captioner.checkpoint.vocabulary,
            self.captioner.checkpoint.config.space,
        )
        if by is By.both and not (space and any(word in vocabulary for word in sentence_words)):
            by = By.words
        vector = None if by is By.words else self.captioner.embed_sentences([sentence])[0]

        def scores(count: int) -> dict[int, float]:
            shares = {} if by is By.embedding else word_shares(self._database, sentence_words)
            best = dict(nlargest(count, shares.items(), key=itemgetter(1)))
            if vector is None:
                return best
            cosines = nearest(self._database, vector, count)
            # Adds the cosines of the best windows by words. Silence has no embedding.
            cosines |= nearest(self._database, vector, count, best.keys() - cosines.keys())
            either = cosines.keys() | best.keys()
            return {w: cosines.get(w, 0.0) + WORDS_WEIGHT * shares.get(w, 0.0) for w in either}

        return self._present_hits(scores, top)

    def search_like(self, source: Source, top: int = 10) -> list[Hit]:
        """Finds stretches of sound that resemble another sound, the most similar first.

        Args:
            source: a path, the bytes of a file, or an open binary file; at most as long as the
                captioner's `longest` seconds.
            top: the maximum number of hits.

        Raises:
            AudioError: the sound cannot be read, is too long, or is silent.
            AuricleError: the model cannot compare sounds.
        """
        if not self.captioner.checkpoint.config.space:
            raise AuricleError(
                "the model cannot compare sounds, because it has no embeddings: use another one"
            )
        vector = self.captioner.caption(source).embedding
        if vector is None:
            raise AudioError(f"{printable(source_name(source))}: is silent: expected a sound")
        return self._present_hits(lambda count: nearest(self._database, vector, count), top)

    def prune(self) -> int:
        """Removes all files that no longer exist, in any folder; returns their number."""
        with self._problems():
            rows: list[tuple[bytes]] = self._database.execute("SELECT path FROM files").fetchall()  # type: ignore[assignment]
        gone_paths = [path for (name,) in rows if gone(path := os.fsdecode(name))]
        self._forget(gone_paths)
        self._sweep()
        return len(gone_paths)

    def _present_hits(self, scores: Callable[[int], dict[int, float]], top: int) -> list[Hit]:
        """Returns the best hits in files that still exist.

        Args:
            scores: receives a number and returns the scores of about this number of best windows.
            top: the maximum number of hits.
        """
        count = min(MOST_CANDIDATES, max(CANDIDATES, 4 * top))
        with self._problems():
            while True:
                hits, hidden = best_hits(self._database, scores(count), top)
                if len(hits) == top or not hidden or count == MOST_CANDIDATES:
                    return hits
                count = min(MOST_CANDIDATES, 4 * count)  # too many windows were of files now gone

    @contextlib.contextmanager
    def _problems(self) -> Iterator[None]:
        """Turns errors of SQLite into `AuricleError`."""
        try:
            yield
        except (apsw.Error, OSError, UnicodeEncodeError) as error:
            reason = PROBLEMS.get(type(error), f"failed: {error}")
            raise AuricleError(f"the index {self.path} {reason}") from None

    def _caption_file(
        self, known: set[bytes], path: str, source: Source
    ) -> Iterator[Caption | _CaptionedFile]:
        """Yields captions of a file's windows, unless its content is known, and then the result."""
        digest = b""
        try:
            digest = digest_of(path)
            if digest not in known:
                yield from self.captioner.captions(source, merge=False)
            yield _CaptionedFile(path, digest)
        except AudioError as error:
            yield _CaptionedFile(path, digest, error)

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
        """Removes files; keeps their sounds until `_sweep`, as other paths may have the same."""
        with self._problems(), self._database:
            self._database.executemany(
                "DELETE FROM files WHERE path = ?", [(os.fsencode(path),) for path in paths]
            )

    def _sweep(self) -> None:
        """Removes sounds that belong to no file."""
        run = self._database.execute
        with self._problems(), self._database:
            run(
                "CREATE TEMP TABLE orphans AS SELECT id, sound FROM windows "
                "WHERE sound NOT IN (SELECT sound FROM files)"
            )
            run("DELETE FROM words WHERE rowid IN (SELECT id FROM temp.orphans)")
            if self.captioner.checkpoint.config.space:
                run("DELETE FROM embeddings WHERE id IN (SELECT id FROM temp.orphans)")
            run("DELETE FROM windows WHERE id IN (SELECT id FROM temp.orphans)")
            run("DELETE FROM sounds WHERE id NOT IN (SELECT sound FROM files)")
            run("DROP TABLE temp.orphans")


def default_database() -> Path:
    """Returns the user's index: auricle/index.sqlite in $XDG_DATA_HOME, else in ~/.local/share.

    Raises:
        AuricleError: the user has no home folder.
    """
    try:
        return (
            Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
            / "auricle"
            / "index.sqlite"
        )
    except RuntimeError:
        raise AuricleError(
            "the user has no home folder for the index: name its file with --database"
        ) from None
