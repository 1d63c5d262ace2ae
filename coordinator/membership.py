"""Handlers: who may come in. An AI is enrolled, its token rotated, its access revoked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import redis

from coordinator.context import Context, Incoming
from coordinator.credentials import Credential, read_credentials
from coordinator.effects import Effect, Event, Write
from coordinator.enrolment import Access
from coordinator.errors import BadMessage
from coordinator.keys import Keys
from coordinator.messages import GATEWAY, is_ai_id, one_line
from coordinator.orders import Enroll, Membership, NewToken, Revoke, Rotate
from coordinator.payloads import LoginRefused, parse_payload
from coordinator.registry import expel
from coordinator.settings import Settings

MAX_TOKENS = 2
"""So many tokens of an AI are good at a time: the new one, and the one that it takes over from."""


def read_stored(
    connection: redis.Redis, keys: Keys, _: Settings, message: Incoming
) -> list[Credential]:
    ai = parse_payload(Membership, message.envelope.payload).ai
    return read_credentials(connection, keys, ai)


def enroll(message: Incoming, context: Context) -> list[Effect]:
    """Let an AI in by a token, in a role; what it was enrolled for before is replaced.

    ``found`` are its credentials, also for the next two.
    """
    asked = parse_payload(Enroll, message.envelope.payload)
    if not is_ai_id(asked.ai):
        raise BadMessage(
            "bad_payload",
            f"payload.ai {asked.ai!r} is reserved, and no AI can be called so",
            "payload.ai",
        )
    _check_end(asked, context)
    access = Access(asked.role, _tuple(asked.specializations), _tuple(asked.message_types))
    data: dict[str, Any] = {
        "by": message.sender,
        "key_id": asked.key_id,
        "expires_ms": asked.expires_ms,
    }
    data |= {"role": asked.role, "is_weak": asked.is_weak}
    text = f"{message.sender} enrolled {asked.ai} as {asked.role} by key {asked.key_id}"
    return [
        *_write_access(asked.ai, access, context),
        *_write_credentials(asked, asked.expires_ms, context.found, context),
        Event("enrolled", asked.ai, text, data),
    ]


def rotate(message: Incoming, context: Context) -> list[Effect]:
    """Give an AI another token; those that it has end after a grace."""
    asked = parse_payload(Rotate, message.envelope.payload)
    found: list[Credential] = context.found
    if context.fleet.members[asked.ai].access is None or not found:
        raise BadMessage(
            "not_found",
            f"payload.ai {asked.ai!r} has no token to rotate; `coord enroll` gives it one",
            "payload.ai",
        )
    _check_end(asked, context)
    last, expires_ms = found[-1], asked.expires_ms
    if "expires_ms" not in asked.model_fields_set and last.expires_ms is not None:
        expires_ms = context.now_ms + last.expires_ms - last.created_ms
    ends_ms = context.now_ms + int(asked.grace_s * 1000)
    ending = [
        one.model_copy(
            update={
                "expires_ms": min(ends_ms, ends_ms if one.expires_ms is None else one.expires_ms)
            }
        )
        for one in found
    ]
    data: dict[str, Any] = {"by": message.sender, "key_id": asked.key_id, "expires_ms": expires_ms}
    data |= {"grace_s": asked.grace_s, "is_weak": asked.is_weak}
    text = f"{message.sender} gave {asked.ai} the key {asked.key_id}"
    return [
        *_write_credentials(asked, expires_ms, ending, context),
        Event("rotated", asked.ai, text, data),
    ]


def revoke(message: Incoming, context: Context) -> list[Effect]:
    """Take one token from an AI, or shut it out altogether."""
    asked = parse_payload(Revoke, message.envelope.payload)
    found: list[Credential] = context.found
    keys, fleet = context.keys, context.fleet
    by = asked.author(message.sender)
    reason = asked.reason or f"revoked by {by}"
    data: dict[str, Any] = {"by": by, "key_id": asked.key_id, "reason": reason}
    if asked.key_id is not None:
        if asked.key_id not in [one.key_id for one in found]:
            raise BadMessage(
                "not_found",
                f"payload.key_id {asked.key_id!r} is no key of {asked.ai}; `coord members` lists "
                "them",
                "payload.key_id",
            )
        text = f"{by} revoked the key {asked.key_id} of {asked.ai}: {reason}"
        return [
            Write(("HDEL", keys.credentials(asked.ai), asked.key_id)),
            _note_change(context),
            Event("revoked", asked.ai, text, data),
        ]
    member = fleet.members[asked.ai]
    if not is_ai_id(asked.ai) or not (member.is_known or found):
        raise BadMessage(
            "not_found",
            f"payload.ai {asked.ai!r} never joined this fleet, nor was it enrolled; "
            "`coord members` lists who was",
            "payload.ai",
        )
    access = replace(member.access or Access(), is_revoked=True)
    present = fleet.ais.get(asked.ai)
    text = f"{by} revoked all access of {asked.ai}: {reason}"
    return [
        *_write_access(asked.ai, access, context),
        Write(("DEL", keys.credentials(asked.ai))),
        _note_change(context),
        Event("revoked", asked.ai, text, data),
        *(expel(present, BadMessage("revoked", reason), context) if present else []),
    ]


def login_refused(message: Incoming, _: Context) -> list[Effect]:
    """A gateway tells whom it did not let in; what it quotes is a stranger's word."""
    told = parse_payload(LoginRefused, message.envelope.payload)
    claimed = one_line(told.ai_id, 64)
    logins = "a login" if told.count == 1 else f"{told.count} logins"
    text = f"refused {logins} as {claimed!r} from {told.address}: {told.reason}"
    ai = told.ai_id if is_ai_id(told.ai_id) else GATEWAY
    return [Event("login_refused", ai, text, told.model_dump() | {"door": message.door})]


def _check_end(new: NewToken, context: Context) -> None:
    if new.expires_ms is not None and new.expires_ms <= context.now_ms:
        raise BadMessage(
            "bad_payload",
            "payload.expires_ms is past; it must be a time to come, in ms since 1970",
            "payload.expires_ms",
        )


def _write_access(ai: str, access: Access, context: Context) -> list[Effect]:
    key = context.keys.member(ai)
    context.fleet.members[ai].access = access
    return [
        Write(("HSET", key, "access", access.to_json())),
        Write(("PERSIST", key)),
        Write(("SADD", context.keys.enrolled, ai)),
    ]


def _write_credentials(
    new: NewToken, expires_ms: int | None, found: Sequence[Credential], context: Context
) -> list[Effect]:
    """Add a credential to those ``found``; what has expired goes, and of too many the oldest. Where
    none is good any more the last one stays, expired by anybody's clock: who still presents it is
    told that it was replaced."""
    key = context.keys.credentials(new.ai)
    added = Credential(
        key_id=new.key_id,
        digest=new.digest,
        created_ms=context.now_ms,
        expires_ms=expires_ms,
        is_weak=new.is_weak,
    )
    others = [one for one in found if one.key_id != new.key_id]
    live = [one for one in others if one.is_live(context.now_ms)]
    ended = [one.model_copy(update={"expires_ms": 0}) for one in others]
    kept = [*(live or ended)[1 - MAX_TOKENS :], added]
    gone = {one.key_id for one in others} - {one.key_id for one in kept}
    return [
        *([Write(("HDEL", key, *sorted(gone)))] if gone else []),
        *(Write(("HSET", key, one.key_id, one.model_dump_json())) for one in kept),
        _note_change(context),
    ]


def _note_change(context: Context) -> Write:
    """Gateways look at this number to know when to look at their guests' tokens again."""
    return Write(("HINCRBY", context.keys.fleet, "credentials_n", 1))


def _tuple(words: list[str] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)
