"""The command `serve`."""

import contextlib
import ipaddress
import math
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.options import CheckpointFolder, settings_folder
from auricle.cli.token import device_tokens
from auricle.errors import AuricleError

if TYPE_CHECKING:
    from auricle.serving.guard import Guard
    from auricle.serving.listening import Microphone
    from auricle.serving.tokens import DeviceTokens

TOKEN_LENGTH = 16  # characters of the shortest
CUT_OFF_SECONDS = 8  # after which a stopping server cuts connections; `Stopping` ends jobs sooner


def _finite(minutes: float) -> float:
    if not math.isfinite(minutes):
        raise typer.BadParameter(f"{minutes} is not a number of minutes")
    return minutes


def serve(
    checkpoint: CheckpointFolder = None,
    host: Annotated[
        str, typer.Option(help="Address to serve at; 0.0.0.0 for all addresses of this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to serve at; 0 for any free one.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="AURICLE_TOKEN",
            help="Secret that clients must send. If none is given, one is made and printed, except "
            "at loopback addresses, which need none.",
        ),
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="TLS certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    tls: Annotated[
        bool | None,
        typer.Option(
            help="Serve https; with a certificate made here if none is given. On at all but "
            "loopback addresses."
        ),
    ] = None,
    host_name: Annotated[
        list[str] | None,
        typer.Option(help="A further name of the server; may be repeated."),
    ] = None,
    listen: Annotated[
        bool,
        typer.Option("--listen", help="Let the page show captions of this machine's microphone."),
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="The microphone: a number or part of its name.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Files at a time; one a processor.")
    ] = None,
    queue: Annotated[
        int, typer.Option(min=0, help="Requests that may wait; more get 503 with Retry-After.")
    ] = 64,
    max_upload: Annotated[int, typer.Option(min=1, help="Megabytes of the largest upload.")] = 2048,
    max_minutes: Annotated[
        float, typer.Option(min=0.1, callback=_finite, help="Minutes of the longest sound.")
    ] = 240.0,
    max_wait: Annotated[
        float,
        typer.Option(min=1, callback=_finite, help="Minutes that one request may keep a worker."),
    ] = 30.0,
    max_memory: Annotated[
        int,
        typer.Option(min=64, help="Megabytes that a worker may use for a file, without the model."),
    ] = 1024,
) -> None:
    """Serve a web page that captions files and live sound, and its HTTP API.

    Ctrl-C stops it.

    Examples:

        auricle serve

        auricle serve --host 0.0.0.0 --listen

        auricle serve --host 0.0.0.0 --cert cert.pem --key key.pem --host-name captions.example.org

        curl -F file=@dog.wav http://localhost:8000/v1/captions
    """
    from auricle.serving.app import make_app
    from auricle.serving.limits import Limits

    if (cert is None) != (key is None):
        raise AuricleError("--cert and --key belong together: give both or neither")
    if token is not None and len(token) < TOKEN_LENGTH:
        raise AuricleError(
            f"a token of {len(token)} characters can be guessed: give {TOKEN_LENGTH} or more"
        )
    local, names = is_loopback(host), tuple(host_name or ())
    if token is None and not local:
        token = secrets.token_urlsafe(TOKEN_LENGTH)
    if cert is None and (not local if tls is None else tls):
        cert, key = _made_certificate((host, *names))
    limits = Limits(
        upload=max_upload << 20,
        seconds=60 * max_minutes,
        job_seconds=60 * max_wait,
        memory=max_memory << 20,
        jobs=jobs or os.cpu_count() or 1,
        queue=queue,
    )
    microphone = _microphone(checkpoint, device) if listen else None
    devices = None if token is None else _known_devices()
    app = make_app(
        checkpoint, limits, token=token, devices=devices, names=names, microphone=microphone
    )
    _run(app, host, port, None if tls is False else cert, key)


def _made_certificate(names: tuple[str, ...]) -> tuple[Path, Path]:
    """Return the paths of our own certificate and its key, kept with the user's settings."""
    from auricle.serving.certificate import own_certificate

    try:
        settings = settings_folder("a certificate")
    except AuricleError as error:
        raise AuricleError(f"{error}: give --cert and --key") from None
    return own_certificate(settings, names)


def _known_devices() -> "DeviceTokens | None":
    """Return the tokens of devices; None without a home folder, where none can be issued."""
    try:
        return device_tokens()
    except AuricleError:
        return None


def _microphone(checkpoint: Path | None, device: str | None) -> "Microphone":
    """Open this machine's microphone for all clients."""
    from auricle.captioning.captioner import load
    from auricle.live.sources import microphone_source
    from auricle.serving.listening import Microphone

    def say(text: str) -> None:
        print(f"auricle: {text}", file=sys.stderr, flush=True)

    microphone = Microphone(microphone_source(load(checkpoint).rate, device, say), say)
    microphone.start()
    return microphone


def _run(app: "Guard", host: str, port: int, cert: Path | None, key: Path | None) -> None:
    """Serve until a signal comes; with TLS if there is a certificate.

    Raises:
        AuricleError: the address is taken.
        typer.Exit: the server did not start.
    """
    import uvicorn

    from auricle.serving.promptness import PromptProtocol

    config = uvicorn.Config(
        app,
        log_level="warning",
        http=PromptProtocol,
        ssl_certfile=cert,
        ssl_keyfile=None if cert is None else key,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=1 << 20,
        timeout_graceful_shutdown=CUT_OFF_SECONDS,
    )
    with contextlib.closing(bound(host, port)) as listening:
        where = address(host, listening.getsockname()[1], cert is not None)

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if self.started:
                    secret = f"#token={app.token}" if app.token else ""
                    print(f"auricle serves at {where}{secret}    (Ctrl-C stops it)", flush=True)
                    _show_to_phones(host, f"{where}{secret}")

            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                app.stopping.begin()
                await super().shutdown(sockets)

        server = Server(config)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    if not server.started:
        raise typer.Exit(1)


def _show_to_phones(host: str, where: str) -> None:
    """Print the address as a QR code on a terminal, or say how a phone reaches the server."""
    if not sys.stdout.isatty():
        return
    if is_loopback(host):
        print("Only this machine reaches it. For a phone: auricle serve --host 0.0.0.0", flush=True)
        return
    import segno

    segno.make(where, error="l").terminal(compact=True)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def bound(host: str, port: int) -> socket.socket:
    """Return a socket at an address.

    Raises:
        AuricleError: the address is not this machine's, or something else serves there.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise AuricleError(
            f"cannot serve at {host}:{port}: {error.strerror or error}; try another --port"
        ) from None


def address(host: str, port: int, tls: bool) -> str:
    """Return the address to open in a browser, of this machine or of a phone in its network."""
    name = host
    if host in ("0.0.0.0", "::"):
        from auricle.serving.addresses import own_addresses

        name = next(iter(own_addresses()), socket.gethostname())
    return f"{'https' if tls else 'http'}://{f'[{name}]' if ':' in name else name}:{port}/"
