"""What a person at a shell sends: one message, and the word on whether it took effect."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, cast

import redis

from coordinator.clock import Clock, Ids, instance_id, iso
from coordinator.doors import add_entry
from coordinator.errors import NotAnswered, refusal
from coordinator.keys import Keys
from coordinator.messages import OPERATOR, encode_body, encode_message

POLL_S = 0.02


def send_as_operator(
    connection: redis.Redis,
    keys: Keys,
    clock: Clock,
    ids: Ids,
    message_type: str,
    payload: dict[str, Any],
    target_ai: str | None = None,
    timeout_s: float = 10,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Send a message in the operator's name and wait until it is committed; its message_id.

    Raises Refused with the coordinator's reason, NotAnswered when none was active in time (the
    message then stays queued and takes effect later), BadMessage when it cannot be written.
    """
    instance = instance_id(ids)
    message_id = post(connection, keys, clock, ids, instance, 1, message_type, payload, target_ai)
    ends_s = clock.elapsed_s() + timeout_s
    while not connection.exists(keys.instance(OPERATOR, instance)):
        if clock.elapsed_s() > ends_s:
            raise NotAnswered(
                f"no coordinator took the message within {timeout_s:g} s; it is queued and takes "
                "effect once one is active: start `coord serve`"
            )
        pause(POLL_S)
    _raise_if_refused(connection, keys, message_id, instance)
    return message_id


def post(
    connection: redis.Redis,
    keys: Keys,
    clock: Clock,
    ids: Ids,
    instance: str,
    n: int,
    message_type: str,
    payload: dict[str, Any],
    target_ai: str | None = None,
) -> str:
    """Write message ``n`` of ``instance`` in the operator's name, and wait for nothing; its
    message_id. BadMessage when it cannot be written."""
    message_id = ids.new()
    timestamp = iso(clock.now_ms())
    body = encode_body(
        encode_message(message_id, OPERATOR, message_type, timestamp, payload, target_ai)
    )
    with connection.pipeline(transaction=False) as pipe:
        add_entry(pipe, keys, OPERATOR, body, instance, n)
        pipe.execute()
    return message_id


def _raise_if_refused(connection: redis.Redis, keys: Keys, message_id: str, instance: str) -> None:
    """A refusal lies in the operator's inbox from the moment the message is committed.

    It names the message, unless that could not be read; or else this instance, which sent no other.
    """
    entries = cast("list[Any]", connection.xrevrange(keys.inbox(OPERATOR), count=100))
    for _, fields in entries:
        message = json.loads(fields[b"message"])
        payload = message["payload"]
        is_ours = payload.get("in_reply_to") == message_id
        is_ours = is_ours or fields.get(b"instance") == instance.encode()
        if message["message_type"] == "error" and is_ours:
            raise refusal(payload)
