"""Whatever comes: no gateway crashes, no task stays, nothing unauthenticated gets in."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clients import RealFleet, RunningGateway
from tests.gateway_clients import TIMESTAMP, OldClient, enroll, pattern
from tests.servers import TestServer, wait_for

SMALL = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=20)
    | st.just("hub"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
names = st.sampled_from(["AI_1", "AI_2", "hub", "operator", "gateway", "", "A" * 65, "a b", "é"])
types = st.sampled_from(
    [
        *("hello", "heartbeat", "goodbye", "pattern_share", "query", "payload", "error", ""),
        *("kick", "enroll", "gateway_heartbeat", "collaboration_request", "work_result"),
    ]
)
handshakes = st.fixed_dictionaries(
    {},
    optional={
        "ai_id": names | anything,
        "token": st.just("t") | anything,
        "ack": anything,
        "since": anything,
        "instance": names | anything,
    },
)
payloads = st.dictionaries(
    st.sampled_from(["specialization", "pattern", "what", "artifact", "index", "data", "reason"]),
    anything | st.just("audio"),
    max_size=4,
)
whole_messages = st.fixed_dictionaries(
    {
        "message_id": st.text("12ab", min_size=1, max_size=2),
        "sender_id": st.just("AI_1"),
        "message_type": types,
        "timestamp": st.just(TIMESTAMP),
        "payload": payloads,
    },
    optional={"target_ai": names | st.none()},
)
broken_messages = st.fixed_dictionaries(
    {},
    optional={
        "message_id": st.text(max_size=4) | anything,
        "sender_id": st.just("AI_1") | names | anything,
        "message_type": types | anything,
        "timestamp": st.just(TIMESTAMP) | anything,
        "payload": payloads | anything,
        "target_ai": names | anything,
    },
)
messages = whole_messages | broken_messages


def line(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass") + b"\n"


@st.composite
def told(draw: st.DrawFn, objects: st.SearchStrategy[Any]) -> list[bytes]:
    """What a client may say, in the pieces in which it may come."""
    lines = draw(st.lists(objects.map(line) | st.binary(max_size=60), min_size=1, max_size=6))
    whole = b"".join(lines)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@pytest.fixture(scope="module")
def gateway(server: TestServer) -> Iterator[RunningGateway]:
    """One for all examples; that no task and no connection is left is looked at in its end."""
    with (
        RealFleet(server.url) as fleet,
        RunningGateway(fleet, handshake_s=0.2, messages_per_s=1e6, messages_burst=10**6) as gateway,
    ):
        yield gateway


def ingress(gateway: RunningGateway) -> set[str]:
    """Whose messages were ever taken: the owners of instances."""
    keys: Any = gateway.fleet.redis.keys("coord:instance:*")
    return {key.decode().split(":")[2].partition("/")[0] for key in keys}


@SMALL
@given(parts=told(handshakes))
def test_nothing_gets_in_without_a_login(gateway: RunningGateway, parts: list[bytes]) -> None:
    with socket.create_connection(gateway.address, 20) as plain:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                plain.sendall(part)
            plain.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := plain.recv(65536):
                answer += part
    codes = [json.loads(one)["payload"]["code"] for one in answer.splitlines()]
    assert codes in ([], ["bad_handshake"], ["bad_login"], ["too_many"])
    assert ingress(gateway) <= {"operator", "gateway", "AI_1"}
    assert gateway.is_running


@SMALL
@given(parts=told(messages))
def test_whatever_a_client_says_it_is_answered_and_speaks_for_itself_alone(
    gateway: RunningGateway, parts: list[bytes]
) -> None:
    if not gateway.fleet.redis.exists(gateway.fleet.keys.credentials("AI_1")):
        gateway.token = enroll(gateway.fleet, "AI_1")  # type: ignore[attr-defined]
    token = gateway.token  # type: ignore[attr-defined]
    with OldClient(gateway.address, "AI_1", token) as client:
        client.hello()
        for part in parts:
            client.socket.sendall(part)
        client.socket.sendall(b"\n")
        client.send("hello", {})  # it may have said goodbye
        client.send("query", {"what": "counts"}, message_id="the-end")
        while client.receive("query_result").payload["in_reply_to"] != "the-end":
            pass
    wait_for(lambda: gateway.connections == 0, what="it to be gone")
    assert ingress(gateway) <= {"operator", "gateway", "AI_1"}
    assert gateway.is_running


def test_the_gateway_still_works(gateway: RunningGateway) -> None:
    token = enroll(gateway.fleet, "Works_1", "Works_2")
    with (
        OldClient(gateway.address, "Works_1", token) as one,
        OldClient(gateway.address, "Works_2", token) as two,
    ):
        one.hello()
        two.hello()
        one.send("pattern_share", pattern("p1"))
        assert two.receive("pattern_share").payload == pattern("p1")
