"""What a work-horse tells the coordinator: messages through the ingress of its AI.

They are of an instance of its own, since their order against those of the AI's agent means nothing.
"""

from __future__ import annotations

from typing import Any

import redis

from coordinator.clock import Clock, RandomIds, iso
from coordinator.doors import add_entry
from coordinator.errors import BadMessage
from coordinator.keys import Keys
from coordinator.messages import encode_body, encode_message
from coordinator.outages import sit_out
from workers.job import Host


class Teller:
    """Speaks for the AI of ``host`` as the instance ``<its agent's>/<name>``; its messages are
    numbered from 1."""

    def __init__(self, name: str, connection: redis.Redis, host: Host, clock: Clock) -> None:
        self._instance = f"{host.instance}/{name}"
        self._redis = connection
        self._host = host
        self._keys = Keys(host.settings.namespace)
        self._clock = clock
        self._n = 0

    def encode(self, message_type: str, payload: dict[str, Any]) -> bytes:
        """The message as it travels. BadMessage when it is no JSON, or too large."""
        now = iso(self._clock.now_ms())
        sender = self._host.ai_id
        body = encode_body(encode_message(RandomIds().new(), sender, message_type, now, payload))
        most_bytes = self._host.settings.message_max_bytes
        if len(body) > most_bytes:
            raise BadMessage(
                "too_large",
                f"its message has {len(body)} bytes; at most {most_bytes} are allowed; put what is "
                "large into an artifact, and its reference into the output",
            )
        return body

    def tell(self, body: bytes, until_s: float = 0.0) -> None:
        """Send what was encoded, once; with ``until_s`` (of ``clock.elapsed_s``) again and again
        until then. RedisError when it could not be sent."""
        self._n += 1
        sit_out(lambda: self._add(body), until_s, self._clock)

    def _add(self, body: bytes) -> None:
        """Under the number ``n``: however often it gets there, it counts once."""
        with self._redis.pipeline(transaction=False) as pipe:
            add_entry(pipe, self._keys, self._host.ai_id, body, self._instance, self._n)
            pipe.execute()
