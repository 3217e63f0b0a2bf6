"""Mutated media: thousands of broken, lying and absurd files, each of which must give a caption or
one line of error.

    sounds -> every container and codec -> a mutation drawn by (seed, number) -> a worker captions

A worker that dies, hangs, swells or says something else is a failure; the file is kept, and is made
again by its number.
"""

import multiprocessing
import os
import struct
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import av
import numpy as np

from auricle.sound.decode import load_audio
from sounds import write_media, write_tracks, write_wav

ROOT = Path(__file__).parents[2]
RATE = 44_100
SECONDS = 3.0  # of a source
SECONDS_A_FILE, SECONDS_AN_HOUR = 10.0, 15.0  # of processor time allowed
MOST_MEMORY = 500 << 20
HANGS = 300.0  # seconds of wall time after which a worker is taken for dead
# suffix -> codec, and the rate where it is the codec's own
ENCODERS = {
    ".flac": ("flac", RATE),
    ".mp3": ("libmp3lame", RATE),
    ".m4a": ("aac", RATE),
    ".ogg": ("libopus", 48_000),
    ".webm": ("libopus", 48_000),
    ".aiff": ("pcm_s16be", RATE),
    ".au": ("pcm_s16be", RATE),
    ".caf": ("pcm_s16le", RATE),
    ".ac3": ("ac3", RATE),
    ".wv": ("wavpack", RATE),
    ".tta": ("tta", RATE),
    ".mp2": ("mp2", RATE),
    ".mka": ("alac", RATE),
    ".mkv": ("aac", RATE),
    ".mp4": ("aac", RATE),
}


@dataclass(frozen=True)
class Media:
    """A file's bytes and ending."""

    content: bytes
    suffix: str
    piped: bool = False  # whether a named pipe gives the bytes, instead of a file


def sources(work: Path) -> list[Media]:
    """Real and made sounds in every container."""
    files = sorted((ROOT / "examples").glob("*.wav"))
    files += sorted((ROOT.parent / "shared/corpus/audio").glob("*/*.*"))[::200]
    made = []
    for number, file in enumerate(files):
        made.append(Media(file.read_bytes()[: 1 << 20], file.suffix))
        samples = load_audio(file, RATE, max_seconds=SECONDS)
        made.append(Media(write_wav(work / "a.wav", samples, RATE).read_bytes(), ".wav"))
        # Each sound in three of them, so that all come about often enough.
        for suffix in list(ENCODERS)[number % 5 :: 5]:
            codec, rate = ENCODERS[suffix]
            path = write_media(
                work / f"a{suffix}",
                samples[: int(SECONDS * rate)],
                rate,
                codec,
                video=suffix in (".mkv", ".mp4"),
            )
            made.append(Media(path.read_bytes(), suffix))
        for ending in (".mkv", ".ts"):  # films whose sound begins late
            tracks = [samples[: int(SECONDS * RATE)]]
            film = write_tracks(work / f"late{ending}", tracks, RATE, codec="aac", late=1.5)
            made.append(Media(film.read_bytes(), ending))
    return made


def long_sources(work: Path) -> list[Media]:
    """Small files that decode to an hour and more: near silence, which compresses to next to
    nothing."""
    made = []
    for suffix, codec, rate, hours in (
        (".flac", "flac", 8_000, 2.0),
        (".ogg", "libopus", 48_000, 1.0),
    ):
        path = work / f"long{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate, layout="mono")
            assert isinstance(stream, av.AudioStream)
            block = av.AudioFrame.from_ndarray(
                np.zeros((1, rate * 60), np.int16), format="s16", layout="mono"
            )
            block.sample_rate = rate
            for minute in range(round(hours * 60)):
                block.pts = minute * rate * 60
                container.mux(stream.encode(block))
            container.mux(stream.encode())
        made.append(Media(path.read_bytes(), suffix))
    return made


Mutation = Callable[[np.random.Generator, Media, Sequence[Media]], Media]


def flipped(rng: np.random.Generator, content: bytes, bits: int, start: int, end: int) -> bytes:
    """With some bits turned over in a stretch."""
    changed = bytearray(content)
    for place in (
        rng.integers(start, min(end, len(content)), bits).tolist() if len(content) > start else []
    ):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def few_bits(rng: np.random.Generator, media: Media, _: Sequence[Media]) -> Media:
    return Media(
        flipped(rng, media.content, int(rng.integers(1, 20)), 0, len(media.content)), media.suffix
    )


def many_bits(rng: np.random.Generator, media: Media, _: Sequence[Media]) -> Media:
    count = int(len(media.content) * rng.uniform(0.001, 0.02))
    return Media(flipped(rng, media.content, count, 0, len(media.content)), media.suffix)


def header_bits(rng: np.random.Generator, media: Media, _: Sequence[Media]) -> Media:
    return Media(flipped(rng, media.content, int(rng.integers(1, 30)), 0, 512), media.suffix)


def cut(rng: np.random.Generator, media: Media, _: Sequence[Media]) -> Media:
    """Its end, its beginning or its middle gone."""
    first, last = sorted(rng.integers(0, len(media.content) + 1, 2))
    parts = (
        media.content[:first],
        media.content[last:],
        media.content[:first] + media.content[last:],
    )
    return Media(parts[rng.integers(3)], media.suffix)


def beginning(rng: np.random.Generator, media: Media, _: Sequence[Media]) -> Media:
    """A header and next to nothing else."""
    return Media(media.content[: int(rng.integers(0, 300))], media.suffix)


def other_ending(rng: np.random.Generator, media: Media, others: Sequence[Media]) -> Media:
    endings = [
        ".wav",
        ".txt",
        ".mp4",
        ".m3u8",
        ".sdp",
        ".ts",
        "",
        *(other.suffix for other in others),
    ]
    return Media(media.content, endings[int(rng.integers(len(endings)))])


def chimera(rng: np.random.Generator, media: Media, others: Sequence[Media]) -> Media:
    """One file's beginning with another's end."""
    other = others[int(rng.integers(len(others)))].content
    return Media(
        media.content[: rng.integers(len(media.content))] + other[rng.integers(len(other)) :],
        media.suffix,
    )


def splice(rng: np.random.Generator, media: Media, _: Sequence[Media]) -> Media:
    """A stretch repeated, zeroed, or put in from nowhere."""
    first, last = sorted(rng.integers(0, len(media.content) + 1, 2))
    stretch = media.content[first:last]
    other = (stretch * 2, bytes(len(stretch)), rng.bytes(int(rng.integers(1, 10_000))))[
        rng.integers(3)
    ]
    return Media(media.content[:first] + other + media.content[last:], media.suffix)


def lying_numbers(rng: np.random.Generator, media: Media, _: Sequence[Media]) -> Media:
    """Lengths, rates and counts of the header, whichever bytes these are, put to their extremes."""
    changed = bytearray(media.content)
    for _turn in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, max(1, min(len(changed), 400) - 4)))
        value = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000)[rng.integers(8)]
        form = ("<I", ">I", "<H", ">H")[rng.integers(4)]
        if at + 4 <= len(changed):
            struct.pack_into(form, changed, at, value if form[1] == "I" else value & 0xFFFF)
    return Media(bytes(changed), media.suffix)


def absurd_wav(rng: np.random.Generator, _media: Media, _: Sequence[Media]) -> Media:
    """A wav of impossible rates, channels and sample sizes."""

    def draw(*values: int) -> int:
        return int(rng.choice(values))

    rate = draw(0, 1, 7, 999, 1_000, 8_000, 384_000, 768_000, 768_001, 2**31 - 1, 2**32 - 1)
    channels = draw(0, 1, 2, 3, 8, 64, 65, 255, 65_535)
    bits = draw(0, 1, 4, 8, 12, 16, 24, 32, 64, 65_535)
    kind = draw(0, 1, 2, 3, 6, 7, 0x11, 0x31, 0x50, 0x55, 0xFFFE, 0xFFFF)
    align, data = (
        draw(0, 1, 2, channels * bits // 8 & 0xFFFF),
        rng.bytes(int(rng.integers(0, 100_000))),
    )
    length = draw(0, len(data), len(data) * 2, 2**31 - 1, 2**32 - 1)
    head = struct.pack("<HHIIHH", kind, channels, rate, rate * align & 0xFFFFFFFF, align, bits)
    body = (
        b"WAVEfmt "
        + struct.pack("<I", len(head))
        + head
        + b"data"
        + struct.pack("<I", length)
        + data
    )
    return Media(b"RIFF" + struct.pack("<I", len(body)) + body, ".wav")


def noise(rng: np.random.Generator, media: Media, _: Sequence[Media]) -> Media:
    """A container's first bytes, and random ones."""
    return Media(
        media.content[: int(rng.integers(0, 16))] + rng.bytes(int(rng.integers(0, 50_000))),
        media.suffix,
    )


def chain(rng: np.random.Generator, media: Media, others: Sequence[Media]) -> Media:
    """Ogg files in a row, as a radio station gives them; the last one may be cut."""
    links = [other for other in others if other.content.startswith(b"OggS")] or [media]
    chosen = [links[int(number)].content for number in rng.integers(0, len(links), 3)]
    content = b"".join(chosen)
    return Media(content[: len(content) - int(rng.choice([0, 0, 50, 3_000]))], ".ogg")


def end_lost(rng: np.random.Generator, media: Media, _: Sequence[Media]) -> Media:
    """A download that broke off."""
    return Media(media.content[: int(len(media.content) * rng.uniform(0.1, 1))], media.suffix)


def wild_samples(rng: np.random.Generator, _media: Media, _: Sequence[Media]) -> Media:
    """A float WAV in which some samples are NaN, infinite or far beyond full scale."""
    samples = rng.normal(0, 0.1, RATE).astype("<f4")
    places = rng.integers(0, len(samples), int(rng.integers(1, 20)))
    samples[places] = rng.choice([np.nan, np.inf, -np.inf, 1e30, -1e12, 100.0])
    head = struct.pack("<HHIIHH", 3, 1, RATE, 4 * RATE, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head
    body += b"data" + struct.pack("<I", samples.nbytes) + samples.tobytes()
    return Media(b"RIFF" + struct.pack("<I", len(body)) + body, ".wav")


def web_page(rng: np.random.Generator, media: Media, _: Sequence[Media]) -> Media:
    """An error page that was saved as a sound."""
    page = b"<!DOCTYPE html><html><body>" + b"<p>not found</p>" * int(rng.integers(0, 9_000))
    return Media(page, media.suffix)


def apple_double(rng: np.random.Generator, media: Media, _: Sequence[Media]) -> Media:
    """The file that macOS puts next to a sound on a foreign disk."""
    head = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
    return Media(head + rng.bytes(int(rng.integers(0, 5_000))), media.suffix)


def named_pipe(rng: np.random.Generator, media: Media, others: Sequence[Media]) -> Media:
    """A whole or broken file that comes through a named pipe."""
    made = end_lost(rng, media, others) if rng.integers(2) else media
    return Media(made.content, made.suffix, piped=True)


MUTATIONS: tuple[Mutation, ...] = (
    few_bits, many_bits, header_bits, cut, beginning, other_ending, chimera, splice, lying_numbers,
    absurd_wav, noise, chain, end_lost, wild_samples, web_page, apple_double, named_pipe,
)  # fmt: skip
LONG_SHARE = 0.005


def mutant(
    seed: int, number: int, media: Sequence[Media], long: Sequence[Media]
) -> tuple[str, Media]:
    """The file of a number: the name of its mutation, and what it is."""
    rng = np.random.default_rng((seed, number))
    if long and rng.random() < LONG_SHARE:
        source = long[int(rng.integers(len(long)))]
        return "decodes to hours", source if rng.integers(2) else few_bits(rng, source, media)
    mutation = MUTATIONS[number % len(MUTATIONS)]
    return mutation.__name__.replace("_", " "), mutation(
        rng, media[int(rng.integers(len(media)))], media
    )


@dataclass(frozen=True)
class Outcome:
    """The outcome of a file."""

    said: str  # "caption", "refused", or the problem
    text: str = ""
    hours: float = 0.0  # of sound that decoded
    seconds: float = 0.0  # of processor time
    memory: int = 0  # bytes of the worker at most

    @property
    def failure(self) -> str:
        """What must not be, or nothing."""
        if self.said not in ("caption", "refused"):
            return self.said
        if self.said == "refused" and ("\n" in self.text or not self.text):
            return f"its error is not one line: {self.text!r}"
        if self.seconds > SECONDS_A_FILE + SECONDS_AN_HOUR * self.hours:
            return f"it took {self.seconds:.1f} s for {self.hours:.2f} h of sound"
        if self.memory > MOST_MEMORY:
            return f"it took {self.memory >> 20} MB"
        return ""


def work(pipe: Connection) -> None:
    """Captions one file after another, and says what each took."""
    from auricle.captioning.captioner import load
    from auricle.errors import AudioError

    captioner = load()
    captioner.caption(np.zeros(captioner.rate, np.float32))
    printed = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
    os.dup2(printed.fileno(), 2)
    while path := pipe.recv():
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the highest memory counts from here
        began, hours = time.process_time(), 0.0
        try:
            texts = []
            for caption in captioner.captions(path):
                hours = caption.end / 3600
                texts.append(caption.text)
            outcome = Outcome(
                "caption" if all(texts) and texts else "no caption",
                texts[0] if texts else "",
                hours,
            )
        except AudioError as error:
            outcome = Outcome("refused", str(error), hours)
        except Exception as error:
            outcome = Outcome(f"{type(error).__name__}: {error}")
        sys.stderr.flush()
        if printed.seek(0, os.SEEK_END):
            printed.seek(0)
            outcome = Outcome(f"it prints {printed.read(300).decode('utf-8', 'replace')!r}")
            printed.seek(0)
            printed.truncate()
        pipe.send((outcome, time.process_time() - began, highest_memory()))


def highest_memory() -> int:
    """Bytes that this process had at most; 0 where the system cannot tell."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) << 10
    return 0


class Worker:
    """A process that captions, started again whenever it dies."""

    def __init__(self) -> None:
        self._process: BaseProcess | None = None

    def run(self, path: Path) -> Outcome:
        if self._process is None or not self._process.is_alive():
            self._pipe, theirs = multiprocessing.get_context("spawn").Pipe()
            self._process = multiprocessing.get_context("spawn").Process(
                target=work, args=(theirs,), daemon=True
            )
            self._process.start()
            theirs.close()
        try:
            self._pipe.send(str(path))
            if not self._pipe.poll(HANGS):
                self.stop()
                return Outcome(f"it hangs: no answer within {HANGS:g} s")
            outcome, seconds, memory = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(10)
            return Outcome(f"the process died with {self._process.exitcode}")
        return Outcome(outcome.said, outcome.text, outcome.hours, seconds, memory)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()


def feed(pipe: Path, content: bytes) -> None:
    """Writes bytes into a named pipe; its reader may have enough before their end."""
    with suppress(BrokenPipeError), pipe.open("wb", buffering=0) as file:
        file.write(content)


@dataclass
class Tally:
    """What became of the files of one mutation."""

    said: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0  # seconds of processor time beyond what its hours allow for, at most
    memory: int = 0


def run_media(
    seed: int, files: int, work_folder: Path, jobs: int = 2, *, hours: bool = True
) -> Iterator[tuple[str, int, Outcome]]:
    """Makes and captions the files; yields the mutation, the number and the outcome of each.
    Failures stay in the folder.

    With `hours`, a few of them decode to hours.
    """
    work_folder.mkdir(parents=True, exist_ok=True)
    media, long = sources(work_folder), long_sources(work_folder) if hours else []
    workers = [Worker() for _ in range(jobs)]
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def one(number: int) -> tuple[str, int, Outcome]:
        name, made = mutant(seed, number, media, long)
        path = work_folder / f"{number:06d}{made.suffix}"
        worker = free.get()
        try:
            if made.piped:
                os.mkfifo(path)
                Thread(target=feed, args=(path, made.content), daemon=True).start()
            else:
                path.write_bytes(made.content)
            outcome = worker.run(path)
        finally:
            free.put(worker)
        if not outcome.failure:
            path.unlink()
        return name, number, outcome

    try:
        with ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(one, range(files))
    finally:
        for worker in workers:
            worker.stop()


def tallied(outcomes: Sequence[tuple[str, int, Outcome]]) -> dict[str, Tally]:
    """By mutation."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    for name, _, outcome in outcomes:
        tally = tallies[name]
        tally.said["failed" if outcome.failure else outcome.said] += 1
        tally.slowest = max(tally.slowest, outcome.seconds - SECONDS_AN_HOUR * outcome.hours)
        tally.memory = max(tally.memory, outcome.memory)
    return dict(sorted(tallies.items()))
