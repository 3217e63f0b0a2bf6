"""Who is told of an alert: a webhook, a command, both named in a file.

Telling takes time, and listening must not wait for it: each has a thread of its own and a queue of
limited length.
"""

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from auricle.alerts.watch import HOLD_OFF, THRESHOLD, Wanted
from auricle.errors import AuricleError
from auricle.sound.network import shown_url
from auricle.storage.tables import read

TIMEOUT = 10.0  # seconds that a server is waited for
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # seconds before a webhook is called again
WAITING = 100  # alerts that wait to be told, at most; the oldest give way
FAREWELL = 10.0  # seconds that are left for what still waits at the end

Say = Callable[[str], None]
Fields = Mapping[str, object]


@dataclass(frozen=True)
class Sound:
    """A sound that somebody waits for, as the file names it."""

    sentence: str
    threshold: float | None = None  # as for all if None
    hold_off: float | None = None


@dataclass(frozen=True)
class Webhook:
    """An address that alerts are posted to as JSON."""

    url: str
    secret: str | None = None  # signs what is posted; see `signature`

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"'{shown_url(self.url)}' is no address of a server: http://... or https://... is wanted"
            )


@dataclass(frozen=True)
class Command:
    """A program that is run for each alert, without a shell, with the alert as JSON on its standard
    input.
    """

    run: tuple[str, ...]
    seconds: float = 10.0  # after which it is stopped

    def __post_init__(self) -> None:
        if not self.run or shutil.which(self.run[0]) is None:
            raise ValueError(
                f"run is {list(self.run)}: a program that is there, and its arguments, are wanted"
            )
        if not 0 < self.seconds <= 3600:
            raise ValueError(
                f"seconds is {self.seconds:g}: more than 0 and at most 3600 are wanted"
            )


@dataclass(frozen=True)
class AlertConfig:
    """What a file says of alerts."""

    alert: tuple[Sound, ...] = ()
    threshold: float = THRESHOLD
    hold_off: float = HOLD_OFF
    webhook: Webhook | None = None
    command: Command | None = None

    def wanted(self, sentences: list[str]) -> list[Wanted]:
        """The sounds to wait for: the file's, and these sentences."""
        named = {sound.sentence for sound in self.alert}
        sounds = [
            *self.alert,
            *(Sound(sentence) for sentence in dict.fromkeys(sentences) if sentence not in named),
        ]
        return [
            Wanted(
                sound.sentence,
                self.threshold if sound.threshold is None else sound.threshold,
                self.hold_off if sound.hold_off is None else sound.hold_off,
            )
            for sound in sounds
        ]


def load_config(path: Path) -> AlertConfig:
    """Reads a file of alerts.

    Raises:
        AuricleError: it cannot be read, or says something that makes no sense.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise AuricleError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return read(AlertConfig, table, str(path))


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What proves that a webhook's caller knows the secret: hexadecimal HMAC-SHA256 of
    "timestamp.body".

    The receiver computes it too, and refuses a timestamp of minutes ago, lest an old alert be sent
    again by others.
    """
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


@contextlib.contextmanager
def actions(config: AlertConfig, say: Say) -> Iterator[Callable[[Fields], None]]:
    """What to call with each alert's fields; it returns at once.

    At the end what still waits has `FAREWELL` seconds to be told.

    Args:
        config: who is told.
        say: is told what went wrong.
    """
    messengers: list[_Messenger] = []
    if (webhook := config.webhook) is not None:
        messengers.append(
            _Messenger("webhook", lambda fields, ended: _post(webhook, fields, say, ended), say)
        )
    if (command := config.command) is not None:
        messengers.append(_Messenger("command", lambda fields, _: _run(command, fields, say), say))

    def tell(fields: Fields) -> None:
        for messenger in messengers:
            messenger.put(fields)

    try:
        yield tell
    finally:
        deadline = time.monotonic() + FAREWELL
        for messenger in messengers:
            messenger.close(deadline)


class _Messenger:
    """Tells one alert after the other on its own thread."""

    def __init__(
        self, name: str, tell: Callable[[Fields, threading.Event], None], say: Say
    ) -> None:
        self._name, self._tell, self._say = name, tell, say
        self._waiting: queue.Queue[Fields | None] = queue.Queue(WAITING)
        self._ended = threading.Event()
        # A daemon: a server that never answers must not keep the program from ending.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, fields: Fields | None) -> None:
        while True:
            try:
                return self._waiting.put_nowait(fields)
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._waiting.get_nowait()
                    self._say(f"{self._name}: {WAITING} alerts wait, and the oldest is lost")

    def close(self, deadline: float) -> None:
        self.put(None)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        self._ended.set()
        if self._thread.is_alive():
            self._say(f"{self._name}: {self._waiting.qsize()} alerts or more were not told")

    def _work(self) -> None:
        while (fields := self._waiting.get()) is not None:
            try:
                self._tell(fields, self._ended)
            except Exception as error:  # whatever happens to one alert, the next is told
                self._say(f"{self._name}: {error!r}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An alert goes to the address that was named, and nowhere else."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def _post(webhook: Webhook, fields: Fields, say: Say, ended: threading.Event) -> None:
    """Posts an alert, again and again where the server or the network fails."""
    body = json.dumps(fields, ensure_ascii=False).encode()
    problem = ""
    for wait in (*WAITS, None):
        headers = {"Content-Type": "application/json", "User-Agent": "auricle"}
        if webhook.secret is not None:
            timestamp = str(int(time.time()))
            headers["X-Auricle-Timestamp"] = timestamp
            headers["X-Auricle-Signature"] = f"sha256={signature(webhook.secret, timestamp, body)}"
        try:
            with _opener.open(urllib.request.Request(webhook.url, body, headers), timeout=TIMEOUT):
                return
        except urllib.error.HTTPError as error:
            problem = f"answered {error.code}"
            error.close()
            if error.code < 500 and error.code not in (408, 429):
                break  # it would say so again
        except (OSError, http.client.HTTPException) as error:
            problem = str(getattr(error, "reason", None) or error)
        if wait is None or ended.wait(wait):
            break
    say(f"webhook: {shown_url(webhook.url)}: {problem}: an alert was not told")


def _run(command: Command, fields: Fields, say: Say) -> None:
    """Runs the program for an alert; with whatever it began, it is stopped when its time is
    over.
    """
    body = json.dumps(fields, ensure_ascii=False).encode()
    # Its output would stand among our rows.
    process = subprocess.Popen(
        command.run,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=os.name == "posix",
    )
    try:
        process.communicate(body, timeout=command.seconds)
    except subprocess.TimeoutExpired:
        say(f"command: {command.run[0]} was stopped after {command.seconds:g} s")
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        return
    if process.returncode:
        say(f"command: {command.run[0]} ended with {process.returncode}")
