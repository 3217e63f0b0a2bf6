"""The whole soak: mutated media, and commands killed at random moments; one command, and a report.

python tests/soak/run.py --seed 0 --files 10000 --kills 100
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import typer
from kills import TASKS, Record, run_campaign
from media import ROOT, Outcome, Tally, run_media, tallied
from rich.progress import track

from auricle.storage.files import written_whole

REPORT = Path(__file__).with_name("report.md")


def main(
    seed: int = 0,
    files: Annotated[int, typer.Option(help="Mutated media files.")] = 10_000,
    kills: Annotated[int, typer.Option(help="Kills in all, shared among the tasks.")] = 100,
    task: Annotated[
        list[str] | None, typer.Option(help=f"Of {', '.join(TASKS)}; all if left out.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Media files at a time.")] = 2,
    report: Annotated[Path, typer.Option(help="Where the report goes.")] = REPORT,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for what fails; a temporary one if left out.")
    ] = None,
) -> None:
    """Runs the soak and writes its report; exit code 1 where anything fails."""
    work = keep or Path(tempfile.mkdtemp(prefix="soak-"))
    chosen = "".join(f" --task '{name}'" for name in task or ())
    options = f"--seed {seed} --files {files} --kills {kills}{chosen}"
    what = f"`python tests/soak/run.py {options}` at commit {commit()}"
    began = time.monotonic()
    outcomes = (
        list(track(run_media(seed, files, work / "media", jobs), "Media", files)) if files else []
    )
    records = []
    tasks = task or list(TASKS)
    if kills:
        for record in run_campaign(tasks, kills, seed, work / "kills"):
            print(record)
            records.append(record)
    minutes = (time.monotonic() - began) / 60
    failures = [(name, number, outcome) for name, number, outcome in outcomes if outcome.failure]
    text = written(what, tallied(outcomes), failures, records, minutes)
    with written_whole(report) as part:
        part.write_text(text, "utf-8")
    print(
        f"{report}: {len(failures)} media files failed, {sum(len(r.failures) for r in records)} "
        f"kills; see {work}"
    )
    if failures or any(record.failures for record in records):
        raise typer.Exit(1)


def commit() -> str:
    """Of the tree, and whether anything in it differs."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    return said.strip() or "unknown"


def written(
    what: str,
    tallies: dict[str, Tally],
    failures: list[tuple[str, int, Outcome]],
    records: list[Record],
    minutes: float,
) -> str:
    """The report."""
    count = sum(sum(tally.said.values()) for tally in tallies.values())
    kills = sum(record.kills for record in records)
    lines = [
        "# Soak",
        "",
        f"{what}, {platform.machine()}, {os.cpu_count()} processors, {minutes:.0f} minutes.",
        "",
        "## Mutated media",
        "",
        f"{count:,} files, {len(failures)} failures. A failure is a crash, an answer that is "
        f"neither a caption nor one line,",
        "over 500 MB, or over 10 s of processor time and 15 s for each hour of sound that decodes.",
        "",
        "| mutation | files | captioned | refused | failed | slowest, beyond its hours (s) | "
        "memory at most (MB) |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for name, tally in tallies.items():
        said = tally.said
        lines.append(
            f"| {name} | {sum(said.values())} | {said['caption']} | {said['refused']} | "
            f"{said['failed']} "
            f"| {tally.slowest:.1f} | {tally.memory >> 20} |"
        )
    lines += [f"- file {number} ({name}): {outcome.failure}" for name, number, outcome in failures]
    lines += [
        "",
        "## kill -9",
        "",
        f"{kills} kills at random moments, {sum(len(r.failures) for r in records)} failures.",
        "",
    ]
    lines += ["| task | kills | ended before its kill | failures |", "| --- | --: | --: | --: |"]
    lines += [f"| {r.task} | {r.kills} | {r.ended_before} | {len(r.failures)} |" for r in records]
    lines += [f"- {record.task}: {failure}" for record in records for failure in record.failures]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
