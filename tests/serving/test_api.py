"""The HTTP API answers as the command line does, and gives a reason for each refusal."""

import base64
import contextlib
import io
import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from auricle.captioning.captioner import Captioner
from auricle.captioning.results import Row
from auricle.captioning.segmenter import Segmenter
from auricle.output.writers import event_fields, row_fields, write_rows
from auricle.serving.limits import Limits
from auricle.sound.decode import load_audio
from auricle.subtitles.cues import cues
from auricle.subtitles.files import write_cues
from server import EXAMPLES, Answer, Server, serving
from sounds import tone, write_media, write_silent_video, write_wav

TOKEN = "a token of the tests"
BELL = EXAMPLES / "bell.wav"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with little room, and a token."""
    folder = tmp_path_factory.mktemp("uploads")
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        with serving(
            Limits(upload=1 << 20, seconds=8, jobs=1, queue=1, stall=1.0),
            TOKEN,
            names=("sounds.example",),
        ) as running:
            yield running
        assert not list(folder.glob("auricle-*"))  # gone with the server
    finally:
        tempfile.tempdir = before


def fields(caption: Any) -> dict[str, object]:
    """A caption of the captioner as the API gives it."""
    found = row_fields(Row("", caption), 64)
    del found["file"]
    return found


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def test_captions_are_those_of_the_command_line(server: Server, embedded: Captioner):
    for path in sorted(EXAMPLES.glob("*.wav")):
        expected = fields(embedded.caption(path))
        raw = server.ask(f"/v1/captions?name={path.name}", path.read_bytes())
        assert raw.status == 200
        assert raw.json["file"] == path.name
        assert [without(caption, "id", "state") for caption in raw.json["captions"]] == [expected]
        assert server.form("/v1/captions", (path.name, path.read_bytes())).json == raw.json
    subtitles = io.StringIO()
    write_rows([Row("", embedded.caption(BELL))], subtitles, "srt")
    answer = server.ask("/v1/captions?format=srt", BELL.read_bytes())
    assert answer.headers["content-type"].startswith("application/x-subrip")
    assert answer.body.decode() == subtitles.getvalue()
    assert server.ask("/v1/captions?format=vtt", BELL.read_bytes()).body.startswith(
        b"WEBVTT\n\n1\n00:00:00.000 -->"
    )


def test_long_sounds_come_in_windows_or_events(server: Server, embedded: Captioner, scene: Path):
    windows = server.ask("/v1/captions", scene.read_bytes()).json
    assert [without(caption, "id", "state") for caption in windows["captions"]] == [
        fields(c) for c in embedded.captions(scene)
    ]
    assert windows["seconds"] == 34
    segmenter = Segmenter(embedded)
    rows = [*segmenter.feed(load_audio(scene, embedded.rate)), *segmenter.finish()]
    events = server.ask("/v1/captions?segments=events", scene.read_bytes()).json
    assert events["captions"] == [event_fields(row) for row in rows if row.state == "end"]
    assert len(events["captions"]) > 2
    whole = server.ask("/v1/captions?segments=whole", scene.read_bytes())
    assert whole.status == 422
    assert "longer than 30 s" in whole.json["error"]


def test_subtitles_of_events_are_those_of_auricle_subtitle(server: Server, embedded: Captioner):
    segmenter = Segmenter(embedded)
    rows = [*segmenter.feed(load_audio(BELL, embedded.rate)), *segmenter.finish()]
    for form in ("srt", "vtt", "ass"):
        answer = server.ask(f"/v1/captions?segments=events&format={form}", BELL.read_bytes())
        assert answer.body == write_cues(cues(rows), form)
    assert b"[" in server.ask("/v1/captions?segments=events&format=srt", BELL.read_bytes()).body
    assert b"Dialogue:" in server.ask("/v1/captions?format=ass", BELL.read_bytes()).body


def test_corrected_captions_become_subtitles(server: Server):
    def subtitles(**asked: Any) -> Answer:
        return server.ask(
            "/v1/subtitles", json.dumps(asked).encode(), content_type="application/json"
        )

    captions = [
        {"start": 4, "end": 6.5, "caption": "A dog barks loudly."},
        {"start": 1, "end": 3, "caption": "Rain <i>drums</i> {\\an8}& stops.\nThen wind."},
        {"start": 7, "end": 8, "caption": " "},
    ]
    srt = subtitles(captions=captions).body.decode()
    assert srt.startswith("1\n00:00:01,000 --> 00:00:03,000\nRain ‹i›drums‹/i› (\\an8)& stops.\n")
    assert srt.endswith("2\n00:00:04,000 --> 00:00:06,500\nA dog barks loudly.\n\n")
    assert (
        "Rain &lt;i>drums&lt;/i> {\\an8}&amp; stops."
        in subtitles(captions=captions, format="vtt").body.decode()
    )
    assert "[dog barking]" in subtitles(captions=captions, style="label").body.decode()
    assert subtitles(captions=[{"start": -1, "end": 0, "caption": ""}]).status == 422
    assert subtitles(captions=[{"start": 0, "end": 1, "caption": "x" * 1000}] * 20_001).status in (
        413,
        422,
    )
    assert (
        server.ask("/v1/subtitles", b"[" * (17 << 20), content_type="application/json").status
        == 413
    )


def test_captions_are_streamed_with_progress_overview_and_explanations(server: Server, scene: Path):
    query = "format=sse&segments=events&explain=1&overview=20&name=..%2Fscene.wav"
    events = server.ask(f"/v1/captions?{query}", scene.read_bytes()).events
    names = [name for name, _ in events]
    assert names[-1] == "done"
    assert names.index("caption") < max(
        i for i, name in enumerate(names) if name == "progress"
    )  # they come as they are found
    progress = [data for name, data in events if name == "progress"]
    assert progress[-1] == {"seconds": 34.0, "fraction": 1.0}
    assert [p["seconds"] for p in progress] == sorted(p["seconds"] for p in progress)
    pieces = [data for name, data in events if name == "overview"]
    assert sum(piece["columns"] for piece in pieces) == 34 * 20
    for piece in pieces:
        assert len(base64.b64decode(piece["peaks"])) == piece["columns"]
        assert len(base64.b64decode(piece["spectrogram"])) == piece["columns"] * piece["bands"]
    captions = [data for name, data in events if name == "caption" and data["state"] == "end"]
    assert captions == sorted(captions, key=lambda caption: caption["id"])
    for caption in captions:
        told = caption["explanation"]
        assert " ".join(told["words"]) == caption["caption"].lower().rstrip(".")
        assert len(told["sound"]) == len(told["tags"]) == len(told["words"])
        for row, tags in zip(told["sound"], told["tags"], strict=True):
            assert sum(row) + tags == pytest.approx(1, abs=0.01)
        assert caption["start"] <= told["start"] + 0.001
        assert caption["alternatives"][0]["caption"] == caption["caption"]
    assert any(len(caption["alternatives"]) > 1 for caption in captions)


def test_a_stretch_is_captioned_as_if_it_were_the_whole_file(
    server: Server, scene: Path, tmp_path: Path
):
    samples = load_audio(scene, 32_000)[10 * 32_000 : 20 * 32_000]
    alone = write_wav(tmp_path / "alone.wav", samples, 32_000)
    [expected] = server.ask("/v1/captions?segments=whole", alone.read_bytes()).json["captions"]
    query = "/v1/captions?segments=whole&explain=1&start=10&end=20"
    [caption] = server.ask(query, scene.read_bytes()).json["captions"]
    assert caption["caption"] == expected["caption"]
    assert (caption["start"], caption["end"]) == (10, 20)
    assert 10 <= caption["explanation"]["start"] < caption["explanation"]["end"] == 20
    windows = server.ask("/v1/captions", scene.read_bytes()).json["captions"]
    rest = server.ask("/v1/captions?start=10", scene.read_bytes()).json["captions"]
    shown = [(c["start"], c["end"]) for c in rest]
    assert shown == [(c["start"], c["end"]) for c in windows[1:]]
    for caption in (*windows, *rest):
        for event in caption["events"]:
            assert caption["start"] <= event["start"] < event["end"] <= caption["end"]
    for segments in ("windows", "whole", "events"):
        answer = server.ask(f"/v1/captions?start=60&segments={segments}", scene.read_bytes())
        assert (answer.status, answer.json["captions"]) == (200, [])
    assert server.ask("/v1/captions?start=2&end=1", BELL.read_bytes()).status == 422
    assert server.ask("/v1/captions?format=srt&start=2", BELL.read_bytes()).status == 422


def test_an_overview_needs_neither_captions_nor_a_spectrogram(server: Server):
    def pieces(query: str) -> list[tuple[str, Any]]:
        answer = server.ask(f"/v1/captions?format=sse&overview=10&{query}", BELL.read_bytes())
        return [(name, data) for name, data in answer.events if name in ("overview", "caption")]

    drawn = pieces("segments=none")
    assert {name for name, _ in drawn} == {"overview"}
    assert all(data["bands"] for _, data in drawn)
    plain = [data for name, data in pieces("spectrogram=0") if name == "overview"]
    assert [p["peaks"] for p in plain] == [data["peaks"] for _, data in drawn]
    assert {(p["bands"], p["spectrogram"]) for p in plain} == {(0, "")}


def test_sentences_are_checked_before_alerts_wait_for_them(server: Server):
    assert server.ask("/v1/sentences?sentence=a+dog+barks").json == {"usable": True, "unknown": []}
    some = server.ask("/v1/sentences?sentence=a+xyzzy+barks").json
    assert some == {"usable": True, "unknown": ["xyzzy"]}
    none = server.ask("/v1/sentences?sentence=xyzzy").json
    assert none == {"usable": False, "unknown": ["xyzzy"]}
    assert server.ask("/v1/sentences?sentence=").status == 422


def test_a_film_gets_its_captions_as_a_track(server: Server, tmp_path: Path):
    film = write_media(tmp_path / "film.mp4", load_audio(BELL, 44_100), 44_100, "aac", video=True)
    lines = [{"start": 1, "end": 2.5, "caption": "[bell rings]"}]
    captions = json.dumps({"captions": lines}).encode()
    whole = film.read_bytes()
    answer = server.form("/v1/film", ("film.mp4", whole), ("captions.json", captions))
    assert (answer.status, answer.headers["content-type"]) == (200, "video/mp4")
    with av.open(io.BytesIO(answer.body), "r") as found:
        texts = [bytes(packet) for packet in found.demux(found.streams.subtitles[0])]
    assert any(b"[bell rings]" in text for text in texts)
    broken = server.form("/v1/film", ("film.mp4", b"no film"), ("captions.json", captions))
    assert broken.status == 422
    assert "film.mp4" in broken.json["error"]
    assert server.form("/v1/film", ("film.mp4", whole)).status == 400
    assert server.form("/v1/film", ("film.mp4", whole), ("c.json", b"{}")).status == 422


def test_silence_and_video_are_sounds_too(server: Server, tmp_path: Path):
    quiet = write_wav(tmp_path / "quiet.wav", np.zeros(64_000, np.float32), 32_000)
    [caption] = server.ask("/v1/captions?explain=1", quiet.read_bytes()).json["captions"]
    assert caption["caption"] == "Silence."
    assert caption["explanation"] is None
    assert server.ask("/v1/captions?segments=events", quiet.read_bytes()).json["captions"] == []
    video = write_media(tmp_path / "film.mp4", load_audio(BELL, 44_100), 44_100, "aac", video=True)
    assert server.form("/v1/captions", ("film.mp4", video.read_bytes())).json["captions"]


def test_ranking_sorts_sounds_by_each_sentence(server: Server, embedded: Captioner):
    names = ["bell", "rain", "siren"]
    files = [(name, (EXAMPLES / f"{name}.wav").read_bytes()) for name in names]
    answer = server.form(
        "/v1/rank?sentence=rain+falls&sentence=a+bell+qwxz", *files, ("text", b"no sound at all")
    ).json
    expected = embedded.similarity([data for _, data in files], ["rain falls", "a bell qwxz"])
    found = [sound["similarities"] for sound in answer["sounds"][:3]]
    assert found == pytest.approx(expected.round(4), abs=1e-6)
    assert answer["sounds"][3]["error"].startswith("text: is damaged or not a sound")
    assert [ranking["order"][0] for ranking in answer["rankings"]] == [1, 0]
    assert answer["unknown"] == ["qwxz"]
    assert server.ask("/v1/rank", BELL.read_bytes()).status == 422
    assert "knows no word" in server.ask("/v1/rank?sentence=qwxz", BELL.read_bytes()).json["error"]


def test_a_decoded_sound_sounds_the_same(server: Server, tmp_path: Path):
    mp3 = tmp_path / "sound.mp3"
    mp3.write_bytes(server.ask("/v1/sound", BELL.read_bytes()).body)
    heard, original = load_audio(mp3, 16_000), load_audio(BELL, 16_000)
    assert abs(len(heard) - len(original)) < 1_600
    lag = np.correlate(heard[:16_000], original[:14_000]).argmax()
    assert np.corrcoef(heard[lag : lag + 14_000], original[:14_000])[0, 1] > 0.95


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"x" * 5_000, "is damaged or not a sound"),
        (BELL.read_bytes()[:30_000], "is truncated"),
    ],
)
def test_what_is_no_sound_is_refused_in_words(server: Server, data: bytes, words: str):
    for form in ("json", "sse", "srt"):
        answer = server.ask(f"/v1/captions?format={form}&name=%2Fetc%2Fpass%0Awd", data)
        assert (
            answer.status == 422
            if form != "sse" or words != "is truncated"
            else answer.status in (200, 422)
        )
        if answer.status == 422:
            assert answer.json["error"].startswith("pass?wd: ")
            assert words in answer.json["error"]
        else:
            assert answer.events[-1][0] == "error"
            assert words in answer.events[-1][1]["error"]


def test_a_video_without_sound_is_refused(server: Server, tmp_path: Path):
    answer = server.ask("/v1/captions", write_silent_video(tmp_path / "mute.mp4").read_bytes())
    assert (answer.status, "has no audio stream" in answer.json["error"]) == (422, True)


def test_forms_that_are_not_as_they_should_be(server: Server):
    bell = BELL.read_bytes()
    for answer in (
        server.form("/v1/captions", ("a.wav", bell), cut=20),
        server.form("/v1/captions", ("a.wav", bell), field="sound"),
        server.form("/v1/captions", ("a.wav", bell), ("b.wav", bell)),
        server.form("/v1/captions"),
        server.ask("/v1/captions", b"nonsense", content_type="multipart/form-data; boundary=edge"),
        server.ask("/v1/captions", b"nonsense", content_type="multipart/form-data"),
    ):
        assert answer.status == 400, answer.body
        assert answer.json["error"]
    assert server.ask("/v1/captions?segments=parts", bell).json["error"].startswith("segments: ")


def authorised(server: Server, path: str, data: bytes | None = None, **headers: str):
    return server.ask(path, data, authorization=f"Bearer {TOKEN}", **headers)


def test_nothing_is_answered_without_the_token(strict: Server):
    for path, data in (("/v1/captions", BELL.read_bytes()), ("/v1/info", None), ("/metrics", None)):
        refused = strict.ask(path, data)
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert strict.ask(path, data, authorization="Bearer wrong").status == 401
        assert authorised(strict, path, data).status == 200
    for path in ("/", "/main.js", "/healthz", "/openapi.json", "/examples/bell.wav"):  # no secrets
        assert strict.ask(path).status == 200


def test_only_its_own_names_and_pages_are_served(strict: Server):
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1", "localhost.evil.example:80"):
        assert strict.ask("/healthz", host=host).status == 421, host
    for host in (
        "localhost:1",
        "127.0.0.1",
        "[::1]:8000",
        "Sounds.Example:443",
        socket.gethostname(),
    ):
        assert strict.ask("/healthz", host=host).status == 200, host
    bell, host = BELL.read_bytes(), f"127.0.0.1:{strict.port}"
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{strict.port + 1}"):
        assert authorised(strict, "/v1/captions", bell, origin=origin).status == 403, origin
    assert authorised(strict, "/v1/captions", bell, origin=f"http://{host}").status == 200
    headers = strict.ask("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_too_large_and_too_long_are_refused_and_nothing_stays(strict: Server, tmp_path: Path):
    large = authorised(strict, "/v1/captions", b"x" * (1 << 20) + b"x")
    assert (large.status, "1 MB" in large.json["error"]) == (413, True)
    chunked = b"".join(b"10000\r\n" + b"x" * 65536 + b"\r\n" for _ in range(20)) + b"0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", strict.port)) as connection:  # of no stated length
        connection.sendall(
            b"POST /v1/captions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" % TOKEN.encode()
        )
        threading.Thread(target=lambda: _send(connection, chunked), daemon=True).start()
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    long = write_wav(tmp_path / "long.wav", tone(9, 300, 8_000), 8_000).read_bytes()
    # Its header says how long it is, so it is refused before anything is answered.
    for path in ("/v1/captions", "/v1/captions?format=sse", "/v1/sound"):
        refused = authorised(strict, path, long)
        assert (refused.status, "longer than" in refused.json["error"]) == (422, True), path
        assert "captions" not in refused.json or not refused.json["captions"]
    ranked = authorised(strict, "/v1/rank?sentence=rain", long).json["sounds"]
    assert "longer than" in ranked[0]["error"]
    assert not [
        path
        for folder in Path(tempfile.gettempdir()).glob("auricle-*")
        for path in folder.iterdir()
        if path.name != "lock"
    ]


def _send(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(data)


def test_slow_senders_keep_nobody_waiting_and_are_given_up(strict: Server):
    slow = [socket.create_connection(("127.0.0.1", strict.port)) for _ in range(8)]
    try:
        for connection in slow:
            connection.sendall(
                b"POST /v1/captions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
                b"Content-Length: 100000\r\n\r\nRIFF" % TOKEN.encode()
            )
        assert authorised(strict, "/v1/captions", BELL.read_bytes()).status == 200
        for connection in slow:
            connection.settimeout(10)
            assert connection.recv(100).startswith(b"HTTP/1.1 408")
    finally:
        for connection in slow:
            connection.close()


def test_more_than_can_wait_are_told_when_to_come_back(strict: Server):
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda _: authorised(strict, "/v1/captions", BELL.read_bytes()), range(12))
        )
    assert {answer.status for answer in answers} == {200, 429}
    assert len({answer.body for answer in answers if answer.status == 200}) == 1
    for answer in answers:
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) >= 1
            assert "wait already" in answer.json["error"]


def test_a_client_that_goes_away_frees_its_worker(strict: Server):
    with socket.create_connection(("127.0.0.1", strict.port)) as connection:
        body = BELL.read_bytes()
        connection.sendall(
            b"POST /v1/captions HTTP/1.1\r\nHost: localhost\r\n"
            b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
            % (TOKEN.encode(), len(body), body)
        )
    for _ in range(3):
        assert authorised(strict, "/v1/captions", BELL.read_bytes()).status == 200


def test_health_metrics_and_description(server: Server):
    assert server.ask("/healthz").json == {"status": "ok"}
    server.ask("/v1/captions", b"")
    said = server.ask("/metrics").body.decode()
    assert 'auricle_requests_total{path="/v1/captions",status="422"}' in said
    assert "auricle_jobs_waiting 0.0" in said
    description = server.ask("/openapi.json").json
    assert set(description["paths"]) == {
        "/v1/captions",
        "/v1/rank",
        "/v1/sound",
        "/v1/subtitles",
        "/v1/film",
        "/v1/sentences",
        "/v1/info",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    content = description["paths"]["/v1/captions"]["post"]["responses"]["200"]["content"]
    assert content["application/json"]["example"]["captions"][0]["caption"]


def test_answers_that_nobody_reads_any_more_free_their_workers(server: Server, hour: Path):
    body = hour.read_bytes()
    for _ in range(2):  # as many as there are workers
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(
                b"POST /v1/captions?format=sse HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body
            )
            assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
    began = time.monotonic()
    assert server.ask("/v1/captions", BELL.read_bytes()).status == 200
    assert time.monotonic() - began < 30  # the hour takes minutes
    assert "auricle_workers_replaced_total 0.0" in server.ask("/metrics").body.decode()
