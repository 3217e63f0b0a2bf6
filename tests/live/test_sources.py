"""Where live sound comes from, and what happens when it is lost."""

import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from auricle.errors import AudioError, AuricleError
from auricle.live import sources
from auricle.live.sources import (
    FIRST_WAIT,
    LONGEST_WAIT,
    Gap,
    LiveSource,
    file_source,
    heard,
    in_real_time,
    microphone_source,
    pcm_source,
    url_source,
)
from auricle.sound.decode import load_audio
from auricle.sound.network import open_url, shown_url
from auricle.sound.resample import resample
from loopback import Server, serving
from sounds import chirp, stereo, write_media, write_tracks, write_wav

RATE = 16_000


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Dribble(io.RawIOBase):
    """A pipe that gives a few bytes at a time, and never whole samples."""

    def __init__(self, data: bytes, seed: int) -> None:
        self._data, self._rng = io.BytesIO(data), np.random.default_rng(seed)

    def read1(self, size: int) -> bytes:
        return self._data.read(min(size, int(self._rng.integers(1, 9_999))))


@pytest.mark.parametrize("pcm", ["s16le", "s32le", "f32le"])
@pytest.mark.parametrize("seed", [0, 1])
def test_raw_samples_are_those_of_the_array(pcm: sources.PcmType, seed: int) -> None:
    sound = stereo(chirp(1.3, 100, 3_000, RATE)) * np.array([[1.0], [0.3]])
    dtype = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}[pcm]
    channels = (
        sound * (2 ** (8 * np.dtype(dtype).itemsize - 1) - 1) if pcm != "f32le" else sound
    ).astype(dtype)
    pipe = Dribble(channels.T.tobytes() + b"\1", seed)
    said: list[str] = []
    source = pcm_source(
        pipe,  # type: ignore[arg-type]
        32_000,
        pcm=pcm,
        from_rate=RATE,
        channels=2,
        say=said.append,
    )
    np.testing.assert_allclose(
        np.concatenate(list(source.open())), resample(channels, RATE, 32_000), atol=1e-6
    )
    assert not said


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_a_sample_that_is_no_sound_counts_as_silence(bad: float) -> None:
    sound = chirp(1.3, 100, 3_000, RATE)
    sound[[100, 9_000]] = bad
    said: list[str] = []
    pipe = io.BytesIO(sound.tobytes())
    source = pcm_source(pipe, RATE, pcm="f32le", from_rate=RATE, channels=1, say=said.append)
    heard = np.concatenate(list(source.open()))
    sound[[100, 9_000]] = 0
    np.testing.assert_array_equal(heard, sound)
    (message,) = said
    assert "count as silence" in message


def test_a_sound_file_is_not_taken_for_raw_samples(tmp_path: Path) -> None:
    data = write_wav(tmp_path / "a.wav", chirp(1, 100, 3_000, RATE), RATE).read_bytes()
    source = pcm_source(
        io.BytesIO(data), RATE, pcm="s16le", from_rate=RATE, channels=1, say=lambda _: None
    )
    with pytest.raises(AudioError, match="not raw samples"):
        list(source.open())


def test_a_file_is_played_in_real_time(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", chirp(2.55, 100, 3_000, RATE), RATE)
    clock, begin, samples = Clock(), 1000.0, 0
    whole = load_audio(path, RATE)
    pieces: list[np.ndarray] = []
    for piece in in_real_time(iter([whole[:7], whole[7:]]), RATE, clock=clock, sleep=clock.sleep):
        samples += len(piece)
        pieces.append(piece)
        assert clock.now - begin == pytest.approx(samples / RATE), (
            "not before it would have been heard"
        )
        clock.now += 0.02  # what we do with it takes time, too
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert max(map(len, pieces)) <= sources.PIECE_SECONDS * RATE
    assert not file_source(str(path), RATE).endless


def test_a_film_whose_sound_begins_late_is_silent_until_then(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "film.mkv", [chirp(0.8, 100, 3_000, RATE)], RATE, late=0.5)
    with serving(Server({"film.mkv": path.read_bytes()})) as server:
        for source in (file_source(str(path), RATE), url_source(f"{server.url}film.mkv", RATE)):
            samples = np.concatenate(list(source.open()))
            assert np.flatnonzero(samples)[0] / RATE == pytest.approx(0.5, abs=0.01)
            assert len(samples) / RATE == pytest.approx(1.3, abs=0.01)


def failing(script: list[int | str]) -> Callable[[], Iterator[np.ndarray]]:
    """Returns an `open` that follows a script: a number of pieces and then a loss, or a failure."""

    def pieces() -> Iterator[np.ndarray]:
        act = script.pop(0) if script else "end"
        if act == "end":
            return
        if isinstance(act, int):
            yield from [np.zeros(10, np.float32)] * act
        raise AudioError("it is lost")

    return pieces


def test_a_source_that_is_lost_is_opened_again_with_backoff() -> None:
    clock, said = Clock(), list[str]()
    script: list[int | str] = [2, *["fail"] * 8, 3]
    found = list(
        heard(
            LiveSource("it", failing(script), endless=True),
            said.append,
            clock=clock,
            sleep=clock.sleep,
        )
    )
    waits = [min(FIRST_WAIT * 2**n, LONGEST_WAIT) for n in range(9)]
    assert clock.slept[:9] == waits
    gaps = [piece.seconds for piece in found if isinstance(piece, Gap)]
    assert gaps == [sum(waits)]
    assert [isinstance(piece, Gap) for piece in found] == [False, False, True, False, False, False]
    assert said[0] == "it is lost; trying again in 1 s"
    assert said[9] == f"it is back after {sum(waits):.0f} s"


def test_a_source_that_comes_and_goes_is_not_tried_more_and_more_often() -> None:
    clock = Clock()
    list(
        heard(
            LiveSource("it", failing([1] * 5), endless=True),
            lambda _: None,
            clock=clock,
            sleep=clock.sleep,
        )
    )
    assert clock.slept == [1, 2, 4, 8, 16]


def test_a_patient_listener_tries_again_where_the_first_try_fails_and_tells_of_presence() -> None:
    clock, there = Clock(), list[bool]()
    source = LiveSource("it", failing(["fail", "fail", 2, 3]), endless=True)
    pieces = heard(
        source,
        lambda _: None,
        tell_presence=there.append,
        patient=True,
        clock=clock,
        sleep=clock.sleep,
    )
    found = [type(piece) for piece in pieces]
    assert found == [Gap, np.ndarray, np.ndarray, Gap, *[np.ndarray] * 3]
    assert there == [False, True, False, True, False]


@pytest.mark.parametrize(("script", "endless"), [(["fail"], True), ([2], False)])
def test_a_source_that_was_never_there_or_has_an_end_is_not_tried_again(
    script: list[int | str], endless: bool
) -> None:
    clock = Clock()
    with pytest.raises(AudioError, match="it is lost"):
        list(
            heard(
                LiveSource("it", failing(script), endless),
                lambda _: None,
                clock=clock,
                sleep=clock.sleep,
            )
        )
    assert clock.slept == []


# The network


def test_a_stream_is_decoded_as_a_file_is(tmp_path: Path) -> None:
    sound = stereo(chirp(3.0, 100, 3_000, 44_100))
    path = write_media(tmp_path / "a.flac", sound, 44_100, "flac")
    with serving(Server({"a.flac": path.read_bytes()})) as server:
        finite, chunks = open_url(f"{server.url}a.flac", RATE)
        assert finite
        np.testing.assert_allclose(np.concatenate(list(chunks)), load_audio(path, RATE), atol=1e-6)


def test_a_stream_that_is_cut_is_an_error_after_what_was_heard(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.flac", chirp(20.0, 100, 3_000, 44_100), 44_100, "flac")
    data = path.read_bytes()
    with serving(Server({"live": data}, ranges=False, cut=[len(data) // 2] * 9)) as server:
        _, chunks = open_url(f"{server.url}live", RATE)
        heard_before: list[np.ndarray] = []
        with pytest.raises(AudioError, match=r"127\.0\.0\.1"):
            heard_before.extend(chunks)
    assert sum(map(len, heard_before)) > 5 * RATE


def test_a_file_on_the_network_that_breaks_off_is_not_played_again(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.flac", chirp(2.0, 100, 3_000, 44_100), 44_100, "flac")
    data = path.read_bytes()
    clock, played = Clock(), list[np.ndarray | Gap]()
    with serving(Server({"a.flac": data}, ranges=False, cut=[len(data) // 2] * 9)) as server:
        source = url_source(f"{server.url}a.flac", RATE)
        with pytest.raises(AudioError, match="before its end"):
            played.extend(heard(source, print, clock=clock, sleep=clock.sleep))
        assert server.names == ["a.flac"], "it is opened once"
    samples = sum(len(piece) for piece in played if not isinstance(piece, Gap))
    assert 0.3 * RATE < samples < 1.7 * RATE
    assert clock.slept == []


def test_what_is_not_there_is_one_line_without_passwords() -> None:
    with serving(Server({})) as server:
        url = server.url.replace("//", "//me:password@") + "a.mp3?key=secret"
        with pytest.raises(AudioError) as error:
            list(url_source(url, RATE).open())
    assert str(error.value).startswith(f"{server.url}a.mp3: cannot be opened")
    assert shown_url("rtsp://me:password@camera:554/1?k=v") == "rtsp://camera:554/1"


def test_a_playlist_on_the_network_reads_no_files(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.ts", chirp(3.0, 100, 3_000, 44_100), 44_100, "mp2")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nfile://{path}\n#EXT-X-ENDLIST\n"
    with serving(Server({"a.m3u8": playlist.encode()})) as server, pytest.raises(AudioError):
        list(open_url(f"{server.url}a.m3u8", RATE)[1])


# The microphone, on a PortAudio that is made up: a machine of tests has no sound card.


class FakePortAudio:
    """The used part of sounddevice: its device gives some blocks, or cannot be opened."""

    class PortAudioError(Exception):
        """As there."""

    def __init__(self, *scripts: int | str) -> None:
        self.scripts = list(scripts)
        self.listed = 0
        self.default = SimpleNamespace(device=(1, 0))
        self.devices = [
            {
                "name": "Speakers",
                "index": 0,
                "max_input_channels": 0,
                "default_samplerate": 44_100.0,
            },
            {"name": "Webcam", "index": 1, "max_input_channels": 1, "default_samplerate": 8_000.0},
            {
                "name": "USB Audio",
                "index": 2,
                "max_input_channels": 8,
                "default_samplerate": 48_000.0,
            },
        ]
        self.opened: list[tuple[int, float, int]] = []

    def query_devices(self) -> list[dict]:
        return self.devices

    def _terminate(self) -> None:
        pass

    def _initialize(self) -> None:
        self.listed += 1

    def InputStream(  # noqa: N802
        self, rate: float, size: int, device: int, channels: int, dtype: str, *, callback
    ):
        assert dtype == "float32"
        script = self.scripts.pop(0) if self.scripts else 0
        self.opened.append((device, rate, channels))
        if script == "busy":
            raise self.PortAudioError("Device unavailable")

        class Stream:
            def __enter__(self) -> "Stream":
                def record() -> None:
                    block = np.full((size, channels), 0.25, np.float32)
                    for _ in range(int(script)):
                        callback(block, size, None, SimpleNamespace(input_overflow=False))
                        block[:] = 0.25  # PortAudio uses its memory again

                self.thread = threading.Thread(target=record)
                self.thread.start()
                return self

            def __exit__(self, *_: object) -> None:
                self.thread.join()

        return Stream()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakePortAudio]:
    def make(*scripts: int | str) -> FakePortAudio:
        made = FakePortAudio(*scripts)
        monkeypatch.setitem(sys.modules, "sounddevice", made)  # type: ignore[arg-type]
        monkeypatch.setattr(sources, "SILENT_DEVICE", 0.2)
        return made

    return make


def test_a_microphone_that_is_lost_is_looked_for_afresh(fake: Callable[..., FakePortAudio]) -> None:
    made, clock, said = fake(5, "busy", 3, "busy", 2), Clock(), list[str]()
    samples, gaps = 0, 0
    for piece in heard(
        microphone_source(32_000, None, said.append), said.append, clock=clock, sleep=clock.sleep
    ):
        if isinstance(piece, Gap):
            gaps += 1
        else:
            samples += len(piece)
            np.testing.assert_allclose(piece[100:-100], 0.25, atol=0.01)
        if gaps == 2:
            break
    assert made.opened == [(1, 8_000, 1)] * 5
    assert made.listed == 4
    # All that was recorded is heard, but for what the resampler still holds.
    assert samples >= 8 * 3_200 - 200
    assert "Webcam: has given nothing" in said[0]
    assert "Device unavailable" in said[1]


def test_a_microphone_that_is_lost_does_not_disturb_another(
    fake: Callable[..., FakePortAudio],
) -> None:
    made = fake(5, 1, 1)
    other = microphone_source(RATE, "usb", print).open()
    next(other)
    lost = microphone_source(RATE, "webcam", print)
    for _ in range(2):
        with pytest.raises(AudioError, match="has given nothing"):
            list(lost.open())
    assert made.listed == 0, "listing the devices anew ends all microphones in use"
    other.close()  # type: ignore[attr-defined]
    with pytest.raises(AudioError, match="has given nothing"):
        list(lost.open())
    assert made.listed == 1


def test_a_microphone_is_named_by_number_or_name(fake: Callable[..., FakePortAudio]) -> None:
    for name in ("2", "usb"):
        made = fake(1)
        next(microphone_source(RATE, name, print).open())
        assert made.opened == [(2, 48_000, 2)]
    with pytest.raises(AudioError, match=r"'hifi'; there are: 1 Webcam, 2 USB Audio"):
        next(microphone_source(RATE, "hifi", print).open())
    made.devices = made.devices[:1]
    with pytest.raises(AudioError, match="no device to record from"):
        next(microphone_source(RATE, None, print).open())


def test_what_is_lost_where_we_are_too_slow_is_said_and_nobody_waits(
    fake: Callable[..., FakePortAudio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BACKLOG", 1.0)
    fake(500)
    said: list[str] = []
    pieces = microphone_source(8_000, None, said.append).open()
    next(pieces)
    time.sleep(0.1)  # PortAudio's thread goes on, and is done
    with pytest.raises(AudioError, match="has given nothing"):
        list(pieces)
    assert len(said) == 1
    assert "were lost" in said[0]


def test_a_missing_portaudio_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(AuricleError, match="apt install libportaudio2"):
        microphone_source(RATE, None, print)
