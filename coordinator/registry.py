"""Who is there: hello, heartbeat, goodbye, and the end of a lease."""

from __future__ import annotations

import sys
from typing import Any

from coordinator import jobs, sessions
from coordinator.clock import iso
from coordinator.context import Context, Incoming
from coordinator.effects import Broadcast, Deliver, Effect, Event, Write
from coordinator.errors import BadMessage
from coordinator.fleet import Ai
from coordinator.messages import encode_message, to_json
from coordinator.payloads import Goodbye, Heartbeat, Hello, Steer, parse_payload
from coordinator.specializations import capabilities_of
from coordinator.sync import training_sync


def hello(message: Incoming, context: Context) -> list[Effect]:
    """Register the sender, tell the others, and answer with a training_sync.

    A second instance under a live AI's id is refused. The same instance may say hello again: the
    others hear of it only when it describes itself differently.
    """
    payload = parse_payload(Hello, message.envelope.payload)
    present = context.fleet.ais.get(message.sender)
    if present is not None and present.instance != message.instance:
        raise _id_taken(present)

    introduction = _announce(message, _without_cursor(message))
    sync = Deliver(message.sender, training_sync(message, payload.cursor, context))
    ai = _register(message, payload, context, present)
    if present is not None and present.profile == ai.profile:
        return [*_write_record(ai, context), sync]
    if present is None:
        context.fleet.members[ai.id].is_draining = False
    text = f"{ai.id} joined ({ai.specialization}; {len(ai.capabilities)} capabilities)"
    data = {"instance": ai.instance, "specialization": ai.specialization}
    forget = _forget_sets(present, context) if present is not None else []
    return [
        *forget,
        *_write_record(ai, context),
        *_write_sets(ai, context),
        introduction,
        Event("joined", ai.id, text, data),
        sync,
        *sessions.ai_came(context),
    ]


def heartbeat(message: Incoming, context: Context) -> list[Effect]:
    """Extend the sender's lease; ``load`` (a number) and ``status`` (a word) are noted if given."""
    payload = parse_payload(Heartbeat, message.envelope.payload)
    ai = context.fleet.ais[message.sender]
    _extend_lease(ai, context)
    if isinstance(payload.load, int | float) and 0 <= payload.load <= sys.float_info.max:
        ai.load = float(payload.load)
    if isinstance(payload.status, str) and payload.status.isprintable():
        ai.status = payload.status[:64]
    return _write_presence(ai, context)


def goodbye(message: Incoming, context: Context) -> list[Effect]:
    """The sender leaves at once."""
    reason = parse_payload(Goodbye, message.envelope.payload).reason
    ai = context.fleet.ais[message.sender]
    farewell = _announce(message, message.envelope.payload)
    return [*_remove(ai, context, reason or "said goodbye"), farewell]


def expire(ai: Ai, context: Context) -> list[Effect]:
    """A lease has ended: the AI is gone, and the others are told in its name."""
    reason = f"no heartbeat for {context.settings.lease_s:g} s"
    return [
        *_remove(ai, context, reason),
        _farewell(ai, {"reason": reason, "expired": True}, context),
    ]


def kick(message: Incoming, context: Context) -> list[Effect]:
    """An operator shows an AI the door: that instance is told, and is not to come back."""
    payload = parse_payload(Steer, message.envelope.payload)
    ai = _live(payload.ai, context)
    reason = payload.reason or "kicked by the operator"
    detail = f"{ai.id} was removed from the fleet: {reason}"
    told = {"in_reply_to": None, "code": "kicked", "detail": detail}
    return [
        Deliver(ai.id, context.hub_message("error", told, ai.id), instance=ai.instance),
        *_remove(ai, context, reason),
        _farewell(ai, {"reason": reason}, context),
    ]


def drain(message: Incoming, context: Context) -> list[Effect]:
    """An operator has an AI finish its units, and take no new ones as long as it stays."""
    ai = _live(parse_payload(Steer, message.envelope.payload).ai, context)
    context.fleet.members[ai.id].is_draining = True
    open_units = context.fleet.assigned[ai.id]
    text = f"{ai.id} is being drained; {open_units} units are left"
    return [
        Write(("HSET", context.keys.member(ai.id), "draining", 1)),
        Event("draining", ai.id, text, {"units": open_units}),
    ]


def stored_profile(ai: Ai) -> dict[str, Any]:
    """What of an AI outlives the expiry of its registry record, so that a reload can restore it."""
    return {
        "specialization": ai.specialization,
        "capabilities": ai.capabilities,
        "instance": ai.instance,
        "joined_ms": ai.joined_ms,
        "profile": ai.profile,
    }


def _announce(message: Incoming, payload: dict[str, Any]) -> Broadcast:
    """Who comes and goes concerns everybody, whatever its ``target_ai``."""
    return Broadcast(message.encode(payload), exclude=(message.sender,))


def _without_cursor(message: Incoming) -> dict[str, Any]:
    """How far the sender has read is between it and the coordinator."""
    return {k: v for k, v in message.envelope.payload.items() if k != "cursor"}


def _farewell(ai: Ai, payload: dict[str, Any], context: Context) -> Broadcast:
    """A goodbye in the name of one that cannot say it."""
    farewell = encode_message(context.ids.new(), ai.id, "goodbye", iso(context.now_ms), payload)
    return Broadcast(farewell, exclude=(ai.id,))


def _live(ai_id: str, context: Context) -> Ai:
    ai = context.fleet.ais.get(ai_id)
    if ai is None:
        raise BadMessage(
            "not_found",
            f"payload.ai {ai_id!r} is nobody who is there; `coord ais` lists them",
            "payload.ai",
        )
    return ai


def _id_taken(holder: Ai) -> BadMessage:
    detail = (
        f"{holder.id} is held by instance {holder.instance}, whose lease ends at "
        f"{iso(holder.lease_ends_ms)} unless it is renewed; stop that one, or choose another id"
    )
    more = {
        "holder": holder.instance,
        "lease_ends_ms": holder.lease_ends_ms,
        "last_heartbeat_ms": holder.heartbeat_ms,
    }
    return BadMessage("id_taken", detail, more=more)


def _register(message: Incoming, payload: Hello, context: Context, present: Ai | None) -> Ai:
    profile = payload.model_dump(exclude={"cursor"}, exclude_none=True)
    ai = Ai(
        id=message.sender,
        specialization=payload.specialization,
        capabilities=payload.capabilities or capabilities_of(payload.specialization),
        instance=message.instance,
        profile=profile,
        joined_ms=present.joined_ms if present else context.now_ms,
        heartbeat_ms=context.now_ms,
        lease_ends_ms=0,
        lease_ends_s=0,
    )
    _extend_lease(ai, context)
    context.fleet.ais[ai.id] = ai
    context.fleet.members[ai.id].has_joined = True
    return ai


def _extend_lease(ai: Ai, context: Context) -> None:
    ai.heartbeat_ms = context.now_ms
    ai.lease_ends_ms = context.now_ms + int(context.settings.lease_s * 1000)
    ai.lease_ends_s = context.elapsed_s + context.settings.lease_s


def _remove(ai: Ai, context: Context, reason: str) -> list[Effect]:
    """It is gone from the fleet, and what it had to do goes to others."""
    del context.fleet.ais[ai.id]
    keys = context.keys
    keep_ms = int(context.settings.inbox_keep_s * 1000)
    return [
        Write(("DEL", keys.ai(ai.id))),
        Write(("ZREM", keys.leases, ai.id)),
        *_forget_sets(ai, context),
        Write(("PEXPIRE", keys.inbox(ai.id), keep_ms)),
        jobs.unlist(ai.id, keys),
        Event("left", ai.id, f"{ai.id} left: {reason}", {"reason": reason}),
        *sessions.ai_left(ai.id, context),
    ]


def _write_record(ai: Ai, context: Context) -> list[Effect]:
    keys = context.keys
    is_draining = context.fleet.members[ai.id].is_draining
    return [
        *_write_presence(ai, context),
        Write(("HSET", keys.member(ai.id), "profile", to_json(stored_profile(ai)))),
        *([] if is_draining else [Write(("HDEL", keys.member(ai.id), "draining"))]),
        Write(("PERSIST", keys.inbox(ai.id))),
        Write(("PERSIST", keys.member(ai.id))),
    ]


def _write_presence(ai: Ai, context: Context) -> list[Effect]:
    """The whole registry record: it lives two leases, and whoever looks finds all of it or none.

    Its end is only for readers, the lease decides.
    """
    key = context.keys.ai(ai.id)
    record: dict[str, Any] = {
        "specialization": ai.specialization,
        "capabilities": to_json(ai.capabilities),
        "instance": ai.instance,
        "joined_ms": ai.joined_ms,
        "heartbeat_ms": ai.heartbeat_ms,
        "status": ai.status,
        "load": ai.load,
    }
    flat = [part for item in record.items() for part in item]
    return [
        Write(("HSET", key, *flat)),
        Write(("PEXPIRE", key, int(context.settings.lease_s * 2000))),
        Write(("ZADD", context.keys.leases, ai.lease_ends_ms, ai.id)),
    ]


def _write_sets(ai: Ai, context: Context) -> list[Effect]:
    keys = context.keys
    joined = [keys.specialization(ai.specialization), *map(keys.capability, ai.capabilities)]
    return [Write(("SADD", key, ai.id)) for key in joined]


def _forget_sets(ai: Ai, context: Context) -> list[Effect]:
    keys = context.keys
    left = [keys.specialization(ai.specialization), *map(keys.capability, ai.capabilities)]
    return [Write(("SREM", key, ai.id)) for key in left]
