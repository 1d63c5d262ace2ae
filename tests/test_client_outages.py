"""AsyncClient through outages: every message once and in order, or said to be gone."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator import redis_transport, subscription
from coordinator.client import AsyncClient
from coordinator.errors import IdTaken, NotAnswered, Refused, ServerUnusable
from coordinator.mailbox import Message
from coordinator.messages import decode_push
from coordinator.reader import Reader
from coordinator.testing import FakeFleet
from tests.clients import (
    RealFleet,
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

StartServer = Callable[..., TestServer]
AOF = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def socket(tmp_path_factory: pytest.TempPathFactory, start_server: StartServer) -> Path:
    """A path for a proxy's socket, short enough for one."""
    return Path("/tmp") / f"coord-proxy-{random.SystemRandom().randrange(10**9)}"


def gaps(messages: list[Message]) -> list[dict[str, Any]]:
    return [m.payload for m in messages if m.message_type == "gap"]


async def share(client: AsyncClient, numbers: range) -> None:
    for number in numbers:
        await client.share_pattern(pattern(number))


async def forget_presence(fleet: RealFleet, ai: str) -> None:
    """Have a lease end at once, as after a long absence."""
    await asyncio.to_thread(fleet.stop_coordinator)
    for key in (fleet.keys.ai(ai),):
        fleet.redis.delete(key)
    fleet.redis.zrem(fleet.keys.leases, ai)
    await asyncio.to_thread(fleet.start_coordinator)


# -- the coordinator -------------------------------------------------------------------------------


@in_loop
async def test_what_is_sent_while_no_coordinator_is_active_takes_effect_later(
    real_url: str,
) -> None:
    async with (
        RealFleet(real_url) as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        fleet.crash_coordinator()
        await share(client, range(20))
        with pytest.raises(NotAnswered):
            await client.confirm(timeout_s=0.2)
        with pytest.raises(NotAnswered):
            await client.query("counts", timeout_s=0.2)
        waiting = asyncio.create_task(client.query("patterns"))
        await asyncio.to_thread(fleet.start_coordinator)
        await client.confirm()
        assert numbers_of(await receive_until(other, is_pattern(19))) == list(range(20))
        assert (await waiting).total == 20


@pytest.mark.one_server
@in_loop
async def test_coordinators_that_take_over_from_each_other_lose_and_double_nothing(
    real_url: str,
) -> None:
    async with (
        RealFleet(real_url) as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        sending = asyncio.create_task(share(client, range(400)))
        for crashes in range(3):
            await until(lambda: fleet.log_length() > 20 * (crashes + 1))  # noqa: B023
            await asyncio.to_thread(
                fleet.crash_coordinator if crashes % 2 else fleet.stop_coordinator
            )
            await asyncio.to_thread(fleet.start_coordinator)
        await sending
        await client.confirm()
        assert numbers_of(await receive_until(other, is_pattern(399))) == list(range(400))


# -- the lease -------------------------------------------------------------------------------------


@pytest.mark.one_server
@in_loop
async def test_who_was_away_rejoins_and_sends_again_what_was_refused_once_and_in_order(
    real_url: str,
) -> None:
    async with (
        RealFleet(real_url) as fleet,
        fleet.async_client("AI_1", profile={"colour": "blue"}) as client,
        fleet.async_client("AI_2") as other,
    ):
        await forget_presence(fleet, "AI_1")
        mine = pattern(0)
        first = asyncio.create_task(client.share_pattern(mine))
        await share(client, range(1, 30))
        await first
        mine["data"]["number"] = 999  # what is sent again is what was sent
        await client.confirm()
        came = await receive_until(other, is_pattern(29))
        assert sorted(numbers_of(came)) == list(range(30))
        assert numbers_of(came)[1:] == sorted(numbers_of(came)[1:])
        assert fleet.live() == ["AI_1", "AI_2"]
        hello = [m for m in came if m.message_type == "hello" and m.sender_id == "AI_1"]
        assert hello[-1].payload["colour"] == "blue"
        errors = [m for m in await receive_all(client) if m.message_type == "error"]
        assert errors == []  # that it had to rejoin is not the caller's affair


@pytest.mark.one_server
@in_loop
async def test_an_id_taken_over_meanwhile_ends_the_client_that_had_it(real_url: str) -> None:
    async with RealFleet(real_url) as fleet:
        client = fleet.async_client("AI_1")
        await client.connect()
        await forget_presence(fleet, "AI_1")
        async with fleet.async_client("AI_1") as second:
            await client.share_pattern(pattern(1))
            with pytest.raises(IdTaken) as caught:
                await client.confirm()
            assert caught.value.holder == second.instance
            with pytest.raises(IdTaken):
                await receive_all(client)
            with pytest.raises(IdTaken):
                await client.share_pattern(pattern(2))
            await client.close()
            await second.confirm()
            assert (await second.query("patterns")).total == 0


@pytest.mark.one_server
@in_loop
async def test_heartbeats_alone_bring_it_back(real_url: str) -> None:
    async with RealFleet(real_url, lease_s=0.6) as fleet, fleet.async_client("AI_1"):
        await forget_presence(fleet, "AI_1")
        await until(lambda: fleet.live() == ["AI_1"])


# -- the server ------------------------------------------------------------------------------------


@in_loop
async def test_a_server_killed_and_started_again_loses_nothing_with_its_log(
    start_server: StartServer,
) -> None:
    server = start_server(*AOF)
    async with (
        RealFleet(server.url) as fleet,
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
        assert [m.n for m in came if m.stream == "log"] == sorted(
            {m.n for m in came if m.stream == "log"}
        )
        await until(lambda: client.cursor.epoch != before and other.cursor.epoch != before)
        assert (await client.query("patterns")).total == 100


@pytest.mark.one_server
@in_loop
async def test_a_cursor_of_an_earlier_epoch_replays_from_there(start_server: StartServer) -> None:
    server = start_server(*AOF)
    async with RealFleet(server.url) as fleet, fleet.async_client("AI_1") as client:
        async with fleet.async_client("AI_2") as reader:
            cursor = reader.cursor
        await share(client, range(30))
        await client.share_pattern(pattern(100), target_ai="AI_2")
        await client.confirm()
        server.restart()
        await share(client, range(30, 40))
        await client.confirm()
        async with fleet.async_client("AI_2", cursor=cursor) as reader:
            came = await receive_all(reader, 1)
            assert numbers_of([m for m in came if m.stream == "log"]) == list(range(40))
            assert numbers_of([m for m in came if m.stream == "inbox"]) == [100]
            assert gaps(came) == []
        hellos = [m for m in fleet.log() if m["message_type"] == "hello"]
        assert len(hellos) < 8  # it said hello twice, not without end


@in_loop
async def test_one_ahead_of_a_server_that_lost_everything_is_told_so_and_goes_on(
    start_server: StartServer,
) -> None:
    server = start_server()
    async with (
        RealFleet(server.url) as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        await share(client, range(20))
        await client.confirm()
        came = await receive_until(other, is_pattern(19))
        seen = other.cursor.log
        server.restart()
        await share(client, range(100, 110))
        await client.confirm()
        came = await receive_until(other, is_pattern(109))
        told = [gap for gap in gaps(came) if gap["stream"] == "log"]
        assert told == [{"stream": "log", "first": 1, "last": seen, "reason": "forgotten"}]
        assert numbers_of(came) == list(range(100, 110))
        assert other.cursor.log <= fleet.log_length() < seen
        assert sorted(fleet.live()) == ["AI_1", "AI_2"]


@pytest.mark.parametrize("reads", ["before", "after"])
@pytest.mark.one_server
@in_loop
async def test_one_at_57_of_a_server_restored_to_50_that_went_on_to_60_is_told_so(
    reads: str, start_server: StartServer, tmp_path: Path
) -> None:
    """By numbers alone it would read on at 58 and notice nothing."""
    server = start_server(*AOF)
    async with RealFleet(server.url) as fleet:
        client = fleet.async_client("AI_1")
        await client.connect()
        reader = fleet.async_client("AI_2")
        await reader.connect()
        await share(client, range(3, 51))  # the hellos were 1 and 2
        await client.confirm()
        assert fleet.log_length() == 50
        copy = tmp_path / "copy"
        shutil.copytree(server.directory / "appendonlydir", copy)
        await share(client, range(51, 58))
        await client.confirm()
        await client.close()
        await until(lambda: reader._transport._reader._log.last >= 57)
        if reads == "before":
            await receive_until(reader, is_pattern(57))
            cursor = reader.cursor
            await reader.close()
        await asyncio.to_thread(fleet.stop_coordinator)
        server.kill()
        shutil.rmtree(server.directory / "appendonlydir")
        shutil.copytree(copy, server.directory / "appendonlydir")
        server.start()
        if reads == "before":  # the copy still has the instance that has said goodbye since
            fleet.redis.zrem(fleet.keys.leases, "AI_2")
        await asyncio.to_thread(fleet.start_coordinator)
        async with fleet.async_client("AI_3") as second:
            while fleet.log_length() < 60:
                await second.share_pattern(pattern(1000 + fleet.log_length()))
                await second.confirm()
            if reads == "before":
                reader = fleet.async_client("AI_2", cursor=cursor)
                await reader.connect()
            came = await receive_until(reader, is_pattern(1059))
            told = [gap for gap in gaps(came) if gap["stream"] == "log"]
            assert [(gap["first"], gap["reason"]) for gap in told] == [(51, "forgotten")]
            assert 57 <= told[0]["last"] <= 58  # AI_1's goodbye was 58
            new = [number for number in numbers_of(came) if number >= 1000]
            assert new == list(range(1000 + 60 - len(new), 1060))
            assert len(new) >= 8
            assert reader.cursor.log == 60
            if reads == "after":
                assert [n for n in numbers_of(came) if n < 1000] == list(range(3, 58))
            await reader.close()
        await client.close()


@pytest.mark.one_server
@in_loop
async def test_the_cursor_behind_a_forgotten_gap_is_where_the_server_is(
    start_server: StartServer,
) -> None:
    server = start_server()
    async with (
        RealFleet(server.url) as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        await share(client, range(20))
        await receive_until(other, is_pattern(19))
        server.restart()
        await receive_until(other, lambda m: m.message_type == "gap" and m.stream == "log")
        assert other.cursor.log == 0
        assert other.cursor.epoch == other._transport._reader._log.epoch


@in_loop
async def test_a_server_that_refuses_writes_for_a_while_is_waited_for(
    start_server: StartServer,
) -> None:
    server = start_server()
    async with RealFleet(server.url) as fleet, fleet.async_client("AI_1") as client:
        fleet.redis.config_set("min-replicas-to-write", 1)  # NOREPLICAS, as during a failover
        sharing = asyncio.create_task(client.share_pattern(pattern(1)))
        await asyncio.wait([sharing], timeout=0.3)
        assert not sharing.done()
        fleet.redis.config_set("min-replicas-to-write", 0)
        await sharing
        await client.confirm()


@in_loop
async def test_a_full_server_is_waited_for(start_server: StartServer) -> None:
    server = start_server()
    async with RealFleet(server.url) as fleet, fleet.async_client("AI_1") as client:
        fleet.redis.config_set("maxmemory", 1)
        sharing = asyncio.create_task(client.share_pattern(pattern(1)))
        await asyncio.wait([sharing], timeout=0.3)
        assert not sharing.done()
        fleet.redis.config_set("maxmemory", 0)
        await sharing
        await client.confirm()


@in_loop
async def test_a_wrong_password_is_said_at_once(start_server: StartServer) -> None:
    server = start_server("--requirepass", "right")
    client = AsyncClient("AI_1", f"unix://:wrong@{server.socket_path}")
    with pytest.raises(ServerUnusable, match="AI_1") as caught:
        await client.connect(timeout_s=20)
    assert "wrong" not in str(caught.value).lower().replace("wrongpass", "")


@in_loop
async def test_rights_that_are_missing_are_said_at_once(start_server: StartServer) -> None:
    server = start_server()
    with server.client() as admin:
        admin.acl_setuser(
            "poor", enabled=True, nopass=True, keys=["other:*"], channels=["*"], commands=["+@all"]
        )
    client = AsyncClient("AI_1", f"unix://poor:x@{server.socket_path}")
    with pytest.raises(ServerUnusable, match="refuses what AI_1 needs"):
        await client.connect(timeout_s=20)


# -- cut connections -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1])
@in_loop
async def test_connections_killed_at_random_lose_and_double_nothing(
    seed: int, real_url: str
) -> None:
    draw = random.Random(seed)
    print(f"seed {seed}")
    total = 2000
    async with (
        RealFleet(real_url) as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        came: list[Message] = []

        async def read() -> None:
            came.extend(await receive_until(other, is_pattern(total - 1), 30))

        reading = asyncio.create_task(read())
        sending = asyncio.create_task(share(client, range(total)))
        cuts = 0
        while not sending.done():
            await asyncio.sleep(draw.uniform(0.005, 0.1))
            cuts += fleet.cut_subscribers()
            if draw.random() < 0.3:
                fleet.cut_connections()
        await sending
        await client.confirm()
        await reading
        assert cuts > 5
        assert numbers_of(came) == list(range(total))
        assert gaps(came) == []


@pytest.mark.parametrize("seed", [1])
@pytest.mark.one_server
@in_loop
async def test_a_bad_network_loses_and_doubles_nothing(
    seed: int, start_server: StartServer, socket: Path
) -> None:
    """Connections are cut, half-closed and delayed between both clients and the server."""
    server = start_server()
    print(f"seed {seed}")
    total = 200
    async with (
        RealFleet(server.url) as fleet,
        CuttingProxy(server.socket_path, socket, seed) as proxy,
        fleet.async_client("AI_1", url=proxy.url) as client,
        fleet.async_client("AI_2", url=proxy.url) as other,
    ):
        proxy.delay_s = 0.003
        reading = asyncio.create_task(receive_until(other, is_pattern(total - 1), 35))
        sending = asyncio.create_task(share(client, range(total)))
        while not sending.done():
            await asyncio.sleep(0.05)
            proxy.harm_one()
        await sending
        await client.confirm()
        came = await reading
        assert numbers_of(came) == list(range(total))
        shared = [m["payload"]["pattern"] for m in fleet.log() if "pattern" in m["payload"]]
        assert [one["data"]["number"] for one in shared] == list(range(total))


@pytest.mark.one_server
@in_loop
async def test_a_lost_reply_to_xadd_has_one_effect(start_server: StartServer, socket: Path) -> None:
    server = start_server()
    async with (
        RealFleet(server.url) as fleet,
        CuttingProxy(server.socket_path, socket) as proxy,
        fleet.async_client("AI_1", url=proxy.url) as client,
    ):
        for number in range(5):
            proxy.swallow_reply_to(b"XADD")
            await client.share_pattern(pattern(number))
        await client.confirm()
        assert proxy.swallowed == 5
        shared = [m for m in fleet.log() if m["message_type"] == "pattern_share"]
        assert len(shared) == 5
        counts = (await client.query("counts")).items[0]["messages_by_type"]
        assert counts["pattern_share"] == 5
        assert (await client.query("patterns")).items[0]["revision"] == 1


@pytest.mark.one_server
@in_loop
async def test_a_connection_that_is_silently_dead_is_noticed(
    start_server: StartServer, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is closed and nothing comes: only asking finds out."""
    monkeypatch.setattr(subscription, "PING_EVERY_S", 0.3)
    server = start_server()
    async with (
        RealFleet(server.url) as fleet,
        CuttingProxy(server.socket_path, socket) as proxy,
        fleet.async_client("AI_1", url=proxy.url) as client,
    ):
        await client.query("counts")
        dead = list(proxy.connections)
        for connection in dead:
            connection.is_dead = True
        await client._transport._redis.connection_pool.disconnect()
        assert (await client.query("counts", timeout_s=15)).total == 1


async def loses_what_was_sent_while_it_was_cut_off(url: str) -> bool:
    async with RealFleet(url) as fleet, fleet.async_client("AI_2") as reader:
        with fleet.client("AI_1") as sender:  # blocks this loop, so the reader stays cut off
            fleet.cut_subscribers()
            for number in range(20):
                sender.share_pattern(pattern(number))
            sender.confirm()
        return numbers_of(await receive_all(reader, 1)) != list(range(20))


@pytest.mark.one_server
@in_loop
async def test_what_is_sent_while_a_subscriber_is_cut_off_is_not_lost(real_url: str) -> None:
    assert not await loses_what_was_sent_while_it_was_cut_off(real_url)


@pytest.mark.one_server
@in_loop
async def test_without_reading_again_after_subscribing_it_would_be(
    real_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: Reader) -> None:
        pass

    monkeypatch.setattr(Reader, "catch_up", nothing)
    assert await loses_what_was_sent_while_it_was_cut_off(real_url)


@in_loop
async def test_streams_are_read_again_although_the_channel_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pushes may get lost alone, and those of the inbox hide no gap in the log."""
    monkeypatch.setattr(redis_transport, "REREAD_EVERY_S", 0.3)
    async with (
        FakeFleet() as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as reader,
    ):
        take = Reader.take_push

        async def lossy(self: Reader, data: bytes) -> None:
            if decode_push(data).after is None:
                await take(self, data)

        async def keep_busy() -> None:
            for number in range(1, 10_000):
                await client.share_pattern(pattern(number))
                await asyncio.sleep(0.02)

        monkeypatch.setattr(Reader, "take_push", lossy)
        await client.share_pattern(pattern(0), target_ai="AI_2")
        busy = asyncio.create_task(keep_busy())
        came = await receive_until(reader, is_pattern(0), 5)
        busy.cancel()
        assert len(numbers_of(came)) > 5


# -- retention -------------------------------------------------------------------------------------


@in_loop
async def test_who_was_away_beyond_retention_is_told_exactly_what_is_gone(real_url: str) -> None:
    async with (
        RealFleet(real_url, log_keep=10, log_keep_s=0) as fleet,
        fleet.async_client("AI_1") as client,
    ):
        async with fleet.async_client("AI_2") as reader:
            cursor = reader.cursor
        await share(client, range(40))
        await client.confirm()
        await until(lambda: fleet.redis.xlen(fleet.keys.log) == 10)
        oldest = int(fleet.redis.xrange(fleet.keys.log, count=1)[0][0].split(b"-")[0])
        async with fleet.async_client("AI_2", cursor=cursor) as reader:
            came = await receive_until(reader, is_pattern(39))
            assert gaps(came) == [
                {
                    "stream": "log",
                    "first": cursor.log + 1,
                    "last": oldest - 1,
                    "reason": "retention",
                }
            ]
            assert numbers_of(came) == list(range(30, 40))
            gap = next(m for m in came if m.message_type == "gap")
            assert (gap.sender_id, gap.n) == ("hub", oldest - 1)


@pytest.mark.one_server
@in_loop
async def test_a_late_reader_is_told_what_retention_cut_meanwhile(
    real_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.mailbox.MAX_BUFFERED", 10)
    async with (
        RealFleet(real_url, log_keep=10, log_keep_s=0) as fleet,
        fleet.async_client("AI_2") as reader,
        fleet.async_client("AI_1") as client,
    ):
        await share(client, range(60))
        await client.confirm()
        await until(lambda: fleet.redis.xlen(fleet.keys.log) == 10)
        came = await receive_until(reader, is_pattern(59))
        told = [gap for gap in gaps(came) if gap["stream"] == "log"]
        assert len(told) == 1
        numbers = numbers_of(came)
        lost = set(range(60)) - set(numbers)
        assert len(lost) == told[0]["last"] - told[0]["first"] + 1
        assert numbers == sorted(numbers)
        with pytest.raises(Refused):
            await reader.query("nothing")
