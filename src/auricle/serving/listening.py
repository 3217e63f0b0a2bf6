"""Live sound over a WebSocket: samples come in, rows of `auricle listen` go out.

client ── {"rate": 48000, "alerts": [{"sentence": "a doorbell rings"}]} ──> server
client <────────────────────────────────────────────── {"state": "ready"} ── server
client ── mono samples, as binary messages of any length ─────────────────> server
client <──────────────────────────────── rows, JSON, as soon as they exist ── server
client ── {}, when the sound is over ─────────────────────────────────────> server
client <────────────────── the last rows; then the server closes the socket ── server
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field, ValidationError

from auricle.alerts.watch import ALERT_THRESHOLD, HOLD_OFF_SECONDS, Watch, WatchedSound
from auricle.captioning.captioner import Captioner
from auricle.errors import AuricleError
from auricle.live.listener import listen
from auricle.live.rows import heard_fields
from auricle.live.sources import Gap, LiveSource, heard
from auricle.serving.guard import bearer_token
from auricle.serving.limits import Limits
from auricle.serving.metrics import Metrics
from auricle.sound.resample import resample_stream

PCM = {"s16le": "<i2", "f32le": "<f4"}
PIECES = 50  # messages that wait to be heard before their sender waits too
DIGITAL_SILENCE_DBFS = -100.0  # dBFS, the level of digital silence
LEAST_SECONDS = 0.1  # of sound that must come in `Limits.stall` seconds

_log = logging.getLogger(__name__)
LivePiece = np.ndarray | Gap
RowFields = dict[str, Any]


class AlertRequest(BaseModel, extra="forbid", allow_inf_nan=False):
    """A sound that the client waits for."""

    sentence: str = Field(min_length=1, max_length=200)
    threshold: float = ALERT_THRESHOLD
    hold_off: float = Field(HOLD_OFF_SECONDS, ge=0)


class Start(BaseModel, extra="forbid", allow_inf_nan=False):
    """The first message."""

    token: str = ""
    microphone: bool = False  # the server's own, instead of samples
    encoding: Literal["s16le", "f32le"] = "s16le"
    rate: int = Field(32_000, ge=8_000, le=192_000)
    alerts: Annotated[list[AlertRequest], Field(max_length=20)] = []


class Microphone:
    """The server's own source of sound, shared by all listeners. Nothing of it is kept.

    Args:
        source: of sound, at the captioner's rate.
        say: is called with a message when the source is lost, and when it is back.
    """

    def __init__(self, source: LiveSource, say: Callable[[str], None]) -> None:
        self._source, self._say = source, say
        self._listeners: set[queue.Queue[LivePiece | None]] = set()
        self._lock = threading.Lock()
        self._over = False

    def start(self) -> None:
        """Open the source, and listen as long as the process lives.

        Raises:
            AudioError: it cannot be opened.
        """
        pieces = heard(self._source, self._say)
        first = next(pieces)  # A source that cannot be opened must fail here, not in the thread.
        threading.Thread(
            target=self._hand_on, args=(first, pieces), daemon=True, name="microphone"
        ).start()

    @contextlib.contextmanager
    def pieces(self) -> Iterator[queue.Queue[LivePiece | None]]:
        """Return a queue of the pieces that come from now on; None when the sound is over."""
        pieces_to_come: queue.Queue[LivePiece | None] = queue.Queue(PIECES)
        with self._lock:
            self._listeners.add(pieces_to_come)
            if self._over:
                pieces_to_come.put_nowait(None)
        try:
            yield pieces_to_come
        finally:
            with self._lock:
                self._listeners.discard(pieces_to_come)

    def _hand_on(self, first: LivePiece, rest: Iterator[LivePiece]) -> None:
        self._give(first)
        try:
            for piece in rest:
                self._give(piece)
        except AuricleError as error:
            self._say(str(error))
        except Exception as error:
            self._say(f"the microphone failed: {error!r}")
        finally:
            self._end_all()

    def _give(self, piece: LivePiece) -> None:
        with self._lock:
            for listener in self._listeners:
                # A listener that is too slow misses some; the others miss nothing.
                with contextlib.suppress(queue.Full):
                    listener.put_nowait(piece)

    def _end_all(self) -> None:
        with self._lock:
            self._over = True
            for listener in self._listeners:
                _end(listener)


class _CloseError(AuricleError):
    """The reason and the code with which a socket is closed."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


async def listen_to(
    socket: WebSocket,
    captioner: Captioner,
    limits: Limits,
    metrics: Metrics,
    knows: Callable[[str], bool],
    microphone: Microphone | None,
) -> None:
    """Serve one socket until it is closed, or its sound is over.

    Args:
        socket: not yet accepted.
        captioner: captions the sound.
        limits: how many may listen, and for how long one may send nothing.
        metrics: counts listeners.
        knows: returns whether a token is the right one.
        microphone: the server's own, if it has one.
    """
    await socket.accept()
    try:
        if socket.query_params:
            raise _CloseError(
                1008, "this address takes no parameters: send them in the first message"
            )
        start = await _start(socket, limits, knows)
        if start.microphone and microphone is None:
            raise _CloseError(
                1008, "this server has no microphone: it was started without --listen"
            )
        if metrics.listening >= limits.listeners:
            raise _CloseError(
                1013, f"{limits.listeners} live streams are open already: try again later"
            )
        with metrics.listener():
            await _serve(
                socket, start, captioner, limits, metrics, microphone if start.microphone else None
            )
        await socket.close()
    except _CloseError as refusal:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await socket.send_json({"state": "error", "error": str(refusal)})
            await socket.close(refusal.code)
    except WebSocketDisconnect:
        pass


async def _start(socket: WebSocket, limits: Limits, knows: Callable[[str], bool]) -> Start:
    try:
        async with asyncio.timeout(limits.stall):
            message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        start = Start.model_validate_json(message.get("text") or "")
    except TimeoutError:
        raise _CloseError(1008, "the first message did not come") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the first message"
        raise _CloseError(1007, f"{where}: {first['msg']}") from None
    if not knows(start.token or bearer_token(socket.headers)):
        raise _CloseError(
            1008, "the token is wrong or missing: send it as `token` in the first message"
        )
    return start


async def _serve(
    socket: WebSocket,
    start: Start,
    captioner: Captioner,
    limits: Limits,
    metrics: Metrics,
    microphone: Microphone | None,
) -> None:
    loop = asyncio.get_running_loop()
    rows: asyncio.Queue[RowFields | None] = asyncio.Queue()

    def tell(row: RowFields | None) -> None:
        with contextlib.suppress(RuntimeError):  # the server is gone
            loop.call_soon_threadsafe(rows.put_nowait, row)

    with contextlib.ExitStack() as stack:
        if microphone is None:
            pieces: queue.Queue[LivePiece | None] = queue.Queue(PIECES)
        else:
            pieces = stack.enter_context(microphone.pieces())
        stack.callback(_end, pieces)
        hearing = threading.Thread(
            target=_hear,
            args=(captioner, start, pieces, metrics, tell),
            daemon=True,
            name="listener",
        )
        hearing.start()
        receiving = asyncio.create_task(
            _receive(socket, start, pieces, hearing, limits, microphone is not None)
        )
        sending = asyncio.create_task(_send(socket, rows, limits.stall))
        try:
            # The rows end where the sound does; the receiver ends before, unless the client or the
            # rows fail.
            await asyncio.wait((receiving, sending), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                receiving.result()
                await sending
            sending.result()
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)


def _end(pieces: queue.Queue[LivePiece | None]) -> None:
    """Put the end into a queue, which may be full."""
    with contextlib.suppress(queue.Empty):
        pieces.get_nowait()
    with contextlib.suppress(queue.Full):
        pieces.put_nowait(None)


def _hear(
    captioner: Captioner,
    start: Start,
    pieces: queue.Queue[LivePiece | None],
    metrics: Metrics,
    tell: Callable[[RowFields | None], None],
) -> None:
    """Caption pieces and tell rows; runs in a thread."""

    def taken() -> Iterator[np.ndarray]:
        while isinstance(piece := pieces.get(), np.ndarray):
            metrics.sound.labels("live").inc(len(piece) / start.rate)
            yield piece

    def taken_here() -> Iterator[LivePiece]:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, np.ndarray):
                power = float(np.mean(np.square(piece))) if len(piece) else 0.0
                tell(
                    {
                        "state": "level",
                        "level": round(
                            10 * np.log10(max(power, 10 ** (DIGITAL_SILENCE_DBFS / 10))), 1
                        ),
                    }
                )
            yield piece

    try:
        watch = None
        if start.alerts:
            watch = Watch(
                captioner, [WatchedSound(a.sentence, a.threshold, a.hold_off) for a in start.alerts]
            )
        tell({"state": "ready"})
        if start.microphone:
            sound: Iterator[LivePiece] = taken_here()
        else:
            sound = iter(
                resample_stream(((start.rate, piece[None]) for piece in taken()), captioner.rate)
            )
        for found in listen(captioner, sound, watch):
            tell(heard_fields(found))
    except AuricleError as error:
        tell({"state": "error", "error": str(error)})
    except Exception:
        _log.exception("auricle: a live stream failed")
        tell({"state": "error", "error": "the server failed; its log says why"})
    finally:
        tell(None)


async def _send(socket: WebSocket, rows: asyncio.Queue[RowFields | None], stall: float) -> None:
    while (row := await rows.get()) is not None:
        try:
            async with asyncio.timeout(stall):
                await socket.send_json(row)
        except TimeoutError:
            raise _CloseError(1008, f"no rows were read for {stall:g} s") from None


async def _receive(
    socket: WebSocket,
    start: Start,
    pieces: queue.Queue[LivePiece | None],
    hearing: threading.Thread,
    limits: Limits,
    only_listens: bool,
) -> None:
    """Take samples until the client says that the sound is over.

    Raises:
        _CloseError: hardly any samples came for a while, whatever messages did, or they are wrong.
        WebSocketDisconnect: the client is gone.
    """
    loop = asyncio.get_running_loop()
    dtype = np.dtype(PCM[start.encoding])
    until, samples, enough = loop.time() + limits.stall, 0, LEAST_SECONDS * start.rate
    while True:
        try:
            async with asyncio.timeout_at(None if only_listens else until):
                message = await socket.receive()
        except TimeoutError:
            raise _CloseError(1008, f"nearly no samples came for {limits.stall:g} s") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        data = message.get("bytes")
        if data is None or only_listens:
            _end(pieces) if only_listens else await _put(pieces, None, hearing)
            return
        if len(data) % dtype.itemsize:
            raise _CloseError(
                1007,
                f"a message of {len(data)} bytes is no whole number of {start.encoding} samples",
            )
        if data:
            await _put(pieces, np.frombuffer(data, dtype), hearing)
            samples += len(data) // dtype.itemsize
        if samples >= enough:  # time in `_put` is not the sender's
            until, samples = loop.time() + limits.stall, 0


async def _put(
    pieces: queue.Queue[LivePiece | None], piece: LivePiece | None, hearing: threading.Thread
) -> None:
    """Hand a piece on once there is room; its sender waits meanwhile."""
    while hearing.is_alive():
        with contextlib.suppress(queue.Full):
            pieces.put_nowait(piece)
            return
        await asyncio.sleep(0.02)
