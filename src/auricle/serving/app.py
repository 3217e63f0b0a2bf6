"""The HTTP API, and the page, which uses the API and nothing else."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.sse import format_sse_event
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import StringConstraints
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from auricle.captioning.captioner import Captioner, load
from auricle.captioning.results import Tag
from auricle.captioning.segmenter import Event
from auricle.serving import schemas
from auricle.serving.guard import Guard
from auricle.serving.limits import Limits, RefusedError
from auricle.serving.listening import Microphone, listen_to
from auricle.serving.metrics import Metrics
from auricle.serving.uploads import Uploads
from auricle.serving.workers import Message, Workers
from auricle.subtitles.cues import Cue, CueOptions, cues
from auricle.subtitles.files import write_cues

PAGE = Path(__file__).parent / "page"
# In the package; in a checkout, where they are made.
EXAMPLES = next(
    folder
    for folder in (PAGE / "examples", Path(__file__).parents[3] / "examples", PAGE)
    if folder.is_dir()
)
SENTENCES = 100  # of one ranking
OVERVIEW = 100  # columns a second of an overview, at most
JSON_BYTES = 16 << 20  # of a request that is no file
BUFFERED = 256  # messages that wait for a slow reader before his time runs

Result = TypeVar("Result")
router = APIRouter()


class Segments(StrEnum):
    """What gets a caption of its own."""

    whole = "whole"
    windows = "windows"
    events = "events"


class Form(StrEnum):
    """How captions are answered."""

    json = "json"
    srt = "srt"
    vtt = "vtt"
    ass = "ass"
    sse = "sse"


MEDIA_TYPES = {
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "ass": "text/x-ssa; charset=utf-8",
}


@dataclass(frozen=True)
class Served:
    """What the routes share."""

    limits: Limits
    metrics: Metrics
    captioner: Captioner
    workers: Workers
    uploads: Uploads
    guard: Guard
    microphone: Microphone | None


class JobResponse(StreamingResponse):
    """A streamed answer, after which all that it was made from is let go, also where nobody reads
    it to its end.
    """

    def __init__(
        self, content: AsyncIterator[bytes | str], stack: contextlib.AsyncExitStack, media_type: str
    ) -> None:
        super().__init__(content, media_type=media_type)
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        # What is refused half-way cannot be answered otherwise any more: the connection breaks off,
        # which its reader can tell.
        async with self._stack:
            with contextlib.suppress(RefusedError):
                await super().__call__(scope, receive, send)


def _served(connection: HTTPConnection) -> Served:
    return connection.app.state.served


Shared = Annotated[Served, Depends(_served)]


def make_app(
    checkpoint: Path | None = None,
    limits: Limits | None = None,
    *,
    token: str | None = None,
    names: tuple[str, ...] = (),
    microphone: Microphone | None = None,
) -> Guard:
    """The server, to be run by an ASGI server in one process.

    Args:
        checkpoint: the folder to caption with; the embedded model if None.
        limits: what requests may take.
        token: what requests must carry; None: nothing.
        names: that the server answers to, besides its machine's, `localhost` and addresses.
        microphone: its own, for those who have none.

    Raises:
        AuricleError: the folder is not a checkpoint.
    """
    bounds, metrics, captioner = limits or Limits(), Metrics(), load(checkpoint)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        workers = Workers(checkpoint, bounds, metrics)
        with tempfile.TemporaryDirectory(prefix="auricle-", ignore_cleanup_errors=True) as folder:
            try:
                await workers.start()
                uploads = Uploads(Path(folder), bounds)
                app.state.served = Served(
                    bounds, metrics, captioner, workers, uploads, guard, microphone
                )
                yield
            finally:
                await workers.close()

    app = FastAPI(
        title="auricle",
        version=version("auricle"),
        summary="Automated audio captioning: a sound goes in, a sentence comes out.",
        lifespan=lifespan,
        docs_url=None,  # they would fetch scripts from elsewhere
        redoc_url=None,
        exception_handlers={
            RefusedError: _refused,
            RequestValidationError: _invalid,
            HTTPException: _failed,
        },
    )
    app.include_router(router)
    app.mount("/examples", StaticFiles(directory=EXAMPLES))
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    guard = Guard(app, token=token, names=names, metrics=metrics)
    return guard


async def _refused(_: Request, error: Exception) -> Response:
    refusal = cast("RefusedError", error)
    headers = {"retry-after": str(refusal.retry_after)} if refusal.retry_after else None
    return JSONResponse({"error": str(refusal)}, refusal.status, headers)


async def _invalid(_: Request, error: Exception) -> Response:
    first = cast("RequestValidationError", error).errors()[0]
    return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 422)


async def _failed(_: Request, error: Exception) -> Response:
    failure = cast("HTTPException", error)
    return JSONResponse({"error": failure.detail}, failure.status_code, failure.headers)


def _failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    described = {
        400: "No file came, or a damaged form, or what is no JSON.",
        401: "The token is wrong or missing.",
        403: "A page of another origin asked.",
        408: "The upload stalled.",
        413: "Larger than the server takes.",
        421: "The server is not called so.",
        422: "The sound cannot be read or is too long, or a parameter is wrong; `error` says which.",
        429: "Too many requests wait: `Retry-After` says for how many seconds.",
        507: "The server's disk is full.",
    }
    return {
        status: {"model": schemas.Failure, "description": described[status]} for status in statuses
    }


_BINARY = {"type": "string", "format": "binary"}
UPLOAD_FAILURES = _failures(400, 401, 403, 408, 413, 421, 422, 429, 507)


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    part = {"type": "object", "required": ["file"], "properties": {"file": schema}}
    content = {"multipart/form-data": {"schema": part}}
    if schema is _BINARY:
        content["application/octet-stream"] = {"schema": _BINARY}
    return {"requestBody": {"required": True, "content": content}}


_CAPTION_EXAMPLE = {
    "file": "bell.wav",
    "seconds": 5.0,
    "captions": [
        {
            "id": 1,
            "state": "end",
            "start": 0.0,
            "end": 5.0,
            "caption": "A church bell rings several times in a row.",
            "confidence": 0.74,
            "tags": [
                {"name": "Church bell", "probability": 0.93},
                {"name": "Bell", "probability": 0.88},
            ],
            "score": -0.61,
            "alternatives": [
                {
                    "caption": "A church bell rings several times in a row.",
                    "score": -0.61,
                    "similarity": 0.42,
                }
            ],
        }
    ],
}
_SUBTITLES_EXAMPLE = (
    "1\n00:00:00,000 --> 00:00:05,000\nA church bell rings several times in a row.\n\n"
)
_EVENTS_EXAMPLE = """event: progress
data: {"seconds": 5.0, "fraction": 1.0}

event: caption
data: {"id": 1, "state": "end", "start": 0.0, "end": 5.0, "caption": "A church bell rings several times in a row."}

event: done
data: {}

"""


@router.post(
    "/v1/captions",
    summary="Caption a sound, or a video with sound",
    response_model=schemas.Captions,
    openapi_extra=_body(_BINARY),
    responses=UPLOAD_FAILURES
    | {
        200: {
            "content": {
                "application/json": {"example": _CAPTION_EXAMPLE},
                "application/x-subrip": {
                    "schema": {"type": "string"},
                    "example": _SUBTITLES_EXAMPLE,
                },
                "text/vtt": {
                    "schema": {"type": "string"},
                    "example": "WEBVTT\n\n" + _SUBTITLES_EXAMPLE.replace(",", "."),
                },
                "text/x-ssa": {"schema": {"type": "string"}},
                "text/event-stream": {"schema": {"type": "string"}, "example": _EVENTS_EXAMPLE},
            }
        }
    },
)
async def captions(
    request: Request,
    served: Shared,
    segments: Annotated[
        Segments,
        Query(
            description="`whole`: one caption for up to 30 s. `windows`: one for up to 30 s, and one each 10 s of "
            "longer sounds, as `auricle caption` does. `events`: one for each sound event, as `auricle subtitle` does."
        ),
    ] = Segments.windows,
    form: Annotated[
        Form,
        Query(
            alias="format",
            description="`srt`, `vtt`, `ass`: subtitles; of events with labels, [dog barking]. "
            "`sse`: server-sent events `progress`, `caption`, and `done` or `error`.",
        ),
    ] = Form.json,
    explain: Annotated[
        bool, Query(description="Tell where each word was heard; of json and sse.")
    ] = False,
    overview: Annotated[
        int,
        Query(
            ge=0,
            le=OVERVIEW,
            description="Of sse: so many columns a second of waveform and spectrogram, as events.",
        ),
    ] = 0,
    name: Annotated[  # noqa: ARG001
        str, Query(description="The name of a file that is sent as the body itself.")
    ] = "",
) -> Any:
    """Send the file as the part `file` of a form, or as the body itself. Whatever FFmpeg decodes is
    a sound.
    """
    served.workers.check_room()
    async with contextlib.AsyncExitStack() as stack:
        upload = await _one_file(request, served, stack)
        job = {
            "job": "captions",
            "path": str(upload.path),
            "name": upload.name,
            "max_seconds": served.limits.seconds,
            "segments": segments,
            "format": form,
            "explain": explain and form in (Form.json, Form.sse),
            "overview": overview if form is Form.sse else 0,
        }
        messages = await _started(request, served, job, stack)
        if form is Form.sse:
            return JobResponse(
                _events(messages, served.limits.stall), stack.pop_all(), "text/event-stream"
            )
        answer = await _unless_gone(request, _collected(messages))
    if form is Form.json:
        return JSONResponse(
            {"file": upload.name, "seconds": answer["seconds"], "captions": answer["captions"]}
        )
    return PlainTextResponse(answer["text"], media_type=MEDIA_TYPES[form])


@router.post(
    "/v1/rank",
    summary="Compare sounds with sentences",
    response_model=schemas.Rankings,
    openapi_extra=_body({"type": "array", "items": _BINARY}),
    responses=UPLOAD_FAILURES,
)
async def rank(
    request: Request,
    served: Shared,
    sentence: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=200)]],
        Query(
            min_length=1,
            max_length=SENTENCES,
            description="What to listen for, in plain words; may be repeated.",
        ),
    ],
) -> Any:
    """Send each sound as a part `file` of a form. A sound over 30 s is as similar as its most
    similar 10 s.
    """
    served.workers.check_room()
    async with contextlib.AsyncExitStack() as stack:
        files = await stack.enter_async_context(served.uploads.received(request))
        job = {
            "job": "rank",
            "sentences": sentence,
            "files": [(str(file.path), file.name) for file in files],
        }
        messages = await _started(request, served, job, stack)
        answer = await _unless_gone(request, _collected(messages))
    sounds = answer["sounds"]
    heard = [number for number, sound in enumerate(sounds) if "similarities" in sound]
    rankings = [
        {
            "sentence": text,
            "order": sorted(heard, key=lambda number: -sounds[number]["similarities"][place]),
        }
        for place, text in enumerate(sentence)
    ]
    return JSONResponse({"sounds": sounds, "rankings": rankings, "unknown": answer["unknown"]})


@router.post(
    "/v1/sound",
    summary="Decode a sound",
    openapi_extra=_body(_BINARY),
    response_class=StreamingResponse,
    responses=UPLOAD_FAILURES | {200: {"content": {"audio/mpeg": {"schema": _BINARY}}}},
)
async def sound(request: Request, served: Shared) -> Any:
    """The sound of any file as mp3, for players that cannot read the file itself."""
    served.workers.check_room()
    async with contextlib.AsyncExitStack() as stack:
        upload = await _one_file(request, served, stack)
        job = {
            "job": "sound",
            "path": str(upload.path),
            "name": upload.name,
            "max_seconds": served.limits.seconds,
        }
        messages = await _started(request, served, job, stack)
        return JobResponse(_media(messages, served.limits.stall), stack.pop_all(), "audio/mpeg")


@router.post(
    "/v1/subtitles",
    summary="Write captions as subtitles",
    response_class=Response,
    max_body_size=JSON_BYTES,
    responses=_failures(400, 401, 403, 413, 421, 422)
    | {
        200: {
            "content": {
                media_type.partition(";")[0]: {"schema": {"type": "string"}}
                for media_type in MEDIA_TYPES.values()
            }
        }
    },
)
def subtitles(asked: schemas.Subtitles) -> Any:
    """Captions that were corrected by hand, for one."""
    lines = [line for line in asked.captions if line.caption.strip() and line.end > line.start]
    lines.sort(key=lambda line: line.start)
    if asked.style == "written":
        shown = [Cue(line.start, line.end, line.caption.strip()) for line in lines]
    else:
        events = (
            Event(
                number,
                "end",
                line.start,
                line.end,
                line.caption,
                tuple(Tag(t.name, t.probability) for t in line.tags),
                None,
            )
            for number, line in enumerate(lines, 1)
        )
        shown = list(cues(events, CueOptions(style=asked.style)))
    return Response(write_cues(shown, asked.format), media_type=MEDIA_TYPES[asked.format])


@router.websocket("/v1/listen")
async def listen(socket: WebSocket, served: Shared) -> None:
    """Live sound to rows; see docs/serve.md for the messages."""
    await listen_to(
        socket,
        served.captioner,
        served.limits,
        served.metrics,
        served.guard.knows,
        served.microphone,
    )


@router.get(
    "/v1/info",
    summary="What this server is, and its limits",
    response_model=schemas.Info,
    responses=_failures(401, 421),
)
async def info(served: Shared) -> Any:
    """What a client may want to know before it sends anything."""
    captioner, limits = served.captioner, served.limits
    return {
        "version": version("auricle"),
        "licence": captioner.checkpoint.config.licence,
        "rate": captioner.rate,
        "longest": captioner.longest,
        "upload": limits.upload,
        "seconds": limits.seconds,
        "microphone": served.microphone is not None,
        "examples": sorted(path.name for path in EXAMPLES.glob("*.wav")),
    }


@router.get("/healthz", summary="Whether it serves", responses=_failures(421))
async def healthz() -> dict[str, str]:
    """Answers as long as the server does."""
    return {"status": "ok"}


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    response_class=Response,
    responses=_failures(401, 421)
    | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(served: Shared) -> Response:
    """Requests, their times, workers, live streams, and what the process takes."""
    return Response(
        generate_latest(served.metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST}
    )


async def _one_file(request: Request, served: Served, stack: contextlib.AsyncExitStack) -> Any:
    files = await stack.enter_async_context(served.uploads.received(request))
    if len(files) > 1:
        raise RefusedError(400, f"{len(files)} files came, and one is wanted")
    return files[0]


async def _started(
    request: Request, served: Served, job: dict[str, Any], stack: contextlib.AsyncExitStack
) -> AsyncGenerator[Message]:
    """A job's messages, once there is a first one: what fails before is answered with a status of
    its own.
    """
    messages = await stack.enter_async_context(contextlib.aclosing(served.workers.run(job)))
    try:
        first = await _unless_gone(request, anext(messages))
    except StopAsyncIteration:
        return messages
    return _chained(first, messages)


async def _chained(first: Message, rest: AsyncGenerator[Message]) -> AsyncGenerator[Message]:
    yield first
    async for message in rest:
        yield message


async def _collected(messages: AsyncGenerator[Message]) -> dict[str, Any]:
    """All of a job's messages as one answer."""
    answer: dict[str, Any] = {
        "seconds": 0.0,
        "captions": [],
        "text": "",
        "sounds": [],
        "unknown": [],
    }
    async for message in messages:
        match message:
            case {"event": "progress", "data": {"seconds": seconds}}:
                answer["seconds"] = seconds
            case {"event": "caption", "data": {"state": "end"} as caption}:
                answer["captions"].append(caption)
            case {"event": "text", "data": text}:
                answer["text"] += text
            case {"event": "sound", "data": sound}:
                answer["sounds"].append(sound)
            case {"event": "unknown", "data": unknown}:
                answer["unknown"] = unknown
    return answer


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of some work, which ends where nobody waits for it any more."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = asyncio.create_task(work), asyncio.create_task(gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            return tasks[0].result()
        raise RefusedError(499, "the client went away")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _unstalled(messages: AsyncGenerator[Message], stall: float) -> AsyncGenerator[Message]:
    """The same messages; a reader that takes none of them for `stall` seconds does not keep the
    worker from others.

    Raises:
        RefusedError: as `Workers.run`, or the reader stalled.
    """
    queue: asyncio.Queue[Message | RefusedError | None] = asyncio.Queue(BUFFERED)

    async def pump() -> None:
        end = None
        try:
            async for message in messages:
                async with asyncio.timeout(stall):
                    await queue.put(message)
        except TimeoutError:
            await messages.aclose()
            end = RefusedError(408, f"nothing was read for {stall:g} s: the answer was given up")
        except RefusedError as error:
            end = error
        await queue.put(end)

    task = asyncio.create_task(pump())
    try:
        while (message := await queue.get()) is not None:
            if isinstance(message, RefusedError):
                raise message
            yield message
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _events(messages: AsyncGenerator[Message], stall: float) -> AsyncGenerator[bytes]:
    import json

    try:
        async for message in _unstalled(messages, stall):
            if isinstance(message, dict):
                yield format_sse_event(event=message["event"], data_str=json.dumps(message["data"]))
        yield format_sse_event(event="done", data_str="{}")
    except RefusedError as refusal:
        yield format_sse_event(event="error", data_str=json.dumps({"error": str(refusal)}))


async def _media(messages: AsyncGenerator[Message], stall: float) -> AsyncGenerator[bytes]:
    async for message in _unstalled(messages, stall):
        if isinstance(message, bytes):
            yield message
