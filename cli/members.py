"""``coord members``: who is enrolled."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from cli.options import (
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import age, show, table
from coordinator.clock import SystemClock
from coordinator.enrolled import read_enrolled
from coordinator.reads import Item

TEXT_MAX = 200


def members(
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """List who is enrolled: role, restrictions, tokens by their ids, and who is there.

    Example: coord members --json
    """
    now_ms = SystemClock().now_ms()
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        found = read_enrolled(fleet.connection, fleet.keys, now_ms)

    def render(shown: Console) -> None:
        if not found:
            shown.print(Text("nobody is enrolled: see `coord enroll --help`"))
            return
        columns = ("AI", "role", "joins as", "sends", "tokens", "there")
        shown.print(table("", columns, [_row(item, now_ms) for item in found], TEXT_MAX))

    show({"members": found}, json, render)


def _row(item: Item, now_ms: int) -> tuple[object, ...]:
    return (
        item["ai_id"],
        "revoked" if item["is_revoked"] else item["role"],
        ", ".join(item["specializations"] or ["any"]),
        ", ".join(item["message_types"] or ["all of its role"]),
        "; ".join(_token_text(token, now_ms) for token in item["tokens"]) or "none",
        "yes" if item["is_here"] else "no",
    )


def _token_text(token: Item, now_ms: int) -> str:
    text = f"{token['key_id']}, {age(now_ms - token['created_ms'])} old"
    if token["expires_ms"] is not None:
        left_ms = token["expires_ms"] - now_ms
        text += f", {age(left_ms)} left" if token["is_live"] else ", expired"
    return text + (", weak" if token["is_weak"] else "")
