"""Tokens of devices: one each, so that a lost phone is shut out alone.

The file keeps a hash of each token, so that nobody who reads it can use the server.
"""

import datetime
import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from auricle.errors import AuricleError
from auricle.storage.files import written_whole

TOKEN_BYTES = 16
MOST_DEVICE_NAME_CHARACTERS = 60


@dataclass(frozen=True)
class Device:
    """A device that may use the server."""

    name: str
    issued: str  # the day, ISO 8601
    digest: str  # SHA-256 of its token


class DeviceTokens:
    """The tokens of devices in a file, which commands change while the server runs.

    Args:
        path: of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, int] | None = None  # time and size of the file that was read
        self._devices: list[Device] = []

    @property
    def devices(self) -> list[Device]:
        """The devices, in the order of their tokens' issue.

        Raises:
            AuricleError: the file is damaged.
        """
        try:
            state = self._path.stat()
        except OSError:
            self._read_at, self._devices = None, []
            return []
        if (state.st_mtime_ns, state.st_size) != self._read_at:
            self._devices = self._read()
            self._read_at = state.st_mtime_ns, state.st_size
        return self._devices

    def issue(self, name: str) -> str:
        """Return a new token for a device.

        Raises:
            AuricleError: the name is taken, empty or too long, or the file is damaged.
        """
        if not name.strip() or len(name) > MOST_DEVICE_NAME_CHARACTERS or not name.isprintable():
            raise AuricleError(
                f"'{name[:20]}' is no name of a device: give 1 to "
                f"{MOST_DEVICE_NAME_CHARACTERS} characters"
            )
        if any(device.name == name for device in self.devices):
            raise AuricleError(f"{name} has a token already: revoke it first, or use another name")
        token = secrets.token_urlsafe(TOKEN_BYTES)
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        self._write([*self.devices, Device(name, today, _digest(token))])
        return token

    def revoke(self, name: str) -> None:
        """Make the token of a device useless.

        Raises:
            AuricleError: no device has this name, or the file is damaged.
        """
        left = [device for device in self.devices if device.name != name]
        if len(left) == len(self.devices):
            known = ", ".join(device.name for device in left) or "none"
            raise AuricleError(f"no device is called {name}; known devices: {known}")
        self._write(left)

    def knows(self, token: str) -> bool:
        """Return whether a device has this token; False while the file is damaged."""
        digest = _digest(token)
        try:
            devices = self.devices
        except AuricleError:
            return False
        return any(secrets.compare_digest(digest, device.digest) for device in devices)

    def _read(self) -> list[Device]:
        try:
            rows = json.loads(self._path.read_text("utf-8"))
            return [Device(str(r["name"]), str(r["issued"]), str(r["digest"])) for r in rows]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AuricleError(
                f"{self._path}: is damaged ({error}); delete it and issue new tokens"
            ) from None

    def _write(self, devices: list[Device]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        rows = [vars(device) for device in devices]
        with written_whole(self._path, private=True) as part:
            part.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
        self._read_at = None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
