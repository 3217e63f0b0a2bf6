"""Messages between the server and its worker processes.

    server ── a Job, or Stop ──────────────────────────────> worker
    server <── Ready; for each job Begun, Results, and one End ── worker

Each message is a length (four bytes, big-endian) and then either JSON or a piece of media after a
zero byte. Pydantic checks every field of a message as it arrives, so a decoder that an attacker has
taken over can only send data of these types. Nothing is unpickled.
"""

import struct
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from auricle.errors import AuricleError
from auricle.output.formats import SubtitleFormat
from auricle.serving import schemas

LENGTH = struct.Struct(">I")  # stands before each message
LONGEST_BYTES = 1 << 28  # of a message; a worker that announces more is not ours any more
MEDIA = b"\0"  # begins a message that is not JSON

AnswerFormat = Literal["json", "sse", SubtitleFormat]


@dataclass(frozen=True)
class SoundFile:
    """An upload on the server's disk."""

    path: str
    name: str  # the sender's name for it, used in errors


@dataclass(frozen=True)
class CaptionJob:
    """Captions one file."""

    file: SoundFile
    max_seconds: float  # of the longest sound
    segments: Literal["whole", "windows", "events", "none"] = "windows"
    format: AnswerFormat = "json"
    explain: bool = False
    overview_columns: int = 0  # of waveform and spectrogram, a second
    spectrogram: bool = True  # whether the overview has one
    start_seconds: float = 0.0  # sound before it gets no caption
    end_seconds: float | None = None  # sound after it is not decoded
    kind: Literal["caption_job"] = "caption_job"


@dataclass(frozen=True)
class RankJob:
    """Compares files with sentences."""

    files: tuple[SoundFile, ...]
    sentences: tuple[str, ...]
    max_seconds: float  # of the longest sound
    kind: Literal["rank_job"] = "rank_job"


@dataclass(frozen=True)
class DecodeJob:
    """Decodes one file to mp3."""

    file: SoundFile
    max_seconds: float  # of the longest sound
    kind: Literal["decode_job"] = "decode_job"


@dataclass(frozen=True)
class FilmJob:
    """Adds captions to a film as a track."""

    file: SoundFile
    captions: tuple[tuple[float, float, str], ...]  # start and end in seconds, and text
    kind: Literal["film_job"] = "film_job"


@dataclass(frozen=True)
class Stop:
    """Tells the worker to leave its job."""

    kind: Literal["stop"] = "stop"


@dataclass(frozen=True)
class Ready:
    """The worker has loaded its model."""

    kind: Literal["ready"] = "ready"


@dataclass(frozen=True)
class Begun:
    """The worker begins a job; until it says so, the job cannot have harmed it."""

    kind: Literal["begun"] = "begun"


@dataclass(frozen=True)
class JobProgress:
    """How far decoding has come."""

    seconds: float  # of sound decoded so far
    fraction: float  # of the file's bytes read so far
    kind: Literal["progress"] = "progress"


@dataclass(frozen=True)
class Overview:
    """The next columns of a picture of the sound."""

    columns: int
    bands: int
    peaks: str  # base64 of a byte for each column
    spectrogram: str  # base64 of a byte for each band of each column; empty without bands
    kind: Literal["overview"] = "overview"


@dataclass(frozen=True)
class CaptionFound:
    """A caption, or the latest state of an event that is still heard."""

    caption: schemas.CaptionJson
    kind: Literal["caption"] = "caption"


@dataclass(frozen=True)
class SubtitleText:
    """The next piece of a file of subtitles."""

    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class UnknownWords:
    """Words of the sentences that the model does not know, sorted."""

    words: list[str]
    kind: Literal["unknown"] = "unknown"


@dataclass(frozen=True)
class SoundCompared:
    """The similarities of one file to each sentence, or why it cannot be read."""

    sound: schemas.ComparedSound
    kind: Literal["sound"] = "sound"


@dataclass(frozen=True)
class Media:
    """A piece of a sound or film."""

    data: bytes


@dataclass(frozen=True)
class Done:
    """The job has ended: it succeeded, or `Stop` came."""

    kind: Literal["done"] = "done"


@dataclass(frozen=True)
class Failed:
    """The job has failed."""

    reason: str
    status: Literal[422, 500, 503] = 422  # the HTTP status to answer with
    worker_exits: bool = False  # whether the worker ends too
    kind: Literal["failed"] = "failed"


Job = CaptionJob | RankJob | DecodeJob | FilmJob
JobResult = (
    JobProgress | Overview | CaptionFound | SubtitleText | UnknownWords | SoundCompared | Media
)
End = Done | Failed
FromServer = Job | Stop
FromWorker = Ready | Begun | JobResult | End

_FROM_SERVER: TypeAdapter[FromServer] = TypeAdapter(
    Annotated[FromServer, Field(discriminator="kind")]
)
_JSON_FROM_WORKER = (
    Ready
    | Begun
    | JobProgress
    | Overview
    | CaptionFound
    | SubtitleText
    | UnknownWords
    | SoundCompared
    | Done
    | Failed
)
_FROM_WORKER: TypeAdapter[_JSON_FROM_WORKER] = TypeAdapter(
    Annotated[_JSON_FROM_WORKER, Field(discriminator="kind")]
)


class MessageError(AuricleError):
    """A message that is not one of these types."""


def encode_job(message: FromServer) -> bytes:
    """Return a message for the worker, with its length in front."""
    return _framed(_FROM_SERVER.dump_json(message))


def decode_job(message: bytes) -> FromServer:
    """Return the server's message, from its bytes without the length.

    Raises:
        MessageError: it is no message for a worker.
    """
    try:
        return _FROM_SERVER.validate_json(message)
    except ValidationError as error:
        raise MessageError(f"the server sent no job: {error}") from None


def encode_answer(message: FromWorker) -> bytes:
    """Return a message for the server, with its length in front.

    Fields of captions that were never set stay out, as in the API's answers.
    """
    if isinstance(message, Media):
        return _framed(MEDIA + message.data)
    return _framed(_FROM_WORKER.dump_json(message, exclude_unset=True))


def decode_answer(message: bytes) -> FromWorker:
    """Return the worker's message, from its bytes without the length.

    Raises:
        MessageError: it is no message for the server.
    """
    if message[:1] == MEDIA:
        return Media(message[1:])
    try:
        return _FROM_WORKER.validate_json(message)
    except ValidationError as error:
        raise MessageError(f"a worker sent no answer: {error}") from None


def _framed(message: bytes) -> bytes:
    return LENGTH.pack(len(message)) + message
