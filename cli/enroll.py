"""``coord enroll``, ``rotate``, ``revoke`` and ``members``: who may join, as what, by which token.

A token is shown once, on standard output and alone there, or put into a file; all else goes beside
it. What is sent and stored is its digest.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from redis.exceptions import NoPermissionError
from rich.console import Console
from rich.text import Text

from cli.acl import warn_if_unsaved
from cli.inputs import seconds_of, token_in
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
from cli.output import advise, age, complain, plain, say, say_json, show, table
from cli.send import tell
from coordinator.acl import cut_off
from coordinator.clock import SystemClock
from coordinator.credentials import (
    check_pepper,
    digest,
    key_id_of,
    new_token,
    read_pepper,
    weakness,
)
from coordinator.enrolled import read_enrolled
from coordinator.errors import NotAnswered
from coordinator.payloads import Role
from coordinator.secret_files import handing_over

Item = dict[str, Any]

TEXT_MAX = 200


RoleOption = Annotated[
    Role,
    typer.Option(
        "--role", help="What it may do: an observer only listens, an operator may do all."
    ),
]
SpecializationOption = Annotated[
    str,
    typer.Option("--specialization", "-s", metavar="NAME", help="What it will be good at."),
]
OnlySpecializationOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only-specialization",
        metavar="NAME",
        help="It may join as this alone; may be repeated.",
        show_default="as any",
    ),
]
OnlyTypeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only-type",
        metavar="TYPE",
        help="It may send messages of this type alone, besides hello, heartbeat, goodbye and query;"
        " may be repeated.",
        show_default="all of its role",
    ),
]
ExpiresOption = Annotated[
    float | None,
    typer.Option(
        "--expires",
        metavar="DURATION",
        parser=seconds_of,
        help="The token is good for this long, such as 30d.",
        show_default="until it is revoked",
    ),
]
TokenFileOption = Annotated[
    str | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="A token that is there already; - reads the input, and asks at a terminal.",
        show_default="a new one is made",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Put the token into this file, for you alone to read.",
        show_default="it is printed",
    ),
]
GraceOption = Annotated[
    float | None,
    typer.Option(
        "--grace",
        metavar="DURATION",
        parser=seconds_of,
        help="The tokens it had work on for this long, such as 1h.",
        show_default="they end now",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="ID", help="This token alone.", show_default="all, and the AI is removed"
    ),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Told to the AI, and kept in the events.")
]


class Secret(NamedTuple):
    """A token, whether it was brought along, what of it is sent, and what that was made with."""

    text: str
    is_brought: bool
    fields: Item
    pepper: bytes


def enroll(
    ai_id: AiArgument,
    specialization: SpecializationOption = "general",
    role: RoleOption = "trainer",
    only_specialization: OnlySpecializationOption = None,
    only_type: OnlyTypeOption = None,
    expires: ExpiresOption = None,
    token_file: TokenFileOption = None,
    out: OutOption = None,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Let an AI join by the gateway: print its token, once, and how to start it.

    Enrolling it again replaces role and restrictions, and adds a token: two are kept.

    Example: coord enroll AI_Node_1 --specialization networking --expires 30d
    """
    check_ai_id(ai_id)
    if only_specialization and specialization not in only_specialization:
        raise typer.BadParameter(
            f"--only-specialization leaves out {plain(specialization)!r}, which it would join as"
        )
    settings = load_settings(redis, namespace, state_dir)
    secret = _secret(read_pepper(settings), token_file)
    expires_ms = None if expires is None else SystemClock().now_ms() + int(expires * 1000)
    payload = {"ai": ai_id, **secret.fields, "role": role}
    if expires_ms is not None:
        payload["expires_ms"] = expires_ms
    if only_specialization:
        payload["specializations"] = only_specialization
    if only_type:
        payload["message_types"] = only_type
    shown = {"enrolled": ai_id, "role": role, "expires_ms": expires_ms}
    with open_fleet(settings) as fleet:
        _hand_out(fleet, "enroll", payload, secret, out, shown, json)
    if not json:
        _say_how_to_start(ai_id, specialization, out)


def rotate(
    ai_id: AiArgument,
    grace: GraceOption = None,
    token_file: TokenFileOption = None,
    out: OutOption = None,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Give an AI a new token in place of those that it has, which end now or after --grace.

    Example: coord rotate AI_Node_1 --grace 1h --out AI_Node_1.token
    """
    check_ai_id(ai_id)
    settings = load_settings(redis, namespace, state_dir)
    secret = _secret(read_pepper(settings), token_file)
    payload = {"ai": ai_id, **secret.fields, "grace_s": grace or 0}
    with open_fleet(settings) as fleet:
        _hand_out(fleet, "rotate", payload, secret, out, {"rotated": ai_id}, json)


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
    payload: Item = {"ai": check_ai_id(ai_id), "reason": reason}
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


# -- tokens ----------------------------------------------------------------------------------------


def _secret(pepper: bytes, token_file: str | None) -> Secret:
    """The token of ``token_file``, else a new one."""
    token = new_token().text if token_file is None else token_in(token_file)
    weak = weakness(token)
    if weak:
        complain(f"warning: this token is weak: {weak}")
    found = digest(pepper, token)
    fields = {"key_id": key_id_of(token, found), "digest": found, "is_weak": weak is not None}
    return Secret(token, token_file is not None, fields, pepper)


def _hand_out(
    fleet: OpenFleet,
    message_type: str,
    payload: Item,
    secret: Secret,
    out: Path | None,
    shown: Item,
    as_json: bool,
) -> None:
    """Have the coordinator accept the token, and give it to whoever asked.

    He gets it too if no coordinator is there to take the message (NotAnswered), for it is good
    once one is. Raises Refused.
    """
    check_pepper(fleet.connection, fleet.keys, secret.pepper)
    shown |= {name: secret.fields[name] for name in ("key_id", "is_weak")}
    if out is not None:
        shown["token_file"] = str(out)
    elif not secret.is_brought:
        shown["token"] = secret.text
    try:
        with handing_over(out, secret.text) if out else nullcontext():
            tell(fleet, message_type, payload)
    except NotAnswered:
        _show_token(shown, as_json)
        raise
    _show_token(shown, as_json)


def _show_token(shown: Item, as_json: bool) -> None:
    if as_json:
        say_json(shown)
        return
    word, ai = next(iter(shown.items()))
    advise(f"{word} {ai}, token {shown['key_id']}")
    if "token" in shown:
        advise("this token is shown once; keep it where only that AI can read it:")
        say(shown["token"])
    elif "token_file" in shown:
        advise(f"the token is in {shown['token_file']}")


def _say_how_to_start(ai_id: str, specialization: str, out: Path | None) -> None:
    """A token never stands in a command line: `ps` shows those."""
    path = out or f"{ai_id}.token"
    advise(
        f"start it by TCP: COORD_URL=coord://127.0.0.1:6000 COORD_TOKEN_FILE={path} python"
        f' your_trainer.py, with Client("{ai_id}", specialization="{specialization}") in it'
    )
    advise(
        "a trainer with an RQ worker needs a Redis user instead: coord acl"
        f" {ai_id} --apply, then coord trainer {ai_id} --specialization {specialization}"
    )


def _cut_off(fleet: OpenFleet, ai_id: str) -> bool:
    """End the Redis user of an AI and its connections, also with no coordinator there; whether it
    had one. Who may not do that is told, and the rest is done."""
    try:
        had_one = cut_off(fleet.connection, fleet.keys.namespace, ai_id)
    except NoPermissionError as error:
        complain(
            f"warning: a Redis user of {ai_id} would be left ({error}): have it removed by"
            f" `coord acl {ai_id} --drop` as a user that may"
        )
        return False
    if had_one:
        warn_if_unsaved(fleet.connection)
    return had_one


# -- who is enrolled -------------------------------------------------------------------------------


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
