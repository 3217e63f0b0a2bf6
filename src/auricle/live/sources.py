"""Opens sources of live sound: a microphone, raw samples, a file in real time, an address.

device, pipe, file, network -> mono float32 at the captioner's rate, as it comes; Gap where it was
lost
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from auricle.errors import AudioError, AuricleError
from auricle.sound.decode import stream_audio
from auricle.sound.network import open_url, shown_url
from auricle.sound.resample import are_plausible, resample_stream

if TYPE_CHECKING:
    import sounddevice

PcmType = Literal["s16le", "s32le", "f32le"]
_PCM = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}

PIECE_SECONDS = 0.1  # seconds of sound that are handed on at a time
# seconds until a lost source is tried again, doubled with each failure
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
SILENT_DEVICE = 5.0  # seconds without a sample after which a microphone is lost
BACKLOG = 30.0  # seconds that a microphone is ahead of us at most; what comes then is dropped
COMPLAIN = 10.0  # seconds between two complaints of it

# How files begin that are no raw samples.
_CONTAINERS = (
    b"RIFF",
    b"RF64",
    b"OggS",
    b"fLaC",
    b"ID3",
    b"FORM",
    b"\x1aE\xdf\xa3",
    b".snd",
    b"caff",
)


class BrokenOffError(AudioError):
    """A source with an end broke off before it. Opening it again would repeat its beginning."""


@dataclass(frozen=True)
class Gap:
    """The time in which a source was lost."""

    seconds: float


@dataclass(frozen=True)
class LiveSource:
    """A place that sound comes from."""

    name: str
    # Mono float32 at the captioner's rate. Raises AudioError when the source is lost.
    open: Callable[[], Iterator[np.ndarray]]
    endless: bool  # opened again when it is lost, but for a BrokenOffError


def heard(
    source: LiveSource,
    say: Callable[[str], None],
    *,
    tell_presence: Callable[[bool], None] = lambda _: None,
    patient: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[np.ndarray | Gap]:
    """Yields the pieces of a source, and opens an endless source again when it is lost.

    Args:
        source: the place.
        say: takes a message when the source is lost, and one when it is back.
        tell_presence: takes True when the source gives sound, and False when it is lost.
        patient: whether an endless source that cannot be opened the first time is tried again.
        clock: returns seconds, for tests.
        sleep: waits a number of seconds, for tests.

    Raises:
        AudioError: the source cannot be opened the first time and is not `patient`, or it has an
            end and broke off.
    """
    wait, opened, lost = FIRST_WAIT, False, False
    since = came = clock()  # the source is there; the last piece came
    while True:
        try:
            # Closed at once where the listener has enough, not when the garbage is collected.
            with contextlib.closing(source.open()) as pieces:  # type: ignore[type-var]
                for piece in pieces:
                    now = clock()
                    gap, came = now - came, now
                    if lost:
                        since, lost = now, False
                        say(f"{source.name} is back after {gap:.0f} s")
                        tell_presence(True)
                        yield Gap(gap)
                    elif not opened:
                        tell_presence(True)
                    opened = True
                    yield piece
            return
        except AudioError as error:
            if not (source.endless and (opened or patient)) or isinstance(error, BrokenOffError):
                raise
            if not lost:
                tell_presence(False)
                # A source that held for long is tried again soon; one that comes and goes is not.
                wait, lost = FIRST_WAIT if clock() - since > LONGEST_WAIT else wait, True
            say(f"{error}; trying again in {wait:g} s")
            sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)


def in_real_time(
    pieces: Iterator[np.ndarray],
    rate: int,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[np.ndarray]:
    """The same samples, each tenth of a second when it would have been heard."""
    size, begin, samples = round(PIECE_SECONDS * rate), clock(), 0
    for piece in pieces:
        for start in range(0, len(piece), size):
            part = piece[start : start + size]
            samples += len(part)
            if (early := begin + samples / rate - clock()) > 0:
                sleep(early)
            yield part


def file_source(path: str, rate: int) -> LiveSource:
    """A file that is played in real time, from the beginning of its pictures if it has some."""

    def pieces() -> Iterator[np.ndarray]:
        return in_real_time(stream_audio(path, rate, aligned=True), rate)

    return LiveSource(path, pieces, endless=False)


def url_source(url: str, rate: int) -> LiveSource:
    """A stream on the network, or a file there, which is played in real time.

    Opening raises AudioError. A file that breaks off raises BrokenOffError.
    """

    def pieces() -> Iterator[np.ndarray]:
        finite, chunks = open_url(url, rate)
        return in_real_time(_once(chunks), rate) if finite else chunks

    return LiveSource(shown_url(url), pieces, endless=True)


def _once(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the chunks of a file; its errors say that it must not be opened again."""
    try:
        yield from chunks
    except AudioError as error:
        raise BrokenOffError(f"{error} before its end") from None


def pcm_source(
    file: BinaryIO,
    rate: int,
    *,
    pcm: PcmType,
    from_rate: int,
    channels: int,
    say: Callable[[str], None],
) -> LiveSource:
    """Raw samples from a pipe, interleaved.

    Args:
        file: open for reading.
        rate: the captioner's sampling rate, in Hz.
        pcm: the samples' type.
        from_rate: their sampling rate, in Hz.
        channels: how many there are.
        say: is told once if samples are NaN, infinite or absurdly large. They count as silence.
    """

    def blocks() -> Iterator[tuple[int, np.ndarray]]:
        dtype = np.dtype(_PCM[pcm])
        width = channels * dtype.itemsize
        size = max(1, round(PIECE_SECONDS * from_rate)) * width
        # read1 gives what the pipe has; read would wait until a buffer is full.
        read = getattr(file, "read1", file.read)
        held, first, told = b"", True, False
        while data := read(size):
            held += data
            if first and len(held) >= 4:
                first = False
                if held.startswith(_CONTAINERS):
                    raise AudioError(
                        "standard input: is a sound file, not raw samples: name the file "
                        "instead of -, or decode it with "
                        "ffmpeg -i FILE -f s16le -ac 1 -ar 32000 -"
                    )
            whole = len(held) // width * width
            if whole:
                samples = np.frombuffer(held[:whole], dtype).reshape(-1, channels).T
                if not told and not are_plausible(samples):
                    told = True
                    say(
                        "standard input: samples that are NaN, infinite or absurdly large count "
                        f"as silence; check that they are {pcm}"
                    )
                # In this machine's byte order, which the averaging expects.
                yield from_rate, samples.astype(dtype.newbyteorder("="))
                held = held[whole:]

    return LiveSource("standard input", lambda: resample_stream(blocks(), rate), endless=False)


def microphone_source(rate: int, device: str | None, say: Callable[[str], None]) -> LiveSource:
    """A microphone, or whatever else the sound card records.

    Args:
        rate: the sampling rate of the result, in Hz; the device records at its own.
        device: its number or a part of its name; the default one if None.
        say: is told where samples were lost because we were too slow.

    Raises:
        AuricleError: PortAudio is missing.
    """
    try:
        import sounddevice
    except OSError:
        raise AuricleError(
            "microphones need PortAudio, which is not installed: "
            "apt install libportaudio2 (Debian, Ubuntu), dnf install portaudio (Fedora), "
            "brew install portaudio (macOS)"
        ) from None
    opened = False

    @contextlib.contextmanager
    def in_use() -> Iterator[dict]:
        nonlocal opened
        with _microphones:
            if opened and not _microphones.in_use:
                # PortAudio lists the devices only when it begins, and ends with all of them. So a
                # microphone that was plugged in again is found when no other one is in use.
                sounddevice._terminate()
                sounddevice._initialize()
            opened = True
            found = _find_device(sounddevice, device)
            _microphones.in_use += 1
        try:
            yield found
        finally:
            with _microphones:
                _microphones.in_use -= 1

    def blocks() -> Iterator[tuple[int, np.ndarray]]:
        name = "microphone"
        try:
            with in_use() as found:
                name = found["name"]
                yield from _recorded(sounddevice, found, say)
        except sounddevice.PortAudioError as error:
            raise AudioError(f"{name}: cannot be recorded from ({error})") from None
        except queue.Empty:
            raise AudioError(f"{name}: has given nothing for {SILENT_DEVICE:g} s") from None

    return LiveSource("microphone", lambda: resample_stream(blocks(), rate), endless=True)


class _Microphones:
    """Counts the microphones in use; holding it keeps the list of devices as it is."""

    def __init__(self) -> None:
        self.in_use = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_error: object) -> None:
        self._lock.release()


_microphones = _Microphones()


def _recorded(
    sounddevice, found: dict, say: Callable[[str], None]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the rate of a device, in Hz, and its samples, (channels, samples).

    Raises:
        PortAudioError: the device fails.
        queue.Empty: it gives nothing.
    """
    name, own_rate = found["name"], round(found["default_samplerate"])
    channels = min(2, found["max_input_channels"])
    waiting: queue.Queue[np.ndarray] = queue.Queue(round(BACKLOG / PIECE_SECONDS))
    dropped, told = 0, -COMPLAIN

    def put(
        samples: np.ndarray, frames: int, _time: object, status: "sounddevice.CallbackFlags"
    ) -> None:
        # Called on PortAudio's own thread, which must never wait.
        nonlocal dropped
        try:
            waiting.put_nowait(samples.T.copy())
        except queue.Full:
            dropped += frames
        if status.input_overflow:
            dropped += 1

    size = round(PIECE_SECONDS * own_rate)
    with sounddevice.InputStream(own_rate, size, found["index"], channels, "float32", callback=put):
        while True:
            yield own_rate, waiting.get(timeout=SILENT_DEVICE)
            if dropped and time.monotonic() - told > COMPLAIN:
                say(
                    f"{name}: at least {max(dropped / own_rate, 0.1):.1f} s were lost: "
                    "the machine is too busy"
                )
                dropped, told = 0, time.monotonic()


def _find_device(sounddevice, device: str | None) -> dict:
    """What PortAudio says of a device that records."""
    inputs = [found for found in sounddevice.query_devices() if found["max_input_channels"] > 0]
    if not inputs:
        raise AudioError("microphone: there is no device to record from")
    default = sounddevice.default.device[0]
    for found in inputs:
        if device is None:
            chosen = found["index"] == default or default < 0
        else:
            chosen = (
                device == str(found["index"])
                if device.isdigit()
                else device.lower() in found["name"].lower()
            )
        if chosen:
            return found
    names = ", ".join(f"{found['index']} {found['name']}" for found in inputs)
    raise AudioError(f"microphone: there is none called '{device}'; there are: {names}")
