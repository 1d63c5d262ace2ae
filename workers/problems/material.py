"""What problems are made of: recordings, workloads of them, and policies with a table of values."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import ModuleType

from workers.problems.policies import ProblemError
from workers.problems.problem import Parameter, ParameterKind

_RUNS = {"": "ac", "-development": "b", "-held-out": "d"}
_PARAMETERS_BEGIN = "PARAMETERS: Mapping[str, float] = {\n"
_PARAMETERS_END = "}\n"


def recording(name: str) -> str:
    """The shipped recording of that name: lines of whole numbers."""
    path = resources.files("workers.problems") / "traces" / f"{name}.gz"
    return gzip.decompress(path.read_bytes()).decode("ascii")


def recorded_workloads(programs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The runs of each workload. Every kind of program was recorded in four, on other inputs each.

    compile               runs a and c: what a search sees
    compile-held-out      run d: what is reported, and no choice of ours was made on
    compile-development   run b: what choices of ours (parameters, search settings) were tried on,
                          and what the better of two candidates is chosen on
    """
    return {
        program + suffix: tuple(f"{program}-{run}" for run in runs)
        for program in programs
        for suffix, runs in _RUNS.items()
    }


def development(programs: Sequence[str]) -> tuple[str, ...]:
    """The names of the development workloads, in the order of the programs."""
    return tuple(f"{program}-development" for program in programs)


def held_out(programs: Sequence[str]) -> tuple[str, ...]:
    """The names of the held-out workloads, in the order of the programs."""
    return tuple(f"{program}-held-out" for program in programs)


def drawn_workloads(kinds: Iterable[str]) -> dict[str, str]:
    """The kind of each workload that is drawn by its name."""
    return {kind + suffix: kind for kind in kinds for suffix in _RUNS}


def table_parameters(
    table: Mapping[str, float],
    **ranges: tuple[float, float] | tuple[float, float, ParameterKind],
) -> tuple[Parameter, ...]:
    """The parameters of a policy: low, high, and the kind if it is not linear. The defaults are the
    values in the policy's own table."""
    return tuple(Parameter(name, *r[:2], table[name], *r[2:]) for name, r in ranges.items())


def filled_source(module: ModuleType, values: Mapping[str, float]) -> str:
    """The text of a policy's module, with these values as its PARAMETERS."""
    source = Path(str(module.__file__)).read_text("utf-8")
    head, opening, rest = source.partition(_PARAMETERS_BEGIN)
    _, closing, tail = rest.partition(_PARAMETERS_END)
    if not (opening and closing):
        raise ProblemError(f"the module {module.__name__} has no table of parameters to fill in")
    lines = "".join(f"    {name!r}: {value!r},\n" for name, value in values.items())
    return f"{head}{opening}{lines}{closing}{tail}"
