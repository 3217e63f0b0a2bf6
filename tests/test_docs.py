"""README and docs are correct: commands run, links lead to a page, and quoted messages exist.

Every command runs on small files, or `NOT_RUN` says why not. All commands are parsed, those in
running text too, so that a renamed option is found.
"""

import ast
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import matplotlib
import pytest
import typer
from typer._click.core import Command
from typer._click.exceptions import BadOptionUsage, BadParameter, MissingParameter
from typer.core import TyperGroup

from auricle.alerts.broker import read_credentials
from auricle.alerts.config import load_config
from auricle.cli.main import app, main
from auricle.live.stream_config import load_streams
from auricle.training.config import load_recipe
from sounds import chirp, write_media

ROOT = Path(__file__).parents[1]
CARD = "src/auricle/checkpoint/embedded/README.md"
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    CARD,
    *sorted(f"docs/{page.name}" for page in ROOT.glob("docs/*.md")),
]
# Pages whose output is what a reader sees who does the same.
SHOWN = ("README.md", "docs/index.md", "docs/caption.md", "docs/search.md")

# Commands of ours that are not run, and why. The first that fits counts.
NOT_RUN = {
    r"auricle caption missing.wav": "it fails: test_the_error_that_troubleshooting_shows",
    r"auricle index --rebuild": "it needs an index: tests/search/test_rebuild.py",
    r"auricle (listen|serve).*( --host | https?://|rtsp://|--rate)|auricle serve$": "it does not "
    r"end: tests/live, tests/serving",
    r"auricle token": "it changes the user's settings: tests/serving/test_serve.py",
    r"auricle listen( --|$)": "it needs a microphone: tests/live",
    r"auricle (subtitle|listen) .*--alert": "its film is there, and what it tells is in "
    r"tests/alerts",
    r"auricle listen scene.wav": "it is played in real time: tests/live",
    r"auricle bulk": "a cluster takes long to start: tests/bulk/test_bulk.py",
    r"auricle data (?!audit)": "it fetches gigabytes: tests/data/test_public_data.py does so from "
    r"this machine",
    r"auricle data audit": "its data were fetched: tests/data/test_leakage.py",
    r"auricle metrics install": "it fetches half a gigabyte: tests/evaluation/test_install.py",
    r"auricle (evaluate|compare)": "METEOR takes long to start: "
    r"tests/evaluation/test_evaluate_command.py",
    r"auricle (pretrain|train|reproduce|export)": "it trains, or needs a trained model: "
    r"tests/training, tests/reproduction",
    r"auricle push|(--checkpoint|info) (owner|me)/": "it asks the Hugging Face Hub: "
    r"tests/checkpoint/test_hub.py",
    r"--checkpoint runs/": "it needs a trained model: tests/training/test_end_to_end.py",
    r"auricle alert-test .*--positives shots/": "it needs recordings that are not part of the "
    r"repository",
    r"ffmpeg .*\| auricle": "it needs FFmpeg's program",
}
# Programs that are not ours, and not run.
OTHERS = {
    "pip",
    "pytest",
    "python",
    "ruff",
    "pyright",
    "ray",
    "scp",
    "curl",
    "du",
    "hf",
    "lint-imports",
    "rm",
    "export",
    "accelerate",
    "arecord",
    ".ci/run",
}
NO_PROSE = re.compile(r"\s*(\||#|!|<|    )")  # begins tables, headings, pictures and code
MOST_WORDS = 15.0  # in the mean sentence of README and docs
PYTHON_NOT_RUN = {
    "requests.post": "it needs a running server: tests/serving/test_api.py",
    "websockets": "it needs a running server: tests/serving/test_listening.py",
    "write_report": "METEOR takes long to start: tests/evaluation",
    "pyarrow": "it reads what `auricle bulk` wrote: tests/bulk/test_bulk.py",
}


@dataclass(frozen=True)
class Block:
    """A piece of code of a page."""

    language: str
    text: str


@dataclass(frozen=True)
class Shell:
    """A line of commands, and what stands below it as its output."""

    line: str
    output: str


def blocks(page: str) -> Iterator[Block]:
    """Fenced blocks, and those that are indented by four spaces."""
    fence, held = None, []
    for line in [*(ROOT / page).read_text("utf-8").splitlines(), ""]:
        if fence is not None:
            if line.startswith("```"):
                yield Block(fence, "\n".join(held))
                fence, held = None, []
            else:
                held.append(line)
        elif line.startswith("    ") or (held and not line):
            held.append(line[4:])
        else:
            if held:
                yield Block("", "\n".join(held).strip("\n"))
            fence, held = (line[3:] if line.startswith("```") else None), []


def shells(page: str) -> list[Shell]:
    """The lines of a page that are typed into a shell."""
    found: list[Shell] = []
    for block in blocks(page):
        lines = block.text.splitlines()
        if any(line.startswith("$ ") for line in lines):
            for typed in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                line, _, output = typed.partition("\n")
                found.append(Shell(line, output.strip("\n")))
        elif block.language == "sh" or (
            lines and first_word(lines[0]) in OTHERS | {"auricle", "cat", "ffmpeg"}
        ):
            found += [Shell(line, "") for line in lines if line]
    return found


def first_word(line: str) -> str:
    return next((word for word in line.split() if not re.match(r"\w+=", word)), "")


def commands(line: str) -> list[list[str]]:
    """The commands of a line, without what a shell does between them: `A=1 a b | c > d && e` is a
    b; c; e."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&><;")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;"):
            found.append([])
        else:
            found[-1].append(word)
    plain = []
    for words in found:
        while words and re.match(r"\w+=", words[0]):
            words = words[1:]
        redirections = {
            i + more for i, word in enumerate(words) if set(word) <= set("><") for more in (0, 1)
        }
        words = [word for i, word in enumerate(words) if i not in redirections]
        if words[:3] == ["accelerate", "launch", "-m"]:
            words = words[3:]
        plain.append(words)
    return plain


def parse(command: Command, words: list[str], name: str) -> None:
    """Parses arguments as the command does, and runs nothing; `...` stands for omitted ones."""
    arguments = [word for word in words if word != "..."]
    try:
        with command.make_context(name, arguments) as context:
            if isinstance(command, TyperGroup):
                found, inner, rest = command.resolve_command(
                    context, [*context._protected_args, *context.args]
                )
                assert inner is not None
                parse(inner, rest + ["..."] * ("..." in words), f"{name} {found}")
    except typer.Exit:  # --help and --version
        pass
    except (BadOptionUsage, MissingParameter):
        if "..." not in words:
            raise
    except BadParameter:
        # NAME, of those that there are
        if not ("..." in words and any(word.isupper() for word in words)):
            raise


def parse_auricle(words: list[str]) -> None:
    parse(typer.main.get_command(app), words[1:], "auricle")
    if (
        words[1:2] in (["pretrain"], ["train"])
        and words[2:3]
        and (ROOT / "configs" / f"{Path(words[2]).stem}.toml").exists()
    ):
        load_recipe(
            Path(words[2]), [value for option, value in pairwise(words) if option == "--set"]
        )


def parse_script(words: list[str]) -> None:
    """`python scripts/name.py ...`, whose arguments typer reads."""
    path = ROOT / words[1]
    assert path.is_file(), f"there is no {words[1]}"
    if "argparse" not in path.read_text("utf-8"):
        parse(script_command(path), words[2:], words[1])


@cache
def script_command(path: Path) -> Command:
    """What a script makes of its arguments."""
    sys.path.insert(0, str(path.parent))  # scripts import each other
    try:
        module = runpy.run_path(str(path), run_name="script")
    finally:
        sys.path.remove(str(path.parent))
    script = module.get("app")
    if script is None:
        script = typer.Typer()
        script.command()(module["main"])
    return typer.main.get_command(script)


def check_pip(words: list[str]) -> None:
    """Extras and files that `pip install` names are there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extras in re.findall(r"(?:auricle|\.)\[([\w,]+)\]", " ".join(words)):
        assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    if "-c" in words:
        assert (ROOT / words[words.index("-c") + 1]).is_file()


def why_not_run(line: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, line)), None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the docs speak of, and a home of its own."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("*.py"))
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for copy, example in {
        **dict.fromkeys(
            ("clip.wav", "dog.wav", "recordings/a.wav", "recordings/tram/b.wav", "glass/1.wav"),
            "bell",
        ),
        **dict.fromkeys(
            (
                "clip.ogg",
                "more/rain.ogg",
                "livingroom/1.wav",
                "home/recordings/1.wav",
                "film/1.wav",
            ),
            "rain",
        ),
    }.items():
        (tmp_path / copy).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(ROOT / f"examples/{example}.wav", tmp_path / copy)  # what it is, the bytes say
    for place in (tmp_path, tmp_path / "film"):
        write_media(place / "film.mkv", chirp(2, 3_000, 10, 48_000), 48_000, "aac", video=True)
        (place / "film.en.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nListen!\n")
    (tmp_path / "clotho_captions_evaluation.csv").write_text(
        "file_name,caption_1,caption_2\nSanta Motor.wav,A machine hums.,A motor is "
        "running.\nb.wav,A dog barks.,A dog yaps.\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # it would look for fonts anew
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def run(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a line's commands of ours print; `cat` feeds them, and what comes after them is left
    out."""
    stdin = b""
    for words in commands(line):
        if words[0] == "cat":
            stdin = Path(words[1]).read_bytes()
        elif words[0] == "auricle":
            monkeypatch.setattr(sys, "argv", [os.path.expanduser(word) for word in words])
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            try:
                main()
            except SystemExit as end:
                if end.code:
                    pytest.fail(f"{line}: {end.code} {capsys.readouterr().err}")
    return capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES)
def test_commands(
    page: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert folder == Path.cwd()
    for shell in shells(page):
        line = re.split(r"\s#\s", shell.line)[0].strip()
        ours = False
        for words in commands(line):
            if words[0] == "auricle":
                parse_auricle(words)
                ours = True
            elif words[0] == "pip":
                check_pip(words)
            elif words[0] == "python" and words[1] != "-m":
                parse_script(words)
            else:
                assert words[0] in OTHERS | {"cat", "ffmpeg", "jq", "python"}, (
                    f"{page}: nobody knows {words[0]}"
                )
        if ours and why_not_run(line) is None:
            printed = run(line, monkeypatch, capsys).replace(f"{folder}/", "")
            if page in SHOWN and shell.output and printed:
                assert printed.rstrip("\n") == shell.output, f"{page}: {line} prints something else"


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_running_text(page: str):
    text = re.sub(
        r"^```.*?^```", "", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    lines = (re.sub(r"\s+", " ", code) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text))
    for line in lines:
        if (
            re.match(r"(auricle|accelerate launch -m auricle)\b(?!\.|/|\[)", line)
            or "| auricle" in line
        ):
            for words in commands(line.replace(r"\|", "|")):
                if words[0] == "auricle":
                    parse_auricle([*words, "..."])


def helps(command: Command) -> Iterator[str]:
    """What all commands say of themselves."""
    yield command.help or ""
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            yield from helps(inner)


def test_examples_of_the_commands_themselves():
    examples = [
        line.strip()
        for text in helps(typer.main.get_command(app))
        for line in text.splitlines()
        if line.startswith("    ")
    ]
    assert len(examples) > 40
    for line in examples:
        for words in commands(line):
            assert words[0] in {"auricle", "cat", "curl", "ffmpeg", "arecord"}
            if words[0] == "auricle":
                parse_auricle(words)


def test_nothing_is_excused_that_is_not_there():
    lines = [shell.line for page in PAGES for shell in shells(page)]
    stale = [pattern for pattern in NOT_RUN if not any(re.search(pattern, line) for line in lines)]
    assert not stale
    python = [block.text for page in PAGES for block in blocks(page) if block.language == "python"]
    assert not [part for part in PYTHON_NOT_RUN if not any(part in text for text in python)]


@pytest.mark.parametrize("page", PAGES)
def test_python(page: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert folder == Path.cwd()
    for block in blocks(page):
        if block.language != "python":
            continue
        code = compile(block.text, page, "exec")
        check = [sys.executable, "-m", "ruff", "check", "-q", "--isolated", "--select", "F821", "-"]
        assert not subprocess.run(
            check, input=block.text, text=True, capture_output=True, check=False
        ).stdout
        if not any(part in block.text for part in PYTHON_NOT_RUN):
            exec(code, {"__name__": "__main__"})
    capsys.readouterr()


def test_configurations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "notify-send").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for page in PAGES:
        for block in blocks(page):
            if block.language == "toml":
                path = tmp_path / "example.toml"
                path.write_text(block.text)
                path.chmod(0o600)
                first = next(iter(tomllib.loads(block.text)))
                readers = {"stream": load_streams, "user": read_credentials}
                readers.get(first, load_config)(path)


def test_the_tree_of_files_is_complete():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no git repository: what belongs to it is not known")
    files = [Path(name) for name in listed.stdout.splitlines()]
    tree = next(block.text for block in blocks("CONTRIBUTING.md") if "src/auricle/\n" in block.text)
    top, inside = tree.split("src/auricle/\n")
    named = {
        name.strip("/")
        for line in top.splitlines()
        for name in re.match(r"((?:\S+ {0,2})+)", line)[1].split()  # type: ignore[index]
    }
    assert not [name for name in named if not (ROOT / name).exists()]
    there = {file.parts[0] for file in files if not file.parts[0].startswith(".")}
    assert there - {name.split("/")[0] for name in named} == {"src"}
    entries = dict(re.findall(r"^  (\S+?)/? +((?:.|\n {10,})+)", inside, flags=re.MULTILINE))
    modules = [
        file.relative_to("src/auricle") for file in files if file.is_relative_to("src/auricle")
    ]
    assert entries.keys() == {
        file.parts[0] for file in modules if file.suffix == ".py" or len(file.parts) > 1
    } - {"__main__.py"}
    for file in modules:
        if len(file.parts) == 2 and file.suffix == ".py" and file.stem != "__init__":
            assert re.search(rf"\b{file.stem}\b", entries[file.parts[0]]), (
                f"CONTRIBUTING.md does not list {file}"
            )


def test_the_readmes_figures_are_the_cards():
    readme = (ROOT / "README.md").read_text("utf-8")
    figures = readme[readme.index("## Models") : readme.index("## What else it does")]
    card = (ROOT / CARD).read_text("utf-8")
    numbers = re.findall(r"\d+\.\d+", figures)
    assert len(numbers) > 5
    assert not [number for number in numbers if number not in card]


def test_links_lead_somewhere():
    for page in [
        *PAGES,
        *(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/reference/*.md")),
    ]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", (ROOT / page).read_text("utf-8")):
            there = Path(os.path.normpath((ROOT / page).parent / target))
            assert there.exists(), f"{page}: {target} is not there"


def test_every_page_is_on_the_site():
    nav = (ROOT / "zensical.toml").read_text("utf-8")
    for page in ROOT.glob("docs/**/*.md"):
        assert f'"{page.relative_to(ROOT / "docs").as_posix()}"' in nav


def test_the_error_that_troubleshooting_shows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert folder == Path.cwd()
    [shown] = shells("docs/troubleshooting.md")
    monkeypatch.setattr(sys, "argv", commands(shown.line)[0])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert shown.output in capsys.readouterr().err


def texts_of_the_source() -> list[str]:
    """All texts of the source; a null character stands for each inserted value."""
    found: list[str] = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.JoinedStr():
                    parts = (getattr(part, "value", None) for part in node.values)
                    found.append("".join(part if isinstance(part, str) else "\0" for part in parts))
                case ast.Constant(value=str(text)):
                    found.append(text)
    return found


def test_quoted_messages_are_those_of_the_source():
    page = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
    messages = re.findall(r"^\| `(.+?)` \|", page, flags=re.MULTILINE)
    assert len(messages) > 50
    texts = [text.replace("`", "'") for text in texts_of_the_source()]
    unknown = []
    for message in messages:
        pattern = re.compile(".*".join(map(re.escape, message.split("..."))), re.DOTALL)
        if not any(pattern.search(text) for text in texts):
            unknown.append(message)
    assert not unknown


def test_places_of_files_are_those_of_the_source():
    page = (ROOT / "docs/files.md").read_text("utf-8")
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    caches = set(re.findall(r'cache_folder\(f?"([\w{}-]+)"\)', source))
    assert len(caches) > 4
    for name in caches:
        assert f"`~/.cache/auricle/{name.replace('{FINGERPRINT_VERSION}', '1')}`" in page
    scripts = "".join(
        path.read_text("utf-8") for path in (ROOT / "src/auricle/serving/page").glob("*.js")
    )
    keys = set(re.findall(r'"(auricle-[\w-]+)"', scripts))
    assert {"auricle-token", "auricle-page"} <= keys
    assert not [key for key in keys if f"`{key}`" not in page]
    shelves = re.search(r"const SHELVES = \[(.*)\]", scripts)
    assert shelves is not None
    assert not [shelf for shelf in re.findall(r"\w+", shelves[1]) if f"`{shelf}`" not in page]


def sentences(page: str) -> list[str]:
    """The sentences of a page, without code, headings, tables and pictures."""
    text = re.sub(
        r"^```.*?^```", "", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    found: list[str] = []
    for block in re.split(r"\n\s*?\n|\n(?=\s*(?:- |\d+\. ))", text):
        if NO_PROSE.match(block.lstrip("\n")):
            continue
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", block)  # a link's text alone
        plain = re.sub(r"`[^`]*`", "Code", plain)
        plain = re.sub(r"^\s*(- |\d+\. |> )", "", plain.replace("**", ""))
        ends = re.split(r"(?<=[.!?])\s+(?=[A-Z(\d])", plain)
        found += [sentence for sentence in ends if re.search(r"\w", sentence)]
    return found


def test_sentences_are_short():
    every = [sentence for page in PAGES if page != CARD for sentence in sentences(page)]
    assert len(every) > 800
    assert sum(len(sentence.split()) for sentence in every) / len(every) <= MOST_WORDS
