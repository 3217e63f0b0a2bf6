"""Describes the machine, time and commands of a reproduction."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from auricle.reproduction.plan import ReproductionPlan
from auricle.reproduction.stages import trained_seconds


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Returns the lines of a table in Markdown."""
    lines = [list(header), ["---"] * len(header), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]


def describe_machine(plan: ReproductionPlan) -> list[str]:
    """Returns the lines of the report on machine, time and commands."""
    import torch

    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else "no GPU, "
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("auricle", "torch", "numpy", "onnxruntime")
    )
    described = (
        f"{gpu}{_processor()}, {os.cpu_count()} processors, "
        f"{torch.get_num_threads()} threads; {versions}"
    )
    commit = f"; commit {found}" if (found := _commit()) else ""
    seconds = {run.name: trained_seconds(run) for run in plan.runs}
    rows = [[name, f"{value / 60:.1f}"] for name, value in seconds.items()]
    rows.append(["all", f"{sum(seconds.values()) / 60:.1f}"])
    commands = [f"    {command}" for run in plan.runs for command in run.commands()]
    return [
        "## Machine, time and commands",
        "",
        f"{described}{commit}.",
        "",
        *table(("training", "minutes"), rows),
        "",
        "The trainings by hand:",
        "",
        *commands,
    ]


def _commit() -> str:
    """The commit of the current folder; empty where there is none."""
    git = shutil.which("git")
    if git is None:
        return ""
    return subprocess.run(
        [git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
