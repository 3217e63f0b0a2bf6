"""Recipes and checkpoints read into dataclasses, with errors that name the field."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from auricle.errors import AuricleError
from auricle.storage.tables import read
from auricle.training.config import Recipe, load_recipe

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    name: str
    count: int = 1
    yes: bool = False
    some: tuple[str, ...] = ()
    maybe: int | None = None
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("count is negative")


def recipe(folder: Path, text: str, name: str = "recipe.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


MINIMAL = 'output = "runs/x"\n[data]\nmanifest = "m.csv"\n'


def test_what_was_written_is_read():
    whole = Outer("x", 3, True, ("a", "b"), 4, Inner(2.0, "b"))
    assert read(Outer, asdict(whole), "w") == whole
    assert read(Outer, {"name": "x"}, "w") == Outer("x")
    assert read(Outer, {"name": "x", "maybe": None, "inner": {"rate": 2}}, "w") == Outer(
        "x", inner=Inner(2.0)
    )


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"nam": "x"}, "'nam': did you mean name?"),
        ({"name": "x", "inner": {"rat": 1}}, "'inner.rat': did you mean rate?"),
        ({"name": "x", "zzz": 1}, "'zzz'.*name, count, yes, some, maybe, inner"),
        ({}, "'name' is missing"),
        ({"name": 1}, "name is 1: expected str"),
        ({"name": "x", "count": "3"}, "count is '3': expected int"),
        ({"name": "x", "count": 1.5}, "count is 1.5: expected int"),
        ({"name": "x", "count": True}, "count is True: expected int"),
        ({"name": "x", "yes": 1}, "yes is 1: expected bool"),
        ({"name": "x", "some": "a"}, "some is 'a'"),
        ({"name": "x", "some": ["a", 2]}, r"some\[1\] is 2: expected str"),
        ({"name": "x", "maybe": "a"}, "maybe is 'a': expected int"),
        ({"name": "x", "inner": 3}, "inner is 3: expected table"),
        ({"name": "x", "inner": {"rate": True}}, "inner.rate is True: expected float"),
        ({"name": "x", "inner": {"kind": "c"}}, "inner.kind is 'c': choose one of 'a', 'b'"),
        ({"name": "x", "count": -1}, "count is negative"),
    ],
)
def test_errors_name_the_file_and_the_field(table: dict, complaint: str):
    with pytest.raises(AuricleError, match=f"^here.toml: .*{complaint}") as refusal:
        read(Outer, table, "here.toml")
    assert "\n" not in str(refusal.value)
    assert ": :" not in str(refusal.value)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_of_ours_is_valid(path: Path):
    assert isinstance(load_recipe(path), Recipe)


def test_there_are_recipes():
    assert {"paper", "exp1", "scratch", "embedded"} <= {path.stem for path in CONFIGS}


def test_the_paper_recipe_is_the_papers():
    """Optimiser steps and sizes that the paper states; nothing of ours is switched on."""
    paper = load_recipe(next(path for path in CONFIGS if path.stem == "paper"))
    assert (paper.pretrain.epochs, paper.pretrain.batch_size, paper.pretrain.learning_rate) == (
        80,
        32,
        1e-3,
    )
    assert (paper.train.epochs, paper.train.batch_size, paper.train.learning_rate) == (30, 16, 1e-3)
    assert (paper.decoder.layers, paper.decoder.heads) == (4, 4)
    assert paper.data.front_end == "paper"
    for augmentation in (paper.pretrain.augmentation, paper.train.augmentation):
        assert (augmentation.time_masks, augmentation.mel_masks, augmentation.mixup) == (0, 0, 0)
        assert augmentation.mixtures == augmentation.audio_dropout == augmentation.tag_dropout == 0
    assert paper.train.label_smoothing == paper.train.ema == paper.decoder.tags == 0
    assert paper.train.encoder_rate == paper.pretrain.encoder_rate == 1
    assert not paper.pretrain.freeze_statistics


def test_a_recipe_is_laid_over_what_it_extends(tmp_path: Path):
    recipe(
        tmp_path,
        MINIMAL + "[train]\nepochs = 3\nbatch_size = 4\n[decoding]\nbeam = 2\n",
        "base.toml",
    )
    over = recipe(tmp_path, 'extends = "base.toml"\noutput = "runs/y"\n[train]\nepochs = 5\n')
    read_back = load_recipe(over)
    assert read_back.output == "runs/y"
    assert (read_back.train.epochs, read_back.train.batch_size, read_back.decoding.beam) == (
        5,
        4,
        2,
    )
    assert read_back.data.manifest == "m.csv"


@pytest.mark.parametrize("links", [["a.toml"], ["b.toml", "a.toml"]])
def test_recipes_that_extend_each_other_are_refused(tmp_path: Path, links: list[str]):
    names = ["a.toml", "b.toml"][: len(links)]
    for name, base in zip(names, links, strict=True):
        recipe(tmp_path, f'extends = "{base}"\n{MINIMAL}', name)
    with pytest.raises(AuricleError, match="extends itself"):
        load_recipe(tmp_path / "a.toml")


def test_a_base_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(AuricleError, match=r"gone\.toml"):
        load_recipe(recipe(tmp_path, f'extends = "gone.toml"\n{MINIMAL}'))


def test_overrides_are_read_as_toml_and_bare_words_as_text(tmp_path: Path):
    path = recipe(tmp_path, MINIMAL)
    overrides = [
        "train.epochs=7",
        "data.valid=['a', 'b']",
        "output=runs/z",
        "train.augmentation.mixup=0.4",
        "data.front_end = panns",
    ]
    changed = load_recipe(path, overrides)
    assert (changed.train.epochs, changed.data.valid, changed.output) == (7, ("a", "b"), "runs/z")
    assert (changed.train.augmentation.mixup, changed.data.front_end) == (0.4, "panns")
    assert load_recipe(path, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("train.epochs", "expected section.key=value"),
        ("train.epoch=3", "did you mean epochs"),
        ("train.epochs=many", "train.epochs is 'many': expected int"),
        ("output.folder=3", "output is a value, not a section"),
        ("trian.epochs=3", "did you mean train"),
        ("=3", "no field ''"),
    ],
)
def test_wrong_overrides_are_refused(tmp_path: Path, override: str, complaint: str):
    with pytest.raises(AuricleError, match=complaint):
        load_recipe(recipe(tmp_path, MINIMAL), [override])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("output = ", "cannot be read as a recipe"),
        ('output = "x"\n', "'data' is missing"),
        (MINIMAL + "[decoder]\nwidth = 64\n", "word2vec.size is 128 and decoder.width 64"),
        (MINIMAL + "[train]\ninitial = 'weights'\n", "train.weights must name"),
        (MINIMAL + "[train]\nkeep = 'best_loss'\n", "needs data.valid"),
        (MINIMAL + "[decoder]\ntags = 8\n", "names of the classes: tags.names"),
        (
            MINIMAL + "[tags]\nnames = 'n.csv'\ncaptions = 'c.csv'\n",
            "tags.captions needs decoder.tags",
        ),
        (MINIMAL + "[decoding]\nbeam = 0\n", "decoding: beam is 0"),
        ("extends = 3\n" + MINIMAL, "extends"),
    ],
)
def test_wrong_recipes_are_refused(tmp_path: Path, text: str, complaint: str):
    with pytest.raises(AuricleError, match=complaint) as refusal:
        load_recipe(recipe(tmp_path, text))
    assert str(refusal.value).startswith(str(tmp_path / "recipe.toml"))
    assert ": :" not in str(refusal.value)


def test_a_recipe_that_is_not_there_or_no_text(tmp_path: Path):
    with pytest.raises(AuricleError, match=r"gone\.toml: cannot be read"):
        load_recipe(tmp_path / "gone.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AuricleError, match=r"binary\.toml: cannot be read"):
        load_recipe(tmp_path / "binary.toml")
