"""The cost of captioning: stages, throughput, memory, and other architectures for comparison.

    # the tables of docs/speed.md, about 20 minutes
    python benchmarks/inference.py --figure docs/speed.png > speed.txt
    python benchmarks/inference.py --clips 4 --longest 60 --repeats 1 --no-peers
    # only the memory of hours from a pipe
    python benchmarks/inference.py --hours 10

Sounds are the examples, repeated, as 44.1-kHz stereo mp3. The peer of the embedded model is one of
the paper's size with random weights (CNN10, 4 layers of 128; extra `train`), which says ten words
of every sound. Stages and peers are processor time of one thread, the least of several interleaved
runs, since other work on the machine can only add to it; throughput is by the clock. Machines
differ: quote ratios.
"""

import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import IO, Annotated
from unittest import mock

import av
import numpy as np
import onnx
import onnxruntime
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode

from auricle.captioning.captioner import Captioner, load
from auricle.captioning.onnx_backend import EncodedSound, Memory
from auricle.checkpoint.config import CHECKPOINT_FORMAT, BeamOptions, CheckpointConfig
from auricle.checkpoint.folder import Checkpoint, save_checkpoint
from auricle.checkpoint.vocabulary import Vocabulary
from auricle.models.captioning import CaptioningModel
from auricle.sound.container import declared_seconds
from auricle.sound.decode import load_audio, stream_audio
from auricle.sound.features import log_mel, mel_filters
from auricle.training.config import load_recipe
from auricle.training.export import export_onnx
from auricle.training.train import build_captioner
from auricle.training.weights import halve, save_weights

EXAMPLES = Path(__file__).parents[1] / "examples"
RATE = 44100
SECONDS = 10.0
CLOTHO_WORDS = 4_369
PEERS = ("whisper-tiny", "whisper-base", "whisper-small", "convnext-tiny", "htsat")
# Run in the process that is measured, so that what it imported can be seen.
COLD = """
import sys
from auricle.cli.main import main
sys.argv = ["auricle", "caption", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert "torch" not in sys.modules, "torch was imported"
with open("/proc/self/status") as status:
    print([line.split()[1] for line in status if line.startswith("VmHWM")][0], file=sys.stderr)
"""


@dataclass(frozen=True)
class Cost:
    """Of one caption."""

    name: str
    sound: float  # seconds
    stages: dict[str, float]  # seconds of each
    whole: float  # seconds from file to caption
    operations: float  # a multiplication and an addition are two
    parameters: int
    megabytes: float  # of the process

    def limit(self, rate: float) -> float:
        """Seconds that the operations would take at the rate of a product of matrices."""
        return self.operations / rate


def write_mp3(path: Path, pieces: Iterable[np.ndarray]) -> None:
    """Pieces of (2, samples) float32 at 44.1 kHz -> mp3."""
    with av.open(path, "w") as container:
        stream = container.add_stream("mp3", rate=RATE, layout="stereo")
        for piece in pieces:
            frame = av.AudioFrame.from_ndarray(piece, "fltp", "stereo")
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@cache
def examples() -> np.ndarray:
    """Returns the samples of all examples, one after the other, at 44.1 kHz: (samples,)."""
    return np.concatenate([load_audio(file, RATE) for file in sorted(EXAMPLES.glob("*.wav"))])


def make_sound(path: Path, seconds: float, beginning: int = 0) -> str:
    """Writes a stereo mp3 of the repeated examples, from the second `beginning` on; its path."""
    everything = np.roll(examples(), -beginning * RATE)

    def pieces() -> Iterable[np.ndarray]:
        left = round(seconds * RATE)
        while left > 0:
            piece = everything[:left]
            yield np.stack([piece, 0.8 * piece])
            left -= len(piece)

    write_mp3(path, pieces())
    return str(path)


def make_sounds(folder: Path, count: int) -> list[str]:
    """Writes `count` files of 10 s, each another stretch of the examples."""
    return [make_sound(folder / f"{number:03d}.mp3", SECONDS, number) for number in range(count)]


def make_cnn10(folder: Path) -> Captioner:
    """A checkpoint of the paper's sizes at random weights, which says ten words of every sound."""
    recipe = load_recipe(Path("paper"))
    vocabulary = Vocabulary(f"word{number}" for number in range(CLOTHO_WORDS))
    config = CheckpointConfig(
        format=CHECKPOINT_FORMAT,
        front_end=recipe.data.front_end,
        encoder=recipe.encoder,
        decoder=recipe.decoder,
        decoding=BeamOptions(
            beam=recipe.decoding.beam, min_length=10, max_length=10, no_repeat_words=False
        ),
        licence="none: random numbers",
    )
    save_checkpoint(Checkpoint(folder, config, vocabulary))
    torch.manual_seed(0)
    save_weights(
        folder / "model.safetensors", halve(build_captioner(recipe, len(vocabulary)).state_dict())
    )
    export_onnx(folder)
    return load(folder)


def installed_environment() -> dict[str, str]:
    """Returns an environment as pip leaves it: with bytecode, which development may forbid."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "auricle-bytecode")}


def child(
    arguments: list[str], write: Callable[[IO[bytes]], None] | None = None
) -> tuple[float, float]:
    """The seconds and peak megabytes of a process that captions; or an error with its output."""
    began = time.perf_counter()
    command = [sys.executable, "-c", COLD, *arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=installed_environment(),
    )
    assert process.stdin is not None
    assert process.stderr is not None
    with process.stdin as pipe:
        if write is not None:
            write(pipe)
    told = process.stderr.read().decode()
    if process.wait():
        sys.exit(f"the measured process failed: {told}")
    # what wait4 tells has this process's in it
    return time.perf_counter() - began, int(told.split()[-1]) / 1024


def write_hours(pipe: IO[bytes], hours: float) -> None:
    """A wav of unknown length: the examples, over and over."""
    samples = (examples() * 32767).astype("<i2").tobytes()
    endless = 0xFFFFFFFF
    pipe.write(
        b"RIFF"
        + struct.pack("<I", endless)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    )
    pipe.write(b"data" + struct.pack("<I", endless))
    for _ in range(round(hours * 3600 * RATE * 2 / len(samples))):
        pipe.write(samples)


def interleaved(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The least processor seconds of each call on this thread; a first call does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            began = time.thread_time()
            work()
            times[name].append(time.thread_time() - began)
    return {name: min(each[1:]) for name, each in times.items()}


def matrix_rate(repeats: int) -> float:
    """Operations per second of products of 1024 x 1024 matrices in ONNX Runtime on one thread."""
    size = 1024
    value = partial(
        onnx.helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT, shape=[size, size]
    )
    node = onnx.helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = onnx.helper.make_graph([node], "product", [value("a"), value("b")], [value("c")])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    matrix = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    inputs = {"a": matrix, "b": matrix}
    return 2 * size**3 / interleaved({"": lambda: session.run(None, inputs)}, 4 * repeats)[""]


def count_steps(captioner: Captioner, heard: EncodedSound, seconds: float) -> list[int]:
    """How many hypotheses each step of the decoder goes on with, for one caption."""
    rows: list[int] = []
    function = captioner.model.next_log_probs

    def counting(memory: Memory) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        step = function(memory)

        def counted(tokens: np.ndarray, parents: np.ndarray) -> np.ndarray:
            rows.append(len(tokens))
            return step(tokens, parents)

        return counted

    with mock.patch.object(captioner.model, "next_log_probs", counting):
        captioner.describe(heard, seconds)
    return rows


def count_operations(
    captioner: Captioner, spectrogram: np.ndarray, rows: list[int]
) -> tuple[float, int]:
    """Of the spectrogram, the encoder and the decoder, for one caption; and parameters."""
    config, hears = captioner.checkpoint.config, captioner.front_end
    transform = 2.5 * hears.fft * np.log2(hears.fft)  # of real numbers
    operations = len(spectrogram) * (transform + 2 * np.count_nonzero(mel_filters(hears)))
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model = CaptioningModel(
            config.encoder, config.decoder, len(captioner.checkpoint.vocabulary), config.space
        ).eval()
        features, mask, tags = model.hear(
            torch.zeros(1, *spectrogram.shape), torch.tensor([len(spectrogram)])
        )
        beginning = state = model.decoder.begin(model.remember(features, mask, tags)[0])
        for row in rows:
            if row == 1:  # a search begins
                state = beginning
            tokens, parents = (
                torch.zeros(row, dtype=torch.int64),
                torch.zeros(row, dtype=torch.int64),
            )
            _, state, _ = model.decoder.step(tokens, parents, state)
    return operations + counter.get_total_flops(), sum(
        parameter.numel() for parameter in model.parameters()
    )


def cost(name: str, captioner: Captioner, file: str, seconds: float, repeats: int) -> Cost:
    """Where the time of one caption goes, on one thread."""
    samples = captioner.samples(file)
    spectrogram = captioner.spectrogram(samples)
    heard = captioner.hear(samples)
    times = interleaved(
        {
            "open": lambda: declared_seconds(file),
            "decode": lambda: list(stream_audio(file, RATE)),
            "resample": lambda: list(stream_audio(file, captioner.rate)),
            "log-mel": lambda: log_mel(samples, captioner.front_end),
            "encode": lambda: captioner.model.hear(spectrogram),
            "search": lambda: captioner.describe(heard, seconds),
            "whole": lambda: captioner.caption(file),
        },
        repeats,
    )
    times["resample"] = max(0.0, times["resample"] - times["decode"])
    times["decode"] -= times["open"]
    whole = times.pop("whole")
    operations, parameters = count_operations(
        captioner, spectrogram, count_steps(captioner, heard, seconds)
    )
    _, megabytes = child([file, "--checkpoint", str(captioner.checkpoint.folder)])
    return Cost(name, seconds, times, whole, operations, parameters, megabytes)


def peer(name: str, seconds: float) -> Cost | None:
    """What a caption of another architecture costs, in a process of its own."""
    arguments = [sys.executable, str(Path(__file__).with_name("peers.py")), name, str(seconds)]
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        print(
            f"{name}: not measured: {(done.stderr.strip() or 'it failed').splitlines()[-1]}",
            file=sys.stderr,
        )
        return None
    found = json.loads(done.stdout)
    return Cost(
        name,
        seconds,
        {},
        found["seconds"],
        found["operations"],
        found["parameters"],
        found["megabytes"],
    )


def times_real(
    captioner: Captioner, files: list[str], seconds: float, most: int, repeats: int
) -> dict[int, float]:
    """The median seconds of sound captioned per second, one file at a time and `jobs` at a time."""
    pairs, times = [(file, file) for file in files], {1: [], most: []}
    for _ in range(repeats + 1):
        for jobs, each in times.items():
            began = time.perf_counter()
            failed = [row.error for row in captioner.caption_files(pairs, jobs=jobs) if row.error]
            each.append(time.perf_counter() - began)
            assert not failed, failed
    return {
        jobs: seconds * len(files) / statistics.median(each[1:]) for jobs, each in times.items()
    }


def show(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Prints a table as Markdown."""
    print(f"\n{title}\n")
    columns = list(columns)
    for row in (columns, ["---"] * len(columns), *rows):
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def draw(
    path: Path, costs: list[Cost], rate: float, speeds: dict[str, dict[str, dict[int, float]]]
) -> None:
    """Where the time goes; time against arithmetic; throughput by the number of clips."""
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    ours = [each for each in costs if each.stages]
    bottom = np.zeros(len(ours))
    for stage in ours[0].stages:
        shares = np.array([each.stages[stage] / sum(each.stages.values()) for each in ours])
        left.barh(
            [f"{each.name}, {each.sound:g} s" for each in ours], shares, left=bottom, label=stage
        )
        bottom += shares
    left.set(xlabel="share of a caption's time", xlim=(0, 1))
    left.invert_yaxis()
    left.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.2), frameon=False)

    for each in (each for each in costs if each.sound == SECONDS):
        middle.plot(
            each.operations / 1e9,
            each.whole,
            "o" if each.stages else "s",
            color="C0" if each.stages else "C1",
        )
        middle.annotate(
            each.name,
            (each.operations / 1e9, each.whole),
            xytext=(5, 5),
            textcoords="offset points",
        )
    operations = np.array([min(c.operations for c in costs), max(c.operations for c in costs)])
    middle.plot(operations / 1e9, operations / rate, "k:", label="products of matrices alone")
    middle.set(
        xscale="log", yscale="log", xlabel="GFLOP", ylabel="seconds for 10 s of sound, one thread"
    )
    middle.legend(loc="lower right")

    for name, by_sounds in speeds.items():
        for jobs in next(iter(by_sounds.values())):
            right.plot(
                [*by_sounds],
                [each[jobs] for each in by_sounds.values()],
                "o-",
                label=f"{name}, {jobs} at a time",
            )
    right.set(yscale="log", ylabel="times real time, stereo mp3", ylim=(1, None))
    right.tick_params("x", rotation=60)
    right.legend()
    figure.savefig(path, dpi=110)


def main(
    checkpoint: Annotated[
        Path | None, typer.Option(help="Measured in place of the embedded model and CNN10.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="The most clips of 10 s.")] = 64,
    longest: Annotated[float, typer.Option(min=10, help="Seconds of the longest file.")] = 3600,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    jobs: Annotated[int, typer.Option(min=2, help="Files at a time.")] = 2,
    peers: Annotated[bool, typer.Option(help="Measure other architectures too.")] = True,
    figure: Annotated[Path | None, typer.Option(help="A picture to draw.")] = None,
    hours: Annotated[
        float, typer.Option(help="Only caption this number of hours from a pipe.")
    ] = 0,
) -> None:
    """Measures and prints tables."""
    print(
        f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, onnxruntime {onnxruntime.__version__}, "
        f"av {av.__version__}"
    )
    if hours:
        seconds, memory = child(["-"], write=lambda pipe: write_hours(pipe, hours))
        print(
            f"{hours:g} h from a pipe: {hours * 3600 / seconds:.0f} x real time on one thread, at "
            f"most {memory:.0f} MB"
        )
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if checkpoint is None:
            captioners = {"embedded": load(), "CNN10": make_cnn10(folder / "cnn10")}
        else:
            captioners = {checkpoint.name: load(checkpoint)}
        files = make_sounds(folder, clips)
        sounds = {SECONDS: files[0], 30.0: make_sound(folder / "long.mp3", 30.0)}

        starts = [child([files[0]]) for _ in range(repeats + 1)][1:]
        times, memory = [s for s, _ in starts], [m for _, m in starts]
        print(
            f"\nA cold `auricle caption` of {SECONDS:g} s of mp3, whole process: median "
            f"{statistics.median(times):.2f} s "
            f"(least {min(times):.2f}), at most {max(memory):.0f} MB, no torch."
        )

        rate = matrix_rate(repeats)
        costs = [
            cost(name, captioner, file, seconds, 4 * repeats)
            for name, captioner in captioners.items()
            for seconds, file in sounds.items()
        ]
        show(
            "Milliseconds of one thread, and shares.",
            ["model", "sound", *costs[0].stages, "whole", "whole / encode"],
            [
                [
                    c.name,
                    f"{c.sound:g} s",
                    *(
                        f"{1000 * t:.1f} ({t / sum(c.stages.values()):.0%})"
                        for t in c.stages.values()
                    ),
                    f"{1000 * c.whole:.1f}",
                    f"{c.whole / c.stages['encode']:.2f}",
                ]
                for c in costs
            ],
        )
        if peers:
            costs += [
                found for name in PEERS for seconds in sounds if (found := peer(name, seconds))
            ]
        first = {c.sound: c.whole for c in reversed(costs) if c.name == next(iter(captioners))}
        show(
            f"Products of matrices run at {rate / 1e9:.0f} GFLOP/s on one thread: the limit. "
            f"Peers are given the spectrogram.",
            [
                "architecture",
                "sound",
                "parameters",
                "GFLOP",
                "at the limit",
                "takes",
                "of the limit",
                "to ours",
                "memory",
            ],
            [
                [
                    c.name,
                    f"{c.sound:g} s",
                    f"{c.parameters / 1e6:.1f} M",
                    f"{c.operations / 1e9:.2f}",
                    f"{1000 * c.limit(rate):.0f} ms",
                    f"{1000 * c.whole:.0f} ms",
                    f"{c.limit(rate) / c.whole:.0%}",
                    f"{c.whole / first[c.sound]:.1f}",
                    f"{c.megabytes:.0f} MB",
                ]
                for c in costs
            ],
        )

        speeds: dict[str, dict[str, dict[int, float]]] = {name: {} for name in captioners}
        lengths = [length for length in (10, 60, 600, 3600) if length <= longest]
        long = {length: make_sound(folder / f"{length}s.mp3", length) for length in lengths}
        for name, captioner in captioners.items():
            for count in (count for count in (1, 4, 16, 64) if count <= clips):
                speeds[name][f"{count} x 10 s"] = times_real(
                    captioner, files[:count], SECONDS, jobs, repeats
                )
            for length, file in long.items():
                speeds[name][f"1 x {length} s"] = times_real(
                    captioner, [file], length, jobs, max(1, repeats // 3)
                )
        show(
            f"Times real time from stereo mp3, by the clock: one at a time, {jobs} at a time.",
            ["sounds", *speeds],
            [
                [
                    sounds,
                    *(
                        ", ".join(f"{speed:.0f}" for speed in by_sounds[sounds].values())
                        for by_sounds in speeds.values()
                    ),
                ]
                for sounds in next(iter(speeds.values()))
            ],
        )
        if figure is not None:
            draw(figure, costs, rate, speeds)


if __name__ == "__main__":
    typer.run(main)
