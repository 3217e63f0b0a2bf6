"""A server that is told to stop answers its requests in flight."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest


@pytest.fixture
def command(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`auricle serve` as a command, and its port."""
    arguments = [sys.executable, "-m", "auricle", "serve", "--port", "0", "--jobs", "2"]
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r":(\d+)/", process.stdout.readline())
            assert found
            yield process, int(found[1])
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_sigterm_answers_jobs_in_flight(
    command: tuple[subprocess.Popen[str], int], hour: Path, tmp_path: Path
):
    process, port = command
    body, paths = hour.read_bytes(), ["/v1/captions", "/v1/captions?format=sse"]
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(4)]
    json_job, events_job, waiting, sending = connections
    json_job.request("POST", paths[0], body)
    events_job.request("POST", paths[1], body)
    events = events_job.getresponse()
    assert events.status == 200
    waiting.request("POST", paths[0], body)  # both workers are busy
    sending.putrequest("POST", paths[0])
    sending.putheader("content-length", "1000000")
    sending.endheaders(b"RIFF")
    time.sleep(1)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    last = events.read().decode().rstrip().split("\n\n")[-1]
    assert last.startswith("event: error\n")
    assert "stopping" in last
    for connection in (json_job, waiting, sending):
        answer = connection.getresponse()
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "stopping" in json.loads(answer.read())["error"]
    process.wait(30)
    assert time.monotonic() - began < 25
    assert not list(tmp_path.glob("auricle-*"))
    for connection in connections:
        with closing(connection):
            pass
