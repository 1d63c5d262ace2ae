"""``coord revoke``: an AI, or one of its tokens, is shut out."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import (
    AiArgument,
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    check_ai_id,
    load_settings,
    open_fleet,
)
from cli.output import complain, plain, say, say_json
from coordinator.clock import RandomIds, SystemClock
from coordinator.revoking import revoke as revoke_access

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
    check_ai_id(ai_id)
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        had_user = revoke_access(
            fleet.connection,
            fleet.keys,
            SystemClock(),
            RandomIds(),
            ai_id,
            reason,
            _warn,
            key_id=key,
        )
    if json:
        say_json({"revoked": ai_id, "key_id": key, "redis_user_removed": had_user})
    elif key is not None:
        say(f"revoked token {plain(key)} of {ai_id}")
    else:
        say(f"revoked {ai_id}" + (" and removed its Redis user" if had_user else ""))


def _warn(text: str) -> None:
    complain(f"warning: {text}")
