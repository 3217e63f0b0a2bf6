"""How to reach an MQTT broker: address, user and password, TLS."""

import ssl
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_IROTH
from urllib.parse import urlsplit

from auricle.errors import AuricleError, printable
from auricle.storage.tables import read

PORT, TLS_PORT = 1883, 8883


@dataclass(frozen=True)
class Credentials:
    """The user and the password of a broker, as their file holds them."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Broker:
    """An MQTT broker, and how to reach it."""

    host: str
    port: int
    client: str  # the name of this process, unique at the broker
    tls: ssl.SSLContext | None = None
    credentials: Credentials | None = None

    @property
    def shown(self) -> str:
        """The broker's name in messages."""
        return printable(f"MQTT broker {self.host}:{self.port}")


def read_address(address: str, *, tls: bool) -> tuple[str, int]:
    """Returns host and port of HOST[:PORT]; the port is that of MQTT if left out.

    Raises:
        AuricleError: it is no address. The message does not repeat it, as it may hold a password.
    """
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
        valid = bool(host and host.strip(".")) and parts.netloc == address and port != 0
        valid = valid and address.isprintable() and " " not in address and "@" not in address
        (host or "").encode("idna")
    except ValueError:
        valid, host, port = False, None, None
    if not valid or host is None:
        raise AuricleError(
            "--mqtt takes HOST or HOST:PORT, without a scheme, a user or a password; "
            "--mqtt-credentials FILE names the user and the password"
        )
    return host, port or (TLS_PORT if tls else PORT)


def read_credentials(path: Path) -> Credentials:
    """Reads a TOML file with `user` and `password`. No message repeats their values.

    Raises:
        AuricleError: the file cannot be read, everybody can read it, or a field is missing,
            unknown or no text.
    """
    try:
        everybody = sys.platform != "win32" and path.stat().st_mode & S_IROTH
        text = path.read_text("utf-8")
    except OSError as error:
        raise AuricleError(f"{path}: {error.strerror}") from None
    except ValueError:
        text, everybody = "", False
    if everybody:
        raise AuricleError(f"{path}: everybody can read the password: chmod 600 {path}")
    try:
        table = tomllib.loads(text)
    except ValueError:
        table = {}
    if not all(isinstance(value, str) for value in table.values()) or not table:
        raise AuricleError(f'{path}: expected two lines, user = "..." and password = "..."')
    return read(Credentials, table, str(path))


def tls_context(authority: Path | None) -> ssl.SSLContext:
    """Returns the settings of TLS: certificates and host names are verified.

    Args:
        authority: the certificates to trust, PEM; those of the system if None.

    Raises:
        AuricleError: the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:  # ssl.SSLError is one
        reason = (
            "no certificates in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        )
        raise AuricleError(f"{authority}: {reason}") from None
