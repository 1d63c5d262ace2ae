"""What all guests of one gateway share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from coordinator.clock import Clock, Ids, iso
from coordinator.gateway.ingress_writer import IngressWriter
from coordinator.gateway.metrics import Metrics
from coordinator.gateway.rate import Buckets
from coordinator.gateway.relay import Relay
from coordinator.gateway.uploads import Uploads
from coordinator.keys import Keys
from coordinator.messages import HUB, encode_message
from coordinator.outages import Patience
from coordinator.settings import Settings
from coordinator.tasks import Spawn


@dataclass
class Shared:
    """``reads`` bounds how many guests read the server at a time; ``spawn`` runs a task that ends
    with the gateway, at the latest. ``lease_s`` is what the fleet says it is."""

    gateway_id: str
    redis: Redis
    keys: Keys
    fleet_settings: Settings
    clock: Clock
    ids: Ids
    metrics: Metrics
    patience: Patience
    writer: IngressWriter
    relay: Relay
    uploads: Uploads
    buckets: Buckets
    reads: asyncio.Semaphore
    spawn: Spawn
    lease_s: float

    def hub_line(self, message_type: str, payload: dict[str, Any], ai: str | None) -> bytes:
        """A message that the gateway itself says to a client, which knows it as the hub."""
        now = iso(self.clock.now_ms())
        text = encode_message(self.ids.new(), HUB, message_type, now, payload, ai)
        return text.encode("utf-8", "replace") + b"\n"

    def error_line(
        self,
        code: str,
        detail: str,
        ai: str | None,
        in_reply_to: str | None = None,
        field: str = "",
    ) -> bytes:
        payload: dict[str, Any] = {"in_reply_to": in_reply_to, "code": code, "detail": detail}
        if field:
            payload["field"] = field
        return self.hub_line("error", payload, ai)
