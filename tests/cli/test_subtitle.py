"""`auricle subtitle`: films to files, alone or between the lines of another; tracks, time, damage,
alerts."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysubs2
import pytest
from typer.testing import CliRunner, Result

from auricle.cli.main import app
from auricle.errors import AudioError, AuricleError
from auricle.sound.container import declared_seconds
from auricle.sound.decode import load_audio, open_audio, stream_audio
from auricle.subtitles.files import read_subtitles
from sounds import tone, write_media, write_tracks

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = 32_000
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 s of siren, 4 s of rain, 2 s of silence, 4 s of bell, with pictures."""
    siren, rain, bell = (
        load_audio(EXAMPLES / f"{name}.wav", RATE)[: 4 * RATE] for name in ("siren", "rain", "bell")
    )
    sound = np.concatenate([siren, rain, np.zeros(2 * RATE, np.float32), bell])
    return write_media(tmp_path_factory.mktemp("film") / "film.mkv", sound, RATE, "aac", video=True)


@pytest.fixture
def run() -> Run:
    return lambda *arguments: CliRunner().invoke(app, ["subtitle", *map(str, arguments)])


@pytest.mark.parametrize("form", ["srt", "vtt", "ass"])
def test_a_film_gets_cues_where_its_sounds_are(
    run: Run, film: Path, tmp_path: Path, form: str
) -> None:
    output = tmp_path / "new" / f"film.{form}"
    result = run(film, "-o", output)
    assert result.exit_code == 0, result.output
    cues = list(pysubs2.load(str(output)))
    assert [round(cue.start / 1000) for cue in cues] == [0, 4, 10]
    assert all(
        cue.text.startswith("[") and cue.text.endswith("]") and cue.plaintext.islower()
        for cue in cues
    )
    assert [
        word in cue.text for word, cue in zip(("siren", "rain", "bell"), cues, strict=True)
    ] == [True] * 3
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_without_output_it_is_printed_and_a_pipe_can_be_read(run: Run, film: Path) -> None:
    printed = run(film, "--format", "vtt").stdout
    assert printed.startswith("WEBVTT\n")
    piped = CliRunner().invoke(app, ["subtitle", "-", "--format", "vtt"], input=film.read_bytes())
    assert piped.stdout == printed


def test_sentences(run: Run, film: Path) -> None:
    """Where there is time to read one; the label where there is not."""
    cues = list(pysubs2.SSAFile.from_string(run(film, "--style", "sentence").stdout))
    sentences = [cue for cue in cues if cue.text.endswith(".")]
    assert len(sentences) >= 2
    assert all(cue.text[0].isupper() and "[" not in cue.text for cue in sentences)
    assert all(cue.text.startswith("[") for cue in cues if cue not in sentences)


def test_merging_keeps_what_is_there_and_fills_gaps(run: Run, film: Path, tmp_path: Path) -> None:
    spoken, output = tmp_path / "film.en.srt", tmp_path / "film.sdh.srt"
    spoken.write_bytes(
        b"1\r\n00:00:00,500 --> 00:00:05,000\r\n<i>H\xe4llo</i>\r\n\r\n2\r\n00:00:09,000 --> "
        b"00:00:13,900\r\nBye"
    )
    before = spoken.read_bytes()
    result = run(film, "--merge", spoken, "-o", output)
    assert result.exit_code == 0, result.output
    assert spoken.read_bytes() == before
    merged = output.read_bytes()
    assert merged.startswith(before[: before.index(b"2\r\n00")])
    assert before[before.index(b"2\r\n00") :] in merged
    (rain,) = [
        cue
        for cue in read_subtitles(output).cues
        if (cue.start, cue.end) not in ((0.5, 5.0), (9.0, 13.9))
    ]
    assert rain.start > 5
    assert rain.end < 9


def test_a_transcript_gets_sounds_between_its_sentences(
    run: Run, film: Path, tmp_path: Path
) -> None:
    spoken, output = tmp_path / "film.json", tmp_path / "film.sdh.json"
    theirs = [{"id": 0, "start": 0.5, "end": 5.0, "text": " Hi."}]
    theirs += [{"id": 1, "start": 9.0, "end": 13.9, "text": " Bye."}]
    spoken.write_text(json.dumps({"text": " Hi. Bye.", "segments": theirs, "language": "en"}))
    result = run(film, "--merge", spoken, "-o", output)
    assert result.exit_code == 0, result.output
    first, rain, last = json.loads(output.read_text())["segments"]
    assert [first, last] == theirs
    assert rain["auricle"]
    assert "rain" in rain["text"]
    assert 5 < rain["start"] < rain["end"] < 9
    assert json.loads(run(film, "--merge", spoken).stdout)["segments"] == [first, rain, last]
    for arguments in (("-o", tmp_path / "film.srt"), ("--format", "vtt")):
        with pytest.raises(AuricleError, match=r"and json: .* must be of one format"):
            raise run(film, "--merge", spoken, *arguments).exception or AssertionError


def test_its_own_source_is_not_overwritten_and_formats_agree(
    run: Run, film: Path, tmp_path: Path
) -> None:
    spoken = tmp_path / "film.srt"
    spoken.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    for arguments, problem in (
        (("--merge", spoken, "-o", spoken), "would be overwritten"),
        (("--merge", spoken, "-o", tmp_path / "film.vtt"), "of one format"),
        (("-o", tmp_path / "film.txt"), r"use \.srt"),
    ):
        with pytest.raises(AuricleError, match=problem):
            raise run(film, *arguments).exception or AssertionError
    assert spoken.read_text().endswith("Hello\n")


def test_tracks(run: Run, tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "film.mkv", [tone(2, 440, RATE), tone(2, 880, RATE)], RATE)
    heard = [np.concatenate(list(stream_audio(path, RATE, track=track))) for track in (1, 2)]
    assert [int(np.abs(np.fft.rfft(samples[:RATE])).argmax()) for samples in heard] == [440, 880]
    with pytest.raises(AudioError, match="has no audio track 3; it has 2"):
        next(stream_audio(path, RATE, track=3))
    assert run(path, "--track", "3", "-o", tmp_path / "no.srt").exit_code == 1


@pytest.mark.parametrize("ending", ["mkv", "ts"])
def test_without_a_mark_the_first_track_is_the_default(tmp_path: Path, ending: str) -> None:
    """MPEG-TS has no marks, and FFmpeg would choose the track of the highest bit rate."""
    rich = np.stack([tone(3, 880, RATE), tone(3, 1_760, RATE)])
    path = write_tracks(tmp_path / f"film.{ending}", [tone(2, 440, RATE), rich], RATE, codec="aac")
    heard = load_audio(path, RATE)[RATE // 2 : RATE * 3 // 2]
    assert int(np.abs(np.fft.rfft(heard)).argmax()) == 440


def test_sound_that_begins_late_keeps_the_time_of_the_film(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "film.mkv", [tone(1, 440, RATE)], RATE, late=0.75)
    aligned = np.concatenate(list(stream_audio(path, RATE, aligned=True)))
    assert np.flatnonzero(aligned)[0] / RATE == pytest.approx(0.75, abs=0.01)
    assert len(load_audio(path, RATE)) == RATE
    assert open_audio(path, RATE).start == pytest.approx(0.75, abs=0.01)
    assert declared_seconds(path) == pytest.approx(2, abs=0.3)
    assert declared_seconds(tmp_path / "none.mkv") is None


def test_what_was_heard_before_the_damage_is_kept(run: Run, film: Path, tmp_path: Path) -> None:
    damaged, output = tmp_path / "film.mkv", tmp_path / "film.srt"
    damaged.write_bytes(film.read_bytes()[: film.stat().st_size * 3 // 5])
    result = run(damaged, "-o", output)
    assert result.exit_code == 1
    assert "truncated" in str(result.exception)
    assert "siren" in output.read_text()


def test_a_film_that_cannot_be_read_leaves_no_file(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "film.srt"
    result = run(tmp_path / "none.mkv", "-o", output)
    assert result.exit_code == 1
    assert "no such file" in str(result.exception)
    assert not output.exists()


def test_alerts_are_told_on_the_way(run: Run, film: Path, tmp_path: Path) -> None:
    alerts = tmp_path / "alerts.toml"
    alerts.write_text('[[alert]]\nsentence = "siren"\nthreshold = -100.0\n')
    result = run(film, "--alerts", alerts)
    assert result.exit_code == 0, result.exception
    assert "alert at 00:00:0" in result.stderr
    assert result.stdout == run(film).stdout
