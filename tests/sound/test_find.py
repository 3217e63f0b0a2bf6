"""Finding sound files: endings, links, pipes and files that are no sounds."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from auricle.errors import AudioError
from auricle.sound.container import declared_seconds
from auricle.sound.decode import load_audio
from auricle.sound.find import find_sounds

RATE = 16_000


def found(folder: Path, skipped: list[str] | None = None) -> list[str]:
    """Returns the sounds in a folder, relative to it."""
    return [os.path.relpath(path, folder) for path in find_sounds([str(folder)], skipped)]


def test_folders_give_every_ending_in_any_case(tmp_path: Path):
    names = ["a.MTS", "b.m2ts", "c.VOB", "d.m4b", "e.mp2", "f.ogv", "g.3g2", "h.aifc", "i.w64"]
    for name in [*names, "j.weba", "notes.txt", "._a.wav"]:
        (tmp_path / name).touch()
    skipped: list[str] = []
    assert found(tmp_path, skipped) == [*names, "j.weba"]
    assert sorted(os.path.basename(path) for path in skipped) == ["._a.wav", "notes.txt"]


def test_linked_folders_are_searched_once_and_loops_end(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "dog.wav").touch()
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    (sounds / "linked").symlink_to(tmp_path / "elsewhere")
    (sounds / "loop").symlink_to(sounds)
    (sounds / "twice").symlink_to(tmp_path / "elsewhere")
    assert found(sounds) == ["linked/dog.wav"]


def test_a_broken_link_is_one_error(tmp_path: Path):
    link = tmp_path / "gone.wav"
    link.symlink_to(tmp_path / "nothing.wav")
    assert list(find_sounds([str(link)])) == [str(link)]
    assert found(tmp_path) == ["gone.wav"]
    with pytest.raises(AudioError, match="broken link"):
        load_audio(link, RATE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_once(tmp_path: Path, a_wav: bytes):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert list(find_sounds([str(pipe)])) == [str(pipe)]
    assert declared_seconds(pipe) is None  # does not wait for a writer
    writer = threading.Thread(target=pipe.write_bytes, args=(a_wav,), daemon=True)
    writer.start()
    samples = load_audio(pipe, RATE)
    writer.join(10)
    assert np.array_equal(samples, load_audio(a_wav, RATE))


@pytest.fixture
def a_wav(tmp_path: Path) -> bytes:
    """Returns a WAV file of a second."""
    import wave

    path = tmp_path / "source.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.arange(RATE) % 100 * 50).astype("<i2").tobytes())
    return path.read_bytes()
