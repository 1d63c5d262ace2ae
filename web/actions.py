"""What an operator can have done: each action, what it does, and to what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from coordinator.clock import Ids
from coordinator.enrolled import read_members
from coordinator.letters import read_letter
from coordinator.messages import LETTER_ID_PATTERN
from coordinator.operator import send_as_operator
from coordinator.presence import read_away
from coordinator.queues import read_queues
from coordinator.reads import Item, read_ai
from coordinator.revoking import revoke
from coordinator.session_reads import read_progress, read_unit_states
from reports import formats
from web.answers import ApiError
from web.fleet_reader import FleetReader
from web.forms import ReturnQuery
from web.parameters import AiId, SessionId, UnitId

Facts = list[tuple[str, str]]


class OfAi(ReturnQuery):
    ai: AiId


class OfSession(ReturnQuery):
    session_id: SessionId


class OfUnit(ReturnQuery):
    unit_id: UnitId


class OfLetter(ReturnQuery):
    id: Annotated[str, Field(pattern=LETTER_ID_PATTERN)]


def _send(name: str, reader: FleetReader, ids: Ids, payload: Item) -> list[str]:
    send_as_operator(reader.connection, reader.keys, reader.clock, ids, name, payload)
    return []


def _revoke(_: str, reader: FleetReader, ids: Ids, payload: Item) -> list[str]:
    """The Redis user ends, too, as far as this process may end it."""
    fleet = (reader.connection, reader.keys, reader.clock, ids)
    left: list[str] = []
    revoke(*fleet, payload["ai"], payload["reason"], left.append, person=payload["person"])
    return left


@dataclass(frozen=True)
class Action:
    """The message of type ``name``, about the ``subject`` that the field of ``query`` names.

    ``read`` finds what people want to know of it first; it raises ApiError ``not_found``. ``does``
    says what will happen, ``done`` what did; ``send`` is what sends the message and waits for it.
    """

    name: str
    query: type[ReturnQuery]
    field: str
    read: Callable[[FleetReader, str], Facts]
    title: str
    does: str
    button: str
    done: str
    has_reason: bool = False
    is_harmful: bool = True
    send: Callable[[str, FleetReader, Ids, Item], list[str]] = _send

    def subject_of(self, query: ReturnQuery) -> str:
        return str(getattr(query, self.field))

    def act(
        self, reader: FleetReader, ids: Ids, subject: str, reason: str, person: str
    ) -> list[str]:
        """Have it done in the name of ``person``, and wait for it; what is left to do besides.
        Raises Refused, NotAnswered, BadMessage; RedisError."""
        payload = {self.field: subject, "person": person}
        if self.has_reason:
            payload["reason"] = reason
        return self.send(self.name, reader, ids, payload)


def _facts_of_ai(reader: FleetReader, ai_id: str) -> Facts:
    found = read_ai(reader.connection, reader.keys, ai_id).items
    if not found:
        raise ApiError("not_found", f"no AI {ai_id!r} is there: it may have left", "ai")
    (ai,) = found
    heard = formats.duration(reader.clock.now_ms() - ai["heartbeat_ms"])
    (queue,) = read_queues(reader.connection, [reader.keys.queue(ai_id)])
    return [
        ("Specialization", ai["specialization"]),
        ("Status", f"{ai['status']}, heard of {heard} ago"),
        ("Units", f"{queue['started']} running, {queue['waiting']} queued"),
    ]


def _facts_of_member(reader: FleetReader, ai_id: str) -> Facts:
    """It may be away, or never have come."""
    connection, keys, now_ms = reader.connection, reader.keys, reader.clock.now_ms()
    enrolled = read_members(connection, keys, [ai_id], now_ms)
    if read_ai(connection, keys, ai_id).items:
        there = _facts_of_ai(reader, ai_id)
    elif enrolled or read_away(connection, keys, ai_id):
        there = [("Status", "not there now")]
    else:
        detail = f"no AI {ai_id!r} has ever joined this fleet, nor was it enrolled"
        raise ApiError("not_found", detail, "ai")
    for member in enrolled:
        role = "revoked" if member["is_revoked"] else member["role"]
        there += [("Role", role), ("Tokens", str(len(member["tokens"])))]
    return there


def _facts_of_session(reader: FleetReader, session_id: str) -> Facts:
    session = read_progress(reader.connection, reader.keys, session_id)
    if session is None:
        raise ApiError("not_found", f"no session {session_id!r} is kept", "session_id")
    states = [unit["state"] for unit in session["units"]]
    return [
        ("Type", session["type"]),
        ("Asked for by", session["initiator"]),
        ("State", session["state"]),
        ("Participants", ", ".join(session["participants"]) or "nobody yet"),
        ("Units", f"{states.count('completed')} of {len(states)} completed"),
    ]


def _facts_of_unit(reader: FleetReader, unit_id: str) -> Facts:
    units = read_unit_states(reader.connection, reader.keys, [unit_id])
    if not units:
        raise ApiError("not_found", f"no unit {unit_id!r} is kept", "unit_id")
    (unit,) = units
    reason = unit["attempts"][-1]["reason"] if unit["attempts"] else ""
    return [
        ("Name", f"{unit['name']}, which is {unit['kind']}"),
        ("Session", unit["session_id"]),
        ("State", unit["state"] + (f": {reason}" if reason else "")),
        ("Attempts", str(unit["attempt"])),
    ]


def _facts_of_letter(reader: FleetReader, letter_id: str) -> Facts:
    letter = read_letter(reader.connection, reader.keys, letter_id)
    if letter is None:
        raise ApiError("not_found", f"no dead letter {letter_id!r} is kept", "id")
    return [
        ("From", letter["owner"]),
        ("Type", str(letter["message_type"])),
        ("Error", letter["error"]),
    ]


_EVERY_ACTION = (
    Action(
        "cancel",
        OfSession,
        "session_id",
        _facts_of_session,
        title="Cancel session",
        does="The session ends for all who take part in it, and its units are taken off the"
        " queues. It cannot be taken up again.",
        button="Cancel the session",
        done="cancelled",
        has_reason=True,
    ),
    Action(
        "retry",
        OfUnit,
        "unit_id",
        _facts_of_unit,
        title="Retry unit",
        does="The unit is tried again as often as at first, and its session, which failed with it,"
        " goes on.",
        button="Retry the unit",
        done="retried",
        is_harmful=False,
    ),
    Action(
        "drain",
        OfAi,
        "ai",
        _facts_of_ai,
        title="Drain",
        does="It finishes the units that it has, and is given no new ones as long as it stays.",
        button="Drain it",
        done="drained",
        is_harmful=False,
    ),
    Action(
        "kick",
        OfAi,
        "ai",
        _facts_of_ai,
        title="Kick",
        does="It is removed from the fleet and told to stop; what it had to do goes to others. One"
        " that does not listen may join again: revoke it to shut it out.",
        button="Kick it",
        done="kicked",
        has_reason=True,
    ),
    Action(
        "revoke",
        OfAi,
        "ai",
        _facts_of_member,
        title="Revoke",
        does="It is shut out at once: its tokens and its Redis user end, its connections close, and"
        " what it had to do goes to others. It comes back only if it is enrolled again.",
        button="Revoke all its access",
        done="revoked",
        has_reason=True,
        send=_revoke,
    ),
    Action(
        "dead_retry",
        OfLetter,
        "id",
        _facts_of_letter,
        title="Retry dead letter",
        does="The message is handled again, in its sender's name. The letter goes if that"
        " succeeds.",
        button="Retry it",
        done="retried dead letter",
        is_harmful=False,
    ),
    Action(
        "dead_drop",
        OfLetter,
        "id",
        _facts_of_letter,
        title="Drop dead letter",
        does="The message is deleted for good.",
        button="Drop it",
        done="dropped dead letter",
    ),
)
ACTIONS = {action.name: action for action in _EVERY_ACTION}
"""By the last part of their paths."""
