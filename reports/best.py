"""The best components of each problem, with their code and their record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from coordinator.events import Origin
from coordinator.keys import Kind, RecordKey
from coordinator.reads import Item
from coordinator.validation.models import VALIDATED_KINDS
from reports import formats
from reports.run import Judgement, Run, record_id
from workers.ranking import problems_in_order

BEST = 3
"""So many of a problem are shown."""
PARENTS_SHOWN = 4
PROGRAMS_SHOWN = 4
SOURCES = ("implementation", "code")
"""Where a record has its source text: in the first of these that it has."""

ReadRecords = Callable[[Kind], Iterable[Item]]


class Program(NamedTuple):
    """A program as it is shown; ``cut`` says how much of it, if not all."""

    title: str
    text: str
    cut: str


class Best(NamedTuple):
    """A component that passed; ``facts`` is what its record says of it, ``parents`` what it was
    begun from."""

    place: int
    id: str
    maker: str
    score: float
    facts: Sequence[tuple[str, str]]
    parents: Sequence[str]
    children: int
    programs: Sequence[Program]


def bests_of(run: Run, read_records: ReadRecords) -> dict[str, list[Best]]:
    """By problem the BEST that passed and are still there, the best first; the programs are read
    by ``read_records``, which gives all records of a kind as an archive has them."""
    ranked: dict[str, list[Judgement]] = {}
    for one in run.latest.values():
        if one.score is not None:
            ranked.setdefault(one.problem, []).append(one)
    chosen = {
        problem: sorted(found, key=lambda one: (-(one.score or 0), one.ms, one.name))[:BEST]
        for problem, found in ranked.items()
    }
    records = _records({one.name for found in chosen.values() for one in found}, read_records)
    children = _children(run)
    return {
        problem: [
            _best(place, one, records.get(one.name, {}), children.get(one.name, 0), run)
            for place, one in enumerate(chosen[problem], 1)
        ]
        for problem in problems_in_order(chosen)
    }


def _records(names: set[str], read_records: ReadRecords) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for kind in VALIDATED_KINDS:
        for item in read_records(kind):
            name = RecordKey(kind, item[f"{kind}_id"]).name
            record = item[f"{kind}_data"]
            if name in names and isinstance(record, dict):
                found[name] = record
    return found


def _children(run: Run) -> dict[str, int]:
    """How many records name each one as what they began from."""
    counts: dict[str, int] = {}
    for origins in run.origins.values():
        for origin in origins:
            counts[origin.name] = counts.get(origin.name, 0) + 1
    return counts


def _best(place: int, one: Judgement, record: Mapping[str, Any], children: int, run: Run) -> Best:
    origins = run.origins.get(one.name, ())
    parents = [_parent(origin) for origin in origins[:PARENTS_SHOWN]]
    if len(origins) > PARENTS_SHOWN:
        parents.append(f"and {len(origins) - PARENTS_SHOWN} more")
    return Best(
        place=place,
        id=formats.name(record_id(one.name)),
        maker=", ".join(map(formats.name, one.makers)),
        score=one.score or 0.0,
        facts=[(name, text) for name, text in _facts(one) if text],
        parents=parents,
        children=children,
        programs=programs_of(record),
    )


def _parent(origin: Origin) -> str:
    makers = ", ".join(map(formats.name, origin.contributors))
    whose = f"of {makers}" if origin.is_use else "its own"
    return f"{formats.name(record_id(origin.name))}, {whose}"


def _facts(one: Judgement) -> list[tuple[str, str]]:
    found, costs = one.found, one.found.get("costs")
    told = costs if isinstance(costs, dict) else {}
    unit = formats.name(found.get("cost_unit") or "")
    listed = (f"{name} {formats.cost(cost)}" for name, cost in told.items() if formats.cost(cost))
    label = "costs" if told.keys() - {"baseline", "bound"} else "measured against"
    tests, not_run = found.get("tests") or (), found.get("not_run") or ()
    run_text = f"{len(tests)} passed" if tests else "none that are code"
    return [
        (
            "measured",
            f"{formats.moment(one.ms)}, by {formats.name(found.get('validator') or 'nobody')}",
        ),
        (label, ", ".join(map(formats.name, listed)) + (f" ({unit})" if unit and told else "")),
        ("held-out workload", formats.name(found.get("workload") or "")),
        ("evaluator", formats.name(found.get("evaluator") or "")),
        ("sandbox", formats.text(found.get("sandbox") or "")),
        ("its own tests", run_text + (f", {len(not_run)} not run" if not_run else "")),
    ]


def programs_of(record: Mapping[str, Any]) -> list[Program]:
    """The programs in a record: one, or one for each specialization."""
    given = next((record[name] for name in SOURCES if record.get(name)), None)
    language = formats.name(record.get("language") or "program")
    if isinstance(given, str) and given.strip():
        return [Program(language, *formats.code(given))]
    if not isinstance(given, dict):
        return []
    texts = [(name, text) for name, text in given.items() if isinstance(text, str)]
    return [
        Program(f"{formats.name(name)} ({language})", *formats.code(text))
        for name, text in texts[:PROGRAMS_SHOWN]
    ]
