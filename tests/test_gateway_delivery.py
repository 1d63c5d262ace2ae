"""What clients of a gateway are told: all of it, in order, at the pace at which they read; and
what their enrolment lets them say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from coordinator.gateway import relay
from tests.clients import RealFleet, RunningGateway
from tests.gateway_clients import Json, OldClient, enroll, pattern
from tests.servers import wait_for

pytestmark = pytest.mark.one_server

KIB = 1024


@pytest.fixture
def fleet(real_url: str) -> Iterator[RealFleet]:
    with RealFleet(real_url, log_keep=50, log_keep_s=0) as fleet:
        yield fleet


@pytest.fixture
def gateway(fleet: RealFleet) -> Iterator[RunningGateway]:
    with RunningGateway(fleet, out_buffer_bytes=32 * KIB, messages_burst=100_000) as gateway:
        yield gateway


@pytest.fixture
def connect(gateway: RunningGateway) -> Iterator[Callable[..., OldClient]]:
    """Connects an AI that is enrolled, with further options of the handshake."""
    clients: list[OldClient] = []
    tokens: dict[str, str] = {}

    def make(ai: str, **options: object) -> OldClient:
        if ai not in tokens:
            tokens[ai] = enroll(gateway.fleet, ai)
        clients.append(OldClient(gateway.address, ai, tokens[ai], **options))  # type: ignore[arg-type]
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def told(client: OldClient) -> Json:
    line = client.read()
    assert line is not None
    return line


def number(message: Json) -> int:
    return int(message["payload"]["pattern"]["id"][1:])


@pytest.mark.parametrize("held_bytes", [relay.MAX_RECENT_BYTES, 20 * KIB])
def test_one_that_reads_late_misses_nothing(
    connect: Callable[..., OldClient], held_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had no room for comes from what the gateway holds, or else from the streams."""
    monkeypatch.setattr(relay, "MAX_RECENT_BYTES", held_bytes)
    late = connect("Late", receive_buffer=4 * KIB)
    late.hello()
    speaker = connect("Speaker")
    speaker.hello()
    reader = connect("Reader")
    reader.hello()
    for n in range(40):
        speaker.send("pattern_share", pattern(f"p{n}", filler="x" * 150 * KIB))
        speaker.send("pattern_share", pattern(f"t{n}"), "Late")
        while reader.receive("pattern_share").payload["pattern"]["id"] != f"p{n}":
            pass
    speaker.send("performance_report", {"component_id": "c", "performance": {"x": 1.0}})
    ids = [m.payload["pattern"]["id"] for m in late.receive_all() if "pattern" in m.payload]
    assert [one for one in ids if one[0] == "p"] == [f"p{n}" for n in range(40)]
    told_late = [one for one in ids if one[0] == "t"]
    assert told_late == [f"t{n}" for n in range(len(told_late))]


def test_offsets_are_cursors(connect: Callable[..., OldClient]) -> None:
    """Whichever of them a client comes back with, it goes on after that message."""
    speaker = connect("Speaker")
    speaker.hello()
    client = connect("AI_1", ack=True, instance="i-1")
    client.socket.sendall(client._first + client.line("hello", {}))
    accepted = told(client)
    assert accepted == {
        "ok": True,
        "epoch": accepted["epoch"],
        "log": 1,
        "inbox": 0,
        "messages_per_s": 100,
        "burst": 100_000,
    }
    assert told(client)["message_type"] == "training_sync"
    for n in range(4):
        speaker.send("pattern_share", pattern(f"p{n}"))
        speaker.send("pattern_share", pattern(f"t{n}"), "AI_1")
    came = [told(client) for _ in range(8)]
    assert [set(message) for message in came] == [
        {"message_id", "sender_id", "message_type", "timestamp", "payload", "target_ai", "offset"}
    ] * 8
    for seen, message in enumerate(came[:-1], 1):
        again = connect("AI_1", ack=True, instance="i-1", since=message["offset"])
        again.socket.sendall(again._first + again.line("hello", {}))
        assert told(again)["ok"]
        rest: list[str] = []
        while len(rest) < 8 - seen:
            line = told(again)
            if line["message_type"] == "pattern_share":
                rest.append(line["message_id"])
        assert sorted(rest) == sorted(message["message_id"] for message in came[seen:])


def test_what_retention_has_cut_is_told_to_those_who_know_of_numbers(
    connect: Callable[..., OldClient], fleet: RealFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MAX_RECENT", 10)
    speaker = connect("Speaker")
    speaker.hello()
    client = connect("AI_1", ack=True, instance="i-1")
    client.socket.sendall(client._first + client.line("hello", {}))
    told(client)
    offset = told(client)["offset"]
    client.close()
    for n in range(120):
        speaker.send("pattern_share", pattern(f"p{n}"))
    wait_for(lambda: fleet.log_length() >= 120, what="all to be logged")
    wait_for(lambda: fleet.redis.xlen(fleet.keys.log) < 100, what="the log to be cut")
    first = fleet.log()[0]
    again = connect("AI_1", ack=True, instance="i-1", since=offset)
    again.socket.sendall(again._first + again.line("hello", {}))
    told(again)
    came: list[Json] = []
    while not came or came[-1]["message_type"] != "pattern_share":
        came.append(told(again))
    (gap,) = [message for message in came if message["message_type"] == "gap"]
    assert (gap["sender_id"], gap["payload"]["stream"]) == ("hub", "log")
    assert gap["payload"]["first"] == offset["log"] + 1
    assert gap["payload"]["last"] == gap["offset"]["log"]
    assert gap["payload"]["reason"] == "retention"
    assert number(came[-1]) == int(first["payload"]["pattern"]["id"][1:])


# -- what an enrolment lets one do -----------------------------------------------------------------


def test_an_observer_listens_and_may_not_share(gateway: RunningGateway) -> None:
    token = enroll(gateway.fleet, "Observer", role="observer")
    speaking = enroll(gateway.fleet, "Speaker")
    with (
        OldClient(gateway.address, "Observer", token) as observer,
        OldClient(gateway.address, "Speaker", speaking) as speaker,
    ):
        observer.hello()
        speaker.hello()
        speaker.send("pattern_share", pattern("p1"))
        assert observer.receive("pattern_share").payload == pattern("p1")
        observer.send("pattern_share", pattern("p2"))
        assert observer.error() == "forbidden"


def test_another_specialization_than_one_is_enrolled_for_is_refused(
    gateway: RunningGateway,
) -> None:
    """The client may say hello again; without one it is what it was enrolled for."""
    token = enroll(gateway.fleet, "AI_1", specializations=["audio"])
    with OldClient(gateway.address, "AI_1", token) as client:
        client.socket.sendall(client._first + client.line("hello", {"specialization": "graphics"}))
        refused = client.receive("error").payload
        assert (refused["code"], refused["field"]) == ("forbidden", "payload.specialization")
        client.send("hello", {"specialization": "audio"})
        assert client.receive("training_sync").payload["active_ais"] == ["AI_1"]
    with OldClient(gateway.address, "AI_1", token) as client:
        client.log_in()
        client.send("query", {"what": "ais"})
        (item,) = client.receive("query_result").payload["items"]
        assert item["specialization"] == "audio"


def test_a_hello_that_is_wrong_can_be_said_again(connect: Callable[..., OldClient]) -> None:
    client = connect("AI_1")
    wrong = client.line("hello", {"capabilities": "everything"}, message_id="wrong")
    client.socket.sendall(client._first + wrong)
    refused = client.receive("error").payload
    assert (refused["code"], refused["in_reply_to"]) == ("bad_payload", "wrong")
    client.send("hello", {"capabilities": ["networking"]}, message_id="right")
    assert client.receive("training_sync").payload["in_reply_to"] == "right"


def test_a_token_that_expires_ends_its_connection(gateway: RunningGateway) -> None:
    soon = int(time.time() * 1000) + 800
    with OldClient(gateway.address, "AI_1", enroll(gateway.fleet, "AI_1", expires_ms=soon)) as one:
        one.hello()
        assert one.error() == "revoked"
        assert one.is_over()


def test_somebody_who_says_hello_twice_describes_himself_anew(
    connect: Callable[..., OldClient],
) -> None:
    listener, client = connect("Listener"), connect("AI_1")
    listener.hello()
    client.hello("audio")
    client.send("hello", {"specialization": "graphics"}, message_id="second")
    assert client.receive("training_sync").payload["in_reply_to"] == "second"
    hellos = [listener.receive("hello").payload["specialization"] for _ in range(2)]
    assert hellos == ["audio", "graphics"]
