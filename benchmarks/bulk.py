"""Throughput of `auricle bulk` by workers, and its memory from the first sound to the last.

    python benchmarks/bulk.py
    python benchmarks/bulk.py --sounds 20000 --workers 2

The sounds are those of `examples/`, each so often; with `--folder`, those of a folder. Time counts
from when there are as many pieces as workers, so that Ray's start is left out. Machines differ:
quote what else ran.
"""

import itertools
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer

from auricle.bulk.job import caption_pieces, cluster
from auricle.bulk.output import Options, Output
from auricle.bulk.places import pieces, place, sounds

ROOT = Path(__file__).parents[1]
MEGABYTE = 1 << 20


def link_examples(folder: Path, count: int) -> None:
    """Fills a folder with links to the examples, each of them again and again."""
    examples = itertools.cycle(sorted((ROOT / "examples").glob("*.wav")))
    for number, path in enumerate(itertools.islice(examples, count)):
        (folder / f"{number:06}.wav").symlink_to(path)


def memory() -> tuple[float, float]:
    """MB of this process, and of the largest captioner."""
    here = psutil.Process()
    actors = [p for p in here.children(recursive=True) if p.name().startswith("ray::MapWorker")]
    return here.memory_info().rss / MEGABYTE, max(
        (p.memory_info().rss / MEGABYTE for p in actors), default=0.0
    )


def measure(folder: Path, workers: int, shard: int) -> tuple[float, list[tuple[int, float, float]]]:
    """The speed, in seconds of sound per second, and the memory at every tenth of the work.

    A row holds the sounds done, MB of this process, and MB of a captioner.
    """
    with tempfile.TemporaryDirectory() as out, cluster(None, workers):
        origin, output = place(str(folder)), Output(place(out), Options())
        found = sounds(origin)
        expected = pieces(found, shard, *output.begin()[:2])
        began, heard, done = 0.0, 0.0, 0
        held: list[tuple[int, float, float]] = []
        for number, report in enumerate(caption_pieces(expected, origin, output, workers), 1):
            done += report.sounds
            if number > workers:
                heard += report.seconds
            else:
                began = time.perf_counter()
            if number * 10 // len(expected) > len(held):
                held.append((done, *memory()))
        return heard / (time.perf_counter() - began), held


def main(
    count: Annotated[int, typer.Option("--sounds", min=100)] = 4000,
    workers: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
    shard: Annotated[int, typer.Option(min=1)] = 100,
    folder: Annotated[Path | None, typer.Option(help="Sounds to caption instead.")] = None,
) -> None:
    """Captions the same sounds with one worker and with several."""
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, load "
        f"{os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as made:
        if folder is None:
            link_examples(Path(made), count)
        one = 0.0
        for number in sorted({1, workers}):
            rate, held = measure(folder or Path(made), number, shard)
            one = one or rate
            share = rate / (one * number)
            print(
                f"{number} workers: {rate:.0f} h of sound an hour, {share:.2f} of {number} times "
                f"one worker's"
            )
            for done, here, there in held:
                print(
                    f"    {done:7} sounds: {here:5.0f} MB here, {there:5.0f} MB the largest "
                    f"captioner"
                )


if __name__ == "__main__":
    typer.run(main)
