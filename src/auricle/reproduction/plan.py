"""Plans the trainings and scores of the paper's tables.

The data are Clotho's or those of the development corpus.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from auricle.data.manifest import read_manifest
from auricle.errors import AuricleError
from auricle.reproduction.corpus import ScoredSet, corpus_sets, thinned_manifest
from auricle.training.config import Recipe, load_recipe
from auricle.training.pretrain import pre_encoder_sources
from auricle.training.run import check_recipe
from auricle.training.sources import check_sources
from auricle.training.train import captioner_sources

ScaleName = Literal["full", "small"]
# The columns of Table 2, by the names of our metrics.
TABLE_2_COLUMNS = (
    *("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l"),
    *("meteor", "cider_d", "spice", "spider"),
)


@dataclass(frozen=True)
class System:
    """A system of the paper, or one that came before it."""

    title: str
    table_1: float | None = None  # million parameters in the paper's Table 1
    table_2: tuple[float, ...] | None = None  # the paper's Table 2, by TABLE_2_COLUMNS


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
# Controls at equal compute, on the development corpus alone: they isolate the contrast.
CONTROL_SYSTEMS = {
    "exp1-tuned": System("Experiment 1 with a fine-tuned encoder"),
    "exp2-labels": System("Experiment 2 with an encoder fine-tuned on labels"),
}
# On the development corpus alone.
CNN10_SYSTEMS = {
    "cnn10-scratch": System("CNN10 of half width, from random weights"),
    "cnn10-exp2": System("CNN10 of half width, + pre-encoder"),
}
PAIRS = (
    ("baseline", "exp1"),
    ("gru", "scratch"),
    ("scratch", "exp1"),
    ("exp1", "exp2"),
    ("exp1-tuned", "exp2"),
    ("exp2-labels", "exp2"),
    ("exp1", "exp1-tuned"),
    ("exp1", "exp2-labels"),
    ("baseline", "exp2"),
    ("cnn10-scratch", "cnn10-exp2"),
)
PRE_ENCODER_TABLE_1 = 6  # million


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
            AuricleError: its folder was trained by another recipe, or from other weights.
        """
        folder = self.stages()[stage]
        epochs, sources = (
            (self.recipe.pretrain.epochs, pre_encoder_sources)
            if stage == "pretrain"
            else (self.recipe.train.epochs, captioner_sources)
        )
        if (folder / "recipe.json").exists():
            check_recipe(folder, self.recipe)
        if (folder / "state").exists():
            check_sources(folder, sources(self.recipe))
        ended = (folder / "state" / f"epoch-{epochs:04d}").exists()
        return ended and (stage == "pretrain" or (folder / "decoder.onnx").exists())

    def commands(self) -> list[str]:
        """The commands that train it by hand."""
        run_settings = (
            f"data.manifest={self.recipe.data.manifest}",
            f"seed={self.seed}",
            f"output={self.folder}",
        )
        settings = " ".join(f"--set {setting}" for setting in (*self.settings, *run_settings))
        return [f"auricle {stage} {self.config} {settings}" for stage in self.stages()]


@dataclass(frozen=True)
class ReproductionPlan:
    """Runs, and the sets on which they are scored."""

    scale: ScaleName
    runs: tuple[PlannedRun, ...]
    sets: tuple[ScoredSet, ...]

    @property
    def systems(self) -> dict[str, System]:
        """The systems that take part, in the order of the tables."""
        there = {run.system for run in self.runs}
        return {
            name: system
            for name, system in (SYSTEMS | CONTROL_SYSTEMS | CNN10_SYSTEMS).items()
            if name in there
        }


def make_plan(
    scale: ScaleName,
    data: Path,
    systems: Sequence[str],
    seeds: int,
    runs: Path,
    settings: Sequence[str] = (),
    *,
    check_files: bool = True,
) -> ReproductionPlan:
    """Plans the runs of some systems.

    Args:
        scale: `full` is the paper on Clotho, `small` the development corpus.
        data: Clotho's folder with `manifest.csv`, as `auricle data clotho` makes it; or the
            development corpus.
        systems: keys of `SYSTEMS`, and on the corpus of `CONTROL_SYSTEMS` and `CNN10_SYSTEMS`.
        seeds: runs of each system, from seed 0 on; CNN10 on the corpus has one.
        runs: the folder of the trainings.
        settings: `section.key=value`, in place of the recipes' own.
        check_files: whether missing sounds and weights are an error.

    Raises:
        AuricleError: a system is unknown, or data or weights are not there.
    """
    known = SYSTEMS | (CONTROL_SYSTEMS | CNN10_SYSTEMS if scale == "small" else {})
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
        for seed in range(1 if name in CNN10_SYSTEMS else seeds):
            run_settings = [f"seed={seed}", f"output={runs / f'{name}-{seed}'}"]
            recipe = load_recipe(Path(names[name]), [*overrides, *settings, *run_settings])
            if name in CNN10_SYSTEMS:
                subset = thinned_manifest(Path(recipe.data.manifest), runs / "cnn10.csv")
                recipe = replace(recipe, data=replace(recipe.data, manifest=str(subset)))
            if check_files:
                check_weights(recipe)
            planned.append(PlannedRun(name, seed, recipe, names[name], tuple(settings)))
    manifest = Path(planned[0].recipe.data.manifest) if planned else data
    if scale == "small":
        sets = corpus_sets(manifest, data)
    else:
        sets = (clotho_set(data / "manifest.csv", check_files=check_files),)
    return ReproductionPlan(scale, tuple(planned), sets)


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


def clotho_set(manifest: Path, *, check_files: bool = True) -> ScoredSet:
    """Returns Clotho's evaluation split."""
    items = read_manifest(manifest, {"evaluation"}, check_files=check_files)
    return ScoredSet("evaluation", items)
