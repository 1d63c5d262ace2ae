"""``coord ais``, ``patterns`` and ``components``: what the registry and the knowledge hold."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from cli.options import (
    JsonOption,
    LimitOption,
    NamespaceOption,
    OpenFleet,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import age, cell, dig, plain, say, show, table
from coordinator.clock import SystemClock
from coordinator.credit import read_contributions
from coordinator.errors import CoordError
from coordinator.keys import RECORD_FIELD, Kind
from coordinator.lineage import named_parents
from coordinator.reads import (
    Item,
    Page,
    read_ais,
    read_benchmarks,
    read_record,
    read_records,
    read_work,
)
from coordinator.validations import SHOWN_AS

METRICS_SHOWN = 2
OnlySpecializationOption = Annotated[
    str | None, typer.Option("--specialization", "-s", metavar="NAME", help="Only of this one.")
]
RecordArgument = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="This one whole.", show_default=False)
]
CapabilityOption = Annotated[
    str | None, typer.Option("--capability", "-c", metavar="NAME", help="Only those that have it.")
]


def ais(
    specialization: OnlySpecializationOption = None,
    capability: CapabilityOption = None,
    limit: LimitOption = 100,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """List the AIs that are there, and how much work each has completed.

    The contribution adds up, over all problems, the best quality that its own components reached in
    a validation, and a quarter of what others' that build on its records reached.

    Example: coord ais --capability storage_management
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        page = read_ais(fleet.connection, fleet.keys, limit, specialization, capability)
        shown_ais = [ai["ai_id"] for ai in page.items]
        work = read_work(fleet.connection, fleet.keys, shown_ais)
        contributions = read_contributions(fleet.connection, fleet.keys, shown_ais)
    items = [
        ai | done | {"contribution_score": contribution}
        for ai, done, contribution in zip(page.items, work, contributions, strict=True)
    ]
    now_ms = SystemClock().now_ms()

    def render(shown: Console) -> None:
        columns = (
            *("AI", "specialization", "status", "load", "heartbeat"),
            *("units", "collaborations", "features", "contribution", "capabilities"),
        )
        _print(shown, "AIs", columns, [_ai_row(ai, now_ms) for ai in items], page)

    show({"ais": items, "total": page.total}, json, render)


def patterns(
    record_id: RecordArgument = None,
    specialization: OnlySpecializationOption = None,
    limit: LimitOption = 20,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """List the newest patterns. Scores are what their contributors claim. ID shows one whole.

    A use is a record of another AI that names the pattern as what it was begun from.

    Example: coord patterns --specialization file_system --limit 5
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        if record_id is not None:
            _show_whole(fleet, ("pattern",), record_id, json)
            return
        page = read_records(fleet.connection, fleet.keys, "pattern", limit, specialization)

    def render(shown: Console) -> None:
        columns = (
            *("pattern", "type", "specialization", "contributor", "shared", "revision"),
            *("uses", "claimed confidence", "claimed gap closed", "begun from"),
        )
        _print(shown, "patterns", columns, map(_pattern_row, page.items), page)

    show({"patterns": page.items, "total": page.total}, json, render)


def components(
    record_id: RecordArgument = None,
    specialization: OnlySpecializationOption = None,
    limit: LimitOption = 20,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """List the newest components and features. What is not called claimed, a validator measured.

    ID shows one whole, with its code and the record of its validation.

    Example: coord components --json
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        if record_id is not None:
            _show_whole(fleet, ("component", "feature"), record_id, json)
            return
        read = (fleet.connection, fleet.keys)
        found = read_records(*read, "component", limit, specialization)
        features = read_records(*read, "feature", limit, specialization)
        ids = [item["id"] for item in found.items + features.items]
        reports = read_benchmarks(*read, ids, limit=1)

    def render(shown: Console) -> None:
        shared = ("name", "specialization", "contributor", "shared", "revision")
        judged = ("uses", "verdict", "quality", "sandbox")
        columns = (*shared, *judged, "claimed test_coverage", "claimed performance")
        rows = [_component_row(item, item["code"], reports) for item in found.items]
        _print(shown, "components", ("component", *columns), rows, found)
        rows = [_component_row(item, item["component"], reports) for item in features.items]
        _print(shown, "features", ("feature", *columns), rows, features)

    value = {
        "components": found.items,
        "features": features.items,
        "total": {"components": found.total, "features": features.total},
    }
    show(value, json, render)


def _show_whole(fleet: OpenFleet, kinds: tuple[Kind, ...], record_id: str, as_json: bool) -> None:
    """The record of that id, the newer one if there are two. Raises CoordError for none."""
    read = (fleet.connection, fleet.keys)
    found = [(kind, item) for kind in kinds for item in read_record(*read, kind, record_id).items]
    if not found:
        raise CoordError(
            f"there is no {' or '.join(kinds)} {plain(record_id)}: `coord {kinds[0]}s` lists them"
        )
    kind, item = max(found, key=lambda pair: str(pair[1]["timestamp"]))

    def render(_: Console) -> None:
        apart = ("validation", RECORD_FIELD[kind])
        _say_fields({name: value for name, value in item.items() if name not in apart}, "")
        if kind != "pattern":
            say(f"validation: {_verdict(item)}")
            found = item["validation"] or {}
            told = {name: _in_words(value) for name, value in found.items() if name != "verdict"}
            _say_fields({name: value for name, value in told.items() if value != ""}, "    ")
        say(f"{RECORD_FIELD[kind]}:")
        _say_fields(item[RECORD_FIELD[kind]], "    ")

    show(item, as_json, render)


def _say_fields(fields: Item, indent: str) -> None:
    """A line for each; a text of several lines, such as code, below its name."""
    for name, value in fields.items():
        if isinstance(value, str) and "\n" in value:
            say(f"{indent}{plain(name)}:")
            for line in value.splitlines():
                say(f"{indent}    {plain(line.expandtabs(4))}")
        else:
            say(f"{indent}{plain(name)}: {cell(value, sys.maxsize)}")


def _ai_row(ai: Item, now_ms: int) -> tuple[object, ...]:
    return (
        ai["ai_id"],
        ai["specialization"],
        ai["status"],
        ai["load"],
        f"{age(now_ms - ai['heartbeat_ms'])} ago",
        ai["units_completed"],
        ai["collaborations_completed"],
        ai["features_implemented"],
        ai["contribution_score"],
        ", ".join(ai["capabilities"]),
    )


def _verdict(item: Item) -> str:
    """What a validator found; of what none was ever asked for, that."""
    verdict = dig(item, "validation", "verdict") or "not_validated"
    return plain(SHOWN_AS.get(verdict, verdict))


def _in_words(value: object) -> object:
    """A part of a validation's record, names and numbers as people read them."""
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(name)} {_number(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(plain, value))
    return value


def _number(value: object) -> str:
    """Bytes to the last one, small numbers with what of them counts."""
    is_large = isinstance(value, float) and abs(value) >= 1000
    return f"{value:.0f}" if is_large else cell(value)


def _pattern_row(item: Item) -> tuple[object, ...]:
    pattern = item["pattern"]
    named = dict.fromkeys(parent_id for _, parent_id in named_parents(pattern))
    return (
        item["id"],
        pattern.get("type"),
        item["specialization"],
        item["contributor"],
        item["timestamp"],
        item["revision"],
        item["usage_count"],
        pattern.get("confidence"),
        dig(pattern, "data", "held_out", "gap_closed"),
        dig(pattern, "derived_from", "contributor") or ", ".join(named),
    )


def _component_row(item: Item, record: Item, reports: dict[str, list[Item]]) -> tuple[object, ...]:
    """The performance shown is the score in the record, else the newest report on it."""
    newest = reports.get(item["id"], [{}])[0].get("metrics", {})
    told = ", ".join(f"{name} {value:.3g}" for name, value in list(newest.items())[:METRICS_SHOWN])
    return (
        item["id"],
        record.get("name", record.get("component_name")),
        item["specialization"],
        item["contributor"],
        item["timestamp"],
        item["revision"],
        item["usage_count"],
        _verdict(item),
        item["quality_score"],
        dig(item, "validation", "sandbox"),
        record.get("test_coverage"),
        record.get("performance_score", told),
    )


def _print(shown: Console, title: str, columns: Any, rows: Any, page: Page) -> None:
    if not page.items:
        shown.print(Text(f"no {title}"))
        return
    shown.print(table("" if title == "AIs" else title, columns, rows))
    if page.total > len(page.items):
        shown.print(Text(f"{len(page.items)} of {page.total}: ask for more by --limit"))
