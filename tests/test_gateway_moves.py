"""One id on several connections and gateways: who is replaced, who refused, who goes on."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Iterator

import pytest

from coordinator.gateway import guest, introduction
from coordinator.gateway.settings import GatewaySettings
from tests.clients import RealFleet, RunningGateway
from tests.gateway_clients import Json, OldClient, enroll, order, pattern, wait_until_gone
from tests.servers import wait_for

pytestmark = pytest.mark.one_server

LEASE_S = 1.5

SO_ATTACH_FILTER = 26


@pytest.fixture
def fleet(real_url: str) -> Iterator[RealFleet]:
    with RealFleet(real_url, lease_s=LEASE_S) as fleet:
        yield fleet


@pytest.fixture
def gateway(fleet: RealFleet) -> Iterator[RunningGateway]:
    with RunningGateway(fleet) as gateway:
        yield gateway


@pytest.fixture
def other(fleet: RealFleet) -> Iterator[RunningGateway]:
    with RunningGateway(fleet) as gateway:
        yield gateway


@pytest.fixture
def speaker(gateway: RunningGateway) -> Iterator[OldClient]:
    """Somebody to listen to."""
    with OldClient(gateway.address, "Speaker", enroll(gateway.fleet, "Speaker")) as client:
        client.hello()
        yield client


def vanish(client: OldClient) -> None:
    """From now on nothing that is sent to the client arrives: its host is gone, as far as anybody
    can see. (A filter on its socket drops whatever comes.)"""

    class Instruction(ctypes.Structure):
        _fields_ = (
            ("code", ctypes.c_ushort),
            ("jump_true", ctypes.c_ubyte),
            ("jump_false", ctypes.c_ubyte),
            ("k", ctypes.c_uint),
        )

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction)))

    take_nothing = Instruction(0x06, 0, 0, 0)
    program = Program(1, ctypes.pointer(take_nothing))
    client.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(program))


def shared(client: OldClient) -> list[str]:
    """The ids of the patterns that came, up to the one that is called ``last``."""
    came: list[str] = []
    while not came or came[-1] != "last":
        came.append(client.receive("pattern_share").payload["pattern"]["id"])
    return came


def test_a_second_connection_under_a_live_id_is_refused(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "PROBED_S", 0.5)
    token = enroll(gateway.fleet, "AI_1")
    with OldClient(gateway.address, "AI_1", token) as first:
        first.hello()
        with OldClient(gateway.address, "AI_1", token) as second:
            second.log_in()
            refused = second.receive("error")
            assert refused.payload["code"] == "id_taken"
            assert "answers" in refused.payload["detail"]
            assert second.is_over()
        first.send("query", {"what": "counts"})
        assert first.receive("query_result").payload["what"] == "counts"


def test_one_whose_peer_has_vanished_is_replaced(gateway: RunningGateway) -> None:
    token = enroll(gateway.fleet, "AI_1")
    with (
        OldClient(gateway.address, "AI_1", token) as first,
        OldClient(gateway.address, "AI_1", token) as second,
    ):
        first.hello()
        vanish(first)
        assert second.hello("audio")["active_ais"] == ["AI_1"]


def test_a_vanished_peer_is_found_without_being_asked_for(fleet: RealFleet) -> None:
    with (
        RunningGateway(fleet, keepalive_s=1, slow_reader_s=1) as gateway,
        OldClient(gateway.address, "AI_1", enroll(fleet, "AI_1")) as client,
    ):
        client.hello()
        vanish(client)
        wait_until_gone(fleet, "AI_1")


def test_one_that_keeps_its_instance_takes_its_place_at_once(
    gateway: RunningGateway, speaker: OldClient
) -> None:
    token = enroll(gateway.fleet, "AI_1")
    with (
        OldClient(gateway.address, "AI_1", token, instance="i-1") as first,
        OldClient(gateway.address, "AI_1", token, instance="i-1") as second,
    ):
        first.hello()
        second.hello()
        assert first.error() == "id_taken"
        assert first.is_over()
        assert speaker.receive("hello").sender_id == "AI_1"
        second.send("pattern_share", pattern("p1"))
        assert speaker.next().message_type == "pattern_share"  # nobody said goodbye, or hello


def test_one_that_keeps_its_instance_may_be_away_for_a_moment(
    gateway: RunningGateway, speaker: OldClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "AWAY_S", 0.7)
    token = enroll(gateway.fleet, "AI_1")
    with OldClient(gateway.address, "AI_1", token, instance="i-1") as first:
        first.hello()
    with OldClient(gateway.address, "AI_1", token, instance="i-1") as second:
        second.hello()
        assert speaker.receive("hello").sender_id == "AI_1"
        second.send("pattern_share", pattern("p1"))
        assert speaker.next().message_type == "pattern_share"
    assert speaker.next().message_type == "goodbye"


def test_a_client_goes_on_at_another_gateway(
    gateway: RunningGateway, other: RunningGateway, speaker: OldClient
) -> None:
    token = enroll(gateway.fleet, "AI_1")
    told: Json = {"ack": True, "instance": "i-1"}
    with OldClient(gateway.address, "AI_1", token, **told) as client:
        client.socket.sendall(client._first + client.line("hello", {}))
        joined = [client.read(), client.read()]
        speaker.send("pattern_share", pattern("p1"))
        line = client.read()
    assert [set(told or {}) >= {"ok"} for told in joined] == [True, False]
    assert line is not None
    speaker.send("pattern_share", pattern("p2"))
    speaker.send("pattern_share", pattern("p3"), "AI_1")
    with OldClient(other.address, "AI_1", token, **told, since=line["offset"]) as client:
        client.socket.sendall(client._first + client.line("hello", {}, message_id="again"))
        accepted = client.read()
        assert accepted is not None
        assert accepted["ok"] is True
        came = [client.read() for _ in range(3)]
        speaker.send("pattern_share", pattern("p4"))
        came.append(client.read())
        messages = [message for message in came if message is not None]
        patterns = [m["payload"]["pattern"]["id"] for m in messages if "pattern" in m["payload"]]
        assert sorted(patterns) == ["p2", "p3", "p4"]
        assert {m["message_type"] for m in messages} == {"pattern_share", "training_sync"}
        offsets = [(m["offset"]["log"], m["offset"]["inbox"]) for m in messages]
        assert offsets == sorted(offsets)
        assert gateway.fleet.redis.hget(gateway.fleet.keys.ai("AI_1"), "instance") == b"i-1"
    types = [speaker.next().message_type for _ in range(1)]
    assert types == ["hello"]


def test_one_that_keeps_its_instance_moves_while_it_is_still_connected(
    gateway: RunningGateway, other: RunningGateway, speaker: OldClient
) -> None:
    token = enroll(gateway.fleet, "AI_1")
    with (
        OldClient(gateway.address, "AI_1", token, instance="i-1") as first,
        OldClient(other.address, "AI_1", token, instance="i-1") as second,
    ):
        first.hello()
        second.hello()
        assert first.error() == "id_taken"
        assert first.is_over()
        second.send("pattern_share", pattern("p1"))
        assert speaker.receive("hello").sender_id == "AI_1"
        assert speaker.next().message_type == "pattern_share"


def test_a_repeat_by_another_gateway_has_no_effect(
    gateway: RunningGateway, other: RunningGateway, speaker: OldClient
) -> None:
    token = enroll(gateway.fleet, "AI_1")
    for place in (gateway, other):
        with OldClient(place.address, "AI_1", token, instance="i-1") as client:
            client.hello()
            client.send("pattern_share", pattern("p1"), message_id="the-same")
            client.send("pattern_share", pattern("last"), message_id=place.gateway.id)
            client.send("query", {"what": "counts"}, message_id="q" + place.gateway.id)
            client.receive("query_result")
    assert [shared(speaker), shared(speaker)] == [["p1", "last"], ["last"]]


def test_an_id_that_is_held_at_another_gateway_is_refused(
    gateway: RunningGateway, other: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introduction, "TAKEN_WAIT_S", 0.5)
    token = enroll(gateway.fleet, "AI_1")
    with (
        OldClient(gateway.address, "AI_1", token) as first,
        OldClient(other.address, "AI_1", token) as second,
    ):
        first.hello()
        second.socket.sendall(second._first + second.line("hello", {}, message_id="h"))
        refused = second.receive("error")
        assert (refused.payload["code"], refused.payload["in_reply_to"]) == ("id_taken", "h")
        assert second.is_over()
        first.send("query", {"what": "counts"})
        assert first.next().message_type == "query_result"  # the refusal was not for this one


def test_a_vanished_peer_is_replaced_at_another_gateway(
    gateway: RunningGateway, other: RunningGateway
) -> None:
    token = enroll(gateway.fleet, "AI_1")
    with (
        OldClient(gateway.address, "AI_1", token) as first,
        OldClient(other.address, "AI_1", token) as second,
    ):
        first.hello()
        vanish(first)
        assert second.hello("audio")["active_ais"] == ["AI_1"]


def test_one_that_vanished_comes_back_by_another_gateway_where_it_was(
    gateway: RunningGateway, other: RunningGateway, speaker: OldClient
) -> None:
    """That the id was held at first is over, and not told with what it has missed."""
    token = enroll(gateway.fleet, "AI_1")
    with OldClient(gateway.address, "AI_1", token, ack=True, instance="i-1") as first:
        first.socket.sendall(first._first + first.line("hello", {}))
        joined = [first.read() for _ in range(2)][1]
        assert joined is not None
        vanish(first)
        speaker.send("pattern_share", pattern("p1"))
        told: Json = {"ack": True, "instance": "i-2", "since": joined["offset"]}
        with OldClient(other.address, "AI_1", token, **told) as second:
            second.socket.sendall(second._first + second.line("hello", {}, message_id="h"))
            speaker.send("pattern_share", pattern("p2"), "AI_1")
            came = [message for message in (second.read() for _ in range(4)) if message]
    assert came[0]["ok"]
    types = [message["message_type"] for message in came[1:]]
    assert sorted(types) == ["pattern_share", "pattern_share", "training_sync"]


def test_an_open_connection_is_a_heartbeat(gateway: RunningGateway, speaker: OldClient) -> None:
    with OldClient(gateway.address, "AI_1", enroll(gateway.fleet, "AI_1")) as client:
        client.hello()
        fleet = gateway.fleet
        key = fleet.keys.ai("AI_1")
        first = int(fleet.redis.hget(key, "heartbeat_ms"))  # type: ignore[arg-type]
        wait_for(
            lambda: int(fleet.redis.hget(key, "heartbeat_ms") or 0) - first > LEASE_S * 1200,
            what="the lease to be extended beyond its first end",
        )
        speaker.send("pattern_share", pattern("p1"))
        assert client.next().message_type == "pattern_share"


def test_whom_the_fleet_has_forgotten_says_hello_again(
    gateway: RunningGateway, speaker: OldClient
) -> None:
    """What it said meanwhile is sent again."""
    with OldClient(gateway.address, "AI_1", enroll(gateway.fleet, "AI_1")) as client:
        client.hello()
        gateway.fleet.stop_coordinator()
        gateway.fleet.redis.delete(gateway.fleet.keys.ai("AI_1"))
        gateway.fleet.redis.zrem(gateway.fleet.keys.leases, "AI_1")
        gateway.fleet.start_coordinator()
        client.send("pattern_share", pattern("p1"))
        client.send("pattern_share", pattern("last"))
        assert shared(speaker) == ["p1", "last"]
        speaker.send("pattern_share", pattern("p2"))
        assert client.next().payload == pattern("p2")
        assert gateway.metrics.rejoins >= 1


def test_the_end_of_a_gateway_lets_clients_come_back(
    fleet: RealFleet, other: RunningGateway
) -> None:
    token = enroll(fleet, "Old", "Named")
    with RunningGateway(fleet) as ending:
        old = OldClient(ending.address, "Old", token)
        named = OldClient(ending.address, "Named", token, instance="i-1")
        old.hello()
        named.hello()
    assert [old.error(), named.error()] == ["shutting_down", "shutting_down"]
    with (
        OldClient(other.address, "Old", token) as old_again,
        OldClient(other.address, "Named", token, instance="i-1") as named_again,
    ):
        assert set(named_again.hello()["active_ais"]) == {"Named"}
        assert set(old_again.hello()["active_ais"]) == {"Named", "Old"}
    old.close()
    named.close()


@pytest.mark.parametrize("what", ["revoke", "kick"])
def test_an_operator_ends_a_connection(gateway: RunningGateway, what: str) -> None:
    with OldClient(gateway.address, "AI_1", enroll(gateway.fleet, "AI_1")) as client:
        client.hello()
        order(gateway.fleet, what, {"ai": "AI_1", "reason": "out of order"})
        assert client.error() == {"revoke": "revoked", "kick": "kicked"}[what]
        assert client.is_over()
        wait_until_gone(gateway.fleet, "AI_1")


def test_a_revoked_key_ends_the_connection_that_it_opened(gateway: RunningGateway) -> None:
    fleet = gateway.fleet
    old = enroll(fleet, "AI_1")
    new = enroll(fleet, "AI_1")
    with OldClient(gateway.address, "AI_1", old) as client:
        client.hello()
        key_id = old[len("coord_") :][:8]
        order(fleet, "revoke", {"ai": "AI_1", "key_id": key_id})
        assert client.error() == "revoked"
        assert client.is_over()
    with OldClient(gateway.address, "AI_1", new) as client:
        client.hello()


def test_the_settings_have_defaults_for_a_network() -> None:
    assert GatewaySettings().listen == "127.0.0.1:6000"
