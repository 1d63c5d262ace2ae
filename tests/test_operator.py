"""What a person sends from a shell: done, refused with the reason, or not answered in time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from coordinator import operator
from coordinator.errors import BadMessage, NotAnswered, Refused
from coordinator.operator import send_as_operator
from tests.fleet import FleetUnderTest


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis)
    fleet.join("a")
    return fleet


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Takes what happens while the sender waits."""

    def meanwhile(happens: Callable[[], object]) -> None:
        monkeypatch.setattr(operator.time, "sleep", lambda _: happens())

    return meanwhile


def send(fleet: FleetUnderTest, message_type: str, payload: dict[str, Any], **options: Any) -> str:
    return send_as_operator(
        fleet.redis, fleet.keys, fleet.clock, fleet.ids, message_type, payload, **options
    )


def test_it_returns_once_the_message_is_committed(fleet: FleetUnderTest, pauses: Any) -> None:
    pauses(fleet.run)
    message_id = send(fleet, "pattern_share", {"pattern": {"id": "p"}}, target_ai="a")
    assert fleet.record("pattern", "p")["contributor"] == "operator"
    assert fleet.inbox("a")[-1]["message_id"] == message_id


def test_each_is_an_instance_of_its_own(fleet: FleetUnderTest, pauses: Any) -> None:
    pauses(fleet.run)
    for _ in range(2):
        send(fleet, "pattern_share", {"pattern": {"id": "p"}})
    assert fleet.record("pattern", "p")["revision"] == "2"


def test_a_refusal_is_raised(fleet: FleetUnderTest, pauses: Any) -> None:
    pauses(fleet.run)
    with pytest.raises(Refused) as caught:
        send(fleet, "retract", {"id": "nothing"})
    refused = caught.value
    assert (refused.code, refused.field) == ("not_found", "payload.id")
    assert refused.detail.startswith("payload.id names no pattern, component or feature")
    assert refused.in_reply_to == fleet.error("operator")["in_reply_to"]


def test_anothers_refusal_is_not_ours(fleet: FleetUnderTest, pauses: Any) -> None:
    fleet.say("operator", "retract", {"id": "nothing"})
    fleet.run()
    pauses(fleet.run)
    send(fleet, "pattern_share", {"pattern": {"id": "p"}})
    assert fleet.ids_in("pattern") == ["p"]


def test_nobody_is_active(fleet: FleetUnderTest, pauses: Any) -> None:
    pauses(lambda: fleet.clock.advance(1))
    with pytest.raises(NotAnswered, match=r"within 3 s; it is queued .* start `coord serve`"):
        send(fleet, "pattern_share", {"pattern": {"id": "p"}}, timeout_s=3)
    fleet.run()
    assert fleet.ids_in("pattern") == ["p"]


def test_what_cannot_be_written_is_not_sent(fleet: FleetUnderTest) -> None:
    before = fleet.state()
    with pytest.raises(BadMessage, match="cannot be written as JSON"):
        send(fleet, "pattern_share", {"pattern": {"x": float("nan")}})
    assert fleet.state() == before


def test_it_is_sent_as_clients_send(fleet: FleetUnderTest, pauses: Any) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.extend(fleet.stream("coord:ingress:operator"))
        fleet.run()

    pauses(look)
    message_id = send(fleet, "pattern_share", {"pattern": {"id": "p"}})
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
