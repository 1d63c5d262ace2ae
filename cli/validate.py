"""``coord validate``: judge a component by hand, as a validator does, without a fleet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from cli.options import JsonOption, StateDirOption, load_settings
from cli.output import ExitCode, advise, facts, plain, show, size
from coordinator.payloads import Verdict, VerdictWord
from coordinator.validations import SHOWN_AS
from workers.validation import Component, validate, validation_seed
from workers.validation.source import SOURCE_BYTES
from workers.validation.workload_seed import BY_HAND

PATIENCE_S = 1.0
"""Who waits for longer is told what for."""
STYLES = {"passed": "green", "failed": "red"}
CODES: dict[VerdictWord, ExitCode] = {
    "passed": ExitCode.OK,
    "compiled": ExitCode.OK,
    "failed": ExitCode.FAILED,
    "not_validated": ExitCode.NOT_VALIDATED,
}
LANGUAGES = {
    ".py": "python",
    **dict.fromkeys((".cpp", ".cc", ".cxx", ".c++", ".hpp", ".h"), "cpp"),
}
FilesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        help="The component's text, - for the input; one for each --specialization.",
    ),
]
ForOption = Annotated[
    list[str],
    typer.Option(
        "--specialization",
        "-s",
        metavar="NAME",
        help="What it is a component for. Twice, with two files: a component of both together.",
    ),
]
LanguageOption = Annotated[
    str | None,
    typer.Option(
        "--language",
        metavar="NAME",
        help="python or cpp.",
        show_default="by the file's name, else python",
    ),
]
WorkloadOption = Annotated[
    bool,
    typer.Option(
        "--validators-workload",
        help="Measure on the secret workload of this machine's validators, not on the public one.",
    ),
]


def validate_command(
    files: FilesArgument,
    specialization: ForOption,
    language: LanguageOption = None,
    validators_workload: WorkloadOption = False,
    json: JsonOption = False,
    state_dir: StateDirOption = None,
) -> None:
    """Judge a component as a validator does: run it in a sandbox, measure it, print the report.

    Takes no server and no fleet. Ends with 0 for one that passed, and for C++ that compiles; with
    1 for one that failed; with 5 for one that could not be judged here. The workload is public,
    and the same everywhere; a fleet's validators have one of their own. What a component has to be
    is in docs/components.md.

    Example: coord validate my_policy.py --specialization file_system
    """
    if len(files) != len(specialization):
        raise typer.BadParameter(
            f"{len(files)} FILE and {len(specialization)} --specialization: give one for each"
        )
    texts = {name: text_in(path) for name, path in zip(specialization, files, strict=True)}
    if len(texts) != len(files):
        raise typer.BadParameter("--specialization is the same twice: give each file its own")
    record = {
        "language": language or LANGUAGES.get(Path(files[0]).suffix.lower(), "python"),
        "code": texts if len(texts) > 1 else texts[specialization[0]],
    }
    component = Component(record, specialization[0])
    settings = load_settings(None, None, state_dir)
    seed = validation_seed(settings) if validators_workload else BY_HAND
    with patience() as on_step:
        verdict = validate(component, seed, on_step=on_step, is_public=not validators_workload)
    show(verdict.model_dump(), json, lambda shown: render(shown, verdict))
    if code := CODES[verdict.verdict]:
        raise typer.Exit(code)


def text_in(path: str) -> str:
    """The text of a file, or of the input for ``-``; a usage error for what cannot be one."""
    name = "the input" if path == "-" else plain(path)
    try:
        if path == "-":
            data = sys.stdin.buffer.read(SOURCE_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(SOURCE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(
            f"{name} cannot be read: {getattr(error, 'strerror', error)}"
        ) from None
    if len(data) > SOURCE_BYTES:
        raise typer.BadParameter(
            f"{name} is too large: a component has at most {size(SOURCE_BYTES)}"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise typer.BadParameter(
            f"{name} is no text, which a component must be: byte {error.start} is no UTF-8"
        ) from None


@contextmanager
def patience() -> Iterator[Any]:
    """Gives what is to be told each step; one that takes long is said, on standard error."""
    timer = Timer(PATIENCE_S, lambda: None)

    def on_step(step: str) -> None:
        nonlocal timer
        timer.cancel()
        timer = Timer(PATIENCE_S, advise, [f"{step} …"])
        timer.daemon = True
        timer.start()

    try:
        yield on_step
    finally:
        timer.cancel()


def render(shown: Console, verdict: Verdict) -> None:
    """The report for people: the verdict and why, then what is known, a line each."""
    word = SHOWN_AS.get(verdict.verdict, verdict.verdict)
    line = Text(word, style=f"bold {STYLES.get(verdict.verdict, 'yellow')}")
    if verdict.score is not None:
        line.append(f"  score {verdict.score:.3f}", style="bold")
        line.append(f": {of_the_gap(verdict.score)}", style="default")
    shown.print(line)
    if verdict.reason:
        shown.print(Text(plain(verdict.reason)))
    shown.print(facts((name, text) for name, text in lines(verdict) if text))


def of_the_gap(score: float) -> str:
    """What a score means, for who sees one for the first time."""
    if score < 0:
        return "worse than the baseline"
    return f"{score:.1%} of the way from the baseline to the best possible"


def lines(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """The names and texts of what a report has besides the verdict."""
    costs = ", ".join(f"{name} {cost:g}" for name, cost in verdict.costs.items())
    yield "cost", f"{costs} {verdict.cost_unit}" if costs else ""
    yield "problem", verdict.problem and f"{verdict.problem}, by {verdict.evaluator}"
    yield "workload", verdict.workload
    yield "tests passed", ", ".join(verdict.tests)
    yield "not run", "; ".join(verdict.not_run)
    yield "sandbox", verdict.sandbox
    yield "limits", ", ".join(limit(*pair) for pair in verdict.limits.items())
    times = (f"{name.removesuffix('_ms')} {ms:.0f}" for name, ms in verdict.timings.items())
    yield "milliseconds", ", ".join(times)


def limit(name: str, value: float) -> str:
    what, _, unit = name.rpartition("_")
    return f"{what} {size(value)}" if unit == "bytes" else f"{what} {value:g} {unit}"
