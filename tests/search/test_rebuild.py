"""An index is rebuilt with another model in place, and is never lost on the way."""

from pathlib import Path

import numpy as np
import pytest

from auricle.captioning.captioner import Captioner
from auricle.errors import AuricleError
from sounds import chirp, write_wav

pytest.importorskip("apsw", reason="an index is SQLite through apsw: pip install 'auricle[search]'")

from auricle.search.index import SoundIndex
from auricle.search.rebuild import known_files, replaced_when_complete

RATE = 32_000


def index_of(path: Path, captioner: Captioner, files: list[str]) -> None:
    with SoundIndex(path, captioner, create=True) as index:
        for outcome in index.update(index.changes([], files)):
            assert outcome.error is None


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "one.wav", tmp_path / "two.wav"]
    write_wav(paths[0], chirp(1, 100, 5_000, RATE), RATE)
    write_wav(paths[1], np.random.default_rng(0).normal(0, 0.1, RATE), RATE)
    return [str(path) for path in paths]


def test_the_files_are_heard_again_by_the_other_model(
    tmp_path: Path, files: list[str], captioner: Captioner, guided: Captioner
):
    path = tmp_path / "sounds.sqlite"
    index_of(path, captioner, files)
    with pytest.raises(AuricleError, match="--rebuild"):
        SoundIndex(path, guided)
    Path(files[1]).unlink()
    assert known_files(path) == files[:1]  # those that are still there
    with replaced_when_complete(path) as new:
        index_of(new, guided, known_files(path))
    assert not new.exists()
    with SoundIndex(path, guided) as index:
        assert [hit.file for hit in index.search("a dog barks")] == files[:1]


def test_a_rebuild_that_stops_leaves_the_old_index(
    tmp_path: Path, files: list[str], captioner: Captioner, guided: Captioner
):
    path = tmp_path / "sounds.sqlite"
    index_of(path, captioner, files)
    before = path.read_bytes()

    def stop() -> None:
        with replaced_when_complete(path) as new:
            index_of(new, guided, files[:1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert path.read_bytes() == before
    with (
        replaced_when_complete(path) as new,
        SoundIndex(new, guided, create=True) as index,
    ):
        heard = [outcome.heard for outcome in index.update(index.changes([], files))]
    assert sum(heard) == 1  # the other sound was heard before the stop


def test_what_is_no_index_is_refused(tmp_path: Path):
    with pytest.raises(AuricleError, match=r"no index .*: make one with"):
        known_files(tmp_path / "none.sqlite")
    other = tmp_path / "other.sqlite"
    other.write_bytes(b"no database at all" * 100)
    with pytest.raises(AuricleError, match="is not an index"):
        known_files(other)
