"""HTTP as the OpenAPI description says: methods, paths, parameters, tokens and caching."""

import json
import time
from collections.abc import Iterator

import pytest

from auricle.serving.limits import Limits
from server import EXAMPLES, Server, serving

TOKEN = "a token of the tests"
BELL = (EXAMPLES / "bell.wav").read_bytes()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server with a token."""
    with serving(Limits(jobs=1), TOKEN) as running:
        yield running


def test_head_answers_as_get_does_without_a_body(server: Server):
    paths = server.ask("/openapi.json").json["paths"]
    described = [path for path, methods in paths.items() if "get" in methods]
    assert described
    asked = [path + ("?sentence=rain" if path == "/v1/sentences" else "") for path in described]
    for path in (*asked, "/", "/main.js", "/examples/bell.wav", "/openapi.json"):
        get, head = server.ask(path), server.ask(path, method="HEAD")
        assert (head.status, head.body) == (200, b""), path
        assert head.headers["content-type"] == get.headers["content-type"], path
    assert all("head" in paths[path] for path in described)


def test_a_wrong_method_gets_405_and_the_right_ones(server: Server):
    for path, methods in server.ask("/openapi.json").json["paths"].items():
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"):
            if method.lower() in methods:
                continue
            answer = server.ask(path, b"", method)
            assert answer.status == 405, (method, path)
            assert answer.headers["allow"] == ", ".join(sorted(m.upper() for m in methods))
            if method != "HEAD":
                assert answer.json["error"] == "Method Not Allowed"
    assert server.ask("/main.js", b"").status == 405


def test_unknown_paths_get_404_in_json(server: Server):
    for path in ("/v1/caption", "/v1/", "/v1/captions/7", "/nothing", "/examples/no.wav"):
        for method in ("GET", "POST") if path.startswith("/v1/") else ("GET",):
            answer = server.ask(path, None if method == "GET" else b"", method)
            assert (answer.status, answer.json["error"]) == (404, "Not Found"), (method, path)


def test_bodies_that_are_no_json_and_no_http_get_400_in_json(server: Server):
    answer = server.ask("/v1/subtitles", b'{"captions": [', content_type="application/json")
    assert answer.status == 400
    assert "not JSON" in answer.json["error"]
    assert server.ask("/v1/subtitles", b"{}", content_type="application/json").status == 422


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/captions?segment=events", "segment: an unknown parameter; did you mean segments?"),
        ("/v1/captions?Format=srt", "did you mean format?"),
        ("/v1/captions?zzz=1", "zzz: an unknown parameter; known are segments, format, explain"),
        ("/v1/rank?sentences=rain", "did you mean sentence?"),
        ("/v1/sound?nam=x", "did you mean name?"),
        ("/v1/subtitles?format=srt", "there is none here"),
        ("/v1/info?verbose=1", "there is none here"),
        ("/healthz?full=1", "there is none here"),
    ],
)
def test_unknown_parameters_are_refused_with_the_nearest_name(
    server: Server, path: str, words: str
):
    post = not path.startswith(("/v1/info", "/healthz"))
    answer = server.ask(path, BELL if post else None)
    assert answer.status == 422
    assert words in answer.json["error"]


def test_names_of_raw_bodies_are_used_on_all_routes(server: Server):
    for path in ("/v1/sound?name=my.wav", "/v1/rank?sentence=rain&name=my.wav"):
        assert b"my.wav: " in server.ask(path, b"no sound at all").body


def test_bearer_is_written_in_any_case(guarded: Server):
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert guarded.ask("/v1/info", authorization=f"{scheme} {TOKEN}").status == 200
    for header in (TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x"):
        assert guarded.ask("/v1/info", authorization=header).status == 401, header


def test_operations_have_names_tags_and_security(server: Server):
    description = server.ask("/openapi.json").json
    operations = {
        operation["operationId"]: (path, operation)
        for path, methods in description["paths"].items()
        for operation in methods.values()
    }
    assert set(operations) == {
        *("caption_sound", "rank_sounds", "decode_sound", "write_subtitles", "caption_film"),
        *(
            f"{method}_{name}"
            for method in ("get", "head")
            for name in ("info", "health", "readiness", "metrics", "sentence_check")
        ),
    }
    assert description["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    tags = {tag["name"] for tag in description["tags"]}
    for path, operation in operations.values():
        assert set(operation["tags"]) <= tags
        guarded = path.startswith("/v1/") or path == "/metrics"
        assert operation.get("security") == ([{"token": []}] if guarded else None), path


def test_files_of_the_page_are_cached_by_etag_and_answers_are_not(server: Server):
    for path in ("/", "/main.js", "/examples/bell.wav"):
        first = server.ask(path)
        assert first.headers["cache-control"] == "no-cache", path
        again = server.ask(path, if_none_match=first.headers["etag"])
        assert (again.status, again.body) == (304, b""), path
        assert server.ask(path, if_none_match='"other"').status == 200
    for path in ("/v1/info", "/healthz", "/metrics"):
        assert server.ask(path).headers["cache-control"] == "no-store", path
    assert server.ask("/v1/captions", BELL).headers["cache-control"] == "no-store"


def test_a_server_with_workers_is_ready(server: Server):
    assert server.ask("/readyz").json == {"status": "ready"}


def test_without_workers_the_server_lives_but_is_not_ready(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    workers = server.app.app.state.served.workers  # type: ignore[attr-defined]
    monkeypatch.setattr(workers, "_down", dict.fromkeys((0, 1), time.monotonic() + 5))
    assert server.ask("/healthz").status == 200
    for path, body in (("/readyz", None), ("/v1/captions", BELL), ("/v1/rank?sentence=a", BELL)):
        answer = server.ask(path, body)
        assert answer.status == 503, path
        assert 1 <= int(answer.headers["retry-after"]) <= 5
        assert "no worker" in answer.json["error"]


def test_errors_of_the_server_are_json(server: Server, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("auricle.serving.routes.write_cues", fail)
    asked = json.dumps({"captions": []}).encode()
    answer = server.ask("/v1/subtitles", asked, content_type="application/json")
    assert answer.status == 500
    assert answer.json["error"] == "the server failed; its log says why"
    assert answer.headers["x-content-type-options"] == "nosniff"
