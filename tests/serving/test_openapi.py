"""The API answers every request as its description says: by schemathesis."""

import subprocess
import sys
from pathlib import Path

from server import Server

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,unsupported_method"
)


def test_the_server_answers_as_its_description_says(server: Server, tmp_path: Path):
    options = {
        "--checks": CHECKS,
        "--max-examples": "8",
        "--phases": "examples,coverage,fuzzing",
        "--seed": "1",
        "--workers": "1",  # Python 3.11 may fail to parse code in two threads at once
        "--generation-database": "none",
        "--suppress-health-check": "all",
    }
    command = [
        Path(sys.executable).with_name("schemathesis"),
        *("run", f"{server.url}/openapi.json", "--no-color"),
        *(word for option in options.items() for word in option),
    ]
    ran = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stdout[-8_000:] + ran.stderr[-2_000:]
