"""The command `serve`."""

import contextlib
import ipaddress
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.options import CheckpointFolder
from auricle.errors import AuricleError

TOKEN_LENGTH = 16  # characters of the shortest
GRACE = 10  # seconds that requests have to be answered in when the server is stopped


def serve(
    checkpoint: CheckpointFolder = None,
    host: Annotated[
        str, typer.Option(help="Address to serve at; 0.0.0.0 for every one of this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to serve at; 0 for any free one.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="AURICLE_TOKEN",
            help="What clients must know. Made and printed where one is needed and none given: at all but loopback addresses.",
        ),
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="TLS certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    tls: Annotated[
        bool | None,
        typer.Option(
            help="Serve https; with a certificate made here if none is given. On at all but loopback addresses."
        ),
    ] = None,
    host_name: Annotated[
        list[str] | None,
        typer.Option(
            help="A name that the server is called by, besides this machine's; may be repeated."
        ),
    ] = None,
    listen: Annotated[
        bool,
        typer.Option("--listen", help="Let the page show what this machine's microphone hears."),
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="The microphone: a number or part of its name.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Files at a time; one a processor.")
    ] = None,
    queue: Annotated[
        int, typer.Option(min=0, help="Requests that may wait; more are told to come back later.")
    ] = 64,
    max_upload: Annotated[int, typer.Option(min=1, help="Megabytes of the largest upload.")] = 2048,
    max_minutes: Annotated[
        float, typer.Option(min=0.1, help="Minutes of the longest sound.")
    ] = 240.0,
    max_wait: Annotated[
        float, typer.Option(min=1, help="Minutes that one request may keep a worker.")
    ] = 30.0,
    max_memory: Annotated[
        int, typer.Option(min=64, help="Megabytes that a file may cost a worker, beyond the model.")
    ] = 1024,
) -> None:
    """Serve a page to caption files and live sound with, and the HTTP API that it uses. Ctrl-C
    stops it.

    Examples:

        auricle serve

        auricle serve --host 0.0.0.0 --listen

        auricle serve --host 0.0.0.0 --cert cert.pem --key key.pem --host-name captions.example.org

        curl -F file=@dog.wav http://localhost:8000/v1/captions
    """
    import uvicorn

    from auricle.captioning.captioner import load
    from auricle.serving.app import make_app
    from auricle.serving.limits import Limits
    from auricle.serving.promptness import PromptProtocol

    if (cert is None) != (key is None):
        raise AuricleError("--cert and --key belong together: give both or neither")
    if token is not None and len(token) < TOKEN_LENGTH:
        raise AuricleError(
            f"a token of {len(token)} characters can be guessed: give {TOKEN_LENGTH} or more"
        )
    local = is_loopback(host)
    if token is None and not local:
        token = secrets.token_urlsafe(TOKEN_LENGTH)
    if tls is None:
        tls = cert is not None or not local
    if tls and cert is None:
        from auricle.serving.certificate import own_certificate

        settings = Path(typer.get_app_dir("auricle"))
        if not settings.is_absolute():
            raise AuricleError(
                "there is no home folder to keep a certificate in: give --cert and --key"
            )
        cert, key = own_certificate(settings, (host, *(host_name or ())))
    limits = Limits(
        upload=max_upload << 20,
        seconds=60 * max_minutes,
        job_seconds=60 * max_wait,
        memory=max_memory << 20,
        jobs=jobs or os.cpu_count() or 1,
        queue=queue,
    )
    microphone = None
    if listen:
        from auricle.live.sources import microphone_source
        from auricle.serving.listening import Microphone

        def say(text: str) -> None:
            print(f"auricle: {text}", file=sys.stderr, flush=True)

        microphone = Microphone(microphone_source(load(checkpoint).rate, device, say), say)
        microphone.start()
    app = make_app(
        checkpoint, limits, token=token, names=tuple(host_name or ()), microphone=microphone
    )
    config = uvicorn.Config(
        app,
        log_level="warning",
        http=PromptProtocol,
        ssl_certfile=cert if tls else None,
        ssl_keyfile=key if tls else None,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=1 << 20,
        timeout_graceful_shutdown=GRACE,
    )
    with contextlib.closing(bound(host, port)) as listening:
        where = address(host, listening.getsockname()[1], tls)

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if self.started:
                    print(
                        f"auricle serves at {where}{f'#token={token}' if token else ''}    (Ctrl-C stops it)",
                        flush=True,
                    )

        server = Server(config)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    if not server.started:
        raise typer.Exit(1)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address.

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
    """What to type into a browser."""
    names = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}
    name = names.get(host, host)
    return f"{'https' if tls else 'http'}://{f'[{name}]' if ':' in name else name}:{port}/"
