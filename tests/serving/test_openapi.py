"""The description of the API holds for what it answers, whatever is asked: by schemathesis."""

import subprocess
import sys
from pathlib import Path

from server import Server

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_the_server_answers_as_its_description_says(server: Server, tmp_path: Path):
    ran = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), "run", f"{server.url}/openapi.json", "--checks", CHECKS,
         "--max-examples", "8", "--phases", "examples,coverage,fuzzing", "--seed", "1", "--workers", "2",
         "--generation-database", "none", "--no-color", "--suppress-health-check", "all"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-8_000:] + ran.stderr[-2_000:]
