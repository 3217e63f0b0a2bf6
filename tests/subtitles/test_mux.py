"""A film gets its captions as a track, and stays as it is otherwise."""

import io
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

from auricle.cli.main import app
from auricle.errors import AudioError, AuricleError
from auricle.subtitles.cues import Cue
from auricle.subtitles.mux import CODECS, add_track, container_of, sorted_cues
from sounds import tone, write_media

CUES = [Cue(0.5, 1.25, "[bell <rings>]"), Cue(2.0, 3.0, "two\nlines")]


def film(path: Path) -> Path:
    codec = "aac" if path.suffix in (".mp4", ".m4v", ".mov") else "libopus"
    return write_media(path, tone(5, 440, 48_000), 48_000, codec, video=True)


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return [bytes(packet) for packet in container.demux(streams) if packet.size]


@pytest.mark.parametrize("ending", sorted(CODECS))
def test_pictures_and_sound_stay_and_the_cues_come_back(tmp_path: Path, ending: str):
    source, copy = film(tmp_path / f"film{ending}"), tmp_path / f"copy{ending}"
    add_track(source, CUES, copy, ending)
    for kind in ("video", "audio"):
        assert packets(copy, kind) == packets(source, kind)
    with av.open(str(copy)) as container:
        [track] = container.streams.subtitles
        assert track.metadata["language"] == "eng"
        shown = [
            (float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p))
            for p in container.demux(track)
            if p.size > 2 and p.pts is not None and p.duration is not None
        ]  # MP4 fills gaps with empty texts of two bytes
    assert [(start, seconds) for start, seconds, _ in shown] == [(0.5, 0.75), (2.0, 1.0)]
    assert b"bell" in shown[0][2]
    assert b"<rings>" not in shown[0][2]
    assert shown[1][2].endswith(b"two\nlines")


def test_a_film_of_another_container_becomes_matroska(tmp_path: Path):
    source = film(tmp_path / "film.mp4")
    add_track(io.BytesIO(source.read_bytes()), CUES, tmp_path / "copy.mkv", ".mkv")
    assert packets(tmp_path / "copy.mkv", "video") == packets(source, "video")


def test_what_cannot_hold_captions_is_refused(tmp_path: Path):
    with pytest.raises(AuricleError, match=r"film\.avi: .*\.mkv"):
        container_of("film.avi")
    with pytest.raises(AudioError, match="no film"):
        add_track(io.BytesIO(b"no film" * 99), CUES, tmp_path / "copy.mkv", ".mkv")
    source = film(tmp_path / "film.mp4")
    with pytest.raises(AuricleError, match=r"try \.mkv"):
        add_track(source, CUES, tmp_path / "copy.webm", ".webm")


def test_cues_are_sorted_and_do_not_overlap():
    cues = [Cue(3, 5, "c"), Cue(0, 2, "a"), Cue(1, 4, "b"), Cue(6, 6, "d"), Cue(7, 8, " ")]
    assert list(sorted_cues(cues)) == [Cue(0, 1, "a"), Cue(1, 3, "b"), Cue(3, 5, "c")]


def test_the_command_writes_the_film_and_never_over_itself(tmp_path: Path):
    source = film(tmp_path / "film.mkv")
    before = source.read_bytes()
    copy = tmp_path / "copy.mkv"
    done = CliRunner().invoke(app, ["subtitle", str(source), "--mux", str(copy)])
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert packets(copy, "audio") == packets(source, "audio")
    for arguments in (["--mux", str(source)], ["--mux", str(tmp_path / "a.avi")]):
        refused = CliRunner().invoke(app, ["subtitle", str(source), *arguments])
        assert isinstance(refused.exception, AuricleError)
    assert source.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.mkv", "film.mkv"]
