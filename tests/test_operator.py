"""What a person sends from a shell: done, refused with the reason, or not answered in time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from coordinator.clock import RandomIds, SystemClock
from coordinator.errors import BadMessage, NotAnswered, Refused
from coordinator.keys import Keys
from coordinator.operator import send_as_operator
from tests.fleet import FleetUnderTest


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis)
    fleet.join("a")
    return fleet


def send(
    fleet: FleetUnderTest,
    message_type: str,
    payload: dict[str, Any],
    meanwhile: Callable[[], object] | None = None,
    **options: Any,
) -> str:
    """Send it; ``meanwhile`` happens while the sender waits, else the coordinator runs."""

    def pause(seconds: float) -> None:
        (meanwhile or fleet.run)()

    return send_as_operator(
        fleet.redis,
        fleet.keys,
        fleet.clock,
        fleet.ids,
        message_type,
        payload,
        pause=pause,
        **options,
    )


def test_it_returns_once_the_message_is_committed(fleet: FleetUnderTest) -> None:
    message_id = send(fleet, "pattern_share", {"pattern": {"id": "p"}}, target_ai="a")
    assert fleet.record("pattern", "p")["contributor"] == "operator"
    assert fleet.inbox("a")[-1]["message_id"] == message_id


def test_each_is_an_instance_of_its_own(fleet: FleetUnderTest) -> None:
    for _ in range(2):
        send(fleet, "pattern_share", {"pattern": {"id": "p"}})
    assert fleet.record("pattern", "p")["revision"] == "2"


def test_a_refusal_is_raised(fleet: FleetUnderTest) -> None:
    with pytest.raises(Refused) as caught:
        send(fleet, "retract", {"id": "nothing"})
    refused = caught.value
    assert (refused.code, refused.field) == ("not_found", "payload.id")
    assert refused.detail.startswith("payload.id names no pattern, component or feature")
    assert refused.in_reply_to == fleet.error("operator")["in_reply_to"]


def test_a_refusal_that_cannot_name_the_message_is_raised(fleet: FleetUnderTest) -> None:
    with pytest.raises(Refused) as caught:
        send(fleet, "pattern_share", {"pattern": {"id": "p", "text": "x" * 300_000}})
    assert (caught.value.code, caught.value.in_reply_to) == ("too_large", None)


def test_anothers_refusal_is_not_ours(fleet: FleetUnderTest) -> None:
    fleet.say("operator", "retract", {"id": "nothing"})
    fleet.run()
    send(fleet, "pattern_share", {"pattern": {"id": "p"}})
    assert fleet.ids_in("pattern") == ["p"]


def test_nobody_is_active(fleet: FleetUnderTest) -> None:
    with pytest.raises(NotAnswered, match=r"within 3 s; it is queued .* start `coord serve`"):
        send(
            fleet,
            "pattern_share",
            {"pattern": {"id": "p"}},
            meanwhile=lambda: fleet.clock.advance(1),
            timeout_s=3,
        )
    fleet.run()
    assert fleet.ids_in("pattern") == ["p"]


def test_what_cannot_be_written_is_not_sent(fleet: FleetUnderTest) -> None:
    before = fleet.state()
    with pytest.raises(BadMessage, match="cannot be written as JSON"):
        send(fleet, "pattern_share", {"pattern": {"x": float("nan")}})
    assert fleet.state() == before


def test_it_is_sent_as_clients_send(fleet: FleetUnderTest) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.extend(fleet.stream("coord:ingress:operator"))
        fleet.run()

    message_id = send(fleet, "pattern_share", {"pattern": {"id": "p"}}, look)
    ((_, fields),) = seen
    assert fields["n"] == "1"
    assert json.loads(fields["body"]) == {
        "message_id": message_id,
        "sender_id": "operator",
        "message_type": "pattern_share",
        "timestamp": "2025-06-15T15:06:40.000+00:00",
        "payload": {"pattern": {"id": "p"}},
        "target_ai": None,
    }


def test_what_is_not_unicode_is_not_sent(redis: Redis) -> None:
    with pytest.raises(BadMessage, match="not Unicode"):
        send_as_operator(redis, Keys(), SystemClock(), RandomIds(), "query", {"x": "\ud800"})
    assert redis.keys() == []
