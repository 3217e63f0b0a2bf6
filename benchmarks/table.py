"""Measures the goals of speed in one run, and prints them as Markdown.

    # a sound of an hour, 64 sounds of 10 s, bulk with two workers; about an hour on two cores
    OMP_NUM_THREADS=1 python benchmarks/table.py
    # on a busy machine
    OMP_NUM_THREADS=1 python benchmarks/table.py --minutes 10 --repeats 3 --growth 10,60,600
    # the growth of cost up to 10 h
    OMP_NUM_THREADS=1 python benchmarks/table.py --growth 10,60,600,3600,36000

Sounds are those of benchmarks/inference.py: 44.1-kHz stereo mp3. Commands run in turns, so that
other work on the machine disturbs all of them alike. Ratios are of processor time, and only ratios
count. Needs `ffmpeg`, Playwright for the server of benchmarks/page.py, and the extra `ray`.
"""

import http.client
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import psutil
import typer

import bulk
from inference import SECONDS, installed_environment, make_sound, make_sounds, show
from page import serving

PAGE_QUERY = {"segments": "events", "format": "sse", "spectrogram": 0, "name": "sound.mp3"}
PAGE_COLUMNS = 60_000  # of a whole overview, as the page asks for
LIBRARIES = "import numpy, onnxruntime, av"


@dataclass(frozen=True)
class Run:
    """The times of one run, in seconds."""

    processor: float  # user and system time of all its threads and processes
    clock: float

    @property
    def busy_cores(self) -> float:
        """The mean number of busy cores."""
        return self.processor / self.clock


@dataclass(frozen=True)
class Row:
    """A row of the table of goals, as texts."""

    work: str
    base: str
    now: str
    busy_cores: str
    goal: str


Works = Mapping[str, Callable[[], Run]]


def command(*arguments: str) -> Callable[[], Run]:
    """Returns a function that runs a command and returns its times."""

    def run() -> Run:
        began = time.perf_counter()
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=installed_environment(),
        )
        assert process.stderr is not None
        with process.stderr as pipe:
            told = pipe.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(arguments)} failed: {told}")
        return Run(usage.ru_utime + usage.ru_stime, time.perf_counter() - began)

    return run


def python(*arguments: str) -> Callable[[], Run]:
    """Returns a function that runs Python and returns its times."""
    return command(sys.executable, *arguments)


def auricle(*arguments: str) -> Callable[[], Run]:
    """Returns a function that runs a command of auricle and returns its times."""
    return python("-m", "auricle", *arguments)


def ffmpeg(file: str) -> Callable[[], Run]:
    """Returns a function that decodes and resamples a file with ffmpeg: the floor."""
    return command(
        *("ffmpeg", "-v", "error", "-nostdin", "-i", file),
        *("-ac", "1", "-ar", "32000", "-f", "null", "-"),
    )


def page_query(port: int, server: int, file: str, seconds: float) -> Callable[[], Run]:
    """Returns a function that sends a file to the server as the page does."""
    columns = max(5, min(100, round(PAGE_COLUMNS / seconds)))
    address = f"/v1/captions?{urlencode(PAGE_QUERY | {'overview': columns})}"
    body = Path(file).read_bytes()

    def spent() -> float:
        process = psutil.Process(server)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
        return sum(each.user + each.system for each in times)

    def run() -> Run:
        began, before = time.perf_counter(), spent()
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", address, body, {"Content-Type": "application/octet-stream"})
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        if answer.status != 200 or b"event: done" not in told:
            sys.exit(f"the server answers {answer.status}: {told[-200:]!r}")
        return Run(spent() - before, time.perf_counter() - began)

    return run


def in_turns(works: Works, repeats: int) -> dict[str, list[Run]]:
    """Returns the runs of each work; a first one, which fills caches, does not count."""
    runs: dict[str, list[Run]] = {name: [] for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            runs[name].append(work())
    return {name: each[1:] for name, each in runs.items()}


def middle(numbers: list[float], digits: int = 2) -> str:
    """Returns the median of numbers, and their range."""
    low, high = min(numbers), max(numbers)
    return f"{statistics.median(numbers):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def ratio(runs: dict[str, list[Run]], name: str, base: str) -> tuple[str, str]:
    """Returns the processor time of a work relative to another's in its turn, and busy cores."""
    pairs = zip(runs[name], runs[base], strict=True)
    return middle([run.processor / other.processor for run, other in pairs]), busy(runs[name])


def busy(runs: list[Run]) -> str:
    """Returns the median number of cores that a work kept busy."""
    return f"{statistics.median(run.busy_cores for run in runs):.2f}"


def commit() -> str:
    """Returns the commit that is measured."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def goals(folder: Path, clips: list[str], minutes: float, repeats: int) -> list[Row]:
    """Returns the rows of the table of goals, but for `bulk`."""
    long = make_sound(folder / "long.mp3", 60 * minutes)
    with serving(niceness=0) as (port, server):
        whole = in_turns(
            {
                "ffmpeg": ffmpeg(long),
                "caption": auricle("caption", "--window", "10", long),
                "subtitle": auricle("subtitle", long, "-o", str(folder / "long.srt")),
                "page": page_query(port, server, long, 60 * minutes),
            },
            repeats,
        )
    starts = in_turns(
        {
            "libraries": python("-c", LIBRARIES),
            "caption": auricle("caption", clips[0]),
            "typer": python("-c", "import typer, rich"),
            "help": auricle("--help"),
        },
        3 * repeats,
    )
    many = in_turns({"clips": auricle("caption", *clips)}, repeats)
    cores = os.cpu_count() or 1
    seconds = len(clips) * SECONDS
    by_clock = [seconds / run.clock for run in many["clips"]]
    by_processor = [cores * seconds / run.processor for run in many["clips"]]
    each_hour = statistics.median(run.processor for run in whole["ffmpeg"]) * 60 / minutes
    floor = f"`ffmpeg -ac 1 -ar 32000` ({each_hour:.1f} s for an hour)"
    base = f'`python -c "{LIBRARIES}"`'
    typer_base = '`python -c "import typer, rich"`'
    clips_busy = busy(many["clips"])
    return [
        Row("`caption` in 10-s windows", floor, *ratio(whole, "caption", "ffmpeg"), "<= 3.0"),
        Row("`subtitle`", floor, *ratio(whole, "subtitle", "ffmpeg"), "<= 5"),
        Row(f"{len(clips)} mp3s of 10 s", "real time", middle(by_clock, 0), clips_busy, ">= 450"),
        Row("the same on free cores", "real time", middle(by_processor, 0), f"{cores}", ""),
        Row("cold `caption`", base, *ratio(starts, "caption", "libraries"), "<= 1.9"),
        Row("`--help`", typer_base, *ratio(starts, "help", "typer"), "<= 1.3"),
        Row(
            "the page's query of one file",
            "`subtitle`",
            *ratio(whole, "page", "subtitle"),
            "<= 1.1",
        ),
    ]


def bulk_row(folder: Path, sounds: int, repeats: int) -> Row:
    """Returns the row of `bulk`, by the clock: two workers relative to one."""
    gains: list[float] = []
    for _ in range(repeats):
        one, two = (bulk.measure(folder, workers, 10)[0] for workers in (1, 2))
        gains.append(two / one)
    return Row(f"`bulk` of {sounds} sounds, two workers", "one worker", middle(gains), "", ">= 1.8")


def growth(
    folder: Path, clips: list[str], lengths: list[int], counts: list[int]
) -> list[list[str]]:
    """Returns rows of the processor seconds of one run by the length and the number of sounds."""
    rows: list[list[str]] = []
    for length in lengths:
        sound = make_sound(folder / f"{length}s.mp3", length)
        works: dict[str, Callable[[], Run]] = {
            "ffmpeg": ffmpeg(sound),
            "caption": auricle("caption", "--window", "10", sound),
            "subtitle": auricle("subtitle", sound, "-o", str(folder / "growth.srt")),
        }
        rows.append([f"1 x {length} s", *(f"{work().processor:.2f}" for work in works.values())])
    for count in counts:
        decoded = sum(ffmpeg(file)().processor for file in clips[:count])
        captioned = auricle("caption", *clips[:count])().processor
        rows.append([f"{count} x 10 s", f"{decoded:.2f}", f"{captioned:.2f}", ""])
    return rows


def numbers(text: str) -> list[int]:
    """Reads numbers that commas separate."""
    return [int(number) for number in text.split(",") if number]


def main(
    minutes: Annotated[float, typer.Option(help="Of the long sound.")] = 60,
    sounds: Annotated[int, typer.Option(help="Sounds of 10 s in the folder.")] = 64,
    repeats: Annotated[int, typer.Option(min=1, help="Turns; starts get three times as many.")] = 3,
    lengths: Annotated[
        str, typer.Option("--growth", help="Seconds of sounds, for the growth of cost.")
    ] = "10,60,600,3600",
    counts: Annotated[
        str, typer.Option(help="Sounds of 10 s, for the growth; at most --sounds.")
    ] = "1,4,16,64",
    bulk_sounds: Annotated[int, typer.Option(help="0: leave out `bulk`.")] = 1_000,
    bulk_repeats: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Measures and prints the tables."""
    if shutil.which("ffmpeg") is None:
        sys.exit("ffmpeg is missing: it is the floor that everything is compared with")
    print(
        f"Commit {commit()}, {platform.machine()}, {os.cpu_count()} processors, load "
        f"{os.getloadavg()[0]:.1f}, Python {platform.python_version()}; a long sound of "
        f"{minutes:g} min, {repeats} turns. Medians, and ranges in parentheses."
    )
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        clips = make_sounds(folder, sounds)
        rows = goals(folder, clips, minutes, repeats)
        if bulk_sounds:
            examples = folder / "bulk"
            examples.mkdir()
            bulk.link_examples(examples, bulk_sounds)
            rows.append(bulk_row(examples, bulk_sounds, bulk_repeats))
        show("", ["work", "relative to", "now", "busy cores", "goal"], map(astuple, rows))
        grown = growth(folder, clips, numbers(lengths), numbers(counts))
        show(
            f"Processor seconds of one run, with the start; load {os.getloadavg()[0]:.1f}.",
            ["sounds", "ffmpeg", "`caption`", "`subtitle`"],
            grown,
        )


if __name__ == "__main__":
    typer.run(main)
