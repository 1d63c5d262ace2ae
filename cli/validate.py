"""``coord validate``: judge a component by hand, as a validator does, without a fleet."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from cli.inputs import did_you_mean
from cli.options import JsonOption, StateDirOption, load_settings
from cli.output import CELL_MAX, ExitCode, advise, complain, facts, plain, show
from coordinator.clock import SystemClock
from coordinator.payloads import Verdict, VerdictWord
from coordinator.specializations import CAPABILITIES
from coordinator.validation.models import language_of, shown_word
from reports.formats import size
from workers.problems import find_problem
from workers.sandbox import Interrupted
from workers.validation import (
    MEASURED,
    PUBLIC_SEED,
    SOURCE_BYTES,
    Component,
    day_of,
    specialization_of,
    validate,
    validation_seed,
)

PATIENCE_S = 1.0
"""Who waits for longer is told what for."""
LEFT_OUT = re.compile(r" from [^,]*|, rlimits$")
"""Of the sandbox, so that 80 columns hold it; --json and `coord doctor` tell all."""
STYLES = {"passed": "green", "failed": "red"}
CODES: dict[VerdictWord, ExitCode] = {
    "passed": ExitCode.OK,
    "compiled": ExitCode.OK,
    "failed": ExitCode.FAILED,
    "not_validated": ExitCode.NOT_VALIDATED,
}
LANGUAGES = {
    ".py": "python",
    **dict.fromkeys((".cpp", ".cc", ".cxx", ".c++", ".hpp"), "cpp"),
    **dict.fromkeys((".c", ".h"), "c"),
    **dict.fromkeys((".js", ".mjs", ".cjs"), "javascript"),
    **dict.fromkeys((".ts", ".mts"), "typescript"),
    ".rs": "rust",
    ".rb": "ruby",
    ".cs": "csharp",
    ".sh": "shell",
    **{f".{name}": name for name in ("go", "java", "kt", "lua", "php", "scala", "swift", "zig")},
}
FilesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        help="The component's text; - is standard input. Two files, of two specializations, are a"
        " component of both together.",
    ),
]
ForOption = Annotated[
    list[str] | None,
    typer.Option(
        "--specialization",
        "-s",
        metavar="NAME",
        help="What it is to be a component for; with two files once for each, in their order.",
        show_default="what the file says itself",
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
    specialization: ForOption = None,
    language: LanguageOption = None,
    validators_workload: WorkloadOption = False,
    json: JsonOption = False,
    state_dir: StateDirOption = None,
) -> None:
    """Judge a component as a validator does: run it in a sandbox, measure it, print the report.

    It is one Python module with a SPECIALIZATION and a class Policy; of what it
    lacks, the report says what to write. It takes no server and no fleet.

    The workload is public, and the same everywhere; that of a fleet's validators
    is a secret of theirs.

    Ends with 0 for one that passed, and for C++ that compiles; with 1 for one
    that failed; with 5 for one that could not be judged here.

    Example: coord validate my_policy.py
    """
    texts = [text_in(path) for path in files]
    language = language or language_of_files(files)
    is_python = language_of({"language": language}) == "python"
    names = specializations_of(files, texts if is_python else [], specialization or [])
    code = dict(zip(names, texts, strict=True)) if len(files) > 1 else texts[0]
    component = Component({"language": language, "code": code}, names[0])
    settings = load_settings(None, None, state_dir)
    seed, day = PUBLIC_SEED, None
    if validators_workload:
        seed, day = validation_seed(settings), day_of(SystemClock().now_ms())
    try:
        with patience() as on_step:
            verdict = validate(
                component, seed, on_step=on_step, is_public=not validators_workload, day=day
            )
    except Interrupted as error:
        complain(error.detail)
        raise typer.Exit(ExitCode.NOT_VALIDATED) from None
    show(verdict.model_dump(), json, lambda shown: render(shown, verdict))
    if exit_code := CODES[verdict.verdict]:
        raise typer.Exit(exit_code)


def language_of_files(files: Sequence[str]) -> str:
    """The language that their names tell; a usage error if it is not one."""
    found = {LANGUAGES.get(Path(path).suffix.lower(), "python"): path for path in files}
    if len(found) > 1:
        told = " and ".join(f"{plain(path)} is {name}" for name, path in found.items())
        raise typer.BadParameter(f"{told}: a component is in one language")
    return next(iter(found))


def specializations_of(
    files: Sequence[str], texts: Sequence[str], given: Sequence[str]
) -> list[str]:
    """What each file is for: what is ``given``, else what its text says; "" for a single one that
    says nothing. ``texts`` are Python, or none.

    Raises a usage error for words that nobody can have meant, and where the two differ.
    """
    if given and len(given) != len(files):
        raise typer.BadParameter(
            f"{len(files)} FILE and {len(given)} --specialization: give one for each, in the same"
            " order, or none, for a file says itself what it is for"
        )
    for word in given:
        check_word(word, "--specialization")
    said = [specialization_of(text) for text in texts] or [""] * len(files)
    for place, path in enumerate(files):
        if given:
            check_same(plain(path), said[place], given[place], place if len(files) > 1 else None)
        elif said[place]:
            check_word(said[place], f"SPECIALIZATION in {plain(path)}")
        elif len(files) > 1:
            raise typer.BadParameter(
                f"{plain(path)} does not say what it is for: give a --specialization for each FILE"
            )
    names = list(given) or said
    if len(set(names)) < len(names):
        raise typer.BadParameter(
            f"two files are for {plain(names[0])}: of a component of both together, each is for"
            " another specialization"
        )
    return names


def check_same(path: str, said: str, given: str, place: int | None) -> None:
    """A usage error unless a file is for what was ``given``, as far as it says so. Of several files
    it is the one at that ``place``."""
    if said in ("", given):
        return
    which, order = path, "leave that out, or correct the file"
    if place is not None:
        which = f"{path}, FILE {place + 1},"
        order = (
            "the two are paired by their order: leave all -s out, or put them in that of the files"
        )
    raise typer.BadParameter(
        f'{which} says SPECIALIZATION = "{plain(said)}", and --specialization (-s) says'
        f" {plain(given)}, which may be what is wrong: {order}"
    )


def check_word(word: str, source: str) -> None:
    """A usage error for a specialization that is none, and looks like one that is."""
    if word in CAPABILITIES:
        return
    problems = {find.name: name for name in MEASURED if (find := find_problem(name))}
    near = problems.get(word.lower())
    question = f"did you mean {near}?" if near else did_you_mean(word.lower(), CAPABILITIES)
    if question or not word.strip():
        told = " ".join([question, f"measured are {', '.join(MEASURED)}"]).strip()
        raise typer.BadParameter(f"{source} is {plain(repr(word), CELL_MAX)}: {told}")


def text_in(path: str) -> str:
    """The text of a file, or of the input for ``-``; a usage error for what cannot be one."""
    name = "the input" if path == "-" else plain(path)
    try:
        data = read_at_most(path, SOURCE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(
            f"{name} cannot be read: {getattr(error, 'strerror', error)}"
        ) from None
    if len(data) > SOURCE_BYTES:
        raise typer.BadParameter(
            f"{name} is too large: a component has at most {size(SOURCE_BYTES)}"
        )
    if not data.strip():
        raise typer.BadParameter(f"{name} is empty: a component is one Python module")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise typer.BadParameter(
            f"{name} is no text, which a component must be: byte {error.start} is no UTF-8"
        ) from None


def read_at_most(path: str, size_bytes: int) -> bytes:
    """The first bytes of a file, or of the input. Raises OSError, ValueError."""
    if path != "-":
        with Path(path).open("rb") as file:
            return file.read(size_bytes)
    if sys.stdin is None:
        raise ValueError("it is closed")
    return sys.stdin.buffer.read(size_bytes)


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
    word = shown_word(verdict.verdict)
    line = Text(word, style=f"bold {STYLES.get(verdict.verdict, 'yellow')}")
    if verdict.score is not None:
        line.append(f"  score {verdict.score:.3f}", style="bold")
        line.append(f": {of_the_gap(verdict.score)}", style="default")
    shown.print(line)
    if verdict.reason:
        shown.print(Text(plain(verdict.reason)), soft_wrap=not shown.is_terminal)
    if rows := [(name, text) for name, text in lines(verdict) if text]:
        shown.print(facts(rows))


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
    yield "dropped", ", ".join(verdict.dropped)
    if not verdict.sandbox:
        return
    yield "sandbox", LEFT_OUT.sub("", verdict.sandbox)
    yield "limits", ", ".join(limit(*pair) for pair in verdict.limits.items())
    least_ms = max(verdict.timings.values(), default=0) / 100
    times = (
        f"{name.removesuffix('_ms')} {ms:.0f}"
        for name, ms in verdict.timings.items()
        if ms >= least_ms
    )
    yield "milliseconds", ", ".join(times)


def limit(name: str, value: float) -> str:
    what, _, unit = name.rpartition("_")
    told = size(value).replace(".0 ", " ") if unit == "bytes" else f"{value:g} {unit}"
    return f"{what} {told}"
