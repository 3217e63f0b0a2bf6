"""Decoding: every way in gives the same sound, and another file gives one clear line."""

import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.errors import AudioError
from auricle.sound.container import demuxed
from auricle.sound.decode import load_audio, stream_audio
from auricle.sound.resample import resample
from sounds import chirp, stereo, tone, write_media, write_silent_video, write_wav

RATE = 32_000
FORMATS = [  # file, codec, rate, with video
    ("s16.wav", "pcm_s16le", 44_100, False),
    ("f32.wav", "pcm_f32le", 22_050, False),
    ("u8.wav", "pcm_u8", 8_000, False),
    ("s24.wav", "pcm_s24le", 96_000, False),
    ("a.aiff", "pcm_s16be", 44_100, False),
    ("a.flac", "flac", 44_100, False),
    ("vorbis.ogg", "vorbis", 44_100, False),
    ("opus.ogg", "libopus", 48_000, False),
    ("a.opus", "libopus", 48_000, False),
    ("a.mp3", "libmp3lame", 44_100, False),
    ("a.m4a", "aac", 44_100, False),
    ("a.aac", "aac", 44_100, False),
    ("a.mp4", "aac", 48_000, True),
    ("a.mkv", "aac", 44_100, True),
    ("a.webm", "libopus", 48_000, True),
    ("a.ts", "aac", 48_000, True),
]


class _Pipe(io.RawIOBase):
    """A stream that can only be read, a little at a time, as standard input is."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._bytes, self._piece = io.BytesIO(data), piece

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._bytes.readinto(memoryview(buffer)[: self._piece])


def pipe(data: bytes, piece: int = 1_000) -> BinaryIO:
    return cast(BinaryIO, _Pipe(data, piece))


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def frequency(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def error_of(source, **options) -> str:
    """The one line that says why `source` is refused."""
    with pytest.raises(AudioError) as caught:
        load_audio(source, RATE, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("file", "codec", "rate", "video"), FORMATS)
def test_every_way_in_gives_the_same_sound(tmp_path, file, codec, rate, video):
    sound = chirp(3.3, 200, 3_000, rate)
    path = write_media(tmp_path / file, stereo(sound), rate, codec, video=video)
    data = path.read_bytes()
    whole = load_audio(path, RATE)
    assert whole.dtype == np.float32
    assert whole.ndim == 1
    chunks = list(stream_audio(str(path), RATE))
    assert all(0 < len(chunk) <= 1.1 * RATE for chunk in chunks)
    np.testing.assert_array_equal(np.concatenate(chunks), whole)
    np.testing.assert_array_equal(load_audio(data, RATE), whole)
    piped = load_audio(io.BufferedReader(_Pipe(data, 1_000)), RATE)
    if codec == "libmp3lame":  # its end padding is dropped only where the end can be sought
        assert 0 <= len(piped) - len(whole) < 0.02 * RATE
        np.testing.assert_array_equal(piped[: 3 * RATE], whole[: 3 * RATE])
    else:
        np.testing.assert_array_equal(piped, whole)

    assert len(chunks) >= 3
    # codecs pad; the resampler's own share is tested below
    assert abs(len(whole) / RATE - 3.3) < 0.06
    assert rms(whole) == pytest.approx(rms(sound), rel=0.05)  # +3 dB would be 1.41


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 192_000])
def test_resampling_keeps_frequency_level_and_length(tmp_path, rate):
    path = write_wav(tmp_path / "tone.wav", stereo(tone(2, 1_000, rate)), rate)
    heard = load_audio(path, RATE)
    assert abs(len(heard) / RATE - 2) < 0.003
    assert frequency(heard, RATE) == pytest.approx(1_000, abs=1)
    assert rms(heard[RATE // 10 : -RATE // 10]) == pytest.approx(0.5 / np.sqrt(2), rel=0.005)


@pytest.mark.parametrize("kind", ["float32", "int16", "uint8"])
def test_channels_that_cancel_give_the_louder_one(kind):
    sound = chirp(2.5, 100, 5_000, RATE)
    quiet = np.zeros_like(sound)
    channels = np.stack([0.9 * sound, -sound, quiet, quiet])
    full_scale = {"float32": 1, "int16": 32_767, "uint8": 127}[kind]
    offset = 128 if kind == "uint8" else 0
    pcm = (channels * full_scale + offset).astype(kind)
    assert np.allclose(resample(pcm[:2], RATE, RATE), -sound, atol=0.02)
    assert np.allclose(resample(pcm, RATE, RATE), -sound / 3, atol=0.02)


def test_channels_are_averaged(tmp_path):
    left = tone(1, 440, RATE)
    path = write_media(tmp_path / "left.wav", np.stack([left, 0 * left]), RATE, "pcm_f32le")
    np.testing.assert_allclose(load_audio(path, RATE), left / 2, atol=1e-7)
    path = write_media(tmp_path / "five.wav", np.stack([left] + 4 * [0 * left]), RATE, "pcm_f32le")
    np.testing.assert_allclose(load_audio(path, RATE), left / 5, atol=1e-7)


@pytest.mark.parametrize("from_rate", [RATE, 44_100])
def test_array_and_file_agree(tmp_path, from_rate):
    samples = stereo(chirp(2.5, 100, 5_000, from_rate))
    samples[1] *= 0.3
    path = write_media(tmp_path / "float.wav", samples, from_rate, "pcm_f32le")
    np.testing.assert_array_equal(resample(samples, from_rate, RATE), load_audio(path, RATE))
    path = write_wav(tmp_path / "pcm.wav", samples, from_rate)
    pcm = (samples * 32767).round().astype(np.int16)
    np.testing.assert_array_equal(resample(pcm, from_rate, RATE), load_audio(path, RATE))


def test_integers_are_scaled_to_one():
    for dtype in (np.int16, np.int32):
        extremes = np.array([np.iinfo(dtype).min, 0, np.iinfo(dtype).max], dtype)
        np.testing.assert_allclose(resample(extremes, RATE, RATE), [-1, 0, 1], atol=1e-4)
    np.testing.assert_allclose(
        resample(np.array([0, 128, 255], np.uint8), RATE, RATE), [-1, 0, 1], atol=0.01
    )
    assert resample(np.zeros(10), RATE, RATE).dtype == np.float32


@pytest.mark.parametrize(
    ("samples", "from_rate", "to_rate", "said"),
    [
        (np.array([]), RATE, RATE, "empty"),
        (np.zeros((2, 0)), RATE, RATE, "empty"),
        (np.zeros((44_100, 2)), RATE, RATE, "(44100, 2)"),
        (np.zeros(1), 44_100, RATE, "too short"),
        (np.zeros((2, 2, 2)), RATE, RATE, "(2, 2, 2)"),
        (np.array([0, np.nan]), RATE, RATE, "NaN"),
        (np.full(99, np.inf), 44_100, RATE, "NaN or infinite"),
        (np.full(99, 1e300), 44_100, RATE, "NaN or infinite"),
        (np.full(99, -3e20), RATE, RATE, "samples of up to 3e+20, where full scale is 1"),
        (np.zeros(9, complex), RATE, RATE, "complex128"),
        (np.zeros(9, np.int64), RATE, RATE, "int64"),
        (np.array(["a"]), RATE, RATE, "<U1"),
        (np.zeros(9), 0, RATE, "given is 0 Hz"),
        (np.zeros(9), 44_100.5, RATE, "44100.5"),
        (np.zeros(9), RATE, 768_001, "asked for is 768001 Hz"),
    ],
)
def test_bad_arrays_are_refused(samples, from_rate, to_rate, said):
    with pytest.raises(AudioError) as caught:
        resample(samples, from_rate, to_rate)
    assert str(caught.value).startswith("array: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_max_seconds(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(5, 440, 44_100), 44_100)
    np.testing.assert_array_equal(
        load_audio(path, RATE, max_seconds=1.5), load_audio(path, RATE)[: RATE * 3 // 2]
    )
    assert len(load_audio(path, RATE, max_seconds=60)) == 5 * RATE


def test_rate_and_channels_may_change_midway(tmp_path):
    first = write_media(tmp_path / "1.aac", tone(2, 440, 44_100), 44_100, "aac")
    second = write_media(tmp_path / "2.aac", stereo(tone(2, 440, 22_050)), 22_050, "aac")
    heard = load_audio(first.read_bytes() + second.read_bytes(), RATE)
    assert abs(len(heard) / RATE - 4) < 0.2
    for part in (heard[RATE // 2 : RATE], heard[3 * RATE : -RATE // 2]):
        assert frequency(part, RATE) == pytest.approx(440, abs=4)


def test_memory_does_not_grow_with_length(tmp_path):
    path = write_wav(tmp_path / "long.wav", np.zeros(8_000 * 600), 8_000)  # ten minutes, 9.6 MB
    tracemalloc.start()
    try:
        seconds = sum(len(chunk) for chunk in stream_audio(path, RATE)) / RATE
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds == pytest.approx(600, abs=0.01)
    assert peak < 2_000_000


# Files that are no sounds


def png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(4)))
        + chunk(b"IEND", b"")
    )


def wav(
    data: bytes,
    *,
    rate: int = RATE,
    channels: int = 1,
    kind: int = 1,
    bits: int = 16,
    length: int | None = None,
):
    """A wav by hand, so that its header can lie."""
    frame = channels * bits // 8
    header = struct.pack(
        "<HHIIHH", kind, channels, rate, rate * frame & 0xFFFFFFFF, frame & 0xFFFF, bits
    )
    size = len(data) if length is None else length
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + header
        + (b"data" + struct.pack("<I", size) + data)
    )


NO_SOUNDS = {
    "empty.wav": (b"", "is empty"),
    "text.wav": (b"this claims to be a wav\n" * 40, "is damaged or not a sound"),
    "image.png": (png(), "no audio stream"),
    "page.mp3": (b"\n<!DOCTYPE html><html>" + b"<p>no sound</p>" * 4_000, "is a web page"),
    # FFmpeg takes this page for AMR.
    "amr.html": (b"<!doctype html><html><body>" + b"<p>not found</p>" * 4_000, "is a web page"),
    "text.srt": (b"1\n00:00:01,000 --> 00:00:02,000\nHi\n", "no audio stream (SubRip subtitle)"),
    "huge.wav": (
        wav(np.full(99, 1e30, np.float32).tobytes(), kind=3, bits=32),
        "samples of up to 1e+30, where full scale is 1",
    ),
    "no-samples.wav": (wav(b""), "no samples"),
    "header-only.wav": (wav(b"")[:30], ""),
    "rate-0.wav": (wav(bytes(2_000), rate=0), ""),
    "rate-1.wav": (wav(bytes(2_000), rate=1), "is 1 Hz"),
    "rate-huge.wav": (wav(bytes(2_000), rate=1_000_000), "is 1000000 Hz"),
    "channels.wav": (wav(bytes(65 * 2 * 99), channels=65), ""),
    "s64.wav": (wav(bytes(800), bits=64), "64-bit integers"),
    "nan.wav": (wav(np.full(99, np.nan, np.float32).tobytes(), kind=3, bits=32), "NaN or infinite"),
    "inf.wav": (
        wav(np.full(99, np.inf, np.float32).tobytes(), rate=44_100, kind=3, bits=32),
        "NaN or infinite",
    ),
}


@pytest.mark.parametrize("file", NO_SOUNDS)
def test_no_sounds_are_refused_by_name(tmp_path, file):
    data, said = NO_SOUNDS[file]
    path = tmp_path / file
    path.write_bytes(data)
    for source in (path, data, pipe(data)):
        message = error_of(source, name=None if source is path else file)
        assert message.startswith(f"{path if source is path else file}: ")
        assert said in message


def test_paths_that_cannot_be_opened(tmp_path):
    assert "no such file" in error_of(tmp_path / "absent.wav")
    assert "a directory" in error_of(tmp_path)
    assert "null" in error_of("a\0.wav")
    assert error_of("http://127.0.0.1:9/a.wav").startswith("http://127.0.0.1:9/a.wav: no such file")
    assert error_of(tmp_path / "two\nlines.wav").startswith(f"{tmp_path}/two?lines.wav: ")


def test_video_without_sound(tmp_path):
    message = error_of(write_silent_video(tmp_path / "silent.mp4"))
    assert "has no audio stream (QuickTime / MOV)" in message


def test_a_stream_that_breaks():
    class Broken(_Pipe):
        def readinto(self, buffer) -> int:  # noqa: ARG002
            raise ConnectionResetError(104, "Connection reset by peer")

    assert (
        error_of(Broken(b"", 1), name="socket")
        == "socket: reading it failed (Connection reset by peer)"
    )


@pytest.mark.parametrize("kind", ["m3u8", "m3u8-http", "ffconcat", "concat-name", "sdp"])
def test_playlists_cannot_reach_other_files(tmp_path, kind):
    secret = write_wav(tmp_path / "secret.wav", tone(1, 440, RATE), RATE)
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
    text = {
        "m3u8": hls.format(secret),
        "m3u8-http": hls.format("http://127.0.0.1:9/a.ts"),
        "ffconcat": f"ffconcat version 1.0\nfile {secret}\n",
        "sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio "
        "5004 RTP/AVP 0\r\n",
    }.get(kind)
    if text is None:
        assert "no such file" in error_of(f"concat:{secret}|{secret}")
        return
    path = tmp_path / f"list.{kind}"
    path.write_text(text)
    assert "not a sound" in error_of(path)
    assert "not a sound" in error_of(text.encode())


# Complete files that FFmpeg or their tags misjudge


def test_chained_ogg_gives_every_link(tmp_path):
    """Links of other rates and channels follow, from a file and from a pipe."""
    links = [
        write_media(tmp_path / "1.ogg", tone(2, 440, 48_000), 48_000, "libopus"),
        write_media(tmp_path / "2.ogg", stereo(tone(3, 880, 22_050)), 22_050, "vorbis"),
        write_media(tmp_path / "3.ogg", tone(1, 1_760, 48_000), 48_000, "libopus"),
    ]
    chain = b"".join(link.read_bytes() for link in links)
    for source in (chain, pipe(chain)):
        samples = load_audio(source, RATE)
        assert abs(len(samples) / RATE - 6) < 0.1
        for begin, hz in ((0.5, 440), (3.5, 880), (5.3, 1_760)):
            part = samples[int(begin * RATE) : int((begin + 0.5) * RATE)]
            assert abs(frequency(part, RATE) - hz) < 5
    assert error_of(chain[:-900])


def test_the_end_of_a_truncated_link_comes_before_its_error(tmp_path):
    link = write_media(tmp_path / "1.ogg", tone(2.5, 440, 48_000), 48_000, "libopus").read_bytes()
    chunks: list[np.ndarray] = []
    with pytest.raises(AudioError, match="truncated"):
        chunks.extend(stream_audio(link + link[:-900], RATE))
    assert sum(map(len, chunks)) > 3.5 * RATE


@pytest.mark.parametrize("sized", [True, False])
def test_a_stale_duration_does_not_make_a_whole_file_truncated(tmp_path, sized):
    path = write_media(tmp_path / "a.mka", tone(8, 440, 48_000), 48_000, "libopus")
    data = path.read_bytes()
    tag = data.find(b"00:00:0")
    assert tag > 0
    stale = data[:tag] + b"00:01:3" + data[tag + 7 :]
    if not sized:
        at = stale.find(b"\x18\x53\x80\x67") + 4
        stale = stale[:at] + b"\x01" + b"\xff" * 7 + stale[at + 8 :]
    for source in (stale, pipe(stale)):
        assert abs(len(load_audio(source, RATE)) / RATE - 8) < 0.1


def test_a_stale_number_of_samples_does_not_make_a_flac_truncated(tmp_path):
    path = write_media(tmp_path / "a.flac", tone(4, 440, 48_000), 48_000, "flac")
    data = bytearray(path.read_bytes())
    fields = int.from_bytes(data[18:26])  # the last 36 bits are the number of samples
    assert fields & (1 << 36) - 1 == 4 * 48_000
    data[18:26] = (fields + 90 * 48_000).to_bytes(8)
    for source in (bytes(data), pipe(bytes(data))):
        assert len(load_audio(source, RATE)) == 4 * RATE


def test_a_stale_duration_does_not_make_an_mp4_truncated(tmp_path):
    options = {"movflags": "frag_keyframe+empty_moov"}
    path = write_media(tmp_path / "a.mp4", tone(4, 440, 48_000), 48_000, "aac", options=options)
    data = bytearray(path.read_bytes())
    for atom, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        at = data.find(atom) + offset
        data[at : at + 4] = (90 * 48_000).to_bytes(4)
    for source in (bytes(data), pipe(bytes(data))):
        assert abs(len(load_audio(source, RATE)) / RATE - 4) < 0.1


@pytest.mark.parametrize("rate", [44_100, 22_050, 11_025])
def test_an_mp3_that_was_cut_between_frames_is_whole(tmp_path, rate):
    """An editor that cuts without decoding leaves the count of the first frame as it was."""
    sound = stereo(chirp(20, 100, 5_000, rate))
    path = write_media(tmp_path / "a.mp3", sound, rate, "libmp3lame")
    with av.open(str(path)) as container:
        starts = [packet.pos for packet in container.demux() if packet.pos]
    data = path.read_bytes()
    cut = starts[len(starts) // 2]
    for source in (data[:cut], pipe(data[:cut])):
        assert abs(len(load_audio(source, RATE)) / RATE - 10) < 0.2
    for source in (data[: cut + 30], pipe(data[: cut + 30])):
        assert "is truncated" in error_of(source)


def test_a_wav_whose_outer_length_is_that_of_the_file_is_whole():
    samples = (tone(2, 440, RATE) * 32_767).astype("<i2").tobytes()
    data = wav(samples, length=9 * len(samples))
    for source in (data, pipe(data)):
        assert len(load_audio(source, RATE)) == 2 * RATE


@pytest.mark.parametrize(("valid", "bits"), [(24, 32), (20, 32), (20, 24), (32, 32), (12, 16)])
def test_wavs_with_padded_samples(valid, bits):
    sound = tone(1, 440, RATE)
    samples = (sound * (2**31 - 1)).astype("<i4").view(np.uint8).reshape(-1, 4)
    frame = bits // 8
    guid = bytes.fromhex("0100000000001000800000aa00389b71")
    form = struct.pack("<HHIIHH", 0xFFFE, 1, RATE, RATE * frame, frame, bits)
    form += struct.pack("<HHI", 22, valid, 4) + guid
    pcm = samples[:, 4 - frame :].tobytes()
    data = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    data += b"data" + struct.pack("<I", len(pcm)) + pcm
    data = b"RIFF" + struct.pack("<I", len(data)) + data
    for source in (data, pipe(data)):
        assert np.allclose(load_audio(source, RATE), sound, atol=1e-4)


def test_quicktime_without_ftyp_is_read_from_a_pipe(tmp_path):
    path = write_media(tmp_path / "a.mov", tone(2, 440, 44_100), 44_100, "aac")
    data = path.read_bytes()
    size = int.from_bytes(data[:4])
    # An atom of the same size that says nothing keeps all offsets right.
    old = data[:4] + b"wide" + bytes(size - 8) + data[size:]
    assert np.array_equal(load_audio(pipe(old), RATE), load_audio(data, RATE))


@pytest.mark.parametrize(
    ("file", "seconds"),
    [
        ("chained_mono_then_stereo.ogg", 10),
        ("stale_duration_tag.mka", 39),
        ("extensible_24_valid_bits_of_32.wav", 1.25),
        ("inverted_stereo.flac", 5),
        ("00001.MTS", 5),
    ],
)
def test_shared_faults_decode_whole(shared, file, seconds):
    path = shared / "faults" / "media" / file
    samples = load_audio(path, RATE)
    assert abs(len(samples) / RATE - seconds) < 0.1
    assert rms(samples) > 0.01


# What ends early


@pytest.mark.parametrize(
    ("file", "codec", "options"),
    [
        ("a.wav", "pcm_s16le", {}),
        ("rf64.wav", "pcm_s16le", {"rf64": "always"}),
        ("adpcm.wav", "adpcm_ima_wav", {}),
        ("a.w64", "pcm_s16le", {}),
        ("a.au", "pcm_s16be", {}),
        ("a.aiff", "pcm_s16be", {}),
        ("a.flac", "flac", {}),
        ("a.ogg", "libopus", {}),
        ("a.mp3", "libmp3lame", {}),
        ("a.m4a", "aac", {}),
        ("fast.m4a", "aac", {"movflags": "faststart"}),
        ("fragments.mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.tta", "tta", {}),
        ("a.wv", "wavpack", {}),
        ("a.mka", "aac", {}),
    ],
)
def test_truncated_files_give_their_sound_and_then_an_error(tmp_path, file, codec, options):
    path = write_media(
        tmp_path / file, stereo(chirp(8, 100, 9_000, 48_000)), 48_000, codec, options=options
    )
    assert abs(len(load_audio(path, RATE)) / RATE - 8) < 0.1
    data = path.read_bytes()
    for share in (0.3, 0.77):
        cut = data[: int(share * len(data))]
        path.write_bytes(cut)
        lengths = []
        for source, name in ((path, str(path)), (pipe(cut, piece=9_999), "standard input")):
            chunks: list[np.ndarray] = []
            with pytest.raises(AudioError) as caught:
                chunks.extend(stream_audio(source, RATE, name=name))
            assert str(caught.value).startswith(f"{name}: is ")
            lengths.append(sum(map(len, chunks)))
        if file != "a.m4a":  # its index stood at the end
            # Compression varies along the chirp, and an Ogg page is a second.
            assert share * 8 - 1.1 < lengths[0] / RATE <= share * 8 + 0.7
            assert abs(lengths[0] - lengths[1]) < 0.03 * RATE


@pytest.mark.parametrize("length", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_lengths_that_a_pipe_cannot_know(length):
    data = wav((tone(2, 440, RATE) * 32767).astype("<i2").tobytes(), length=length)
    assert len(load_audio(data, RATE)) == 2 * RATE
    assert len(load_audio(pipe(data), RATE)) == 2 * RATE


def test_mp3s_of_unknown_length(tmp_path):
    """Joined files, files without the header that counts frames, a cover in front and rubbish
    behind are all fine."""
    sound = tone(4, 440, 44_100)
    one = write_media(tmp_path / "1.mp3", sound, 44_100, "libmp3lame").read_bytes()
    bare = write_media(
        tmp_path / "2.mp3", sound, 44_100, "libmp3lame", options={"write_xing": "0"}
    ).read_bytes()
    cover = bytes(range(1, 255)) * 900
    size = bytes((len(cover) + 10 >> shift) & 127 for shift in (21, 14, 7, 0))
    tag = b"ID3\3\0\0" + size + b"APIC" + struct.pack(">I", len(cover)) + b"\0\0" + cover
    for data, seconds in (
        (one + one, 8),
        (one + bare + one, 12),
        (tag + bare, 4),
        (one + bytes(2_000), 4),
        (bare, 4),
    ):
        for source in (data, pipe(data, piece=5_000)):
            assert abs(len(load_audio(source, RATE)) / RATE - seconds) < 0.2


def test_one_damaged_frame_is_passed_over_and_many_are_not(tmp_path):
    rng = np.random.default_rng(0)
    sound = stereo(chirp(8, 100, 9_000, 44_100))
    path = write_media(tmp_path / "a.m4a", sound, 44_100, "aac", options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = rng.bytes(300)
    assert abs(len(load_audio(bytes(data), RATE)) / RATE - 8) < 0.2
    data[middle:] = rng.bytes(len(data) - middle)
    path.write_bytes(data)
    assert str(path) in error_of(path)


def test_a_stream_that_appears_late_ends_nothing():
    """PyAV raises IndexError behind the last packet of such a damaged MPEG-TS."""

    class Damaged:
        def demux(self, stream: str) -> Iterator[str]:
            yield from (f"{stream} 1", f"{stream} 2")
            raise IndexError

    assert list(demuxed(Damaged(), "a")) == ["a 1", "a 2"]  # type: ignore[arg-type]


def test_nothing_is_printed(tmp_path):
    """FFmpeg's own complaints do not reach the terminal."""
    path = tmp_path / "bad.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVEfmt " + bytes(range(256)))
    code = f"""
from auricle.errors import AudioError\nfrom auricle.sound.decode import load_audio
try:
    load_audio({str(path)!r}, 32000)
except AudioError:
    pass
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}, check=True
    )
    assert done.stdout + done.stderr == ""


# Anything at all


def audio_or_error(data: bytes) -> None:
    for source in (data, pipe(data)):
        try:
            samples, message = load_audio(source, RATE, name="fuzz"), "fuzz: "
        except AudioError as error:
            samples, message = np.ones(1, np.float32), str(error)
        assert message.startswith("fuzz: ")
        assert len(message.splitlines()) == 1
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        assert len(samples)
        assert np.isfinite(samples).all()


MAGIC = [
    b"",
    b"RIFF\0\0\0\0WAVE",
    b"fLaC",
    b"OggS\0\2",
    b"ID3\4\0\0",
    b"\xff\xfb\x90",
    b"\0\0\0\x20ftypM4A ",
    b"FORM",
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MAGIC), st.binary(max_size=600))
def test_random_bytes(magic, data):
    audio_or_error(magic + data)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 47), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 400),
)
def test_mutated_wav_headers(changes, kept):
    data = bytearray(wav(np.arange(200, dtype="<i2").tobytes())[: 44 + kept])
    for position, value in changes:
        if position < len(data):
            data[position] = value
    audio_or_error(bytes(data))


def test_a_file_is_closed(tmp_path):
    path: Path = write_wav(tmp_path / "a.wav", tone(3, 440, RATE), RATE)
    stream = stream_audio(path, RATE)
    next(stream)
    del stream  # an open file would warn here, and warnings are errors
