"""Plans the trainings and scores of the paper's tables, and estimates their cost.

The data are Clotho's or those of the development corpus.
"""

import csv
import random
import timeit
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from auricle.data.manifest import Item, read_manifest, write_manifest
from auricle.errors import AuricleError
from auricle.training.config import Recipe, load_recipe
from auricle.training.costs import Cost, stage_costs
from auricle.training.parameters import vocabulary_size
from auricle.training.prepare import read_data
from auricle.training.run import check_recipe
from auricle.training.train import build_captioner

ScaleName = Literal["full", "small"]
# The columns of Table 2, by the names of our metrics.
COLUMNS = (
    *("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l"),
    *("meteor", "cider_d", "spice", "spider"),
)


@dataclass(frozen=True)
class System:
    """A system of the paper, or one that came before it."""

    title: str
    table_1: float | None = None  # million parameters in the paper's Table 1
    table_2: tuple[float, ...] | None = None  # the paper's Table 2, by COLUMNS


SYSTEMS = {
    "baseline": System(
        "DCASE 2022 baseline", 140, (0.555, 0.358, 0.239, 0.156, 0.364, 0.164, 0.358, 0.109, 0.233)
    ),
    "gru": System("GRU encoder-decoder"),
    "scratch": System("CNN-Transformer from random weights", 9),
    "exp1": System(
        "Experiment 1: CNN-Transformer",
        9,
        (0.564, 0.362, 0.240, 0.156, 0.372, 0.170, 0.384, 0.117, 0.251),
    ),
    "exp2": System(
        "Experiment 2: + pre-encoder",
        9,
        (0.613, 0.402, 0.273, 0.175, 0.377, 0.172, 0.412, 0.121, 0.266),
    ),
}
# On the development corpus alone.
CNN10 = {
    "cnn10-scratch": System("CNN10 of half width, from random weights"),
    "cnn10-exp2": System("CNN10 of half width, + pre-encoder"),
}
PAIRS = (
    ("baseline", "exp1"),
    ("gru", "scratch"),
    ("scratch", "exp1"),
    ("exp1", "exp2"),
    ("baseline", "exp2"),
    ("cnn10-scratch", "cnn10-exp2"),
)
PRE_ENCODER_TABLE_1 = 6  # million
CNN10_SHARE = 6  # on the corpus, CNN10 learns from one recording in six
REFERENCES = 5  # of a label
HUMAN = ("human_train", "human_valid")


@dataclass(frozen=True)
class ScoredSet:
    """Sounds that every run captions."""

    name: str
    items: Sequence[Item]  # with the references as captions
    note: str = ""
    # the words that name each label, where that is scored
    label_words: Mapping[str, frozenset[str]] | None = None


@dataclass(frozen=True)
class PlannedRun:
    """A system with a seed."""

    system: str
    seed: int
    recipe: Recipe
    config: str  # the recipe's name
    settings: tuple[str, ...] = ()  # `section.key=value`, in place of the recipe's own

    @property
    def name(self) -> str:
        """Its name in tables and folders."""
        return f"{self.system}-{self.seed}"

    @property
    def folder(self) -> Path:
        """The folder for its files."""
        return Path(self.recipe.output)

    @property
    def pretrained(self) -> bool:
        """Whether a pre-encoder comes first."""
        return self.recipe.train.initial == "pre-encoder"

    def stages(self) -> dict[str, Path]:
        """The stages of its training, with their folders."""
        pre = {"pretrain": self.recipe.pre_encoder_folder} if self.pretrained else {}
        return pre | {"train": self.recipe.captioner_folder}

    def is_done(self, stage: str) -> bool:
        """Whether a stage has ended.

        Raises:
            AuricleError: its folder was trained by another recipe.
        """
        folder = self.stages()[stage]
        if (folder / "recipe.json").exists():
            check_recipe(folder, self.recipe)
        if stage == "train":
            return (folder / "decoder.onnx").exists()
        return (folder / "state" / f"epoch-{self.recipe.pretrain.epochs:04d}").exists()

    def commands(self) -> list[str]:
        """The commands that train it by hand."""
        own = (
            f"data.manifest={self.recipe.data.manifest}",
            f"seed={self.seed}",
            f"output={self.folder}",
        )
        settings = " ".join(f"--set {setting}" for setting in (*self.settings, *own))
        return [f"auricle {stage} {self.config} {settings}" for stage in self.stages()]


@dataclass(frozen=True)
class Plan:
    """Runs, and the sets on which they are scored."""

    scale: ScaleName
    runs: tuple[PlannedRun, ...]
    sets: tuple[ScoredSet, ...]

    @property
    def systems(self) -> dict[str, System]:
        """The systems that take part, in the order of the tables."""
        there = {run.system for run in self.runs}
        return {name: system for name, system in (SYSTEMS | CNN10).items() if name in there}


def make_plan(
    scale: ScaleName,
    data: Path,
    systems: Sequence[str],
    seeds: int,
    runs: Path,
    settings: Sequence[str] = (),
) -> Plan:
    """Plans the runs of some systems.

    Args:
        scale: `full` is the paper on Clotho, `small` the development corpus.
        data: Clotho's folder with `manifest.csv`, as `auricle data clotho` makes it; or the
            development corpus.
        systems: keys of `SYSTEMS`, and on the corpus of `CNN10`.
        seeds: runs of each system, from seed 0 on; CNN10 on the corpus has one.
        runs: the folder of the trainings.
        settings: `section.key=value`, in place of the recipes' own.

    Raises:
        AuricleError: a system is unknown, or data or weights are not there.
    """
    known = SYSTEMS | (CNN10 if scale == "small" else {})
    if unknown := [name for name in systems if name not in known]:
        raise AuricleError(f"no system '{unknown[0]}': choose of {', '.join(known)}")
    prefix, overrides = (
        ("small/", []) if scale == "small" else ("", [f"data.manifest={data / 'manifest.csv'}"])
    )
    names = {
        name: "paper" if name == "exp2" and scale == "full" else f"{prefix}{name}"
        for name in systems
    }
    planned = []
    for name in systems:
        for seed in range(1 if name in CNN10 else seeds):
            own = [f"seed={seed}", f"output={runs / f'{name}-{seed}'}"]
            recipe = load_recipe(Path(names[name]), [*overrides, *settings, *own])
            if name in CNN10:
                subset = thinned_manifest(Path(recipe.data.manifest), runs / "cnn10.csv")
                recipe = replace(recipe, data=replace(recipe.data, manifest=str(subset)))
            check_weights(recipe)
            planned.append(PlannedRun(name, seed, recipe, names[name], tuple(settings)))
    manifest = Path(planned[0].recipe.data.manifest) if planned else data
    sets = corpus_sets(manifest, data) if scale == "small" else (clotho_set(data / "manifest.csv"),)
    return Plan(scale, tuple(planned), sets)


def check_weights(recipe: Recipe) -> None:
    """Raises AuricleError if the initial weights of a recipe are not there."""
    for stage in (recipe.pretrain, recipe.train):
        if stage.initial == "weights" and not Path(stage.weights).exists():
            raise AuricleError(
                f"{stage.weights} is not there: `auricle data weights` fetches published weights"
            )
    if recipe.data.tokenizer and not Path(recipe.data.tokenizer).exists():
        raise AuricleError(
            f"{recipe.data.tokenizer} is not there: `auricle data weights bart-tokenizer` "
            "fetches it; or add --set data.tokenizer= to use words in place of its subwords"
        )


def clotho_set(manifest: Path) -> ScoredSet:
    """Returns Clotho's evaluation split."""
    return ScoredSet("evaluation", read_manifest(manifest, {"evaluation"}))


def corpus_sets(manifest: Path, corpus: Path) -> tuple[ScoredSet, ScoredSet]:
    """Returns two sets of the development corpus.

    The first has sounds with labels and pseudo-references; the second has sounds that people
    captioned.

    Raises:
        AuricleError: the manifest or the corpus is not there.
    """
    if not manifest.exists():
        raise AuricleError(
            f"{manifest} is not there: "
            f"python scripts/corpus_manifest.py {corpus} {manifest.parent} --heldout"
        )
    try:
        pool = _pool(corpus)
        words = {
            row["label"]: frozenset(row["words"].split())
            for row in _rows(corpus.parent / "reference" / "label_words.csv")
        }
    except (OSError, KeyError) as error:
        raise AuricleError(f"{corpus}: not the development corpus: {error!r}") from None
    learnt = {_key(text) for item in read_manifest(manifest, {"train"}) for text in item.captions}
    references: dict[str, tuple[str, ...]] = {}
    for label, texts in pool.items():
        drawn = random.Random(label).sample(texts, len(texts))
        # Captions that were not learnt from come first; some labels have no others.
        references[label] = tuple(sorted(drawn, key=lambda text: _key(text) in learnt)[:REFERENCES])
    labelled = [item for item in read_manifest(manifest, {"label_valid"}) if item.label in words]
    labelled = [
        replace(item, captions=references.get(item.label) or item.captions) for item in labelled
    ]
    seen = sum(
        _key(text) in learnt
        for label in {item.label for item in labelled}
        for text in references.get(label, ())
    )
    note = (
        f"Pseudo-references: up to {REFERENCES} captions a label, drawn once from "
        "class_caption_pool.csv, the same for every sound of the label; "
        f"{seen} of them are in the training data too, because the pool holds no others. "
        "They tell systems apart; they do not measure how well a sound is described, "
        "and they are no score on Clotho."
    )
    people = ScoredSet(
        "people", read_manifest(manifest, set(HUMAN)), "Five captions by people. Never learnt from."
    )
    return ScoredSet("label_valid", labelled, note, words), people


def _pool(corpus: Path) -> dict[str, list[str]]:
    """Captions that fit a label, by label, without the sounds that people captioned."""
    aside = {row["file_name"] for row in _rows(corpus / "captions" / "exclude.csv")}
    pool: dict[str, list[str]] = defaultdict(list)
    for row in _rows(corpus / "captions" / "class_caption_pool.csv"):
        if row["source_id"] not in aside and row["caption"] not in pool[row["label"]]:
            pool[row["label"]].append(row["caption"])
    for row in _rows(corpus / "metadata.csv"):
        text = row["label_caption"]
        if text and len(pool[row["label"]]) < REFERENCES and text not in pool[row["label"]]:
            pool[row["label"]].append(text)
    return pool


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _key(text: str) -> str:
    return text.strip().rstrip(".").lower()


def thinned_manifest(manifest: Path, target: Path) -> Path:
    """Writes a manifest with one in `CNN10_SHARE` training recordings of each label, drawn once.

    The other splits are kept whole.
    """
    items = read_manifest(manifest, check_files=False)
    recordings: dict[str, list[str]] = defaultdict(list)
    for item in items:
        name = item.group or str(item.file)
        if item.split == "train" and name not in recordings[item.label]:
            recordings[item.label].append(name)
    kept: set[tuple[str, str]] = set()
    for label, names in recordings.items():
        chosen = random.Random(label).sample(names, -(-len(names) // CNN10_SHARE))
        kept |= {(label, name) for name in chosen}
    thinned = [
        item
        for item in items
        if item.split != "train" or (item.label, item.group or str(item.file)) in kept
    ]
    write_manifest(target, thinned)
    return target


@dataclass(frozen=True)
class Estimate:
    """The time and memory that a stage will take."""

    run: str
    stage: str
    done: bool
    seconds: float
    memory: int  # bytes


def estimates(plan: Plan) -> list[Estimate]:
    """Estimates the stages of all runs.

    A stage takes its operations, divided by the operations a second of the system's network here.
    """
    found: list[Estimate] = []
    known: dict[str, list[tuple[str, Cost, int, int, float]]] = {}
    for run in plan.runs:
        if run.system not in known:
            known[run.system] = _system_costs(run.recipe)
        for stage, cost, batch, visits, speed in known[run.system]:
            done = run.is_done(stage)
            seconds = 0.0 if done else visits * cost.training / speed
            found.append(Estimate(run.name, stage, done, seconds, cost.memory(batch)))
    return found


def _system_costs(recipe: Recipe) -> list[tuple[str, Cost, int, int, float]]:
    train = read_data(recipe.data)[0]
    rounds = recipe.data.captions_per_epoch or 1 << 30
    visits = sum(min(rounds, len(item.captions)) for item in train)
    longest = recipe.data.maximum_seconds
    seconds = longest if recipe.data.pad == "longest" else _mean_seconds(train, longest)
    words = vocabulary_size(recipe)[0]
    costs = stage_costs(recipe, words, seconds)
    speed = _speed(recipe, words, seconds, costs["captioner"])
    stages = {"captioner": ("train", recipe.train), "pre-encoder": ("pretrain", recipe.pretrain)}
    return [
        (stages[name][0], cost, stages[name][1].batch_size, visits * stages[name][1].epochs, speed)
        for name, cost in costs.items()
    ]


def _mean_seconds(items: Sequence[Item], longest: float, sample: int = 30) -> float:
    """The mean length of some of the sounds, by the headers of their files."""
    import av

    lengths = []
    for item in random.Random(0).sample(list(items), min(sample, len(items))):
        with av.open(str(item.file)) as container:
            lengths.append(min(longest, (container.duration or 0) / 1e6))
    return max(1.0, sum(lengths) / len(lengths))


@torch.inference_mode()
def _speed(recipe: Recipe, words: int, seconds: float, cost: Cost) -> float:
    """Operations a second of the captioner, encoder and decoder together.

    It is the best of a few, because other programs use the machine too.
    """
    from auricle.checkpoint.vocabulary import UNKNOWN
    from auricle.sound.features import front_end
    from auricle.training.costs import CAPTION_WORDS

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_captioner(recipe, words).eval().to(device)
    hears = front_end(recipe.data.front_end)
    frames = hears.frames(round(seconds * hears.rate))
    batch = recipe.train.batch_size
    inputs = (
        torch.zeros(batch, frames, hears.mels, device=device),
        torch.full((batch,), frames, device=device),
        torch.full((batch, CAPTION_WORDS), UNKNOWN, device=device),
    )
    # a float waits for a GPU
    times = timeit.repeat(lambda: float(model(*inputs).sum()), number=1, repeat=4)
    return batch * cost.forward / min(times)
