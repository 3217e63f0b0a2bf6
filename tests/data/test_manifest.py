"""The manifest: read whole, or refused with everything that is wrong in it."""

import csv
from pathlib import Path

import pytest

from auricle.data.manifest import SHOWN, read_manifest
from auricle.errors import AuricleError


def write(
    folder: Path, rows: list[list[str]], *, files: tuple[str, ...] = (), encoding: str = "utf-8"
) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    path = folder / "manifest.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_caption_and_numbered_captions_are_one_list_in_order(tmp_path: Path):
    header = ["file", "split", "caption_10", "caption_2", "caption_1", "caption", "label", "group"]
    row = ["a.wav", "train", "Ten.", "Two.", " One. ", "None.", "dog", "yard"]
    (item,) = read_manifest(write(tmp_path, [header, row], files=("a.wav",)))
    assert item.captions == ("None.", "One.", "Two.", "Ten.")
    assert (item.file, item.split, item.label, item.group) == (
        tmp_path / "a.wav",
        "train",
        "dog",
        "yard",
    )


def test_empty_captions_are_left_out_where_others_stand(tmp_path: Path):
    rows = [["file", "split", "caption_1", "caption_2"], ["a.wav", "train", "", "Two."]]
    (item,) = read_manifest(write(tmp_path, rows, files=("a.wav",)))
    assert item.captions == ("Two.",)


def test_rows_of_one_file_are_joined_and_items_keep_their_order(tmp_path: Path):
    rows = [
        ["file", "split", "caption"],
        ["b", "x", "1"],
        ["a", "x", "2"],
        ["b", "x", "3"],
        ["a", "x", "4"],
    ]
    items = read_manifest(write(tmp_path, rows, files=("a", "b")))
    assert [(item.file.name, item.captions) for item in items] == [
        ("b", ("1", "3")),
        ("a", ("2", "4")),
    ]


def test_a_byte_order_mark_and_other_scripts_are_read(tmp_path: Path):
    rows = [["file", "split", "caption"], ["klänge/é.wav", "train", "A café, naïve."]]
    (item,) = read_manifest(write(tmp_path, rows, files=("klänge/é.wav",), encoding="utf-8-sig"))
    assert item.file == tmp_path / "klänge" / "é.wav"
    assert item.captions == ("A café, naïve.",)


def test_files_are_relative_to_the_manifest_and_may_be_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    rows = [["file", "split", "caption"], ["sub/a", "x", "1"], [str(tmp_path / "b"), "x", "2"]]
    items = read_manifest(write(tmp_path, rows, files=("sub/a", "b")))
    assert [item.file for item in items] == [tmp_path / "sub/a", tmp_path / "b"]


def test_only_the_splits_wanted_are_read_and_checked(tmp_path: Path):
    rows = [
        ["file", "split", "caption"],
        ["a", "train", "1"],
        ["missing", "test", ""],
        ["b", "valid", "2"],
    ]
    path = write(tmp_path, rows, files=("a", "b"))
    assert [item.split for item in read_manifest(path, {"valid", "train"})] == ["train", "valid"]
    assert [item.split for item in read_manifest(path, {"valid"})] == ["valid"]
    with pytest.raises(AuricleError, match="no row has the split 'dev'"):
        read_manifest(path, {"dev", "train"})


def test_files_need_not_be_there_where_they_are_not_asked_for(tmp_path: Path):
    path = write(tmp_path, [["file", "split", "caption"], ["missing", "x", "1"]])
    assert len(read_manifest(path, check_files=False)) == 1
    with pytest.raises(AuricleError, match="missing is not there"):
        read_manifest(path)


def test_every_problem_is_listed_with_its_line(tmp_path: Path):
    rows = [
        ["file", "split", "caption", "label"],
        ["gone", "train", "1", ""],
        [],  # blank lines count too
        ["a", "train", "Two\nlines.", ""],
        ["b", "train", " ", ""],
        ["", "train", "1", ""],
        ["a", "valid", "1", ""],
        ["c", "train", "1", "dog", "more"],
        ["d", "train"],
    ]
    path = write(tmp_path, rows, files=("a", "b"))
    with pytest.raises(AuricleError) as caught:
        read_manifest(path)
    first, *problems = str(caught.value).split("\n  ")
    assert first == f"{path}: 6 problems:"
    assert problems == [
        f"line 2: {tmp_path / 'gone'} is not there",
        "line 6: b has no caption",
        "line 7: no file",
        "line 8: a stood before with another split, label or group",
        "line 9: not as many fields as the header has",
        "line 10: not as many fields as the header has",
    ]


def test_many_problems_are_counted(tmp_path: Path):
    rows = [["file", "split", "caption"], *([f"{i}", "x", "1"] for i in range(SHOWN + 7))]
    with pytest.raises(AuricleError) as caught:
        read_manifest(write(tmp_path, rows))
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(f"{SHOWN + 7} problems:")
    assert lines[-1].strip() == "and 7 more"
    assert len(lines) == SHOWN + 2


def test_every_problem_of_the_header_is_listed(tmp_path: Path):
    with pytest.raises(AuricleError) as caught:
        read_manifest(write(tmp_path, [["path", "captions"], ["a", "1"]]))
    for problem in (
        "'file' is missing",
        "'split' is missing",
        "no caption column",
        "'path'",
        "'captions'",
    ):
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"file,split,caption\n", b"\xff\xfe\x00f", b'file,split,caption\n"\x00']
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)
    with pytest.raises(AuricleError, match=r"manifest\.csv: "):
        read_manifest(path)
    with pytest.raises(AuricleError, match="cannot be read as a manifest"):
        read_manifest(tmp_path / "none.csv")
