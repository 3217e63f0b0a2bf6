"""What others wrote stays byte for byte, and players find both theirs and ours."""

import html
import math
import re
from pathlib import Path

import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.errors import AuricleError
from auricle.output.formats import SubtitleFormat
from auricle.subtitles.cues import Cue
from auricle.subtitles.files import (
    SUBTITLE_FORMATS,
    form_of,
    merge_cues,
    read_subtitles,
    write_cues,
)

SRT = """\
1
00:00:01,000 --> 00:00:02,500 X1:100 X2:200 Y1:10 Y2:20
<b>Hello.</b>

2
00:00:10,000 --> 00:00:12,000
{\\an8}Two lines
- <i>of text</i>

and one that a sloppy writer parted

7
00:01:00,000 --> 00:01:02,000
The end."""
VTT = """\
WEBVTT - A film
X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000

STYLE
::cue { color: yellow }

REGION
id:bill
width:40%

NOTE a remark
of two lines

intro
00:01.000 --> 00:02.500 line:10% align:start region:bill
<v Mary>Hello.</v>

NOTE between

00:00:10.000 --> 00:00:12.000
No name

01:00.000 --> 01:02.000
The end.

NOTE last
"""
ASS = """\
[Script Info]
; a comment
Title: A film
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Sign,Arial,20
Style: Default,Arial,24

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.00,0:00:02.50,Default,Mary,0,0,0,,{\\an8}Hello, you
Comment: 0,0:00:05.00,0:00:09.00,Default,,0,0,0,,not shown
Dialogue: 1,0:00:10.00,0:00:12.00,Sign,,0,0,0,,No\\Nname
Dialogue: 0,0:01:00.00,0:01:02.00,Default,,0,0,0,,The end.

[Fonts]
fontname: a.ttf
"""
TEXTS: dict[SubtitleFormat, str] = {"srt": SRT, "vtt": VTT, "ass": ASS}
OURS = [
    Cue(0.0, 0.9, "[wind blowing]"),
    Cue(3.0, 6.5, "[dog barking, rain falling on something\nrather long]"),
    Cue(7.0, 9.0, "[bell ringing]"),
    Cue(13.0, 15.0, "[siren wailing]"),
    Cue(3_700.0, 3_707.0, "[waves crashing]"),
]


def put(folder: Path, content: bytes, form: str) -> Path:
    path = folder / f"film.{form}"
    path.write_bytes(content)
    return path


def without(merged: bytes, original: bytes) -> bytes:
    """What was added, where all that was there is there in its order; otherwise the assertion
    fails."""
    added, at = bytearray(), 0
    for line in original.splitlines(keepends=True):
        found = merged.find(line, at)
        assert found >= 0, line
        added += merged[at:found]
        at = found + len(line)
    return bytes(added) + merged[at:]


@pytest.mark.parametrize("form", SUBTITLE_FORMATS)
def test_a_new_file_reads_back(tmp_path: Path, form: SubtitleFormat) -> None:
    path = put(tmp_path, write_cues(OURS, form), form)
    read = [
        (e.start / 1000, e.end / 1000, e.text.replace("\\N", "\n")) for e in pysubs2.load(str(path))
    ]
    assert read == [(cue.start, cue.end, cue.text) for cue in OURS]
    assert [(cue.start, cue.end) for cue in read_subtitles(path).cues] == [
        (cue.start, cue.end) for cue in OURS
    ]


HOSTILE = "A {dog} <i>barks</i> & {\\an8}howls \\h at --> it\n\n \r\nlast"
AS_TEXT = {
    "srt": ["A (dog) ‹i›barks‹/i› & (\\an8)howls \\h at --› it", "last"],
    "vtt": ["A {dog} <i>barks</i> & {\\an8}howls \\h at --> it", "last"],
    "ass": ["A (dog) <i>barks</i> & (\\\u2060an8)howls \\\u2060h at --> it", "last"],
}


@pytest.mark.parametrize("form", SUBTITLE_FORMATS)
def test_a_caption_is_text_and_no_markup(tmp_path: Path, form: SubtitleFormat) -> None:
    cues = [Cue(3.0, 4.0, HOSTILE), Cue(8.0, 9.0, "[bell ringing]")]
    for content in (
        write_cues(cues, form),
        merge_cues(read_subtitles(put(tmp_path, TEXTS[form].encode(), form)), cues),
    ):
        path = put(tmp_path, content, form)
        assert [cue.start for cue in read_subtitles(path).cues if 3 <= cue.start < 10] == [3.0, 8.0]
        # A tag that pysubs2 knows would be gone, and so would what stands in braces.
        (event,) = [
            event for event in pysubs2.load(str(path), keep_html_tags=True) if event.start == 3_000
        ]
        lines = event.text.replace("\\N", "\n").split("\n")
        if form == "vtt":
            assert not any("<" in line or "-->" in line for line in lines)
            lines = [html.unescape(line) for line in lines]
        assert lines == AS_TEXT[form]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("form", SUBTITLE_FORMATS)
def test_what_was_there_stays(
    tmp_path: Path, form: SubtitleFormat, encoding: str, newline: str
) -> None:
    text = TEXTS[form].replace("Hello", "Hällo ñ").replace("\n", newline)
    original = text.encode(encoding)
    file = read_subtitles(put(tmp_path, original, form))
    assert file.taken == [(1.0, 2.5), (10.0, 12.0), (60.0, 62.0)]
    assert merge_cues(file, []) == original
    merged = merge_cues(file, OURS)
    decoded = merged.decode(encoding)
    # In text, since half of a character of UTF-16 may look like the end of a line.
    added = without(decoded.encode(), text.encode()).decode()
    assert [line for line in added.splitlines() if line.startswith(("[", "rather"))] == [
        line for cue in OURS for line in cue.text.splitlines() if form != "ass"
    ]
    read = pysubs2.SSAFile.from_string(decoded.replace("\r\n", "\n"), format_=form)
    shown = sorted((e.start / 1000, e.end / 1000) for e in read if not e.is_comment)
    assert shown == sorted([*file.taken, *((cue.start, cue.end) for cue in OURS)])
    for cue in OURS:  # to pysubs2 a name or a note belongs to the text before it
        assert any(event.text.startswith(cue.text.replace("\n", "\\N")) for event in read)
    if newline == "\r\n":
        assert "\n" not in decoded.replace("\r\n", "")


def test_ours_come_in_the_order_of_time_and_notes_stay_with_what_follows(tmp_path: Path) -> None:
    merged = merge_cues(read_subtitles(put(tmp_path, VTT.encode(), "vtt")), OURS).decode()
    places = [
        merged.index(text)
        for text in ("[wind", "intro", "[dog", "[bell", "NOTE between", "No name", "[siren")
    ]
    assert places == sorted(places)
    assert merged.startswith(VTT[: VTT.index("intro")])
    assert merged.index("NOTE between") + len("NOTE between\n\n") == merged.index("00:00:10.000")


def test_numbers_go_on_where_theirs_end(tmp_path: Path) -> None:
    merged = merge_cues(read_subtitles(put(tmp_path, SRT.encode(), "srt")), OURS[:2]).decode()
    assert merged.startswith("8\n00:00:00,000 --> 00:00:00,900\n[wind blowing]\n\n1\n00:00:01,000")
    assert "\n9\n00:00:03,000 --> 00:00:06,500\n" in merged


def test_ass_has_columns_and_styles_of_its_own(tmp_path: Path) -> None:
    old = (
        "[Script Info]\nScriptType: v4.00\n[V4 Styles]\nFormat: Name, Fontname\nStyle: "
        "Top,Arial\n[Events]\n"
        "Format: Marked, Start, End, Style, Text\nDialogue: "
        "Marked=0,0:00:01.00,0:00:02.00,Top,Hello, you"
    )
    merged = merge_cues(
        read_subtitles(put(tmp_path, old.encode(), "ass")), [Cue(36_003.456, 36_005, "[bell]")]
    ).decode()
    assert merged == f"{old}\nDialogue: Marked=0,10:00:03.45,10:00:05.00,Top,[bell]\n"


def test_a_file_out_of_order_is_not_torn(tmp_path: Path) -> None:
    blocks = [
        f"{n}\n00:00:{s:02},000 --> 00:00:{s + 1:02},000\nText {n}\n\n"
        for n, s in ((1, 30), (2, 5), (3, 20))
    ]
    merged = merge_cues(
        read_subtitles(put(tmp_path, "".join(blocks).encode(), "srt")), OURS[:4]
    ).decode()
    assert all(block in merged for block in blocks)


@settings(max_examples=60, deadline=None)
@given(
    content=st.text(st.sampled_from("01:,.->\n\r \ufeffNOTEab[]Dialogue"), max_size=120),
    form=st.sampled_from(SUBTITLE_FORMATS),
)
def test_whatever_is_in_a_file_stays_in_it(
    tmp_path_factory: pytest.TempPathFactory, content: str, form: SubtitleFormat
) -> None:
    head = {"srt": "", "vtt": "WEBVTT\n\n", "ass": "[Events]\n"}[form]
    cue = {"ass": "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,Hi\n"}.get(
        form, "00:00:01.000 --> 00:00:02.000\nHi\n\n"
    )
    # A bracket begins another section, in which ours would be no cues.
    content = content.replace("[", "") if form == "ass" else content
    original = (head + content + "\n\n" + cue + content).encode()
    path = put(tmp_path_factory.mktemp("any"), original, form)
    try:
        file = read_subtitles(path)
    except AuricleError as error:
        number = re.search(r", line (\d+): ", str(error))
        assert number
        line = re.split(r"\r\n|\r|\n", original.decode())[int(number[1]) - 1]
        assert "-->" in line or "Dialogue" in line
        return
    assert merge_cues(file, []) == original
    without(merge_cues(file, OURS).replace(b"\r\r", b"\r"), original.replace(b"\r\r", b"\r"))


@pytest.mark.parametrize(
    ("name", "content"), [("a.srt", b""), ("a.vtt", b"WEBVTT\n"), ("a.ass", b"\0\xff" * 99)]
)
def test_a_file_without_cues_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AuricleError, match="holds no cue"):
        read_subtitles(tmp_path / name)


def test_what_is_no_subtitle_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuricleError, match=r"use \.srt, \.vtt or \.ass"):
        form_of(Path("film.txt"))
    with pytest.raises(AuricleError, match="cannot be read"):
        read_subtitles(tmp_path / "none.srt")


def block(times: str, form: SubtitleFormat) -> str:
    """A file with these times, and a cue of one minute to 62 s behind them."""
    if form == "ass":
        events = "[Events]\nFormat: Layer, Start, End, Text\n"
        return f"{events}Dialogue: 0,{times},Hi\nDialogue: 0,0:01:00.00,0:01:02.00,Bye\n"
    head, mark = ("WEBVTT\n\n", ".") if form == "vtt" else ("", ",")
    end = f"00:01:00{mark}000 --> 00:01:02{mark}000\nBye\n"
    return f"{head}1\n{times}\nHi\n\n2\n{end}"


@pytest.mark.parametrize(
    ("form", "times", "start", "end"),
    [
        ("srt", "00:00:06 --> 00:00:09", 6, 9),
        ("srt", "00:00:06, 500 --> 00:00:09, 000", 6.5, 9),
        ("srt", "00:00: 6,500  -->00:00:09 ,000", 6.5, 9),
        ("srt", "-00:00:01,000 --> 00:00:04,000", -1, 4),
        ("srt", "0:0:6,500 --> 0:0:9,000 X1:10 X2:20", 6.5, 9),
        ("srt", "00:06 --> 00:09", 6, 9),
        ("srt", "100:00:06,500 --> 100:00:09,000", 360_006.5, 360_009),
        # Some players count milliseconds (6.005 to 9.5 s and 7.234 to 9.012 s by FFmpeg).
        ("srt", "00:00:06,5 --> 00:00:09,5", 6.005, 9.5),
        ("srt", "00:00:06,1234 --> 00:00:09,12", 6.1234, 9.12),
        ("srt", "00:00:09,500 --> 00:00:06,500", 9.5, 60),  # until the next cue, by FFmpeg
        ("srt", "00:00:09,500 --> 00:00:09,500", 9.5, 60),
        ("srt", "00:01:10,000 --> 00:01:10,000", 70, math.inf),
        ("vtt", "00:06 --> 00:09", 6, 9),
        ("vtt", "00:00:06. 500 --> 00:00:09. 000 align:start", 6.5, 9),
        ("vtt", "-00:01.000 --> 00:04.000", -1, 4),
        ("ass", "0:00:06,0:00:09", 6, 9),
        ("ass", "-0:00:01.00,0:00:04.00", -1, 4),
        ("ass", "0:00: 6.00, 0:00:09.00", 6, 9),
        ("ass", "0:00:06:50,0:00:09:50", 6.5, 9.5),
        ("ass", "0:00:06.500,0:00:09.500", 6.5, 14),  # FFmpeg: 500 hundredths
        ("ass", "0:00:09.00,0:00:06.00", 9, 60),
    ],
)
def test_sloppy_times_are_read_as_players_read_them(
    tmp_path: Path, form: SubtitleFormat, times: str, start: float, end: float
) -> None:
    file = read_subtitles(put(tmp_path, block(times, form).encode(), form))
    assert file.taken[0] == pytest.approx((start, end))
    assert file.taken[1] == (60, 62)


@pytest.mark.parametrize(
    ("form", "times", "number"),
    [
        ("srt", "go --> there", 2),
        ("srt", "00:00:06:500 --> 00:00:09:500", 2),
        ("srt", "00:00:06,500 --> 00:00:09:500", 2),
        ("srt", "00:00:06;500 --> 00:00:09;500", 2),
        ("srt", "00:00:-6,500 --> 00:00:09,500", 2),
        ("srt", "00:00:06,500 -->", 2),
        ("srt", f"00:00:{'9' * 5000},500 --> 00:00:09,500", 2),
        ("vtt", "6.500 --> 9.500", 4),
        ("ass", "soon,later", 3),
        ("ass", "0:00:06.00", 3),
    ],
)
def test_times_that_cannot_be_read_are_refused_by_line(
    tmp_path: Path, form: SubtitleFormat, times: str, number: int
) -> None:
    path = put(tmp_path, block(times, form).encode(), form)
    with pytest.raises(AuricleError, match=rf"film\.{form}, line {number}: .*correct or delete"):
        read_subtitles(path)


@pytest.mark.parametrize(
    "line",
    [
        "1 00:00:20,000 --> 00:00:30,000",
        "00:00:20,000 -> 00:00:30,000",
        "00:00:20,000 00:00:30,000",
    ],
)
def test_times_that_only_pysubs2_reads_are_taken_and_not_torn(tmp_path: Path, line: str) -> None:
    """Other players show such a line as text of the cue before it."""
    text = f"1\n00:00:01,000 --> 00:00:02,000\nHello\n{line}\nyou\n\n"
    file = read_subtitles(put(tmp_path, text.encode(), "srt"))
    assert sorted(file.taken) == [(1, 2), (20, 30)]
    assert text in merge_cues(file, [Cue(5, 7, "[bell]"), Cue(40, 42, "[siren]")]).decode()


def test_text_right_before_times_stays_with_its_cue(tmp_path: Path) -> None:
    """Only a number, or in WebVTT a line behind an empty one, belongs to the times."""
    first, second = "00:00:01.000 --> 00:00:02.000\nHello\nyou\n", "00:00:10.000 --> 00:00:12.000\n"
    for form, head in (("srt", ""), ("vtt", "WEBVTT\n\n")):
        text = head + first + second + "Bye\n"
        file = read_subtitles(put(tmp_path, text.encode(), form))
        merged = merge_cues(file, [Cue(4, 6, "[bell]")]).decode()
        assert f"{first}\n" in merged
        assert merged.endswith(f"[bell]\n\n{second}Bye\n")


def test_ass_cues_outside_their_section_are_taken(tmp_path: Path) -> None:
    """FFmpeg and pysubs2 show them."""
    text = ASS + "Dialogue: 0,0:00:20.00,0:00:30.00,Default,,0,0,0,,late\n"
    assert (20, 30) in read_subtitles(put(tmp_path, text.encode(), "ass")).taken
