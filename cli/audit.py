"""``coord audit``: who was let in, what was refused, and what operators did."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from cli.options import (
    AiOption,
    JsonOption,
    LimitOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import moment, show, table
from coordinator.audit import AuditKind, read_audit

TEXT_MAX = 300

KindOption = Annotated[
    AuditKind | None,
    typer.Option("--kind", "-k", help="Only this kind."),
]


def audit(
    limit: LimitOption = 50,
    ai: AiOption = None,
    kind: KindOption = None,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """List enrolments, revocations, kicks, and logins and messages that were refused, newest first.

    Goes as far back as the fleet's events are kept; `coord serve` logs each of them too.

    Example: coord audit --kind login_refused --limit 20
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        events = read_audit(fleet.connection, fleet.keys, limit, ai, kind)

    def render(shown: Console) -> None:
        if not events:
            which = "are kept" if ai is None and kind is None else "are kept and match"
            shown.print(Text(f"no enrolments, refusals or kicks in the events that {which}"))
            return
        rows = [
            (moment(event["at"]), event["kind"], event["ai"], event["text"]) for event in events
        ]
        shown.print(table("", ("when", "what", "AI", "how"), rows, TEXT_MAX))

    show({"events": events}, json, render)
