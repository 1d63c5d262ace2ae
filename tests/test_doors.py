"""The doors: who speaks behind which, what tells repeats, and where an AI is present."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from coordinator.dispatch import ROUTES
from coordinator.doors import Speaker, add_entry, gateway_door, is_gateway_door, owner_of
from coordinator.fleet import SEEN_KEPT, Fleet
from coordinator.keys import Keys
from tests.fleet import FleetUnderTest, changed, envelope

KEYS = Keys()
LEASE_S = 15


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    return FleetUnderTest(redis)


def pattern(pattern_id: str) -> dict[str, Any]:
    return {"pattern": {"id": pattern_id}}


@pytest.mark.parametrize(
    ("door", "ai", "owner"),
    [("a", "", "a"), ("a", "b", "a"), ("gw:g", "a", "a"), ("gw:g", "", "gateway")],
)
def test_who_speaks_behind_a_door(door: str, ai: str, owner: str) -> None:
    assert owner_of(door, ai) == owner
    assert is_gateway_door(door) is (door == gateway_door("g"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"n": 7}, {b"n": b"7"}),
        ({"ai": "b"}, {b"ai": b"b"}),
        ({"n": 7, "ai": "b"}, {b"n": b"7", b"ai": b"b"}),
    ],
)
def test_an_entry_as_it_is_written(
    redis: Redis, given: dict[str, Any], expected: dict[bytes, bytes]
) -> None:
    with redis.pipeline(transaction=False) as pipe:
        add_entry(pipe, KEYS, "a", b"body", "a.1", **given)
        pipe.execute()
    ((_, fields),) = redis.xrange("coord:ingress:a")  # type: ignore[misc]
    assert fields == {b"body": b"body", b"instance": b"a.1", **expected}
    assert redis.smembers("coord:doors") == {b"a"}


# -- who speaks ------------------------------------------------------------------------------------


def test_behind_a_gateway_an_ai_speaks_for_itself(fleet: FleetUnderTest) -> None:
    fleet.join("a", gateway="g1", specialization="audio")
    fleet.say("a", "pattern_share", pattern("p"), gateway="g1")
    fleet.run()
    assert fleet.ids_in("pattern") == ["p"]
    assert fleet.record("pattern", "p")["contributor"] == "a"
    assert fleet.redis.get("coord:instance:a/a.1") == b"2"
    assert fleet.redis.hget("coord:ai:a", "door") == b"gw:g1"
    assert fleet.redis.exists("coord:instance:gw:g1/a.1") == 0


@pytest.mark.parametrize("sender", ["b", "operator", "hub", "gateway"])
def test_behind_a_gateway_nobody_speaks_in_anothers_name(
    fleet: FleetUnderTest, sender: str
) -> None:
    fleet.join("a", gateway="g1")
    before = fleet.state()
    body = envelope("m", sender, "pattern_share", pattern("p"))
    fleet.write("gw:g1", body, instance="a.1", n=2, ai="a")
    fleet.run()
    error = fleet.error("a")
    assert (error["code"], error["in_reply_to"]) == ("foreign_sender", "m")
    assert changed(before, fleet.state()) == {
        "coord:events",
        "coord:inbox:a",
        "coord:instance:a/a.1",
        "coord:member:a",
    }


@pytest.mark.parametrize("ai", ["operator", "gateway", "hub", "a b", "x" * 65])
def test_a_guest_that_no_ai_can_be_is_refused(fleet: FleetUnderTest, ai: str) -> None:
    body = envelope("m", "operator", "retract", {"id": "p"})
    fleet.write("gw:g1", body, instance="i", n=1, ai=ai)
    fleet.run()
    assert fleet.error("gateway")["code"] == "bad_entry"
    assert fleet.redis.exists("coord:totals") == 0


def test_nobody_else_comes_in_by_the_gateways_name(fleet: FleetUnderTest) -> None:
    fleet.say("gateway", "gateway_heartbeat", {"address": "h:1", "ais": {}})
    fleet.run()
    assert fleet.error("gateway")["code"] == "foreign_sender"
    assert fleet.redis.exists("coord:gateways") == 0


def test_what_an_entry_says_of_an_ai_counts_at_a_gateways_door_alone(
    fleet: FleetUnderTest,
) -> None:
    fleet.join("a", "b")
    fleet.write("a", envelope("m", "b", "goodbye"), instance="b.1", n=2, ai="b")
    fleet.run()
    assert fleet.error("a")["code"] == "foreign_sender"
    assert fleet.live() == ["a", "b"]


# -- presence --------------------------------------------------------------------------------------


def test_the_same_instance_moves_by_a_hello(fleet: FleetUnderTest) -> None:
    fleet.join("a", gateway="g1")
    fleet.join("a", gateway="g2")
    assert fleet.redis.hget("coord:ai:a", "door") == b"gw:g2"
    fleet.say("a", "pattern_share", pattern("late"), gateway="g1")
    fleet.run()
    error = fleet.error("a")
    assert error["code"] == "superseded"
    assert error["detail"].startswith(
        "a is held by instance a.1, and this message came from a.1 by the door 'gw:g1'"
    )
    fleet.say("a", "pattern_share", pattern("p"), gateway="g2")
    fleet.run()
    assert fleet.ids_in("pattern") == ["p"]
    assert [message["message_type"] for message in fleet.log()] == ["hello", "pattern_share"]


def test_another_instance_by_a_gateway_is_refused(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    fleet.say("a", "hello", instance="a.2", gateway="g1")
    fleet.run()
    error = fleet.error("a")
    assert (error["code"], error["holder"]) == ("id_taken", "a.1")
    assert fleet.redis.hget("coord:ai:a", "door") == b"a"


def test_a_work_horse_comes_by_its_ais_own_door(fleet: FleetUnderTest) -> None:
    fleet.join("a", gateway="g1")
    fleet.say("a", "pattern_share", pattern("p"), instance="a.1/u/1")
    fleet.run()
    fleet.say("a", "pattern_share", pattern("q"), instance="a.1/u/1", gateway="g2")
    fleet.run()
    assert fleet.ids_in("pattern") == ["p"]
    assert fleet.error("a")["code"] == "superseded"


def test_a_reload_knows_the_door(fleet: FleetUnderTest) -> None:
    fleet.join("a", gateway="g1")
    fleet.replace_coordinator("coordinator-2")
    fleet.say("a", "pattern_share", pattern("p"), gateway="g1")
    fleet.run()
    assert fleet.ids_in("pattern") == ["p"]


def test_nobody_expires_while_the_gateways_door_is_not_read_to_its_end(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, batch_max_messages=1)
    fleet.join("a", gateway="g1")
    fleet.pass_time(LEASE_S / 2 - 1)
    fleet.pass_time(LEASE_S / 2 - 1)
    fleet.clock.advance(3)
    for n in range(3):
        fleet.say("a", "pattern_share", pattern(f"p{n}"), gateway="g1")
    fleet.say("a", "heartbeat", gateway="g1")
    fleet.run()
    assert fleet.live() == ["a"]
    for _ in range(3):
        fleet.pass_time(LEASE_S / 2 - 1)
    assert fleet.live() == []
    assert fleet.ids_in("pattern") == ["p0", "p1", "p2"]


def test_the_door_of_a_gateway_stays_open_for_who_came_by_it(fleet: FleetUnderTest) -> None:
    fleet.join("a", gateway="g1", specialization="audio")
    fleet.join("b", specialization="audio")
    for _ in range(4):
        fleet.say("a", "heartbeat", gateway="g1")
        fleet.say("b", "heartbeat")
        fleet.pass_time(LEASE_S / 2)
    assert fleet.redis.smembers("coord:doors") == {b"b", b"gw:g1"}
    fleet.say("a", "goodbye", gateway="g1")
    fleet.run()
    for _ in range(4):
        fleet.say("b", "heartbeat")
        fleet.pass_time(LEASE_S / 2)
    assert fleet.redis.smembers("coord:doors") == {b"b"}


# -- repeats by message_id -------------------------------------------------------------------------


def guest(fleet: FleetUnderTest, message_id: str, message_type: str, **given: Any) -> None:
    """A message of a, which does not number them."""
    gateway = given.pop("gateway", "g1")
    fleet.say("a", message_type, given, message_id=message_id, gateway=gateway, is_numbered=False)
    fleet.run()


def test_a_message_that_is_sent_again_has_no_effect(fleet: FleetUnderTest) -> None:
    guest(fleet, "1", "hello")
    guest(fleet, "2", "pattern_share", **pattern("p"))
    before = fleet.state()
    guest(fleet, "2", "pattern_share", **pattern("p"))
    guest(fleet, "2", "pattern_share", **pattern("another"))
    assert changed(before, fleet.state()) == set()
    assert fleet.state()["coord:seen:a/a.1"] == (["2"], "expires")
    assert fleet.redis.exists("coord:instance:a/a.1") == 0


def test_a_repeat_in_the_same_batch(fleet: FleetUnderTest) -> None:
    guest(fleet, "1", "hello")
    for _ in range(3):
        fleet.say(
            "a", "pattern_share", pattern("p"), message_id="2", gateway="g1", is_numbered=False
        )
    fleet.run()
    assert fleet.record("pattern", "p")["revision"] == "1"
    assert fleet.state()["coord:seen:a/a.1"] == (["2"], "expires")


def test_a_repeat_by_another_gateway_and_to_another_coordinator(fleet: FleetUnderTest) -> None:
    guest(fleet, "1", "hello")
    guest(fleet, "2", "pattern_share", **pattern("p"))
    fleet.replace_coordinator("coordinator-2")
    guest(fleet, "1", "hello", gateway="g2")
    guest(fleet, "2", "pattern_share", gateway="g2", **pattern("p"))
    assert fleet.record("pattern", "p")["revision"] == "1"
    guest(fleet, "3", "pattern_share", gateway="g2", **pattern("p"))
    assert fleet.record("pattern", "p")["revision"] == "2"


def test_a_hello_is_answered_and_moves_as_often_as_it_comes(fleet: FleetUnderTest) -> None:
    guest(fleet, "1", "hello")
    guest(fleet, "1", "hello", gateway="g2")
    assert [m["message_type"] for m in fleet.inbox("a")] == ["training_sync"] * 2
    assert fleet.redis.hget("coord:ai:a", "door") == b"gw:g2"
    assert fleet.redis.exists("coord:seen:a/a.1") == 0


def test_what_came_too_early_is_sent_again_under_the_same_id(fleet: FleetUnderTest) -> None:
    guest(fleet, "2", "pattern_share", **pattern("p"))
    assert fleet.error("a")["code"] == "rejoin"
    guest(fleet, "3", "hello")
    guest(fleet, "2", "pattern_share", **pattern("p"))
    assert fleet.ids_in("pattern") == ["p"]


def test_what_was_refused_for_itself_is_refused_once(fleet: FleetUnderTest) -> None:
    guest(fleet, "1", "hello")
    guest(fleet, "2", "pattern_share", pattern={})
    guest(fleet, "2", "pattern_share", pattern={})
    assert [m["message_type"] for m in fleet.inbox("a")] == ["training_sync", "error"]


def test_the_last_thousand_are_remembered(fleet: FleetUnderTest) -> None:
    guest(fleet, "hello", "hello")
    for n in range(SEEN_KEPT + 1):
        fleet.say("a", "goodbye", message_id=f"m{n}", gateway="g2", is_numbered=False, instance="b")
        # refused as superseded: not remembered
    fleet.run()
    assert fleet.redis.exists("coord:seen:a/b") == 0
    for n in range(SEEN_KEPT + 1):
        fleet.say("a", "retract", {"id": "p"}, message_id=f"m{n}", gateway="g1", is_numbered=False)
    fleet.run()
    last = [f"m{n}" for n in range(1, SEEN_KEPT + 1)]
    assert fleet.state()["coord:seen:a/a.1"] == (last, "expires")


def test_two_instances_have_message_ids_of_their_own(fleet: FleetUnderTest) -> None:
    guest(fleet, "1", "hello")
    guest(fleet, "2", "goodbye")
    for message_id, message_type in (("1", "hello"), ("2", "pattern_share")):
        payload = pattern("p") if message_type == "pattern_share" else {}
        fleet.say(
            "a",
            message_type,
            payload,
            message_id=message_id,
            instance="a.2",
            gateway="g1",
            is_numbered=False,
        )
    fleet.run()
    assert fleet.ids_in("pattern") == ["p"]


@pytest.mark.parametrize("door", ["a", "operator", "gw:g1"])
def test_without_a_number_comes_nobody_else(fleet: FleetUnderTest, door: str) -> None:
    sender = "gateway" if door == "gw:g1" else door
    fleet.write(door, envelope("m", sender, "query", {"what": "counts"}), instance="i")
    fleet.run()
    assert fleet.error(sender)["code"] == "bad_entry"


def test_what_is_no_list_of_message_ids_is_removed(fleet: FleetUnderTest) -> None:
    fleet.redis.set("coord:seen:a/a.1", "nonsense")
    guest(fleet, "1", "hello")
    guest(fleet, "2", "pattern_share", **pattern("p"))
    assert fleet.state()["coord:seen:a/a.1"] == (["2"], "expires")
    assert fleet.ids_in("pattern") == ["p"]


def test_a_dead_letter_of_a_guest_is_tried_again_in_its_name(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest(fleet, "1", "hello")
    with monkeypatch.context() as broken:
        broken.setattr("coordinator.dispatch.ROUTES", _broken_routes())
        guest(fleet, "2", "pattern_share", **pattern("p"))
    ((letter_id, letter),) = fleet.stream("coord:dead")
    assert (letter["door"], letter["owner"], letter["n"]) == ("gw:g1", "a", "0")
    guest(fleet, "2", "pattern_share", **pattern("p"))
    assert fleet.ids_in("pattern") == []
    fleet.order("dead_retry", id=letter_id)
    assert fleet.ids_in("pattern") == ["p"]
    assert fleet.redis.xlen("coord:dead") == 0


def _broken_routes() -> dict[str, Any]:
    def broken(*_: object) -> list[Any]:
        raise ZeroDivisionError("a bug of ours")

    return {**ROUTES, "pattern_share": ROUTES["pattern_share"]._replace(handle=broken)}


DOINGS = st.one_of(
    st.tuples(
        st.sampled_from(["hello", "share"]), st.sampled_from(["g1", "g2"]), st.integers(0, 4)
    ),
    st.tuples(st.sampled_from(["run", "crash"])),
)


@given(doings=st.lists(DOINGS, max_size=30))
@settings(deadline=None, max_examples=100)
def test_however_often_a_message_comes_it_counts_once(doings: list[tuple[Any, ...]]) -> None:
    """By whichever gateways, in whatever order, with a coordinator that is replaced meanwhile."""
    fleet = FleetUnderTest(fakeredis.FakeRedis(server=fakeredis.FakeServer()))

    def send(kind: str, gateway: str, number: int) -> None:
        message_type, payload = "hello", {}
        if kind == "share":
            message_type, payload = "pattern_share", pattern(f"p{number}")
        message_id = f"{kind}{number}"
        fleet.say(
            "a", message_type, payload, message_id=message_id, gateway=gateway, is_numbered=False
        )

    for doing in doings:
        match doing:
            case ("run",):
                fleet.run()
            case ("crash",):
                fleet.replace_coordinator("another")
            case _:
                send(*doing)
    fleet.run()
    guest(fleet, "last", "hello")
    for number in range(5):
        send("share", "g1", number)
    fleet.run()
    shared = [fleet.record("pattern", f"p{number}")["revision"] for number in range(5)]
    assert shared == ["1"] * 5
    assert [m["message_type"] for m in fleet.log()].count("pattern_share") == 5


# -- what a gateway says ---------------------------------------------------------------------------


def beat(fleet: FleetUnderTest, gateway: str, **ais: str) -> None:
    fleet.gateway_says(gateway, "gateway_heartbeat", {"address": "127.0.0.1:6000", "ais": ais})
    fleet.run()


def test_a_gateways_heartbeat_is_that_of_who_came_by_it(fleet: FleetUnderTest) -> None:
    for ai, gateway in (("a", "g1"), ("b", "g2"), ("c", "g1"), ("d", "")):
        fleet.join(ai, gateway=gateway)
    fleet.pass_time(LEASE_S / 2 - 1)
    fleet.pass_time(LEASE_S / 2 - 1)
    beat(fleet, "g1", a="a.1", b="b.1", c="c.2", d="d.1", nobody="n.1")
    fleet.pass_time(3)
    assert fleet.live() == ["a"]
    assert fleet.state()["coord:ai:a"][1] == "expires"


def test_a_gateway_is_noted(fleet: FleetUnderTest) -> None:
    beat(fleet, "g1")
    beat(fleet, "g2")
    began_ms = fleet.clock.wall_ms
    state = fleet.state()
    assert state["coord:gateways"] == ({"g1": began_ms, "g2": began_ms}, "stays")
    assert state["coord:gateway:g1"] == (
        {"address": "127.0.0.1:6000", "tls": "0", "connections": "0"},
        "expires",
    )
    fleet.clock.advance(3599)
    beat(fleet, "g2")
    fleet.clock.advance(2)
    beat(fleet, "g2")
    assert fleet.state()["coord:gateways"] == ({"g2": began_ms + 3_601_000}, "stays")


def test_a_login_that_a_gateway_refused_is_told(fleet: FleetUnderTest) -> None:
    told = {"address": "10.0.0.9", "reason": "wrong token", "count": 7}
    fleet.gateway_says("g1", "login_refused", {"ai_id": "a", **told})
    fleet.gateway_says("g1", "login_refused", {"ai_id": "evil\nINFO x", **told})
    fleet.run()
    assert fleet.events() == [
        {
            "kind": "login_refused",
            "ai": "a",
            "text": "refused 7 logins as 'a' from 10.0.0.9: wrong token",
            "data": {"ai_id": "a", **told, "door": "gw:g1"},
        },
        {
            "kind": "login_refused",
            "ai": "gateway",
            "text": "refused 7 logins as 'evil\\\\nINFO x' from 10.0.0.9: wrong token",
            "data": {"ai_id": "evil\nINFO x", **told, "door": "gw:g1"},
        },
    ]


@pytest.mark.parametrize("message_type", ["gateway_heartbeat", "login_refused"])
@pytest.mark.parametrize("sender", ["a", "operator"])
def test_what_gateways_say_nobody_else_may(
    fleet: FleetUnderTest, sender: str, message_type: str
) -> None:
    fleet.join("a")
    fleet.say(sender, message_type, {"address": "x", "ais": {}})
    fleet.run()
    error = fleet.error(sender)
    assert (error["code"], error["field"]) == ("forbidden", "message_type")
    assert "is a gateway's alone" in error["detail"]


@pytest.mark.parametrize("message_type", ["hello", "pattern_share", "retract", "enroll", "query"])
def test_a_gateway_says_nothing_else(fleet: FleetUnderTest, message_type: str) -> None:
    fleet.gateway_says("g1", message_type)
    fleet.run()
    error = fleet.error("gateway")
    assert (error["code"], error["field"]) == ("forbidden", "message_type")
    assert fleet.redis.xrange("coord:inbox:gateway")[-1][1][b"instance"] == b"g1"  # type: ignore[index]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.fleet.MAX_SEEN", 5)
    monkeypatch.setattr("coordinator.fleet.MAX_INSTANCES", 3)
    fleet = Fleet()
    for owner in ("a", "b", "c"):
        for message_id in ("1", "2"):
            fleet.see(Speaker(owner, "i"), message_id)
    fleet.see(Speaker("a", "i"), "3")
    fleet.forget_surplus()
    assert {speaker.owner: list(seen) for speaker, seen in fleet.seen.items()} == {
        "c": ["1", "2"],
        "a": ["1", "2", "3"],
    }
    for owner in ("d", "e"):
        fleet.seen[Speaker(owner, "i")] = {}
    fleet.forget_surplus()
    assert [speaker.owner for speaker in fleet.seen] == ["a", "d", "e"]
