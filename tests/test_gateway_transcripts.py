"""The transcripts that the fleet's clients were written against, on a running gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.clients import RealFleet, RunningGateway
from tests.gateway_clients import TIMESTAMP, OldClient, enroll, pattern

Connect = Callable[..., OldClient]


@pytest.fixture
def gateway(real_url: str) -> Iterator[RunningGateway]:
    with RealFleet(real_url) as fleet, RunningGateway(fleet) as gateway:
        yield gateway


@pytest.fixture
def connect(gateway: RunningGateway) -> Iterator[Connect]:
    """Enrols an AI, and connects it without a word."""
    clients: list[OldClient] = []

    def make(ai: str) -> OldClient:
        clients.append(OldClient(gateway.address, ai, enroll(gateway.fleet, ai)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def one(connect: Connect) -> OldClient:
    client = connect("AI_Node_1")
    client.hello("networking")
    return client


@pytest.fixture
def two(one: OldClient, connect: Connect) -> OldClient:
    """Another, whose hello the first has heard."""
    client = connect("AI_Node_2")
    client.hello("security", capabilities=["security"])
    assert one.receive("hello").sender_id == "AI_Node_2"
    return client


def test_a_hello_is_answered_by_a_training_sync(connect: Connect) -> None:
    client = connect("AI_Node_1")
    client.socket.sendall(
        client._first
        + b'{"message_id":"1","sender_id":"AI_Node_1","message_type":"hello",'
        + b'"timestamp":"2025-06-04T00:00:00","payload":{"capabilities":["networking","security"],'
        + b'"specialization":"networking"}}\n'
    )
    sync = client.next()
    base = sync.payload["global_knowledge_base"]
    assert (sync.sender_id, sync.message_type, sync.target_ai) == (
        "hub",
        "training_sync",
        "AI_Node_1",
    )
    assert {name: type(value) for name, value in base.items()} == {
        "shared_patterns": dict,
        "shared_components": dict,
        "collective_features": dict,
        "performance_benchmarks": dict,
    }
    assert sync.payload["active_ais"] == ["AI_Node_1"]
    assert sync.payload["collaboration_opportunities"] == []
    assert sync.payload["in_reply_to"] == "1"


def test_handshake_and_hello_may_come_in_pieces(connect: Connect) -> None:
    client = connect("AI_Node_1")
    told = client._first + client.line("hello", {"specialization": "networking"})
    for start in range(0, len(told), 7):
        client.socket.sendall(told[start : start + 7])
    assert client.next().message_type == "training_sync"


def test_others_receive_the_hello_itself(one: OldClient, connect: Connect) -> None:
    connect("AI_Node_2").hello("security", capabilities=["security"], version="1.0")
    came = one.next()
    assert (came.sender_id, came.message_type, came.message_id) == ("AI_Node_2", "hello", "1")
    assert came.payload == {
        "specialization": "security",
        "capabilities": ["security"],
        "version": "1.0",
    }


def test_a_shared_pattern_goes_to_everybody_else(one: OldClient, two: OldClient) -> None:
    one.send("pattern_share", pattern("p1"), message_id="2")
    two.send("performance_report", {"component_id": "c", "performance": {"x": 1.0}})
    came = two.next()
    assert came.message_id == "2"
    assert came.sender_id == "AI_Node_1"
    assert came.timestamp == TIMESTAMP
    assert came.payload == pattern("p1")
    assert came.target_ai is None
    assert one.receive_all() == []  # no answer to the sender


def test_a_feature_is_assigned_and_answered(one: OldClient, two: OldClient) -> None:
    wanted = {"feature": "network_stack", "requirements": {"performance": "high"}}
    two.send("feature_request", wanted)
    assigned = one.receive("feature_response")
    assert assigned.sender_id == "hub"
    assert assigned.target_ai == "AI_Node_1"
    assert assigned.payload["original_request"] == wanted
    assert assigned.payload["requestor"] == "AI_Node_2"
    component = {"id": "f1", "name": "network_stack", "implementation": "…"}
    answer = {"component": component, "original_requestor": "AI_Node_2"}
    one.send("os_component_share", answer | {"feature_name": "network_stack"}, "AI_Node_2")
    came = two.receive("os_component_share")
    assert (came.sender_id, came.target_ai) == ("AI_Node_1", "AI_Node_2")
    assert came.payload["component"] == component


def test_a_collaboration_request_is_passed_on_once_with_its_session(
    one: OldClient, two: OldClient
) -> None:
    wanted = {
        "type": "feature_development",
        "description": "a cache",
        "target_ai": "",
        "expertise_offered": ["networking"],
        "seeking_expertise": ["networking", "security", "performance"],
    }
    one.send("collaboration_request", wanted)
    came = two.receive("collaboration_request")
    assert came.sender_id == "AI_Node_1"
    assert came.payload["initiator"] == "AI_Node_1"
    assert came.payload["description"] == "a cache"
    assert came.payload["partner_specialization"] == "networking"
    session_id = came.payload["session_id"]
    done = {"component": {"id": "c1", "name": "cache"}, "collaboration_complete": True}
    two.send("os_component_share", {**done, "session_id": session_id}, "AI_Node_1")
    statuses: list[str] = []
    while not statuses or statuses[-1] != "completed":
        update = one.receive("collaboration_update").payload
        assert update["session_id"] == session_id
        statuses.append(update["status"])
    two.send("performance_report", {"component_id": "c", "performance": {"x": 1.0}})
    assert "collaboration_request" not in [m.message_type for m in one.receive_all()]


def test_without_a_hello_a_client_is_a_general_one(one: OldClient, connect: Connect) -> None:
    client = connect("AI_Node_2")
    client.log_in()
    client.send("pattern_share", pattern("p1"))
    hello = one.receive("hello")
    assert (hello.sender_id, hello.payload) == ("AI_Node_2", {"specialization": "general"})
    assert one.next().payload == pattern("p1")
    one.send("pattern_share", pattern("p2"))
    assert client.next().payload == pattern("p2")  # and no training_sync before it


def test_a_client_that_says_nothing_hears_what_others_say(one: OldClient, connect: Connect) -> None:
    client = connect("AI_Node_2")
    client.log_in()
    assert one.receive("hello").sender_id == "AI_Node_2"
    one.send("pattern_share", pattern("p1"))
    assert client.next().payload == pattern("p1")


def test_a_heartbeat_of_any_payload_is_accepted(one: OldClient, two: OldClient) -> None:
    one.send("heartbeat", {"anything": ["at", "all"]})
    one.send("pattern_share", pattern("p1"))
    assert two.next().payload == pattern("p1")


def test_a_closed_connection_is_a_goodbye(one: OldClient, two: OldClient) -> None:
    two.close()
    assert one.receive("goodbye").sender_id == "AI_Node_2"


def test_a_client_that_has_left_comes_back_at_once(
    one: OldClient, two: OldClient, gateway: RunningGateway, connect: Connect
) -> None:
    two.send("goodbye", {"reason": "done"})
    assert one.receive("goodbye").payload == {"reason": "done"}
    two.close()
    assert connect("AI_Node_2").hello("audio")["active_ais"] == ["AI_Node_2", "AI_Node_1"]
    assert one.receive("hello").payload["specialization"] == "audio"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (pattern(""), "bad_payload"),
        ({"pattern": {}}, "bad_payload"),
        ({}, "bad_payload"),
    ],
)
def test_what_old_hubs_ignored_is_an_error_now(
    one: OldClient, message: dict[str, object], code: str
) -> None:
    one.send("pattern_share", message, message_id="7")
    error = one.receive("error")
    assert (error.payload["code"], error.payload["in_reply_to"]) == (code, "7")
