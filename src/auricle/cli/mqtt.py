"""The options of `listen` that publish rows to an MQTT broker."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.errors import AuricleError

if TYPE_CHECKING:
    from auricle.alerts.broker import Broker
    from auricle.alerts.delivery import Say
    from auricle.alerts.mqtt import Publisher
    from auricle.alerts.watch import Watch

Mqtt = Annotated[
    str | None,
    typer.Option(
        metavar="HOST[:PORT]",
        help="Publish events and alerts to this MQTT broker, for Home Assistant too (extra mqtt).",
    ),
]
MqttTls = Annotated[bool, typer.Option("--mqtt-tls", help="Connect to the broker with TLS.")]
MqttAuthority = Annotated[
    Path | None,
    typer.Option(
        "--mqtt-ca",
        metavar="FILE.pem",
        help="Connect with TLS, and trust only these certificates; the system's if left out.",
    ),
]
MqttCredentials = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml", help="The broker's user and password: two lines, user and password."
    ),
]
MqttName = Annotated[
    str | None,
    typer.Option(
        help="Name of this process at the broker, in topics and sensors; the host's if left out."
    ),
]


@dataclass(frozen=True)
class MqttOptions:
    """The values of the options."""

    address: str | None
    tls: bool
    authority: Path | None
    credentials: Path | None
    name: str | None

    def broker(self, say: "Say") -> "Broker | None":
        """Returns the broker that the options name, or None.

        Raises:
            AuricleError: an option or a file is not valid.
        """
        if self.address is None:
            if self.tls or self.authority or self.credentials or self.name:
                raise AuricleError("the options --mqtt-... need --mqtt HOST[:PORT]")
            return None
        import socket

        from auricle.alerts.broker import Broker, read_address, read_credentials, tls_context

        tls = self.tls or self.authority is not None
        host, port = read_address(self.address, tls=tls)
        name = socket.gethostname().partition(".")[0] if self.name is None else self.name
        if not name.strip() or not name.isprintable():
            raise AuricleError("--mqtt-name is empty: give this process a name at the broker")
        credentials = None if self.credentials is None else read_credentials(self.credentials)
        broker = Broker(host, port, name, tls_context(self.authority) if tls else None, credentials)
        if credentials is not None and not tls and host not in ("localhost", "127.0.0.1", "::1"):
            say(f"{broker.shown}: the password is sent without encryption: see --mqtt-tls")
        return broker


@contextlib.contextmanager
def publishing(
    broker: "Broker | None", watches: Mapping[str | None, "Watch | None"], say: "Say"
) -> Iterator["Publisher | None"]:
    """Yields a publisher of rows, or None without a broker.

    Args:
        broker: receives the rows.
        watches: the watch of each stream, by its name.
        say: takes messages about the broker.
    """
    if broker is None:
        yield None
        return
    from auricle.alerts.home_assistant import StreamTopics
    from auricle.alerts.mqtt import Publisher

    topics = {
        name: StreamTopics(broker.client, name, () if watch is None else watch.sounds)
        for name, watch in watches.items()
    }
    publisher = Publisher(broker, topics, say)
    try:
        yield publisher
    finally:
        publisher.close()
