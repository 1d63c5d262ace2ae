"""What somebody with access to the server may do to the fleet's keys, and what comes of it."""

from __future__ import annotations

import json
import logging
from threading import Event

import pytest
from redis import Redis

from coordinator.lineage_reads import read_lineage
from coordinator.reads import read_record
from tests.fleet import FleetUnderTest, python

POISON = "9" * 19 + "-0"


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    fleet = FleetUnderTest(redis)
    fleet.join("a", "b", specialization="audio")
    return fleet


def assert_works(fleet: FleetUnderTest) -> None:
    fleet.say("a", "pattern_share", {"pattern": {"id": "after"}})
    fleet.run()
    assert fleet.coordinator.active
    assert fleet.redis.exists("coord:pattern:after")


@pytest.mark.parametrize("message_type", ["dead_drop", "dead_retry", "retract"])
def test_a_stranger_makes_nobody_read(fleet: FleetUnderTest, message_type: str) -> None:
    fleet.say("stranger", message_type, {"id": POISON})
    fleet.run()
    assert fleet.error("stranger")["code"] == "forbidden"
    assert_works(fleet)


@pytest.mark.parametrize("letter_id", [POISON, "9" * 20 + "-0"])
def test_a_letter_that_cannot_be(fleet: FleetUnderTest, letter_id: str) -> None:
    fleet.say("operator", "dead_drop", {"id": letter_id})
    fleet.run()
    assert fleet.error("operator")["code"] in ("not_found", "bad_payload")
    assert_works(fleet)


def test_a_door_behind_which_there_is_no_stream(real_redis: Redis) -> None:
    """fakeredis does not say WRONGTYPE here."""
    fleet = FleetUnderTest(real_redis)
    fleet.join("a", "b")
    fleet.redis.set("coord:ingress:evil", "x")
    fleet.redis.sadd("coord:doors", "evil")
    for _ in range(3):
        fleet.coordinator.step()
    assert_works(fleet)
    assert fleet.redis.smembers("coord:doors") == {b"a", b"b"}


@pytest.mark.parametrize("key", ["coord:inbox:b", "coord:pattern:p", "coord:ai:b"])
def test_a_key_of_another_type(fleet: FleetUnderTest, key: str) -> None:
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}})
    fleet.run()
    fleet.redis.delete(key)
    fleet.redis.set(key, "x")
    fleet.replace_coordinator("coordinator-2")
    fleet.join("c")
    fleet.run()
    assert_works(fleet)
    assert "c" in fleet.live()


@pytest.mark.parametrize("junk", ["junk", "-1", "1.5"])
def test_a_number_that_is_none(fleet: FleetUnderTest, junk: str) -> None:
    fleet.redis.set("coord:instance:a/a.7", junk)
    fleet.say("a", "heartbeat", instance="a.7")
    fleet.run()
    assert fleet.error("a")["code"] == "superseded"
    assert_works(fleet)


def test_records_of_ais_that_cannot_be_read(
    fleet: FleetUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.redis.zadd("coord:leases", {b"\xff\xfe": 1})
    fleet.redis.hset("coord:member:b", "profile", "[]")
    fleet.replace_coordinator("coordinator-2")
    assert fleet.live() == ["a"]
    assert "must say hello again" in caplog.text
    assert_works(fleet)


def test_a_log_that_is_gone_goes_on_counting(fleet: FleetUnderTest) -> None:
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}})
    fleet.run()
    last = fleet.coordinator._fleet.log.n
    fleet.redis.delete("coord:log", "coord:events")
    fleet.replace_coordinator("coordinator-2")
    assert_works(fleet)
    assert fleet.coordinator._fleet.log.n == last + 1


def test_a_fleet_record_that_is_gone_is_written_again(fleet: FleetUnderTest) -> None:
    before = fleet.redis.hgetall("coord:fleet")
    fleet.redis.delete("coord:fleet")
    fleet.clock.advance(2)
    fleet.run()
    assert fleet.redis.hgetall("coord:fleet") == before


def test_a_registry_record_that_is_gone_comes_with_the_next_heartbeat(
    fleet: FleetUnderTest,
) -> None:
    before = fleet.redis.hgetall("coord:ai:a")
    fleet.redis.delete("coord:ai:a")
    fleet.say("a", "heartbeat")
    fleet.run()
    assert fleet.redis.hgetall("coord:ai:a") == before


@pytest.mark.parametrize("message_type", ["goodbye", "pattern_share", "hello"])
@pytest.mark.parametrize("number", ["9" * 215 + "e99", "1e999", "9" * 400 + ".5"])
def test_an_infinite_number_changes_nothing(
    fleet: FleetUnderTest, message_type: str, number: str
) -> None:
    envelope = {"message_id": "m", "sender_id": "a", "message_type": message_type}
    envelope |= {"timestamp": "2025-01-01", "payload": {"pattern": {"id": "x"}, "x": "?"}}
    fleet.write("a", json.dumps(envelope).replace('"?"', number), instance="a.1", n=50)
    fleet.run()
    assert fleet.error("a")["code"] == "not_json"
    assert fleet.live() == ["a", "b"]
    assert fleet.redis.xlen("coord:dead") == 0


@pytest.mark.parametrize("message_type", ["goodbye", "hello"])
def test_who_comes_and_goes_concerns_everybody(fleet: FleetUnderTest, message_type: str) -> None:
    payload = {"specialization": "graphics"} if message_type == "hello" else {}
    fleet.say("a", message_type, payload, "b")
    fleet.run()
    assert fleet.log()[-1]["message_type"] == message_type


def test_queries_of_one_wait_in_line(fleet: FleetUnderTest) -> None:
    for _ in range(300):
        fleet.say("a", "query", {"what": "counts"})
    fleet.say("b", "query", {"what": "counts"})
    fleet.clock.advance(1)
    fleet.run()
    assert_works(fleet)


def test_the_loop_survives_what_nobody_foresaw(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop = Event()

    def failing(*_: object) -> int:
        monkeypatch.undo()
        monkeypatch.setattr(stop, "wait", lambda _: stop.set())
        raise KeyError("a fault of ours")

    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(fleet.coordinator, "step", failing)
    fleet.coordinator.run(stop)
    assert "not active: KeyError: 'a fault of ours' (test_meddling.py" in caplog.text


SPOILED = {
    "validation": ["junk", "[]", '{"verdict": 1}', '{"verdict": "x", "score": NaN}', "[" * 99_999],
    "validating": ["junk", "{}", '{"hash": "x", "attempt": 1, "queued_ms": 9e99}', "[" * 99_999],
    "quality_score": ["junk", "nan", "1e999"],
    "record": ["junk", "[]", "{}", "[" * 99_999],
    "revision": ["junk"],
}


@pytest.mark.parametrize(
    ("field", "junk"), [(field, junk) for field, spoiled in SPOILED.items() for junk in spoiled]
)
def test_a_field_of_a_record_that_cannot_be_read(
    fleet: FleetUnderTest, field: str, junk: str
) -> None:
    """What was found of it is unknown; without the record itself it is left out."""
    for name in ("c", "whole"):
        fleet.say("a", "code_share", {"code": python(name)})
    fleet.run()
    fleet.redis.hset("coord:component:c", field, junk)
    fleet.replace_coordinator("coordinator-2")
    fleet.join("c")
    shown = fleet.sync("c")["global_knowledge_base"]["shared_components"]
    assert set(shown) == ({"whole"} if field == "record" else {"c", "whole"})
    assert all(item["quality_score"] is None for item in shown.values())
    (item, *_) = [*read_record(fleet.redis, fleet.keys, "component", "c").items, None]
    verdict = item and item["validation"]
    assert verdict is None or verdict["verdict"] == "waiting"
    nodes = read_lineage(fleet.redis, fleet.keys, "c", depth=1, limit=2).nodes
    assert [node["quality_score"] for node in nodes.values()] == [None]
    assert (("component", "c") in fleet.coordinator._fleet.waiting) == (field != "validating")
    assert_works(fleet)


# -- sessions, units and jobs ----------------------------------------------------------------------

PLAN = [{"name": "u", "kind": "k", "participant": 1}]


@pytest.fixture
def working(redis: Redis) -> FleetUnderTest:
    """Two sessions, each with a unit that ``b`` has."""
    fleet = FleetUnderTest(redis, lease_s=3600)
    fleet.join("a", "b", skills=["k"])
    for _ in range(2):
        fleet.collaborate("a", "b", plan=PLAN)
    return fleet


@pytest.mark.parametrize("harm", ["deleted", "retyped", "junk", "of another", "a surrogate"])
@pytest.mark.parametrize("kind", ["session", "unit"])
def test_a_session_whose_records_somebody_harmed_is_given_up(
    working: FleetUnderTest, kind: str, harm: str
) -> None:
    harmed, other = working.coordinator._fleet.sessions
    key, unread = {
        "session": (f"coord:session:{harmed}", f"coord:session:{other}"),
        "unit": (f"coord:unit:{harmed}-1", f"coord:unit:{other}-1"),
    }[kind]
    stored = json.dumps(json.loads(working.redis.hget(key, kind)) | {"kind": "\ud800"})  # type: ignore[arg-type]
    written = {"junk": "{}", "of another": working.redis.hget(unread, kind), "a surrogate": stored}
    working.redis.delete(key)
    if harm == "retyped":
        working.redis.set(key, "x")
    elif harm != "deleted":
        working.redis.hset(key, kind, written[harm])
    working.replace_coordinator("coordinator-2")
    assert list(working.coordinator._fleet.sessions) == [other]
    assert working.coordinator._fleet.assigned == {"b": 1}
    assert not working.redis.exists(f"coord:session:{harmed}", f"coord:unit:{harmed}-1")
    assert_works(working)
    working.report(f"{other}-1")
    assert working.session(other)["state"] == "completed"


@pytest.mark.parametrize("harm", ["deleted", "retyped"])
def test_a_list_of_sessions_that_somebody_harmed(working: FleetUnderTest, harm: str) -> None:
    working.redis.delete("coord:sessions")
    if harm == "retyped":
        working.redis.set("coord:sessions", "x")
    working.replace_coordinator("coordinator-2")
    working.pass_time(2)
    working.ask("a")
    assert_works(working)


@pytest.mark.parametrize("key", ["coord:session:{s}", "coord:unit:{s}-1", "rq:queue:coord.ai.b"])
def test_a_key_that_is_retyped_while_it_is_used(real_redis: Redis, key: str) -> None:
    """What is then committed is torn; the coordinator reads afresh and goes on."""
    fleet = FleetUnderTest(real_redis, lease_s=3600)
    fleet.join("a", "b", skills=["k"])
    s = fleet.collaborate("a", "b", plan=PLAN)
    fleet.redis.delete(key.format(s=s))
    fleet.redis.set(key.format(s=s), "x")
    fleet.say("operator", "cancel", {"session_id": s})
    fleet.run()
    fleet.pass_time(2)
    assert fleet.coordinator._fleet.sessions == {}
    assert_works(fleet)
