"""Who is there: hello, heartbeat, goodbye, and the end of a lease."""

from __future__ import annotations

import sys
from typing import Any

from coordinator import jobs, sessions
from coordinator.access import check_specialization
from coordinator.clock import iso
from coordinator.context import Context, Incoming
from coordinator.doors import GATEWAY_PREFIX
from coordinator.effects import Broadcast, Deliver, Effect, Event, Write
from coordinator.errors import BadMessage
from coordinator.fleet import Ai
from coordinator.messages import encode_message, one_line, to_json
from coordinator.payloads import GatewayHeartbeat, Goodbye, Heartbeat, Hello, parse_payload
from coordinator.specializations import capabilities_of
from coordinator.sync import training_sync

GATEWAYS_KEPT_MS = 3_600_000
"""How long a gateway that is silent is still listed."""


def hello(message: Incoming, context: Context) -> list[Effect]:
    """Register the sender, tell the others, and answer with a training_sync.

    A second instance under a live AI's id is refused. The same instance may say hello again: the
    others hear of it only when it describes itself differently.
    """
    payload = parse_payload(Hello, message.envelope.payload)
    present = context.fleet.ais.get(message.sender)
    if present is not None and present.instance != message.instance:
        raise _id_taken(present)

    check_specialization(message.sender, payload.specialization, context)
    introduction = _announce(message, _without_cursor(message))
    sync = Deliver(message.sender, training_sync(message, payload.cursor, context))
    ai = _register(message, payload, context, present)
    if present is not None and present.profile == ai.profile:
        return [*_write_record(ai, context), sync]
    if present is None:
        context.fleet.members[ai.id].is_draining = False
    text = f"{ai.id} joined ({ai.specialization}; {len(ai.capabilities)} capabilities)"
    data = {
        "instance": ai.instance,
        "specialization": ai.specialization,
        "capabilities": ai.capabilities,
    }
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


def gateway_heartbeat(message: Incoming, context: Context) -> list[Effect]:
    """An open connection is a heartbeat: extend the leases of those who came by this gateway."""
    payload = parse_payload(GatewayHeartbeat, message.envelope.payload)
    effects = _write_gateway(message, payload, context)
    for ai_id, instance in payload.ais.items():
        ai = context.fleet.ais.get(ai_id)
        if ai is not None and (ai.door, ai.instance) == (message.door, instance):
            _extend_lease(ai, context)
            effects += _write_presence(ai, context)
    return effects


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


def expel(ai: Ai, why: BadMessage, context: Context) -> list[Effect]:
    """Show an AI the door: that instance is told ``why``, and is not to come back."""
    reason = why.detail
    detail = f"{ai.id} was removed from the fleet: {reason}"
    told = {"in_reply_to": None, "code": why.code, "detail": detail}
    return [
        Deliver(ai.id, context.hub_message("error", told, ai.id), instance=ai.instance),
        *_remove(ai, context, reason),
        _farewell(ai, {"reason": reason}, context),
    ]


def stored_profile(ai: Ai) -> dict[str, Any]:
    """What of an AI outlives the expiry of its registry record, so that a reload can restore it."""
    return {
        "specialization": ai.specialization,
        "capabilities": ai.capabilities,
        "instance": ai.instance,
        "door": ai.door,
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
        door=message.door,
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
        *jobs.retire_queue(ai.id, keys),
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
        *jobs.revive_queue(ai.id, keys),
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
        "door": ai.door,
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


def _write_gateway(message: Incoming, payload: GatewayHeartbeat, context: Context) -> list[Effect]:
    keys, now_ms = context.keys, context.now_ms
    gateway_id = message.door.removeprefix(GATEWAY_PREFIX)
    record: dict[str, Any] = {
        "address": one_line(payload.address, 200),
        "tls": int(payload.tls),
        "connections": payload.connections,
    }
    flat = [part for item in record.items() for part in item]
    return [
        Write(("ZADD", keys.gateways, now_ms, gateway_id)),
        Write(("ZREMRANGEBYSCORE", keys.gateways, "-inf", now_ms - GATEWAYS_KEPT_MS)),
        Write(("HSET", keys.gateway(gateway_id), *flat)),
        Write(("PEXPIRE", keys.gateway(gateway_id), int(context.settings.lease_s * 2000))),
    ]


def _write_sets(ai: Ai, context: Context) -> list[Effect]:
    keys = context.keys
    joined = [keys.specialization(ai.specialization), *map(keys.capability, ai.capabilities)]
    return [Write(("SADD", key, ai.id)) for key in joined]


def _forget_sets(ai: Ai, context: Context) -> list[Effect]:
    keys = context.keys
    left = [keys.specialization(ai.specialization), *map(keys.capability, ai.capabilities)]
    return [Write(("SREM", key, ai.id)) for key in left]
