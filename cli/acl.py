"""``coord acl``: the Redis user of a trainer, which may do what a trainer does and nothing else."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import redis as redis_py
import typer

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
from cli.output import advise, complain, say, say_json
from coordinator.acl import (
    UNSAVED,
    cut_off,
    new_password,
    read_rules,
    save_users,
    set_user,
    user_of,
)
from coordinator.connection import url_of
from coordinator.enrolled import read_access
from coordinator.errors import CoordError
from coordinator.secret_files import handing_over

DIGEST_PLACE = "#<64 hex digits: the SHA-256 of a random password>"

ApplyOption = Annotated[
    bool, typer.Option("--apply", help="Make the user, or renew it, with a new password.")
]
DropOption = Annotated[
    bool, typer.Option("--drop", help="Remove the user, and close its connections.")
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="With --apply: put the URL into this file, for you alone to read.",
        show_default="it is printed",
    ),
]


def acl(
    ai_id: AiArgument,
    apply: ApplyOption = False,
    drop: DropOption = False,
    out: OutOption = None,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Show the Redis user of a trainer, or make it: it may do what that trainer does, and no more.

    With --apply the URL that the trainer is to use is printed, once; it has a new password in it,
    and whoever is connected with an older one is cut off. The embedded server can be reached by
    its own Unix user alone: there such users keep order, and protect from nobody.

    Example: coord acl AI_Node_1 --apply --out AI_Node_1.url
    """
    check_ai_id(ai_id)
    if apply and drop:
        raise typer.BadParameter("--apply and --drop: give one of them")
    if out is not None and not apply:
        raise typer.BadParameter("--out is for what --apply makes")
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        if apply:
            _apply(fleet, ai_id, out, json)
        elif drop:
            _drop(fleet, ai_id, json)
        else:
            _print(fleet, ai_id, json)


def warn_if_unsaved(connection: redis_py.Redis) -> bool:
    """Have the server keep its users; False, and a word on what to do, if it cannot."""
    if save_users(connection):
        return True
    complain(f"warning: {UNSAVED}")
    return False


def _print(fleet: OpenFleet, ai_id: str, as_json: bool) -> None:
    user = user_of(fleet.keys, ai_id)
    rules = read_rules(fleet.connection, fleet.keys, ai_id)
    command = " ".join(["ACL SETUSER", user, *rules, DIGEST_PLACE])
    if as_json:
        say_json({"ai_id": ai_id, "user": user, "rules": rules, "command": command})
        return
    say(command)
    advise(f"`coord acl {ai_id} --apply` does this, with a password that it makes")


def _apply(fleet: OpenFleet, ai_id: str, out: Path | None, as_json: bool) -> None:
    access = read_access(fleet.connection, fleet.keys, ai_id)
    if access is not None and access.is_revoked:
        raise CoordError(f"{ai_id} was revoked: `coord enroll {ai_id}` lets it in again first")
    user, password = user_of(fleet.keys, ai_id), new_password()
    url = url_of(fleet.connection, user, password)
    with handing_over(out, url) if out else nullcontext():
        set_user(fleet.connection, fleet.keys, ai_id, password)
    is_saved = warn_if_unsaved(fleet.connection)
    if as_json:
        place = {"url_file": str(out)} if out else {"url": url}
        say_json({"ai_id": ai_id, "user": user, "is_saved": is_saved, **place})
        return
    if out is None:
        advise(f"made user {user}; this URL is shown once, keep it where only {ai_id} can read it:")
        say(url)
    else:
        advise(f"made user {user}; its URL is in {out}")
    value = f'"$(cat {out})"' if out else "URL"
    is_validator = access is not None and access.role == "validator"
    command = f"coord {'validator' if is_validator else 'trainer'} {ai_id}"
    command += "" if is_validator else " --specialization NAME"
    advise(f"start it by: COORD_REDIS_URL={value} {command}")
    if out is None:
        advise('--out FILE puts the URL into a file instead, for COORD_REDIS_URL="$(cat FILE)"')
    if url.startswith("unix:"):
        advise(
            "only processes that may open the server's socket can use it: on the embedded server"
            " those of your own Unix user, who could read the operator's login too"
        )


def _drop(fleet: OpenFleet, ai_id: str, as_json: bool) -> None:
    user = user_of(fleet.keys, ai_id)
    was_there = cut_off(fleet.connection, fleet.keys, ai_id)
    is_saved = warn_if_unsaved(fleet.connection) if was_there else None
    if as_json:
        say_json({"ai_id": ai_id, "user": user, "dropped": was_there, "is_saved": is_saved})
    elif was_there:
        say(f"dropped user {user}, and closed its connections")
    else:
        say(f"there is no user {user}")
