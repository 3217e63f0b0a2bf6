"""The feature cache: a stored spectrogram is right and whole, and is found again."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from auricle.data.cache import FeatureCache
from auricle.errors import AuricleError
from auricle.sound.decode import load_audio
from auricle.sound.features import FRONT_ENDS, log_mel
from sounds import chirp, tone, write_wav

VGGISH = FRONT_ENDS["vggish"]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "sounds").mkdir()
    return [
        write_wav(
            tmp_path / "sounds" / f"{i}.wav", chirp(1 + i / 10, 100, 500 * (i + 1), 16_000), 16_000
        )
        for i in range(6)
    ]


def load(folder: Path, files: list[Path], jobs: int | None = None) -> list[np.ndarray]:
    cache = FeatureCache(VGGISH, 30.0, folder)
    return cache.load(files, jobs=jobs).spectrograms


def entries(folder: Path) -> dict[str, list[int]]:
    """The key and the place of every array in the cache."""
    found = {}
    for index in sorted(folder.rglob("index.sqlite")):
        with closing(sqlite3.connect(index)) as database:
            for key, *place in database.execute("SELECT * FROM arrays ORDER BY key"):
                found[f"{index.parent.name}/{key}"] = place
    return found


def test_spectrograms_are_those_of_the_files_in_their_order(tmp_path: Path, files: list[Path]):
    for file, spectrogram in zip(files, load(tmp_path / "cache", files), strict=True):
        np.testing.assert_array_equal(spectrogram, log_mel(load_audio(file, 16_000), VGGISH))
        assert spectrogram.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            spectrogram[0] = 0


def test_a_second_load_computes_nothing(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
):
    first = load(tmp_path / "cache", files)
    written = entries(tmp_path / "cache")
    assert len(written) == len(files)
    monkeypatch.setattr("auricle.data.cache.load_audio", None)
    second = load(tmp_path / "cache", files)
    assert entries(tmp_path / "cache") == written
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_parallel_equals_serial(tmp_path: Path, files: list[Path]):
    serial = load(tmp_path / "serial", files, jobs=1)
    parallel = load(tmp_path / "parallel", files * 3, jobs=8)  # the same file at once, too
    assert entries(tmp_path / "serial").keys() == entries(tmp_path / "parallel").keys()
    for one, other in zip(serial * 3, parallel, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_entry_belongs_to_content_front_end_and_length(tmp_path: Path, files: list[Path]):
    cache = tmp_path / "cache"
    load(cache, files[:1])
    files[0].rename(files[0].with_name("renamed.wav"))
    load(cache, [files[0].with_name("renamed.wav")])
    assert len(entries(cache)) == 1  # a name is no content
    write_wav(files[0], tone(1, 440, 16_000), 16_000)
    (changed,) = load(cache, files[:1])
    assert len(entries(cache)) == 2
    np.testing.assert_array_equal(changed, log_mel(load_audio(files[0], 16_000), VGGISH))
    FeatureCache(FRONT_ENDS["panns"], 30.0, cache).load(files[:1])
    assert len(entries(cache)) == 3
    (cut,) = FeatureCache(VGGISH, 1.0, cache).load([files[5]]).spectrograms
    assert len(cut) < len(load(cache, [files[5]])[0])


def test_every_file_that_cannot_be_read_is_listed(tmp_path: Path, files: list[Path]):
    (tmp_path / "text.wav").write_text("this is no sound")
    (tmp_path / "empty.wav").touch()
    with pytest.raises(AuricleError) as caught:
        load(
            tmp_path / "cache",
            [tmp_path / "text.wav", *files, tmp_path / "empty.wav", tmp_path / "gone.wav"],
        )
    first, *lines = str(caught.value).splitlines()
    assert first == "3 of 9 sounds cannot be used:"
    assert [Path(line.strip().split(": ")[0]).name for line in lines] == [
        "text.wav",
        "empty.wav",
        "gone.wav",
    ]
    assert len(entries(tmp_path / "cache")) == len(files)  # the rest need not be computed again


def test_bad_clips_are_left_out_and_listed_if_asked(tmp_path: Path, files: list[Path]):
    for name in ("text.wav", "again.wav"):  # of one content
        (tmp_path / name).write_text("this is no sound")
    bad: list[str] = []
    given = [tmp_path / "text.wav", *files, tmp_path / "gone.wav", tmp_path / "again.wav"]
    features = FeatureCache(VGGISH, 30.0, tmp_path / "cache").load(given, bad_clips=bad)
    assert features.files == files
    assert [Path(line.split(": ")[0]).name for line in bad] == ["text.wav", "gone.wav", "again.wav"]
    whole = FeatureCache(VGGISH, 30.0, tmp_path / "cache").load(files)
    assert features.fingerprint == whole.fingerprint
    for one, other in zip(features.spectrograms, whole.spectrograms, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(AuricleError, match="2 of 2 sounds cannot be used"):
        FeatureCache(VGGISH, 30.0, tmp_path / "cache").load([given[0], given[-1]], bad_clips=[])


def test_many_sounds_take_few_file_descriptors(tmp_path: Path):
    resource = pytest.importorskip("resource", reason="limits of open files are a Unix matter")
    samples = np.zeros(1_600, np.float32)
    files = []
    for number in range(1_500):
        samples[number] = 0.5  # another content
        files.append(write_wav(tmp_path / f"{number}.wav", samples, 16_000))
        samples[number] = 0
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        spectrograms = load(tmp_path / "cache", files)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(spectrograms) == 1_500
    assert len(entries(tmp_path / "cache")) == 1_500
