"""The command line: collects the commands and turns errors into one line and an exit code."""

import atexit
import contextlib
import gc
import io
import os
import sys
from typing import Annotated

import typer

from auricle.cli.alerts import alert_test
from auricle.cli.bulk import bulk
from auricle.cli.caption import caption, rank
from auricle.cli.checkpoint import info, push
from auricle.cli.data import data_app
from auricle.cli.evaluate import compare, evaluate, metrics_app
from auricle.cli.listen import listen
from auricle.cli.reproduce import reproduce
from auricle.cli.search import index, search
from auricle.cli.serve import serve
from auricle.cli.subtitle import subtitle
from auricle.cli.token import token_app
from auricle.cli.train import export, pretrain, train
from auricle.errors import AuricleError, printable

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


# Which extra installs what the core lacks.
EXTRAS = {
    **dict.fromkeys(
        ("torch", "accelerate", "gensim", "safetensors", "onnx", "onnxscript"), "train"
    ),
    "matplotlib": "explain",
    **dict.fromkeys(("huggingface_hub", "httpx2"), "hub"),
    "py7zr": "data",
    **dict.fromkeys(
        (
            "cryptography",
            "fastapi",
            "ifaddr",
            "prometheus_client",
            "python_multipart",
            "segno",
            "uvicorn",
            "websockets",
        ),
        "serve",
    ),
    "pycocoevalcap": "metrics",
    "paho": "mqtt",
    "sounddevice": "listen",
    **dict.fromkeys(("fsspec", "pyarrow", "ray"), "ray"),
    **dict.fromkeys(("apsw", "sqlite_vec"), "search"),
}


def show_version(requested: bool) -> None:
    """Prints the version and exits."""
    if requested:
        from importlib.metadata import version

        print(f"auricle {version('auricle')}")
        raise typer.Exit


@app.callback()
def auricle(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Automated audio captioning: a sound goes in, a sentence comes out."""


# The commands by purpose, in the order of `auricle --help`.
COMMANDS = {
    "Caption, listen, search and serve": (
        caption,
        subtitle,
        bulk,
        listen,
        alert_test,
        rank,
        index,
        search,
        serve,
        token_app,
    ),
    "Train": (pretrain, train, export, info, push, reproduce),
    "Score": (evaluate, compare, metrics_app),
    "Data": (data_app,),
}


for purpose, commands in COMMANDS.items():
    for command in commands:
        if isinstance(command, typer.Typer):
            app.add_typer(command, rich_help_panel=purpose)
        else:
            name = command.__name__.replace("_", "-")
            app.command(name, rich_help_panel=purpose)(command)


def _open_missing_streams() -> None:
    """Opens the standard streams that the caller closed, as `<&-` and `>&-` do.

    An empty standard input takes the place of a missing one, and a missing standard error swallows
    messages. Writing to a missing standard output fails, as on a full disk. Missing descriptors are
    taken first, so that no other file gets their numbers.
    """
    streams = (
        ("stdin", os.O_RDONLY, "r"),
        ("stdout", os.O_RDONLY, "w"),  # read-only, so that writing fails
        ("stderr", os.O_WRONLY, "w"),
    )
    for name, flags, mode in streams:
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)
            os.set_inheritable(descriptor, True)
            stream = open(descriptor, mode, encoding="utf-8")  # noqa: SIM115 - until the end
            setattr(sys, name, stream)


def main() -> None:
    """Runs a command; an error that a user can fix is one line and exit code 1."""
    # Python's exit need not search all objects for cycles: this takes a tenth of a short command.
    atexit.register(gc.freeze)
    _open_missing_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be text; in JSON what replaces their bytes reads back as the same
        # name.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            app(prog_name="auricle")
        finally:
            sys.stdout.flush()  # A full disk or a closed pipe must fail here, not at Python's exit.
    except AuricleError as error:
        sys.exit(f"auricle: {error}")
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        sys.exit(f"auricle: {name} is not installed: pip install 'auricle[{EXTRAS[name]}]'")
    except OSError as error:
        # The waiting output may have failed: Python must not try it again at its exit.
        with contextlib.suppress(io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader has closed its end
            sys.exit(1)
        sys.exit(
            f"auricle: {printable(str(error.filename or 'output'))}: {error.strerror or error}"
        )
