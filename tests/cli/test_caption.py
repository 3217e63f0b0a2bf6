"""The command line, as a user meets it."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from auricle.captioning.captioner import Captioner
from auricle.cli.main import app
from auricle.sound.find import find_sounds
from commands import Result, Run
from sounds import chirp, tone, write_media, write_tracks, write_wav

# The folder of sounds holds one file that is no sound.
SKIPPED = "auricle: skipped 1 file (--verbose names them)\n"
ROOT = Path(__file__).parents[2]
RATE = 32_000


@pytest.fixture
def caption(auricle: Run, tiny_checkpoint: Path) -> Run:
    """Runs `auricle caption` with the small model."""
    return lambda *arguments, **options: auricle(
        "caption", *arguments, "--checkpoint", tiny_checkpoint, **options
    )


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five sounds, some in folders below, and files that are no sounds."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "b" / "deep").mkdir(parents=True)
    write_wav(folder / "a.wav", chirp(2, 100, 5_000, RATE), RATE)
    write_wav(folder / "c.WAV", tone(1.5, 700, RATE), RATE)
    write_media(folder / "b" / "x, y.mp3", tone(2, 3_000, 44_100), 44_100, "libmp3lame")
    write_media(folder / "b" / "deep" / "ü.flac", chirp(1, 3_000, 10, 44_100), 44_100, "flac")
    write_media(folder / "b" / "film.mp4", chirp(2, 3_000, 10, 48_000), 48_000, "aac", video=True)
    (folder / "notes.txt").write_text("no sound")
    return folder


@pytest.fixture(scope="module")
def in_order(sounds: Path) -> list[str]:
    return [
        str(sounds / name)
        for name in ("a.wav", "c.WAV", "b/film.mp4", "b/x, y.mp3", "b/deep/ü.flac")
    ]


def test_one_sound_prints_its_caption_alone(caption: Run, captioner: Captioner, sounds: Path):
    result = caption(sounds / "a.wav")
    assert result == Result(0, captioner.caption(sounds / "a.wav").text + "\n", "")


def test_a_folder_is_searched_at_any_depth(
    caption: Run, captioner: Captioner, sounds: Path, in_order: list[str]
):
    result = caption(sounds)
    assert result.code == 0
    assert result.out.splitlines() == [
        f"{name}: {captioner.caption(name).text}" for name in in_order
    ]
    assert result.err == (
        "auricle: skipped 1 file (--verbose names them)\n5 sounds: 5 captioned, 0 failed\n"
    )


def test_globs_files_and_folders_keep_their_order(sounds: Path, in_order: list[str]):
    assert list(find_sounds([str(sounds / "*.wav")])) == in_order[:1]
    assert sorted(find_sounds([str(sounds / "**" / "*.*a*")])) == sorted(
        in_order[i] for i in (0, 4)
    )
    assert list(find_sounds([in_order[3], str(sounds / "*.[wW]*"), "-"])) == [
        in_order[3],
        *in_order[:2],
        "-",
    ]
    assert list(find_sounds([str(sounds / "notes.txt"), "gone.wav"])) == [
        str(sounds / "notes.txt"),
        "gone.wav",
    ]


def test_names_are_not_taken_for_globs(tmp_path: Path):
    path = write_wav(tmp_path / "[ab].wav", tone(1, 500, RATE), RATE)
    assert list(find_sounds([str(path)])) == [str(path)]


def test_bad_files_are_named_and_counted_and_stop_nothing(
    caption: Run, sounds: Path, in_order: list[str], tmp_path: Path
):
    (tmp_path / "empty.wav").touch()
    good, bad = in_order[:2], [tmp_path / "gone.wav", sounds / "notes.txt", tmp_path / "empty.wav"]
    result = caption(bad[0], good[0], bad[1], good[1], bad[2], "--format", "jsonl")
    assert result.code == 1
    assert [json.loads(line)["file"] for line in result.out.splitlines()] == good
    *errors, count = result.err.splitlines()
    assert count == "5 sounds: 2 captioned, 3 failed"
    assert [
        error.startswith(f"auricle: {path}: ") for path, error in zip(bad, errors, strict=True)
    ] == [True] * 3


def test_a_single_bad_file_fails_too(caption: Run):
    result = caption("gone.wav")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("auricle: gone.wav: no such file")


def test_standard_input(caption: Run, sounds: Path, captioner: Captioner):
    data = (sounds / "a.wav").read_bytes()
    expected = captioner.caption(data).text
    assert caption("-", stdin=data) == Result(0, f"{expected}\n", "")
    assert json.loads(caption("-", "-f", "jsonl", stdin=data).out)["file"] == "-"
    empty = caption("-")
    assert empty.code == 1
    assert re.match(r"auricle: .*empty", empty.err)


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
def test_formats_and_output_file(
    caption: Run, sounds: Path, in_order: list[str], tmp_path: Path, form: str
):
    output = tmp_path / "new" / f"captions.{form}"
    result = caption(sounds, "--format", form, "--output", output)
    assert (result.code, result.out) == (0, "")
    with output.open(encoding="utf-8", newline="") as file:
        if form == "jsonl":
            names = [json.loads(line)["file"] for line in file]
        else:
            names = [
                row["file"]
                for row in csv.DictReader(file, dialect="excel" if form == "csv" else "excel-tab")
            ]
    assert names == in_order
    assert caption(sounds, "--format", form).out == output.read_bytes().decode().replace(
        "\r\n", "\n"
    )


@pytest.mark.parametrize(
    ("form", "suffix"), [("srt", "srt"), ("vtt", "vtt"), ("textgrid", "TextGrid")]
)
def test_subtitles_of_several_sounds_go_into_a_folder(
    caption: Run, sounds: Path, tmp_path: Path, form: str, suffix: str
):
    refused = caption(sounds, "--format", form)
    assert refused.code == 1
    assert "--output" in refused.err
    assert caption(sounds, "--format", form, "--output", tmp_path / "subtitles").code == 0
    names = {
        str(path.relative_to(tmp_path / "subtitles"))
        for path in (tmp_path / "subtitles").rglob(f"*.{suffix}")
    }
    assert names == {f"{stem}.{suffix}" for stem in ("a", "c", "b/film", "b/x, y", "b/deep/ü")}
    assert caption(sounds / "a.wav", "--format", form).out == (
        tmp_path / "subtitles" / f"a.{suffix}"
    ).read_text("utf-8")


@pytest.mark.parametrize(
    "arguments",
    [["c1", "c2"], ["c1/t01.wav", "c2/t01.wav"], ["."], ["c*/t01.wav"], ["c1", "c2/t01.wav"]],
    ids=" ".join,
)
def test_subtitles_keep_the_folders_of_their_sounds(
    caption: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
):
    monkeypatch.chdir(tmp_path)
    for folder in ("c1", "c2"):
        (tmp_path / folder).mkdir()
        write_wav(tmp_path / folder / "t01.wav", tone(1, 500, RATE), RATE)
    assert caption(*arguments, "-f", "srt", "-o", "out").code == 0
    written = sorted(str(path) for path in Path("out").rglob("*.*"))
    assert written == ["out/c1/t01.srt", "out/c2/t01.srt"]


def test_subtitles_that_would_overwrite_each_other_are_refused(caption: Run, tmp_path: Path):
    first, second = (
        write_wav(tmp_path / f"a.{ending}", tone(1, 500, RATE), RATE) for ending in ("wav", "wave")
    )
    result = caption(first, second, "-f", "srt", "-o", tmp_path / "out")
    assert result.code == 1
    assert str(second) in result.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(tiny_checkpoint: Path, sounds: Path, tmp_path: Path, closed: str):
    """A command that does not need a stream works without it."""
    auricle = f"{sys.executable} -m auricle caption --checkpoint {tiny_checkpoint}"
    sound, output = sounds / "a.wav", tmp_path / "captions.txt"

    def run(arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", f"{auricle} {arguments} {closed}"], capture_output=True, text=True
        )

    to_file = run(f"{sound} -o {output}")
    assert (to_file.returncode, to_file.stderr) == (0, "")
    assert output.read_text()
    printed = run(str(sound))
    assert "Traceback" not in printed.stderr
    assert printed.returncode == (1 if " >&-" in f" {closed}" else 0)
    if "<" in closed:
        assert run("-").returncode == 1


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film whose sound, of 3 s, begins 1.5 s after its pictures."""
    path = tmp_path_factory.mktemp("late") / "late.mkv"
    return write_tracks(path, [chirp(3, 100, 5_000, RATE)], RATE, late=1.5)


def test_times_are_those_of_a_player(caption: Run, captioner: Captioner, late: Path):
    fields = json.loads(caption(late, "-f", "jsonl").out)
    assert (fields["start"], fields["end"]) == (1.5, 4.5)
    (row,) = csv.DictReader(io.StringIO(caption(late, "-f", "csv").out))
    assert (row["start"], row["end"]) == ("1.5", "4.5")
    assert "00:00:01,500 --> 00:00:04,500" in caption(late, "-f", "srt").out
    assert "00:00:01,500 --> " in caption("-", "-f", "srt", stdin=late.read_bytes()).out
    whole = captioner.caption(late)
    assert (whole.start, whole.end) == (1.5, 4.5)
    assert [whole] == list(captioner.captions(late))


def test_windows_of_a_sound_that_begins_late(caption: Run, tmp_path: Path):
    path = write_tracks(tmp_path / "late.mkv", [chirp(32, 50, 8_000, RATE)], RATE, late=1.5)
    rows = [
        json.loads(line) for line in caption(path, "-f", "jsonl", "--window", 6).out.splitlines()
    ]
    assert len(rows) > 1
    assert (rows[0]["start"], rows[-1]["end"]) == (1.5, 33.5)
    assert all((row["start"] - 1.5) % 6 == 0 for row in rows)


def test_tracks(caption: Run, captioner: Captioner, tmp_path: Path):
    path = write_tracks(
        tmp_path / "film.mkv", [tone(2, 700, RATE), chirp(2, 100, 5_000, RATE)], RATE
    )
    texts = [caption(path, "--track", track).out for track in (1, 2)]
    assert texts == [f"{next(captioner.captions(path, track=track)).text}\n" for track in (1, 2)]
    assert texts[0] != texts[1]
    assert caption(path).out == texts[0]
    refused = caption(path, "--track", 3)
    assert refused.code == 1
    assert "has no audio track 3; it has 2 (1: unnamed, 2: unnamed)" in refused.err


def test_long_sounds_are_shown_in_windows(caption: Run, tmp_path: Path):
    path = write_wav(tmp_path / "long.wav", chirp(32, 50, 8_000, RATE), RATE)
    lines = caption(path, "--window", 6).out.splitlines()
    assert len(lines) > 1
    assert lines[0].startswith("[00:00:00.000 - ")
    assert caption(path, "-f", "srt", "--window", 6).out.count("-->") == len(lines)


def test_beam_and_n_best(caption: Run, sounds: Path):
    path = sounds / "a.wav"
    # over the checkpoint's beam of 3
    assert len(caption(path, "--n-best", 5).out.splitlines()) == 5
    assert (
        caption(path, "--beam", 5).out.splitlines()
        == caption(path, "--n-best", 5).out.splitlines()[:1]
    )
    alternatives = json.loads(caption(path, "--n-best", 2, "-f", "jsonl").out)["alternatives"]
    assert len(alternatives) == 2
    refused = caption(path, "--beam", 2, "--n-best", 3)
    assert refused.code == 1
    assert "--n-best 3" in refused.err


def test_alternatives_tell_similarities_where_there_are_any(
    auricle: Run, tiny_guided_checkpoint: Path, sounds: Path
):
    line = auricle(
        "caption",
        sounds / "a.wav",
        "--checkpoint",
        tiny_guided_checkpoint,
        "-f",
        "jsonl",
        "--n-best",
        3,
    ).out
    fields = json.loads(line)
    assert len(fields["tags"]) == 10
    assert fields["confidence"] is None
    assert [set(alternative) for alternative in fields["alternatives"]] == [
        {"caption", "score", "similarity"}
    ] * 3


def test_silence_is_a_caption_too(caption: Run, tmp_path: Path):
    path = write_wav(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    assert caption(path, "--n-best", 3) == Result(0, "Silence.\n", "")
    fields = json.loads(caption(path, "-f", "jsonl").out)
    assert (fields["caption"], fields["confidence"], fields["tags"]) == ("Silence.", 1.0, [])


def test_explain_draws_one_sound(caption: Run, captioner: Captioner, sounds: Path, tmp_path: Path):
    pytest.importorskip(
        "matplotlib", reason="pictures are drawn with matplotlib: pip install 'auricle[explain]'"
    )
    data = (sounds / "a.wav").read_bytes()
    expected = Result(0, captioner.caption(data).text + "\n", "")
    assert caption(sounds / "a.wav", "--explain", tmp_path / "file.png") == expected
    assert caption("-", "--explain", tmp_path / "stdin.png", stdin=data) == expected
    assert (tmp_path / "file.png").read_bytes() == (tmp_path / "stdin.png").read_bytes() != b""
    refused = caption(sounds, "--explain", tmp_path / "no.png")
    assert (refused.code, refused.out, refused.err) == (
        1,
        "",
        f"{SKIPPED}auricle: --explain draws one sound, but 5 are given\n",
    )
    assert (
        caption("gone.wav", "--explain", tmp_path / "no.png").err
        == "auricle: gone.wav: no such file; check the path\n"
    )
    assert not (tmp_path / "no.png").exists()


@pytest.fixture
def rank(auricle: Run, tiny_guided_checkpoint: Path) -> Run:
    """Runs `auricle rank` with the small model that can compare."""
    return lambda *arguments, **options: auricle(
        "rank", *arguments, "--checkpoint", tiny_guided_checkpoint, **options
    )


def test_rank_puts_the_most_similar_first(
    rank: Run, guided: Captioner, sounds: Path, in_order: list[str]
):
    similarity = dict(
        zip(in_order, guided.similarity(in_order, ["a dog barks"])[:, 0].tolist(), strict=True)
    )
    expected = sorted(in_order, key=lambda name: -similarity[name])
    result = rank("a dog barks", sounds)
    assert (result.code, result.err) == (0, f"{SKIPPED}5 sounds: 5 compared, 0 failed\n")
    assert result.out.splitlines() == [f"{similarity[name]:6.3f}  {name}" for name in expected]
    assert (
        rank("a dog barks", sounds, "--top", 2, "--jobs", 1).out.splitlines()
        == result.out.splitlines()[:2]
    )
    lines = [
        json.loads(line) for line in rank("a dog barks", sounds, "-f", "jsonl").out.splitlines()
    ]
    assert lines == [
        {"file": name, "similarity": pytest.approx(similarity[name], abs=1e-4)} for name in expected
    ]
    table = csv.DictReader(io.StringIO(rank("a dog barks", sounds, "-f", "csv").out))
    assert [row["file"] for row in table] == expected


def test_rank_names_and_counts_bad_files(rank: Run, sounds: Path):
    result = rank("rain", "gone.wav", sounds / "a.wav", sounds / "notes.txt")
    assert result.code == 1
    assert result.out.count("\n") == 1
    *errors, count = result.err.splitlines()
    assert [error.split(":")[1].strip() for error in errors] == [
        "gone.wav",
        str(sounds / "notes.txt"),
    ]
    assert count == "3 sounds: 1 compared, 2 failed"


def test_rank_says_which_words_it_does_not_know(rank: Run, sounds: Path):
    known, partly = (
        rank("a dog", sounds / "a.wav"),
        rank("A theremin, dog of-lead!", sounds / "a.wav"),
    )
    assert (partly.code, partly.out) == (0, known.out)
    assert partly.err == "auricle: the model does not know: theremin, of-lead\n"
    nothing = rank("theremin", sounds / "a.wav")
    assert (nothing.code, nothing.out) == (1, "")
    assert nothing.err == "auricle: the model knows no word of 'theremin': say it in other words\n"


def test_rank_wants_a_model_that_can_compare(auricle: Run, tiny_checkpoint: Path, sounds: Path):
    result = auricle("rank", "rain", sounds, "--checkpoint", tiny_checkpoint)
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(rf"{re.escape(SKIPPED)}auricle: .* has no text tower\n", result.err)


@pytest.mark.parametrize(
    "wrong", [("--beam", 0), ("--window", 0.5), ("--format", "xml"), ("--nonsense",), ("--jobs", 0)]
)
def test_wrong_options_are_a_usage_error(caption: Run, sounds: Path, wrong: tuple):
    result = caption(sounds / "a.wav", *wrong)
    assert (result.code, result.out) == (2, "")
    assert wrong[0] in result.err


def test_names_that_are_not_text_are_written(caption: Run, tmp_path: Path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.wav")
    try:
        write_wav(Path(path), tone(1, 500, RATE), RATE)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    folder = caption(tmp_path, tmp_path, "-f", "jsonl")
    assert [json.loads(line)["file"] for line in folder.out.splitlines()] == [path, path]
    assert caption(tmp_path, tmp_path).out.count("\n") == 2


def test_an_empty_folder_is_an_error(caption: Run, tmp_path: Path):
    result = caption(tmp_path)
    assert (result.code, result.err) == (1, f"auricle: no sounds in {tmp_path}\n")


def test_a_folder_that_is_no_checkpoint(auricle: Run, sounds: Path, tmp_path: Path):
    for command in (
        ("caption", sounds / "a.wav", "--checkpoint", tmp_path),
        ("info", tmp_path),
        ("info", "gone"),
    ):
        result = auricle(*command)
        assert result.code == 1
        assert re.fullmatch(
            r"auricle: .* is not a checkpoint: config\.json is missing\n", result.err
        )


def commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]

    def add(command: object, path: tuple[str, ...]) -> None:
        for name, below in getattr(command, "commands", {}).items():
            found.append((*path, name))
            add(below, (*path, name))

    add(typer.main.get_command(app), ())
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_of_every_command(auricle: Run, command: tuple[str, ...]):
    result = auricle(*command, "--help")
    assert (result.code, result.err) == (0, "")
    assert "Usage" in result.out


def test_commands_are_there():
    assert {("caption",), ("rank",), ("pretrain",), ("train",), ("export",), ("info",)} <= set(
        commands()
    )


def test_info_of_a_checkpoint(auricle: Run, tiny_checkpoint: Path, tiny_guided_checkpoint: Path):
    for folder, tags, space in (
        (tiny_checkpoint, "none", "none"),
        (tiny_guided_checkpoint, "527", "8"),
    ):
        result = auricle("info", folder)
        assert result.code == 0
        for text in (
            "panns",
            "cnn10",
            "none: random numbers",
            f"tags        {tags}",
            f"space       {space}",
        ):
            assert text in result.out


@pytest.mark.parametrize("recipe", ["paper", str(ROOT / "configs" / "paper.toml")])
def test_info_of_the_papers_recipe_gives_its_table_1(auricle: Run, recipe: str):
    """About 6 M parameters of the pre-encoder and 9 M of the captioner, with Clotho's
    vocabulary."""
    pytest.importorskip(
        "torch", reason="networks are counted with torch: pip install 'auricle[train]'"
    )
    result = auricle("info", recipe, "--set", "data.manifest=gone.csv")
    sizes = {
        name: int(size.replace(",", ""))
        for name, size in re.findall(r"^([\w-]+) +([\d,]+)", result.out, re.M)
    }
    assert sizes["vocabulary"] == 4_369
    assert round(sizes["pre-encoder"], -6) == 6_000_000
    assert round(sizes["captioner"], -6) == 9_000_000


def test_a_typo_in_a_recipe_is_one_line(auricle: Run):
    result = auricle("info", ROOT / "configs" / "paper.toml", "--set", "trian.epochs=3")
    assert result.code == 1
    assert re.fullmatch(r"auricle: .*did you mean train\?\n", result.err)


def python(code: str, *arguments: object, **options) -> subprocess.CompletedProcess[str]:
    """Runs a program in a new interpreter, as a fresh user would."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_captioning_imports_no_torch(tiny_checkpoint: Path, sounds: Path):
    code = (
        "import sys, auricle\n"
        "assert 'torch' not in sys.modules\n"
        "from auricle.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'gensim', 'accelerate', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = python(code, "caption", sounds / "a.wav", "--checkpoint", tiny_checkpoint)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "command", [("info", "configs/paper.toml"), ("train", "configs/scratch.toml"), ("export", "x")]
)
def test_a_missing_extra_is_one_line(command: tuple[str, ...]):
    code = "import sys; sys.modules['torch'] = None; from auricle.cli.main import main; main()"
    result = python(code, *command, cwd=ROOT)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "auricle: torch is not installed: pip install 'auricle[train]'\n"


def test_matplotlib_missing_is_one_line(tiny_checkpoint: Path, sounds: Path, tmp_path: Path):
    code = "import sys; sys.modules['matplotlib'] = None; from auricle.cli.main import main; main()"
    arguments = (
        "caption",
        sounds / "a.wav",
        "--checkpoint",
        tiny_checkpoint,
        "--explain",
        tmp_path / "out.png",
    )
    result = python(code, *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "auricle: matplotlib is not installed: pip install 'auricle[explain]'\n"


def test_a_reader_that_has_enough_is_no_error(tiny_checkpoint: Path, sounds: Path):
    paths = [str(sounds / "a.wav")] * 30
    command = [
        sys.executable,
        "-m",
        "auricle",
        "caption",
        *paths,
        "--checkpoint",
        str(tiny_checkpoint),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(30) == 1
