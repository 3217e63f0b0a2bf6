"""The file of alerts: the sounds to wait for, and the receivers of alerts."""

import base64
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from auricle.alerts.watch import ALERT_THRESHOLD, HOLD_OFF_SECONDS, WatchedSound
from auricle.errors import AuricleError, printable
from auricle.storage.tables import read, read_toml


@dataclass(frozen=True)
class AlertEntry:
    """An [[alert]] of the file: a sound to wait for."""

    sentence: str
    threshold: float | None = None  # None: the threshold of the whole file
    hold_off: float | None = None  # seconds; None: the hold-off of the whole file


@dataclass(frozen=True)
class Webhook:
    """An address that alerts are posted to as JSON.

    Every part of the address after its host may be a secret: Discord and Slack put one in the path.
    So no message and no `repr` shows more than `host`.
    """

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)  # signs the posted body

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname)
            valid = valid and (parts.port is None or parts.port > 0)
        except ValueError:  # its text repeats the address
            valid = False
        if not valid or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            raise ValueError(
                "url must be an address http://HOST/... or https://HOST/... in ASCII characters, "
                "with others as %XX"
            )

    @property
    def host(self) -> str:
        """Scheme, host and port: the part of the address that messages may show."""
        parts = urlsplit(self.url)
        return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")

    @property
    def address(self) -> str:
        """The address without its user and password, as requests take it."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))

    @property
    def authorization(self) -> str | None:
        """The `Authorization` header (RFC 7617) of the address's user and password, or None."""
        user_info, found, _ = urlsplit(self.url).netloc.rpartition("@")
        if not found:
            return None
        user, _, password = user_info.partition(":")
        credentials = f"{unquote(user)}:{unquote(password)}".encode()
        return f"Basic {base64.b64encode(credentials).decode()}"


@dataclass(frozen=True)
class Command:
    """A program that runs for each alert.

    It runs without a shell, and reads the alert as JSON from its standard input.
    """

    run: tuple[str, ...]
    seconds: float = 10.0  # the program is stopped after this time

    def __post_init__(self) -> None:
        if not self.run or shutil.which(self.run[0]) is None:
            raise ValueError(
                f"run is {list(self.run)}: it must name an installed program and its arguments"
            )
        if not 0 < self.seconds <= 3600:
            raise ValueError(f"seconds is {self.seconds:g}: it must be over 0 and at most 3600")


@dataclass(frozen=True)
class AlertConfig:
    """The contents of a file of alerts."""

    alert: tuple[AlertEntry, ...] = ()
    threshold: float = ALERT_THRESHOLD
    hold_off: float = HOLD_OFF_SECONDS  # seconds
    webhook: Webhook | None = None
    command: Command | None = None

    def watched(self, sentences: list[str]) -> list[WatchedSound]:
        """Returns the sounds to wait for: those of the file, then these sentences."""
        named = {entry.sentence for entry in self.alert}
        entries = [
            *self.alert,
            *(
                AlertEntry(sentence)
                for sentence in dict.fromkeys(sentences)
                if sentence not in named
            ),
        ]
        return [
            WatchedSound(
                entry.sentence,
                self.threshold if entry.threshold is None else entry.threshold,
                self.hold_off if entry.hold_off is None else entry.hold_off,
            )
            for entry in entries
        ]


def load_config(path: Path) -> AlertConfig:
    """Reads a file of alerts.

    Raises:
        AuricleError: the file cannot be read, or a field is unknown or has a wrong value.
    """
    table = read_toml(path)
    _check_webhook_types(path, table.get("webhook", {}))
    return read(AlertConfig, table, str(path))


def _check_webhook_types(path: Path, webhook: object) -> None:
    """Refuses values of a wrong type without their text, as `read` would repeat it."""
    if not isinstance(webhook, dict):
        raise AuricleError(f"{path}: webhook must be a table: [webhook], then url = ...")
    for name, value in webhook.items():
        if not isinstance(value, str):
            raise AuricleError(f"{path}: webhook.{name} must be a text in quotes")
