"""What a worker process does: it decodes and captions one request after another, and dies of none
that it can refuse.

Requests and answers are JSON with their length in front, so that nothing that a hijacked decoder
says is unpickled by the server.
"""

import base64
import io
import itertools
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from auricle.captioning.captioner import Captioner, load
from auricle.captioning.results import Caption, Row
from auricle.captioning.segmenter import Event, Segmenter
from auricle.checkpoint.vocabulary import words
from auricle.errors import AudioError, AuricleError
from auricle.output.writers import event_fields, row_fields, write_rows
from auricle.sound.decode import stream_audio
from auricle.sound.features import from_log, log_mel
from auricle.sound.silence import silence
from auricle.subtitles.cues import Cue, cues
from auricle.subtitles.files import write_cues

Request = dict[str, Any]
PROGRESS = 0.2  # seconds between two reports
# seconds of sound that are kept to explain captions by; no caption comes later than that
HELD = 60.0
ALTERNATIVES = 64  # of a caption, at most
MARGIN = 8  # frames around what is drawn that are heard with it
BANDS = 64  # of an overview's spectrogram
QUIETEST, LOUDEST = -90.0, 50.0  # decibels that an overview's 0 and 255 stand for
SOUND_RATE, SOUND_BITS = 44_100, 96_000  # of decoded sound sent back: Hz, and bits a second of mp3


class StoppedError(Exception):
    """The server does not want the answer any more."""


class Channel:
    """The worker's end of the socket to the server."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._file = end.makefile("rwb")

    def receive(self) -> Request | None:
        """The next message, or None where the server is gone."""
        head = self._file.read(4)
        return json.loads(self._file.read(struct.unpack(">I", head)[0])) if len(head) == 4 else None

    def send(self, event: str, data: object = None) -> None:
        """Sends a message, which is one of the answer's, or its end: `done`, `error`, or `spent` or
        `fault`, the worker's own.
        """
        self.send_bytes(json.dumps({"event": event, "data": data}).encode())

    def send_bytes(self, message: bytes) -> None:
        """Sends a message that is a piece of media, or JSON."""
        self._file.write(struct.pack(">I", len(message)) + message)
        self._file.flush()

    def check(self) -> None:
        """Raises `StoppedError` where the server has said so: while it waits for an answer, it
        sends nothing else.
        """
        if select.select([self._socket], [], [], 0)[0]:
            self.receive()
            raise StoppedError


def work(end: socket.socket, checkpoint: Path | None, memory: int) -> None:
    """Serves requests until the server closes the socket.

    Args:
        end: the worker's end.
        checkpoint: the folder to caption with; the embedded model if None.
        memory: bytes that may be allocated beyond what the model takes, where the system can hold a
            process to that.
    """
    # Ctrl-C reaches the whole group; the server stops its workers itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(end)
    captioner = load(checkpoint)
    captioner.caption(np.random.default_rng(0).normal(0, 0.1, captioner.rate).astype(np.float32))
    _limit_memory(memory)
    try:
        channel.send("ready")
        while (request := channel.receive()) is not None:
            if request["job"] == "stop":  # it came too late: the answer is complete
                continue
            try:
                JOBS[request["job"]](captioner, request, channel)
                channel.send("done")
            except StoppedError:
                channel.send("done")
            except AuricleError as error:
                channel.send("error", str(error))
            except Exception as error:
                # What is left of this process cannot be relied on.
                # an OSError, say
                if isinstance(error, MemoryError) or "alloc" in str(error).lower():
                    channel.send(
                        "spent",
                        f"it takes more than the {memory >> 20} MB of memory that are allowed",
                    )
                    return
                channel.send("fault")
                raise
    except (BrokenPipeError, ConnectionError):
        return


def _limit_memory(extra: int) -> None:
    try:
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError):  # Windows, and systems that cannot tell what a process takes
        return
    resource.setrlimit(resource.RLIMIT_AS, (now + extra, now + extra))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Tape:
    """A file's samples as they are decoded: counted, drawn, and the last of them kept.

    Args:
        captioner: at whose rate they come.
        request: `path`, `name`, `max_seconds`, `overview` and `explain` of it are heeded.
        channel: where progress goes.
    """

    def __init__(self, captioner: Captioner, request: Request, channel: Channel) -> None:
        self.seconds = 0.0
        self._captioner, self._request, self._channel = captioner, request, channel
        self._held: list[np.ndarray] = []  # the last of the samples
        self._told = 0.0
        self._undrawn = np.zeros(0, np.float32)
        self._drawn = 0  # of those, how many were drawn already

    def __iter__(self) -> Iterator[np.ndarray]:
        rate, request = self._captioner.rate, self._request
        with _opened(request["path"], request["name"]) as file:
            size = os.fstat(file.fileno()).st_size or 1
            for chunk in stream_audio(file, rate):
                self._channel.check()
                self.seconds += len(chunk) / rate
                _check_seconds(self.seconds, request)
                if request["overview"]:
                    self._draw(chunk)
                self._hold(chunk)
                self._tell(min(file.tell() / size, 1.0))
                yield chunk
            if request["overview"]:
                self._overview(len(self._undrawn) - self._drawn)
            self._tell(1.0, last=True)

    def last(self, start: float, end: float) -> np.ndarray:
        """What was heard from `start` to `end`, or the end of it that is at hand and that the model
        can hear at once.
        """
        rate, held = self._captioner.rate, np.concatenate(self._held)
        first = round(self.seconds * rate) - len(held)
        stop = round(end * rate) - first
        return held[
            max(0, round(start * rate) - first, stop - int(self._captioner.longest * rate)) : stop
        ]

    def _hold(self, chunk: np.ndarray) -> None:
        if self._request["explain"]:
            self._held.append(chunk)
            while sum(map(len, self._held[1:])) > HELD * self._captioner.rate:
                del self._held[0]

    def _tell(self, fraction: float, *, last: bool = False) -> None:
        now = time.monotonic()
        if last or now - self._told > PROGRESS:
            self._told = now
            self._channel.send(
                "progress", {"seconds": round(self.seconds, 3), "fraction": round(fraction, 4)}
            )

    def _draw(self, samples: np.ndarray) -> None:
        """Sends the overview of whole seconds, once what follows is there: at an edge the spectrum
        is not that of the sound.
        """
        rate, margin = self._captioner.rate, MARGIN * self._captioner.front_end.hop
        self._undrawn = np.concatenate([self._undrawn, samples])
        while len(self._undrawn) >= self._drawn + rate + margin:
            self._overview(rate)
            passed = self._drawn + rate - margin
            self._undrawn, self._drawn = self._undrawn[passed:], margin

    def _overview(self, count: int) -> None:
        """Sends that of the next `count` samples."""
        front_end, samples = (
            self._captioner.front_end,
            self._undrawn[self._drawn : self._drawn + count],
        )
        if not count:
            return
        columns = max(1, round(self._request["overview"] * len(samples) / self._captioner.rate))
        around = self._undrawn[: self._drawn + count + MARGIN * front_end.hop]
        first = self._drawn // front_end.hop
        log = log_mel(around, front_end)[first : first + max(1, count // front_end.hop)]
        power = from_log(log, front_end)  # (frames, mels)
        if front_end.power == 1:
            power = power**2
        frames = np.linspace(0, len(power), columns, endpoint=False).astype(int)
        bands = np.linspace(0, power.shape[1], min(BANDS, power.shape[1]), endpoint=False).astype(
            int
        )
        # (columns, bands)
        drawn = np.add.reduceat(np.maximum.reduceat(power, frames), bands, axis=1)
        level = (10 * np.log10(np.maximum(drawn, 1e-12)) - QUIETEST) / (LOUDEST - QUIETEST)
        peaks = np.maximum.reduceat(
            np.abs(samples), np.linspace(0, len(samples), columns, endpoint=False).astype(int)
        )
        self._channel.send(
            "overview",
            {
                "columns": columns,
                "bands": len(bands),
                "peaks": _bytes(peaks),
                "spectrogram": _bytes(level),
            },
        )


def _bytes(values: np.ndarray) -> str:
    """Numbers from 0 to 1 -> base64 of a byte each."""
    return base64.b64encode((255 * values).clip(0, 255).astype(np.uint8).tobytes()).decode()


def caption_job(captioner: Captioner, request: Request, channel: Channel) -> None:
    """Captions a file: messages `caption`, or `text` of subtitles, with `progress` and `overview`
    between them.
    """
    tape = _Tape(captioner, request, channel)
    if request["format"] in ("srt", "vtt", "ass"):
        _write_subtitles(captioner, request, tape, channel)
        return
    if request["segments"] == "events":
        for event in _events(captioner, tape):
            channel.send(
                "caption", event_fields(event) | _explained(captioner, request, tape, event)
            )
        return
    for number, caption in enumerate(_captions(captioner, request, tape), 1):
        fields = row_fields(Row("", caption), ALTERNATIVES)
        del fields["file"]
        found = {"id": number, "state": "end"} | fields
        channel.send("caption", found | _explained(captioner, request, tape, caption))


def _write_subtitles(captioner: Captioner, request: Request, tape: _Tape, channel: Channel) -> None:
    """As `auricle subtitle` writes events, and `auricle caption` everything else."""
    if request["segments"] == "events":
        channel.send("text", write_cues(cues(_events(captioner, tape)), request["format"]).decode())
    elif request["format"] == "ass":
        shown = (Cue(c.start, c.end, c.text) for c in _captions(captioner, request, tape))
        channel.send("text", write_cues(shown, "ass").decode())
    else:
        rows = (Row(request["name"], caption) for caption in _captions(captioner, request, tape))
        write_rows(rows, _Text(channel), request["format"])


def _captions(captioner: Captioner, request: Request, tape: _Tape) -> Iterator[Caption]:
    chunks, beginning = iter(tape), []
    for chunk in chunks:
        beginning.append(chunk)
        if sum(map(len, beginning)) > captioner.longest * captioner.rate:
            break
    else:
        yield captioner.caption(np.concatenate(beginning))
        return
    if request["segments"] == "whole":
        raise AudioError(
            f"{request['name']}: longer than {captioner.longest:g} s, the most that gets one caption: "
            "ask for segments=windows or segments=events"
        )
    yield from captioner.caption_stream(itertools.chain(beginning, chunks))


def _events(captioner: Captioner, chunks: Iterable[np.ndarray]) -> Iterator[Event]:
    segmenter = Segmenter(captioner)
    for chunk in chunks:
        yield from segmenter.feed(chunk)
    yield from segmenter.finish()


def _explained(
    captioner: Captioner, request: Request, tape: _Tape, row: Caption | Event
) -> dict[str, object]:
    """Where the decoder attended as it said each word; see `Captioner.attention`. And what an event
    might be called instead.
    """
    if not request["explain"] or (isinstance(row, Event) and row.state != "end"):
        return {}
    text = row.text if isinstance(row, Caption) else row.caption
    samples = tape.last(row.start, row.end)
    if not len(samples) or silence(samples, captioner.rate) > 0.5:
        return {"explanation": None}
    others = {}
    if isinstance(row, Event):
        fields = row_fields(Row("", captioner.caption(samples)), ALTERNATIVES)
        others = {"alternatives": fields["alternatives"]}
    attention = captioner.attention(samples, text)
    frames = attention.shape[1] - captioner.checkpoint.config.decoder.tags
    return others | {
        "explanation": {
            "start": round(row.end - len(samples) / captioner.rate, 3),
            "end": round(row.end, 3),
            "words": words(text),
            "sound": attention[:, :frames].round(4).tolist(),
            "tags": attention[:, frames:].sum(1).round(4).tolist(),
        }
    }


class _Text(io.StringIO):
    """A file that is the channel."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def write(self, text: str) -> int:
        self._channel.send("text", text)
        return len(text)


def rank_job(captioner: Captioner, request: Request, channel: Channel) -> None:
    """Compares files with sentences: the words that are not `known`, and a message `sound` for each
    file.
    """
    asked = {word for text in request["sentences"] for word in words(text)}
    channel.send(
        "unknown", sorted(word for word in asked if word not in captioner.checkpoint.vocabulary)
    )
    for path, name in request["files"]:
        channel.check()
        try:
            with _opened(path, name) as file:
                found = captioner.similarity([file], request["sentences"])[0]
            channel.send(
                "sound", {"file": name, "similarities": [round(float(value), 4) for value in found]}
            )
        except AudioError as error:
            channel.send("sound", {"file": name, "error": str(error)})


def sound_job(captioner: Captioner, request: Request, channel: Channel) -> None:  # noqa: ARG001 (as all jobs are called)
    """Decodes a file for a player: pieces of mp3, mono."""
    seconds = 0.0
    with (
        _opened(request["path"], request["name"]) as file,
        av.open(_Pieces(channel), "w", "mp3") as out,
    ):
        stream = out.add_stream("mp3", rate=SOUND_RATE, layout="mono")
        stream.bit_rate = SOUND_BITS
        for chunk in stream_audio(file, SOUND_RATE):
            channel.check()
            seconds += len(chunk) / SOUND_RATE
            _check_seconds(seconds, request)
            frame = av.AudioFrame.from_ndarray(chunk[None], "fltp", "mono")
            frame.sample_rate = SOUND_RATE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _opened(path: str, name: str) -> io.FileIO:
    """An upload, which errors shall call by the name that its sender gave it."""
    file = io.FileIO(path)
    file.name = name
    return file


def _check_seconds(seconds: float, request: Request) -> None:
    most = request["max_seconds"]
    if seconds > most:
        raise AudioError(
            f"{request['name']}: longer than {most:g} s, which is the most that this server takes"
        )


class _Pieces(io.RawIOBase):
    """A file to be written front to back, that is the channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._channel.send_bytes(b"\0" + bytes(data))
        return len(data)


JOBS: dict[str, Callable[[Captioner, Request, Channel], None]] = {
    "captions": caption_job,
    "rank": rank_job,
    "sound": sound_job,
}
