"""``coord revoke``: an AI, or one of its tokens, is shut out."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from redis.exceptions import NoPermissionError

from cli.acl import warn_if_unsaved
from cli.options import (
    AiArgument,
    JsonOption,
    NamespaceOption,
    OpenFleet,
    RedisOption,
    StateDirOption,
    check_ai_id,
    load_settings,
    open_fleet,
)
from cli.orders import tell
from cli.output import complain, plain, say, say_json
from coordinator.acl import cut_off

KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="ID", help="This token alone.", show_default="all, and the AI is removed"
    ),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Told to the AI, and kept in the events.")
]


def revoke(
    ai_id: AiArgument,
    key: KeyOption = None,
    reason: ReasonOption = "",
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Shut an AI out at once: its tokens end, its connections close, its units go to others.

    Its Redis user, if it has one, goes too. With --key one token ends, and nothing else.

    Example: coord revoke AI_Node_3 --reason "its machine was stolen"
    """
    payload: dict[str, Any] = {"ai": check_ai_id(ai_id), "reason": reason}
    if key is not None:
        payload["key_id"] = key
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        had_user = key is None and _cut_off(fleet, ai_id)
        tell(fleet, "revoke", payload)
    if json:
        say_json({"revoked": ai_id, "key_id": key, "redis_user_removed": had_user})
    elif key is not None:
        say(f"revoked token {plain(key)} of {ai_id}")
    else:
        say(f"revoked {ai_id}" + (" and removed its Redis user" if had_user else ""))


def _cut_off(fleet: OpenFleet, ai_id: str) -> bool:
    """End the Redis user of an AI and its connections, also with no coordinator there; whether it
    had one. Who may not do that is told, and the rest is done."""
    try:
        had_one = cut_off(fleet.connection, fleet.keys, ai_id)
    except NoPermissionError as error:
        complain(
            f"warning: a Redis user of {ai_id} would be left ({error}): have it removed by"
            f" `coord acl {ai_id} --drop` as a user that may"
        )
        return False
    if had_one:
        warn_if_unsaved(fleet.connection)
    return had_one
