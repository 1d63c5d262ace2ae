"""A reload gives what was in memory; another run of the server begins an epoch; readers resume."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from redis import Redis

from coordinator import work_state
from coordinator.epochs import MAX_EPOCHS, Begin, decode_begins, encode_begins, resume_after
from coordinator.keys import RecordKey
from tests.fleet import SLOW_LEASE_S, FleetUnderTest, python


@pytest.fixture
def fleet(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> FleetUnderTest:
    """A fleet with a past: joined, left, shared, judged, targeted, refused, retracted, asked."""
    fleet = FleetUnderTest(redis)
    fleet.join("a", "b", "c", specialization="audio", own={"x": [1]})
    fleet.clock.advance(1)
    fleet.say("a", "heartbeat", {"load": 0.5, "status": "busy"})
    for n in range(5):
        fleet.say("a", "pattern_share", {"pattern": {"id": f"p{n}", "text": "字"}})
        fleet.say("b", "code_share", {"code": {"id": f"c{n}"}}, "a")
    fleet.say("c", "goodbye")
    fleet.say("b", "pattern_share", {"pattern": {}})
    fleet.say("b", "hello", instance="b.2")
    fleet.say("operator", "retract", {"id": "p0"})
    fleet.run()
    fleet.say("a", "code_share", {"code": {"id": "late"}}, "c")
    fleet.run()
    fleet.enroll("v", role="validator")
    fleet.join("v", evaluators={"sound": "sound-1"})
    for component in ("judged", "waiting"):
        fleet.say("a", "code_share", {"code": python(component)})
    fleet.run()
    fleet.judge("v", "judged", verdict="passed", score=0.5, evaluator="sound-1")
    monkeypatch.setattr("coordinator.validation.watch.VERSION_STANDS_S", 0.0)
    fleet.pass_time(3)
    return fleet


def memory(fleet: FleetUnderTest) -> dict[str, Any]:
    """All that the coordinator holds of the fleet, but what a takeover sets anew."""
    held = fleet.coordinator._fleet
    ais = copy.deepcopy(held.ais)
    for ai in ais.values():
        ai.lease_ends_s = 0
    members = {who: copy.deepcopy(held.members[who]) for who in ("a", "b", "c", "v", "operator")}
    for member in members.values():
        member.checked_bytes = 0
    named = ("pattern:p0", "pattern:p1", "component:late")
    records = [RecordKey.from_name(name) for name in named]
    contributors = {record: held.contributors[record] for record in records}
    components = [RecordKey("component", name) for name in ("late", "judged", "waiting")]
    copied = {"ais": ais, "members": members, "contributors": contributors, "last_numbers": None}
    copied["origins"] = {record: held.origins[record] for record in records}
    copied["judged"] = {component: held.judged[component] for component in components}
    return {name: copy.copy(value) for name, value in vars(held).items()} | copied


def test_a_reload_gives_what_was_in_memory(fleet: FleetUnderTest) -> None:
    before, state = memory(fleet), fleet.state()
    assert list(before["waiting"]) == [("component", "waiting")]
    assert before["evaluators"] == {"sound": "sound-1"}
    fleet.replace_coordinator("coordinator-2")
    assert memory(fleet) == before
    assert fleet.state() == state


def test_a_reload_gives_every_live_ai_a_new_lease(fleet: FleetUnderTest) -> None:
    fleet.clock.advance(14)
    fleet.replace_coordinator("coordinator-2")
    ends = {ai.id: ai.lease_ends_s for ai in fleet.coordinator._fleet.ais.values()}
    assert ends == dict.fromkeys(("a", "b", "v"), fleet.clock.elapsed_s() + 15)


def test_an_ai_is_restored_although_its_registry_record_expired(fleet: FleetUnderTest) -> None:
    before = memory(fleet)
    fleet.redis.delete("coord:ai:a", "coord:ai:b", "coord:ai:v")
    fleet.replace_coordinator("coordinator-2")
    ais = fleet.coordinator._fleet.ais
    assert sorted(ais) == ["a", "b", "v"]
    assert ais["a"].profile == before["ais"]["a"].profile
    assert (ais["a"].status, ais["a"].load) == ("ready", 0.0)


def test_an_empty_server(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    assert fleet.coordinator.take_over()
    epoch = fleet.coordinator._fleet.epoch
    assert fleet.state() == {
        "coord:fleet": (
            {
                "schema": "1",
                "epoch": epoch,
                "epochs": f'[["{epoch}",0]]',
                "run_id": "run-1",
                "log_n": "0",
                "log_bytes": "0",
                "events_n": "0",
                "events_bytes": "0",
            },
            "stays",
        )
    }


def test_the_same_run_of_the_server_is_the_same_epoch(fleet: FleetUnderTest) -> None:
    before = fleet.redis.hgetall("coord:fleet")
    fleet.replace_coordinator("coordinator-2")
    assert fleet.redis.hgetall("coord:fleet") == before


def test_another_run_of_the_server_begins_an_epoch(fleet: FleetUnderTest) -> None:
    before = fleet.coordinator._fleet.epoch
    log_n, inbox_n = fleet.coordinator._fleet.log.n, fleet.coordinator._fleet.members["a"].n
    fleet.run_id = "run-2"
    fleet.replace_coordinator("coordinator-2")
    after = fleet.coordinator._fleet.epoch
    stored = fleet.state()["coord:fleet"][0]
    assert after != before
    beginning = {k: v for k, v in stored.items() if not k.endswith(("_n", "_bytes"))}
    assert beginning == {
        "schema": "1",
        "epoch": after,
        "epochs": f'[["{before}",0],["{after}",{log_n}]]',
        "run_id": "run-2",
    }
    fleet.say("b", "pattern_share", {"pattern": {"id": "q"}}, "a")
    fleet.run()
    assert fleet.coordinator._fleet.members["a"].begins == [
        Begin(before, 0),
        Begin(after, inbox_n),
    ]
    assert fleet.stream("coord:inbox:a")[-1][1]["epoch"] == after


def test_the_numbers_of_clients_outlive_a_reload(fleet: FleetUnderTest) -> None:
    fleet.replace_coordinator("coordinator-2")
    before = fleet.state()
    fleet.say("a", "pattern_share", {"pattern": {"id": "p0"}}, n=3)
    fleet.run()
    assert fleet.state() == before


# -- resuming --------------------------------------------------------------------------------------

A, B, C = Begin("A", 0), Begin("B", 50), Begin("C", 80)


@pytest.mark.parametrize(
    ("epoch", "n", "begins", "last_n", "resumed"),
    [
        ("A", 0, [A], 0, 0),
        ("A", 40, [A], 57, 40),
        ("A", 57, [A], 57, 57),
        ("A", 60, [A], 57, 57),
        ("A", 40, [A, B], 60, 40),
        ("A", 50, [A, B], 60, 50),
        ("A", 57, [A, B], 60, 50),
        ("A", 57, [A, B], 50, 50),
        ("B", 57, [A, B], 60, 57),
        ("A", 90, [A, B, C], 100, 50),
        ("B", 90, [A, B, C], 100, 80),
        ("B", 70, [A, B, C], 100, 70),
        ("C", 90, [A, B, C], 100, 90),
        ("A", 90, [A, C, Begin("D", 60)], 100, 60),
        ("lost", 57, [A, B], 60, 50),
        ("lost", 40, [A, B], 60, 40),
        ("lost", 90, [A, B, C], 100, 50),
        ("wiped", 57, [Begin("X", 0)], 10, 0),
        ("any", 7, [], 0, 0),
        ("any", 7, [], 9, 7),
    ],
    ids=str,
)
def test_where_a_reader_goes_on(
    epoch: str, n: int, begins: list[Begin], last_n: int, resumed: int
) -> None:
    assert resume_after(epoch, n, begins, last_n) == resumed


def test_a_server_that_was_wiped_and_started_again_hides_nothing() -> None:
    begins = [Begin("new.x", 0), Begin("new.y", 30)]  # the fleet of before, at 57, is gone
    assert resume_after("old.w", 57, begins, 40) == 0


@pytest.mark.parametrize("begins", [[], [A], [A, B, C]])
def test_epochs_come_out_as_they_went_in(begins: list[Begin]) -> None:
    assert decode_begins(encode_begins(begins).encode()) == begins


def test_the_history_of_epochs_is_bounded() -> None:
    begins = [Begin(f"e{n}", n) for n in range(200)]
    assert decode_begins(encode_begins(begins).encode()) == begins[-MAX_EPOCHS:]
    assert decode_begins(None) == []


# -- a load that takes its time ----------------------------------------------------------------


def test_a_fleet_whose_load_outlasts_the_leader_lease_is_taken_over(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = FleetUnderTest(redis, leader_lease_s=SLOW_LEASE_S, lease_s=3600)
    fleet.join("a", skills=["k"])
    s = fleet.collaborate("a", plan=[{"name": f"u{n}", "kind": "k"} for n in range(20)])
    fleet.redis.delete("coord:leader")
    fleet.coordinator = fleet.another("coordinator-2")
    parsed = work_state._parsed
    began_s = fleet.clock.elapsed_s()

    def slowly(parse: Any, stored: bytes | None) -> Any:
        fleet.clock.advance(SLOW_LEASE_S / 10)
        if fleet.clock.elapsed_s() - fleet.coordinator._lease._renewed_s > SLOW_LEASE_S:
            fleet.redis.delete("coord:leader")  # as the server does, whose clock is not ours
        return parsed(parse, stored)

    monkeypatch.setattr(work_state, "READ_AT_ONCE", 5)
    monkeypatch.setattr(work_state, "_parsed", slowly)
    assert fleet.coordinator.take_over()
    fleet.coordinator.step()
    loaded_s = fleet.clock.elapsed_s()
    assert loaded_s - began_s > 2 * SLOW_LEASE_S
    assert fleet.coordinator.active
    held = fleet.coordinator._fleet
    assert sorted(held.units) == sorted(f"{s}-{n}" for n in range(1, 21))
    assert held.ais["a"].lease_ends_s == loaded_s + 3600
    assert held.sessions[s].deadline_s == loaded_s + fleet.settings.session_max_s


def test_a_lease_that_was_lost_while_the_fleet_was_read_is_anothers(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = FleetUnderTest(redis)
    fleet.join("a", skills=["k"])
    fleet.collaborate("a", plan=[{"name": f"u{n}", "kind": "k"} for n in range(20)])
    fleet.redis.delete("coord:leader")
    late = fleet.another("coordinator-2")
    parsed = work_state._parsed

    def paused(parse: Any, stored: bytes | None) -> Any:
        fleet.redis.set("coord:leader", "coordinator-3/token")
        fleet.clock.advance(SLOW_LEASE_S * 2)
        return parsed(parse, stored)

    monkeypatch.setattr(work_state, "_parsed", paused)
    assert not late.take_over()
    assert not late.active
    assert "not active: another coordinator holds the lease" in caplog.text


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "1" * 5000])
def test_a_session_with_a_number_that_nobody_can_write_again_is_given_up(
    redis: Redis, number: str
) -> None:
    fleet = FleetUnderTest(redis)
    fleet.join("a", skills=["k"])
    plan = [{"name": "u", "kind": "k", "inputs": {"x": 123.5}}]
    bad, good = fleet.collaborate("a", plan=plan), fleet.collaborate("a", plan=plan)
    stored = fleet.redis.hget(f"coord:unit:{bad}-1", "unit").decode()
    fleet.redis.hset(f"coord:unit:{bad}-1", "unit", stored.replace("123.5", number))
    fleet.replace_coordinator("coordinator-2")
    assert fleet.coordinator._fleet.sessions.keys() == {good}
    assert fleet.coordinator._fleet.assigned == {"a": 1}
