"""What an error message stands for, as an exception."""

from __future__ import annotations

from typing import Any

from coordinator.errors import IdTaken, Refused, refusal


def test_an_error_message_stands_for_an_exception() -> None:
    payload: dict[str, Any] = {"code": "bad_payload", "detail": "no", "in_reply_to": "m1"}
    refused = refusal(payload)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.in_reply_to, refused.field) == ("bad_payload", "m1", "")
    taken = {"holder": "h.1", "lease_ends_ms": 2, "last_heartbeat_ms": 1}
    second = refusal({"code": "id_taken", "detail": "no", **taken})
    assert isinstance(second, IdTaken)
    assert (second.holder, second.lease_ends_ms, second.last_heartbeat_ms) == ("h.1", 2, 1)
