"""The jobs of a worker process: caption, rank and decode uploads."""

import io
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import av
import numpy as np

from auricle.captioning.captioner import Captioner
from auricle.captioning.onnx_backend import split_positions
from auricle.captioning.results import Caption, Row
from auricle.captioning.segmenter import Event, Segmenter
from auricle.captioning.windows import SPARE_SECONDS
from auricle.checkpoint.vocabulary import words
from auricle.errors import AudioError
from auricle.output.writers import event_fields, row_fields, write_rows
from auricle.serving import schemas
from auricle.serving.messages import (
    CaptionFound,
    CaptionJob,
    DecodeJob,
    Media,
    RankJob,
    SoundCompared,
    SoundFile,
    SubtitleText,
    UnknownWords,
)
from auricle.serving.tape import Channel, Tape, opened
from auricle.sound.decode import stream_audio
from auricle.sound.silence import is_silent
from auricle.subtitles.cues import Cue, cues
from auricle.subtitles.files import write_cues

ALTERNATIVES = 64  # of a caption, at most
MP3_RATE, MP3_BITS = 44_100, 96_000  # of decoded sound: Hz, and bits a second
CHECK_RATE = 8_000  # Hz, at which the length of a sound is measured


def caption_job(captioner: Captioner, job: CaptionJob, channel: Channel) -> None:
    """Caption a file.

    Sends `CaptionFound`, or `SubtitleText` for subtitles, with `Progress` and `Overview` between.

    Raises:
        AudioError: the sound cannot be read or is too long.
    """
    tape = Tape(captioner, job, channel)
    if job.format in ("srt", "vtt", "ass"):
        _write_subtitles(captioner, job, job.format, tape, channel)
    elif job.segments == "events":
        for event in _events(captioner, tape):
            explained = _explained(captioner, job, tape, event)
            _send_caption(channel, event_fields(event) | explained)
    else:
        for number, caption in enumerate(_captions(captioner, job, tape), 1):
            fields = row_fields(Row("", caption), ALTERNATIVES)
            del fields["file"]
            explained = _explained(captioner, job, tape, caption)
            _send_caption(channel, {"id": number, "state": "end"} | fields | explained)


def rank_job(captioner: Captioner, job: RankJob, channel: Channel) -> None:
    """Compare files with sentences: sends `UnknownWords`, then `SoundCompared` for each file.

    Raises:
        AuricleError: the model knows no word of a sentence, or cannot compare.
    """
    asked = {word for text in job.sentences for word in words(text)}
    vocabulary = captioner.checkpoint.vocabulary
    channel.send(UnknownWords(sorted(word for word in asked if word not in vocabulary)))
    captioner.embed_sentences(job.sentences)  # refuses sentences before it decodes
    for upload in job.files:
        try:
            _check_length(upload, job.max_seconds, channel)
            with opened(upload) as file:
                found = captioner.similarity([file], job.sentences)[0]
        except AudioError as error:
            channel.send(SoundCompared(schemas.Sound(file=upload.name, error=str(error))))
            continue
        similarities = [round(float(value), 4) for value in found]
        channel.send(SoundCompared(schemas.Sound(file=upload.name, similarities=similarities)))


def decode_job(captioner: Captioner, job: DecodeJob, channel: Channel) -> None:  # noqa: ARG001 (as all jobs are called)
    """Decode a file for a player: sends `Media`, pieces of mono mp3.

    Raises:
        AudioError: the sound cannot be read or is too long.
    """
    with opened(job.file) as file, av.open(_MediaFile(channel), "w", "mp3") as out:
        stream = out.add_stream("mp3", rate=MP3_RATE, layout="mono")
        stream.bit_rate = MP3_BITS
        for chunk in stream_audio(file, MP3_RATE, max_duration=job.max_seconds):
            channel.check()
            frame = av.AudioFrame.from_ndarray(chunk[None], "fltp", "mono")
            frame.sample_rate = MP3_RATE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _check_length(upload: SoundFile, max_seconds: float, channel: Channel) -> None:
    """Refuse a sound that is too long, which `Captioner.similarity` does not."""
    with opened(upload) as file:
        for _ in stream_audio(file, CHECK_RATE, max_duration=max_seconds):
            channel.check()


def _send_caption(channel: Channel, fields: dict[str, object]) -> None:
    channel.send(CaptionFound(schemas.Caption.model_validate(fields)))


def _write_subtitles(
    captioner: Captioner,
    job: CaptionJob,
    form: Literal["srt", "vtt", "ass"],
    tape: Tape,
    channel: Channel,
) -> None:
    """Write events as `auricle subtitle` does, and windows as `auricle caption` does."""
    if job.segments == "events":
        text = write_cues(cues(_events(captioner, tape)), form).decode()
        channel.send(SubtitleText(text))
    elif form == "ass":
        shown = (Cue(c.start, c.end, c.text) for c in _captions(captioner, job, tape))
        channel.send(SubtitleText(write_cues(shown, form).decode()))
    else:
        rows = (Row(job.file.name, caption) for caption in _captions(captioner, job, tape))
        write_rows(rows, _TextFile(channel), form)


def _captions(captioner: Captioner, job: CaptionJob, tape: Tape) -> Iterator[Caption]:
    """Yield one caption of a short sound, and one for each window of a longer one."""
    chunks, beginning = iter(tape), []
    for chunk in chunks:
        beginning.append(chunk)
        if sum(map(len, beginning)) > (captioner.longest + SPARE_SECONDS) * captioner.rate:
            break
    else:
        yield captioner.caption(np.concatenate(beginning))
        return
    if job.segments == "whole":
        raise AudioError(
            f"{job.file.name}: longer than {captioner.longest:g} s, the most that gets one "
            "caption: ask for segments=windows or segments=events"
        )
    yield from captioner.caption_stream(itertools.chain(beginning, chunks))


def _events(captioner: Captioner, chunks: Iterable[np.ndarray]) -> Iterator[Event]:
    segmenter = Segmenter(captioner)
    for chunk in chunks:
        yield from segmenter.feed(chunk)
    yield from segmenter.finish()


def _explained(
    captioner: Captioner, job: CaptionJob, tape: Tape, row: Caption | Event
) -> dict[str, object]:
    """Return the field `explanation` of a caption, and the `alternatives` of an event.

    An explanation says where the decoder attended for each word; see `Captioner.attention`.
    """
    if not job.explain or (isinstance(row, Event) and row.state != "end"):
        return {}
    text = row.text if isinstance(row, Caption) else row.caption
    samples = tape.last(row.start, row.end)
    if is_silent(samples, captioner.rate):
        return {"explanation": None}
    others = {}
    if isinstance(row, Event):
        fields = row_fields(Row("", captioner.caption(samples)), ALTERNATIVES)
        others = {"alternatives": fields["alternatives"]}
    attention = captioner.attention(samples, text)
    sound, tags = split_positions(attention, captioner.checkpoint.config.decoder.tags)
    return others | {
        "explanation": {
            "start": round(row.end - len(samples) / captioner.rate, 3),
            "end": round(row.end, 3),
            "words": words(text),
            "sound": sound.round(4).tolist(),
            "tags": tags.sum(1).round(4).tolist(),
        }
    }


class _TextFile(io.StringIO):
    """A text file whose content goes to the server."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def write(self, text: str) -> int:
        self._channel.send(SubtitleText(text))
        return len(text)


class _MediaFile(io.RawIOBase):
    """A binary file, written front to back, whose content goes to the server."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._channel.send(Media(bytes(data)))
        return len(data)
