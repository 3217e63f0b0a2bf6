"""Writes the report of a reproduction.

It holds tables next to the paper's, curves, captions side by side, machine, time and commands.
"""

import csv
import json
import os
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from auricle.evaluation.metrics import TITLES
from auricle.reproduction.captions import CaptionsByFile
from auricle.reproduction.comparison import (
    COMPARISON_RESAMPLES,
    SystemComparison,
    compare_systems,
    correct,
    diversity,
    draw_recordings,
)
from auricle.reproduction.corpus import ScoredSet
from auricle.reproduction.machine import describe_machine, table
from auricle.reproduction.plan import (
    PAIRS,
    PRE_ENCODER_TABLE_1,
    TABLE_2_COLUMNS,
    PlannedRun,
    ReproductionPlan,
)
from auricle.reproduction.stages import Scored, sizes, training_log
from auricle.storage.files import written_whole

SHOWN = 15  # sounds in the table of captions
MORE_TITLES = {"label_named": "label named", "retrieval_map_10": "mAP@10"}
COMPARED = (*TABLE_2_COLUMNS, "label_named")
# Pairs of the paper's systems; in the paper, the second one is better.
BETTER_SECOND = (("baseline", "exp1"), ("exp1", "exp2"))
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
        "weights are not there and would not fit. So Experiment 1 has no CNN10 (-). The baseline "
        "was tuned less. The recipes are in `configs/small`.\n\n"
        "Experiment 2 differs from Experiment 1 in more than the contrast: its encoder has been "
        "tuned on these sounds, with masks that know the labels, and its training takes more "
        "operations. Two controls take as many. In one, Experiment 1's encoder is fine-tuned with "
        "the captions. In the other, the encoder is fine-tuned on the labels of the sounds instead "
        "of the contrast with captions, and then transferred. Only what Experiment 2 gains over "
        "both can be the contrast's."
    ),
}


@dataclass(frozen=True)
class Results:
    """The results on one set of sounds."""

    scored: ScoredSet
    captions: Mapping[str, CaptionsByFile]  # by run
    scores: Mapping[str, Scored]  # by run
    comparisons: Sequence[SystemComparison] = ()  # corrected for the number of all in the report


def compared(plan: ReproductionPlan, results: Sequence[Results]) -> list[Results]:
    """Returns the results with the comparisons of all sets that the report shows.

    Systems that collapsed on a set are not compared on it.
    """
    of_sets = [_compare_pairs(plan, on_set) for on_set in results]
    # The correction counts the comparisons of all sets.
    corrected = iter(correct([comparison for of_set in of_sets for comparison in of_set]))
    return [
        replace(on_set, comparisons=[next(corrected) for _ in of_set])
        for on_set, of_set in zip(results, of_sets, strict=True)
    ]


def _compare_pairs(plan: ReproductionPlan, results: Results) -> list[SystemComparison]:
    """Returns the comparisons of a set, before the correction."""
    if results.scored.for_selection:
        return []
    collapsed = {run.system for run in plan.runs if diversity(results.captions[run.name]).collapsed}
    diverse = [run for run in plan.runs if run.system not in collapsed]
    drawn = draw_recordings(diverse, results.scored, results.scores)
    systems = {run.system for run in diverse}
    return [
        comparison
        for pair in PAIRS
        if set(pair) <= systems
        for comparison in compare_systems(plan, results.scores, drawn, *pair)
        if comparison.metric in COMPARED
    ]


def write_report(
    plan: ReproductionPlan, results: Sequence[Results], folder: Path, command: str
) -> Path:
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
    scores = {}
    for on_set in results:
        name = on_set.scored.name
        _write_captions(on_set, folder / f"captions_{name}.csv")
        scores[name] = {run: of_run.scores for run, of_run in on_set.scores.items()}
    _write(folder / "scores.json", json.dumps(scores, indent=2) + "\n")
    titles = {"full": "Clotho", "small": "the development corpus"}
    parts = [
        [f"# Reproduction on {titles[plan.scale]}", "", f"    {command}", "", WHAT[plan.scale]],
        _table_1(plan),
    ]
    shown = [on_set for on_set in results if not on_set.scored.for_selection]
    for on_set in shown:
        parts += [_table_2(plan, on_set), _order(plan, on_set), _comparisons(plan, on_set)]
    parts += [["## Curves", "", "![Loss of each epoch](curves.png)"]]
    parts += [_side_by_side(plan, on_set) for on_set in shown]
    parts += [describe_machine(plan)]
    _write(folder / "README.md", "\n\n".join("\n".join(part) for part in parts if part) + "\n")
    return folder / "README.md"


def spread(values: Sequence[float]) -> str:
    """Returns the mean and, of several values, the standard deviation."""
    mean = f"{np.mean(values):.3f}"
    return f"{mean} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else mean


def _table_1(plan: ReproductionPlan) -> list[str]:
    rows = []
    for name, system in plan.systems.items():
        parameters = sizes(next(run for run in plan.runs if run.system == name))
        cells = [
            f"{parameters[part] / 1e6:.2f}" if part in parameters else "-"
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


def _table_2(plan: ReproductionPlan, results: Results) -> list[str]:
    of_runs = results.scores.values()
    there = {name for of_run in of_runs for name in of_run.scores}
    lacking = {name: why for of_run in of_runs for name, why in of_run.missing.items()}
    if plan.scale == "full":
        there |= set(TABLE_2_COLUMNS)
    columns = [name for name in (*TABLE_2_COLUMNS, *MORE_TITLES) if name in there]
    rows = []
    for name, system in plan.systems.items():
        runs = [run for run in plan.runs if run.system == name]
        scores_of_runs = [results.scores[run.name].scores for run in runs]
        cells = [
            spread([of_run[column] for of_run in scores_of_runs])
            if column in scores_of_runs[0]
            else "-"
            for column in columns
        ]
        rows.append([system.title, str(len(scores_of_runs)), *cells, _diversity(results, runs)])
        if system.table_2 is not None and plan.scale == "full":
            paper = dict(zip(TABLE_2_COLUMNS, system.table_2, strict=True))
            rows.append(
                [
                    "its paper's figure",
                    "",
                    *(f"{paper[c]:.3f}" if c in paper else "-" for c in columns),
                    "",
                ]
            )
    heading = (
        "## Table 2" if plan.scale == "full" else f"## Table 2's columns on `{results.scored.name}`"
    )
    if results.scored.label_words is not None:
        heading += ", against *pseudo-references*"
    recordings = len({item.group or item.file for item in results.scored.items})
    about = (
        f"{len(results.scored.items)} sounds of {recordings} recordings. "
        "Mean and standard deviation over seeds."
    )
    lines = [heading, "", f"{about} {results.scored.note}".strip(), ""]
    titles = [{**TITLES, **MORE_TITLES}[column] for column in columns]
    lines += table(("system", "seeds", *titles, "different captions"), rows)
    home = os.path.expanduser("~")
    missing = [
        f"- {TITLES[name]} is missing: {lacking[name].replace(home, '~')}"
        for name in TABLE_2_COLUMNS
        if name in lacking
    ]
    return [*lines, *([""] if missing else []), *missing]


def _diversity(results: Results, runs: Sequence[PlannedRun]) -> str:
    """Returns the mean number of different captions of some runs, or that they are collapsed."""
    of_runs = [diversity(results.captions[run.name]) for run in runs]
    collapsed = [of_run for of_run in of_runs if of_run.collapsed]
    if collapsed:
        worst = max(collapsed, key=lambda of_run: of_run.most_frequent)
        return f"collapsed: {worst.most_frequent} of {worst.captions} captions are equal"
    return f"{np.mean([of_run.distinct for of_run in of_runs]):.0f} of {of_runs[0].captions}"


def _order(plan: ReproductionPlan, results: Results) -> list[str]:
    """Tells for all columns of Table 2 whether the systems stand in the paper's order."""
    lines = []
    for first, second in BETTER_SECOND:
        if not {first, second} <= plan.systems.keys():
            continue
        means = [_means(plan, results, system) for system in (first, second)]
        columns = [name for name in TABLE_2_COLUMNS if name in means[0] and name in means[1]]
        higher = [TITLES[name] for name in columns if means[1][name] > means[0][name]]
        reversed_ = [TITLES[name] for name in columns if means[1][name] <= means[0][name]]
        told = {"higher": higher, "not higher": reversed_}
        columns_told = "; ".join(
            f"{how} in {', '.join(names)}" for how, names in told.items() if names
        )
        lines.append(
            f"- {plan.systems[second].title} over {plan.systems[first].title}: {columns_told}."
        )
    if not lines:
        return []
    return ["In the paper, all columns but one tie are higher. Here:", "", *lines]


def _means(plan: ReproductionPlan, results: Results, system: str) -> dict[str, float]:
    scores_of_runs = [results.scores[run.name].scores for run in plan.runs if run.system == system]
    return {
        name: float(np.mean([of_run[name] for of_run in scores_of_runs]))
        for name in scores_of_runs[0]
    }


def _comparisons(plan: ReproductionPlan, results: Results) -> list[str]:
    if not results.comparisons:
        return []
    titles = {**TITLES, **MORE_TITLES}
    rows = [
        [
            f"{plan.systems[comparison.second].title} - {plan.systems[comparison.first].title}",
            titles[comparison.metric],
            f"{comparison.difference:+.3f}",
            f"{comparison.interval.low:+.3f} to {comparison.interval.high:+.3f}",
            f"{comparison.p:.4f}",
            f"{comparison.corrected_p:.3f}",
        ]
        for comparison in results.comparisons
    ]
    about = (
        f"Bootstrap of {COMPARISON_RESAMPLES:,} draws, each of whole recordings with all their "
        "sounds and of seeds: an interval (95 %) tells of other sounds and other seeds. p is "
        "two-sided; the last column is corrected for the number of all comparisons in this report "
        "(Holm). Collapsed systems and systems of one seed are not compared."
    )
    heading = f"### Differences on `{results.scored.name}`"
    header = ("systems", "metric", "difference", "95 %", "p", "p, corrected")
    return [heading, "", about, "", *table(header, rows)]


def _side_by_side(plan: ReproductionPlan, results: Results) -> list[str]:
    runs = [next(run for run in plan.runs if run.system == name) for name in plan.systems]
    chosen = random.Random(0).sample(
        list(results.scored.items), min(SHOWN, len(results.scored.items))
    )
    rows = [
        [
            item.file.name,
            item.label or "-",
            *(results.captions[run.name][str(item.file)] for run in runs),
        ]
        for item in chosen
    ]
    file = f"captions_{results.scored.name}.csv"
    about = f"Drawn once, not chosen; all are in [{file}]({file}). Seed 0."
    header = ("sound", "label", *(run.system for run in runs))
    return [
        f"## Captions on `{results.scored.name}` side by side",
        "",
        about,
        "",
        *table(header, rows),
    ]


def _write_captions(results: Results, path: Path) -> None:
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", *results.captions])
        for item in results.scored.items:
            captions_of_runs = [captions[str(item.file)] for captions in results.captions.values()]
            writer.writerow([item.file.name, item.label, *captions_of_runs])


def _write(path: Path, text: str) -> None:
    with written_whole(path) as part:
        part.write_text(text, "utf-8")


def draw_systems(plan: ReproductionPlan, path: Path) -> None:
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
        (("pretrain", "loss of captions, or of labels"), ("train", "loss of a word")),
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
