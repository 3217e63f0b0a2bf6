"""Latency and throughput of the server with many clients, next to `auricle caption`.

    OMP_NUM_THREADS=1 python benchmarks/serve.py
    OMP_NUM_THREADS=1 python benchmarks/serve.py --seconds 5 --clients 10

Sounds are those of benchmarks/inference.py: 10 s of 44.1-kHz stereo mp3. Each client keeps a
connection and sends the next sound as soon as the last is answered. Every answer is compared with
the command line's. The clients run on the same processors, which costs the server some of its
throughput. Machines differ: quote ratios, and what else ran.
"""

import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from inference import SECONDS, make_sounds

Sound = tuple[bytes, list[dict[str, object]]]  # a body, and what the command line says of it
PATIENCE = 300.0  # seconds for one answer; one that takes longer hangs


@dataclass
class Outcome:
    """What came of the requests."""

    seconds: list[float] = field(default_factory=list)  # of each that was answered with captions
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0  # answers that are not the command line's


def memory(server: int) -> float:
    """Megabytes that a process and its children hold, as each page is shared."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if int(folder.name) == server or parent == server:
                memory = (folder / "smaps_rollup").read_text()
                total += int(
                    re.search(r"^Pss: *(\d+)", memory, re.MULTILINE)[1]  # type: ignore[index]
                )  # type: ignore[index]
        except (OSError, TypeError):
            continue
    return total / 1024


def by_command(files: list[str], jobs: int) -> tuple[dict[str, list[dict[str, object]]], float]:
    """The captions of each file by the command line, and its sounds per second after the start."""

    def run(some: list[str]) -> tuple[float, str]:
        began = time.perf_counter()
        arguments = [
            sys.executable,
            "-m",
            "auricle",
            "caption",
            *some,
            "--format",
            "jsonl",
            "--jobs",
            str(jobs),
        ]
        out = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
        return time.perf_counter() - began, out

    start, _ = run(files[:1])
    took, out = run(files)
    captions: dict[str, list[dict[str, object]]] = {}
    for row in map(json.loads, out.splitlines()):
        captions.setdefault(row.pop("file"), []).append(row)
    return captions, (len(files) - 1) / (took - start)


async def client(
    port: int, number: int, sounds: list[Sound], until: float, outcome: Outcome
) -> None:
    """Asks until the time is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    turn = number
    while time.perf_counter() < until:
        body, expected = sounds[turn % len(sounds)]
        turn += 1
        began = time.perf_counter()
        writer.write(
            b"POST /v1/captions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
            % len(body)
            + body
        )
        async with asyncio.timeout(PATIENCE):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            answer = await reader.readexactly(int(re.search(r"content-length: (\d+)", head)[1]))  # type: ignore[index]
        status = int(head.split()[1])
        outcome.statuses[status] += 1
        if status == 200:
            outcome.seconds.append(time.perf_counter() - began)
            found = json.loads(answer)["captions"]
            outcome.wrong += [{key: row[key] for key in expected[0]} for row in found] != expected
        else:
            again = re.search(r"retry-after: (\d+)", head)
            if "connection: close" in head:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(min(int(again[1]) if again else 1, 5))
    writer.close()


async def ask(
    port: int, clients: int, sounds: list[Sound], seconds: float
) -> tuple[Outcome, float]:
    """Runs clients at once; returns their outcome, and the seconds until the last answer."""
    outcome, began = Outcome(), time.perf_counter()
    await asyncio.gather(
        *(client(port, number, sounds, began + seconds, outcome) for number in range(clients))
    )
    return outcome, time.perf_counter() - began


def main(
    clients: Annotated[int, typer.Option(help="At once.")] = 50,
    seconds: Annotated[float, typer.Option(help="For how long they ask.")] = 60,
    sounds: Annotated[int, typer.Option(help="How many different ones.")] = 60,
    jobs: Annotated[
        int, typer.Option(help="Workers, and files at a time of the command line.")
    ] = os.cpu_count() or 1,
    queue: Annotated[int, typer.Option(help="Requests that may wait.")] = 64,
) -> None:
    """Measures and prints a table."""
    print(
        f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}; {clients} clients, {seconds:g} s, {jobs} workers, "
        f"queue {queue}"
    )
    with tempfile.TemporaryDirectory() as folder:
        files = make_sounds(Path(folder), sounds)
        captions, rate = by_command(files, jobs)
        bodies = [(Path(file).read_bytes(), captions[file]) for file in files]
        arguments = [
            sys.executable,
            "-m",
            "auricle",
            "serve",
            "--port",
            "0",
            "--jobs",
            str(jobs),
            "--queue",
            str(queue),
        ]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                port = int(re.search(r":(\d+)/", server.stdout.readline())[1])  # type: ignore[index]
                asyncio.run(ask(port, jobs, bodies, min(5, seconds)))
                before = memory(server.pid)
                halves = [asyncio.run(ask(port, clients, bodies, seconds / 2)) for _ in range(2)]
                after = memory(server.pid)
            finally:
                server.terminate()
    times = sorted(second for outcome, _ in halves for second in outcome.seconds)
    served = len(times) / sum(took for _, took in halves)
    statuses = sum((outcome.statuses for outcome, _ in halves), Counter[int]())
    print(
        f"answers            "
        f"{', '.join(f'{count} x {status}' for status, count in sorted(statuses.items()))}"
    )
    print(f"not the command's  {sum(outcome.wrong for outcome, _ in halves)}")
    print(
        f"latency            median {statistics.median(times):.2f} s, 95 % "
        f"{times[int(0.95 * len(times))]:.2f} s, "
        f"99 % {times[int(0.99 * len(times))]:.2f} s, longest {times[-1]:.2f} s"
    )
    print(
        f"throughput         {served:.1f} sounds of {SECONDS} s a second; auricle caption "
        f"{rate:.1f}; ratio {served / rate:.2f}"
    )
    print(
        f"memory             {before:.0f} MB before, {after:.0f} MB after (server and workers, "
        f"proportional)"
    )


if __name__ == "__main__":
    typer.run(main)
