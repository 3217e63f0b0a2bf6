import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from auricle.cli.evaluate import compare, evaluate, metrics_app
from auricle.errors import AuricleError
from auricle.evaluation.chunks import ChunkProgress, Unscored
from sounds import chirp, write_wav

app = typer.Typer()
app.command()(evaluate)
app.command()(compare)
app.add_typer(metrics_app, name="metrics")


@pytest.fixture
def files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_java: Callable[[pytest.MonkeyPatch], None],
) -> Path:
    """Captions of two systems in a folder; no Java, so that nothing takes long."""
    without_java(monkeypatch)
    (tmp_path / "a.jsonl").write_text(
        '{"file": "1.wav", "caption": "A dog barks."}\n'
        '{"file": "2.wav", "caption": "Rain falls."}\n'
    )
    (tmp_path / "b.csv").write_text(
        "file,caption\n2.wav,rain falls on a roof\n1.wav,a dog is barking\n"
    )
    (tmp_path / "references.csv").write_text(
        "file_name,caption_1,caption_2\n"
        "1.wav,A dog is barking,A dog barks\n"
        "2.wav,Rain falls on a roof,It rains\n"
    )
    return tmp_path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def test_evaluate(files: Path) -> None:
    arguments = [
        "evaluate",
        "--candidates",
        files / "a.jsonl",
        "--references",
        files / "references.csv",
    ]
    printed = run(*arguments, "--report", files / "report", "--resamples", 50)
    assert "CIDEr-D" in printed
    assert "SPICE is missing: Java is not installed" in printed
    assert f"report: {files / 'report' / 'report.html'}" in printed
    assert sorted(path.name for path in (files / "report").iterdir()) == [
        "per_caption.csv",
        "report.html",
        "scores.json",
        "scores.md",
    ]
    saved = json.loads((files / "report" / "scores.json").read_text())
    assert json.loads(run(*arguments, "--json", "--resamples", 50)) == saved


def test_compare(files: Path) -> None:
    arguments = [
        "compare",
        files / "a.jsonl",
        files / "b.csv",
        "--references",
        files / "references.csv",
    ]
    found = json.loads(run(*arguments, "--json"))
    cider = found["differences"]["cider_d"]
    assert cider["difference"] == cider["second"] - cider["first"] > 0
    assert found["captions"] == 2
    printed = run(*arguments)
    assert "a.jsonl" in printed
    assert "METEOR is missing" in printed


def test_errors_are_ours_for_the_main_program_to_print(files: Path) -> None:
    with pytest.raises(AuricleError, match="cannot be read"):
        run("evaluate", "--candidates", files / "none", "--references", files / "references.csv")
    with pytest.raises(AuricleError, match="Java"):
        run("metrics", "install", "--from", files)


@pytest.mark.parametrize("seconds", ["inf", "nan", "0"])
def test_a_time_limit_is_a_number_of_seconds(files: Path, seconds: str) -> None:
    arguments = ["compare", files / "a.jsonl", files / "b.csv", "--time-limit", seconds]
    arguments += ["--references", files / "references.csv"]
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 2


@pytest.mark.usefixtures("untried")
def test_install_from_a_folder(java: str, shared: Callable[[str], Path]) -> None:
    del java
    assert "SPICE is ready" in run("metrics", "install", "--from", shared("reference/spice/jars"))


def test_starting_it_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys, auricle.cli.evaluate; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "pycocoevalcap", "auricle.evaluation.scores"} & set(modules)


def test_a_checkpoint_is_captioned_with_first(files: Path, tiny_checkpoint: Path) -> None:
    for name in ("1.wav", "2.wav"):
        write_wav(files / name, chirp(1.5, 200, 3000, 16_000), 16_000)
    (files / "manifest.csv").write_text(
        "file,split,caption_1,caption_2\n"
        "1.wav,test,A dog barks.,A bird sings.\n"
        "2.wav,test,Rain falls.,Wind blows.\n"
    )
    arguments = [
        "evaluate",
        "--checkpoint",
        tiny_checkpoint,
        "--manifest",
        files / "manifest.csv",
        "--split",
        "test",
    ]
    scores = json.loads(run(*arguments, "--resamples", 0, "--json"))
    assert scores["caption_length"] > 0
    with pytest.raises(
        AuricleError, match="--candidates and --references, or --manifest and --split"
    ):
        run("evaluate", "--manifest", files / "manifest.csv")


def test_bad_clips_are_left_out_and_listed_where_asked(files: Path, tiny_checkpoint: Path) -> None:
    names = ["1.wav", "2.wav", "damaged.wav", "gone.wav"]
    for name in names[:2]:
        write_wav(files / name, chirp(1.5, 200, 3000, 16_000), 16_000)
    (files / "damaged.wav").write_bytes(b"RIFF")
    rows = [f"{name},test,A dog barks." for name in names]
    manifest = files / "manifest.csv"
    manifest.write_text("\n".join(["file,split,caption", *rows]) + "\n", encoding="utf-8")
    arguments = ["evaluate", "--checkpoint", tiny_checkpoint, "--manifest", manifest]
    arguments += ["--split", "test", "--resamples", 0, "--json"]
    with pytest.raises(AuricleError, match=r"line 5: .*gone\.wav does not exist"):
        run(*arguments)
    result = CliRunner().invoke(app, [str(each) for each in (*arguments, "--skip-bad")])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["captions"] == 2
    listed = result.stderr.split("2 clips left out:")[1]
    assert "line 5:" in listed
    assert "gone.wav" in listed
    assert "damaged.wav" in listed


def test_a_caption_that_takes_too_long_is_named_and_the_others_are_scored(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """test_spice.py shows that SPICE itself gives such results."""

    def scored(
        candidates: list[str], _: object, *, caption_seconds: float, progress: ChunkProgress
    ) -> list[float | Unscored]:
        progress(1, len(candidates))
        return [Unscored(f"SPICE took more than {caption_seconds:g} s"), 0.5]

    monkeypatch.setattr("auricle.evaluation.metrics.find_java", lambda _: "java")
    monkeypatch.setattr("auricle.evaluation.metrics.missing_spice", lambda: None)
    monkeypatch.setattr("auricle.evaluation.metrics.spice", scored)
    arguments = ["evaluate", "--candidates", files / "a.jsonl"]
    arguments += ["--references", files / "references.csv"]
    arguments += ["--time-limit", 2, "--leave-out", "meteor", "--json"]
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0
    scores = json.loads(result.stdout)
    assert scores["unscored"][0] == {
        "file": "1.wav",
        "metric": "spice",
        "score": None,
        "reason": "SPICE took more than 2 s",
    }
    assert scores["spice"] == 0.5
    assert "auricle: SPICE" in result.stderr
