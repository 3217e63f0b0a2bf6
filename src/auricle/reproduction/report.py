"""Writes the report of a reproduction.

It holds tables next to the paper's, curves, captions side by side, machine, time and commands.
"""

import csv
import json
import os
import platform
import random
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from auricle.evaluation.metrics import TITLES
from auricle.evaluation.scores import Difference
from auricle.reproduction.captions import Captions
from auricle.reproduction.corpus import ScoredSet
from auricle.reproduction.plan import COLUMNS, PRE_ENCODER_TABLE_1, Plan, PlannedRun
from auricle.reproduction.stages import Scored, sizes, trained_seconds, training_log
from auricle.storage.files import written_whole

SHOWN = 15  # sounds in the table of captions
MORE_TITLES = {"label_named": "label named", "retrieval_map_10": "mAP@10"}
COMPARED = ("cider_d", "meteor", "spice", "spider", "label_named")
WHAT = {
    "full": (
        "Trained on Clotho v2.1, development and validation merged (the baseline: development, "
        "its best epoch chosen on validation), and scored on its evaluation split. "
        "The paper's figures stand beneath ours."
    ),
    "small": (
        "**Nothing here is a score on Clotho.** The systems were trained for minutes on the "
        "development corpus, which is no part of this repository: sounds with labels, and captions "
        "that fit a label. The paper's Table 2 needs Clotho's audio, the weights of PANNs and "
        "VGGish, and a GPU; with them `auricle reproduce` makes it. The differences: mn04 replaces "
        "CNN10 (scratch, Experiments 1 and 2) and VGGish (the baseline's features, frozen). The "
        "baseline is reduced (3 + 3 layers of 256; words in place of BART's subwords). Experiments "
        "1 and 2 do not train their encoder, so more epochs fit in. CNN10 of half width learnt "
        "from a sixth of the recordings, with two decoder layers, from random weights: PANNs' "
        "weights are not there and would not fit. So Experiment 1 has no CNN10 (-). Depth, epochs "
        "and the frozen encoder of the experiments were chosen by the labels that seed 0 names on "
        "`label_valid`; the baseline was tuned less. The recipes are in `configs/small`."
    ),
}


@dataclass(frozen=True)
class Results:
    """The results on one set of sounds."""

    scored: ScoredSet
    captions: Mapping[str, Captions]  # by run
    found: Mapping[str, Scored]  # by run
    differences: Mapping[tuple[str, str], Mapping[str, Difference]]  # by pair of systems and metric


def write_report(plan: Plan, results: Sequence[Results], folder: Path, command: str) -> Path:
    """Writes `README.md`, `scores.json`, `curves.png` and a table of captions for each set.

    It holds no references by people.

    Args:
        plan: its runs are trained.
        results: the scores of the runs, one for each set.
        folder: for the files.
        command: the command line of this reproduction.

    Returns:
        The path of `README.md`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw_systems(plan, folder / "curves.png")
    for found in results:
        _write_captions(found, folder / f"captions_{found.scored.name}.csv")
    scores = {
        its.scored.name: {name: of_run.scores for name, of_run in its.found.items()}
        for its in results
    }
    _write(folder / "scores.json", json.dumps(scores, indent=2) + "\n")
    titles = {"full": "Clotho", "small": "the development corpus"}
    parts = [
        [f"# Reproduction on {titles[plan.scale]}", "", f"    {command}", "", WHAT[plan.scale]],
        _table_1(plan),
    ]
    for found in results:
        parts += [_table_2(plan, found), _differences(plan, found)]
    parts += [["## Curves", "", "![Loss of each epoch](curves.png)"]]
    parts += [_side_by_side(plan, found) for found in results]
    parts += [_machine(plan)]
    _write(folder / "README.md", "\n\n".join("\n".join(part) for part in parts if part) + "\n")
    return folder / "README.md"


def spread(values: Sequence[float]) -> str:
    """Returns the mean and, of several values, the standard deviation."""
    mean = f"{np.mean(values):.3f}"
    return f"{mean} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else mean


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Returns the lines of a table in Markdown."""
    lines = [list(header), ["---"] * len(header), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]


def _table_1(plan: Plan) -> list[str]:
    rows = []
    for name, system in plan.systems.items():
        own = sizes(next(run for run in plan.runs if run.system == name))
        cells = [
            f"{own[part] / 1e6:.2f}" if part in own else "-"
            for part in ("pre-encoder", "captioner")
        ]
        rows.append(
            [system.title, *cells, "-" if system.table_1 is None else f"{system.table_1:g}"]
        )
    about = (
        f"Million parameters; the paper's pre-encoder has {PRE_ENCODER_TABLE_1}. "
        "Frozen encoders are counted."
    )
    return [
        "## Table 1",
        "",
        about,
        "",
        *table(("system", "pre-encoder", "captioner", "paper"), rows),
    ]


def _table_2(plan: Plan, found: Results) -> list[str]:
    there = {name for its in found.found.values() for name in its.scores}
    lacking = {name: why for its in found.found.values() for name, why in its.missing.items()}
    if plan.scale == "full":
        there |= set(COLUMNS)
    columns = [name for name in (*COLUMNS, *MORE_TITLES) if name in there]
    rows = []
    for name, system in plan.systems.items():
        own = [found.found[run.name].scores for run in plan.runs if run.system == name]
        cells = [
            spread([its[column] for its in own]) if column in own[0] else "-" for column in columns
        ]
        rows.append([system.title, str(len(own)), *cells])
        if system.table_2 is not None and plan.scale == "full":
            paper = dict(zip(COLUMNS, system.table_2, strict=True))
            rows.append(
                [
                    "its paper's figure",
                    "",
                    *(f"{paper[c]:.3f}" if c in paper else "-" for c in columns),
                ]
            )
    heading = (
        "## Table 2" if plan.scale == "full" else f"## Table 2's columns on `{found.scored.name}`"
    )
    if found.scored.label_words is not None:
        heading += ", against *pseudo-references*"
    recordings = len({item.group or item.file for item in found.scored.items})
    about = (
        f"{len(found.scored.items)} sounds of {recordings} recordings. "
        "Mean and standard deviation over seeds."
    )
    lines = [heading, "", f"{about} {found.scored.note}".strip(), ""]
    titles = [{**TITLES, **MORE_TITLES}[column] for column in columns]
    lines += table(("system", "seeds", *titles), rows)
    home = os.path.expanduser("~")
    missing = [
        f"- {TITLES[name]} is missing: {lacking[name].replace(home, '~')}"
        for name in COLUMNS
        if name in lacking
    ]
    return [*lines, *([""] if missing else []), *missing]


def _differences(plan: Plan, found: Results) -> list[str]:
    if not found.differences:
        return []
    rows = []
    for (first, second), differences in found.differences.items():
        for metric in COMPARED:
            if (its := differences.get(metric)) is not None:
                rows.append(
                    [
                        f"{plan.systems[second].title} - {plan.systems[first].title}",
                        {**TITLES, **MORE_TITLES}[metric],
                        f"{its.difference:+.3f}",
                        f"{its.interval.low:+.3f} to {its.interval.high:+.3f}",
                        f"{its.share_above:.1%}",
                    ]
                )
    about = (
        "Paired bootstrap, 1,000 draws of whole recordings with all their sounds and seeds: "
        "an interval (95 %) tells of other sounds, not of other seeds."
    )
    heading = f"### Paired differences on `{found.scored.name}`"
    return [
        heading,
        "",
        about,
        "",
        *table(("systems", "metric", "difference", "95 %", "draws above"), rows),
    ]


def _side_by_side(plan: Plan, found: Results) -> list[str]:
    runs = [next(run for run in plan.runs if run.system == name) for name in plan.systems]
    chosen = random.Random(0).sample(list(found.scored.items), min(SHOWN, len(found.scored.items)))
    rows = [
        [
            item.file.name,
            item.label or "-",
            *(found.captions[run.name][str(item.file)] for run in runs),
        ]
        for item in chosen
    ]
    file = f"captions_{found.scored.name}.csv"
    about = f"Drawn once, not chosen; all are in [{file}]({file}). Seed 0."
    header = ("sound", "label", *(run.system for run in runs))
    return [
        f"## Captions on `{found.scored.name}` side by side",
        "",
        about,
        "",
        *table(header, rows),
    ]


def _machine(plan: Plan) -> list[str]:
    import torch

    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else "no GPU, "
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("auricle", "torch", "numpy", "onnxruntime")
    )
    described = (
        f"{gpu}{_processor()}, {os.cpu_count()} processors, "
        f"{torch.get_num_threads()} threads; {versions}"
    )
    commit = f"; commit {found}" if (found := _commit()) else ""
    seconds = {run.name: trained_seconds(run) for run in plan.runs}
    rows = [[name, f"{value / 60:.1f}"] for name, value in seconds.items()]
    rows.append(["all", f"{sum(seconds.values()) / 60:.1f}"])
    commands = [f"    {command}" for run in plan.runs for command in run.commands()]
    return [
        "## Machine, time and commands",
        "",
        f"{described}{commit}.",
        "",
        *table(("training", "minutes"), rows),
        "",
        "The trainings by hand:",
        "",
        *commands,
    ]


def _commit() -> str:
    """The commit of the current folder; empty where there is none."""
    git = shutil.which("git")
    if git is None:
        return ""
    return subprocess.run(
        [git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _write_captions(found: Results, path: Path) -> None:
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", *found.captions])
        for item in found.scored.items:
            own = [captions[str(item.file)] for captions in found.captions.values()]
            writer.writerow([item.file.name, item.label, *own])


def _write(path: Path, text: str) -> None:
    with written_whole(path) as part:
        part.write_text(text, "utf-8")


def draw_systems(plan: Plan, path: Path) -> None:
    """Draws the loss of each epoch, in one colour for each system.

    Pre-encoders are on the left, captioners on the right.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    by_system: dict[str, list[PlannedRun]] = defaultdict(list)
    for run in plan.runs:
        by_system[run.system].append(run)
    panels = zip(
        figure.subplots(1, 2),
        (("pretrain", "contrastive loss"), ("train", "loss of a word")),
        strict=True,
    )
    for axes, (stage, title) in panels:
        for colour, (system, runs) in enumerate(by_system.items()):
            for run in runs:
                if stage in run.stages():
                    log = training_log(run.stages()[stage])
                    epochs, losses = [line["epoch"] for line in log], [line["loss"] for line in log]
                    label = system if run.seed == runs[0].seed else None
                    axes.plot(epochs, losses, color=f"C{colour}", linewidth=1, label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False, fontsize="small")
    with written_whole(path) as part:
        figure.savefig(part, format="png", dpi=120)
