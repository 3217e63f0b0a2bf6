"""Every format, parsed back."""

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.captioning.results import Alternative, Caption, Match, Row, Tag
from auricle.errors import AudioError
from auricle.output.formats import CaptionFormat, TableFormat
from auricle.output.writers import CAPTION_COLUMNS, MATCH_COLUMNS, write_matches, write_rows

# Names as file systems allow them, but for carriage returns: Python's csv writes those unquoted,
# and loses them.
names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/\r"), min_size=1, max_size=20
)
texts = st.lists(
    st.sampled_from("a dog's bark far-off 2 rain".split()), min_size=1, max_size=8
).map(lambda some: " ".join(some).capitalize() + ".")
times = st.integers(0, 400_000_000).map(lambda milliseconds: milliseconds / 1000)


@st.composite
def captions(draw: st.DrawFn) -> Caption:
    start, end = sorted(draw(st.tuples(times, times)))
    similarity = st.none() | st.floats(-1, 1)
    alternatives = draw(
        st.lists(
            st.builds(Alternative, texts, st.floats(-50, 0), similarity), min_size=1, max_size=4
        )
    )
    tags = tuple(draw(st.lists(st.builds(Tag, texts, st.floats(0, 1)), max_size=10)))
    text, score = alternatives[0].text, alternatives[0].score
    confidence = draw(st.none() | st.floats(0, 1))
    return Caption(
        start, end, text, score, tuple(alternatives), draw(st.booleans()), tags, confidence
    )


rows = st.lists(st.builds(Row, names, captions()), max_size=5)


def written(some: list[Row], form: CaptionFormat, **options) -> str:
    file = io.StringIO(newline="")
    write_rows(some, file, form, **options)
    return file.getvalue()


def caption_of(row: Row) -> Caption:
    assert row.caption is not None
    return row.caption


def near(value: float | None) -> object:
    """As it is written, rounded to four digits."""
    return None if value is None else pytest.approx(value, abs=1e-4)


@given(rows, st.integers(1, 4))
def test_jsonl(some: list[Row], n_best: int):
    lines = written(some, "jsonl", n_best=n_best).split("\n")[:-1]
    for row, line in zip(some, lines, strict=True):
        caption, fields = caption_of(row), json.loads(line)
        expected = (
            [*CAPTION_COLUMNS, "tags", "alternatives"] if n_best > 1 else [*CAPTION_COLUMNS, "tags"]
        )
        assert list(fields) == expected
        assert (fields["file"], fields["caption"]) == (row.file, caption.text)
        assert (fields["start"], fields["end"]) == (caption.start, caption.end)
        assert fields["score"] == near(caption.score)
        assert fields["confidence"] == near(caption.confidence)
        assert [(tag["name"], tag["probability"]) for tag in fields["tags"]] == [
            (tag.name, near(tag.probability)) for tag in caption.tags
        ]
        if n_best > 1:
            assert [
                (a["caption"], a["score"], a["similarity"]) for a in fields["alternatives"]
            ] == [
                (a.text, near(a.score), near(a.similarity)) for a in caption.alternatives[:n_best]
            ]


@pytest.mark.parametrize(("form", "dialect"), [("csv", "excel"), ("tsv", "excel-tab")])
@given(some=rows, n_best=st.integers(1, 4))
def test_tables(form: CaptionFormat, dialect: str, some: list[Row], n_best: int):
    read = list(
        csv.DictReader(io.StringIO(written(some, form, n_best=n_best), newline=""), dialect=dialect)
    )
    expected = [
        (row, alternative) for row in some for alternative in caption_of(row).alternatives[:n_best]
    ]
    for fields, (row, alternative) in zip(read, expected, strict=True):
        assert list(fields) == list(CAPTION_COLUMNS)
        assert (fields["file"], fields["caption"]) == (row.file, alternative.text)
        assert (float(fields["start"]), float(fields["end"])) == (
            caption_of(row).start,
            caption_of(row).end,
        )
        assert float(fields["score"]) == near(alternative.score)
    first = [fields for fields in read if fields["confidence"]]
    sure = [caption_of(row).confidence for row in some if caption_of(row).confidence is not None]
    assert [float(fields["confidence"]) for fields in first] == [
        near(confidence) for confidence in sure
    ]


def seconds(clock: str, mark: str) -> float:
    match = re.fullmatch(rf"(\d\d+):([0-5]\d):([0-5]\d){re.escape(mark)}(\d\d\d)", clock)
    assert match, clock
    hours, minutes, whole, thousandths = map(int, match.groups())
    return (3_600_000 * hours + 60_000 * minutes + 1000 * whole + thousandths) / 1000


@pytest.mark.parametrize(("form", "mark", "head"), [("srt", ",", ""), ("vtt", ".", "WEBVTT\n\n")])
@given(some=rows)
def test_subtitles(form: CaptionFormat, mark: str, head: str, some: list[Row]):
    text = written(some, form)
    assert text.startswith(head)
    cues = text.removeprefix(head).split("\n\n")[:-1]
    for number, (row, cue) in enumerate(zip(some, cues, strict=True), 1):
        caption = caption_of(row)
        index, clocks, spoken = cue.split("\n")
        start, end = clocks.split(" --> ")
        assert (int(index), spoken) == (number, caption.text)
        assert (seconds(start, mark), seconds(end, mark)) == (caption.start, caption.end)


def test_clocks_beyond_an_hour():
    caption = Caption(
        3_599.9996, 36_061.25, "Rain.", -1.0, (Alternative("Rain.", -1.0),), whole=False
    )
    assert "01:00:00,000 --> 10:01:01,250" in written([Row("a", caption)], "srt")
    assert "01:00:00.000 --> 10:01:01.250" in written([Row("a", caption)], "vtt")
    assert (
        written([Row("a.wav", caption)], "text") == "a.wav: [01:00:00.000 - 10:01:01.250] Rain.\n"
    )


@given(rows, st.integers(1, 4), st.booleans())
def test_text_has_one_line_for_each_sentence(some: list[Row], n_best: int, named: bool):
    text = written(some, "text", n_best=n_best, named=named)
    sentences = [a.text for row in some for a in caption_of(row).alternatives[:n_best]]
    lines = text.split("\n")[:-1]
    assert len(lines) == len(sentences)  # also where a file's name has a line break in it
    assert all(line.endswith(sentence) for line, sentence in zip(lines, sentences, strict=True))
    if not named and all(caption_of(row).whole for row in some):
        assert lines == sentences


def test_rows_are_written_as_they_come():
    file = io.StringIO()
    caption = Caption(0.0, 1.0, "Rain.", -1.0, (Alternative("Rain.", -1.0),))

    def three():
        for number in range(3):
            assert file.getvalue().count("\n") == number
            yield Row(str(number), caption)

    write_rows(three(), file, "jsonl")


def test_a_row_without_a_caption_is_a_mistake():
    with pytest.raises(ValueError, match=r"a\.wav has no caption"):
        written([Row("a.wav", error=AudioError("a.wav: gone"))], "text")


@given(some=st.lists(st.builds(Match, names, st.floats(-1, 1)), max_size=5))
@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv"])
def test_similarities(form: TableFormat, some: list[Match]):
    file = io.StringIO(newline="")
    write_matches(some, file, form)
    file.seek(0)
    if form == "jsonl":
        read = [json.loads(line) for line in file.getvalue().split("\n")[:-1]]
    else:
        read = list(csv.DictReader(file, dialect="excel" if form == "csv" else "excel-tab"))
    for fields, match in zip(read, some, strict=True):
        assert tuple(fields) == MATCH_COLUMNS
        assert fields["file"] == match.file
        assert float(fields["similarity"]) == near(match.similarity)


@given(some=st.lists(st.builds(Match, names, st.floats(-1, 1)), max_size=5))
def test_similarities_as_text_are_a_line_each(some: list[Match]):
    file = io.StringIO()
    write_matches(some, file, "text")
    lines = file.getvalue().split("\n")[:-1]
    read = [float(line.split()[0]) for line in lines]
    assert read == [pytest.approx(match.similarity, abs=1e-3) for match in some]
