"""The manifest: read whole, or refused with everything that is wrong in it."""

import csv
import re
from pathlib import Path

import pytest

from auricle.data.manifest import MOST_LISTED, Item, read_manifest
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
    with pytest.raises(AuricleError, match="missing does not exist"):
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
        f"line 2: {tmp_path / 'gone'} does not exist",
        "line 6: b has no caption",
        "line 7: the 'file' field is empty",
        "line 8: a has another split, label or group in an earlier row",
        "line 9: 5 fields, expected 4 as in the header",
        "line 10: 2 fields, expected 4 as in the header",
    ]


def test_many_problems_are_counted(tmp_path: Path):
    rows = [["file", "split", "caption"], *([f"{i}", "x", "1"] for i in range(MOST_LISTED + 7))]
    with pytest.raises(AuricleError) as caught:
        read_manifest(write(tmp_path, rows))
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(f"{MOST_LISTED + 7} problems:")
    assert lines[-1].strip() == "and 7 more"
    assert len(lines) == MOST_LISTED + 2


def test_every_problem_of_the_header_is_listed(tmp_path: Path):
    with pytest.raises(AuricleError) as caught:
        read_manifest(write(tmp_path, [["path", "captions"], ["a", "1"]]))
    for problem in (
        "'file' is missing",
        "'split' is missing",
        "no caption column",
        "'path'",
        "'captions'",
        "line 1: ",
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


def raw(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "manifest.csv"
    path.write_bytes(text.encode(encoding))
    return path


HEADER = "file,split,caption\n"


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        # Closed by the quote of a later row, by the end of the file, and by a stray quote.
        ('a.wav,x,One.\nb.wav,x,"Two.\nc.wav,x,"Three."\n', 3),
        ('a.wav,x,"One.\nb.wav,x,Two.\n', 2),
        ('a.wav,x,One.\nb.wav,x,"Two.\nc.wav,x,Three.\nd.wav,y,Four."\n', 3),
        ('"a.wav,x,One.\nb.wav,x,Two.\nc.wav,x",Three.\nd.wav,x,Four.\n', 2),
        ('a.wav,x,One.\nb.wav,x,"Go" shouts a man.\n', 3),
    ],
)
def test_an_unclosed_quote_is_refused_at_its_line(tmp_path: Path, rows: str, line: int):
    with pytest.raises(AuricleError, match=rf"manifest\.csv, line {line}: not CSV"):
        read_manifest(raw(tmp_path, HEADER + rows), check_files=False)


def test_the_manifest_of_a_bug_report_is_refused_at_its_line():
    path = Path(__file__).parents[3] / "shared/faults/research/manifest_unclosed_quote.csv"
    if not path.exists():
        pytest.skip("no faults in ../shared: it is not part of the project")
    with pytest.raises(AuricleError, match="line 6: not CSV: the quote that opens here"):
        read_manifest(path, check_files=False)


def test_a_caption_of_two_lines_is_no_unclosed_quote(tmp_path: Path):
    text = HEADER + 'a.wav,x,"One,\ntwo, three, four."\nb.wav,x,Two.\n'
    items = read_manifest(raw(tmp_path, text), check_files=False)
    assert [item.captions for item in items] == [("One,\ntwo, three, four.",), ("Two.",)]


@pytest.mark.parametrize("header", ["file,split,caption,caption", "File,split,caption,FILE"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, header: str):
    with pytest.raises(AuricleError, match=r"line 1: two columns are called '(caption|file)'"):
        read_manifest(raw(tmp_path, f"{header}\na.wav,x,One.,b.wav\n"), check_files=False)


@pytest.mark.parametrize("other", ["./a.wav", "b/../a.wav", "{folder}/a.wav", " a.wav "])
def test_one_sound_under_two_names_is_one_sound(tmp_path: Path, other: str):
    other = other.format(folder=tmp_path)
    text = f"{HEADER}a.wav,x,One.\n{other},x,Two.\n"
    (item,) = read_manifest(raw(tmp_path, text), check_files=False)
    assert item.captions == ("One.", "Two.")
    with pytest.raises(AuricleError, match=r"line 3: .* has another split"):
        read_manifest(raw(tmp_path, f"{HEADER}a.wav,x,One.\n{other},y,Two.\n"), check_files=False)


@pytest.mark.parametrize(
    ("delimiter", "encoding", "said"),
    [
        (";", "utf-8", "semicolons"),
        ("\t", "utf-16", "UTF-16; .*tabs"),
        (",", "utf-8-sig", "File_Na"),
    ],
)
def test_tables_of_spreadsheets_are_read_and_one_line_says_how(
    tmp_path: Path, delimiter: str, encoding: str, said: str
):
    rows = [["File_Name", "SPLIT ", "Caption_1", "Group"], [" a.wav", " x ", "One, two. ", " g "]]
    text = "\n".join(delimiter.join(row) for row in rows)
    if delimiter == ",":
        text = text.replace("One, two. ", '"One, two. "')
    said_lines: list[str] = []
    (item,) = read_manifest(
        raw(tmp_path, text, encoding), {"x"}, check_files=False, say=said_lines.append
    )
    assert item == Item(tmp_path / "a.wav", "x", ("One, two.",), group="g")
    (line,) = said_lines
    assert re.search(said, line)
    assert "'File_Name' is read as 'file'" in line


def test_further_columns_are_ignored_and_one_line_lists_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = raw(tmp_path, "file,split,caption,licence,,licence\na.wav,x,One.,CC0,,\n")
    for _ in range(2):
        read_manifest(path, check_files=False)
    assert capsys.readouterr().err == (
        f"auricle: {path}: columns ignored: licence, (no name), licence\n"
    )


def test_a_file_whose_name_begins_with_a_blank_is_found(tmp_path: Path):
    rows = [["file", "split", "caption"], [" a.wav", "x", "One."]]
    (item,) = read_manifest(write(tmp_path, rows, files=(" a.wav",)))
    assert item.file == tmp_path / " a.wav"


def test_clips_that_are_not_there_may_be_left_out_and_listed(tmp_path: Path):
    rows = [["file", "split", "caption"], ["a", "x", "1"], ["gone", "x", "2"]]
    bad_clips: list[str] = []
    items = read_manifest(write(tmp_path, rows, files=("a",)), bad_clips=bad_clips)
    assert [item.file.name for item in items] == ["a"]
    assert bad_clips == [f"line 3: {tmp_path / 'gone'} does not exist"]


def test_another_encoding_is_refused_by_line(tmp_path: Path):
    path = raw(tmp_path, HEADER + "a.wav,x,Café.\n", "latin-1")
    with pytest.raises(AuricleError, match=r"line 2: not utf-8 .* save the manifest as UTF-8"):
        read_manifest(path, check_files=False)
