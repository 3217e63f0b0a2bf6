"""The files that keep the sound of events."""

import datetime
import os
from pathlib import Path

import numpy as np
import pytest

from auricle.errors import AuricleError
from auricle.live import keep
from auricle.live.keep import Keeper
from auricle.sound.decode import load_audio

RATE = 8_000
NOON = datetime.datetime(2026, 1, 2, 12, 0, 0, 250_000, datetime.UTC)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "FILE_SECONDS", 1.0)
    monkeypatch.setattr(keep, "SMALLEST_LIMIT", 20_000)


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, round(seconds * RATE)).astype(np.float32)


def kept(keeper: Keeper, samples: np.ndarray) -> None:
    for number, piece in enumerate(np.split(samples, range(800, len(samples), 800)), 1):
        keeper.feed(piece, NOON + datetime.timedelta(seconds=0.1 * number))


def test_what_is_kept_is_what_was_heard(tmp_path: Path) -> None:
    keeper, samples = Keeper(tmp_path / "new", 1_000_000, RATE), noise(2.45)
    kept(keeper, samples)
    assert len(list((tmp_path / "new").glob("*.part"))) == 1
    keeper.close()
    files = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in files] == [
        f"auricle-20260102T12000{n}.250Z.flac" for n in range(3)
    ]
    found = np.concatenate([load_audio(file, RATE) for file in files])
    np.testing.assert_allclose(found, samples, atol=1 / 32768)


def test_the_folder_stays_within_its_limit_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("mine.flac", "auricle-notes.txt", "auricle-20200101T000000.flac"):
        (tmp_path / name).write_bytes(bytes(50_000))
    left = tmp_path / "auricle-20200101T000000.000Z.flac.part"  # of a run that was killed
    left.write_bytes(bytes(50_000))
    keeper = Keeper(tmp_path, 100_000, RATE)
    ours: list[Path] = []
    for second in range(20):
        keeper.feed(noise(1.0), NOON + datetime.timedelta(seconds=second + 1))
        ours = [path for path in tmp_path.iterdir() if path.name.startswith("auricle-2026")]
        assert sum(path.stat().st_size for path in ours) <= 100_000
    keeper.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert {"mine.flac", "auricle-notes.txt", "auricle-20200101T000000.flac"} < set(names)
    assert not left.exists()
    newest = f"auricle-{NOON + datetime.timedelta(seconds=19):%Y%m%dT%H%M%S}.250Z.flac"
    assert newest in names
    assert len(ours) >= 4


def test_too_low_a_limit_and_a_folder_that_cannot_be_written_are_errors(tmp_path: Path) -> None:
    with pytest.raises(AuricleError, match=r"at least 0\.02 MB"):
        Keeper(tmp_path, 1000, RATE)
    (tmp_path / "file").touch()
    with pytest.raises(AuricleError, match="cannot be kept in"):
        Keeper(tmp_path / "file", 100_000, RATE)


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="only who is not root can be refused"
)
def test_a_folder_that_is_taken_away_is_an_error(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, 100_000, RATE)
    tmp_path.chmod(0o500)
    with pytest.raises(AuricleError, match="cannot be kept in"):
        keeper.feed(noise(0.1), NOON)


def test_a_full_disk_at_the_end_of_a_file_is_an_error_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    keeper = Keeper(tmp_path, 100_000, RATE)
    keeper.feed(noise(0.1), NOON)
    monkeypatch.setattr(keep._File, "close", full)
    with pytest.raises(AuricleError, match=r"cannot be kept in \(No space"):
        keeper.close()
    keeper.close()
