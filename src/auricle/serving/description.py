"""Parts of the API's OpenAPI description: failures, bodies, examples and tags."""

from enum import StrEnum
from typing import Any

from auricle.serving import schemas

MEDIA_TYPES = {
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "ass": "text/x-ssa; charset=utf-8",
}


FILM_TYPES = {
    ".mkv": "video/x-matroska",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
}


class Area(StrEnum):
    """Groups of operations."""

    sounds = "sounds"
    server = "server"


TAGS = [
    {"name": Area.sounds, "description": "Caption, compare and decode sounds."},
    {"name": Area.server, "description": "The state and the limits of this server."},
]

_FAILURES = {
    400: "No file came, or the form is damaged, or the body is not JSON.",
    401: "The token is wrong or missing.",
    403: "A page of another origin asked.",
    408: "The upload stalled.",
    413: "The body is larger than the server takes.",
    421: "The server does not have this name.",
    422: "The sound cannot be read or is too long, or a parameter is wrong or unknown.",
    429: "Too many requests wait. `Retry-After` says when.",
    500: "The server failed. Its log says why.",
    503: "No worker process is running, or the server is stopping. `Retry-After` says when.",
    507: "The server's disk is full.",
}
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the descriptions of failures, by status."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        described[status] = {"model": schemas.Failure, "description": _FAILURES[status]}
        if status in (429, 503):
            described[status]["headers"] = _RETRY_AFTER
    return described


UPLOAD_FAILURES = failures(400, 401, 403, 408, 413, 421, 422, 429, 500, 503, 507)
CAPTION_FAILURES = UPLOAD_FAILURES | {
    422: {
        "model": schemas.CaptionsFailure,
        "description": _FAILURES[422] + " With the captions that were made before, if any.",
    }
}
BINARY = {"type": "string", "format": "binary"}


def file_body(schema: dict[str, Any], *, alone: bool = True) -> dict[str, Any]:
    """Return the description of a body: a form whose parts `file` have a schema.

    Args:
        schema: of the parts.
        alone: whether the body may be one file itself.
    """
    part = {"type": "object", "required": ["file"], "properties": {"file": schema}}
    content = {
        "multipart/form-data": {"schema": part},
    }
    if alone:
        content["application/octet-stream"] = {"schema": BINARY}
    return {"requestBody": {"required": True, "content": content}}


_CAPTIONS_EXAMPLE = {
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
data: {"id": 1, "state": "end", "start": 0.0, "end": 5.0, "caption": "A church bell rings."}

event: done
data: {}

"""
_TEXT = {"type": "string"}
CAPTION_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "application/json": {"example": _CAPTIONS_EXAMPLE},
            "application/x-subrip": {"schema": _TEXT, "example": _SUBTITLES_EXAMPLE},
            "text/vtt": {
                "schema": _TEXT,
                "example": "WEBVTT\n\n" + _SUBTITLES_EXAMPLE.replace(",", "."),
            },
            "text/x-ssa": {"schema": _TEXT},
            "text/event-stream": {"schema": _TEXT, "example": _EVENTS_EXAMPLE},
        }
    }
}
SUBTITLE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            media_type.partition(";")[0]: {"schema": _TEXT} for media_type in MEDIA_TYPES.values()
        }
    }
}
MP3_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"audio/mpeg": {"schema": BINARY}}}
}
FILM_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {"schema": BINARY} for kind in sorted(set(FILM_TYPES.values()))}}
}
METRICS_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": _TEXT}}}
}
