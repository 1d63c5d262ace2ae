"""The validation of one component: what it is, whether it can be judged here, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from coordinator.payloads import Verdict, VerdictWord
from coordinator.validation.models import language_of
from workers.problems import ProblemError
from workers.sandbox import (
    Compiled,
    Interrupted,
    Limits,
    NoCompiler,
    NoRung,
    PolicyFailed,
    Rung,
    compile_cpp,
    find_rung,
)
from workers.validation.measurement import Measurement
from workers.validation.report import NotValidated, OnStep, Report
from workers.validation.source import (
    Component,
    ComponentFault,
    Source,
    sources_of,
)

FindRung = Callable[[], Rung]
DEFAULT_LIMITS = Limits()
TELLING_TIMES = ("evaluation_ms", "policy_ms", "total_ms")
"""By these a policy could tell what it was asked."""


def validate(
    component: Component,
    seed: bytes,
    limits: Limits = DEFAULT_LIMITS,
    find_rung: FindRung = find_rung,
    on_step: OnStep = lambda step: None,
    is_public: bool = False,
    day: str | None = None,
) -> Verdict:
    """Judge a component on the workload of a seed, and of a ``day`` (YYYY-MM-DD) if one is given;
    ``on_step`` is told what is done next.

    Unless the workload ``is_public`` the verdict has next to nothing by which the component could
    say what it was asked: whatever it broke while it was measured is told in the same words, the
    score has fewer decimals, and what it achieved and how long that took are left out.
    Whatever the component is and does, the verdict says so, and it raises nothing here. Raises
    Interrupted for an accident of the machine, which is no verdict. But for the timings, the
    verdict on a policy that is deterministic is the same every time.
    """
    report = Report(limits, on_step)
    with report.timed("total_ms"):
        word, reason = _judge(component, seed, find_rung, report, is_public, day)
    if not is_public:
        report.forget(TELLING_TIMES)
    return report.verdict(word, reason)


def _judge(
    component: Component,
    seed: bytes,
    find_rung: FindRung,
    report: Report,
    is_public: bool,
    day: str | None,
) -> tuple[VerdictWord, str]:
    """The verdict and the reason for it; what else is found out is put into the report."""
    try:
        language = language_of(component.record)
        if language not in ("python", "cpp", ""):
            raise NotValidated(
                f"nothing judges {language} here: share Python to have it measured, or C++ to have"
                " it compiled"
            )
        sources = sources_of(component)
        if language == "cpp":
            return "compiled", _compile(sources, find_rung, report)
        Measurement(component, sources, report, is_public).run(seed, day, find_rung)
    except (ComponentFault, PolicyFailed, ProblemError) as error:
        return "failed", error.detail
    except Interrupted:
        raise
    except (NotValidated, NoRung, NoCompiler) as error:
        return "not_validated", error.detail
    return "passed", ""


def _compile(sources: list[Source], find_rung: FindRung, report: Report) -> str:
    """By what all of it compiles. Raises ComponentFault for what does not, NoRung, NoCompiler."""
    rung = find_rung()
    report.fields["sandbox"] = rung.describe()
    limits, compilers = report.limits, set()
    for source in sources:
        report.on_step("compiling it")
        left_s = limits.wall_s - report.times_ms["compile_ms"] / 1000
        with report.timed("compile_ms"):
            compiled = _compiled(rung, limits, left_s, source.text)
        if not compiled.ok:
            raise ComponentFault(f"{compiled.compiler}: {_first_error(compiled.diagnostics)}")
        compilers.add(compiled.compiler)
    return f"{', '.join(compilers)} compiles it; only Python is measured"


def _compiled(rung: Rung, limits: Limits, left_s: float, text: str) -> Compiled:
    try:
        return compile_cpp(rung, replace(limits, wall_s=left_s), text)
    except PolicyFailed as error:
        if error.kind != "timeout":
            raise
        rule = f"{limits.wall_s:g} s, or {limits.cpu_s:g} s of CPU"
        raise ComponentFault(f"to compile it takes longer than {rule}: make it shorter") from None


def _first_error(diagnostics: str) -> str:
    """The line that says what is wrong; those before it say where."""
    lines = diagnostics.splitlines() or ["it says nothing"]
    return next((line for line in lines if "error" in line), lines[0])
