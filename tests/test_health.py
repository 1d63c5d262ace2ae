"""/healthz and /readyz: what they say is so, and they say it when it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest
from redis import Redis
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from coordinator.lag import STREAMS_AT_ONCE, Lag, read_lag
from tests.fleet import FleetUnderTest, ManualClock
from web.fleet_reader import FleetReader
from web.health import LONGEST_WAIT_S, healthz_endpoint, readyz_endpoint

NOT_ACTIVE = "no coordinator is active: run `coord serve`"


class Probe:
    """A fleet, and what is answered of it; ``server`` can be taken away."""

    def __init__(self) -> None:
        self.server = fakeredis.FakeServer()
        self.redis = fakeredis.FakeRedis(server=self.server, protocol=2)
        self.fleet = FleetUnderTest(self.redis)
        self.clock = ManualClock()
        reader = FleetReader(self.redis, self.fleet.keys, self.clock)
        endpoints: Any = {"/healthz": healthz_endpoint(reader), "/readyz": readyz_endpoint(reader)}
        self.client = TestClient(Starlette(routes=[Route(*each) for each in endpoints.items()]))

    def ready(self) -> tuple[int, Any]:
        """A second after it was asked for last: what was read is not kept for longer."""
        self.clock.advance(1)
        answer = self.client.get("/readyz")
        return answer.status_code, answer.json()


@pytest.fixture
def probe() -> Iterator[Probe]:
    probe = Probe()
    with probe.redis:
        yield probe


def wait_in_ingress(redis: Redis, door: str, age_s: float) -> None:
    """A message has waited at that door since then."""
    seconds, micros = redis.time()
    came_ms = int((seconds - age_s) * 1000) + micros // 1000
    redis.sadd("coord:doors", door)
    redis.xadd(f"coord:ingress:{door}", {"body": "x"}, id=f"{came_ms}-0")


def test_a_fleet_that_takes_messages_is_ready(probe: Probe) -> None:
    probe.fleet.join("a")
    wait_in_ingress(probe.redis, "b", LONGEST_WAIT_S / 2)
    assert probe.ready() == (200, {"ready": True, "reasons": []})


def test_without_a_coordinator_it_is_not(probe: Probe) -> None:
    before = probe.ready()
    probe.fleet.run()
    assert before == (503, {"ready": False, "reasons": [NOT_ACTIVE]})
    assert probe.ready()[0] == 200


def test_with_a_message_that_waits_for_long_it_is_not(probe: Probe) -> None:
    probe.fleet.run()
    wait_in_ingress(probe.redis, "a", 60)
    status, body = probe.ready()
    assert (status, body["ready"]) == (503, False)
    assert body["reasons"] == [
        "a message has waited for 60 s, and 10 s is the most: the coordinator is behind"
    ]


def test_all_reasons_are_named(probe: Probe) -> None:
    wait_in_ingress(probe.redis, "a", 60)
    assert len(probe.ready()[1]["reasons"]) == 2


def test_while_the_server_is_away_the_process_is_healthy_and_the_fleet_not_ready(
    probe: Probe,
) -> None:
    probe.fleet.run()
    probe.server.connected = False
    away, health = probe.ready(), probe.client.get("/healthz")
    probe.server.connected = True
    reason = "the Redis server does not answer as it should (ConnectionError)"
    assert away == (503, {"ready": False, "reasons": [reason]})
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert probe.ready()[0] == 200


def test_who_asks_within_a_second_shares_what_was_read(probe: Probe) -> None:
    before = probe.ready()
    probe.fleet.run()
    assert probe.client.get("/readyz").json() == before[1]


# -- how far the coordinator is behind -------------------------------------------------------------


def test_the_oldest_of_all_that_waits_counts(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    doors = STREAMS_AT_ONCE * 2 + 1
    for n in range(doors):
        wait_in_ingress(redis, f"AI_{n}", 20 + (n * 37) % doors)
    redis.sadd(fleet.keys.doors, "AI_that_has_sent_all")
    found = read_lag(redis, fleet.keys)
    assert found.entries == doors
    oldest_ms = (20 + doors - 1) * 1000
    assert oldest_ms <= found.oldest_age_ms < oldest_ms + 20_000


def test_nothing_waits(redis: Redis) -> None:
    assert read_lag(redis, FleetUnderTest(redis).keys) == Lag(0, 0)


def test_what_is_no_ingress_is_passed_over(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    redis.sadd(fleet.keys.doors, "a", b"\xff\xfe")
    redis.set(fleet.keys.ingress("a"), "what is this?")
    wait_in_ingress(redis, "b", 20)
    assert read_lag(redis, fleet.keys).entries == 1
