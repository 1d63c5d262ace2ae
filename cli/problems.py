"""``coord problems``: what is trained for, by what it is measured, how far the fleet has come."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from cli.options import (
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import advise, percent, show, table
from coordinator.errors import NoServer, ServerUnusable
from coordinator.reads import Item
from coordinator.settings import Settings
from workers.ranking import EVERY_PROBLEM, problem_item, read_bests

LONGEST_TEXT = 200


def problems(
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """List what trainers train for: one problem a specialization, and those of two together.

    The best so far is what a validator measured; without a server none is known.

    Example: coord problems --json
    """
    best = _read_best(load_settings(redis, namespace, state_dir))
    items = [problem_item(problem, best.get(problem.name)) for problem in EVERY_PROBLEM]

    def render(shown: Console) -> None:
        spare = ("workload",)
        columns = ("problem", "decides", *spare, "baseline", "bound", "best")
        shown.print(table("", columns, map(_row, items), LONGEST_TEXT, spare))

    show({"problems": items}, json, render)


def _read_best(settings: Settings) -> dict[str, Item]:
    """By problem, the best that passed; none, and a word on that, where there is no server."""
    try:
        with open_fleet(settings) as fleet:
            return read_bests(fleet.connection, fleet.keys)
    except (NoServer, ServerUnusable) as error:
        advise(f"the best so far is not known: {error.detail}")
        return {}


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    best = item["best"]
    return (
        f"{item['name']} of {' and '.join(item['specializations'])}",
        item["decides"],
        item["workload"],
        item["baseline"],
        item["bound"],
        f"{percent(best['quality_score'])} by {best['contributor']}" if best else "-",
    )
