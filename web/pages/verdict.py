"""The verdict on a record, in the words and numbers that a page shows. Strangers may have written
it: what is not as it should be counts as not told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from coordinator.clock import ms_of
from coordinator.reads import Item
from coordinator.stored import finite_number
from coordinator.validation.models import shown_word
from reports import formats

LISTED_MAX = 100
"""So many names of one sort are shown."""
LISTS = (
    ("own tests passed", "tests"),
    ("own tests not run", "not_run"),
    ("scenarios without gap", "dropped"),
)
SHOWN: dict[str, Callable[[float], str]] = {
    "_ms": lambda ms: f"{formats.cost(ms)} ms",
    "_s": lambda seconds: f"{formats.cost(seconds)} s",
    "_bytes": formats.size,
    "": formats.cost,
}
"""By how the name of a quantity ends, how it is shown."""


class Verdict(NamedTuple):
    """``score`` is the part of the gap between the ``costs`` of baseline and bound that was closed.
    ``since_ms`` is when it was found, or since when it is waited for. ``facts`` are what else is
    told in a few words, each with its name; ``lists`` are names of tests and scenarios, likewise.
    """

    word: str
    reason: str
    since_ms: int | None
    score: float | None
    problem: str
    validator: str
    costs: dict[str, str]
    cost_unit: str
    facts: Sequence[tuple[str, str]]
    lists: Sequence[tuple[str, Sequence[str]]]


def verdict_of(found: Item) -> Verdict:
    """What was found of a record, as ``coordinator.reads`` gives it; ``waiting`` included."""
    named = [(shown, _names(found, name)) for shown, name in LISTS]
    return Verdict(
        word=formats.name(shown_word(str(found["verdict"]))),
        reason=_text(found, "reason"),
        since_ms=ms_of(_text(found, "timestamp") or _text(found, "since")),
        score=finite_number(found.get("score")),
        problem=_text(found, "problem"),
        validator=_text(found, "validator"),
        costs=dict(_numbers(found, "costs")),
        cost_unit=_text(found, "cost_unit"),
        facts=[(name, text) for name, text in _facts(found) if text],
        lists=[(name, listed) for name, listed in named if listed],
    )


def _facts(found: Item) -> list[tuple[str, str]]:
    return [
        ("score before", _before(found)),
        ("evaluator", formats.name(_text(found, "evaluator"))),
        ("workload", formats.name(_text(found, "workload"))),
        ("sandbox", formats.text(_text(found, "sandbox"))),
        ("limits", ", ".join(f"{name} {text}" for name, text in _numbers(found, "limits"))),
        ("time taken", ", ".join(f"{name} {text}" for name, text in _numbers(found, "timings"))),
    ]


def _before(found: Item) -> str:
    """The score of the verdict before this one."""
    score = formats.percent(finite_number(found.get("previous_score")))
    return f"{score}: it has become worse" if score and found.get("regression") is True else score


def _text(found: Item, name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""


def _names(found: Item, name: str) -> list[str]:
    value = found.get(name)
    listed = value[:LISTED_MAX] if isinstance(value, list) else []
    return [one for one in listed if isinstance(one, str)]


def _numbers(found: Item, name: str) -> list[tuple[str, str]]:
    """Quantities by name, each in the unit that its name ends with; no more than LISTED_MAX."""
    value = found.get(name)
    named = list(value.items())[:LISTED_MAX] if isinstance(value, dict) else []
    told = []
    for full_name, quantity in named:
        number = finite_number(quantity)
        if number is not None:
            end = next(end for end in SHOWN if full_name.endswith(end))
            plain = formats.name(full_name.removesuffix(end).replace("_", " "))
            told.append((plain, SHOWN[end](number)))
    return told
