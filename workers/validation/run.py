"""The validation of one component: what it is, whether it can be judged here, and the verdict."""

from __future__ import annotations

from collections.abc import Callable

from coordinator.payloads import Verdict, VerdictWord
from workers.problems import ProblemError
from workers.sandbox import Limits, NoCompiler, NoRung, PolicyFailed, Rung, compile_cpp, find_rung
from workers.validation.measurement import Measurement
from workers.validation.report import NotValidated, OnStep, Report
from workers.validation.source import (
    Component,
    ComponentFault,
    Source,
    language_of,
    sources_of,
)

FindRung = Callable[[], Rung]
DEFAULT_LIMITS = Limits()
TIME_DIGITS = {True: 6, False: 2}


def validate(
    component: Component,
    workload_seed: bytes,
    limits: Limits = DEFAULT_LIMITS,
    find_rung: FindRung = find_rung,
    on_step: OnStep = lambda step: None,
    is_public: bool = False,
) -> Verdict:
    """Judge a component on the workload of a seed; ``on_step`` is told what is done next.

    Unless the workload ``is_public`` the verdict has nothing by which the component could say what
    it was asked: no words of its own from the measurement, and times to two digits.
    Whatever the component is and does, the verdict says so, and it raises nothing here. But for the
    timings, the verdict on a policy that is deterministic is the same every time.
    """
    report = Report(limits, on_step)
    with report.timed("total_ms"):
        word, reason = _judge(component, workload_seed, find_rung, report, is_public)
    return report.verdict(word, reason, TIME_DIGITS[is_public])


def _judge(
    component: Component,
    workload_seed: bytes,
    find_rung: FindRung,
    report: Report,
    is_public: bool,
) -> tuple[VerdictWord, str]:
    """The verdict and the reason for it; what else is found out is put into the report."""
    try:
        language = language_of(component)
        if language not in ("python", "cpp", ""):
            raise NotValidated(
                f"nothing judges {language} here: share Python to have it measured, or C++ to have"
                " it compiled"
            )
        sources = sources_of(component)
        if language == "cpp":
            return "compiled", _compile(sources, find_rung, report)
        Measurement(component, sources, report, is_public).run(workload_seed, find_rung)
    except (ComponentFault, PolicyFailed, ProblemError) as error:
        return "failed", error.detail
    except (NotValidated, NoRung, NoCompiler) as error:
        return "not_validated", error.detail
    return "passed", ""


def _compile(sources: list[Source], find_rung: FindRung, report: Report) -> str:
    """By what all of it compiles. Raises ComponentFault for what does not, NoRung, NoCompiler."""
    rung = find_rung()
    report.fields["sandbox"] = rung.describe()
    compilers = set()
    for source in sources:
        report.on_step("compiling it")
        with report.timed("compile_ms"):
            compiled = compile_cpp(rung, report.limits, source.text)
        if not compiled.ok:
            raise ComponentFault(f"{compiled.compiler}: {_first_error(compiled.diagnostics)}")
        compilers.add(compiled.compiler)
    return f"{', '.join(compilers)} compiles it; only Python is measured"


def _first_error(diagnostics: str) -> str:
    """The line that says what is wrong; those before it say where."""
    lines = diagnostics.splitlines() or ["it says nothing"]
    return next((line for line in lines if "error" in line), lines[0])
