"""AsyncClient through a gateway where something goes wrong: every message once and in order."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import trustme

from coordinator.client import AsyncClient
from coordinator.credentials import digest, new_token
from coordinator.errors import CoordError, IdTaken, NotAnswered, Refused, ServerUnusable
from coordinator.gateway import GatewaySettings
from coordinator.mailbox import Message
from coordinator.tcp import transport as tcp_transport
from coordinator.tcp import unconfirmed
from coordinator.tcp.gateway_url import parse_address
from tests.clients import (
    PEPPER,
    GatewayFleet,
    in_loop,
    is_pattern,
    numbers_of,
    pattern,
    receive_all,
    receive_until,
    until,
)
from tests.cutting import CuttingProxy
from tests.servers import TestServer

pytestmark = pytest.mark.one_server


async def share(client: AsyncClient, numbers: range) -> None:
    for number in numbers:
        await client.share_pattern(pattern(number))


def gaps(messages: list[Message]) -> list[dict[str, Any]]:
    return [m.payload for m in messages if m.message_type == "gap"]


def shared_numbers(fleet: GatewayFleet) -> list[int]:
    """The patterns in the log, in their order."""
    shared = [m["payload"]["pattern"] for m in fleet.log() if "pattern" in m["payload"]]
    return [one["data"]["number"] for one in shared]


def sent_by(client: AsyncClient) -> Any:
    """What it keeps until it is confirmed."""
    transport: Any = client._transport
    return transport._outbox.unconfirmed


def behind(fleet: GatewayFleet, seed: int = 0) -> CuttingProxy:
    """A proxy in front of the fleet's gateway."""
    return CuttingProxy(parse_address(fleet.url_of_gateway).port, seed=seed)


# -- getting in ------------------------------------------------------------------------------------


@in_loop
async def test_a_wrong_token_is_refused_at_once_and_not_shown(real_url: str) -> None:
    async with GatewayFleet(real_url) as fleet:
        fleet.token("AI_1")
        wrong = "not-the-token-of-AI-1"
        with pytest.raises(Refused) as caught:
            await fleet.async_client("AI_1", token=wrong).connect()
        assert caught.value.code == "bad_login"
        assert wrong not in str(caught.value)
        with pytest.raises(Refused) as unknown:
            await fleet.async_client("AI_2", token=wrong).connect()
        assert unknown.value.code == "bad_login"


@in_loop
async def test_a_gateway_that_is_not_there_is_waited_for(real_url: str) -> None:
    async with GatewayFleet(real_url) as fleet:
        client = fleet.async_client("AI_1")
        address = parse_address(fleet.url_of_gateway)
        await asyncio.to_thread(fleet.stop_gateway)
        where = f"{address.host}:{address.port}"
        said = f"^the gateway at {where} cannot be reached: connection refused; does one listen"
        with pytest.raises(NotAnswered, match=said):
            await client.connect(timeout_s=0.3)
        client = fleet.async_client("AI_1", url=f"coord://{address.host}:{address.port}")
        connecting = asyncio.create_task(client.connect())
        await asyncio.sleep(0)
        await asyncio.to_thread(fleet.start_gateway, listen=f"127.0.0.1:{address.port}")
        await connecting
        await client.confirm()
        await client.close()


@in_loop
async def test_tls_is_checked_with_the_ca_that_is_named(real_url: str, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    certificate, own = authority.issue_cert("127.0.0.1"), authority.issue_cert("client@host")
    cert, key, ca = tmp_path / "cert", tmp_path / "key", tmp_path / "ca"
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    stranger.cert_pem.write_to_path(tmp_path / "stranger")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own")
    gateway = GatewaySettings(tls_cert=cert, tls_key=key, tls_client_ca=ca)
    async with GatewayFleet(real_url, gateway) as fleet:
        trusted = fleet.settings.model_copy(update={"tls_cert": tmp_path / "own"})
        async with fleet.async_client("AI_1", ca=ca, settings=trusted) as client:
            await client.share_pattern(pattern(1))
            await client.confirm()
        trusted = trusted.model_copy(update={"tls_ca": ca})
        async with fleet.async_client("AI_1", settings=trusted) as client:
            assert (await client.query("patterns")).total == 1
        with pytest.raises(ServerUnusable, match="COORD_TLS_CA"):
            await fleet.async_client("AI_1", ca=tmp_path / "stranger").connect()
        plain = fleet.url_of_gateway.replace("coords", "coord")
        with pytest.raises(NotAnswered, match=f"hung up.* wants {fleet.url_of_gateway}"):
            await fleet.async_client("AI_1", url=plain).connect(timeout_s=0.5)


@in_loop
async def test_what_has_no_tls_is_not_spoken_to_with_it(real_url: str) -> None:
    async with GatewayFleet(real_url) as fleet:
        url = fleet.url_of_gateway.replace("coord:", "coords:")
        with pytest.raises(ServerUnusable, match="coord://"):
            await fleet.async_client("AI_1", url=url).connect()


# -- the coordinator -------------------------------------------------------------------------------


@in_loop
async def test_what_is_sent_while_no_coordinator_is_active_takes_effect_later(
    real_url: str,
) -> None:
    async with (
        GatewayFleet(real_url) as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        fleet.crash_coordinator()
        await share(client, range(20))
        with pytest.raises(NotAnswered):
            await client.confirm(timeout_s=0.2)
        with pytest.raises(NotAnswered):
            await client.query("counts", timeout_s=0.2)
        await asyncio.to_thread(fleet.start_coordinator)
        await client.confirm()
        assert numbers_of(await receive_until(other, is_pattern(19))) == list(range(20))
        assert shared_numbers(fleet) == list(range(20))


@in_loop
async def test_no_more_is_kept_than_the_coordinator_can_tell_from_what_it_has_taken(
    real_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unconfirmed, "MAX_UNCONFIRMED", 10)
    async with GatewayFleet(real_url) as fleet, fleet.async_client("AI_1") as client:
        fleet.crash_coordinator()
        sending = asyncio.create_task(share(client, range(30)))
        await until(lambda: len(sent_by(client)) == 10)
        done, _ = await asyncio.wait([sending], timeout=0.3)
        assert not done
        assert len(sent_by(client)) == 10
        await asyncio.to_thread(fleet.start_coordinator)
        await sending
        await client.confirm()
        assert shared_numbers(fleet) == list(range(30))


@in_loop
async def test_what_was_sent_is_confirmed_by_the_way(real_url: str) -> None:
    """Long after it would not be known any more, and take effect again."""
    async with (
        GatewayFleet(real_url, lease_s=0.6) as fleet,
        fleet.async_client("AI_1") as client,
    ):
        await share(client, range(3))
        assert sent_by(client)
        await until(lambda: not sent_by(client))


@in_loop
async def test_who_is_kicked_is_out(real_url: str) -> None:
    async with GatewayFleet(real_url) as fleet:
        client = fleet.async_client("AI_1")
        await client.connect()
        fleet.order("kick", {"ai": "AI_1", "reason": "out of order"})
        with pytest.raises(Refused, match="out of order") as caught:
            await receive_all(client, 20)
        assert caught.value.code == "kicked"
        with pytest.raises(Refused):
            await client.share_pattern(pattern(1))
        await client.close()


@in_loop
async def test_whose_token_is_revoked_is_out(real_url: str) -> None:
    async with GatewayFleet(real_url) as fleet:
        client = fleet.async_client("AI_1")
        await client.connect()
        fleet.order("revoke", {"ai": "AI_1"})
        with pytest.raises(Refused) as caught:
            await receive_all(client, 20)
        assert caught.value.code == "revoked"
        await client.close()
        with pytest.raises(Refused):
            await fleet.async_client("AI_1").connect()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return tmp_path / "token"


async def client_with_file(fleet: GatewayFleet, token_file: Path) -> AsyncClient:
    """AI_1, joined by the token that is in the file; then that is rotated, and nobody has told."""
    token_file.write_text(fleet.token("AI_1"))
    settings = fleet.settings.model_copy(update={"token_file": token_file})
    client = fleet.async_client("AI_1", token=None, settings=settings)
    await client.connect()
    return client


def rotate(fleet: GatewayFleet) -> str:
    """Replace AI_1's token; the new one."""
    token = new_token()
    asked = {"ai": "AI_1", "key_id": token.key_id, "digest": digest(PEPPER, token.text)}
    fleet.order("rotate", {**asked, "grace_s": 0, "is_weak": False})
    return token.text


@in_loop
async def test_whose_token_is_replaced_finds_the_new_one_in_its_file(
    real_url: str, token_file: Path
) -> None:
    async with GatewayFleet(real_url) as fleet:
        client = await client_with_file(fleet, token_file)
        token = await asyncio.to_thread(rotate, fleet)
        await until(
            lambda: not client._transport.is_joined, what="the gateway to end the connection"
        )
        token_file.write_text(token)
        await client.share_pattern(pattern(1))
        await client.confirm()
        assert shared_numbers(fleet) == [1]
        await client.close()


@in_loop
async def test_whose_token_is_replaced_and_finds_no_other_is_told_why(
    real_url: str, token_file: Path
) -> None:
    async with GatewayFleet(real_url) as fleet:
        client = await client_with_file(fleet, token_file)
        await asyncio.to_thread(rotate, fleet)
        with pytest.raises(Refused) as caught:
            await receive_all(client, 20)
        assert caught.value.code == "revoked"
        await client.close()


@in_loop
async def test_what_is_no_gateway_is_said_to_be_none(real_url: str) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR unknown command\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = AsyncClient("AI_1", f"coord://127.0.0.1:{port}", token="t")
        with pytest.raises(NotAnswered, match=f"^what listens at 127.0.0.1:{port} is no gateway"):
            await client.connect(timeout_s=0.5)


@in_loop
async def test_a_refusal_that_comes_with_the_end_of_the_connection_is_heard(real_url: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        start = {"epoch": "e", "log": 0, "inbox": 0}
        writer.write(json.dumps({"ok": True, **start}).encode() + b"\n")
        hello = json.loads(await reader.readline())
        payload = {"in_reply_to": hello["message_id"], "code": "id_taken", "detail": "it is held"}
        error = {**hello, "sender_id": "hub", "message_type": "error", "payload": payload}
        writer.write(json.dumps({**error, "target_ai": "AI_1", "offset": start}).encode() + b"\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = AsyncClient("AI_1", f"coord://127.0.0.1:{port}", token="t")
        with pytest.raises(IdTaken, match="it is held"):
            await client.connect(timeout_s=20)


# -- the gateway -----------------------------------------------------------------------------------


@in_loop
async def test_at_another_gateway_it_goes_on_where_it_was(real_url: str) -> None:
    async with GatewayFleet(real_url) as fleet:
        address = parse_address(fleet.url_of_gateway)
        async with fleet.async_client("AI_1") as client, fleet.async_client("AI_2") as other:
            await share(client, range(20))
            sending = asyncio.create_task(share(client, range(20, 60)))
            await asyncio.sleep(0)
            await asyncio.to_thread(fleet.stop_gateway)
            await asyncio.to_thread(fleet.start_gateway, listen=f"127.0.0.1:{address.port}")
            await sending
            await client.confirm()
            assert shared_numbers(fleet) == list(range(60))
            assert numbers_of(await receive_until(other, is_pattern(59))) == list(range(60))


@in_loop
async def test_an_id_that_is_held_by_another_transport_is_refused_there(
    real_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with GatewayFleet(real_url) as fleet, fleet.async_client("AI_1") as holder:
        with pytest.raises(IdTaken) as caught:
            await fleet.async_client("AI_1", url=real_url).connect()
        assert caught.value.holder == holder.instance
        async with fleet.async_client("AI_2", url=real_url) as at_redis:
            with pytest.raises(IdTaken) as caught:
                await fleet.async_client("AI_2").connect()
            assert caught.value.holder == at_redis.instance
            assert "none of coord's" not in caplog.text  # the gateway asked who is there
            await holder.share_pattern(pattern(1), target_ai="AI_2")
            assert numbers_of(await receive_until(at_redis, is_pattern(1))) == [1]


@in_loop
async def test_it_keeps_to_the_pace_that_the_gateway_takes(real_url: str) -> None:
    gateway = GatewaySettings(messages_per_s=200, messages_burst=20)
    async with GatewayFleet(real_url, gateway) as fleet, fleet.async_client("AI_1") as client:
        await share(client, range(150))
        await client.confirm()
        assert shared_numbers(fleet) == list(range(150))
        assert [m for m in await receive_all(client) if m.message_type == "error"] == []


@in_loop
async def test_what_was_refused_for_its_pace_is_sent_again(
    real_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another start of the same AI has just used up what it may."""
    monkeypatch.setattr("coordinator.tcp.pace.Pace.turn", lambda self: asyncio.sleep(0))
    gateway = GatewaySettings(messages_per_s=50, messages_burst=10)
    async with GatewayFleet(real_url, gateway) as fleet, fleet.async_client("AI_1") as client:
        await share(client, range(40))
        await client.confirm()
        assert sorted(shared_numbers(fleet)) == list(range(40))
        assert (await client.query("patterns")).total == 40


# -- the network -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1])
@in_loop
async def test_a_bad_network_loses_and_doubles_nothing(seed: int, real_url: str) -> None:
    """Connections are cut, half-closed and delayed between both clients and the gateway."""
    total = 200
    print(f"seed {seed}")
    async with (
        GatewayFleet(real_url) as fleet,
        behind(fleet, seed) as proxy,
        fleet.async_client("AI_1", url=proxy.url) as client,
        fleet.async_client("AI_2", url=proxy.url) as other,
    ):
        draw = random.Random(seed)
        proxy.delay_s = 0.003
        reading = asyncio.create_task(receive_until(other, is_pattern(total - 1), 35))
        sending = asyncio.create_task(share(client, range(total)))
        harmed = 0
        while not sending.done() or harmed < 10:
            await asyncio.sleep(draw.uniform(0.02, 0.2))
            proxy.harm_one()
            harmed += 1
        await sending
        await client.confirm()
        came = await reading
        assert shared_numbers(fleet) == list(range(total))
        assert numbers_of(came) == list(range(total))
        assert gaps(came) == []


@in_loop
async def test_a_connection_that_is_silently_dead_is_noticed(
    real_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is closed and nothing comes: only asking finds out."""
    monkeypatch.setattr(tcp_transport, "SILENCE_S", 0.3)
    monkeypatch.setattr(tcp_transport, "ANSWER_LIMIT_S", 0.3)
    async with (
        GatewayFleet(real_url) as fleet,
        behind(fleet) as proxy,
        fleet.async_client("AI_1", url=proxy.url) as client,
    ):
        await client.query("counts")
        for connection in proxy.connections:
            connection.is_dead = True
        await client.share_pattern(pattern(1))
        await client.confirm(20)
        assert shared_numbers(fleet) == [1]


@in_loop
async def test_an_artifact_on_its_way_survives_a_cut(real_url: str) -> None:
    data = random.Random(1).randbytes(1_500_000)
    async with (
        GatewayFleet(real_url) as fleet,
        behind(fleet) as proxy,
        fleet.async_client("AI_1", url=proxy.url) as client,
    ):
        proxy.delay_s = 0.002
        putting = asyncio.create_task(client.put_artifact(data))
        await until(lambda: proxy.carried_bytes > len(data) / 10)
        assert not putting.done()
        proxy.cut_all()
        artifact = await putting
        before_bytes = proxy.carried_bytes
        getting = asyncio.create_task(client.get_artifact("AI_1", artifact.sha256))
        await until(lambda: proxy.carried_bytes > before_bytes + len(data) / 10)
        assert not getting.done()
        proxy.cut_all()
        assert await getting == data


@in_loop
async def test_who_waits_for_the_gateway_is_told_when_the_client_is_closed(real_url: str) -> None:
    async with GatewayFleet(real_url) as fleet:
        client = fleet.async_client("AI_1")
        await client.connect()
        await asyncio.to_thread(fleet.stop_gateway)
        await until(lambda: not client._transport.is_joined)
        sending = asyncio.create_task(client.share_pattern(pattern(1)))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(CoordError, match="closed"):
            await sending


# -- the server ------------------------------------------------------------------------------------


@in_loop
async def test_a_server_killed_and_started_again_loses_nothing_with_its_log(
    start_server: Any,
) -> None:
    server: TestServer = start_server("--appendonly", "yes", "--appendfsync", "always")
    async with (
        GatewayFleet(server.url) as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        await share(client, range(50))
        await client.confirm()
        before = client.cursor.epoch
        server.kill()
        sending = asyncio.create_task(share(client, range(50, 100)))
        await asyncio.sleep(0)
        server.start()
        await sending
        await client.confirm()
        came = await receive_until(other, is_pattern(99))
        assert numbers_of(came) == list(range(100))
        assert gaps(came) == []
        assert other.cursor.epoch != before


@in_loop
async def test_one_that_has_seen_what_the_server_forgot_is_told_so_and_goes_on(
    start_server: Any, tmp_path: Path
) -> None:
    server: TestServer = start_server("--appendonly", "yes", "--appendfsync", "always")
    async with (
        GatewayFleet(server.url) as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        await share(client, range(10))
        await client.confirm()
        forgotten_from = fleet.log_length() + 1
        shutil.copytree(server.directory / "appendonlydir", tmp_path / "copy")
        await share(client, range(10, 20))
        await client.confirm()
        await receive_until(other, is_pattern(19))
        seen = other.cursor
        await asyncio.to_thread(fleet.stop_coordinator)
        server.kill()
        shutil.rmtree(server.directory / "appendonlydir")
        shutil.copytree(tmp_path / "copy", server.directory / "appendonlydir")
        server.start()
        await asyncio.to_thread(fleet.start_coordinator)
        await client.share_pattern(pattern(100))
        await client.confirm()
        came = await receive_until(other, is_pattern(100))
        told = [gap for gap in gaps(came) if gap["stream"] == "log"]
        forgotten = {"first": forgotten_from, "last": seen.log, "reason": "forgotten"}
        assert told == [{"stream": "log", **forgotten}]
        assert numbers_of(came) == [100]
        assert other.cursor.epoch != seen.epoch
        assert other.cursor.log == fleet.log_length()


@in_loop
async def test_who_was_away_beyond_retention_is_told_what_is_gone(real_url: str) -> None:
    """A gateway that was there has the latest in memory; one that starts then has not."""
    async with GatewayFleet(real_url, log_keep=10, log_keep_s=0) as fleet:
        async with fleet.async_client("AI_2") as reader:
            cursor = reader.cursor
        async with fleet.async_client("AI_1") as client:
            await share(client, range(40))
            await client.confirm()
        await until(lambda: fleet.redis.xlen(fleet.keys.log) == 10)
        await asyncio.to_thread(fleet.stop_gateway)
        await asyncio.to_thread(fleet.start_gateway)
        oldest = int(fleet.redis.xrange(fleet.keys.log, count=1)[0][0].split(b"-")[0])
        async with fleet.async_client("AI_2", cursor=cursor) as reader:
            came = await receive_until(reader, is_pattern(39))
        told = {"stream": "log", "first": cursor.log + 1, "last": oldest - 1}
        assert gaps(came) == [{**told, "reason": "retention"}]
        assert numbers_of(came) == list(range(31, 40))  # the tenth is the goodbye of AI_1
        assert next(m for m in came if m.message_type == "gap").stream == "log"
