"""What captioning costs: a cold start, throughput once warm, and the memory of hours.

    OMP_NUM_THREADS=2 python benchmarks/inference.py
    OMP_NUM_THREADS=2 python benchmarks/inference.py --hours 10

Sounds are the examples, repeated to 10 s, as 44.1-kHz stereo mp3. Machines differ: quote ratios, and what else ran.
"""

import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Annotated

import av
import numpy as np
import onnxruntime
import typer

import auricle
from auricle.audio import load_audio, stream_audio
from auricle.features import log_mel

EXAMPLES = Path(__file__).parents[1] / "examples"
RATE = 44100
SECONDS = 10
# Run in the process that is measured, so that what it imported can be seen.
COLD = """
import sys
from auricle.cli import main
sys.argv = ["auricle", "caption", sys.argv[1]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert "torch" not in sys.modules, "torch was imported"
"""


def write_mp3(path: Path, samples: np.ndarray) -> None:
    """(2, samples) float32 at 44.1 kHz -> mp3."""
    with av.open(path, "w") as container:
        stream = container.add_stream("mp3", rate=RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def make_sounds(folder: Path, count: int) -> list[str]:
    """So many files, each another stretch of the examples."""
    everything = np.concatenate([load_audio(file, RATE) for file in sorted(EXAMPLES.glob("*.wav"))])
    files = []
    for number in range(count):
        samples = np.resize(np.roll(everything, -number * RATE), SECONDS * RATE)
        files.append(folder / f"{number:03d}.mp3")
        write_mp3(files[-1], np.stack([samples, 0.8 * samples]))
    return [str(file) for file in files]


def child(argument: str, write: Callable[[IO[bytes]], None] | None = None) -> tuple[float, float]:
    """Seconds and peak megabytes of a process that captions one file, or what is written to its standard input."""
    began = time.perf_counter()
    arguments = [sys.executable, "-c", COLD, argument]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    with process.stdin as pipe:
        if write is not None:
            write(pipe)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status  # waited for here, to learn its memory
    if status:
        sys.exit("the measured process failed")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def write_hours(pipe: IO[bytes], hours: float) -> None:
    """A wav of unknown length: the examples, over and over."""
    everything = np.concatenate([load_audio(file, RATE) for file in sorted(EXAMPLES.glob("*.wav"))])
    samples = (everything * 32767).astype("<i2").tobytes()
    endless = 0xFFFFFFFF
    pipe.write(
        b"RIFF" + struct.pack("<I", endless) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    )
    pipe.write(b"data" + struct.pack("<I", endless))
    for _ in range(round(hours * 3600 * RATE * 2 / len(samples))):
        pipe.write(samples)


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main(
    checkpoint: Annotated[Path | None, typer.Option(help="The embedded model if left out.")] = None,
    sounds: int = 60,
    repeats: int = 5,
    jobs: int = 2,
    beam: int = 4,
    hours: Annotated[float, typer.Option(help="Only caption so many hours of sound from a pipe.")] = 0,
) -> None:
    """Measures and prints a table."""
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, "
          f"Python {platform.python_version()}, onnxruntime {onnxruntime.__version__}, av {av.__version__}")  # fmt: skip
    if hours:
        seconds, memory = child("-", lambda pipe: write_hours(pipe, hours))
        print(
            f"{hours:g} h from a pipe: {hours * 3600 / seconds:.0f} x real time on one thread, at most {memory:.0f} MB"
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        files = make_sounds(Path(folder), sounds)
        if checkpoint is None:
            starts = [child(files[0]) for _ in range(repeats + 1)][1:]
            times, memory = [s for s, _ in starts], [m for _, m in starts]
            print(f"cold caption of {SECONDS} s of mp3, whole process: median {statistics.median(times):.2f} s "
                  f"(least {min(times):.2f}), at most {max(memory):.0f} MB, no torch")  # fmt: skip
        captioner = auricle.load(checkpoint)
        captioner.options = replace(captioner.options, beam=beam)
        rate = captioner.rate
        samples = load_audio(files[0], rate)
        spectrogram = log_mel(samples, captioner.front_end)
        stages = {
            "decode and resample": lambda: list(stream_audio(files[0], rate)),
            "log-mel": lambda: log_mel(samples, captioner.front_end),
            "encode": lambda: captioner.model.hear(spectrogram),
            f"decoded samples, beam {beam}": lambda: captioner.caption(samples),
            f"stereo mp3, beam {beam}": lambda: captioner.caption(files[0]),
        }
        for name, function in stages.items():
            print(f"one thread, {name:24} {1000 * median_seconds(function, repeats * 4):7.1f} ms median")
        pairs, decoded = [(file, file) for file in files], [load_audio(file, rate) for file in files]
        for some in (1, jobs):
            with ThreadPoolExecutor(some) as pool:
                works = {
                    "decoded samples": lambda pool=pool: list(pool.map(captioner.caption, decoded)),
                    "stereo mp3": lambda some=some: list(captioner.caption_files(pairs, jobs=some)),
                }
                for name, function in works.items():
                    seconds = median_seconds(function, repeats)
                    print(f"{sounds} sounds, {some} at a time, {name:16} {SECONDS * sounds / seconds:5.0f} x real time")


if __name__ == "__main__":
    typer.run(main)
