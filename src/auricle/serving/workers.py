"""The pool of worker processes, and the requests that wait for them.

A task for each place in the pool starts a process, waits for its end, and starts the next one. It
waits longer after each failed start. If no place has a process, requests get 503.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

from auricle.serving.limits import Limits, RequestRefusedError
from auricle.serving.messages import (
    Begun,
    Done,
    Failed,
    FromWorker,
    Job,
    JobProgress,
    JobResult,
    Ready,
)
from auricle.serving.metrics import Metrics
from auricle.serving.process import WorkerProcess, running
from auricle.serving.stopping import Stopping

MOST_CRASHES_PER_FILE = 2  # workers that a file may crash before the file is refused
FAILURES_ALLOWED = 2  # processes in a row that may end idle before their place counts as empty
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 60.0  # seconds before a process replaces one that failed

_log = logging.getLogger(__name__)


class _CrashError(Exception):
    """A worker died.

    Args:
        begun: whether it had begun the job.
    """

    def __init__(self, begun: bool) -> None:
        super().__init__()
        self.begun = begun


class Workers:
    """Worker processes, and the requests that wait for them.

    Args:
        checkpoint: the folder to caption with; the embedded model if None.
        limits: how many processes, how long a queue, how much memory and time.
        metrics: counts jobs and processes.
        stopping: ends jobs when the server stops.
    """

    def __init__(
        self,
        checkpoint: Path | None,
        limits: Limits,
        metrics: Metrics,
        stopping: Stopping | None = None,
    ) -> None:
        self._checkpoint, self._limits, self._metrics = checkpoint, limits, metrics
        self._stopping = stopping or Stopping()
        # A None wakes a waiting request, so that it looks whether any worker is left.
        self._idle: asyncio.Queue[WorkerProcess | None] = asyncio.Queue()
        self._down: dict[int, float] = {}  # places whose last start failed; when they try again
        self._waiting = 0
        self._seconds_taken: deque[float] = deque(maxlen=32)  # by the last jobs
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the processes, and return when all of them are ready.

        Raises:
            AuricleError, OSError, TimeoutError: one does not start.
        """
        loop = asyncio.get_running_loop()
        started = [loop.create_future() for _ in range(self._limits.jobs)]
        for place, future in enumerate(started):
            self._background(self._supervise(place, future))
        await asyncio.gather(*started)

    async def close(self) -> None:
        """End the processes, whatever they do."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check_ready(self) -> None:
        """Refuse a request if no worker could take it.

        Raises:
            RequestRefusedError: every start failed, or the server is stopping.
        """
        if self._stopping.begun:
            raise self._stopping.refusal()
        if len(self._down) == self._limits.jobs:
            wait = max(1, math.ceil(min(self._down.values()) - time.monotonic()))
            raise RequestRefusedError(
                503, "no worker process is running; the server starts new ones", retry_after=wait
            )

    def check_room(self) -> None:
        """Refuse a request before its upload if no worker could take it or the queue is full.

        Raises:
            RequestRefusedError: as said.
        """
        self.check_ready()
        if self._waiting >= self._limits.queue:
            taken = self._seconds_taken
            mean = sum(taken) / len(taken) if taken else 1.0
            wait = math.ceil(mean * (self._waiting + 1) / self._limits.jobs)
            raise RequestRefusedError(
                429,
                f"{self._waiting} requests wait already: try again in {wait} s",
                retry_after=wait,
            )

    async def run(self, job: Job) -> AsyncGenerator[JobResult]:
        """Yield a job's results as they come. Close the generator to stop the job.

        If the worker crashes, another one runs the job again. It gives the same results, so those
        that were yielded before are passed over.

        Raises:
            RequestRefusedError: no worker takes it, the sound cannot be read, or the job takes too
                much time or memory.
        """
        self.check_room()
        seconds_left, yielded, heard = self._limits.job_seconds, 0, 0.0
        crashes = 0
        while crashes < MOST_CRASHES_PER_FILE:
            worker = await self._acquire()
            began, repeated = time.monotonic(), yielded
            try:
                async with aclosing(self._attempt(worker, job, seconds_left)) as results:
                    async for result in results:
                        if isinstance(result, JobProgress):
                            if result.seconds < heard:
                                continue
                            heard = result.seconds
                        elif repeated:
                            repeated -= 1
                            continue
                        else:
                            yielded += 1
                        yield result
                return
            except _CrashError as crash:
                crashes += crash.begun
                seconds_left -= time.monotonic() - began
        raise RequestRefusedError(
            422,
            f"decoding it crashed {MOST_CRASHES_PER_FILE} decoders: it is damaged, or made to do "
            "harm",
        )

    async def _acquire(self) -> WorkerProcess:
        """Return the next idle worker.

        Raises:
            RequestRefusedError: no worker is left, or the server is stopping.
        """
        self._waiting += 1
        self._metrics.waiting.inc()
        try:
            while True:
                self.check_ready()
                async with self._stopping.limit():
                    worker = await self._idle.get()
                if worker is not None and not worker.ended.is_set():
                    return worker
        finally:
            self._waiting -= 1
            self._metrics.waiting.dec()

    async def _attempt(
        self, worker: WorkerProcess, job: Job, seconds: float
    ) -> AsyncGenerator[JobResult]:
        """Yield the results of one worker, and leave it idle or ended."""
        began, heard, idle = time.monotonic(), 0.0, False
        until = asyncio.get_running_loop().time() + seconds
        begun = False
        try:
            with self._metrics.running.track_inprogress():
                await worker.send(job)
                while True:
                    message = await self._receive(worker, until)
                    if message is None or isinstance(message, Ready):
                        raise _CrashError(begun)
                    if isinstance(message, Begun):
                        begun, worker.jobs = True, worker.jobs + 1
                        continue
                    if isinstance(message, Done):
                        idle = True
                        return
                    if isinstance(message, Failed):
                        idle = not message.worker_exits
                        raise RequestRefusedError(message.status, message.reason)
                    if isinstance(message, JobProgress):
                        heard = message.seconds
                    yield message
        finally:
            self._seconds_taken.append(time.monotonic() - began)
            self._metrics.sound.labels("file").inc(heard)
            # Shielded, so that a client that goes away does not take a worker with it.
            await asyncio.shield(self._background(self._release(worker, idle)))

    async def _receive(self, worker: WorkerProcess, until: float) -> FromWorker | None:
        try:
            async with self._stopping.limit(until):
                return await worker.receive()
        except TimeoutError:
            raise RequestRefusedError(
                422,
                f"it takes longer than {self._limits.job_seconds:g} s to decode and caption, "
                "which is the most allowed",
            ) from None

    async def _release(self, worker: WorkerProcess, idle: bool) -> None:
        idle = idle or await worker.stop()
        if worker.ended.is_set():
            return  # its supervisor starts another one
        if idle:
            self._idle.put_nowait(worker)
        else:
            worker.kill()

    async def _supervise(self, place: int, started: asyncio.Future[None]) -> None:
        """Keep one place in the pool filled.

        Args:
            place: its number.
            started: gets the result of the first start; if that fails, there is no other.
        """
        failures = 0  # processes in a row that did not start, or ended before their first job
        while True:
            jobs = 0
            try:
                async with running(self._checkpoint, self._limits.memory) as worker:
                    self._down.pop(place, None)
                    if not started.done():
                        started.set_result(None)
                    self._idle.put_nowait(worker)
                    with self._metrics.workers.track_inprogress():
                        await worker.ended.wait()
                    jobs = worker.jobs
                self._metrics.replaced.inc()
            except Exception as error:
                if not started.done():
                    started.set_exception(error)
                    return
                _log.warning("auricle: a worker process does not start: %s", error or repr(error))
                failures = max(failures, FAILURES_ALLOWED)
            failures = 0 if jobs else failures + 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures) if failures else 0.0
            if failures > FAILURES_ALLOWED:
                self._down[place] = time.monotonic() + pause
                for _ in range(self._waiting):
                    self._idle.put_nowait(None)
            await asyncio.sleep(pause)

    def _background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
