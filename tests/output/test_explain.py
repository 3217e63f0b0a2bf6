"""The picture of a caption: there whole or not at all, whatever the sound and the model."""

import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip(
    "matplotlib", reason="pictures are drawn with matplotlib: pip install 'auricle[explain]'"
)

from matplotlib.figure import Figure

from auricle.captioning.captioner import Captioner, load
from auricle.errors import AudioError, AuricleError
from auricle.output.explain import explain
from auricle.sound.decode import load_audio
from sounds import chirp, write_wav

RATE = 32_000
BELL = Path(__file__).parents[2] / "examples/bell.wav"


def size(picture: Path) -> tuple[int, int]:
    """Width and height of a PNG file."""
    head = picture.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", head[16:])


@pytest.mark.parametrize("model", ["captioner", "guided"])
@pytest.mark.parametrize("seconds", [0.3, 4.0, 30.0])
def test_a_sound_gets_its_caption_and_a_picture(
    request: pytest.FixtureRequest, model: str, seconds: float, tmp_path: Path
):
    captioner: Captioner = request.getfixturevalue(model)
    samples = chirp(seconds, 100, 8_000, RATE)
    picture = tmp_path / "new" / "out.png"
    assert explain(captioner, samples, picture) == captioner.caption(samples)
    width, height = size(picture)
    assert 1000 < width < 1600
    assert 400 < height < 1400
    assert list(picture.parent.iterdir()) == [picture]


def test_a_file_is_its_samples(captioner: Captioner, tmp_path: Path):
    path = write_wav(tmp_path / "a.wav", chirp(2, 100, 8_000, RATE), RATE)
    for name, source in (("path", path), ("bytes", path.read_bytes())):
        explain(captioner, source, tmp_path / f"{name}.png")
    assert (tmp_path / "path.png").read_bytes() == (tmp_path / "bytes.png").read_bytes()


def test_events_move_with_a_sound_that_begins_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    captioner = load()
    samples = load_audio(BELL, captioner.rate)
    monkeypatch.setattr(captioner, "timed_samples", lambda *_: (2.0, samples))
    caption = explain(captioner, BELL, tmp_path / "out.png")
    assert caption.events
    assert caption == captioner.caption(samples).begun_at(2.0)


def test_longer_and_silent_sounds_are_refused(captioner: Captioner, tmp_path: Path):
    with pytest.raises(AudioError, match="longer than 30 s"):
        explain(captioner, chirp(32, 100, 8_000, RATE), tmp_path / "out.png")
    with pytest.raises(AuricleError, match="silent"):
        explain(captioner, np.zeros(RATE, np.float32), tmp_path / "out.png")
    assert not list(tmp_path.iterdir())


def test_a_picture_that_fails_leaves_the_one_before(
    captioner: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(_: Figure, path: Path, **options: object) -> None:  # noqa: ARG001
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    (tmp_path / "out.png").write_bytes(b"before")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="no space"):
        explain(captioner, chirp(2, 100, 8_000, RATE), tmp_path / "out.png")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [
        ("out.png", b"before")
    ]
