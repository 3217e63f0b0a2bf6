"""The command line: one thin function a command."""

import contextlib
import io
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.alerts.cli import alert_test
from auricle.audio import printable
from auricle.bulk.cli import bulk
from auricle.commands import (
    CheckpointFolder,
    Jobs,
    Paths,
    TableForm,
    finish,
    good,
    named_sounds,
    opened,
    opened_sounds,
    tell_unknown_words,
    with_progress,
)
from auricle.data.cli import data_app
from auricle.errors import AudioError, AuricleError
from auricle.evaluation.cli import compare, evaluate, metrics_app
from auricle.live.cli import listen
from auricle.reproduction.cli import reproduce
from auricle.search.cli import index, search
from auricle.serving.cli import serve
from auricle.subtitles.cli import subtitle

if TYPE_CHECKING:
    from auricle.captioner import Row

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown"
)


# Which extra installs what the core lacks.
EXTRAS = {
    **dict.fromkeys(("torch", "accelerate", "gensim", "safetensors", "onnx", "onnxscript"), "train"),
    "matplotlib": "explain",
    **dict.fromkeys(("huggingface_hub", "httpx2"), "hub"),
    "py7zr": "data",
    **dict.fromkeys(
        ("cryptography", "fastapi", "prometheus_client", "python_multipart", "uvicorn", "websockets"), "serve"
    ),
    "pycocoevalcap": "metrics",
    "sounddevice": "listen",
    **dict.fromkeys(("fsspec", "pyarrow", "ray"), "ray"),
    **dict.fromkeys(("apsw", "sqlite_vec"), "search"),
}


class Form(StrEnum):
    """Formats of captions."""

    text = "text"
    jsonl = "jsonl"
    csv = "csv"
    tsv = "tsv"
    srt = "srt"
    vtt = "vtt"


def show_version(wanted: bool) -> None:
    """Prints the version and ends."""
    if wanted:
        from importlib.metadata import version

        print(f"auricle {version('auricle')}")
        raise typer.Exit


@app.callback()
def auricle(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Automated audio captioning: a sound goes in, a sentence comes out."""


@app.command()
def caption(
    paths: Paths,
    checkpoint: CheckpointFolder = None,
    form: Annotated[Form, typer.Option("--format", "-f", help="How captions are written.")] = Form.text,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; a folder for subtitles of several sounds.")
    ] = None,
    beam: Annotated[int | None, typer.Option(min=1, max=64, help="Hypotheses kept by the beam search.")] = None,
    n_best: Annotated[int, typer.Option(min=1, max=64, help="Sentences for each sound, the best first.")] = 1,
    window: Annotated[float, typer.Option(min=1.0, max=30.0, help="Seconds of a window of sounds over 30 s.")] = 10.0,
    explain: Annotated[
        Path | None, typer.Option(metavar="PICTURE.png", help="Draw where in one sound each word was heard.")
    ] = None,
    jobs: Jobs = None,
    max_duration: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="Refuse longer sounds.")
    ] = None,
) -> None:
    """Caption sounds: a sentence each, and one every 10 s for sounds over 30 s.

    Examples:

        auricle caption dog.wav

        auricle caption recordings/ --format jsonl --output captions.jsonl

        auricle caption film.mkv --format srt --output film.srt

        auricle caption dog.wav --explain dog.png

        ffmpeg -i rtsp://camera -f wav - | auricle caption -
    """
    from auricle.captioner import Captioner, Row
    from auricle.checkpoint import EMBEDDED, load_checkpoint

    loaded = load_checkpoint(checkpoint or EMBEDDED)
    options = loaded.config.decoding
    options = replace(options, beam=beam or max(options.beam, n_best))
    if n_best > options.beam:
        raise AuricleError(f"--n-best {n_best} wants --beam {n_best} or more, and it is {options.beam}")
    captioner = Captioner(loaded, options)
    names = named_sounds(paths)
    if explain is not None and len(names) > 1:
        raise AuricleError(f"--explain draws one sound, and these are {len(names)}")
    subtitles = form in (Form.srt, Form.vtt)
    if subtitles and len(names) > 1 and (output is None or output.is_file()):
        raise AuricleError(f"{len(names)} sounds as {form} go into a folder: name it with --output")
    if subtitles and len(names) > 1:
        check_targets(names, output, form)

    if explain is not None:
        from auricle.explain import explain as draw

        rows = (Row(name, draw(captioner, source, explain)) for name, source in opened_sounds(names))
    else:
        rows = captioner.caption_files(opened_sounds(names), window=window, jobs=jobs, max_duration=max_duration)
    errors: list[AudioError] = []
    with contextlib.closing(rows):  # type: ignore[type-var]
        shown = rows if output is None else with_progress(rows, len(names), "Captioning")
        if subtitles and len(names) > 1:
            assert output is not None
            write_each(good(shown, errors), output, form, n_best)
        else:
            write_all(good(shown, errors), output, form, n_best, named=len(names) > 1 or paths != names)
    finish(len(names), len(errors), "captioned")


@app.command()
def rank(
    sentence: Annotated[str, typer.Argument(help="What to listen for, in plain words.")],
    paths: Paths,
    checkpoint: CheckpointFolder = None,
    form: Annotated[TableForm, typer.Option("--format", "-f", help="How similarities are written.")] = TableForm.text,
    top: Annotated[int | None, typer.Option(min=1, help="Only so many, the most similar.")] = None,
    jobs: Jobs = None,
) -> None:
    """Sort sounds by a sentence, the most similar first; a sound over 30 s counts as its most similar 10 s.

    Examples:

        auricle rank "glass breaking" recordings/

        auricle rank "a dog barks in the distance" *.wav --top 10

        auricle rank "rain on a roof" recordings/ --format csv > rain.csv
    """
    from auricle.captioner import load
    from auricle.writers import write_matches

    captioner = load(checkpoint)
    names = named_sounds(paths)
    matches = captioner.similarity_files(sentence, opened_sounds(names), jobs=jobs)
    tell_unknown_words(sentence, captioner)
    errors: list[AudioError] = []
    with contextlib.closing(matches):  # type: ignore[type-var]
        found = list(good(with_progress(matches, len(names), "Listening"), errors))
    found.sort(key=lambda match: -(match.similarity or 0.0))
    with opened(None) as file:
        write_matches(found[:top], file, form.value)
    finish(len(names), len(errors), "compared")


def check_targets(names: Iterable[str], output: Path | None, form: Form) -> None:
    """Refuses sounds whose subtitles would be written to the same file."""
    seen: dict[str, str] = {}
    for name in names:
        target = f"{subtitle_stem(name)}.{form}"
        if target in seen:
            raise AuricleError(f"{seen[target]} and {name} would both be written to {target} in {output}")
        seen[target] = name


def subtitle_stem(name: str) -> str:
    """The name of a sound's subtitles without suffix."""
    return "standard-input" if name == "-" else Path(name).stem


def write_all(rows: Iterable["Row"], output: Path | None, form: Form, n_best: int, *, named: bool) -> None:
    """Writes all captions to one file, as they come."""
    from auricle.writers import write_rows

    with opened(output) as file:
        write_rows(rows, file, form.value, n_best=n_best, named=named)


def write_each(rows: Iterable["Row"], folder: Path, form: Form, n_best: int) -> None:
    """Writes a subtitle file for each sound, each whole or not at all."""
    from itertools import groupby

    from auricle.writers import write_rows

    for name, own in groupby(rows, key=lambda row: row.file):
        with opened(folder / f"{subtitle_stem(name)}.{form}") as file:
            write_rows(own, file, form.value, n_best=n_best)


Recipe = Annotated[Path, typer.Argument(help="A recipe: a TOML file, or one of configs/ by name.", metavar="CONFIG")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value in place of the recipe's; may be repeated.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a training that was stopped.")]


@app.command()
def pretrain(recipe: Recipe, settings: Settings = None, resume: Resume = False) -> None:
    """Train the pre-encoder: contrastive learning on sounds and their captions.

    Examples:

        auricle pretrain configs/paper.toml

        auricle pretrain configs/paper.toml --set pretrain.epochs=10 --resume

        accelerate launch -m auricle pretrain configs/paper.toml
    """
    from auricle.training.config import load_recipe
    from auricle.training.pretrain import pretrain

    print(pretrain(load_recipe(recipe, settings or []), resume=resume))


class Stage(StrEnum):
    """What a captioner learns from."""

    words = "words"
    scst = "scst"


@app.command()
def train(
    recipe: Annotated[
        Path | None, typer.Argument(help="A recipe, as for pretrain; finetune with --from.", metavar="CONFIG")
    ] = None,
    settings: Settings = None,
    resume: Resume = False,
    stage: Annotated[
        Stage, typer.Option(help="words: the next word of captions; scst: CIDEr-D of what it says, afterwards.")
    ] = Stage.words,
    start: Annotated[
        str | None, typer.Option("--from", metavar="FOLDER", help="Go on from a captioner: a checkpoint, or embedded.")
    ] = None,
) -> None:
    """Train the captioner, and export it: a checkpoint folder to caption with.

    Examples:

        auricle train configs/paper.toml

        auricle train configs/scratch.toml --set data.manifest=my/sounds.csv --set output=runs/mine

        auricle caption clip.wav --checkpoint runs/mine/captioner

        auricle train configs/paper.toml --stage scst

        auricle train --from embedded --set data.manifest=my/sounds.csv --set output=runs/mine
    """
    if recipe is None and start is None:
        raise AuricleError("a recipe is wanted: `auricle train CONFIG`, or `--from embedded` to fine-tune")
    from auricle.training.config import load_recipe

    begun = [] if start is None else ["train.initial=checkpoint", f"train.weights={start}"]
    asked = load_recipe(recipe or Path("finetune"), [*begun, *(settings or [])])
    if stage is Stage.words:
        from auricle.training.train import train

        print(train(asked, resume=resume))
    else:
        from auricle.training.scst import train_scst

        print(train_scst(asked, resume=resume))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A checkpoint folder with model.safetensors.")],
) -> None:
    """Write a checkpoint's ONNX files anew from its weights; `auricle train` does so at its end.

    Example:

        auricle export runs/paper/captioner
    """
    from auricle.training.export import export_onnx

    export_onnx(folder)
    print(folder)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="A checkpoint folder.")],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Where to, on the Hugging Face Hub.")],
    private: Annotated[bool, typer.Option("--private", help="If it is new: for your eyes only.")] = False,
    message: Annotated[str, typer.Option("--message", "-m", help="Of the commit.")] = "Push by auricle",
) -> None:
    """Put a checkpoint on the Hugging Face Hub, with its README.md as its card, or one made of what it says of itself.

    `hf auth login` logs you in. Nothing but what belongs to a checkpoint is pushed.

    Examples:

        auricle push runs/mine/captioner me/city-sounds --private

        auricle caption tram.wav --checkpoint me/city-sounds
    """
    from auricle import hub
    from auricle.captioner import Captioner
    from auricle.checkpoint import FILES, MORE_FILES, card, load_checkpoint

    checkpoint = load_checkpoint(folder)
    Captioner(checkpoint)  # what cannot be captioned with is not pushed
    files: dict[str, Path | bytes] = {file: folder / file for file in FILES | MORE_FILES if (folder / file).exists()}
    files["README.md"] = card(checkpoint, name).encode()
    print(hub.push(name, files, private=private, message=message))


@app.command()
def info(
    target: Annotated[Path | None, typer.Argument(help="A checkpoint folder, or a recipe.")] = None,
    settings: Settings = None,
) -> None:
    """Say what a checkpoint is and under which licence, or how many parameters a recipe's parts have.

    Examples:

        auricle info

        auricle info runs/paper/captioner

        auricle info configs/paper.toml
    """
    if target is not None and target.suffix == ".toml":
        from auricle.training.config import load_recipe
        from auricle.training.parameters import describe

        print(describe(load_recipe(target, settings or [])))
        return
    from auricle.checkpoint import EMBEDDED, load_checkpoint

    checkpoint = load_checkpoint(target or EMBEDDED)
    config = checkpoint.config
    print(f"folder      {checkpoint.folder}")
    print(f"front end   {config.front_end}")
    print(f"encoder     {config.encoder.architecture}, width {config.encoder.width:g}")
    print(f"decoder     {config.decoder.layers} layers of {config.decoder.width}, {config.decoder.heads} heads")
    print(f"vocabulary  {len(checkpoint.vocabulary)} words")
    tags = f"{len(checkpoint.tags)} classes, of which the likeliest {config.decoder.tags} guide the decoder"
    print(f"tags        {tags if config.decoder.tags else 'none'}")
    space = f"{config.space} dimensions in which sounds and sentences are compared"
    print(f"space       {space if config.space else 'none'}")
    print(f"licence     {config.licence}")


app.command()(listen)
app.command()(subtitle)
app.command()(bulk)
app.command()(index)
app.command()(search)
app.command()(serve)
app.command("alert-test")(alert_test)
app.command()(evaluate)
app.command()(compare)
app.command()(reproduce)
app.add_typer(metrics_app, name="metrics")
app.add_typer(data_app, name="data")


def main() -> None:
    """Runs a command; what a user can mend is one line on standard error and exit code 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be text; in JSON what replaces their bytes reads back as the same name.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            app(prog_name="auricle")
        finally:
            sys.stdout.flush()  # a full disk and a closed pipe show here, not when Python has ended
    except AuricleError as error:
        sys.exit(f"auricle: {error}")
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        sys.exit(f"auricle: {name} is not installed: pip install 'auricle[{EXTRAS[name]}]'")
    except OSError as error:
        # What waits to be printed may be what failed: Python must not try it once more at its end.
        with contextlib.suppress(io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # whoever read has enough
            sys.exit(1)
        sys.exit(f"auricle: {printable(str(error.filename or 'output'))}: {error.strerror or error}")
