import json
from pathlib import Path

import pytest

from auricle.evaluation.captions import CaptionsError, match, read_candidates, read_references


def write(folder: Path, content: str | bytes, name: str = "captions.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def test_candidates_as_auricle_caption_writes_them(tmp_path: Path) -> None:
    rows = [
        {
            "file": "a b.wav",
            "start": 0.0,
            "end": 5.0,
            "caption": 'A dog, "Rex", barks.',
            "score": -1.5,
        },
        {"file": "sub/ü.ogg", "start": 0.0, "end": 2.5, "caption": "", "score": None},
    ]
    expected = {"a b.wav": 'A dog, "Rex", barks.', "sub/ü.ogg": ""}
    lines = write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "captions.jsonl")
    assert read_candidates(lines) == expected
    table = (
        "file,start,end,caption,score\n"
        'a b.wav,0.0,5.0,"A dog, ""Rex"", barks.",-1.5\n'
        "sub/ü.ogg,0.0,2.5,,\n"
    )
    assert read_candidates(write(tmp_path, table)) == expected
    assert read_candidates(write(tmp_path, table.replace("\n", "\r\n") + "\r\n")) == expected
    assert read_candidates(write(tmp_path, table.replace("file,", "file_name,", 1))) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_say_what_they_are(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "file,caption\né.wav,Café noise\n".encode(encoding))
    assert read_candidates(path) == {"é.wav": "Café noise"}


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, delimiter: str) -> None:
    table = f"File_Name{delimiter} Caption\na.wav{delimiter}rain, and wind\n"
    assert read_candidates(write(tmp_path, table)) == {"a.wav": "rain, and wind"}


def test_another_encoding_is_refused_until_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "file,caption\na.wav,rain\nb.wav,Café noise\n".encode("latin-1"))
    with pytest.raises(CaptionsError, match=r"line 3: not utf-8 \(byte 0xe9\): give its encoding"):
        read_candidates(path)
    assert read_candidates(path, "latin-1")["b.wav"] == "Café noise"
    with pytest.raises(CaptionsError, match="no encoding 'latin-99'"):
        read_candidates(path, "latin-99")
    with pytest.raises(CaptionsError, match="zero bytes"):
        read_candidates(write(tmp_path, "file,caption\na.wav,rain\n".encode("utf-16-le")))


def test_references_in_columns_and_in_rows(tmp_path: Path) -> None:
    expected = {"a.wav": ("one", "two", "three"), "b.wav": ("four",)}
    columns = (
        "file_name,caption_2,caption_1,caption_10,more\na.wav,two,one,three,x\nb.wav,, four ,,x\n"
    )
    assert read_references(write(tmp_path, columns)) == expected
    rows = "caption,file\none,a.wav\nfour,b.wav\ntwo,a.wav\nthree,a.wav\n"
    assert read_references(write(tmp_path, rows)) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the first line must name the columns 'file' and 'caption'"),
        ("name;text\na.wav;rain\n", "the columns name;text: the first line"),
        ("file,text\na.wav,rain\n", "line 2: no caption"),
        ("file,caption\n", "no captions"),
        ("file,caption,caption\na.wav,rain,rain\n", "the column 'caption' twice"),
        (
            "file,caption\na.wav,rain, and wind\n",
            "line 2: 3 fields, expected 2 as in the header: quote",
        ),
        ('file,caption\na.wav,"rain\n', "line 2: not CSV: the quote that opens here"),
        ('file,caption\na.wav,"rain\nb.wav,wind"\n', "line 2: not CSV: the quote that opens here"),
        ('file,caption\na.wav,"rain\nb.wav,wind\nc.wav,"hail"\n', "line 2: not CSV: the quote"),
        ("file,caption\n,rain\n", "line 2: the 'file' field is missing or empty"),
        (
            "file,caption\na.wav,rain\nb.wav,wind\na.wav,rain\n",
            "two captions of a.wav, line 2 and 4",
        ),
        ('{"file": "a.wav", "caption": "rain"}\n{"file": \n', "line 2: not JSON"),
        ('{"file": "a.wav", "caption": "rain"}\n[1]\n', "line 2: .* is not a JSON object"),
        ('{"file": "a.wav", "caption": null}\n', "line 1: no caption"),
        ('{"file": 3, "caption": "rain"}\n', "line 1: the 'file' field is missing or empty"),
    ],
)
def test_what_is_no_table_of_captions_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(CaptionsError, match=message) as raised:
        read_candidates(write(tmp_path, content))
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,text\na.wav,rain\n", "no caption: expected the column 'caption', or 'caption_1'"),
        (
            "file,caption_1,caption_2\na.wav,rain,\nb.wav,, \n",
            "no caption of b.wav: expected one or more",
        ),
    ],
)
def test_references_without_captions_are_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(CaptionsError, match=message):
        read_references(write(tmp_path, content))


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(CaptionsError, match=r"none.csv: cannot be read \(No such file"):
        read_candidates(tmp_path / "none.csv")


def test_files_match_by_path_then_by_name() -> None:
    references = {"x/a.wav": ["one"], "y/a.wav": ["two"], "b.wav": ["three"], "c.wav": ["four"]}
    matched = match({"/data/b.wav": "B", "y\\a.wav": "A", "./x/a.wav": "AA"}, references)
    assert matched.references == (("three",), ("two",), ("one",))
    assert matched.files == ("/data/b.wav", "y\\a.wav", "./x/a.wav")
    assert matched.unused == 1


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ({"a.wav": ""}, "a.wav could be any of x/a.wav, y/a.wav in the references: give paths"),
        ({"z/a.wav": ""}, "could be any of"),
        (
            {"1/b.wav": "", "2/b.wav": ""},
            "1/b.wav and 2/b.wav both fit the references of b.wav",
        ),
        (
            {"d.wav": "", "e.wav": "", "f.wav": "", "g.wav": ""},
            "no references of d.wav, e.wav, f.wav and 1 more",
        ),
    ],
)
def test_files_that_do_not_match_one_to_one_are_refused(
    candidates: dict[str, str], message: str
) -> None:
    references = {"x/a.wav": ["one"], "y/a.wav": ["two"], "b.wav": ["three"]}
    with pytest.raises(CaptionsError, match=message):
        match(candidates, references)
    with pytest.raises(CaptionsError, match="in two ways"):
        match({}, {"a.wav": ["one"], "./a.wav": ["two"]})
