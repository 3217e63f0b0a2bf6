"""Captions and embeddings of many sounds in one SQLite file, and how sounds are found in it.

    files ──> sounds ──> windows ──┬─> words       FTS5: captions, tags; stemmed; BM25
    path,     content    caption,  └─> embeddings  sqlite-vec: one vector a window; cosine
    size,     hash       tags, time
    time

A sound is known by its content: a file that was moved or copied is not heard again. What is kept of
a file changes in one transaction, so that an index can be stopped, or killed, at any moment and
holds whole files.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import nlargest
from operator import itemgetter
from pathlib import Path

import apsw

from auricle.captioning.captioner import Captioner
from auricle.captioning.parallel import side_by_side
from auricle.captioning.results import Caption
from auricle.captioning.windows import SPARE_SECONDS
from auricle.checkpoint.vocabulary import words
from auricle.errors import AudioError, AuricleError, printable
from auricle.search import By
from auricle.search.files import Changes, File, digest_of, gone
from auricle.search.ranking import Hit, best_hits, nearest, word_shares
from auricle.search.schema import PROBLEMS, set_up
from auricle.sound.container import Source
from auricle.sound.decode import load_audio

# A tag at least so likely can be searched for by its name; and what the best match by words adds to
# a cosine. The scores of both were looked at on the split `label_valid`; see docs/search.md.
TAG_PROBABILITY = 0.1
WORDS_WEIGHT = 0.15
CANDIDATES = 100  # windows that either way of searching puts forward; more where more are asked for
MOST_CANDIDATES = 4096  # sqlite-vec finds no more


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
        """Groups calls of `put`: all of them are kept at its end, or none; faster than singly."""
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
        return Changes(tuple(new), unchanged, tuple(path for path in known if gone(path)))

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
                        f"another program removed sounds from the index {self.path}: "
                        "index once more"
                    )
                sound = run("INSERT INTO sounds (digest) VALUES (?) RETURNING id", (digest,)).get
                for caption in captions:
                    self._put_window(sound, caption)
            values = os.fsencode(file.path), file.size, file.modified, sound
            run("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", values)
            # Where a file was moved, its old path goes, in whatever folder it was.
            for (path,) in run("SELECT path FROM files WHERE sound = ?", (sound,)).fetchall():
                assert isinstance(path, bytes)
                if path != values[0] and gone(os.fsdecode(path)):
                    run("DELETE FROM files WHERE path = ?", (path,))

    def search(self, sentence: str, by: By = By.both, top: int = 10) -> list[Hit]:
        """Finds stretches of sound by a sentence, the best first.

        Neighbours with the same caption are one stretch. Files that are gone are no hits.

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
        vector = None if by is By.words else self.captioner.embed_sentences([sentence])[0]

        def scores(count: int) -> dict[int, float]:
            shares = {} if by is By.embedding else word_shares(self._database, said)
            best = dict(nlargest(count, shares.items(), key=itemgetter(1)))
            if vector is None:
                return best
            cosines = nearest(self._database, vector, count)
            # The best by words are compared as well. Silence has no embedding.
            cosines |= nearest(self._database, vector, count, best.keys() - cosines.keys())
            either = cosines.keys() | best.keys()
            return {w: cosines.get(w, 0.0) + WORDS_WEIGHT * shares.get(w, 0.0) for w in either}

        return self._present_hits(scores, top)

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
                f"{self.captioner.checkpoint.folder} cannot compare sounds: "
                "it has no space for that"
            )
        name, rate, longest = (
            printable(str(source)[:100]),
            self.captioner.rate,
            self.captioner.longest,
        )
        samples = load_audio(source, rate, max_seconds=longest + SPARE_SECONDS + 1)
        if len(samples) > (longest + SPARE_SECONDS) * rate:
            raise AudioError(f"{name}: longer than {longest:g} s: cut out what is to be found")
        if (vector := self.captioner.caption(samples).embedding) is None:
            raise AudioError(f"{name}: is silent: nothing is like it")
        return self._present_hits(lambda count: nearest(self._database, vector, count), top)

    def prune(self) -> int:
        """Removes all files that are gone from the disk, in any folder; returns their number."""
        with self._problems():
            rows: list[tuple[bytes]] = self._database.execute("SELECT path FROM files").fetchall()  # type: ignore[assignment]
        vanished = [path for (name,) in rows if gone(path := os.fsdecode(name))]
        self._forget(vanished)
        self._sweep()
        return len(vanished)

    def _present_hits(self, scores: Callable[[int], dict[int, float]], top: int) -> list[Hit]:
        """Finds the best hits among files that are still on the disk.

        Args:
            scores: returns the scores of the best windows, about as many as it is asked for.
            top: hits at most.
        """
        count = min(MOST_CANDIDATES, max(CANDIDATES, 4 * top))
        with self._problems():
            while True:
                hits, hidden = best_hits(self._database, scores(count), top)
                if len(hits) == top or not hidden or count == MOST_CANDIDATES:
                    return hits
                count = min(MOST_CANDIDATES, 4 * count)  # files that are gone took the places

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
            digest = digest_of(path)
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
        """Removes files; their sounds stay until `_sweep`, because another path may have them."""
        with self._problems(), self._database:
            self._database.executemany(
                "DELETE FROM files WHERE path = ?", [(os.fsencode(path),) for path in paths]
            )

    def _sweep(self) -> None:
        """Removes sounds that no file has."""
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
