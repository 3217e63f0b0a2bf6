"""The package keeps its layout: layers, small files and functions, and its public surface."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

import auricle
from auricle.cli.main import COMMANDS, app

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "auricle"
MOST_FILE_LINES = 400
MOST_FUNCTION_LINES = 60  # without the docstring and, of a command, without its options
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


def test_imports_point_down_only():
    pytest.importorskip("importlinter", reason="contracts are checked by import-linter (extra dev)")
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as run; run()",
    ]
    done = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_short():
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in SOURCE.rglob("*.py")}
    assert len(lines) > 100
    long = {path.relative_to(SOURCE).as_posix() for path, n in lines.items() if n > MOST_FILE_LINES}
    assert long == LONG_FILES.keys()


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return 0 if not body else (function.end_lineno or 0) - body[0].lineno + 1


def test_functions_are_short():
    long = {
        f"{path.relative_to(SOURCE).as_posix()}:{node.name}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and code_lines(node) > MOST_FUNCTION_LINES
    }
    assert long == LONG_FUNCTIONS.keys()


def surface() -> dict[str, list[str]]:
    """Every command with its arguments and options."""
    found: dict[str, list[str]] = {}

    def walk(command: object, name: str) -> None:
        found[name] = sorted(
            option
            for parameter in command.params  # type: ignore[attr-defined]
            for option in (
                [*parameter.opts, *parameter.secondary_opts]
                if parameter.param_type_name == "option"
                else [f"<{parameter.name}>"]
            )
        )
        if isinstance(command, TyperGroup):
            for inner, other in sorted(command.commands.items()):
                walk(other, f"{name} {inner}")

    walk(typer.main.get_command(app), "auricle")
    return found


def test_commands_options_and_names_are_those_on_record():
    recorded = json.loads((ROOT / "tests" / "surface.json").read_text("utf-8"))
    assert surface() == recorded["commands"]
    assert sorted(auricle.__all__) == recorded["names"]


def test_help_groups_all_commands_by_purpose():
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    purposes = {name: command.rich_help_panel for name, command in group.commands.items()}  # type: ignore[attr-defined]
    assert list(dict.fromkeys(purposes.values())) == list(COMMANDS)
    assert purposes["alert-test"] == purposes["token"] == "Caption, listen, search and serve"
    assert purposes["train"] == "Train"
    assert purposes["metrics"] == "Score"
    assert purposes["data"] == "Data"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["caption", "examples/bell.wav"], 0),
        (["caption", "examples/none.wav"], 1),
        (["caption", "examples/bell.wav", "examples/none.wav"], 1),
        (["caption", "examples/bell.wav", "--checkpoint", "examples"], 1),
        (["caption"], 2),
        (["caption", "examples/bell.wav", "--beam", "0"], 2),
        (["no-such-command"], 2),
        (["train"], 1),
    ],
)
def test_exit_codes_are_those_on_record(arguments: list[str], code: int):
    command = [sys.executable, "-m", "auricle", *arguments]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == code
