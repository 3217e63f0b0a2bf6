"""An index of sounds: its content, that nothing is lost or half kept, and how sounds are found."""

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from auricle.captioning.captioner import Captioner
from auricle.captioning.results import Caption, Tag
from auricle.errors import AudioError, AuricleError
from auricle.search import By
from auricle.sound.find import find_sounds
from commands import Result, Run
from sounds import chirp, tone, write_media, write_wav

apsw = pytest.importorskip(
    "apsw", reason="an index is SQLite through apsw: pip install 'auricle[search]'"
)
pytest.importorskip(
    "sqlite_vec", reason="vectors are compared by sqlite-vec: pip install 'auricle[search]'"
)

from auricle.search import index as module  # noqa: E402
from auricle.search import ranking  # noqa: E402
from auricle.search.files import Changes, File  # noqa: E402
from auricle.search.index import WORDS_WEIGHT, SoundIndex, default_database  # noqa: E402
from auricle.search.ranking import Hit  # noqa: E402

RATE = 32_000
SENTENCE = "a dog barks"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a long sound, three short ones, and silence."""
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "deep").mkdir()
    write_wav(folder / "chirp.wav", chirp(2, 100, 5_000, RATE), RATE)
    write_wav(folder / "silent.wav", np.zeros(RATE), RATE)
    write_wav(folder / "long.wav", chirp(31.5, 50, 8_000, RATE), RATE)
    write_wav(folder / "deep" / "noise.wav", np.random.default_rng(0).normal(0, 0.1, RATE), RATE)
    write_media(folder / "deep" / "tone.flac", tone(1.5, 700, 44_100), 44_100, "flac")
    return folder


@pytest.fixture(scope="module")
def indexed(
    sounds: Path, guided: Captioner, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SoundIndex]:
    """An index of the folder."""
    with SoundIndex(
        tmp_path_factory.mktemp("index") / "sounds.sqlite", guided, create=True
    ) as index:
        assert [outcome.error for outcome in update(index, sounds)] == [None] * 5
        yield index


@pytest.fixture
def empty(guided: Captioner, tmp_path: Path) -> Iterator[SoundIndex]:
    """An index without sounds."""
    with SoundIndex(tmp_path / "new" / "sounds.sqlite", guided, create=True) as index:
        yield index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three short sounds, to be changed."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number, name in enumerate("abc"):
        write_wav(folder / f"{name}.wav", tone(1, 400 + 700 * number, RATE), RATE)
    return folder


def update(index: SoundIndex, *folders: Path) -> list[module.Indexed]:
    names = [name for folder in folders for name in find_sounds([str(folder)])]
    return list(index.update(index.changes(map(str, folders), names), jobs=2))


def found(
    index: SoundIndex, sentence: str = SENTENCE, by: By = By.embedding
) -> dict[str, list[Hit]]:
    """All hits by the name of their file."""
    hits: dict[str, list[Hit]] = {}
    for hit in index.search(sentence, by, top=1000):
        hits.setdefault(Path(hit.file).name, []).append(hit)
    return hits


def count(index: SoundIndex) -> dict[str, int]:
    """How many rows there are of each kind."""
    database = apsw.Connection(str(index.path))
    shadow = {"embeddings": "embeddings_rowids", "words": "words_docsize"}
    return {
        table: database.execute(f"SELECT count(*) FROM {shadow.get(table, table)}").get
        for table in ("files", "sounds", "windows", "words", "embeddings")
    }


def said(
    text: str, vector: np.ndarray | None = None, start: float = 0, *tags: Tag, whole: bool = True
) -> Caption:
    """A caption of ten seconds from `start`."""
    embedding = None if vector is None else (vector / np.linalg.norm(vector)).astype(np.float32)
    return Caption(start, start + 10, text, -1.0, (), whole, tags, 0.5, embedding)


def put(index: SoundIndex, path: str, *captions: Caption) -> None:
    index.put(File(path, 1, 1), path.encode(), captions)


@pytest.fixture
def invented_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes every path for that of a file which is still there."""
    monkeypatch.setattr(ranking, "gone", lambda _: False)
    monkeypatch.setattr(module, "gone", lambda _: False)


# Content


def test_windows_are_those_that_are_captioned(indexed: SoundIndex, guided: Captioner, sounds: Path):
    kept = found(indexed)
    for path in map(Path, find_sounds([str(sounds)])):
        expected = [c for c in guided.captions(path) if c.embedding is not None]
        hits = sorted(kept.get(path.name, []), key=lambda hit: hit.start)
        assert [(h.start, h.end, h.caption, h.whole) for h in hits] == [
            (c.start, c.end, c.text, c.whole) for c in expected
        ]
    assert len(kept["long.wav"]) > 1
    assert (
        kept["tone.flac"][0].tags[0].name
        == guided.caption(sounds / "deep" / "tone.flac").tags[0].name
    )


def test_by_embedding_is_the_similarity_that_rank_gives(
    indexed: SoundIndex, guided: Captioner, sounds: Path
):
    names = [name for name in find_sounds([str(sounds)]) if "silent" not in name]
    similarity = dict(zip(names, guided.similarity(names, [SENTENCE])[:, 0].tolist(), strict=True))
    hits = indexed.search(SENTENCE, By.embedding, top=1000)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    best: dict[str, float] = {}
    for hit in hits:
        best.setdefault(hit.file, hit.score)
    assert best == pytest.approx(similarity, abs=1e-5)


def test_silence_is_found_by_its_word(indexed: SoundIndex):
    assert "silent.wav" not in found(indexed)
    assert found(indexed, "silence", By.words)["silent.wav"][0].score == 1


def test_a_sound_is_likest_itself(indexed: SoundIndex, sounds: Path, tmp_path: Path):
    for source in (sounds / "deep" / "tone.flac", (sounds / "deep" / "tone.flac").read_bytes()):
        first, *_ = indexed.search_like(source)
        assert (Path(first.file).name, first.score) == ("tone.flac", pytest.approx(1, abs=1e-5))
    with pytest.raises(AudioError, match="longer than 30 s"):
        indexed.search_like(sounds / "long.wav")
    with pytest.raises(AudioError, match="is silent: expected a sound"):
        indexed.search_like(sounds / "silent.wav")
    with pytest.raises(AudioError, match="no such file"):
        indexed.search_like(tmp_path / "gone.wav")


# What changes


def test_only_what_is_new_is_heard(
    empty: SoundIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    assert [outcome.heard for outcome in update(empty, folder)] == [True] * 3
    before = found(empty)
    monkeypatch.setattr(Captioner, "captions", None)
    os.utime(folder / "b.wav")  # other than it was, but of the same content
    shutil.move(folder / "a.wav", folder / "moved.wav")
    shutil.copy(folder / "c.wav", folder / "copy.wav")
    outcomes = update(empty, folder)
    assert {(Path(o.file).name, o.heard, o.error) for o in outcomes} == {
        (name, False, None) for name in ("b.wav", "moved.wav", "copy.wav")
    }
    after = found(empty)
    assert after.keys() == {"b.wav", "c.wav", "moved.wav", "copy.wav"}
    assert after["moved.wav"][0].score == before["a.wav"][0].score
    assert count(empty) == {"files": 4, "sounds": 3, "windows": 3, "words": 3, "embeddings": 3}
    assert empty.changes([str(folder)], find_sounds([str(folder)])) == Changes((), 4, ())


def test_files_that_are_gone_or_changed_are_noticed(
    empty: SoundIndex, folder: Path, guided: Captioner
):
    update(empty, folder)
    a, b = (folder / "a.wav").read_bytes(), (folder / "b.wav").read_bytes()
    (folder / "a.wav").write_bytes(b)
    (folder / "b.wav").write_bytes(a)
    os.utime(folder / "a.wav", ns=(1, 1))
    os.utime(folder / "b.wav", ns=(1, 1))
    (folder / "c.wav").unlink()
    assert [Path(outcome.file).name for outcome in update(empty, folder)] == ["a.wav", "b.wav"]
    similarity = guided.similarity([a, b], [SENTENCE])[:, 0]
    assert {name: hits[0].score for name, hits in found(empty).items()} == {
        "a.wav": pytest.approx(similarity[1], abs=1e-5),
        "b.wav": pytest.approx(similarity[0], abs=1e-5),
    }
    assert count(empty) == {"files": 2, "sounds": 2, "windows": 2, "words": 2, "embeddings": 2}
    write_wav(folder / "a.wav", chirp(1, 50, 9_000, RATE), RATE)
    update(empty, folder)
    assert {hit.file for hit in empty.search_like(folder / "a.wav", top=1)} == {
        str(folder / "a.wav")
    }
    assert count(empty)["windows"] == 2


def test_other_folders_are_left_alone(empty: SoundIndex, folder: Path, tmp_path: Path):
    for name in ("sounds2", "sounds "):  # which sort next to "sounds/"
        (tmp_path / name).mkdir()
        for number in range(3):
            sound = chirp(1, 100 + 50 * number, 900 * len(name), RATE)
            write_wav(tmp_path / name / f"{number}.wav", sound + 0.1 * (name == "sounds "), RATE)
        update(empty, tmp_path / name)
        shutil.rmtree(tmp_path / name)
    update(empty, folder)
    assert count(empty)["files"] == 9


def test_a_file_that_cannot_be_read_stops_nothing_and_is_tried_again(
    empty: SoundIndex, folder: Path
):
    whole = (folder / "b.wav").read_bytes()
    (folder / "b.wav").write_bytes(b"RIFF" + whole[4:20])
    for _ in range(2):
        outcomes = update(empty, folder)
        assert [Path(o.file).name for o in outcomes if o.error] == ["b.wav"]
    assert found(empty).keys() == {"a.wav", "c.wav"}
    (folder / "b.wav").write_bytes(whole)
    assert [(Path(o.file).name, o.error) for o in update(empty, folder)] == [("b.wav", None)]
    (folder / "b.wav").write_bytes(b"")
    assert [o.error is None for o in update(empty, folder)] == [False]
    assert found(empty).keys() == {"a.wav", "c.wav"}, "what the file held is no more"


def test_what_decodes_before_a_late_error_is_indexed_and_the_file_is_tried_again(
    empty: SoundIndex, folder: Path
):
    whole = (folder / "b.wav").read_bytes()
    (folder / "b.wav").write_bytes(whole[: len(whole) * 2 // 3])
    for _ in range(2):
        outcomes = update(empty, folder)
        assert [Path(o.file).name for o in outcomes if o.error] == ["b.wav"]
        assert found(empty).keys() == {"a.wav", "b.wav", "c.wav"}
    windows = count(empty)["windows"]
    (folder / "b.wav").write_bytes(whole)
    assert [(Path(o.file).name, o.error) for o in update(empty, folder)] == [("b.wav", None)]
    assert found(empty).keys() == {"a.wav", "b.wav", "c.wav"}
    assert count(empty)["windows"] == windows, "the captions of the damaged file are gone"


def test_a_folder_that_cannot_be_looked_into_is_not_taken_for_empty(
    empty: SoundIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    update(empty, folder)
    remaining = [str(folder / "a.wav")]

    def refused(path: str) -> None:
        raise PermissionError(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", refused)
        assert empty.changes([str(folder)], remaining).gone == ()
    (folder / "b.wav").unlink()
    assert empty.changes([str(folder)], remaining).gone == (str(folder / "b.wav"),)


def test_stopped_anywhere_it_holds_whole_files_and_goes_on(
    empty: SoundIndex, folder: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copy(sounds / "long.wav", folder / "b.wav")
    outcomes = empty.update(empty.changes([str(folder)], find_sounds([str(folder)])), jobs=1)
    next(outcomes)
    assert count(empty) == {"files": 1, "sounds": 1, "windows": 1, "words": 1, "embeddings": 1}
    put_window, fails = SoundIndex._put_window, iter([False, False, True])

    def stopping(self: SoundIndex, sound: int, caption: Caption) -> None:
        if next(fails):
            raise KeyboardInterrupt
        put_window(self, sound, caption)

    monkeypatch.setattr(SoundIndex, "_put_window", stopping)
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    assert count(empty) == {"files": 1, "sounds": 1, "windows": 1, "words": 1, "embeddings": 1}
    monkeypatch.undo()
    assert [Path(outcome.file).name for outcome in update(empty, folder)] == ["b.wav", "c.wav"]
    assert found(empty).keys() == {"a.wav", "b.wav", "c.wav"}
    assert count(empty)["windows"] == count(empty)["words"] == 6


def test_it_can_be_searched_while_it_grows(empty: SoundIndex, folder: Path, guided: Captioner):
    outcomes = empty.update(empty.changes([str(folder)], find_sounds([str(folder)])), jobs=1)
    for number, _ in enumerate(outcomes, 1):
        with SoundIndex(empty.path, guided) as other:
            assert len(found(other)) == number


def test_names_need_not_be_text(empty: SoundIndex, folder: Path):
    path = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")
    try:
        shutil.move(folder / "a.wav", path)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    update(empty, folder)
    assert path in {hit.file for hit in empty.search(SENTENCE)}
    assert empty.changes([str(folder)], find_sounds([str(folder)])).unchanged == 3


def test_a_renamed_folder_leaves_no_hits_of_its_old_name(
    empty: SoundIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    update(empty, folder)
    monkeypatch.setattr(Captioner, "captions", None)  # nothing is heard again
    renamed = folder.rename(folder.with_name("renamed"))
    update(empty, renamed)
    hits = empty.search(SENTENCE, By.embedding)
    assert {hit.file for hit in hits} == {str(renamed / f"{name}.wav") for name in "abc"}
    assert count(empty) == {"files": 3, "sounds": 3, "windows": 3, "words": 3, "embeddings": 3}


def test_a_file_that_is_gone_is_no_hit_and_takes_no_place(
    empty: SoundIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    update(empty, folder)
    monkeypatch.setattr(module, "CANDIDATES", 1)
    best, second, _ = (hit.file for hit in empty.search(SENTENCE, By.embedding))
    away = Path(best).rename(folder.with_name("away.wav"))
    for by in (By.embedding, By.both):
        assert best not in {hit.file for hit in empty.search(SENTENCE, by)}
    assert empty.search(SENTENCE, By.embedding, top=1)[0].file == second
    assert best not in {hit.file for hit in empty.search_like(away)}
    away.rename(best)  # a disk that is back
    assert empty.search(SENTENCE, By.embedding, top=1)[0].file == best


def test_pruning_removes_only_files_that_are_gone(empty: SoundIndex, folder: Path):
    update(empty, folder)
    (folder / "a.wav").unlink()
    assert empty.prune() == 1
    assert count(empty) == {"files": 2, "sounds": 2, "windows": 2, "words": 2, "embeddings": 2}
    assert empty.prune() == 0


# How it is found


@pytest.mark.usefixtures("invented_paths")
def test_words_find_their_other_forms_and_tags(empty: SoundIndex):
    axis = np.eye(8)
    put(empty, "/dog", said("A dog barks loudly.", axis[0]))
    put(empty, "/bird", said("Birds sing.", axis[1], 0, Tag("Owl", 0.4), Tag("Bark", 0.05)))
    assert {hit.file for hit in empty.search("barking dogs", By.words)} == {"/dog"}
    assert {hit.file for hit in empty.search("bird, singing!", By.words)} == {"/bird"}
    assert {hit.file for hit in empty.search("owls", By.words)} == {"/bird"}
    assert {hit.file for hit in empty.search('caption: NEAR("dog" OR) - *', By.words)} == {"/dog"}
    assert empty.search("theremin", By.words) == []
    # A word of every caption tells nothing, unless there is nothing else.
    assert {hit.file for hit in empty.search("a bird", By.words)} == {"/bird"}
    assert {hit.file for hit in empty.search("a", By.words)} == {"/dog"}
    with pytest.raises(AuricleError, match="has no words"):
        empty.search("?!")


@pytest.mark.usefixtures("invented_paths")
def test_both_adds_words_to_the_cosine(empty: SoundIndex, guided: Captioner):
    query = guided.embed_sentences([SENTENCE])[0]
    other = np.linalg.svd(query[None])[2][1]  # at a right angle
    near = {
        name: query * share + other * (1 - share**2) ** 0.5
        for name, share in (("a", 0.6), ("b", 0.5), ("c", 0.2))
    }
    put(empty, "/a", said("Rain falls.", near["a"]))
    put(empty, "/b", said("A dog barks.", near["b"]))
    put(empty, "/c", said("A dog sleeps.", near["c"]))
    put(empty, "/silent", said("Silence."))
    scores = {hit.file: hit.score for hit in empty.search(SENTENCE)}
    words = {hit.file: hit.score for hit in empty.search(SENTENCE, By.words)}
    assert list(words) == ["/b", "/c"]
    assert words["/b"] == 1
    assert scores == pytest.approx(
        {"/a": 0.6, "/b": 0.5 + WORDS_WEIGHT, "/c": 0.2 + WORDS_WEIGHT * words["/c"]}, abs=1e-5
    )
    assert list(scores) == ["/b", "/a", "/c"]
    # a word that the model does not know
    assert empty.search("silence") == empty.search("silence", By.words)


@pytest.mark.usefixtures("invented_paths")
def test_what_words_find_is_compared_too_where_others_are_nearer(
    empty: SoundIndex, guided: Captioner, monkeypatch: pytest.MonkeyPatch
):
    query = guided.embed_sentences([SENTENCE])[0]
    other = np.linalg.svd(query[None])[2][1]
    monkeypatch.setattr(module, "CANDIDATES", 3)
    for number in range(20):
        put(empty, f"/{number}", said("Rain falls.", query + 2 * other))
    put(empty, "/dog", said("A dog barks.", query + 2.1 * other))
    (first,) = empty.search(SENTENCE, top=1)
    assert (first.file, first.score) == (
        "/dog",
        pytest.approx(1 / (1 + 2.1**2) ** 0.5 + WORDS_WEIGHT, abs=1e-5),
    )


@pytest.mark.usefixtures("invented_paths")
def test_neighbours_of_one_caption_are_one_stretch(empty: SoundIndex, guided: Captioner):
    query = guided.embed_sentences([SENTENCE])[0]
    other = np.linalg.svd(query[None])[2][1]
    texts = ["A dog barks."] * 3 + ["Rain falls."] + ["A dog barks."]
    windows = [
        said(text, query + turned * other, 10 * n, whole=False)
        for n, (text, turned) in enumerate(zip(texts, (3, 1, 2, 0.1, 0.5), strict=True))
    ]
    put(empty, "/long", *windows)
    hits = empty.search(SENTENCE, By.embedding)
    assert [(hit.start, hit.end) for hit in hits] == [(30, 40), (40, 50), (0, 30)]
    assert hits[2].score == pytest.approx(1 / 2**0.5)
    assert len(empty.search(SENTENCE, By.embedding, top=1)) == 1


@pytest.mark.usefixtures("invented_paths")
def test_every_copy_of_a_sound_is_named(empty: SoundIndex):
    for name in ("/c", "/a", "/b"):
        empty.put(File(name, 1, 1), b"one sound", [said("A dog barks.", np.ones(8))])
    assert [hit.file for hit in empty.search(SENTENCE)] == ["/a", "/b", "/c"]
    assert [hit.file for hit in empty.search(SENTENCE, top=2)] == ["/a", "/b"]


# Refusals


def test_what_was_killed_while_it_wrote_can_be_searched(
    empty: SoundIndex, folder: Path, guided: Captioner, tmp_path: Path
):
    update(empty, folder)
    before = found(empty)
    writer = apsw.Connection(str(empty.path))
    with writer:
        writer.execute("UPDATE windows SET caption = 'half'")
        writer.cache_flush()
        for part in empty.path.parent.iterdir():
            shutil.copy(part, tmp_path)
        writer.execute("UPDATE windows SET caption = caption")
    writer.close()
    assert (tmp_path / "sounds.sqlite-journal").stat().st_size
    with SoundIndex(tmp_path / "sounds.sqlite", guided) as index:
        assert found(index) == before
        with pytest.raises(apsw.Error, match="readonly"):
            index._database.execute("DELETE FROM files")


def test_a_name_that_is_no_text_and_no_home_are_said(
    guided: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(AuricleError, match="not UTF-8"):
        SoundIndex(tmp_path / os.fsdecode(b"\xff.sqlite"), guided, create=True)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(AuricleError, match="--database"):
        default_database()


def test_what_is_no_index_of_this_model_is_refused(
    empty: SoundIndex, captioner: Captioner, tmp_path: Path
):
    with pytest.raises(AuricleError, match=r"belongs to another model than .*checkpoint"):
        SoundIndex(empty.path, captioner)
    with pytest.raises(AuricleError, match=r"no index .*: make one with `auricle index FOLDER`"):
        SoundIndex(tmp_path / "gone", captioner)
    assert not (tmp_path / "gone").exists()
    (tmp_path / "text").write_text(
        "no index, but some text that is longer than a header of SQLite is" * 20
    )
    database = apsw.Connection(str(tmp_path / "theirs"))
    database.execute("CREATE TABLE theirs (x)")
    newer = tmp_path / "newer"
    shutil.copy(empty.path, newer)
    apsw.Connection(str(newer)).execute("PRAGMA user_version = 2")
    damaged = tmp_path / "damaged"
    damaged.write_bytes(empty.path.read_bytes()[:5000])
    for create in (False, True):
        for path, why in (
            (tmp_path / "text", "is not an index"),
            (tmp_path / "theirs", "is not an index of auricle"),
            (newer, "has format 2"),
            (damaged, "is damaged"),
            (tmp_path, "is a folder"),
        ):
            with pytest.raises(AuricleError, match=why):
                SoundIndex(path, empty.captioner, create=create)
    assert database.execute("SELECT name FROM sqlite_schema").get == "theirs"


@pytest.mark.usefixtures("invented_paths")
def test_a_full_disk_is_said_in_a_line_and_loses_nothing(empty: SoundIndex):
    put(empty, "/a", said("A dog barks.", np.ones(8)))
    empty._database.execute(
        f"PRAGMA max_page_count = {empty._database.execute('PRAGMA page_count').get}"
    )
    with pytest.raises(AuricleError, match=r"sounds\.sqlite cannot grow: the disk is full"):
        put(empty, "/b", *(said("Rain falls. " * 200, np.ones(8), 10 * n) for n in range(50)))
    assert found(empty).keys() == {"a"}


# On the command line


@pytest.fixture
def own_index(
    auricle: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_guided_checkpoint: Path
) -> Run:
    """Runs a command with the small model and an empty index."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def run(*arguments: object, checkpoint: Path = tiny_guided_checkpoint) -> Result:
        return auricle(*arguments, "--checkpoint", checkpoint)

    return run


def test_commands(own_index: Run, folder: Path, tmp_path: Path, guided: Captioner):
    database = tmp_path / "data" / "auricle" / "index.sqlite"
    (folder / "bad.wav").touch()
    code, out, errors = own_index("index", folder)
    assert (code, out) == (1, "")
    begun, bad, told = errors.splitlines()
    assert begun == "auricle: Indexing"
    assert bad.startswith(f"auricle: {folder}/bad.wav: ")
    assert told == f"4 sounds: 3 heard, 1 failed; {database}"
    (folder / "bad.wav").unlink()
    assert own_index("index", folder) == (0, "", f"3 sounds: 3 unchanged; {database}\n")
    (folder / "notes.txt").touch()
    told = own_index("index", folder)[2]
    assert told.startswith("auricle: skipped 1 file (--verbose names them)\n3 sounds: 3 unchanged")
    told = own_index("index", folder, "--verbose")[2]
    assert told.startswith(
        f"auricle: skipped {folder}/notes.txt: its name does not end like a sound's\n"
    )
    (folder / "notes.txt").unlink()
    (folder / "c.wav").rename(folder / "d.wav")
    assert (
        own_index("index", folder)[2].removeprefix("auricle: Indexing\n")
        == f"3 sounds: 1 known by their content, 2 unchanged, 1 gone; {database}\n"
    )

    with SoundIndex(default_database(), guided) as index:
        hits = index.search(SENTENCE)
    code, out, errors = own_index("search", SENTENCE)
    assert (code, errors) == (0, "")
    assert out.splitlines() == [f"{hit.score:6.3f}  {hit.file}: {hit.caption}" for hit in hits]
    assert own_index("search", SENTENCE, "--top", 1)[1].splitlines() == out.splitlines()[:1]
    lines = [
        json.loads(line) for line in own_index("search", SENTENCE, "-f", "jsonl")[1].splitlines()
    ]
    assert [line["file"] for line in lines] == [hit.file for hit in hits]
    assert {"start", "end", "caption", "score", "confidence", "tags"} < lines[0].keys()
    for form, dialect in (("csv", "excel"), ("tsv", "excel-tab")):
        table = csv.DictReader(
            io.StringIO(own_index("search", SENTENCE, "-f", form)[1]), dialect=dialect
        )
        assert [(row["file"], row["start"], row["end"]) for row in table] == [
            (h.file, "0.0", "1.0") for h in hits
        ]
    assert f" {folder}/d.wav: " in own_index("search", "--like", folder / "d.wav", "--top", 1)[1]

    assert own_index("search", "theremin", "--by", "words")[::2] == (1, "auricle: nothing found\n")
    unknown = own_index("search", "theremin of-lead")
    assert unknown[::2] == (
        1,
        "auricle: the model does not know: theremin, of-lead\nauricle: nothing found\n",
    )
    assert own_index("search")[::2] == (
        1,
        "auricle: search needs a sentence, or a sound with --like\n",
    )


def test_times_are_shown_of_long_sounds(own_index: Run, sounds: Path, tmp_path: Path):
    assert own_index("index", sounds, "--database", tmp_path / "here.sqlite", "--jobs", 1)[0] == 0
    assert not default_database().exists()
    lines = own_index("search", SENTENCE, "--database", tmp_path / "here.sqlite")[1].splitlines()
    long = [line for line in lines if "/long.wav" in line]
    assert len(long) > 1
    assert all(f"{sounds}/long.wav [00:00:" in line for line in long)


def test_the_command_prunes_without_a_folder(own_index: Run, folder: Path):
    own_index("index", folder)
    shutil.rmtree(folder)
    code, _, errors = own_index("index", "--prune")
    assert code == 0
    assert errors.startswith("0 sounds: 3 pruned; ")
    assert own_index("search", SENTENCE)[0] == 1
    assert own_index("index")[0] == 1


def test_a_folder_that_seems_empty_loses_nothing(own_index: Run, folder: Path, tmp_path: Path):
    own_index("index", folder)
    folder.rename(tmp_path / "unmounted")
    folder.mkdir()
    assert own_index("index", folder)[::2] == (1, f"auricle: no sounds in {folder}\n")
    assert own_index("search", SENTENCE)[0] == 1, "files that are away are hidden"
    folder.rmdir()
    (tmp_path / "unmounted").rename(folder)
    assert len(own_index("search", SENTENCE)[1].splitlines()) == 3
    assert own_index("index", folder / "a.wav")[::2] == (
        1,
        f"auricle: {folder}/a.wav is no folder: index takes folders\n",
    )


def test_a_model_that_cannot_compare_finds_by_words(
    own_index: Run, folder: Path, tiny_checkpoint: Path
):
    assert own_index("index", folder, checkpoint=tiny_checkpoint)[0] == 0
    word = next(
        hit
        for hit in own_index("search", "dog bird rain wind engine", checkpoint=tiny_checkpoint)[
            1
        ].split()
    )
    assert float(word) == 1
    for refused in (
        ("search", SENTENCE, "--by", "embedding"),
        ("search", "--like", folder / "a.wav"),
    ):
        code, out, errors = own_index(*refused, checkpoint=tiny_checkpoint)
        assert (code, out) == (1, "")
        assert "cannot compare" in errors
    assert "belongs to another model" in own_index("search", SENTENCE)[2]


def test_a_missing_extra_is_one_line(own_index: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "auricle.search.index")
    monkeypatch.setitem(sys.modules, "apsw", None)
    assert own_index("search", SENTENCE)[::2] == (
        1,
        "auricle: apsw is not installed: pip install 'auricle[search]'\n",
    )
