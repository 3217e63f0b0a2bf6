"""Label tracks, read back as sound editors read them."""

import csv
import io
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.captioning.results import Alternative, Caption, Row
from auricle.output.formats import LabelFormat
from auricle.output.writers import write_rows

texts = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=30)


@st.composite
def captions(draw: st.DrawFn) -> list[Caption]:
    """Captions of one sound, in order of time, some with a gap between them."""
    found, time = [], 0.0
    for gap, seconds, text in draw(
        st.lists(st.tuples(st.integers(0, 3), st.integers(1, 20), texts), max_size=6)
    ):
        start = time + gap / 4
        time = start + seconds / 8
        found.append(Caption(start, time, text, -1.0, (Alternative(text, -1.0),), confidence=0.25))
    return found


def written(some: list[Caption], form: LabelFormat) -> str:
    file = io.StringIO()
    write_rows([Row("a.wav", caption) for caption in some], file, form)
    return file.getvalue()


def one_line(text: str) -> str:
    return " ".join(text.split())


@given(captions())
def test_audacity_reads_the_labels(some: list[Caption]):
    found = [
        re.fullmatch(r"(\d+\.\d+)\t(\d+\.\d+)\t([^\t]*)", line)
        for line in written(some, "audacity").split("\n")[:-1]
    ]
    assert [(float(m[1]), float(m[2]), m[3]) for m in found if m] == [
        (caption.start, caption.end, one_line(caption.text)) for caption in some
    ]


@given(captions())
def test_raven_reads_the_selections(some: list[Caption]):
    content = io.StringIO(written(some, "raven"), newline="")
    found = list(csv.DictReader(content, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [row["Selection"] for row in found] == [str(n) for n in range(1, len(some) + 1)]
    for row, caption in zip(found, some, strict=True):
        assert (float(row["Begin Time (s)"]), float(row["End Time (s)"])) == (
            caption.start,
            caption.end,
        )
        assert row["Annotation"] == one_line(caption.text)
        assert float(row["Low Freq (Hz)"]) < float(row["High Freq (Hz)"])
        assert float(row["Confidence"]) == 0.25


@given(captions().filter(len))
def test_praat_reads_the_intervals(tmp_path_factory: pytest.TempPathFactory, some: list[Caption]):
    textgrid = pytest.importorskip("praatio.textgrid", reason="pip install praatio")
    path = tmp_path_factory.mktemp("praat") / "a.TextGrid"
    path.write_text(written(some, "textgrid"), "utf-8")
    tier = textgrid.openTextgrid(str(path), includeEmptyIntervals=True).getTier("captions")
    entries = [(entry.start, entry.end, entry.label) for entry in tier.entries]
    # The intervals cover the sound without gaps.
    assert entries[0][0] == 0
    assert entries[-1][1] == some[-1].end
    assert all(one[1] == other[0] for one, other in itertools.pairwise(entries))
    expected = [(c.start, c.end, one_line(c.text)) for c in some if one_line(c.text)]
    assert [entry for entry in entries if entry[2]] == expected


def test_a_sound_without_captions_has_an_empty_track():
    assert written([], "audacity") == ""
    assert written([], "raven").count("\n") == 1
    assert "intervals: size = 0" in written([], "textgrid")
