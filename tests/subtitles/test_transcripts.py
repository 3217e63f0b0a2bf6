"""Transcripts of whisper, faster-whisper and whisperX keep all bytes; ours go between sentences."""

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.captioning.segmenter import Event
from auricle.errors import AuricleError
from auricle.subtitles.cues import Cue, cues
from auricle.subtitles.files import merge_cues, read_existing
from auricle.subtitles.transcripts import merge_segments, parse_transcript

PATH = Path("film.json")
WHISPER: dict[str, Any] = {
    "text": " Hello. Ünd you?",
    "segments": [
        {
            "id": 0,
            "seek": 0,
            "start": 1.0,
            "end": 2.5,
            "text": " Hello.",
            "tokens": [50364, 2425],
            "avg_logprob": -0.27,
            "words": [{"word": " Hello.", "start": 1.0, "end": 2.7, "probability": 0.9}],
        },
        {"id": 1, "seek": 0, "start": 10.0, "end": 12.0, "text": " Ünd you?", "words": []},
    ],
    "language": "en",
}
WHISPERX: dict[str, Any] = {
    "segments": [
        {
            "start": 1.009,
            "end": 2.5,
            "text": "In 1999.",
            "words": [
                {"word": "In", "start": 1.009, "end": 1.2, "score": 0.8, "speaker": "SPEAKER_00"},
                {"word": "1999."},  # not aligned
            ],
            "speaker": "SPEAKER_00",
        }
    ],
    "word_segments": [{"word": "In", "start": 1.009, "end": 1.2, "score": 0.8}],
    "language": "en",
}
FASTER: dict[str, Any] = {  # the segments of faster-whisper as dictionaries
    "segments": [{"id": 1, "seek": 0, "start": 0, "end": 4, "text": " Hi.", "words": None}]
}
OURS = [Cue(0.0, 0.9, "[wind]"), Cue(4.1, 6.5, "[dog barking,\nrain]"), Cue(13, 15, "[siren]")]


def merged(whole: object, ours: list[Cue], **layout: Any) -> tuple[bytes, bytes]:
    before = json.dumps(whole, **layout).encode()
    return before, merge_segments(parse_transcript(before, PATH), ours)


@pytest.mark.parametrize("layout", [{}, {"indent": 2, "ensure_ascii": False}])
@pytest.mark.parametrize("whole", [WHISPER, WHISPERX, FASTER])
def test_ours_are_marked_and_the_rest_stays(whole: dict[str, Any], layout: dict[str, Any]):
    _, after = merged(whole, OURS, **layout)
    read = json.loads(after)
    theirs = [segment for segment in read["segments"] if "auricle" not in segment]
    assert read | {"segments": theirs} == whole
    ours = [segment for segment in read["segments"] if segment.get("auricle") is True]
    assert [(s["start"], s["end"], s["text"].strip()) for s in ours] == [
        (cue.start, cue.end, cue.text.replace("\n", " ")) for cue in OURS
    ]
    starts = [segment["start"] for segment in read["segments"]]
    assert starts == sorted(starts)
    # Programs that take the text from the words find it there.
    has_words = any(segment.get("words") is not None for segment in theirs)
    for segment in ours:
        assert ("words" in segment) == has_words
        assert not has_words or segment["words"][0]["word"] == segment["text"]
    assert len(pysubs2.load_from_whisper(read["segments"])) == len(read["segments"])


def test_numbers_and_blanks_stay_as_they_are_written():
    before = b'\xef\xbb\xbf{"x": 1.50e0,\r\n "segments" :[ {"start":1.0,"end":2.00,"text":""} ]}\n'
    after = merge_segments(parse_transcript(before, PATH), [OURS[0], OURS[2]])
    head, tail = before.split(b'{"start"')
    body, end = tail.split(b" ]}")
    assert after.startswith(head)
    assert b'{"start"' + body in after
    assert after.endswith(b" ]}" + end)
    assert merge_segments(parse_transcript(before, PATH), []) == before


def test_a_transcript_without_speech_gets_ours():
    _, after = merged({"text": "", "segments": []}, OURS)
    assert [segment["start"] for segment in json.loads(after)["segments"]] == [0, 4.1, 13]


times = st.integers(0, 60_000).map(lambda count: count / 1000)


@st.composite
def transcripts(draw: st.DrawFn) -> dict[str, Any]:
    """Transcripts with overlaps, empty segments, and words outside their segment."""
    segments = []
    for _ in range(draw(st.integers(0, 8))):
        start, end = sorted((draw(times), draw(times)))
        segment: dict[str, Any] = {"start": start, "end": end, "text": draw(st.text(max_size=9))}
        if draw(st.booleans()):
            first, last = sorted((draw(times), draw(times)))
            segment["words"] = [{"word": "a", "start": first, "end": last}, {"word": "b"}]
        segments.append(draw(st.permutations([*segment.items()]).map(dict)))
    more = draw(st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4)))
    return more | {"segments": segments, "language": "en"}


@st.composite
def events(draw: st.DrawFn) -> list[Event]:
    """Consecutive events over a minute."""
    edges = sorted({0.0, *draw(st.lists(times, min_size=1, max_size=8)), 61.0})
    names = st.sampled_from(["A dog barks.", "Rain falls on a roof.", "A bell rings."])
    return [
        Event(number, "end", start, end, draw(names), (), 0.9)
        for number, (start, end) in enumerate(itertools.pairwise(edges))
    ]


@given(transcripts(), events(), st.sampled_from([None, 2]), st.booleans())
def test_no_cue_lies_on_another(
    whole: dict[str, Any], heard: list[Event], indent: int | None, ascii_only: bool
):
    before = json.dumps(whole, indent=indent, ensure_ascii=ascii_only).encode()
    existing = parse_transcript(before, PATH)
    found = list(cues(heard, taken=existing.taken))
    read = json.loads(merge_segments(existing, found))
    ours = [segment for segment in read["segments"] if segment.get("auricle")]
    theirs = [segment for segment in read["segments"] if not segment.get("auricle")]
    assert read | {"segments": theirs} == whole
    assert len(ours) == len(found)
    spans = sorted((segment["start"], segment["end"]) for segment in ours)
    assert all(start < end for start, end in spans)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(spans))
    for segment in theirs:
        for shown in (segment, *(word for word in segment.get("words", ()) if "start" in word)):
            assert all(end < shown["start"] or start > shown["end"] for start, end in spans)


def wrong(**fields: object) -> dict[str, Any]:
    segment = {"start": 1.0, "end": 2.0, "text": "Hi"}
    return {"segments": [segment, segment | fields]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"segments": [\n{"start": 1,}]}', r"film\.json, line 2, column 1\d: .* expected JSON"),
        (b'{"segments": [', r"line 1, column 15: found the end .* expected JSON"),
        (b"\xff\xfe", "byte 0 is not UTF-8; expected a transcript in JSON"),
        ([1], r"the file: found \[1\], expected an object with a list 'segments'"),
        ({"text": ""}, "found the fields 'text', expected 'segments'"),
        ({"segments": {}}, r"segments: found \{\}, expected a list"),
        ({"segments": ["a"]}, r"segments\[0\]: found 'a', expected an object"),
        (wrong(start="1"), r"segments\[1\]\.start: found '1', expected seconds as a number"),
        (wrong(end=True), r"segments\[1\]\.end: found True, expected seconds"),
        (wrong(end=None), r"segments\[1\]\.end: found nothing, expected seconds"),
        (wrong(end=0.5), r"segments\[1\]\.end: found 0.5, expected at least its start, 1"),
        (wrong(start=-1), r"segments\[1\]\.start: found -1, expected 0 to 10000000 seconds"),
        (wrong(end=1e9), r"segments\[1\]\.end: found 1000000000.0, expected 0 to"),
        (wrong(end=float("nan")), "found NaN, expected numbers that JSON allows"),
        (wrong(text=7), r"segments\[1\]\.text: found 7, expected a text"),
        (wrong(text="a" * 100_001), r"\.text: found '100001 characters', expected at most 100000"),
        (wrong(words="a"), r"segments\[1\]\.words: found 'a', expected a list or null"),
        (wrong(words=[{"word": "a", "start": 1}]), r"\.words\[0\]\.end: found nothing"),
        (b'{"segments": [], "segments": []}', "found the field 'segments' twice"),
        (b'{"segments": [], "x": 1e999}', "found '1e999', expected a number that is not too"),
        (b'{"segments": [], "x": ' + b"1" * 5_000 + b"}", "a number with thousands of digits"),
        (b'{"segments": ' + b"[" * 100_000, "found deep nesting"),
    ],
)
def test_a_wrong_transcript_is_refused_with_the_place(content: object, problem: str):
    written = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(AuricleError, match=problem):
        parse_transcript(written, PATH)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_other_file_is_refused_or_kept(content: bytes):
    with contextlib.suppress(AuricleError):
        assert merge_segments(parse_transcript(content, PATH), []) == content


# As whisper writes WebVTT and SubRip.
VTT = "WEBVTT\n\n00:01.000 --> 00:02.500\nHello.\n\n00:10.000 --> 00:12.000\nYou?\n\n"
SRT = "1\n00:00:01,000 --> 00:00:02,500\nHello.\n\n2\n00:00:10,000 --> 00:00:12,000\nYou?\n\n"


@pytest.mark.parametrize(("name", "content"), [("a.vtt", VTT), ("a.srt", SRT)])
def test_the_subtitles_of_whisper_get_ours(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_text(content)
    after = merge_cues(read_existing(tmp_path / name), OURS).decode()
    texts = [line.text for line in pysubs2.SSAFile.from_string(after)]
    assert [text.split(",")[0].strip("[]") for text in texts] == [
        "wind",
        "Hello.",
        "dog barking",
        "You?",
        "siren",
    ]
