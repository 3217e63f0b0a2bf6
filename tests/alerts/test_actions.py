"""Receivers of alerts, and the faults of delivering to them."""

import base64
import email.utils
import hashlib
import hmac
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from auricle.alerts import actions as actions_module
from auricle.alerts import delivery as delivery_module
from auricle.alerts.actions import actions
from auricle.alerts.config import AlertConfig, Command, Webhook, load_config
from auricle.alerts.watch import WatchedSound
from auricle.alerts.webhook import retry_after_seconds
from auricle.errors import AuricleError


@dataclass
class Receiver:
    """A server that webhooks are sent to."""

    url: str = ""
    answers: list[int] = field(default_factory=list)  # of the next calls; 200 afterwards
    retry_after: str | None = None  # sent with every answer but 200
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)  # calls wait for it


@contextmanager
def receiving(*answers: int, hold: bool = False) -> Iterator[Receiver]:
    state = Receiver(answers=list(answers))
    if not hold:
        state.held.set()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

        def do_POST(self) -> None:
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            state.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            state.held.wait(10)
            status = state.answers.pop(0) if state.answers else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{state.url}elsewhere")
            if state.retry_after is not None and status != 200:
                self.send_header("Retry-After", state.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            state.bodies.append(b"a redirect was followed")

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}/"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        state.held.set()
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "WAITS_SECONDS", (0.01, 0.01, 0.01))


def posted(receiver: Receiver, *alerts: dict[str, object], secret: str | None = None) -> list[str]:
    """Sends alerts, and gives what was said of it."""
    return delivered(Webhook(receiver.url, secret), *alerts)


def test_a_webhook_gets_signed_json() -> None:
    alert = {"id": "1", "alert": "Glas zerbricht: klirr", "score": 6.5}
    with receiving() as receiver:
        assert posted(receiver, alert, secret="open sesame") == []
    headers, body = receiver.headers[0], receiver.bodies[0]
    assert json.loads(body) == alert
    assert headers["content-type"] == "application/json"
    stamp = headers["x-auricle-timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    signature = hmac.new(b"open sesame", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["x-auricle-signature"] == f"sha256={signature}"


def test_without_a_secret_nothing_is_signed() -> None:
    with receiving() as receiver:
        posted(receiver, {"id": "1"})
    assert not [name for name in receiver.headers[0] if name.startswith("x-auricle")]


@pytest.mark.parametrize("answers", [(503, 500), (429,), (408,)])
def test_a_server_that_fails_is_called_again(answers: tuple[int, ...]) -> None:
    with receiving(*answers) as receiver:
        assert posted(receiver, {"id": "1"}) == []
    assert receiver.bodies == [b'{"id": "1"}'] * (len(answers) + 1)


@pytest.mark.parametrize("answer", [400, 404, 302])
def test_a_server_that_refuses_is_not_called_again_and_no_other_is_called(answer: int) -> None:
    with receiving(answer) as receiver:
        (said,) = posted(receiver, {"id": "1"}, {"id": "2"})
    assert f"answered {answer}" in said
    assert len(receiver.bodies) == 2, "what comes afterwards is told"


SECRETS = ("s3cr3t", "hidden-path", "hidden-query", "hidden-key")


@pytest.mark.parametrize("answer", [None, 404, 503])
def test_no_message_shows_an_address_past_its_host(
    answer: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions_module, "LAST_DELIVERY_SECONDS", 0.2)
    with receiving(*[answer or 200] * 99) as receiver:
        host = receiver.url.rstrip("/")
        url = receiver.url.replace("//", "//alice:s3cr3t@") + "hidden-path?token=hidden-query"
        webhook = Webhook(url, "hidden-key")
        said = [repr(AlertConfig(webhook=webhook))]
        if answer is not None:
            said += delivered(webhook, {"id": "the alert"})
    if answer is None:  # nobody listens there any more
        said += delivered(webhook, {"id": "the alert"})
    assert host in said[-1]
    assert '{"id": "the alert"}' in said[-1], "the log keeps what nobody received"
    assert not [secret for secret in SECRETS if secret in "".join(said)]


def delivered(webhook: Webhook, *alerts: dict[str, object]) -> list[str]:
    """Sends alerts to an address, and returns the messages about them."""
    said: list[str] = []
    with actions(AlertConfig(webhook=webhook), said.append) as tell:
        for alert in alerts:
            tell(alert)
    return said


@pytest.mark.parametrize(
    "webhook",
    [
        '"https://alice:s3cr3t@"',
        '"https://alice:s3cr3t@host:port/"',
        '"https://alice:s3cr3t@[host/"',
        '"https://alice:s3cr3t@h\u2100st/"',
        '"https://host/s3cr3t with blanks"',
        '"ftp://alice:s3cr3t@host/"',
        '["https://alice:s3cr3t@host/"]',
        '"https://host/"\nsecret = ["s3cr3t"]',
    ],
)
def test_no_refusal_of_a_file_shows_its_secrets(tmp_path: Path, webhook: str) -> None:
    path = tmp_path / "alerts.toml"
    path.write_text(f"[webhook]\nurl = {webhook}\n")
    with pytest.raises(AuricleError, match="webhook") as error:
        load_config(path)
    assert "s3cr3t" not in str(error.value)


def test_a_webhook_that_is_no_table_is_refused_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / "alerts.toml"
    path.write_text('webhook = "https://alice:s3cr3t@host/"')
    with pytest.raises(AuricleError, match="must be a table") as error:
        load_config(path)
    assert "s3cr3t" not in str(error.value)


def test_user_and_password_of_an_address_are_sent_as_a_header() -> None:
    with receiving() as receiver:
        url = receiver.url.replace("//", "//al%3Aice:p%40ss:word@")
        assert delivered(Webhook(url), {"id": "1"}) == []
    expected = base64.b64encode(b"al:ice:p@ss:word").decode()
    assert receiver.headers[0]["authorization"] == f"Basic {expected}"


def test_a_server_that_asks_for_a_wait_is_called_after_it_and_others_do_not_wait() -> None:
    with receiving(429) as receiver:
        receiver.retry_after = "1"
        begin = time.monotonic()
        said = delivered(Webhook(receiver.url), {"id": 1}, {"id": 2}, {"id": 3})
        passed = time.monotonic() - begin
    assert said == []
    assert [json.loads(body)["id"] for body in receiver.bodies] == [1, 2, 3, 1]
    assert passed >= 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("75", 75.0), ("0", 0.0), ("0.5", 0.5), ("86400", 3600.0), ("-5", 0.0), ("soon", None)],
)
def test_the_wait_that_a_server_asks_for(value: str, seconds: float | None) -> None:
    headers = HTTPMessage()
    headers["Retry-After"] = value
    assert retry_after_seconds(headers) == seconds


def test_the_wait_that_a_server_asks_for_may_be_a_date() -> None:
    headers = HTTPMessage()
    headers["Retry-After"] = email.utils.formatdate(time.time() + 75, usegmt=True)
    assert retry_after_seconds(headers) == pytest.approx(75, abs=3)
    assert retry_after_seconds(HTTPMessage()) is None


def test_an_alert_outlasts_more_failures_than_there_are_waits() -> None:
    with receiving(*[503] * 10) as receiver:
        assert posted(receiver, {"id": "1"}) == []
    assert len(receiver.bodies) == 11


def test_telling_never_waits_and_the_queue_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "MOST_WAITING_ALERTS", 5)
    said: list[str] = []
    with receiving(hold=True) as receiver:
        with actions(AlertConfig(webhook=Webhook(receiver.url)), said.append) as tell:
            tell({"id": -1})
            while not receiver.bodies:
                time.sleep(0.01)
            # The server answers nothing until we are done here.
            for number in range(8):
                tell({"id": number})
            assert len(said) == 3
            receiver.held.set()
        told = [json.loads(body)["id"] for body in receiver.bodies]
    assert "the oldest is lost" in said[0]
    assert told == [-1, 3, 4, 5, 6, 7]


def test_what_is_not_told_at_the_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions_module, "LAST_DELIVERY_SECONDS", 0.05)
    said: list[str] = []
    with receiving(hold=True) as receiver:
        with actions(AlertConfig(webhook=Webhook(receiver.url)), said.append) as tell:
            tell({"id": 1})
        assert 'not delivered: {"id": 1}' in said[0]


def test_a_command_gets_json_and_no_shell(tmp_path: Path) -> None:
    said: list[str] = []
    script = "import sys; open(sys.argv[1], 'w').write(sys.argv[2] + sys.stdin.read())"
    run = (sys.executable, "-c", script, str(tmp_path / "told"), "$(date); `id` ")
    with actions(AlertConfig(command=Command(run)), said.append) as tell:
        tell({"alert": "glass"})
    assert (tmp_path / "told").read_text() == '$(date); `id` {"alert": "glass"}'
    assert said == []


def test_a_command_that_fails_or_takes_too_long_is_said_and_stopped(tmp_path: Path) -> None:
    said: list[str] = []
    run = (sys.executable, "-c", "import sys; sys.exit(3)")
    with actions(AlertConfig(command=Command(run)), said.append) as tell:
        tell({})
    assert said == [f"command: {sys.executable} ended with 3: not delivered: {{}}"]
    said.clear()
    slow = (
        f"import subprocess; subprocess.run(['sleep', '3']); open({str(tmp_path / 'late')!r}, 'w')"
    )
    before = time.monotonic()
    with actions(
        AlertConfig(command=Command((sys.executable, "-c", slow), seconds=0.2)), said.append
    ) as tell:
        tell({})
    assert time.monotonic() - before < 3
    assert said == [f"command: {sys.executable} was stopped after 0.2 s: not delivered: {{}}"]


def test_a_file_says_what_to_wait_for_and_whom_to_tell(tmp_path: Path) -> None:
    path = tmp_path / "alerts.toml"
    path.write_text(
        'hold_off = 5\n[[alert]]\nsentence = "glass"\nthreshold = 4.5\n'
        '[[alert]]\nsentence = "siren"\nhold_off = 60\n'
        '[webhook]\nurl = "https://example.org/x"\nsecret = "s"\n'
        f'[command]\nrun = [{json.dumps(sys.executable)}, "-V"]\n'
    )
    config = load_config(path)
    assert config.watched(["rain", "glass", "rain"]) == [
        WatchedSound("glass", 4.5, 5.0),
        WatchedSound("siren", config.threshold, 60.0),
        WatchedSound("rain", config.threshold, 5.0),
    ]
    assert config.webhook == Webhook("https://example.org/x", "s")
    assert config.command == Command((sys.executable, "-V"), 10.0)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[webhook]\nurl = "file:///etc/passwd"', "http"),
        ('[webhook]\nurl = "https://"', "http"),
        ('[webhook]\nurl = "//host/x"', "http"),
        ("[webhook]\nsecret = 's'", "url"),
        ('[command]\nrun = ["no-such-program-anywhere"]', "no-such-program"),
        ("[command]\nrun = []", "program"),
        ('[[alert]]\nsentense = "glass"', "sentence"),
        ("threshold = 'high'", "threshold"),
        ("threshold = ", "alerts.toml"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_line(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "alerts.toml"
    path.write_text(text)
    with pytest.raises(AuricleError, match=named) as error:
        load_config(path)
    assert "alerts.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuricleError, match=r"alerts\.toml: No such file"):
        load_config(tmp_path / "alerts.toml")
