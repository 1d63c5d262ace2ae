"""``coord ais``, ``patterns`` and ``components``: what the registry and the knowledge hold."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from cli.inputs import known_word
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
from cli.output import age_of, cell, percent, plain, say, short_age, show, table
from coordinator.clock import SystemClock
from coordinator.errors import CoordError
from coordinator.keys import RECORD_FIELD, Kind
from coordinator.lineage import named_parents
from coordinator.reads import (
    CLAIMS,
    Item,
    Page,
    read_ais_with_work,
    read_benchmarks,
    read_record,
    read_records,
)
from coordinator.record_search import Wanted
from coordinator.stored import dig
from coordinator.validation.models import shown_word
from workers.ranking import EVERY_PROBLEM, read_ranking, specializations_of

JUDGED: tuple[Kind, ...] = ("component", "feature")
"""What validators measure."""
OnlySpecializationOption = Annotated[
    str | None, typer.Option("--specialization", "-s", metavar="NAME", help="Only of this one.")
]
RecordArgument = Annotated[
    str | None, typer.Argument(metavar="ID", help="This one whole.", show_default=False)
]
BestOption = Annotated[
    str | None,
    typer.Option(
        "--best",
        "-b",
        metavar="NAME",
        help="The best that passed, of this specialization or problem.",
    ),
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
        page = read_ais_with_work(fleet.connection, fleet.keys, limit, specialization, capability)
    now_ms = SystemClock().now_ms()

    def render(shown: Console) -> None:
        done = ("units", "collaborations", "features")
        columns = ("AI", "specialization", "status", "load", "heard", "contribution", *done)
        rows = [_ai_row(ai, now_ms) for ai in page.items]
        _print(shown, "AIs", (*columns, "capabilities"), rows, page, (*done, "capabilities"))

    show({"ais": page.items, "total": page.total}, json, render)


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
        page = read_records(fleet.connection, fleet.keys, "pattern", limit, Wanted(specialization))

    def render(shown: Console) -> None:
        spare = ("begun from", "claimed confidence", "type", "specialization")
        columns = ("pattern", "made by", "uses", "age", "claimed gap closed", *spare)
        now_ms = SystemClock().now_ms()
        rows = [_pattern_row(item, now_ms) for item in page.items]
        _print(shown, "patterns", columns, rows, page, spare)

    show({"patterns": page.items, "total": page.total}, json, render)


def components(
    record_id: RecordArgument = None,
    specialization: OnlySpecializationOption = None,
    best: BestOption = None,
    limit: LimitOption = 20,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """List the newest components and features. The quality is what a validator measured.

    ID shows one whole: its code, the record of its validation, and what its contributor claims.
    With --best the highest quality comes first, and each problem has a list of its own.

    Example: coord components --best file_system
    """
    if best is not None and specialization is not None:
        raise typer.BadParameter(
            "--best names the specialization itself: leave --specialization out"
        )
    wanted = _problems_of(best) if best is not None else []
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        read = (fleet.connection, fleet.keys)
        if record_id is not None:
            _show_whole(fleet, JUDGED, record_id, json)
            return
        if wanted:
            _show_best(fleet, wanted, limit, json)
            return
        pages = {kind: read_records(*read, kind, limit, Wanted(specialization)) for kind in JUDGED}
    value = {f"{kind}s": page.items for kind, page in pages.items()}
    totals = {f"{kind}s": page.total for kind, page in pages.items()}
    show(value | {"total": totals}, json, lambda shown: _print_judged(shown, pages))


def _print_judged(shown: Console, pages: Mapping[Kind, Page]) -> None:
    """A table of each kind."""
    now_ms = SystemClock().now_ms()
    for kind, page in pages.items():
        spare = ("name", "specialization")
        columns = (kind, "made by", "verdict, quality", "uses", "age", *spare)
        rows = [_component_row(item, RECORD_FIELD[kind], now_ms) for item in page.items]
        _print(shown, f"{kind}s", columns, rows, page, spare)


def _problems_of(word: str) -> list[str]:
    """The problem of that name, or those that the specialization has a part in, its own first; a
    usage error for another word."""
    by_word = {problem.name: [problem.name] for problem in EVERY_PROBLEM}
    for problem in EVERY_PROBLEM:
        for specialization in specializations_of(problem):
            by_word.setdefault(specialization, []).append(problem.name)
    return by_word[known_word(word, by_word, "--best")]


def _show_whole(fleet: OpenFleet, kinds: tuple[Kind, ...], record_id: str, as_json: bool) -> None:
    """The record of that id, the newer one if there are two. Raises CoordError for none."""
    read = (fleet.connection, fleet.keys)
    found = [(kind, item) for kind in kinds for item in read_record(*read, kind, record_id).items]
    if not found:
        raise CoordError(
            f"there is no {' or '.join(kinds)} {plain(record_id)}: `coord {kinds[0]}s` lists them"
        )
    kind, item = max(found, key=lambda pair: str(pair[1]["timestamp"]))
    reports = read_benchmarks(*read, [record_id], limit=1).get(record_id, [])

    def render(_: Console) -> None:
        apart = ("validation", RECORD_FIELD[kind])
        _say_fields({name: value for name, value in item.items() if name not in apart}, "")
        if kind != "pattern":
            say(f"validation: {_verdict(item)}")
            _say_fields(_verdict_fields(item), "    ")
        for report in reports:
            who = f"{plain(report['reporter'])} at {plain(report['timestamp'])}"
            say(f"claimed performance, reported by {who}:")
            _say_fields(report["metrics"], "    ")
        say(f"{RECORD_FIELD[kind]}:")
        _say_fields(_claims_named(item[RECORD_FIELD[kind]]), "    ")

    show(item, as_json, render)


def _show_best(fleet: OpenFleet, problems: Sequence[str], limit: int, as_json: bool) -> None:
    """Of each of ``problems`` those that passed, the best first: the ``limit`` best of each."""
    read = (fleet.connection, fleet.keys)
    ranked = {problem: read_ranking(*read, problem, limit) for problem in problems}

    def render(shown: Console) -> None:
        now_ms = SystemClock().now_ms()
        spare = ("kind", "uses", "age", "by")
        columns = ("component", "made by", "quality", "measured on", *spare)
        for problem, items in ranked.items():
            if items:
                rows = [_ranked_row(item, now_ms) for item in items]
                shown.print(table(f"best of {problem}", columns, rows, spare=spare))
            else:
                shown.print(Text(f"no component of {problem} has passed a validation yet"))

    show({"best": ranked}, as_json, render)


def _say_fields(fields: Item, indent: str) -> None:
    """A line for each; a text of several lines, such as code, below its name."""
    for name, value in fields.items():
        if isinstance(value, str) and "\n" in value:
            say(f"{indent}{plain(name)}:")
            for line in value.splitlines():
                say(f"{indent}    {plain(line.expandtabs(4))}".rstrip())
        else:
            say(f"{indent}{plain(name)}: {cell(value, sys.maxsize)}".rstrip())


def _claims_named(record: Item) -> Item:
    """The record, its contributor's own scores called what they are."""
    return {f"claimed {name}" if name in CLAIMS else name: value for name, value in record.items()}


def _ai_row(ai: Item, now_ms: int) -> tuple[object, ...]:
    return (
        ai["ai_id"],
        ai["specialization"],
        ai["status"],
        ai["load"],
        f"{short_age(now_ms - ai['heartbeat_ms'])} ago",
        ai["contribution_score"],
        ai["units_completed"],
        ai["collaborations_completed"],
        ai["features_implemented"],
        ", ".join(ai["capabilities"]),
    )


def _verdict(item: Item) -> str:
    """What a validator found; of what none was ever asked for, that."""
    verdict = dig(item, "validation", "verdict") or "not_validated"
    return plain(shown_word(verdict))


def _verdict_fields(item: Item) -> Item:
    """What else is told in the record of a validation."""
    verdict = item["validation"] or {}
    told = {name: _in_words(value) for name, value in verdict.items() if name != "verdict"}
    return {name: value for name, value in told.items() if value != ""}


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


def _pattern_row(item: Item, now_ms: int) -> tuple[object, ...]:
    pattern = item["pattern"]
    return (
        item["id"],
        item["contributor"],
        item["usage_count"],
        age_of(item["timestamp"], now_ms),
        dig(pattern, "data", "held_out", "gap_closed"),
        ", ".join(dict.fromkeys(parent.id for parent in named_parents(pattern))),
        pattern.get("confidence"),
        pattern.get("type"),
        item["specialization"],
    )


def _component_row(item: Item, field: str, now_ms: int) -> tuple[object, ...]:
    quality = item["quality_score"]
    record = item[field]
    return (
        item["id"],
        item["contributor"],
        _verdict(item) if quality is None else f"{_verdict(item)} {cell(quality)}",
        item["usage_count"],
        age_of(item["timestamp"], now_ms),
        record.get("name", record.get("component_name")),
        item["specialization"],
    )


def _ranked_row(item: Item, now_ms: int) -> tuple[object, ...]:
    return (
        item["id"],
        item["contributor"],
        percent(item["quality_score"]),
        dig(item, "validation", "workload"),
        item["kind"],
        item["usage_count"],
        age_of(item["timestamp"], now_ms),
        dig(item, "validation", "validator"),
    )


def _print(
    shown: Console,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    page: Page,
    spare: Sequence[str],
) -> None:
    if not page.items:
        shown.print(Text(f"no {title}"))
        return
    shown.print(table("" if title == "AIs" else title, columns, rows, spare=spare))
    if page.total > len(page.items):
        shown.print(Text(f"{len(page.items)} of {page.total}: ask for more by --limit"))
