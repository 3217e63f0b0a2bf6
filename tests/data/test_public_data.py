"""`auricle data`: public sets from a server that breaks off, lies and errs; file names as they are
found; and manifests."""

import csv
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auricle.data import audiocaps, clotho, labelled
from auricle.data.audiocaps import prepare_audiocaps
from auricle.data.clotho import SPLITS, match_names, prepare_clotho
from auricle.data.labelled import prepare_labelled
from auricle.data.manifest import Item, read_manifest, write_manifest
from auricle.errors import AuricleError
from auricle.storage.download import DownloadError, Remote
from commands import Run
from loopback import Server, serving
from sounds import tone, write_wav

py7zr = pytest.importorskip("py7zr", reason="7z archives: pip install 'auricle[data]'")

# As Clotho has them: spaces at the ends, entities, commas, names that differ in a space or a
# capital.
NAMES = {
    "development": [
        "Rain ambience.wav",
        "Rain Ambience .wav",
        " typical.wav",
        "Rain&amp;Thunder.wav",
        "rain_thunder.wav",
    ],
    "validation": ["', &quot;quoted&quot; .wav", "City.wav"],
    "evaluation": ["City.wav", "fountain.wav", "Fountain .wav"],
}


def table(*rows: list[str], encoding: str = "utf-8") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(encoding)


def wav(tmp_path: Path, hz: float) -> bytes:
    return write_wav(tmp_path / "made.wav", tone(0.1, hz, 8_000), 8_000).read_bytes()


def esc50(tmp_path: Path) -> bytes:
    """ESC-50's archive in miniature."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        esc = [["filename", "fold", "target", "category", "esc10", "src_file", "take"]]
        esc += [
            ["1-77-A-0.wav", "1", "0", "dog", "True", "77", "A"],
            ["2-78-A-1.wav", "2", "1", "rooster", "True", "78", "A"],
        ]
        archive.writestr("ESC-50-33c8/meta/esc50.csv", table(*esc))
        archive.writestr("ESC-50-33c8/.gitignore", "x")
        for row in esc[1:]:
            archive.writestr(f"ESC-50-33c8/audio/{row[0]}", wav(tmp_path, 300))
    return packed.getvalue()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """All four data sets in miniature."""
    files: dict[str, bytes] = {}
    for split, names in NAMES.items():
        header = ["file_name", *clotho.CLOTHO_CAPTION_COLUMNS]
        rows = [
            [name, *(f"Caption {n} of {name}, {split} " for n in range(1, 6))] for name in names
        ]
        files[f"clotho_captions_{split}.csv"] = table(header, *rows)
        meta = [
            [name, "wind;Málaga", str(number) if number else "Not found"]
            for number, name in enumerate(names)
        ]
        files[f"clotho_metadata_{split}.csv"] = table(
            ["file_name", "keywords", "sound_id"], *meta, encoding="latin-1"
        )
    for split in SPLITS:
        path = tmp_path / "made.7z"
        with py7zr.SevenZipFile(path, "w") as archive:
            for number, name in enumerate(NAMES.get(split, ["test_0001.wav"])):
                archive.writestr(wav(tmp_path, 100 + number), f"{split}/{name}")
        files[f"clotho_audio_{split}.7z"] = path.read_bytes()
    header = ["audiocap_id", "youtube_id", "start_time", "caption"]
    for split in audiocaps.SPLITS:
        more = [["4", "-b_B0", "0", "Fourth."]] if split != "train" else []
        rows = [
            ["1", "-aA_9", "30", " First, of -aA_9."],
            ["2", "gone", "0", "Second."],
            ["3", "-aA_9", "30", "Third."],
        ]
        files[f"{split}.csv"] = table(header, *rows, *more)
    files["ESC-50.zip"] = esc50(tmp_path)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        slices = [
            ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
        ]
        slices += [["100-3-0-0.wav", "100", "0.0", "0.3", "1", "5", "3", "dog_bark"]]
        slices += [["101-3-0-0.wav", "101", "0.0", "0.3", "1", "6", "3", "siren"]]
        for name, content in (
            ("metadata/UrbanSound8K.csv", table(*slices)),
            ("audio/fold5/100-3-0-0.wav", wav(tmp_path, 400)),
            ("audio/fold5/._100-3-0-0.wav", b"a Mac's"),
        ):
            member = tarfile.TarInfo(f"UrbanSound8K/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    files["UrbanSound8K.tar.gz"] = packed.getvalue()
    (tmp_path / "made.7z").unlink()
    (tmp_path / "made.wav").unlink()
    with serving(Server(files)) as state:
        yield state


def remote(server: Server, name: str) -> Remote:
    return Remote(
        name, server.url + name, f"sha256:{hashlib.sha256(server.files[name]).hexdigest()}"
    )


@pytest.fixture
def clotho_remotes(server: Server) -> dict[str, Remote]:
    return {name: remote(server, name) for name in server.files if name.startswith("clotho")}


def test_clotho_with_the_papers_splits(
    server: Server, clotho_remotes: dict[str, Remote], tmp_path: Path
):
    folder = tmp_path / "clotho"
    prepared = prepare_clotho(folder, remotes=clotho_remotes)
    assert prepared.counts() == {
        "development": (5, 25, 0),
        "validation": (2, 10, 0),
        "evaluation": (3, 15, 0),
        "test": (1, 0, 0),
    }
    learnt = read_manifest(folder / "manifest.csv", {"development", "validation"})
    assert [(item.split, item.file.name) for item in learnt] == [
        (split, name) for split in ("development", "validation") for name in NAMES[split]
    ]
    assert all(
        item.captions[4] == f"Caption 5 of {item.file.name}, {item.split}" for item in learnt
    )
    assert [item.group for item in learnt] == ["", "1", "2", "3", "4", "", "1"]
    assert (
        len({item.file for item in read_manifest(folder / "manifest.csv", captioned=False)}) == 11
    )
    with pytest.raises(AuricleError, match="has no caption"):
        read_manifest(folder / "manifest.csv", {"test"})
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".csv") == sorted(SPLITS)
    asked = len(server.names)
    assert prepare_clotho(folder, remotes=clotho_remotes).items == prepared.items
    assert len(server.names) == asked, "a right file is not fetched again"


@pytest.mark.parametrize("cut", [1, 100])
def test_clotho_goes_on_after_a_stop(
    server: Server, clotho_remotes: dict[str, Remote], cut: int, tmp_path: Path
):
    folder, archive = tmp_path / "clotho", "clotho_audio_evaluation.7z"
    prepare_clotho(folder, splits=["development"], remotes=clotho_remotes)
    for name in ("clotho_captions_evaluation.csv", "clotho_metadata_evaluation.csv"):
        clotho_remotes[name].fetch(folder)
    (folder / f"{archive}.part").write_bytes(server.files[archive][:cut])
    server.asked.clear()
    prepared = prepare_clotho(folder, splits=["evaluation", "development"], remotes=clotho_remotes)
    assert server.asked == [f"bytes={cut}-"]
    assert [len(prepared.items), prepared.items[0].split] == [8, "development"]


def test_a_server_that_errs_leaves_nothing_half_written(
    server: Server,
    clotho_remotes: dict[str, Remote],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("auricle.storage.download.time.sleep", lambda _: None)
    folder, archive = tmp_path / "clotho", "clotho_audio_validation.7z"
    right = server.files[archive]
    server.files[archive] = right[:-1] + b"!"
    with pytest.raises(DownloadError, match="the file was removed"):
        prepare_clotho(folder, splits=["validation"], remotes=clotho_remotes)
    server.files[archive] = right
    server.length = 10
    with pytest.raises(DownloadError, match="the file was removed"):
        prepare_clotho(folder, splits=["validation"], remotes=clotho_remotes)
    server.length = None
    server.fail = [404]
    with pytest.raises(DownloadError, match="404"):
        prepare_clotho(folder, splits=["validation"], remotes=clotho_remotes)
    assert not (folder / "manifest.csv").exists()
    assert not (folder / "validation").exists()
    server.cut = [50, 60, 70]
    assert len(prepare_clotho(folder, splits=["validation"], remotes=clotho_remotes).items) == 2


def test_clothos_sounds_may_be_there_already(
    server: Server, clotho_remotes: dict[str, Remote], tmp_path: Path
):
    audio = tmp_path / "archive"
    for split, name in (
        ("clotho_development", "Rain ambience.flac"),
        ("clotho_development", "Rain&Thunder.wav"),
        ("clotho_evaluation/deep", "City.wav"),
        ("clotho_validation", "City.wav"),
    ):
        (audio / split).mkdir(parents=True, exist_ok=True)
        (audio / split / name).touch()
    prepared = prepare_clotho(tmp_path / "clotho", audio=audio, remotes=clotho_remotes)
    assert {(item.split, item.file.name, item.captions[0]) for item in prepared.items} == {
        ("development", "Rain ambience.flac", "Caption 1 of Rain ambience.wav, development"),
        ("development", "Rain&Thunder.wav", "Caption 1 of Rain&amp;Thunder.wav, development"),
        ("validation", "City.wav", "Caption 1 of City.wav, validation"),
        ("evaluation", "City.wav", "Caption 1 of City.wav, evaluation"),
    }
    assert prepared.counts()["development"] == (2, 10, 3)
    assert prepared.counts()["evaluation"] == (1, 5, 2)
    assert not any(name.endswith(".7z") for name in server.names)
    with pytest.raises(AuricleError, match="no split 'eval'"):
        prepare_clotho(tmp_path / "clotho", splits=["eval"], remotes=clotho_remotes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AuricleError, match="no files: expected the sounds of Clotho"):
        prepare_clotho(tmp_path / "clotho", audio=tmp_path / "empty", remotes=clotho_remotes)


def test_names_are_matched_as_exactly_as_can_be():
    def matched(names: list[str], *there: str) -> dict[str, str]:
        return match_names(names, {name: name for name in there})

    assert matched(["a.wav", "a .wav"], "a .wav", "a.wav") == {"a.wav": "a.wav", "a .wav": "a .wav"}
    assert matched(["a.wav", "a .wav"], "a .flac") == {"a .wav": "a .flac"}
    assert matched([" a .wav"], "a.wav") == {" a .wav": "a.wav"}
    assert matched(["x&amp;y.wav"], "x&y.wav") == {"x&amp;y.wav": "x&y.wav"}
    assert matched(["He said: é.wav"], "he_said_ e\u0301.WAV") == {
        "He said: é.wav": "he_said_ e\u0301.WAV"
    }
    assert matched(["a b.wav", "A_B.wav"], "a-b.wav") == {}, "which of them it is nobody can say"
    assert matched(["a b.wav"], "a-b.wav", "A B.wav") == {}


def test_every_name_of_clotho_finds_its_own_file(shared: Path):
    for split, count in (("development", 3839), ("validation", 1045), ("evaluation", 1045)):
        path = shared / f"corpus/captions/clotho_v2.1/clotho_captions_{split}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            names = [row["file_name"] for row in csv.DictReader(file)]
        assert match_names(names, {name: name for name in names}) == {name: name for name in names}
        assert len(names) == count
        flac = match_names(names, {f"{name.removesuffix('.wav')}.flac": name for name in names})
        assert flac == {name: name for name in names}


def test_audiocaps_counts_what_is_missing(server: Server, tmp_path: Path):
    remotes = {split: remote(server, f"{split}.csv") for split in audiocaps.SPLITS}
    audio = tmp_path / "audio" / "deep"
    audio.mkdir(parents=True)
    with pytest.raises(AuricleError, match=r"name them -aA_9_30\.wav, Y-aA_9_30\.wav"):
        prepare_audiocaps(tmp_path / "caps", audio, remotes=remotes)
    for name in ("-aA_9_30.flac", "-b_B0_0.m4a", "other.wav"):
        (audio / name).touch()
    prepared = prepare_audiocaps(tmp_path / "caps", audio.parent, remotes=remotes)
    assert prepared.counts() == {"train": (1, 2, 1), "val": (2, 3, 1), "test": (2, 3, 1)}
    first = next(item for item in prepared.items if item.split == "val")
    assert first == Item(
        audio / "-aA_9_30.flac", "val", ("First, of -aA_9.", "Third."), group="-aA_9"
    )


@pytest.mark.parametrize(
    "name",
    "Y-aA_9_30.wav -aA_9_30_40.wav Y-aA_9_30.000_40.000.flac Y-aA_9_30000_40000.m4a "
    "Y-aA_9_30.000 1.wav 3.opus".split(),
)
def test_audiocaps_clips_are_found_by_the_names_that_tools_give(
    server: Server, tmp_path: Path, name: str
) -> None:
    remotes = {split: remote(server, f"{split}.csv") for split in audiocaps.SPLITS}
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / name).touch()
    prepared = prepare_audiocaps(tmp_path / "caps", tmp_path / "audio", remotes=remotes)
    assert prepared.counts()["train"] == (1, 2, 1)
    assert prepared.items[0].file == tmp_path / "audio" / name
    assert prepared.items[0].group == "-aA_9"


def test_an_audiocaps_video_that_begins_with_y_is_no_other_video() -> None:
    assert "Yab_30" not in set(audiocaps.Clip("ab", "40").names())
    plain, with_y = audiocaps.Clip("ab", "30"), audiocaps.Clip("Yab", "30")
    assert next(plain.names()) == "ab_30"
    assert next(with_y.names()) == "Yab_30"


@pytest.mark.parametrize(
    ("data_set", "sounds", "missing"),
    [
        (
            labelled.ESC50,
            [
                ("audio/1-77-A-0.wav", "fold1", "dog", "77"),
                ("audio/2-78-A-1.wav", "fold2", "rooster", "78"),
            ],
            0,
        ),
        (labelled.URBANSOUND8K, [("audio/fold5/100-3-0-0.wav", "fold5", "dog_bark", "100")], 1),
    ],
    ids=["esc50", "urbansound8k"],
)
def test_labelled_sets(
    server: Server,
    data_set: labelled.LabelledSet,
    sounds: list[tuple[str, ...]],
    missing: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    data_set = replace(data_set, remote=remote(server, data_set.remote.name))
    server.cut = [100]
    monkeypatch.setattr("auricle.storage.download.time.sleep", lambda _: None)
    prepared = prepare_labelled(tmp_path / "set", data_set)
    base = tmp_path / "set" / data_set.name
    assert [
        (str(i.file.relative_to(base)), i.split, i.label, i.group) for i in prepared.items
    ] == sounds
    assert sum(map(len, prepared.missing.values())) == missing
    assert read_manifest(tmp_path / "set" / "manifest.csv", captioned=False) == [*prepared.items]
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == sorted(
        [data_set.name, "manifest.csv"]
    )
    prepare_labelled(tmp_path / "set", data_set)
    assert len(server.names) == 2, "unpacked once"


def test_the_published_checksums_are_of_the_right_kind():
    remotes = [
        *clotho.REMOTES.values(),
        *audiocaps.REMOTES.values(),
        labelled.ESC50.remote,
        labelled.URBANSOUND8K.remote,
    ]
    for file in remotes:
        algorithm, _, digest = file.checksum.partition(":")
        assert len(bytes.fromhex(digest)) == hashlib.new(algorithm).digest_size
        assert file.url.startswith("https://")


def test_the_published_captions_are_the_corpuss(shared: Path):
    folder = shared / "corpus/captions"
    for split in ("development", "validation", "evaluation"):
        digest = clotho.REMOTES[f"clotho_captions_{split}.csv"].checksum.partition(":")[2]
        content = (folder / f"clotho_v2.1/clotho_captions_{split}.csv").read_bytes()
        # Two of the files had other line ends when they were published.
        assert digest in [
            hashlib.md5(c).hexdigest() for c in (content, content.replace(b"\n", b"\r\n"))
        ]


def test_from_the_command_line(
    server: Server,
    clotho_remotes: dict[str, Remote],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    auricle: Run,
):
    for name, file in clotho_remotes.items():
        monkeypatch.setitem(clotho.REMOTES, name, file)
    result = auricle(
        "data", "clotho", tmp_path / "c", "--split", "evaluation", "--mirror", server.url
    )
    assert (result.code, result.out) == (0, f"{tmp_path / 'c' / 'manifest.csv'}\n")
    assert "evaluation" in result.err
    assert "licence: Tampere" in result.err


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path):
    items = [
        Item(tmp_path / "a, b" / "é.wav", "train", ("One.", 'Two, "quoted".'), "dog", "1"),
        Item(tmp_path / "c.wav", "test", (), "", ""),
    ]
    for item in items:
        item.file.parent.mkdir(exist_ok=True)
        item.file.touch()
    write_manifest(tmp_path / "new" / "manifest.csv", items)
    found = read_manifest(tmp_path / "new" / "manifest.csv", captioned=False)
    assert [replace(item, file=item.file.resolve()) for item in found] == items
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["manifest.csv"]
    assert np.all([not Path(item.file.name).is_absolute() for item in found])
