"""``coord enroll`` and ``rotate``: an AI is given a token to join by.

A token is shown once, on standard output and alone there, or put into a file; all else goes beside
it. What is sent and stored is its digest.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from cli.inputs import did_you_mean, seconds_of, token_in
from cli.options import (
    SPECIALIZATIONS,
    AiArgument,
    JsonOption,
    NamespaceOption,
    OpenFleet,
    RedisOption,
    StateDirOption,
    check_ai_id,
    load_settings,
    open_fleet,
    warn_of_near_miss,
)
from cli.orders import tell
from cli.output import advise, age, complain, plain, say, say_json
from coordinator.clock import SystemClock
from coordinator.credentials import (
    check_pepper,
    digest,
    key_id_of,
    new_token,
    read_pepper,
    weakness,
)
from coordinator.dispatch import ROUTES
from coordinator.errors import NotAnswered
from coordinator.payloads import Role
from coordinator.reads import Item
from coordinator.secret_files import handing_over
from coordinator.status import read_gateways

EVERYWHERE = ("0.0.0.0", "[::]")
"""Hosts that stand for all addresses of a machine."""

RoleOption = Annotated[
    Role,
    typer.Option(
        "--role", help="What it may do: an observer only listens, an operator may do all."
    ),
]
SpecializationOption = Annotated[
    str,
    typer.Option(
        "--specialization", "-s", metavar="NAME", help=f"What it will be good at. {SPECIALIZATIONS}"
    ),
]
AllowedSpecializationsOption = Annotated[
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
    only_specialization: AllowedSpecializationsOption = None,
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
    _check_types(only_type or [], role)
    warn_of_near_miss(specialization)
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
            _say_how_to_start(fleet, ai_id, role, specialization, out)


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
    if not json:
        ends = f"for another {age(grace * 1000)}" if grace else "no more"
        advise(
            f"the tokens that it had are good {ends}: bring the new one to {ai_id}, whose client"
            " reads COORD_TOKEN_FILE again at each login"
        )


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
        advise("this token is shown once; keep it in a file of that AI's alone (--out makes one):")
        say(shown["token"])
    elif "token_file" in shown:
        advise(f"the token is in {shown['token_file']}")


# -- what is said besides --------------------------------------------------------------------------


def _check_types(message_types: list[str], role: Role) -> None:
    """A usage error for what no AI of that role can send."""
    known = [name for name, route in ROUTES.items() if role in route.senders]
    for name in message_types:
        if name not in known:
            cure = did_you_mean(name, known) or f"known are {', '.join(known)}"
            raise typer.BadParameter(
                f"--only-type {plain(name)!r} is no message type of role {role}: {cure}"
            )


def _say_how_to_start(
    fleet: OpenFleet, ai_id: str, role: Role, specialization: str, out: Path | None
) -> None:
    """A token never stands in a command line: `ps` shows those."""
    if role == "validator":
        advise(f"start it: coord validator {ai_id}")
        advise(
            "it works on Redis, and needs no token there; where it should not have your login, give"
            f" it a user of its own first: coord acl {ai_id} --apply"
        )
        return
    path = out or f"{ai_id}.token"
    variables = f"COORD_TOKEN_FILE={path} python your_trainer.py"
    gateways = read_gateways(fleet.connection, fleet.keys, SystemClock().now_ms())
    ways_in = {_way_in(gateway) for gateway in gateways if gateway["address"]}
    for way_in in sorted(ways_in):
        advise(f"start it by TCP: {way_in} {variables}")
    if not ways_in:
        advise("no gateway listens: `coord gateway`, or `coord serve` without --no-gateway")
        advise(f"start it by TCP once one does: COORD_URL=coord://HOST:PORT {variables}")
    advise(f'with Client("{ai_id}", specialization="{specialization}") in it')
    advise(
        "a trainer with an RQ worker needs a Redis user instead: coord acl"
        f" {ai_id} --apply, then coord trainer {ai_id} --specialization {specialization}"
    )


def _way_in(gateway: Item) -> str:
    """The variables that lead to a gateway; one that listens everywhere tells no host."""
    host, _, port = gateway["address"].rpartition(":")
    place = f"HOST:{port}" if host in EVERYWHERE else gateway["address"]
    if not gateway["tls"]:
        return f"COORD_URL=coord://{place}"
    return f"COORD_URL=coords://{place} COORD_TLS_CA=ca.pem"
