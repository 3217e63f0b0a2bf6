r"""The cost of live listening: latency, share of a processor, and memory over hours.

    export OMP_NUM_THREADS=1
    python benchmarks/listen.py latency data/heldout/sounds.csv \
        ../shared/reference/label_words.csv ../shared/corpus
    python benchmarks/listen.py memory --hours 6
    python benchmarks/listen.py streams --count 4 --minutes 5

`latency` plays sequences of known sounds, and takes the time from a true change to the first row
whose caption names the new label. At real-time pace that is by the clock, and takes as long as the
sound does; with `--fast` it is counted in samples, and what the row took to compute is added.
`memory` feeds hours as fast as they are heard. `streams` listens to several mp3 files in real time,
as `auricle listen --config` does, and divides the processor time by the seconds of all streams.
"""

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import av
import numpy as np
import typer
from av.audio.stream import AudioStream
from numpy.typing import NDArray
from rich.progress import track

from auricle import load
from auricle.alerts.watch import Watch, WatchedSound
from auricle.captioning.captioner import Captioner
from auricle.captioning.segmenter import Event
from auricle.live.listener import Heard, listen
from auricle.live.sources import PIECE_SECONDS, file_source, in_real_time
from auricle.live.streams import Stream, StreamGroup
from auricle.sound.decode import load_audio

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = Path(__file__).parents[1] / "scripts"
ALERTS = ("glass breaking", "gunshot or explosion", "a siren", "a baby crying")

app = typer.Typer(
    help="What live listening costs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Checkpoint = Annotated[Path | None, typer.Option(help="The embedded model if left out.")]


@dataclass(frozen=True)
class Arrived:
    """A row, and how many seconds after the sound began it came."""

    event: Event
    at: float


class Played:
    """Sound on its way to the listener, and when by the clock its pieces came.

    Args:
        samples: (samples,).
        rate: in Hz.
        fast: whether the clock is that of the samples, with what was computed since the last piece
            came, instead of the wall's.
    """

    def __init__(self, samples: NDArray[np.float32], rate: int, *, fast: bool) -> None:
        size = round(PIECE_SECONDS * rate)
        pieces = iter([samples[start : start + size] for start in range(0, len(samples), size)])
        self._fast, self._rate = fast, rate
        self._pieces = pieces if fast else in_real_time(pieces, rate)
        self._heard, self._came = 0, 0.0
        self._began = time.perf_counter()

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for piece in self._pieces:
            self._heard += len(piece)
            self._came = time.perf_counter()
            yield piece

    def now(self) -> float:
        """Seconds since the sound began."""
        clock = time.perf_counter()
        return self._heard / self._rate + clock - self._came if self._fast else clock - self._began


def rows_of(captioner: Captioner, samples: NDArray[np.float32], *, fast: bool) -> list[Arrived]:
    """The rows of a sound, and when each came; alerts are waited for, too, as they cost."""
    played = Played(samples, captioner.rate, fast=fast)
    watch = Watch(captioner, [WatchedSound(sentence) for sentence in ALERTS])
    return [
        Arrived(heard.row, played.now())
        for heard in listen(captioner, played, watch)
        if isinstance(heard.row, Event) and heard.row.state != "end"
    ]


@app.command()
def latency(
    manifest: Annotated[Path, typer.Argument(help="The sounds held out.")],
    label_words: Annotated[
        Path, typer.Argument(help="CSV of each label's words, any of which names it.")
    ],
    corpus: Annotated[Path, typer.Argument(help="The folder of the corpus, for ambiences.")],
    checkpoint: Checkpoint = None,
    split: Annotated[str, typer.Option(help="The split of the manifest.")] = "label_valid",
    count: Annotated[int, typer.Option(help="Sequences.")] = 60,
    fast: Annotated[bool, typer.Option("--fast", help="Not at real-time pace.")] = False,
) -> None:
    """The time from a true change to the first row with the new label, and the share of a core."""
    # The sequences, and what names a label, are those of the segmenter's figures.
    sys.path.append(str(SCRIPTS))
    named, read_label_words = (
        import_module("embedded_scores").named,
        import_module("embedded_scores").read_label_words,
    )
    captioner, expected = load(checkpoint), read_label_words(label_words)
    scenes = import_module("sequences").read_scenes(
        manifest, label_words, corpus, split=split, count=count, rate=captioner.rate
    )
    # Loads everything before the measurement.
    captioner.caption(scenes[0].samples[: captioner.rate])
    late: list[float] = []
    missed, seconds, computed, taken = 0, 0.0, 0.0, 0.0
    for scene in track(scenes, "Listening", transient=True):
        processor, clock = time.process_time(), time.perf_counter()
        rows = rows_of(captioner, scene.samples, fast=fast)
        computed, taken = (
            computed + time.process_time() - processor,
            taken + time.perf_counter() - clock,
        )
        seconds += len(scene.samples) / captioner.rate
        for stretch in scene.stretches[1:]:
            names = expected[stretch.item.label]
            came = [
                row.at
                for row in rows
                if stretch.start <= row.at <= stretch.end and named(row.event.caption, names)
            ]
            if came:
                late.append(came[0] - stretch.start)
            else:
                missed += 1
    # At real-time pace it takes as long as it sounds: had we been too slow, this would show it.
    if not fast and not 0.98 < taken / seconds < 1.1:
        raise typer.BadParameter(
            f"{seconds:.0f} s of sound took {taken:.0f} s: this is not real-time pace"
        )
    middle, most = np.percentile(late, [50, 95])
    typer.echo(f"pace                  {'as fast as it is heard' if fast else 'real time'}")
    typer.echo(
        f"sequences             {len(scenes)}, {seconds / 60:.1f} minutes, {len(late) + missed} "
        f"changes to a new label"
    )
    typer.echo(f"change to its name    median {middle:.2f} s, 95th percentile {most:.2f} s")
    typer.echo(f"never named           {missed} ({missed / (len(late) + missed):.0%})")
    typer.echo(
        f"processor             {computed / seconds:.1%} of a core, {len(ALERTS)} alerts among it"
    )


@app.command()
def memory(
    hours: Annotated[float, typer.Option(help="Of sound.")] = 6.0,
    checkpoint: Checkpoint = None,
) -> None:
    """Resident memory while hours are heard, and the share of a core."""
    captioner = load(checkpoint)
    rate = captioner.rate
    sounds = [load_audio(file, rate) for file in sorted(EXAMPLES.glob("*.wav"))]
    size, expected = round(PIECE_SECONDS * rate), round(hours * 3600 * rate)
    heard, told = 0, 0.0
    rows = 0

    def pieces() -> Iterator[NDArray[np.float32]]:
        nonlocal heard, told
        rng = np.random.default_rng(0)
        for sound in cycle(sounds):
            louder = sound * np.float32(rng.uniform(0.05, 1.0))
            for start in range(0, len(louder), size):
                yield louder[start : start + size]
                heard += len(louder[start : start + size])
                if heard >= told * rate:
                    typer.echo(f"{told / 3600:7.2f} h  {resident() / 1e6:7.1f} MB  {rows} rows")
                    told += max(60.0, hours * 3600 / 24)
                if heard >= expected:
                    return

    def count(found: Iterator[Heard]) -> None:
        nonlocal rows
        for _ in found:
            rows += 1

    processor, clock = time.process_time(), time.perf_counter()
    count(
        listen(
            captioner, pieces(), Watch(captioner, [WatchedSound(sentence) for sentence in ALERTS])
        )
    )
    computed, taken = time.process_time() - processor, time.perf_counter() - clock
    typer.echo(
        f"{heard / rate / taken:.0f} times faster than real time, {computed * rate / heard:.1%} "
        f"of a core at its pace"
    )


@app.command()
def streams(
    count: Annotated[int, typer.Option(min=1, help="Streams at once.")] = 4,
    minutes: Annotated[float, typer.Option(help="Of each stream.")] = 5.0,
    alerts: Annotated[int, typer.Option(max=len(ALERTS), help="Of each stream.")] = len(ALERTS),
    checkpoint: Checkpoint = None,
) -> None:
    """Processor time per second of each of several streams, decoding and alerts included."""
    captioner = load(checkpoint)
    rate, expected = captioner.rate, round(minutes * 60 * captioner.rate)
    sounds = [load_audio(file, rate) for file in sorted(EXAMPLES.glob("*.wav"))]
    sentences = [WatchedSound(sentence) for sentence in ALERTS[:alerts]]
    captioner.caption(sounds[0][:rate])  # loads everything before the measurement
    with TemporaryDirectory() as folder:
        group = []
        for number in range(count):
            order = sounds[number % len(sounds) :] + sounds[: number % len(sounds)]
            samples = np.resize(np.concatenate(order), expected)
            file = write_mp3(Path(folder) / f"{number}.mp3", samples, rate)
            watch = Watch(captioner, sentences) if sentences else None
            group.append(Stream(f"stream {number}", file_source(str(file), rate), watch))
        listening = StreamGroup(captioner, group, typer.echo, lambda *_: None)
        processor, clock = time.process_time(), time.perf_counter()
        rows = len(list(listening.rows(threading.Event())))
        computed, taken = time.process_time() - processor, time.perf_counter() - clock
    typer.echo(
        f"{count} streams of {minutes:g} minutes, {alerts} alerts each: {rows} rows, "
        f"{len(listening.failed)} failed, {taken / 60:.1f} minutes by the clock, "
        f"{computed / (count * minutes * 60):.1%} of a core per stream"
    )


def write_mp3(path: Path, samples: NDArray[np.float32], rate: int) -> Path:
    """Writes a sound as mp3 of 128 kbit/s, as a radio sends it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp3", rate=rate, layout="mono")
        assert isinstance(stream, AudioStream)
        stream.bit_rate = 128_000
        for start in range(0, len(samples), rate):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + rate], "fltp", "mono")
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def resident() -> int:
    """Bytes of this process that are in memory; Linux tells."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


if __name__ == "__main__":
    app()
