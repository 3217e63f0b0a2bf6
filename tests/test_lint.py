"""Nothing that is read is run: the linter refuses what would, and what it cannot see is looked for
here."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REFUSED = {
    "import pickle": "TID251",
    "from pickle import loads": "TID251",
    "import marshal": "TID251",
    "import shelve": "TID251",
    "import dill": "TID251",
    "import cloudpickle": "TID251",
    "from joblib import load": "TID251",
    "import torch\n\ntorch.load('a')": "TID251",
    "from torch import load": "TID251",
    "eval('1')": "S307",
    "exec('1')": "S102",
    "import yaml\n\nyaml.load('a', yaml.Loader)": "S506",
}


def codes(code: str) -> set[str]:
    """What the linter says of a module of the package."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise"]
    place = ["--stdin-filename", "src/auricle/module.py", "-"]
    done = subprocess.run([*command, *place], input=code, capture_output=True, text=True, cwd=ROOT)
    return {
        line.split()[1]
        for line in done.stdout.splitlines()
        if line.startswith("src/auricle/module.py:")
    }


@pytest.mark.parametrize("code", REFUSED)
def test_the_linter_refuses(code: str):
    assert REFUSED[code] in codes(f'"""A module."""\n\n{code}\n')


def unpickled(code: str) -> list[int]:
    """Lines whose calls let numpy or torch unpickle."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        safe = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        options = {k.arg for k in node.keywords}
        numpy = "allow_pickle" in options and safe.get("allow_pickle") is not False
        torch = ast.unparse(node.func) == "torch.load" and safe.get("weights_only") is not True
        if numpy or torch:
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("np.load(a)", []),
        ("np.load(a, allow_pickle=False)", []),
        ("np.load(a, allow_pickle=True)", [1]),
        ("np.load(a, allow_pickle=yes)", [1]),
        ("torch.load(a)", [1]),
        ("torch.load(a, weights_only=False)", [1]),
        ("torch.load(a, weights_only=True)", []),
    ],
)
def test_what_unpickles_is_seen(code: str, lines: list[int]):
    assert unpickled(code) == lines


def test_nothing_is_unpickled():
    files = [
        path
        for folder in ("src", "scripts", "benchmarks", "examples")
        for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 100
    assert {
        str(path): lines for path in files if (lines := unpickled(path.read_text("utf-8")))
    } == {}
