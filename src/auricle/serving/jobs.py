"""The jobs of a worker process: caption, rank and decode uploads, and add captions to films."""

import io
import itertools
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
import numpy as np

from auricle.captioning.captioner import Captioner
from auricle.captioning.onnx_backend import split_positions
from auricle.captioning.reading import most_samples, read_beginning
from auricle.captioning.results import Caption, Row
from auricle.captioning.segmenter import Event, events_of
from auricle.checkpoint.vocabulary import words
from auricle.errors import AudioError, AuricleError
from auricle.output.formats import SubtitleFormat
from auricle.output.writers import event_fields, row_fields, write_rows
from auricle.serving import schemas
from auricle.serving.messages import (
    CaptionFound,
    CaptionJob,
    DecodeJob,
    FilmJob,
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
from auricle.subtitles.mux import CODECS, add_track, sorted_cues

ALTERNATIVES = 64  # of a caption, at most
MP3_RATE, MP3_BITS = 44_100, 96_000  # of decoded sound: Hz, and bits a second
FILM_PIECE_BYTES = 1 << 18
CHECK_RATE = 8_000  # Hz, at which the length of a sound is measured


def caption_job(captioner: Captioner, job: CaptionJob, channel: Channel) -> None:
    """Caption a file.

    Sends `CaptionFound`, or `SubtitleText` for subtitles, with `JobProgress` and `Overview` in
    between.

    Raises:
        AudioError: the sound cannot be read or is too long.
    """
    tape = Tape(captioner, job, channel)
    if job.format in ("srt", "vtt", "ass"):
        _write_subtitles(captioner, job, job.format, tape, channel)
    elif job.segments == "none":
        for _ in tape:
            pass
    elif job.segments == "events":
        for event in _events(captioner, tape):
            explained = _explained(captioner, job, tape, event)
            _send_caption(channel, job, event_fields(event) | explained)
    else:
        for number, caption in enumerate(_captions(captioner, job, tape), 1):
            fields = row_fields(Row("", caption), ALTERNATIVES)
            del fields["file"]
            explained = _explained(captioner, job, tape, caption)
            _send_caption(channel, job, {"id": number, "state": "end"} | fields | explained)


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
            channel.send(SoundCompared(schemas.ComparedSound(file=upload.name, error=str(error))))
            continue
        similarities = [round(float(value), 4) for value in found]
        channel.send(
            SoundCompared(schemas.ComparedSound(file=upload.name, similarities=similarities))
        )


def decode_job(captioner: Captioner, job: DecodeJob, channel: Channel) -> None:  # noqa: ARG001 (as all jobs are called)
    """Decode a file for a player: sends `Media`, pieces of mono mp3.

    Raises:
        AudioError: the sound cannot be read or is too long.
    """
    with opened(job.file) as file, av.open(_MediaFile(channel), "w", "mp3") as out:
        stream = out.add_stream("mp3", rate=MP3_RATE, layout="mono")
        stream.bit_rate = MP3_BITS
        for chunk in stream_audio(file, MP3_RATE, max_duration=job.max_seconds, aligned=True):
            channel.check()
            frame = av.AudioFrame.from_ndarray(chunk[None], "fltp", "mono")
            frame.sample_rate = MP3_RATE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def film_job(job: FilmJob, channel: Channel) -> None:
    """Add captions to a film as a track: sends `Media`, pieces of the film.

    Raises:
        AuricleError: the film cannot be read, or its container cannot hold it with captions.
    """
    cues = sorted_cues(Cue(start, end, text.strip()) for start, end, text in job.captions)
    # Without a name, so that nothing is left whatever happens.
    with opened(job.file) as film, tempfile.TemporaryFile(dir=Path(job.file.path).parent) as copy:
        try:
            add_track(film, cues, cast(BinaryIO, copy), film_ending(job.file.name))
        except AuricleError as error:
            raise AuricleError(f"{job.file.name}: {error}") from None
        copy.seek(0)
        while piece := copy.read(FILM_PIECE_BYTES):
            channel.check()
            channel.send(Media(piece))


def film_ending(name: str) -> str:
    """Return the ending of a film with captions: its own, or Matroska's, which holds anything."""
    ending = Path(name).suffix.lower()
    return ending if ending in CODECS else ".mkv"


def _check_length(upload: SoundFile, max_seconds: float, channel: Channel) -> None:
    """Refuse a sound that is too long, which `Captioner.similarity` does not."""
    with opened(upload) as file:
        for _ in stream_audio(file, CHECK_RATE, max_duration=max_seconds):
            channel.check()


def _send_caption(channel: Channel, job: CaptionJob, fields: dict[str, object]) -> None:
    """Send a caption, whose times count from the beginning of the file."""
    caption = schemas.CaptionJson.model_validate(fields)
    explanations = [] if caption.explanation is None else [caption.explanation]
    for row in (caption, *caption.events, *explanations):
        row.start = round(row.start + job.start_seconds, 3)
        row.end = round(row.end + job.start_seconds, 3)
    channel.send(CaptionFound(caption))


def _write_subtitles(
    captioner: Captioner,
    job: CaptionJob,
    form: SubtitleFormat,
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
    longest, rate = captioner.longest, captioner.rate
    beginning, rest = read_beginning(_from_first_sound(tape, rate), longest, rate)
    # The rest of a long sound, from some moment on, has the windows that the whole sound has.
    continued = job.segments != "whole" and job.start_seconds > 0
    if not len(beginning):
        return
    if rest is None and not continued:
        yield captioner.caption(beginning).begun_at(tape.start)
        return
    if job.segments == "whole" and len(beginning) > most_samples(longest, rate):
        raise AudioError(
            f"{job.file.name}: longer than {longest:g} s, the most that gets one "
            "caption: ask for segments=windows or segments=events"
        )
    pieces = itertools.chain([beginning], rest or ())
    yield from captioner.caption_stream(pieces, start_seconds=tape.start)


def _from_first_sound(tape: Tape, rate: int) -> Iterator[np.ndarray]:
    """Yield chunks without the silence before a sound that begins late."""
    samples = 0
    for chunk in tape:
        samples += len(chunk)
        if samples > round(tape.start * rate):
            yield chunk


def _events(captioner: Captioner, chunks: Iterable[np.ndarray]) -> Iterator[Event]:
    # Jobs share the processors, so a job takes one.
    return events_of(captioner, chunks, jobs=1)


def _explained(
    captioner: Captioner, job: CaptionJob, tape: Tape, row: Caption | Event
) -> dict[str, object]:
    """Return the field `explanation` of a caption, and the `alternatives` of an event.

    An explanation says where the decoder attended for each word; see `Captioner.attention`. Where
    the decoder words a plan, it attends to events, which the field `events` tells.
    """
    if not job.explain or (isinstance(row, Event) and row.state != "end"):
        return {}
    text = row.text if isinstance(row, Caption) else row.caption
    samples = tape.last(row.start, row.end)
    start = row.end - len(samples) / captioner.rate  # later than the row's if that is too long
    if is_silent(samples, captioner.rate):
        return {"explanation": None}
    others = {}
    if isinstance(row, Event):
        fields = row_fields(Row("", captioner.caption(samples)), ALTERNATIVES)
        others = {"alternatives": fields["alternatives"]}
    if captioner.planner is None:
        attention = captioner.attention(samples, text)
        sound, tags = split_positions(attention, captioner.checkpoint.config.decoder.tags)
    else:
        events = row.mentioned if isinstance(row, Event) else row.events
        sound = captioner.planner.moments(text, events, start, row.end)
        tags = np.zeros((len(sound), 1))
    return others | {
        "explanation": {
            "start": round(start, 3),
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
