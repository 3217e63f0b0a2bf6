"""The server's side of its worker processes: a bounded queue before them, and an end to those that
take too long.
"""

import asyncio
import contextlib
import json
import math
import multiprocessing
import socket
import struct
import time
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from pathlib import Path
from typing import Any

from auricle.errors import AuricleError
from auricle.serving.limits import Limits, RefusedError
from auricle.serving.metrics import Metrics
from auricle.serving.worker import Request, work

Message = dict[str, Any] | bytes  # an object with `event` and `data`, or a piece of media
START_SECONDS = 120.0  # for a worker to load its model, on a machine that does much else
STOP_SECONDS = 3.0  # for a worker to leave a job that nobody wants any more


class _Worker:
    """A process, and the server's end of the socket to it."""

    def __init__(self, checkpoint: Path | None, memory: int) -> None:
        self._ours, theirs = socket.socketpair()
        # Spawned, not forked: the server has threads.
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(
            target=work, args=(theirs, checkpoint, memory), name="auricle-worker", daemon=True
        )
        self._process.start()
        theirs.close()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._size: int | None = None  # of the message that is being read

    async def ready(self) -> None:
        """Returns when it takes requests."""
        self._streams = await asyncio.open_connection(sock=self._ours)
        async with asyncio.timeout(START_SECONDS):
            if await self.receive() is None:
                raise AuricleError(
                    "a worker process ended before it was ready: is there memory enough?"
                )

    async def send(self, request: Request) -> None:
        assert self._streams is not None
        message = json.dumps(request).encode()
        self._streams[1].write(struct.pack(">I", len(message)) + message)
        with contextlib.suppress(ConnectionError):  # `receive` tells
            await self._streams[1].drain()

    async def receive(self) -> Message | None:
        """Its next message; None where it is dead."""
        assert self._streams is not None
        try:
            if self._size is None:  # else who asked before was cancelled between the two
                self._size = struct.unpack(">I", await self._streams[0].readexactly(4))[0]
            message = await self._streams[0].readexactly(self._size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        self._size = None
        return json.loads(message) if message[:1] == b"{" else message[1:]

    async def stop(self) -> bool:
        """Whether it could be made to leave its job in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.send({"job": "stop"})
                while (message := await self.receive()) is not None:
                    if isinstance(message, dict) and message["event"] in ("done", "error"):
                        return True
        return False

    async def kill(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._process.kill()
        await asyncio.to_thread(self._process.join)
        self._process.close()


class Workers:
    """Worker processes, and the requests that wait for them.

    Args:
        checkpoint: the folder to caption with; the embedded model if None.
        limits: how many processes, how long a queue, how much memory and time.
        metrics: what is counted.
    """

    def __init__(self, checkpoint: Path | None, limits: Limits, metrics: Metrics) -> None:
        self._checkpoint, self._limits, self._metrics = checkpoint, limits, metrics
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._all: set[_Worker] = set()
        self._waiting = 0
        self._taken: deque[float] = deque(maxlen=32)  # seconds that the last jobs took
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Starts the processes; returns when all of them are ready."""
        await asyncio.gather(*(self._start_one() for _ in range(self._limits.jobs)))

    async def close(self) -> None:
        """Ends the processes, whatever they do."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.kill() for worker in self._all))
        self._all.clear()

    def check_room(self) -> None:
        """Refuses where the queue is full, before anything is uploaded for nothing."""
        if self._waiting >= self._limits.queue:
            mean = sum(self._taken) / len(self._taken) if self._taken else 1.0
            wait = math.ceil(mean * (self._waiting + 1) / self._limits.jobs)
            raise RefusedError(
                429,
                f"{self._waiting} requests wait already: try again in {wait} s",
                retry_after=wait,
            )

    async def run(self, request: Request) -> AsyncGenerator[Message]:
        """What a worker answers, bit by bit. Close the generator where the rest is not wanted.

        Raises:
            RefusedError: the queue is full, the sound cannot be read, or the job took too long or
                too much.
        """
        self.check_room()
        self._waiting += 1
        self._metrics.waiting.inc()
        try:
            worker = await self._idle.get()
        finally:
            self._waiting -= 1
            self._metrics.waiting.dec()
        began, heard = time.monotonic(), 0.0
        answered = False
        try:
            with self._metrics.running.track_inprogress():
                await worker.send(request)
                async for message in self._answers(worker, began + self._limits.job_seconds):
                    match message:
                        case {"event": "progress", "data": {"seconds": heard}}:
                            pass
                        case {"event": "done"}:
                            answered = True
                            return
                        case {"event": "error", "data": reason}:
                            answered = True
                            raise RefusedError(422, reason)
                        case {"event": "spent", "data": reason}:
                            raise RefusedError(422, reason)
                        case {"event": "fault"}:
                            raise RefusedError(500, "the server failed, and its log says why")
                    yield message
        finally:
            self._taken.append(time.monotonic() - began)
            self._metrics.sound.labels("file").inc(heard)
            # Shielded, so that a client that went away does not take a worker with it.
            await asyncio.shield(self._background(self._leave(worker, answered)))

    async def _answers(self, worker: _Worker, deadline: float) -> AsyncGenerator[Message]:
        while True:
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    message = await worker.receive()
            except TimeoutError:
                raise RefusedError(
                    422,
                    f"it takes longer than {self._limits.job_seconds:g} s to decode and caption, which is the most allowed",
                ) from None
            if message is None:
                raise RefusedError(
                    422, "decoding it ended the decoder: it is damaged, or made to do harm"
                )
            yield message

    async def _leave(self, worker: _Worker, answered: bool) -> None:
        if answered or await worker.stop():
            self._idle.put_nowait(worker)
            return
        self._all.discard(worker)
        self._metrics.replaced.inc()
        await worker.kill()
        self._background(self._start_one())

    def _background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _start_one(self) -> None:
        worker = _Worker(self._checkpoint, self._limits.memory)
        self._all.add(worker)
        await worker.ready()
        self._idle.put_nowait(worker)
