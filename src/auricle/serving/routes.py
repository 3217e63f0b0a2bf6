"""The routes that take sounds: caption, rank, decode, write subtitles and films, listen live."""

import contextlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import StringConstraints, ValidationError

from auricle.alerts.watch import Watch, WatchedSound
from auricle.captioning.results import Tag
from auricle.captioning.segmenter import Event
from auricle.errors import AuricleError
from auricle.serving import schemas
from auricle.serving.answers import Collected, JobResponse, events, media, started, unless_gone
from auricle.serving.description import (
    BINARY,
    CAPTION_ANSWERS,
    CAPTION_FAILURES,
    FILM_ANSWERS,
    FILM_TYPES,
    MEDIA_TYPES,
    MP3_ANSWERS,
    SUBTITLE_ANSWERS,
    UPLOAD_FAILURES,
    Area,
    failures,
    file_body,
)
from auricle.serving.jobs import film_ending
from auricle.serving.limits import RequestRefusedError
from auricle.serving.listening import listen_to
from auricle.serving.messages import CaptionJob, DecodeJob, FilmJob, RankJob, SoundFile
from auricle.serving.shared import Known, Served, Shared, Token
from auricle.serving.state import get_and_head, json_answer
from auricle.serving.uploads import Upload
from auricle.subtitles.cues import Cue, CueOptions, cues
from auricle.subtitles.files import write_cues

MOST_SENTENCES = 100  # of one ranking
OVERVIEW_COLUMNS = 100  # a second of an overview, at most
JSON_BYTES = 16 << 20  # of a request that is not a file

sound_router = APIRouter(dependencies=[Token, Known], tags=[Area.sounds])
socket_router = APIRouter()


class Segments(StrEnum):
    """The stretches that get a caption each."""

    whole = "whole"
    windows = "windows"
    events = "events"
    none = "none"


class Form(StrEnum):
    """The form of an answer with captions."""

    json = "json"
    srt = "srt"
    vtt = "vtt"
    ass = "ass"
    sse = "sse"


OverviewColumns = Annotated[
    int,
    Query(
        ge=0,
        le=OVERVIEW_COLUMNS,
        description="Columns a second of waveform and spectrogram, as events. For sse.",
    ),
]
Seconds = Annotated[
    float,
    Query(ge=0, le=schemas.LATEST, description="Caption no sound before this, in seconds."),
]
FileName = Annotated[str, Query(description="The name of a file that is sent as the body itself.")]


@sound_router.post(
    "/v1/captions",
    operation_id="caption_sound",
    summary="Caption a sound, or a video with sound",
    response_model=schemas.Captions,
    openapi_extra=file_body(BINARY),
    responses=CAPTION_FAILURES | CAPTION_ANSWERS,
)
async def captions(
    request: Request,
    served: Shared,
    segments: Annotated[
        Segments,
        Query(
            description="`whole`: one caption for up to 30 s. `windows`: one for up to 30 s, and "
            "one each 10 s of longer sounds, as `auricle caption` does. `events`: one for each "
            "sound event, as `auricle subtitle` does. `none`: no captions, only an overview."
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
        bool, Query(description="Say where each word was heard. For json and sse.")
    ] = False,
    overview: OverviewColumns = 0,
    spectrogram: Annotated[
        bool, Query(description="Whether the overview has a spectrogram, or only a waveform.")
    ] = True,
    start: Seconds = 0.0,
    end: Annotated[
        float | None,
        Query(gt=0, le=schemas.LATEST, description="Caption no sound after this, in seconds."),
    ] = None,
    name: FileName = "",
) -> Any:
    """Send the file as the part `file` of a form, or as the body itself.

    Any file that FFmpeg can decode is a sound.
    """
    if end is not None and end <= start:
        raise RequestRefusedError(422, f"end: {end:g} s is not after the start, {start:g} s")
    if form in ("srt", "vtt", "ass") and (start or end is not None or segments == "none"):
        raise RequestRefusedError(
            422, f"format: {form} is written of whole files; ask for json or sse"
        )
    served.workers.check_room()
    async with contextlib.AsyncExitStack() as stack:
        upload = await _one_file(request, served, name, stack)
        job = CaptionJob(
            file=_sound_file(upload),
            max_seconds=served.limits.seconds,
            segments=segments.value,
            format=form.value,
            explain=explain and form in (Form.json, Form.sse),
            overview_columns=overview if form is Form.sse else 0,
            spectrogram=spectrogram,
            start_seconds=start,
            end_seconds=end,
        )
        results = await started(request, served.workers, job, stack)
        if form is Form.sse:
            content = events(results, served.limits.stall)
            return JobResponse(content, stack.pop_all(), "text/event-stream")
        found = Collected()
        try:
            await unless_gone(request, found.collect(results))
        except RequestRefusedError as refusal:
            if form is Form.json:
                refusal.details = _captions_json(upload, found)
            raise
    if form is Form.json:
        return JSONResponse(_captions_json(upload, found))
    return PlainTextResponse(found.text, media_type=MEDIA_TYPES[form])


def _captions_json(upload: Upload, found: Collected) -> dict[str, object]:
    captions = [caption.model_dump(exclude_unset=True) for caption in found.captions]
    return {"file": upload.name, "seconds": found.seconds, "captions": captions}


@sound_router.post(
    "/v1/rank",
    operation_id="rank_sounds",
    summary="Compare sounds with sentences",
    response_model=schemas.Rankings,
    openapi_extra=file_body({"type": "array", "items": BINARY}),
    responses=UPLOAD_FAILURES,
)
async def rank(
    request: Request,
    served: Shared,
    sentence: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=200)]],
        Query(
            min_length=1,
            max_length=MOST_SENTENCES,
            description="The sound to listen for, in plain words; may be repeated.",
        ),
    ],
    name: FileName = "",
) -> Any:
    """Send each sound as a part `file` of a form.

    A sound over 30 s is as similar as its most similar 10 s.
    """
    served.workers.check_room()
    async with contextlib.AsyncExitStack() as stack:
        files = await stack.enter_async_context(served.uploads.received(request, name))
        uploads = tuple(_sound_file(file) for file in files)
        job = RankJob(uploads, tuple(sentence), served.limits.seconds)
        results = await started(request, served.workers, job, stack)
        found = Collected()
        await unless_gone(request, found.collect(results))
    return JSONResponse(
        {
            "sounds": [sound.model_dump(exclude_unset=True) for sound in found.sounds],
            "rankings": _rankings(sentence, found.sounds),
            "unknown": found.unknown,
        }
    )


def _rankings(
    sentences: Sequence[str], sounds: Sequence[schemas.ComparedSound]
) -> list[dict[str, object]]:
    """Sort the sounds that could be read by their similarity to each sentence."""
    rankings = []
    for place, text in enumerate(sentences):
        similarities = {
            number: sound.similarities[place]
            for number, sound in enumerate(sounds)
            if sound.similarities is not None
        }
        order = sorted(similarities, key=lambda number: -similarities[number])
        rankings.append({"sentence": text, "order": order})
    return rankings


@sound_router.post(
    "/v1/sound",
    operation_id="decode_sound",
    summary="Decode a sound",
    openapi_extra=file_body(BINARY),
    response_class=StreamingResponse,
    responses=UPLOAD_FAILURES | MP3_ANSWERS,
)
async def sound(request: Request, served: Shared, name: FileName = "") -> Any:
    """Return the sound of any file as mp3, for players that cannot read the file itself."""
    served.workers.check_room()
    async with contextlib.AsyncExitStack() as stack:
        upload = await _one_file(request, served, name, stack)
        job = DecodeJob(_sound_file(upload), served.limits.seconds)
        results = await started(request, served.workers, job, stack)
        return JobResponse(media(results, served.limits.stall), stack.pop_all(), "audio/mpeg")


@sound_router.post(
    "/v1/film",
    operation_id="caption_film",
    summary="Add captions to a film as a track",
    openapi_extra=file_body({"type": "array", "items": BINARY}, alone=False),
    response_class=StreamingResponse,
    responses=UPLOAD_FAILURES | FILM_ANSWERS,
)
async def film(request: Request, served: Shared) -> Any:
    """Send the film as a part `file` of a form, and its captions as a second part `file`.

    The captions are the JSON that `/v1/subtitles` takes. Pictures and sound stay as they are. A
    film that is not mp4, mov or webm comes back as mkv.
    """
    served.workers.check_room()
    async with contextlib.AsyncExitStack() as stack:
        files = await stack.enter_async_context(served.uploads.received(request, ""))
        if len(files) != 2:
            raise RequestRefusedError(
                400, f"{len(files)} files came; send the film and its captions"
            )
        upload, captions = files
        if captions.path.stat().st_size > JSON_BYTES:
            raise RequestRefusedError(413, "the captions are too large")
        try:
            asked = schemas.Subtitles.model_validate_json(captions.path.read_bytes())
        except ValidationError as error:
            raise RequestRefusedError(422, f"captions: {error.errors()[0]['msg']}") from None
        lines = tuple((line.start, line.end, line.caption) for line in asked.captions)
        results = await started(request, served.workers, FilmJob(_sound_file(upload), lines), stack)
        media_type = FILM_TYPES[film_ending(upload.name)]
        return JobResponse(media(results, served.limits.stall), stack.pop_all(), media_type)


@sound_router.post(
    "/v1/subtitles",
    operation_id="write_subtitles",
    summary="Write captions as subtitles",
    response_class=Response,
    max_body_size=JSON_BYTES,
    responses=failures(400, 401, 403, 413, 421, 422, 503) | SUBTITLE_ANSWERS,
)
def subtitles(asked: schemas.Subtitles) -> Any:
    """Write captions, for example corrected by hand, as a file of subtitles."""
    lines = [line for line in asked.captions if line.caption.strip() and line.end > line.start]
    lines.sort(key=lambda line: line.start)
    if asked.style == "written":
        shown = [Cue(line.start, line.end, line.caption.strip()) for line in lines]
    else:
        found = (
            Event(
                id=number,
                state="end",
                start=line.start,
                end=line.end,
                caption=line.caption,
                tags=tuple(Tag(tag.name, tag.probability) for tag in line.tags),
                confidence=None,
            )
            for number, line in enumerate(lines, 1)
        )
        shown = list(cues(found, CueOptions(style=asked.style)))
    return Response(write_cues(shown, asked.format), media_type=MEDIA_TYPES[asked.format])


@get_and_head(
    sound_router,
    "/v1/sentences",
    "sentence_check",
    summary="Check a sentence before an alert waits for it",
    response_model=schemas.SentenceCheck,
    responses=failures(401, 421, 422, 503),
)
def check_sentence(
    served: Shared,
    sentence: Annotated[str, Query(min_length=1, max_length=200, description="In plain words.")],
) -> Any:
    """Say which words the model does not know, and whether an alert can wait for the sentence."""
    unknown = served.captioner.unknown_words(sentence)
    try:
        Watch(served.captioner, [WatchedSound(sentence)])
    except AuricleError:
        return json_answer(schemas.SentenceCheck(usable=False, unknown=unknown))
    return json_answer(schemas.SentenceCheck(usable=True, unknown=unknown))


@socket_router.websocket("/v1/listen")
async def listen(socket: WebSocket, served: Shared) -> None:
    """Turn live sound into rows; docs/serve.md describes the messages."""
    await listen_to(
        socket,
        served.captioner,
        served.limits,
        served.metrics,
        served.guard.knows,
        served.microphone,
    )


def _sound_file(upload: Upload) -> SoundFile:
    return SoundFile(str(upload.path), upload.name)


async def _one_file(
    request: Request, served: Served, name: str, stack: contextlib.AsyncExitStack
) -> Upload:
    files = await stack.enter_async_context(served.uploads.received(request, name))
    if len(files) > 1:
        raise RequestRefusedError(400, f"{len(files)} files came; send one")
    return files[0]
