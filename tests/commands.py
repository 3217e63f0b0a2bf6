"""Runs commands of auricle in the process of the tests."""

import io
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from auricle.cli.main import main


class Result(NamedTuple):
    """The exit code of a command and its output."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs `auricle ARGUMENTS`, with `stdin` as standard input."""

    def run(*arguments: object, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "argv", ["auricle", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            main()
            code: object = 0
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        if isinstance(code, str):  # the interpreter prints it and exits with 1
            return Result(1, captured.out, f"{captured.err}{code}\n")
        assert isinstance(code, int)
        return Result(code, captured.out, captured.err)

    return run
