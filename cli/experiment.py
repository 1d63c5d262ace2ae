"""``coord experiment``: questions about fleets, answered by trying, without a server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from cli.inputs import known_word
from cli.options import JsonOption
from cli.output import counted, plain, say, show, table
from reports import experiment_curves
from workers.experiment.arms import SINGLE, Run
from workers.experiment.intervals import Interval
from workers.experiment.outcomes import REFERENCE, Outcome, outcomes_of
from workers.experiment.runs import run_all
from workers.experiment.strategies import STRATEGIES
from workers.problems import PROBLEMS

CHOSEN = "measured"
"""What trainers do."""
ARMS = (REFERENCE, SINGLE, CHOSEN, "best")
NAMES = [problem.specialization for problem in PROBLEMS]
SPECIALIZATION_OF = {name: name for name in NAMES} | {
    problem.name: problem.specialization for problem in PROBLEMS
}
"""By either name that people know a problem by."""
ABOUT = {SINGLE: "one search with all evaluations"} | {
    name: strategy.about for name, strategy in STRATEGIES.items()
}

app = typer.Typer(no_args_is_help=True, help="Answer a question about fleets by trying.")

ProblemOption = Annotated[
    list[str] | None,
    typer.Option(
        "--problem",
        "-p",
        metavar="NAME",
        help=f"Specialization or its problem, again for each: {', '.join(NAMES)}.",
        show_default="all",
    ),
]
ArmOption = Annotated[
    list[str] | None,
    typer.Option(
        "--arm",
        "-a",
        metavar="NAME",
        help=f"What is tried beside {REFERENCE}, again for each: {', '.join(ABOUT)}.",
        show_default=", ".join(ARMS),
    ),
]
SeedsOption = Annotated[
    int, typer.Option("--seeds", min=1, max=1_000, help="How often all is repeated.")
]
TrainersOption = Annotated[int, typer.Option("--trainers", "-t", min=2, max=64, help="How many.")]
EvaluationsOption = Annotated[
    int,
    typer.Option(
        "--evaluations",
        "-e",
        min=2,
        max=1_000_000,
        help="Of all trainers together, by each arm.",
    ),
]
ProcessesOption = Annotated[
    int | None,
    typer.Option("--processes", min=1, max=64, help="How many.", show_default="one a core"),
]
PlotsOption = Annotated[
    Path | None,
    typer.Option("--plots", metavar="DIR", help="Draw learning curves there, sharing.png."),
]


@app.callback()
def experiment() -> None:
    pass


@app.command()
def sharing(
    problem: ProblemOption = None,
    arm: ArmOption = None,
    seeds: SeedsOption = 10,
    trainers: TrainersOption = 8,
    evaluations: EvaluationsOption = 480,
    processes: ProcessesOption = None,
    json: JsonOption = False,
    plots: PlotsOption = None,
) -> None:
    """Find out whether sharing pays: trainers that share, against as many that do not.

    Each arm has as many evaluations, in one process, by the code that trainers
    run. Shown are means over the seeds, with 95 % intervals; docs/sharing.md
    says what came of it.

    Example: coord experiment sharing -p audio --seeds 3
    """
    if evaluations < trainers:
        raise typer.BadParameter(f"{trainers} trainers need at least as many --evaluations")
    given = [known_word(name, SPECIALIZATION_OF, "--problem") for name in problem or NAMES]
    names = list(dict.fromkeys(SPECIALIZATION_OF[name] for name in given))
    arms = with_reference([known_word(name, ABOUT, "--arm") for name in arm or ARMS])
    picture = None if plots is None else new_picture(plots)
    asked = (names, arms, range(seeds), trainers, evaluations, processes or os.cpu_count() or 1)
    total = len(names) * len(arms) * seeds
    runs = in_order(followed(run_all(*asked), total, silent=json), names, arms)
    outcomes = outcomes_of(runs)
    show(in_json(runs, outcomes), json, lambda shown: render(shown, outcomes))
    if picture is not None:
        experiment_curves.draw(runs, picture)
        if not json:
            say(f"learning curves are in {plain(picture)}")


def with_reference(arms: Sequence[str]) -> list[str]:
    """Each once, with what they are compared with first."""
    return list(dict.fromkeys([REFERENCE, *arms]))


def new_picture(directory: Path) -> Path:
    """Where the curves go, which is made now: before all runs, not after them, one wants to know
    that it cannot be."""
    picture = directory / "sharing.png"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        picture.touch()
    except OSError as error:
        told = f"{plain(picture)} cannot be written: {error.strerror}"
        raise typer.BadParameter(f"--plots: {told}") from None
    return picture


def followed(runs: Iterator[Run], total: int, *, silent: bool) -> list[Run]:
    """The runs, with a bar on a terminal's standard error until they are there."""
    console = Console(stderr=True)
    with Progress(
        console=console, transient=True, disable=silent or not console.is_terminal
    ) as bar:
        return list(bar.track(runs, total=total, description=counted(total, "run")))


def in_order(runs: list[Run], names: Sequence[str], arms: Sequence[str]) -> list[Run]:
    """As they were asked for: which of them ends first is chance."""
    return sorted(
        runs, key=lambda run: (names.index(run.specialization), arms.index(run.arm), run.seed)
    )


def render(shown: Console, outcomes: Sequence[Outcome]) -> None:
    spare = ("held out, over isolated", "held out", "gap closed in training")
    columns = ("problem", "arm", "evaluations", "reached", *reversed(spare))
    shown.print(table("", columns, map(row_of, outcomes), spare=spare))
    shown.print(
        Text(
            f"\nevaluations: share of them until its best equals the last of {REFERENCE}; reached:"
            " how many seeds get there, and the others count as all"
        )
    )
    for arm in dict.fromkeys(outcome.arm for outcome in outcomes):
        shown.print(Text(f"{arm}: {ABOUT[arm]}; {verdict_of(arm, outcomes)}"))


def row_of(outcome: Outcome) -> tuple[str, ...]:
    return (
        outcome.specialization,
        outcome.arm,
        told(outcome.evaluations, 2),
        f"{outcome.reached}/{outcome.seeds}",
        told(outcome.trained, 3),
        told(outcome.held_out, 3),
        told(outcome.gain, 3),
    )


def told(interval: Interval, digits: int) -> str:
    mean, low, high = (f"{value:.{digits}f}" for value in interval)
    return f"{mean} ({low}..{high})"


def verdict_of(arm: str, outcomes: Sequence[Outcome]) -> str:
    own = [outcome for outcome in outcomes if outcome.arm == arm]
    half = sum(outcome.takes_half for outcome in own)
    better = sum(outcome.beats_baseline for outcome in own)
    return (
        f"at most half the evaluations on {half} of {len(own)},"
        f" better than the baseline on held-out workloads on {better}"
    )


def in_json(runs: Sequence[Run], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Intervals are lists of mean, low and high."""
    return {
        "outcomes": [asdict(outcome) for outcome in outcomes],
        "runs": [asdict(run) for run in runs],
    }
