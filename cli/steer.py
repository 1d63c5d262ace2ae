"""``coord cancel``, ``retry``, ``kick`` and ``drain``: what an operator decides."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import (
    AiArgument,
    JsonOption,
    NamespaceOption,
    RedisOption,
    SessionArgument,
    StateDirOption,
    check_ai_id,
    load_settings,
    open_fleet,
)
from cli.orders import order
from cli.sessions import find_session

UnitArgument = Annotated[str, typer.Argument(metavar="UNIT", help="As `coord session` shows it.")]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Told to those whom it concerns.")
]


def cancel(
    session_id: SessionArgument,
    reason: ReasonOption = "",
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """End a collaboration or feature request; its units are taken off the queues.

    Example: coord cancel 3f9a0c1b2d4e --reason "no longer needed"
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        found = find_session(fleet, session_id)
        payload = {"session_id": found, "reason": reason}
        order(fleet, "cancel", payload, "cancelled", found, json)


def retry(
    unit_id: UnitArgument,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Have a failed unit tried again; its session, which failed with it, goes on.

    Example: coord retry 3f9a0c1b2d4e-2
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        order(fleet, "retry", {"unit_id": unit_id}, "retried", unit_id, json)


def kick(
    ai_id: AiArgument,
    reason: ReasonOption = "",
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Remove an AI from the fleet; what it had to do goes to others.

    Example: coord kick AI_Node_3 --reason "shares nonsense"
    """
    payload = {"ai": check_ai_id(ai_id), "reason": reason}
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        order(fleet, "kick", payload, "kicked", ai_id, json)


def drain(
    ai_id: AiArgument,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Have an AI finish the units that it has, and take no new ones as long as it stays.

    Example: coord drain AI_Node_3
    """
    payload = {"ai": check_ai_id(ai_id)}
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        order(fleet, "drain", payload, "draining", ai_id, json)
