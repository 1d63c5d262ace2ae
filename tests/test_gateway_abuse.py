"""What strangers and broken clients do to a gateway, on real sockets: it holds, and so does its
memory."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import trustme

from coordinator import subscription
from coordinator.credentials import digest, key_id_of, new_token
from coordinator.gateway import entrance, ingress_writer, outgoing
from coordinator.gateway.failures import FIRST_DELAY_S, MAX_FAILURES
from tests.clients import PEPPER, RealFleet, RunningGateway
from tests.gateway_clients import (
    LIMIT_S,
    TIMESTAMP,
    Json,
    OldClient,
    enroll,
    order,
    pattern,
    resident_bytes,
    wait_until_gone,
)
from tests.servers import wait_for

pytestmark = pytest.mark.one_server

MIB = 1024 * 1024
HELLO = {"specialization": "audio"}


@pytest.fixture
def fleet(real_url: str) -> Iterator[RealFleet]:
    with RealFleet(real_url) as fleet:
        yield fleet


@pytest.fixture
def gateway(fleet: RealFleet) -> Iterator[RunningGateway]:
    with RunningGateway(fleet, handshake_s=0.5, slow_reader_s=1) as gateway:
        yield gateway


@pytest.fixture
def clients(gateway: RunningGateway) -> Iterator[Callable[..., OldClient]]:
    """Enrols and connects clients, which have said hello unless they are ``silent``."""
    made: list[OldClient] = []

    def make(ai: str, *, is_silent: bool = False, **options: Any) -> OldClient:
        made.append(OldClient(gateway.address, ai, enroll(gateway.fleet, ai), **options))
        if not is_silent:
            made[-1].hello()
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def works(clients: Callable[..., OldClient]) -> Callable[[], float]:
    """Has two clients talk by the gateway; how long a message took."""
    one, two = clients("Works_1"), clients("Works_2")
    one.receive("hello")
    numbers = iter(range(1_000_000))

    def talk() -> float:
        began_s = time.monotonic()
        name = f"works-{next(numbers)}"
        one.send("pattern_share", pattern(name))
        while two.receive("pattern_share").payload["pattern"]["id"] != name:
            pass
        return time.monotonic() - began_s

    return talk


def raw(gateway: RunningGateway, *told: bytes) -> socket.socket:
    """A bare connection that says ``told``."""
    plain = socket.create_connection(gateway.address, LIMIT_S)
    for part in told:
        plain.sendall(part)
    return plain


def answer(plain: socket.socket) -> list[Json]:
    """All that comes until the connection ends."""
    told = b""
    with plain, contextlib.suppress(ConnectionError):
        while part := plain.recv(65536):
            told += part
    return [json.loads(line) for line in told.splitlines()]


def codes(messages: list[Json]) -> list[str]:
    return [message["payload"]["code"] for message in messages]


# -- before anybody has logged in ------------------------------------------------------------------


def test_a_handshake_that_never_ends(gateway: RunningGateway) -> None:
    """The time is that of the whole line: bytes that trickle in win none."""
    plain = raw(gateway, b"{")
    began_s = time.monotonic()
    plain.settimeout(0.05)
    told = b""
    while not told.endswith(b"\n"):
        with contextlib.suppress(TimeoutError):
            told += plain.recv(1000)
        if not told:
            plain.sendall(b" ")
    plain.close()
    assert json.loads(told)["payload"]["code"] == "bad_handshake"
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\n",
        b"\x00\x00\x00\n",
        b"[" * 60_000 + b"\n",
        b'{"ai_id":' + b"[" * 6000 + b"\n",
        b'{"ai_id":"A","token":"t","since":' + b"9" * 6000 + b"}\n",
        b'{"ai_id":"A","ai_id":"B","token":"t"}\n',
        b'{"ai_id":"A","token":"t","x":NaN}\n',
        b'{"ai_id":"A"}\n',
        b'{"ai_id":7,"token":"t"}\n',
        b'{"ai_id":"hub","token":"t"}\n',
        b'{"ai_id":"../A","token":"t"}\n',
        b'{"ai_id":"A","token":""}\n',
        b'{"ai_id":"A","token":"t","ack":"yes"}\n',
        b'{"ai_id":"A","token":"t","instance":"a/b"}\n',
        b'"a string"\n',
        b"\n",
        b"GET / HTTP/1.1\r\n",
        b"x" * MIB,
    ],
    ids=lambda line: repr(line[:40]),
)
def test_a_bad_handshake_is_one_error_and_the_end(gateway: RunningGateway, line: bytes) -> None:
    plain = socket.create_connection(gateway.address, LIMIT_S)
    with contextlib.suppress(ConnectionError):
        plain.sendall(line)
    assert codes(answer(plain)) == ["bad_handshake"]
    assert gateway.fleet.redis.keys("coord:ingress:*") == []


def test_every_failed_login_looks_the_same(gateway: RunningGateway) -> None:
    """From outside; each from an address of its own, whose first failure it is."""
    fleet = gateway.fleet
    token = enroll(fleet, "AI_1")
    revoked = enroll(fleet, "Revoked")
    order(fleet, "revoke", {"ai": "Revoked"})
    wait_for(
        lambda: not fleet.redis.exists(fleet.keys.credentials("Revoked")), what="the end of it"
    )
    tried = [("AI_1", "wrong"), ("AI_2", token), ("Revoked", revoked), ("AI_1", token[:-1])]
    told, taken_s = [], []
    for n, (ai, presented) in enumerate(tried, 2):
        began_s = time.monotonic()
        with OldClient(gateway.address, ai, presented, source=f"127.0.0.{n}") as client:
            client.socket.sendall(client._first + client.line("hello", HELLO))
            error = client.next()
            told.append((error.sender_id, error.target_ai, error.payload))
            assert client.is_over()
        taken_s.append(time.monotonic() - began_s)
    assert told == [told[0]] * 4
    assert told[0][2]["code"] == "bad_login"
    assert min(taken_s) >= FIRST_DELAY_S
    assert token not in repr(told)
    assert fleet.redis.keys("coord:ingress:[AR]*") == []
    wait_for(lambda: len(refused_logins(fleet)) == 4, what="the refusals to be told")
    reasons = {event["address"]: event["reason"] for event in refused_logins(fleet)}
    assert reasons == {
        "127.0.0.2": "wrong token",
        "127.0.0.3": "not enrolled",
        "127.0.0.4": "revoked",
        "127.0.0.5": "wrong token",
    }


def test_whose_token_was_good_is_told_why_it_is_not_any_more(gateway: RunningGateway) -> None:
    fleet = gateway.fleet
    token, new = enroll(fleet, "AI_1"), new_token()
    told = {"ai": "AI_1", "key_id": new.key_id, "digest": digest(PEPPER, new.text)}
    order(fleet, "rotate", {**told, "grace_s": 0.0, "is_weak": False})
    stored = fleet.keys.credentials("AI_1")
    wait_for(lambda: fleet.redis.hexists(stored, new.key_id), what="the new token to be good")
    with OldClient(gateway.address, "AI_1", token) as client:
        client.log_in()
        refused = client.receive("error").payload
    assert refused["code"] == "bad_login"
    assert "was replaced by `coord rotate`" in refused["detail"]
    assert token not in refused["detail"]
    (event,) = wait_for(lambda: refused_logins(fleet), what="the refusal to be told")
    assert event["reason"] == (
        f"replaced by a rotation (key {key_id_of(token, '')}, by {new.key_id})"
    )


def test_a_hundred_wrong_tokens(gateway: RunningGateway, works: Callable[[], float]) -> None:
    """Delay, then refusal; who can show a token that nobody guesses gets in all the same."""
    strong = enroll(gateway.fleet, "Strong")
    weak = enroll(gateway.fleet, "Weak", token="secret1")
    began_s = time.monotonic()
    tries = [
        raw(gateway, json.dumps({"ai_id": "AI_1", "token": f"t{n}"}).encode() + b"\n")
        for n in range(100)
    ]
    told = [codes(answer(one)) for one in tries]
    taken_s = time.monotonic() - began_s
    assert {code for each in told for code in each} == {"bad_login", "too_many"}
    assert told.count(["bad_login"]) >= MAX_FAILURES
    assert 1.5 < taken_s < 20
    with OldClient(gateway.address, "Weak", weak) as client:
        client.log_in()
        assert client.error() == "too_many"
    with OldClient(gateway.address, "Strong", strong) as client:
        client.hello()
    assert works() < 5
    events = wait_for(lambda: refused_logins(gateway.fleet), what="the refusals to be told")
    assert {event["ai_id"] for event in events} <= {"AI_1", "Weak"}
    assert all(event["address"] == "127.0.0.1" for event in events)
    wait_for(
        lambda: sum(event["count"] for event in refused_logins(gateway.fleet)) == 101,
        what="all refusals to be told",
    )
    assert len(refused_logins(gateway.fleet)) < 10


def refused_logins(fleet: RealFleet) -> list[Json]:
    entries: Any = fleet.redis.xrange(fleet.keys.events)
    return [
        json.loads(fields[b"data"]) for _, fields in entries if fields[b"kind"] == b"login_refused"
    ]


def test_connections_are_counted_before_anything_is_said(fleet: RealFleet) -> None:
    with RunningGateway(fleet, connections_max=5, connections_per_address=3) as gateway:
        held = [raw(gateway) for _ in range(3)]
        wait_for(lambda: gateway.connections == 3, what="three connections")
        assert codes(answer(raw(gateway))) == ["too_many"]
        for one in held:
            one.close()
        wait_for(lambda: gateway.connections == 0, what="them to be gone")
        with OldClient(gateway.address, "AI_1", enroll(fleet, "AI_1")) as client:
            client.hello()
        assert gateway.metrics.turned_away == 1


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pair(authority: trustme.CA, tmp_path: Path) -> dict[str, Path]:
    made = authority.issue_cert("localhost", "127.0.0.1")
    paths = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    made.cert_chain_pems[0].write_to_path(str(paths["tls_cert"]))
    made.private_key_pem.write_to_path(str(paths["tls_key"]))
    return paths


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_old_clients_speak_tls(
    fleet: RealFleet, pair: dict[str, Path], authority: trustme.CA
) -> None:
    token = enroll(fleet, "AI_1", "AI_2")
    with (
        RunningGateway(fleet, **pair) as gateway,
        OldClient(gateway.address, "AI_1", token, trusting(authority)) as one,
        OldClient(gateway.address, "AI_2", token, trusting(authority)) as two,
    ):
        one.hello()
        two.hello()
        two.send("pattern_share", pattern("p1"))
        assert one.receive("pattern_share").payload == pattern("p1")
        two.close()
        assert one.receive("goodbye").sender_id == "AI_2"


def test_a_client_certificate_may_be_asked_for(
    fleet: RealFleet, pair: dict[str, Path], authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    token = enroll(fleet, "AI_1")
    known = trusting(authority)
    authority.issue_cert("client").configure_cert(known)
    with RunningGateway(fleet, **pair, tls_client_ca=tmp_path / "ca.pem") as gateway:
        with OldClient(gateway.address, "AI_1", token, known) as client:
            client.hello()
        with OldClient(gateway.address, "AI_1", token, trusting(authority)) as stranger:
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                stranger.socket.sendall(stranger._first + stranger.line("hello", HELLO))
            assert stranger.is_over()
        assert gateway.metrics.logins == 1


def test_a_tls_handshake_that_never_ends_takes_no_room(
    fleet: RealFleet, pair: dict[str, Path], authority: trustme.CA
) -> None:
    with RunningGateway(fleet, **pair, connections_max=20, handshake_s=1) as gateway:
        silent = [raw(gateway) for _ in range(40)]
        wait_for(lambda: gateway.metrics.turned_away == 20, what="the room to be full")
        assert gateway.connections == 20
        wait_for(lambda: gateway.connections == 0, what="them to be given up")
        token = enroll(fleet, "AI_1")
        with OldClient(gateway.address, "AI_1", token, trusting(authority)) as client:
            client.hello()
        for one in silent:
            one.close()


def test_the_end_of_a_gateway_waits_for_no_handshake(
    fleet: RealFleet, pair: dict[str, Path]
) -> None:
    with RunningGateway(fleet, **pair, handshake_s=30) as gateway:
        silent = [raw(gateway) for _ in range(5)]
        wait_for(lambda: gateway.connections == 5, what="five connections")
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 5
    for one in silent:
        assert answer(one) == []


def test_no_tls_is_spoken_to_one_that_does_not(fleet: RealFleet, pair: dict[str, Path]) -> None:
    with RunningGateway(fleet, **pair) as gateway:
        plain = raw(gateway, b'{"ai_id":"AI_1","token":"t"}\n')
        with plain, contextlib.suppress(ConnectionError):
            assert b"error" not in plain.recv(1000)
        wait_for(lambda: gateway.connections == 0, what="it to be given up")


# -- those who have logged in ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\xff\xfe\n", "not_json"),
        (b"\x00\n", "not_json"),
        (b'{"payload":' + b"[" * 60_000 + b"\n", "not_json"),
        (b'{"payload":' + b"9" * 60_000 + b"}\n", "not_json"),
        (b'{"sender_id":"AI_1","sender_id":"AI_1"}\n', "not_json"),
        (b'{"payload":{"x":NaN}}\n', "not_json"),
        (b'{"payload":{"x":1e999}}\n', "bad_envelope"),
        (b"[]\n", "not_json"),
        (b"{}\n", "bad_envelope"),
        (b'{"message_id":"1","sender_id":"AI_1"}\n', "bad_envelope"),
        (b'{"x":"' + b"x" * (300 * 1024) + b'"}\n', "too_large"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_a_line_that_is_no_message_is_an_error_and_no_more(
    clients: Callable[..., OldClient], line: bytes, code: str
) -> None:
    client = clients("AI_1")
    client.socket.sendall(line)
    assert client.error() == code
    client.send("query", {"what": "counts"})
    assert client.receive("query_result").payload["what"] == "counts"


def test_nobody_speaks_in_another_name(clients: Callable[..., OldClient]) -> None:
    one, two = clients("AI_1"), clients("AI_2")
    one.receive("hello")
    forged = {
        "message_id": "7",
        "sender_id": "AI_2",
        "message_type": "pattern_share",
        "timestamp": TIMESTAMP,
        "payload": pattern("p1"),
    }
    for sender in ("AI_2", "hub", "operator", "gateway", "AI_1 "):
        one.socket.sendall(json.dumps({**forged, "sender_id": sender}).encode() + b"\n")
    refused = [one.receive("error").payload for _ in range(5)]
    assert [error["code"] for error in refused] == ["foreign_sender"] * 4 + ["bad_envelope"]
    assert {error["in_reply_to"] for error in refused} == {"7"}
    one.send("pattern_share", pattern("mine"))
    assert two.receive("pattern_share").payload == pattern("mine")


def test_a_line_without_an_end(
    clients: Callable[..., OldClient], works: Callable[[], float]
) -> None:
    client = clients("AI_1")
    before = resident_bytes()
    with contextlib.suppress(ConnectionError):
        for _ in range(64):
            client.socket.sendall(b"x" * MIB)
    assert resident_bytes() - before < 32 * MIB
    assert client.error() == "too_large"
    assert client.is_over()
    assert works() < 5


def test_a_storm_is_slowed_down_and_told(
    gateway: RunningGateway, clients: Callable[..., OldClient], works: Callable[[], float]
) -> None:
    client = clients("AI_1")
    client.socket.settimeout(0.2)
    began_s = time.monotonic()
    sent = 0
    storm = b"".join(client.line("heartbeat", {"n": n}) for n in range(100))
    while time.monotonic() - began_s < 2:
        try:
            client.socket.sendall(storm)
            sent += 100
        except TimeoutError:
            break  # it is read no faster than it may send
    assert works() < 5
    taken_s = time.monotonic() - began_s
    client.socket.settimeout(LIMIT_S)
    assert client.error() == "rate_limited"
    assert sent > 1000
    assert gateway.metrics.received < 200 + 100 * taken_s + 100
    assert gateway.metrics.rate_limited < 11 * taken_s + 2


def test_empty_lines_are_lines(gateway: RunningGateway, clients: Callable[..., OldClient]) -> None:
    client = clients("AI_1")
    client.socket.sendall(b"\n" * 1000)
    assert client.error() == "rate_limited"


def test_one_that_says_much_waits_for_itself_alone(
    gateway: RunningGateway,
    clients: Callable[..., OldClient],
    works: Callable[[], float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outgoing, "MAX_UNSETTLED_BYTES_PER_AI", 100_000)
    monkeypatch.setattr(ingress_writer, "SETTLED_AFTER_S", 0.5)
    client = clients("AI_1")
    big = client.line("performance_report", {"filler": "x" * 30_000})
    received = gateway.metrics.received
    client.socket.sendall(big * 6)
    wait_for(lambda: gateway.metrics.received == received + 4, what="some of it to be read")
    assert works() < 1
    assert gateway.metrics.received == received + 5  # the fifth is what was said in `works`
    wait_for(lambda: gateway.metrics.received > received + 6, what="the rest to be read")


def test_a_client_that_stops_reading_delays_nobody(
    gateway: RunningGateway,
    clients: Callable[..., OldClient],
    works: Callable[[], float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is sent no more than fits its buffer, dropped with a reason, and can replay."""
    monkeypatch.setattr(outgoing, "MAX_UNSETTLED_BYTES_PER_AI", 1024 * MIB)
    stopped = clients("AI_1", is_silent=True, receive_buffer=4096, ack=True)
    stopped.socket.sendall(stopped._first + stopped.line("hello", HELLO))
    offset = None
    while (told := stopped.read()) and told.get("message_type") != "training_sync":
        pass
    assert told is not None
    offset = told["offset"]
    speaker = clients("Speaker")
    before = resident_bytes()
    big = "x" * (200 * 1024)
    count, delays_s = 0, []
    while not gateway.metrics.dropped_readers:
        speaker.send("pattern_share", pattern(f"b{count}", filler=big))
        count += 1
        if count % 25 == 0:
            delays_s.append(works())
    assert median(delays_s) < 1  # who waits for the one that stopped waits each time
    assert resident_bytes() - before < 64 * MIB
    wait_until_gone(gateway.fleet, "AI_1")
    came = []
    while told := stopped.read():
        came.append(told["message_type"])
    assert came[-1:] in (["error"], ["pattern_share"])  # a full buffer may not hold the reason
    token = enroll(gateway.fleet, "AI_1")
    with OldClient(gateway.address, "AI_1", token, ack=True, since=offset) as again:
        again.socket.sendall(again._first + again.line("hello", HELLO))
        ids = []
        while f"b{count - 1}" not in ids:
            told = again.read()
            assert told is not None
            if told.get("message_type") == "pattern_share":
                ids.append(told["payload"]["pattern"]["id"])
        assert [name for name in ids if name.startswith("b")] == [f"b{n}" for n in range(count)]


def test_a_half_closed_connection_is_answered_and_ends(
    gateway: RunningGateway, clients: Callable[..., OldClient]
) -> None:
    """As `nc` does it: all is said, the side is closed, the answers are awaited."""
    listener = clients("Listener")
    client = clients("AI_1", is_silent=True)
    told = client._first + client.line("hello", HELLO) + client.line("pattern_share", pattern("p"))
    client.socket.sendall(told)
    client.socket.shutdown(socket.SHUT_WR)
    assert client.next().message_type == "training_sync"
    assert client.is_over()
    assert [listener.next().message_type for _ in range(3)] == ["hello", "pattern_share", "goodbye"]
    wait_for(lambda: gateway.connections == 1, what="it to be gone")


def test_what_was_asked_before_a_half_close_is_answered(clients: Callable[..., OldClient]) -> None:
    client = clients("AI_1", is_silent=True)
    asked = client.line("query", {"what": "counts"}) + client.line("code_share", {"x": 1})
    client.socket.sendall(client._first + client.line("hello", HELLO) + asked)
    client.socket.shutdown(socket.SHUT_WR)
    types = {client.next().message_type for _ in range(3)}
    assert types == {"training_sync", "query_result", "error"}
    assert client.is_over()


def test_a_half_closed_connection_that_says_nothing_ends(gateway: RunningGateway) -> None:
    plain = raw(gateway)
    plain.shutdown(socket.SHUT_WR)
    assert answer(plain) == []
    wait_for(lambda: gateway.connections == 0, what="it to be gone")


def test_a_reset_is_a_goodbye(clients: Callable[..., OldClient]) -> None:
    one, two = clients("AI_1"), clients("AI_2")
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    two.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    two.close()
    assert one.receive("goodbye").sender_id == "AI_2"


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_idle_connections(fleet: RealFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a thousand come at once, and that each is told of all others, may take its time."""
    monkeypatch.setattr(entrance, "LOOK_UP_LIMIT_S", 60.0)
    monkeypatch.setattr(subscription, "CONFIRM_LIMIT_S", 60.0)
    names = [f"Idle_{n}" for n in range(1000)]
    token = enroll(fleet, "Works_1", "Works_2", *names)
    unhurried = {"connections_per_address": 1100, "handshake_s": 60}
    with RunningGateway(fleet, **unhurried) as gateway, contextlib.ExitStack() as connected:
        before = resident_bytes()

        def connect(ai: str) -> OldClient:
            return connected.enter_context(OldClient(gateway.address, ai, token))

        idle = [connect(ai) for ai in names]
        for client in idle:
            client.log_in()
        wait_for(lambda: gateway.metrics.logins == 1000, what="all to be logged in")
        wait_for(lambda: len(fleet.live()) == 1000, 100, "all to be present")
        one, two = connect("Works_1"), connect("Works_2")
        one.hello()
        two.hello()
        one.send("pattern_share", pattern("p1"))
        assert two.receive("pattern_share").payload == pattern("p1")
        assert idle[-1].receive("pattern_share").payload == pattern("p1")
        assert resident_bytes() - before < 200 * MIB
        connected.close()
        wait_for(lambda: len(fleet.live()) == 0, 50, "all to be gone")
