"""The server's end of one worker process."""

import asyncio
import contextlib
import logging
import multiprocessing
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from auricle.errors import AuricleError
from auricle.serving import messages
from auricle.serving.messages import Done, Failed, FromServer, FromWorker, MessageError, Ready, Stop
from auricle.serving.worker import work

WORKER_START_SECONDS = 120.0  # for a worker to load its model on a busy machine
STOP_SECONDS = 3.0  # for a worker to leave a job that nobody needs any more
WAITING_MESSAGES = 64  # messages that wait to be read; then the worker waits

_log = logging.getLogger(__name__)


class WorkerProcess:
    """A process that runs jobs, and the socket to it.

    Args:
        checkpoint: the folder to caption with; the embedded model if None.
        memory: bytes that a job may allocate beyond the model's.

    Raises:
        OSError: the system cannot start a process.
    """

    def __init__(self, checkpoint: Path | None, memory: int) -> None:
        self.ended = asyncio.Event()  # set as soon as the process is gone
        self.jobs = 0  # that it has begun
        self._messages: asyncio.Queue[FromWorker | None] = asyncio.Queue(WAITING_MESSAGES)
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._ours, theirs = socket.socketpair()
        # Spawned, not forked: the server has threads.
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(
            target=work, args=(theirs, checkpoint, memory), name="auricle-worker", daemon=True
        )
        try:
            self._process.start()
        except OSError:
            self._ours.close()
            raise
        finally:
            theirs.close()

    async def ready(self) -> None:
        """Return once the process takes jobs.

        Raises:
            AuricleError: it ended before that.
            TimeoutError: it took longer than `WORKER_START_SECONDS`.
        """
        reader, self._writer = await asyncio.open_connection(sock=self._ours)
        self._reading = asyncio.create_task(self._read(reader))
        async with asyncio.timeout(WORKER_START_SECONDS):
            message = await self.receive()
        if isinstance(message, Failed):
            raise AuricleError(message.reason)
        if not isinstance(message, Ready):
            raise AuricleError("a worker process ended before it was ready: is memory short?")

    async def send(self, message: FromServer) -> None:
        """Send a message; if the process is gone, `receive` tells."""
        assert self._writer is not None
        with contextlib.suppress(ConnectionError):
            self._writer.write(messages.encode_job(message))
            await self._writer.drain()

    async def receive(self) -> FromWorker | None:
        """Return the next message, or None if the process is gone."""
        if self.ended.is_set() and self._messages.empty():
            return None
        return await self._messages.get()

    async def stop(self) -> bool:
        """Make the process leave its job; returns False on timeout or if the process is gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.send(Stop())
                while (message := await self.receive()) is not None:
                    if isinstance(message, Done | Failed):
                        return not (isinstance(message, Failed) and message.worker_exits)
        return False

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self.ended.set()

    async def close(self) -> None:
        """End the process, and close the socket to it."""
        self.kill()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is None:
            self._ours.close()
        else:
            self._writer.close()
        await asyncio.to_thread(self._process.join)
        self._process.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Take messages as they come, so that the end of an idle process is noticed too."""
        try:
            while True:
                head = await reader.readexactly(messages.LENGTH.size)
                size = messages.LENGTH.unpack(head)[0]
                if size > messages.LONGEST_BYTES:
                    raise MessageError(f"a worker announced a message of {size} bytes")
                message = messages.decode_answer(await reader.readexactly(size))
                await self._messages.put(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except MessageError as error:
            _log.warning("auricle: %s; it is ended", error)
            self._process.kill()
        self.ended.set()
        await self._messages.put(None)


@contextlib.asynccontextmanager
async def running(checkpoint: Path | None, memory: int) -> AsyncIterator[WorkerProcess]:
    """Run a process that takes jobs, until the end of the context.

    Raises:
        AuricleError, OSError, TimeoutError: it does not start.
    """
    worker = WorkerProcess(checkpoint, memory)
    try:
        await worker.ready()
        yield worker
    finally:
        await worker.close()
