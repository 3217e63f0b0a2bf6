"""Answers from the results of a job: whole, or streamed while the job runs."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.types import Receive, Scope, Send

from auricle.serving import schemas
from auricle.serving.limits import RequestRefusedError
from auricle.serving.messages import (
    CaptionFound,
    Job,
    JobProgress,
    JobResult,
    Media,
    Overview,
    SoundCompared,
    SubtitleText,
    UnknownWords,
)
from auricle.serving.workers import Workers

WAITING_RESULTS = 256  # results that wait for a slow reader before its time runs

Value = TypeVar("Value")


class JobResponse(StreamingResponse):
    """A streamed answer that ends its job and deletes its upload, even if nobody reads it."""

    def __init__(
        self, content: AsyncIterator[bytes | str], stack: contextlib.AsyncExitStack, media_type: str
    ) -> None:
        super().__init__(content, media_type=media_type)
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, as ASGI asks."""
        # The status is sent already, so a late refusal breaks off the connection. Readers see that.
        async with self._stack:
            with contextlib.suppress(RequestRefusedError):
                await super().__call__(scope, receive, send)


@dataclass
class Collected:
    """The results of a job so far."""

    seconds: float = 0.0
    captions: list[schemas.CaptionJson] = field(default_factory=list)
    text: str = ""
    sounds: list[schemas.ComparedSound] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    async def collect(self, results: AsyncGenerator[JobResult]) -> None:
        """Take all results.

        Raises:
            RequestRefusedError: as `Workers.run`; earlier results stay collected.
        """
        async for result in results:
            match result:
                case JobProgress(seconds=seconds):
                    self.seconds = seconds
                case CaptionFound(caption=caption) if caption.state == "end":
                    self.captions.append(caption)
                case SubtitleText(text=text):
                    self.text += text
                case SoundCompared(sound=sound):
                    self.sounds.append(sound)
                case UnknownWords(words=words):
                    self.unknown = words
                case _:
                    pass


async def started(
    request: Request, workers: Workers, job: Job, stack: contextlib.AsyncExitStack
) -> AsyncGenerator[JobResult]:
    """Return a job's results once there is a first one, so that early failures get a status.

    Raises:
        RequestRefusedError: the job failed before its first result, or the client is gone.
    """
    results = await stack.enter_async_context(contextlib.aclosing(workers.run(job)))
    try:
        first = await unless_gone(request, anext(results))
    except StopAsyncIteration:
        return results
    return _chained(first, results)


async def _chained(first: JobResult, rest: AsyncGenerator[JobResult]) -> AsyncGenerator[JobResult]:
    yield first
    async for result in rest:
        yield result


async def unless_gone(request: Request, work: Coroutine[Any, Any, Value]) -> Value:
    """Return the result of some work, or cancel the work if the client goes away.

    Raises:
        RequestRefusedError: the client went away.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = asyncio.create_task(work), asyncio.create_task(gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            return tasks[0].result()
        raise RequestRefusedError(499, "the client went away")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def events(results: AsyncGenerator[JobResult], stall: float) -> AsyncGenerator[bytes]:
    """Yield results as server-sent events, and `done` or `error` at the end."""
    try:
        async for result in _unstalled(results, stall):
            match result:
                case CaptionFound(caption=caption):
                    data = caption.model_dump(exclude_unset=True)
                    yield _event("caption", data)
                case JobProgress():
                    yield _event(
                        "progress", {"seconds": result.seconds, "fraction": result.fraction}
                    )
                case Overview():
                    data = {
                        "columns": result.columns,
                        "bands": result.bands,
                        "peaks": result.peaks,
                        "spectrogram": result.spectrogram,
                    }
                    yield _event("overview", data)
                case _:
                    pass
        yield _event("done", {})
    except RequestRefusedError as refusal:
        yield _event("error", {"error": str(refusal)})


def _event(name: str, data: dict[str, Any]) -> bytes:
    return format_sse_event(event=name, data_str=json.dumps(data, allow_nan=False))


async def media(results: AsyncGenerator[JobResult], stall: float) -> AsyncGenerator[bytes]:
    """Yield the pieces of media."""
    async for result in _unstalled(results, stall):
        if isinstance(result, Media):
            yield result.data


async def _unstalled(results: AsyncGenerator[JobResult], stall: float) -> AsyncGenerator[JobResult]:
    """Yield the same results, and free the worker if the reader takes none for `stall` seconds.

    Raises:
        RequestRefusedError: as `Workers.run`, or the reader stalled.
    """
    queue: asyncio.Queue[JobResult | RequestRefusedError | None] = asyncio.Queue(WAITING_RESULTS)

    async def pump() -> None:
        end = None
        try:
            async for result in results:
                async with asyncio.timeout(stall):
                    await queue.put(result)
        except TimeoutError:
            await results.aclose()
            end = RequestRefusedError(
                408, f"nothing was read for {stall:g} s: the answer was abandoned"
            )
        except RequestRefusedError as error:
            end = error
        await queue.put(end)

    task = asyncio.create_task(pump())
    try:
        while (result := await queue.get()) is not None:
            if isinstance(result, RequestRefusedError):
                raise result
            yield result
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
