"""The command `auricle reproduce`."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.progress import shown_progress
from auricle.errors import AuricleError

if TYPE_CHECKING:
    from auricle.reproduction.plan import ReproductionPlan


class Scale(StrEnum):
    """The size of a reproduction."""

    full = "full"
    small = "small"


DATA = {Scale.full: Path("data/clotho"), Scale.small: Path("../shared/corpus")}
PAPER_NAMES = "baseline,gru,scratch,exp1,exp2"
CONTROL_NAMES = "exp1-tuned,exp2-labels"
DEFAULT_SYSTEMS = {
    Scale.full: PAPER_NAMES,
    Scale.small: f"{PAPER_NAMES},{CONTROL_NAMES},cnn10-scratch,cnn10-exp2",
}


def reproduce(
    scale: Annotated[
        Scale,
        typer.Option(help="full: the paper, on Clotho and a GPU; small: the development corpus."),
    ] = Scale.full,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Clotho with its manifest.csv [data/clotho]; small: the corpus."
        ),
    ] = None,
    systems: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...", help=f"Of {DEFAULT_SYSTEMS[Scale.small]}; all if left out."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each system.")] = 5,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where the report goes.")
    ] = Path("reproduction"),
    runs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the trainings go [runs/reproduction/SCALE]."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value in all recipes; may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the plan, its time and memory, and end. Needs no weights."
        ),
    ] = False,
) -> None:
    """Train the paper's systems, score them, and write the paper's tables.

    After a stop, the same command goes on; finished trainings are kept. The report
    holds Table 1 and Table 2 next to the paper's columns, mean and spread over seeds, comparisons
    over seeds and recordings, curves, captions side by side, and all commands.

    Examples:

        auricle data clotho data/clotho && auricle data weights cnn10

        auricle reproduce --dry-run

        auricle reproduce

        auricle reproduce --systems exp1,exp2 --seeds 3 --output tables/

        accelerate launch -m auricle reproduce
    """
    from auricle.reproduction.plan import make_plan

    names = [
        name.strip() for name in (systems or DEFAULT_SYSTEMS[scale]).split(",") if name.strip()
    ]
    runs = runs or Path("runs/reproduction") / scale.value
    plan = make_plan(
        scale.value,
        data or DATA[scale],
        names,
        seeds,
        runs,
        settings or [],
        check_files=not dry_run,
    )
    if not plan.runs:
        raise AuricleError("no systems: name some with --systems")
    if dry_run:
        print_plan(plan)
    else:
        report = carry_out(plan, output, f"auricle {shlex.join(sys.argv[1:])}")
        if report is not None:
            print(report)


def print_plan(plan: "ReproductionPlan") -> None:
    """Prints a line for each stage: its state, the expected time, and the memory it needs."""
    from rich.console import Console
    from rich.table import Table

    from auricle.reproduction.estimates import estimates

    table = Table("training", "stage", box=None)
    for heading in ("minutes", "memory, GB"):
        table.add_column(heading, justify="right")
    of_stages = estimates(plan)
    for stage in of_stages:
        minutes = "done" if stage.done else f"{stage.seconds / 60:.1f}"
        table.add_row(stage.run, stage.stage, minutes, f"{stage.memory / 1e9:.1f}")
    console = Console()
    console.print(table)
    sounds = ", ".join(f"{len(scored.items)} sounds of {scored.name}" for scored in plan.sets)
    total = sum(stage.seconds for stage in of_stages)
    console.print(
        f"about {total / 60:.0f} minutes of training, by operations counted and this machine's "
        f"speed."
    )
    console.print(f"Each captions {sounds}, and is scored.")
    for run in plan.runs:
        for command in run.commands():
            console.print(command, style="dim", soft_wrap=True)


def carry_out(plan: "ReproductionPlan", output: Path, command: str) -> Path | None:
    """Trains, captions, scores and reports.

    All processes of `accelerate launch` train; the main one does the rest.

    Returns:
        The report; None in the other processes.
    """
    from rich.console import Console
    from rich.progress import track

    from auricle.reproduction.captions import caption_run, sounds_fingerprint
    from auricle.reproduction.report import Results, compared, write_report
    from auricle.reproduction.stages import score_run, train_run
    from auricle.training.loop import is_main_process

    console = Console(stderr=True)
    for number, run in enumerate(plan.runs, start=1):
        console.print(f"{number} of {len(plan.runs)}: {run.name}")
        with shown_progress() as report:
            train_run(run, report)
    if not is_main_process():
        return None
    results = []
    for scored in plan.sets:
        captions, scores = {}, {}
        sounds = sounds_fingerprint(scored)
        for run in track(
            plan.runs, f"Scoring on {scored.name}", console=console, disable=not sys.stderr.isatty()
        ):
            captions[run.name] = caption_run(run, scored, sounds)
            scores[run.name] = score_run(run, scored, captions[run.name])
        results.append(Results(scored, captions, scores))
    return write_report(plan, compared(plan, results), output, command)
