"""Messages between server and workers: data that comes back equal, and nothing else."""

import json

import pytest

from auricle.serving import messages, schemas
from auricle.serving.messages import (
    Begun,
    CaptionFound,
    CaptionJob,
    DecodeJob,
    Done,
    Failed,
    FromServer,
    FromWorker,
    JobProgress,
    Media,
    MessageError,
    Overview,
    RankJob,
    Ready,
    SoundCompared,
    SoundFile,
    Stop,
    SubtitleText,
    UnknownWords,
)

FILE = SoundFile("/tmp/a b", 'a "bell" – Glocke.wav')
CAPTION = schemas.CaptionJson(
    id=1,
    state="end",
    start=0.5,
    end=5,
    caption="A bell rings.",
    confidence=None,
    tags=[schemas.TagJson(name="Bell", probability=0.9)],
)


def content(framed: bytes) -> bytes:
    """A message without its length, which is right."""
    length, rest = framed[: messages.LENGTH.size], framed[messages.LENGTH.size :]
    assert messages.LENGTH.unpack(length) == (len(rest),)
    return rest


@pytest.mark.parametrize(
    "job",
    [
        CaptionJob(FILE, 8.0, "events", "srt", explain=True, overview_columns=3),
        RankJob((FILE, FILE), ("rain falls", "a bell"), 8.0),
        DecodeJob(FILE, 8.0),
        Stop(),
    ],
)
def test_jobs_come_back_equal(job: FromServer):
    assert messages.decode_job(content(messages.encode_job(job))) == job


@pytest.mark.parametrize(
    "answer",
    [
        Ready(),
        Begun(),
        JobProgress(1.5, 0.25),
        Overview(2, 3, "AAA=", "AAAA"),
        CaptionFound(CAPTION),
        SubtitleText("1\n00:00 –\n"),
        UnknownWords(["qwxz"]),
        SoundCompared(schemas.ComparedSound(file="a", similarities=[0.5, -1])),
        SoundCompared(schemas.ComparedSound(file="a", error="is empty")),
        Media(b"\xff\xfb\0{"),
        Done(),
        Failed("it is damaged", 500, worker_exits=True),
    ],
)
def test_answers_come_back_equal(answer: FromWorker):
    assert messages.decode_answer(content(messages.encode_answer(answer))) == answer


def test_fields_that_were_not_set_stay_out():
    sent = json.loads(content(messages.encode_answer(CaptionFound(CAPTION))))["caption"]
    assert {"score", "alternatives", "explanation"}.isdisjoint(sent)
    silent = CAPTION.model_copy(update={"explanation": None})
    sent = json.loads(content(messages.encode_answer(CaptionFound(silent))))["caption"]
    assert sent["explanation"] is None


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"[]",
        b"\x80\x04N.",  # a pickle
        b'{"kind": "nothing"}',
        b'{"kind": "progress", "seconds": "many", "fraction": 0.1}',
        b'{"kind": "progress", "seconds": 1}',
        b'{"kind": "failed", "reason": "no", "status": 200}',
        b'{"kind": "caption", "caption": {"id": 1}}',
        b'{"kind": "caption_job", "file": {"path": "/etc/passwd", "name": "a"}, "max_seconds": 1}',
    ],
)
def test_a_worker_can_send_nothing_else(sent: bytes):
    with pytest.raises(MessageError):
        messages.decode_answer(sent)
