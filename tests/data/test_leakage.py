"""A recording on both sides of a split is found, in whatever format it stands there; what only
sounds alike is not."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auricle.data.leakage import (
    FEWEST_FRAMES,
    HOP_SAMPLES,
    RATE,
    FileFingerprint,
    Index,
    compare,
    find_leaks,
    fingerprint,
    fingerprint_files,
)
from auricle.data.manifest import Item, read_manifest, write_manifest
from auricle.errors import AudioError
from auricle.sound.decode import load_audio
from auricle.sound.resample import resample
from commands import Run
from sounds import tone, write_media, write_wav

SOURCE = 44_100


def noise(seed: int, seconds: float = 4.0, rate: int = SOURCE) -> np.ndarray:
    """Noise that swells and falls: sounds of one kind, and yet no two the same."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(0.1, 1, 50)
    seconds_of_samples = np.arange(round(seconds * rate)) / rate
    swell = np.interp(seconds_of_samples, np.arange(50) / 4, levels)
    return (0.2 * swell * rng.normal(size=len(swell))).astype(np.float32)


def shared_seconds(one: np.ndarray, other: np.ndarray) -> float:
    return Index([one]).search(other).get(0, (0.0, 0.0))[0]


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "low.wav", "quiet.flac", "noisy.flac"])
def test_a_copy_in_another_format_is_found_where_it_lies(name: str, tmp_path: Path):
    whole = noise(0, 6.0)
    part = whole[round(1.7317 * SOURCE) : round(4.7317 * SOURCE)]
    path = tmp_path / name
    if name == "low.wav":
        write_wav(path, resample(part, SOURCE, 16_000), 16_000)
    elif name == "quiet.flac":
        write_media(path, part * 0.02, SOURCE, "flac")
    elif name == "noisy.flac":
        write_media(
            path, part + 0.01 * np.random.default_rng(1).normal(size=len(part)), SOURCE, "flac"
        )
    else:
        write_media(path, part, SOURCE, {".mp3": "libmp3lame", ".m4a": "aac"}[path.suffix])
    original = write_media(tmp_path / "whole.flac", whole, SOURCE, "flac")
    one, other = (fingerprint(load_audio(file, RATE)) for file in (original, path))
    # .41 s of the three are the last window's.
    assert shared_seconds(one, other) == pytest.approx(2.6, abs=0.15)
    assert shared_seconds(other, one) == pytest.approx(2.6, abs=0.15)


def test_alike_is_not_the_same():
    sounds = [fingerprint(noise(seed, 4.0, RATE)) for seed in range(20)]
    sounds += [fingerprint(tone(4, hz, RATE)) for hz in (440, 445, 1000)]
    sounds += [
        fingerprint(np.zeros(4 * RATE, np.float32)),
        fingerprint(np.full(4 * RATE, 0.1, np.float32)),
    ]
    for number, sound in enumerate(sounds):
        found = Index(sounds).search(sound)
        assert set(found) <= {number}
        assert number >= 20 or found[number][1] == 1.0


def test_too_short_to_tell():
    sound = fingerprint(noise(3, 4.0, RATE))
    assert compare(sound, sound, 0) is not None
    assert compare(sound[: FEWEST_FRAMES - 1], sound, 0) is None
    assert compare(sound, sound, len(sound) - FEWEST_FRAMES + 1) is None
    assert compare(np.zeros(500, np.uint32), np.zeros(500, np.uint32), 0) is None
    assert Index([]).search(sound) == {}
    assert len(fingerprint(np.zeros(0, np.float32))) >= 1
    assert len(sound) == (4 * RATE - 2_048) // HOP_SAMPLES + 1


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Training and test: one recording by name, one file twice, one stretch of sound, and one that
    is new."""
    sounds = {
        name: noise(seed)
        for seed, name in enumerate(("named", "copied", "cut", "fresh", "other", "named2"))
    }
    rows = [
        ("named", "train", "77"),
        ("copied", "train", ""),
        ("cut", "train", "78"),
        ("other", "train", "79"),
    ]
    items = []
    for name, split, group in [*rows, ("named2", "test", "77"), ("fresh", "test", "80")]:
        write_wav(tmp_path / f"{name}.wav", sounds[name], SOURCE)
        items.append(Item(tmp_path / f"{name}.wav", split, ("A sound.",), group=group))
    (tmp_path / "copy.wav").write_bytes((tmp_path / "copied.wav").read_bytes())
    write_media(tmp_path / "excerpt.mp3", sounds["cut"][SOURCE : 3 * SOURCE], SOURCE, "libmp3lame")
    items += [
        Item(tmp_path / "copy.wav", "test", ("A sound.",)),
        Item(tmp_path / "excerpt.mp3", "test", ("A sound.",)),
    ]
    write_manifest(tmp_path / "sounds.csv", items)
    return tmp_path / "sounds.csv"


@pytest.fixture
def audit(auricle: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    monkeypatch.setenv("AURICLE_CACHE", str(tmp_path / "cache"))

    def run(*arguments: object, code: int) -> str:
        result = auricle("data", "audit", *arguments)
        assert result.code == code
        return result.out + result.err

    return run


def test_leaks_are_listed_and_can_be_left_out(
    data: Path, audit: Callable[..., str], tmp_path: Path
):
    said = audit(data, "--test", "test", "-o", tmp_path / "leaks.csv", code=1)
    assert "3 of 4 sounds to score on, by 3 sounds to learn from" in said
    with (tmp_path / "leaks.csv").open(encoding="utf-8", newline="") as file:
        leaks = {(row["train_file"], row["test_file"]): row for row in csv.DictReader(file)}
    assert leaks.keys() == {
        ("named.wav", "named2.wav"),
        ("copied.wav", "copy.wav"),
        ("cut.wav", "excerpt.mp3"),
    }
    assert [row["recording"] for row in leaks.values()] == ["77", "", ""]
    assert leaks["copied.wav", "copy.wav"]["equal_files"] == "yes"
    assert leaks["copied.wav", "copy.wav"]["equal_bits"] == "1.000"
    assert float(leaks["cut.wav", "excerpt.mp3"]["equal_seconds"]) == pytest.approx(1.6, abs=0.15)
    audit(data, "--test", "test", "--write", tmp_path / "clean.csv", code=0)
    clean = read_manifest(tmp_path / "clean.csv")
    assert [item.file.name for item in clean] == [
        "other.wav",
        "named2.wav",
        "fresh.wav",
        "copy.wav",
        "excerpt.mp3",
    ]
    assert "0 of 4 sounds to score on" in audit(tmp_path / "clean.csv", "--test", "test", code=0)


def test_by_name_alone_nothing_is_read(data: Path, audit: Callable[..., str], tmp_path: Path):
    for file in tmp_path.glob("*.wav"):
        file.unlink()
    assert "1 of 4 sounds to score on, by 1 sounds" in audit(
        data, "--test", "test", "--no-listen", code=1
    )
    assert not (tmp_path / "cache").exists()


def test_what_cannot_be_heard_is_counted_and_the_rest_is_compared(
    data: Path, audit: Callable[..., str], tmp_path: Path
):
    (tmp_path / "other.wav").write_bytes(b"no sound")
    (tmp_path / "fresh.wav").unlink()
    said = audit(data, "--test", "test", "--write", tmp_path / "clean.csv", code=1)
    assert "2 sounds could not be heard" in said
    assert "3 of 4 sounds to score on" in said
    assert "it has train, test" in audit(data, "--test", "valid", code=1)


def test_a_fingerprint_is_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = write_wav(tmp_path / "a.wav", noise(0), SOURCE)
    (first,) = fingerprint_files([file], folder=tmp_path / "cache")
    monkeypatch.setattr("auricle.data.leakage.load_audio", lambda *_: pytest.fail("heard again"))
    (second,) = fingerprint_files([file.rename(tmp_path / "b.wav")], folder=tmp_path / "cache")
    assert isinstance(first, FileFingerprint)
    assert isinstance(second, FileFingerprint)
    assert first.digest == second.digest
    np.testing.assert_array_equal(first.fingerprint, second.fingerprint)
    (error,) = fingerprint_files([tmp_path / "gone.wav"], folder=tmp_path / "cache")
    assert isinstance(error, AudioError)


def test_only_pairs_across_the_split_count():
    one = Item(Path("a"), "train", (), group="7")
    scored = replace(one, split="test")
    items = [
        one,
        replace(one, file=Path("b")),
        replace(scored, file=Path("c")),
        replace(scored, file=Path("d")),
    ]
    pairs = {
        (leak.train.file.name, leak.test.file.name) for leak in find_leaks(items, {"test"}, {})
    }
    assert pairs == {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")}


def test_real_sounds_in_another_format(shared: Path, tmp_path: Path):
    files = sorted((shared / "corpus/audio/esc10").glob("*.ogg"))[::40]
    copies = []
    for number, file in enumerate(files):
        samples = load_audio(file, 22_050)
        copies.append(write_media(tmp_path / f"{number}.mp3", 0.5 * samples, 22_050, "libmp3lame"))
    prints = [fingerprint(load_audio(file, RATE)) for file in files]
    found = [set(Index(prints).search(fingerprint(load_audio(copy, RATE)))) for copy in copies]
    # The rest are a short bark or click in silence.
    assert sum(number in numbers for number, numbers in enumerate(found)) >= 0.8 * len(files)
    assert not any(numbers - {number} for number, numbers in enumerate(found))
