"""What a gateway says in its own name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from coordinator.clock import iso
from coordinator.gateway.shared import Shared
from coordinator.messages import GATEWAY, encode_message

MAX_AIS_PER_HEARTBEAT = 1000
EARLY_S = 0.1
"""A heartbeat may be this early: the next look would find it late."""


class Voice:
    """Numbers what it says. ``about`` gives what a heartbeat tells of the gateway itself."""

    def __init__(self, shared: Shared, about: Callable[[], dict[str, Any]]) -> None:
        self._shared = shared
        self._about = about
        self._n = 0
        self._last_heartbeat = 0
        self._beaten_s = 0.0

    def say(self, message_type: str, payload: dict[str, Any]) -> None:
        shared = self._shared
        self._n += 1
        now = iso(shared.clock.now_ms())
        text = encode_message(shared.ids.new(), GATEWAY, message_type, now, payload)
        shared.writer.add(text.encode(), shared.gateway_id, self._n, None)

    def beat_if_due(self, here: Sequence[tuple[str, str]]) -> None:
        """For all who are ``here``, each an AI and its instance: an open connection is a heartbeat.
        Those that are not written yet do."""
        shared = self._shared
        now_s = shared.clock.elapsed_s()
        is_due = now_s - self._beaten_s >= shared.lease_s / 3 - EARLY_S
        if not is_due or shared.writer.written < self._last_heartbeat:
            return
        self._beaten_s = now_s
        about = self._about()
        for start in range(0, max(1, len(here)), MAX_AIS_PER_HEARTBEAT):
            ais = dict(here[start : start + MAX_AIS_PER_HEARTBEAT])
            self.say("gateway_heartbeat", {**about, "ais": ais})
        self._last_heartbeat = shared.writer.added
