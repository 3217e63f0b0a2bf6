"""Whatever stands in a file, reading it gives what it says or an error of ours; what we wrote reads
back the same."""

import contextlib
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auricle.data.manifest import Item, read_manifest, write_manifest
from auricle.errors import AuricleError
from auricle.subtitles.cues import Cue
from auricle.subtitles.files import SUBTITLE_FORMATS, merge_cues, read_subtitles
from auricle.training.config import Recipe, load_recipe

CONFIG = Path(__file__).parents[1] / "configs/embedded.toml"
fast = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Text of one line that UTF-8 can hold.
words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20)
trimmed = words.map(str.strip).filter(bool)  # cells of a manifest have no blanks at their ends


def lines(*pieces: str) -> st.SearchStrategy[bytes]:
    """Files that are almost right: pieces of right ones among anything."""
    piece = st.one_of(st.sampled_from(pieces).map(str.encode), st.binary(max_size=12))
    return st.lists(piece, max_size=25).map(b"".join)


@fast
@given(
    st.one_of(
        st.binary(max_size=300),
        lines("file", "split", ",", "caption_1", "\n", "\r\n", '"', "a.wav", "train", "x"),
    )
)
def test_any_manifest(tmp_path: Path, content: bytes):
    path = tmp_path / "sounds.csv"
    path.write_bytes(content)
    for captioned in (True, False):
        with contextlib.suppress(AuricleError):
            items = read_manifest(path, check_files=False, captioned=captioned)
            assert items
            assert all(item.file.name for item in items)
            assert not captioned or all(item.captions for item in items)


@fast
@given(
    st.dictionaries(
        words,
        st.tuples(trimmed, st.lists(words, max_size=4), trimmed, trimmed),
        min_size=1,
        max_size=5,
    )
)
def test_a_manifest_reads_back(tmp_path: Path, rows: dict[str, tuple[str, list[str], str, str]]):
    items = []
    for number, (name, (split, texts, label, group)) in enumerate(rows.items()):
        captions = tuple(text.strip() for text in texts if text.strip())
        file = tmp_path / "sounds" / f"{number} {name.replace('/', '_')}.wav"
        items.append(Item(file, split, captions, label, group))
    write_manifest(tmp_path / "sounds.csv", items)
    assert read_manifest(tmp_path / "sounds.csv", check_files=False, captioned=False) == items


@fast
@given(
    lines(
        "[data]\n",
        "manifest",
        " = ",
        '"x"\n',
        "[train]\n",
        "epochs",
        "1\n",
        "[[",
        "extends",
        "output",
        "-1",
        "true",
        "{",
        "}",
    )
)
def test_any_recipe(tmp_path: Path, content: bytes):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with contextlib.suppress(AuricleError):
        assert isinstance(load_recipe(path), Recipe)


def names(cls: type, at: str = "") -> list[str]:
    """Every field of a recipe, dotted."""
    found = []
    for name, hint in get_type_hints(cls).items():
        found.append(at + name)
        if is_dataclass(hint) and isinstance(hint, type):
            found += names(hint, f"{at}{name}.")
    return found


@fast
@given(
    st.sampled_from(names(Recipe)),
    st.one_of(
        st.sampled_from(
            """1 -1 1e400 nan true "" [] {} [1,[2]] {a=1} 1979-05-27 'a' =""".split()
        ),
        st.integers().map(str),
        st.floats().map(str),
        st.text(max_size=10),
    ),
)  # fmt: skip
def test_any_value_of_a_recipe(name: str, value: str):
    try:
        recipe = load_recipe(CONFIG, [f"{name}={value}"])
    except AuricleError as error:
        assert str(error)  # noqa: PT017 - most values are wrong, and some are right
    else:
        assert isinstance(recipe, Recipe)


TIMES = ("00:00:01,000 --> 00:00:02,000\n", "0:01.5 --> 0:09.75\r\n", " --> ")
SRT = (*TIMES, "1\n", "2\r\n", "A bell.\n", "\n", "\r\n", "WEBVTT\n\n", "NOTE x\n")
EVENT = "Dialogue: 0:00:01.00,0:00:02.00,A bell\n"
ASS = (
    EVENT,
    "[Events]\n",
    "Format: Start, End, Text\n",
    "Dialogue: ",
    "[Script Info]\n",
    ",",
    "\n",
    "\r\n",
)
MARKS = (b"", b"\xef\xbb\xbf", b"\xff\xfe")


@pytest.mark.parametrize("form", SUBTITLE_FORMATS)
@fast
@given(data=st.data(), mark=st.sampled_from(MARKS))
def test_any_subtitles_stay_byte_for_byte(
    form: str, data: st.DataObject, mark: bytes, tmp_path: Path
):
    content = mark + data.draw(lines(*(ASS if form == "ass" else SRT)))
    path = tmp_path / f"film.{form}"
    path.write_bytes(content)
    times = data.draw(st.lists(st.floats(0, 10, allow_nan=False), max_size=4))
    cues = [Cue(start, start + 1, "[bell ringing]") for start in sorted(times)]
    try:
        file = read_subtitles(path)
    except AuricleError:
        return
    merged = merge_cues(file, cues)
    rest = iter(merged)
    assert all(byte in rest for byte in content), "the old file is a subsequence of the new one"
    if not cues:
        assert merged == content
