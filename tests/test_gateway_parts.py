"""The parts of a gateway by themselves: limits, numbers, addresses, settings."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
import trustme
from hypothesis import given
from hypothesis import strategies as st
from redis.backoff import NoBackoff

from coordinator import outages
from coordinator.credentials import Credential, Token, digest, key_id_of, new_token
from coordinator.enrolment import Access
from coordinator.errors import BadMessage
from coordinator.feed import EpochChanged
from coordinator.gateway import CannotListen, Gateway, GatewaySettings
from coordinator.gateway.binding import bind, tls_context
from coordinator.gateway.failures import (
    FORGOTTEN_S,
    LONGEST_DELAY_S,
    MAX_ADDRESSES,
    MAX_FAILURES,
    MAX_TOLD,
    Failures,
)
from coordinator.gateway.handshake import parse_handshake
from coordinator.gateway.hub_message import answering, read_hub_message
from coordinator.gateway.ingress_writer import (
    COMMITTED_POLL_S,
    MAX_UNSETTLED,
    SETTLED_AFTER_S,
    IngressWriter,
)
from coordinator.gateway.login import LoginRefused, Logins
from coordinator.gateway.outgoing import MAX_UNSETTLED_BYTES_PER_AI, Outgoing
from coordinator.gateway.rate import Bucket, Buckets
from coordinator.gateway.stream import Item, read_items, read_push
from coordinator.gateway.strict_json import parse_strict
from coordinator.keys import Keys
from coordinator.listening import parse_listen, place_of
from coordinator.messages import encode_message, encode_push, to_json
from coordinator.outages import Patience
from coordinator.settings import Settings
from tests.clients import in_loop
from tests.fleet import CountingIds, ManualClock

TIMESTAMP = "2025-06-04T00:00:00"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


# -- failed logins ---------------------------------------------------------------------------------


def test_each_failure_of_an_address_is_answered_later(clock: ManualClock) -> None:
    failures = Failures(clock)
    delays = [failures.note("a", "AI_1", "wrong token") for _ in range(5)]
    assert delays == [0.25, 0.5, 1.0, 2.0, LONGEST_DELAY_S]
    assert failures.note("b", "AI_1", "wrong token") == 0.25


def test_an_address_is_blocked_for_a_while(clock: ManualClock) -> None:
    failures = Failures(clock)
    blocked = []
    for _ in range(MAX_FAILURES):
        blocked.append(failures.is_blocked("a"))
        failures.note("a", "AI_1", "wrong token")
    assert not any(blocked)
    assert failures.is_blocked("a")
    assert not failures.is_blocked("b")
    failures.take_untold()
    clock.advance(FORGOTTEN_S + 0.1)
    assert not failures.is_blocked("a")


def test_refusals_are_summed_up(clock: ManualClock) -> None:
    failures = Failures(clock)
    failures.note("a", "AI_1", "wrong token")
    failures.note("a", "AI_2", "not enrolled")
    failures.note("b", "AI_3", "wrong token")
    told = {"ai_id": "AI_2", "address": "a", "reason": "not enrolled", "count": 2}
    other = {"ai_id": "AI_3", "address": "b", "reason": "wrong token", "count": 1}
    assert failures.take_untold() == [told, other]
    assert failures.take_untold() == []


def test_addresses_are_bounded(clock: ManualClock) -> None:
    failures = Failures(clock)
    for n in range(MAX_ADDRESSES + 10):
        failures.note(f"a{n}", "AI_1", "wrong token")
    told = 0
    while some := failures.take_untold():
        assert len(some) <= MAX_TOLD
        told += len(some)
    assert told == MAX_ADDRESSES


# -- logins ----------------------------------------------------------------------------------------

PEPPER = b"p" * 32
NOW_MS = 1_000_000
TRAINER = Access()


def credential(token: str, created_ms: int, expires_ms: int | None) -> Credential:
    hashed = digest(PEPPER, token)
    return Credential(
        key_id=key_id_of(token, hashed),
        digest=hashed,
        created_ms=created_ms,
        expires_ms=expires_ms,
    )


OLD, NEW = (new_token(lambda n, byte=byte: bytes([byte]) * n) for byte in (1, 2))


@pytest.mark.parametrize(
    ("access", "kept", "reason", "said"),
    [
        (None, [], "not enrolled", "do not match"),
        (replace(TRAINER, is_revoked=True), [], "revoked", "do not match"),
        (TRAINER, [], f"wrong token (key {OLD.key_id})", "do not match"),
        (TRAINER, [(NEW, 2, None)], f"wrong token (key {OLD.key_id})", "do not match"),
        (TRAINER, [(OLD, 1, NOW_MS)], f"expired (key {OLD.key_id})", "has expired"),
        (
            TRAINER,
            [(OLD, 1, NOW_MS), (NEW, 2, None)],
            f"replaced by a rotation (key {OLD.key_id}, by {NEW.key_id})",
            "was replaced by `coord rotate`",
        ),
        (TRAINER, [(OLD, 1, NOW_MS + 1), (NEW, 2, None)], None, ""),
    ],
)
@in_loop
async def test_why_a_login_is_refused(
    access: Access | None, kept: list[tuple[Token, int, int | None]], reason: str | None, said: str
) -> None:
    keys = Keys()
    server = fakeredis.FakeAsyncRedis()
    if access is not None:
        await server.hset(keys.member("AI_1"), "access", access.to_json())
    for token, created_ms, expires_ms in kept:
        one = credential(token.text, created_ms, expires_ms)
        await server.hset(keys.credentials("AI_1"), one.key_id, one.model_dump_json())
    clock = ManualClock()
    clock.wall_ms = NOW_MS
    shake = parse_handshake(to_json({"ai_id": "AI_1", "token": OLD.text}).encode())
    found = await Logins(server, keys, PEPPER, clock).check(shake)
    if isinstance(found, LoginRefused):
        assert found.reason == reason
        assert said in found.detail
        assert OLD.text not in found.detail
    else:
        assert reason is None
        assert found.access == access
    await server.aclose()


# -- rate ------------------------------------------------------------------------------------------


def test_a_bucket_gives_its_burst_and_then_its_rate(clock: ManualClock) -> None:
    bucket = Bucket(10, 5, clock)
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
    clock.advance(0.25)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    clock.advance(3600)
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]


def test_coming_back_fills_no_bucket(clock: ManualClock) -> None:
    buckets = Buckets(10, 1, clock)
    assert buckets.of("AI_1").take()
    assert not buckets.of("AI_1").take()
    assert buckets.of("AI_2").take()


# -- lines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", [b'{"a":1,"a":1}', b'{"b":{"a":1,"a":1}}', b"{", b"1", b'{"a":-Infinity}', b"\xff"]
)
def test_json_has_one_meaning_or_none(line: bytes) -> None:
    with pytest.raises(BadMessage) as refused:
        parse_strict(line)
    assert refused.value.code == "not_json"


def test_a_handshake_shows_its_token_to_nobody() -> None:
    shake = parse_handshake(b'{"ai_id":"A","token":"secret1","since":null,"more":1}')
    assert "secret1" not in repr(shake)
    with pytest.raises(BadMessage) as refused:
        parse_handshake(b'{"ai_id":"A B","token":"secret1"}')
    assert (refused.value.code, refused.value.field) == ("bad_handshake", "ai_id")
    assert "secret1" not in refused.value.detail


awkward = st.text(max_size=30) | st.sampled_from(['","message":{', '\\","message":', '"'])


@given(text=awkward, instance=st.none() | awkward, n=st.none() | st.integers(1, 10**9))
def test_a_push_is_taken_apart_without_being_parsed(
    text: str, instance: str | None, n: int | None
) -> None:
    message = encode_message("1", "AI_1", "pattern_share", TIMESTAMP, {"message": {text: text}})
    push = encode_push(message, epoch="e.1", n=n, exclude=("AI_1", "AI_2"), instance=instance)
    epoch, item = read_push(push.encode("utf-8", "surrogatepass"))
    line = message.encode("utf-8", "surrogatepass") + b"\n"
    assert epoch == "e.1"
    assert item == Item(n or 0, n or 0, line, ("AI_1", "AI_2"), instance)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"probe":{"gateway":"x"}}', b'[1,"message":1}'])
def test_what_is_no_push_is_told_apart(data: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        read_push(data)


def test_only_the_hubs_messages_are_looked_into() -> None:
    forged = encode_message('"sender_id":"hub"', "AI_1", "error", TIMESTAMP, {}).encode()
    own = encode_message("1", "hub", "error", TIMESTAMP, {"in_reply_to": "7"}).encode() + b"\n"
    found = read_hub_message(own)
    assert read_hub_message(forged) is None
    assert found is not None
    assert found["payload"] == {"in_reply_to": "7"}
    assert answering(own, "7") == own
    again = read_hub_message(answering(own, None))
    assert again == {**found, "payload": {"in_reply_to": None}}


@in_loop
async def test_a_page_of_a_stream_names_what_is_gone() -> None:
    connection = fakeredis.FakeAsyncRedis()
    await connection.hset("fleet", "epoch", "e.1")
    for n in (3, 4, 7):
        fields: Any = {"message": f"m{n}", "epoch": "e.1", "exclude": "A,B"}
        await connection.xadd("log", fields, id=f"{n}-0")
    page = await read_items(connection, "log", "fleet", "e.1", 1)
    assert page == [
        Item(2, 2, b""),
        Item(3, 3, b"m3\n", ("A", "B")),
        Item(4, 4, b"m4\n", ("A", "B")),
        Item(5, 6, b""),
        Item(7, 7, b"m7\n", ("A", "B")),
    ]
    assert await read_items(connection, "log", "fleet", "e.1", 7) == []
    with pytest.raises(EpochChanged):
        await read_items(connection, "log", "fleet", "e.0", 7)
    await connection.aclose()


# -- what goes in ----------------------------------------------------------------------------------


class Writing:
    """An IngressWriter on an empty server, whose entries the test takes like a coordinator."""

    def __init__(self, clock: ManualClock) -> None:
        self.redis = fakeredis.FakeAsyncRedis()
        self.clock = clock
        self.room = 0
        self.writer = IngressWriter(
            self.redis, Keys(), "gw:1", clock, Patience("the gateway"), self._note_room
        )

    def _note_room(self) -> None:
        self.room += 1

    async def commit(self, count: int) -> None:
        """The oldest entries take effect."""
        entries: Any = await self.redis.xrange("coord:ingress:gw:1", count=count)
        for entry_id, _ in entries:
            await self.redis.xdel("coord:ingress:gw:1", entry_id)

    async def settle(self) -> None:
        await self.writer.note_committed(is_heard=True)
        self.clock.advance(SETTLED_AFTER_S)
        await self.writer.note_committed(is_heard=True)


@in_loop
async def test_entries_settle_some_time_after_they_were_taken() -> None:
    writing = Writing(ManualClock())
    for n in range(1, 6):
        writing.writer.add(b"x", "i", n, "AI_1")
    await writing.writer._write(list(writing.writer._queue))
    writing.writer.written = 5
    await writing.commit(3)
    assert writing.writer.settled == 0
    await writing.settle()
    assert writing.writer.settled == 3
    await writing.commit(2)
    await writing.writer.note_committed(is_heard=False)  # whose refusal may not have been heard
    writing.clock.advance(SETTLED_AFTER_S)
    await writing.writer.note_committed(is_heard=True)
    assert writing.writer.settled == 3
    await writing.settle()
    assert writing.writer.settled == 5
    await writing.redis.aclose()


@in_loop
async def test_what_is_not_settled_is_bounded() -> None:
    writing = Writing(ManualClock())
    for n in range(MAX_UNSETTLED):
        writing.writer.add(b"", "i", n + 1, "AI_1")
    assert not writing.writer.is_full
    writing.writer.add(b"", "i", MAX_UNSETTLED + 1, "AI_1")
    assert writing.writer.is_full
    writing.writer.written = MAX_UNSETTLED + 1
    await writing.settle()
    assert not writing.writer.is_full
    assert writing.room == 1
    await writing.redis.aclose()


@in_loop
async def test_what_had_no_effect_is_said_again_in_order() -> None:
    writing = Writing(ManualClock())
    outgoing = Outgoing("AI_1", "i", is_named=False, writer=writing.writer)
    for message_id, body in [("1", b"a"), ("2", b"b"), ("1", b"c"), ("3", b"d")]:
        outgoing.send(message_id, body)
    for message_id in ("2", "1", "3", "9"):  # of the two called 1 the later one was refused
        outgoing.note_unheeded(message_id)
    outgoing.send_again()
    entries = [(entry.body, entry.n) for entry in writing.writer._queue]
    assert entries[4:] == [(b"b", 5), (b"c", 6), (b"d", 7)]
    outgoing.send_again()
    assert len(writing.writer._queue) == 7
    await writing.redis.aclose()


@in_loop
async def test_one_ai_holds_a_share_of_it() -> None:
    writing = Writing(ManualClock())
    outgoing = Outgoing("AI_1", "i", is_named=False, writer=writing.writer)
    outgoing.send("1", b"x" * MAX_UNSETTLED_BYTES_PER_AI)
    assert not outgoing.is_full
    outgoing.send("2", b"x")
    assert outgoing.is_full
    writing.writer.written = 2
    await writing.settle()
    outgoing.forget_settled()
    assert not outgoing.is_full
    await writing.redis.aclose()


@in_loop
async def test_an_entry_is_waited_for_until_it_has_taken_effect() -> None:
    writing = Writing(ManualClock())
    for n in range(1, 3):
        writing.writer.add(b"x", "i", n, "AI_1")
    await writing.writer._write(list(writing.writer._queue))
    writing.writer.written = 2
    await writing.commit(1)
    await writing.writer.wait_until_committed(1)
    waiting = asyncio.create_task(writing.writer.wait_until_committed(2))
    await asyncio.wait([waiting], timeout=COMMITTED_POLL_S)
    assert not waiting.done()
    await writing.commit(1)
    await waiting
    await writing.redis.aclose()


# -- outages ---------------------------------------------------------------------------------------


@in_loop
async def test_an_outage_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "BACKOFF", NoBackoff())
    caplog.set_level(logging.INFO, "coord.client")
    patience = Patience("the gateway")
    failures = [redis.ConnectionError("refused")] * 5

    async def act() -> str:
        if failures:
            raise failures.pop()
        return "done"

    patience.note_outage(TimeoutError())
    assert await patience.through_outages(act) == "done"
    failures.append(redis.ConnectionError("again"))
    assert await patience.through_outages(act) == "done"
    assert caplog.messages == [
        "the gateway: waiting for the server: TimeoutError()",
        "the gateway: waiting for the server: again",
    ]


# -- where it listens ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:6000", ("127.0.0.1", 6000)),
        ("[::1]:7000", ("::1", 7000)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_where_to_listen(text: str, place: tuple[str, int]) -> None:
    assert parse_listen(text) == place


@pytest.mark.parametrize("text", ["", "6000", "host", "host:", ":6000", "::1:6000", "host:70000"])
def test_what_is_no_place_to_listen(text: str) -> None:
    with pytest.raises(CannotListen) as refused:
        bind(GatewaySettings(listen=text))
    assert "HOST:PORT" in refused.value.detail


def test_without_tls_only_loopback_is_listened_on(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CannotListen) as refused:
        bind(GatewaySettings(listen="0.0.0.0:0"))
    assert "dev-cert" in refused.value.detail
    with caplog.at_level(logging.WARNING, "coord.gateway"):
        sockets = bind(GatewaySettings(listen="0.0.0.0:0", insecure_bind=True))
    for each in sockets:
        each.close()
    assert "without TLS" in caplog.text


def test_all_addresses_of_a_host_have_one_port() -> None:
    sockets = bind(GatewaySettings(listen="localhost:0"))
    ports = {each.getsockname()[1] for each in sockets}
    for each in sockets:
        each.close()
    assert len(ports) == 1


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotListen) as refused:
            bind(GatewaySettings(listen=place))
    assert place in refused.value.detail


def test_tls_needs_both_of_its_files(tmp_path: Path) -> None:
    pair = trustme.CA().issue_cert("localhost")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    pair.cert_chain_pems[0].write_to_path(str(cert))
    pair.private_key_pem.write_to_path(str(key))
    assert tls_context(GatewaySettings()) is None
    assert tls_context(GatewaySettings(tls_cert=cert, tls_key=key)) is not None
    for wrong in (
        GatewaySettings(tls_cert=cert),
        GatewaySettings(tls_key=key),
        GatewaySettings(tls_client_ca=cert),
        GatewaySettings(tls_cert=key, tls_key=cert),
        GatewaySettings(tls_cert=tmp_path / "none", tls_key=key),
    ):
        with pytest.raises(CannotListen):
            tls_context(wrong)


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("2001:db8::1:2:3", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_whose_limits_a_connection_counts_in(host: str, place: str) -> None:
    assert place_of(host) == place


def test_a_gateway_says_where_it_listens(clock: ManualClock) -> None:
    settings = GatewaySettings(listen="127.0.0.1:0")
    gateway = Gateway(settings, Settings(), lambda _: NotImplemented, clock, CountingIds(), b"p")
    assert gateway.address == ""
    assert gateway.bind() == gateway.bind() == gateway.address
    assert gateway.address.startswith("127.0.0.1:")
    for each in gateway._sockets:
        each.close()
