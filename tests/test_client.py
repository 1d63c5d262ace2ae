"""AsyncClient where nothing goes wrong, on every server and behind a gateway; outages have files of
their own."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import math
from collections.abc import Callable
from typing import Any, cast

import pytest

from coordinator.client import AsyncClient, WorkspaceEntry
from coordinator.errors import BadMessage, CoordError, IdTaken, NotAnswered, Refused, ServerUnusable
from coordinator.followed import SessionUpdate
from coordinator.mailbox import Message
from coordinator.reader import Reader
from coordinator.settings import Settings
from coordinator.testing import FakeFleet
from coordinator.transport import Artifact
from tests.clients import (
    GatewayFleet,
    RealFleet,
    in_loop,
    is_pattern,
    no_tasks_left,
    numbers_of,
    our_tasks,
    pattern,
    receive_all,
    receive_until,
    until,
)
from tests.servers import KINDS, Kind

Fleets = Callable[..., Any]


@pytest.fixture(params=[*KINDS, "gateway"])
def way(request: pytest.FixtureRequest) -> str:
    """Into the fleet: by Redis, on each server, or by a gateway."""
    return str(request.param)


by_redis = pytest.mark.parametrize("way", KINDS, indirect=True)
"""For what only those can do who are at Redis themselves."""


@pytest.fixture
def server_kind(way: str) -> Kind:
    return "valkey" if way == "gateway" else cast(Kind, way)


@pytest.fixture
def new_fleet(way: str, request: pytest.FixtureRequest) -> Fleets:
    """Makes a fleet on the server under test, with these settings."""
    if way == "fakeredis":
        return lambda **settings: FakeFleet(Settings(**settings))
    connection = request.getfixturevalue("redis")
    url = f"unix://{connection.connection_pool.connection_kwargs['path']}"
    kind = GatewayFleet if way == "gateway" else RealFleet
    return lambda **settings: kind(url, **settings)


# -- joining ---------------------------------------------------------------------------------------


@in_loop
async def test_who_joins_is_seen_with_all_it_said(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_watch") as watch,
        fleet.async_client(
            "AI_1",
            specialization="audio",
            capabilities=["mixing"],
            profile={"version": "2.1", "colour": "blue"},
        ) as client,
    ):
        hello = await receive_until(watch, lambda m: m.sender_id == "AI_1")
        assert hello[-1].message_type == "hello"
        assert hello[-1].payload == {
            "version": "2.1",
            "colour": "blue",
            "specialization": "audio",
            "capabilities": ["mixing"],
        }
        page = await client.query("ais")
        assert [item["ai_id"] for item in page.items] == ["AI_1", "AI_watch"]
        assert page.items[0]["instance"] == client.instance


@in_loop
async def test_who_joins_is_told_what_the_fleet_knows(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1", specialization="audio") as first:
        await first.share_pattern(pattern(1))
        await first.confirm()
        async with fleet.async_client("AI_2") as second:
            sync = await second.receive(10)
            assert sync is not None
            assert sync.message_type == "training_sync"
            shared = sync.payload["global_knowledge_base"]["shared_patterns"]
            assert shared["p1"]["contributor"] == "AI_1"
            assert set(sync.payload["active_ais"]) == {"AI_1", "AI_2"}
            assert await receive_all(second) == []  # what came before is in the sync alone


@in_loop
async def test_heartbeats_keep_it_alive_and_tell_its_status(new_fleet: Fleets) -> None:
    async with new_fleet(lease_s=0.5) as fleet, fleet.async_client("AI_1") as client:
        before = (await client.query("ais")).items[0]
        client.set_status("training", 0.75)

        async def shown() -> dict[str, Any]:
            item: dict[str, Any] = (await client.query("ais")).items[0]
            return item

        async with asyncio.timeout(20):
            while (item := await shown())["heartbeat_ms"] < before["heartbeat_ms"] + 600:
                await asyncio.sleep(0.05)
        assert (item["status"], item["load"]) == ("training", 0.75)
        assert item["joined_ms"] == before["joined_ms"]


@in_loop
async def test_a_goodbye_tells_the_others_at_once(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_watch") as watch:
        client = fleet.async_client("AI_1")
        await client.connect()
        await client.close("done for today")
        seen = await receive_until(watch, lambda m: m.message_type == "goodbye", limit_s=10)
        assert seen[-1].sender_id == "AI_1"
        assert seen[-1].payload == {"reason": "done for today"}
        assert (await watch.query("ais")).total == 1
        await client.close()  # once more does no harm


@in_loop
async def test_a_second_instance_is_refused_and_told_who_holds_the_id(
    way: str, new_fleet: Fleets
) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1") as holder:
        second = fleet.async_client("AI_1")
        with pytest.raises(IdTaken) as caught:
            await second.connect()
        if way != "gateway":  # which knows the other's address instead
            assert caught.value.holder == holder.instance
            assert holder.instance in str(caught.value)
            assert caught.value.lease_ends_ms > caught.value.last_heartbeat_ms > 0
        await holder.share_pattern(pattern(1))
        await holder.confirm()  # the holder has noticed nothing
        assert [m.message_type for m in await receive_all(holder)] == ["training_sync"]


@in_loop
async def test_an_id_is_free_once_its_holder_said_goodbye(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet:
        async with fleet.async_client("AI_1"):
            pass
        async with fleet.async_client("AI_1") as again:
            await again.confirm()


@in_loop
async def test_a_hello_that_breaks_a_rule_is_refused(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet:
        with pytest.raises(Refused) as caught:
            await fleet.async_client("AI_1", specialization="not a word").connect()
        assert caught.value.code == "bad_payload"
        assert caught.value.field == "payload.specialization"


@pytest.mark.parametrize("ai_id", ["hub", "", "two words", "line\nbreak", "-x", "ü", "x" * 65])
@in_loop
async def test_an_id_that_none_may_have_is_refused_at_once(ai_id: str) -> None:
    async with FakeFleet() as fleet:
        with pytest.raises(CoordError) as caught:
            await fleet.async_client(ai_id).connect(timeout_s=3)
        assert not isinstance(caught.value, NotAnswered)
        assert "letters, digits" in str(caught.value) or "reserved" in str(caught.value)


# -- sending ---------------------------------------------------------------------------------------


@in_loop
async def test_each_kind_of_message_reaches_the_others_once_and_never_the_sender(
    new_fleet: Fleets,
) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_2") as other,
        fleet.async_client("AI_1") as client,
    ):
        await receive_until(other, lambda m: m.sender_id == "AI_1")
        sent = [
            await client.share_pattern(pattern(1)),
            await client.share_code({"id": "c1", "name": "n", "code": "pass"}),
            await client.share_component({"id": "k1", "code": "pass"}, feature_name="undo"),
            await client.report("c1", {"speed": 2.5}),
            await client.send("pattern_share", {"pattern": pattern(2), "mine": [1, 2]}),
        ]
        await client.confirm()
        came = await receive_until(other, is_pattern(2))
        assert [m.message_id for m in came] == sent
        assert [m.message_type for m in came] == [
            "pattern_share",
            "code_share",
            "os_component_share",
            "performance_report",
            "pattern_share",
        ]
        assert came[2].payload["feature_name"] == "undo"
        assert came[4].payload["mine"] == [1, 2]
        assert all(m.sender_id == "AI_1" and m.stream == "log" for m in came)
        own = await receive_all(client)
        assert [m.message_type for m in own] == ["training_sync"]


@in_loop
async def test_what_is_meant_for_one_reaches_that_one_alone(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as target,
        fleet.async_client("AI_3") as other,
    ):
        await client.share_pattern(pattern(1), target_ai="AI_3")
        await client.share_pattern(pattern(2), target_ai="AI_2")
        await client.share_code({"id": "c", "name": "n", "code": "x"}, target_ai="AI_2")
        await client.share_pattern(pattern(3))
        await client.confirm()
        came = await receive_until(target, is_pattern(3))
        targeted = [m for m in came if m.target_ai == "AI_2" and m.sender_id == "AI_1"]
        assert [(m.message_type, m.stream) for m in targeted] == [
            ("pattern_share", "inbox"),
            ("code_share", "inbox"),
        ]
        assert numbers_of(await receive_until(other, is_pattern(3))) == [1, 3]


@in_loop
async def test_what_is_sent_while_its_target_is_away_waits_for_it(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1") as client:
        async with fleet.async_client("AI_2") as target:
            cursor = target.cursor
        await client.share_pattern(pattern(1), target_ai="AI_2")
        await client.confirm()
        async with fleet.async_client("AI_2", cursor=cursor) as target:
            assert 1 in numbers_of(await receive_until(target, is_pattern(1)))


@in_loop
async def test_confirm_raises_what_was_refused_with_all_its_fields(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1") as client:
        await client.confirm()
        good = await client.share_pattern(pattern(1))
        bad = await client.report("c1", {})
        await client.send("no_such_type", {})
        with pytest.raises(Refused) as caught:
            await client.confirm()
        refused = caught.value
        assert (refused.code, refused.in_reply_to) == ("bad_payload", bad)
        assert refused.field == "payload.performance"
        assert "payload.performance" in refused.detail
        await client.confirm()  # each refusal is raised once
        errors = [m for m in await receive_all(client) if m.message_type == "error"]
        assert [m.payload["code"] for m in errors] == ["bad_payload", "unknown_type"]
        assert (await client.query("patterns")).items[0]["id"] == "p1"
        assert good != bad


@in_loop
async def test_a_message_to_nobody_that_ever_was_is_refused(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1") as client:
        await client.share_pattern(pattern(1), target_ai="AI_nobody")
        with pytest.raises(Refused, match="AI_nobody") as caught:
            await client.confirm()
        assert (caught.value.code, caught.value.field) == ("unknown_target", "target_ai")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (math.nan, "not_json"),
        (math.inf, "not_json"),
        ({1, 2}, "not_json"),
        ("\ud800", "not_json"),
        ("x" * 257 * 1024, "too_large"),
    ],
    ids=["NaN", "infinity", "a set", "half a character", "257 KiB"],
)
@in_loop
async def test_what_can_never_be_sent_is_refused_before_it_leaves(value: Any, code: str) -> None:
    async with FakeFleet() as fleet, fleet.async_client("AI_1") as client:
        with pytest.raises(BadMessage) as caught:
            await client.share_pattern(pattern(1, odd=value))
        assert caught.value.code == code
        await client.share_pattern(pattern(2))
        await client.confirm()
        assert (await client.query("counts")).items[0]["messages_by_type"]["pattern_share"] == 1


@in_loop
async def test_the_largest_message_that_is_allowed_arrives_whole(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        text = "x" * (255 * 1024)
        await client.share_pattern(pattern(1, text=text))
        await client.confirm()
        came = await receive_until(other, is_pattern(1))
        assert came[-1].payload["pattern"]["text"] == text


# -- asking ----------------------------------------------------------------------------------------


@in_loop
async def test_a_query_is_answered_page_by_page(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1") as client:
        for number in range(25):
            await client.share_pattern(pattern(number))
        await client.confirm()
        pages = []
        cursor: str | None = None
        while True:
            page = await client.query("patterns", limit=10, cursor=cursor)
            assert page.total == 25
            pages.append([item["id"] for item in page.items])
            cursor = page.cursor
            if cursor is None:
                break
        assert [len(page) for page in pages] == [10, 10, 5]
        assert sorted(one for page in pages for one in page) == sorted(
            f"p{number}" for number in range(25)
        )


@in_loop
async def test_a_query_takes_filters_and_its_refusal_is_raised_once(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1") as client:
        await client.share_pattern(pattern(1, specialization="audio"))
        await client.share_pattern(pattern(2, specialization="graphics"))
        await client.confirm()
        page = await client.query("patterns", {"specialization": "graphics"})
        assert [item["id"] for item in page.items] == ["p2"]
        with pytest.raises(Refused) as caught:
            await client.query("patterns", {"colour": "blue"})
        assert caught.value.field == "payload.filter.colour"
        with pytest.raises(Refused):
            await client.query("secrets")
        with pytest.raises(Refused):
            await client.query("patterns", limit=0)
        await client.confirm()  # they were raised already


@in_loop
async def test_answers_find_who_asked_among_many_at_once(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1") as client:
        for number in range(10):
            await client.share_pattern(pattern(number))
        pages = await asyncio.gather(*(client.query("patterns", limit=n) for n in range(1, 11)))
        assert [len(page.items) for page in pages] == list(range(1, 11))


# -- features and collaborations -------------------------------------------------------------------


@in_loop
async def test_a_feature_is_asked_for_and_its_end_waited_for(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2", specialization="security") as other,
    ):
        asking = asyncio.create_task(
            client.request_feature("security_module", {"priority": "high"}, wait_s=20)
        )
        asked = (await receive_until(other, lambda m: m.message_type == "feature_response"))[-1]
        assert asked.payload["original_request"]["requirements"] == {"priority": "high"}
        made = {"id": "f1", "name": "security_module", "implementation": "..."}
        await other.share_component(
            made, "AI_1", original_requestor="AI_1", feature_name="security_module"
        )
        ended = await asking
        assert ended == SessionUpdate(
            asked.payload["request_id"], "completed", ["AI_2"], "", made, None
        )
        assert ended.is_over
        told = [m for m in await receive_all(client) if m.message_type == "feature_update"]
        assert told[-1].payload["status"] == "completed"  # who subscribes to them hears it as well


@in_loop
async def test_a_feature_that_is_not_waited_for_is_told_of_at_once(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1") as client:
        asked = await client.request_feature("security_module")
        assert (asked.status, asked.participants, asked.component) == ("pending", [], None)
        assert not asked.is_over
        page = await client.query("sessions", {"ai": "AI_1"})
        assert [item["id"] for item in page.items] == [asked.session_id]
        waited = await client.request_feature("audio_mixer", wait_s=0.05)
        assert waited.status == "pending"


@in_loop
async def test_a_feature_request_that_is_refused_is_raised_once(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1") as client:
        with pytest.raises(Refused) as caught:
            await client.request_feature("")
        assert caught.value.field == "payload.feature"
        await client.confirm()


@in_loop
async def test_two_collaborate_by_a_workspace_and_a_component(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        collaborating = asyncio.create_task(
            client.collaborate(
                "feature_development",
                target_ai="AI_2",
                description="a file cache",
                seeking_expertise=["security"],
                requirements={"feature": "file_cache"},
                wait_s=20,
            )
        )
        asked = (await receive_until(other, lambda m: m.message_type == "collaboration_request"))[
            -1
        ]
        assert asked.payload["seeking_expertise"] == ["security"]
        session_id = asked.payload["session_id"]
        await other.answer(session_id, True)
        await other.put_workspace(session_id, "notes", ["readers first"], expected_version=0)
        await other.confirm()
        await other.put_workspace(session_id, "notes", [], expected_version=0)
        with pytest.raises(Refused) as caught:
            await other.confirm()
        assert caught.value.code == "stale_version"
        assert str(caught.value).startswith("stale_version: payload.expected_version is 0")
        found = await client.get_workspace(session_id)
        notes = WorkspaceEntry(["readers first"], 1, "AI_2", found["notes"].ms)
        assert found == {"notes": notes}
        made = {"id": "k1", "name": "file_cache"}
        await other.complete(session_id, made)
        ended = await collaborating
        assert ended == SessionUpdate(session_id, "completed", ["AI_1", "AI_2"], "", made, None)
        told = [m for m in await receive_all(client) if m.message_type == "workspace_update"]
        assert [(m.payload["value"], m.payload["version"]) for m in told] == [
            (["readers first"], 1)
        ]


@in_loop
async def test_a_workspace_is_got_whole_and_by_those_who_take_part(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as stranger,
    ):
        begun = await client.collaborate("feature_development", participants=1)
        for n in range(101):
            await client.put_workspace(begun.session_id, f"k{n}", n)
        await client.confirm()
        found = await client.get_workspace(begun.session_id)
        assert {key: entry.value for key, entry in found.items()} == {
            f"k{n}": n for n in range(101)
        }
        with pytest.raises(Refused) as caught:
            await stranger.get_workspace(begun.session_id)
        assert caught.value.code == "not_a_participant"


@in_loop
async def test_a_no_to_a_collaboration_is_told_with_its_reason(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        plan = [{"name": "one", "kind": "sum"}]
        asking = asyncio.create_task(
            client.collaborate("performance_optimization", target_ai="AI_2", plan=plan, wait_s=20)
        )
        asked = await receive_until(other, lambda m: m.message_type == "collaboration_request")
        await other.answer(asked[-1].payload["session_id"], False, "no time")
        ended = await asking
        assert (ended.status, ended.reason) == ("declined", "no time")


# -- artifacts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_bytes", [0, 1, 300_000])
@in_loop
async def test_an_artifact_is_kept_for_who_put_it(size_bytes: int, new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1") as client:
        data = bytes(range(256)) * (size_bytes // 256 + 1)
        artifact = await client.put_artifact(data[:size_bytes])
        assert artifact == Artifact(
            "AI_1", hashlib.sha256(data[:size_bytes]).hexdigest(), size_bytes
        )
        assert await client.get_artifact("AI_1", artifact.sha256) == data[:size_bytes]


@in_loop
async def test_an_artifact_reaches_whom_it_is_meant_for_and_nobody_else(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as target,
        fleet.async_client("AI_3") as other,
    ):
        artifact = await client.put_artifact(b"weights", name="w.bin", target_ai="AI_2")
        told = (await receive_until(target, lambda m: m.message_type == "payload"))[-1]
        assert told.payload == {
            "artifact": artifact.sha256,
            "owner": "AI_1",
            "bytes": 7,
            "name": "w.bin",
        }
        assert await target.get_artifact("AI_1", artifact.sha256) == b"weights"
        with pytest.raises(Refused) as caught:
            await other.get_artifact("AI_1", artifact.sha256)
        assert caught.value.code == "not_found"
        await client.put_artifact(b"for all", share=True)
        shared = (await receive_until(other, lambda m: m.message_type == "payload"))[-1]
        assert await other.get_artifact("AI_1", shared.payload["artifact"]) == b"for all"


@in_loop
async def test_an_artifact_that_is_too_large_or_one_too_many_is_refused(new_fleet: Fleets) -> None:
    settings = {"artifact_max_bytes": 100, "artifacts_max_bytes": 150}
    async with new_fleet(**settings) as fleet, fleet.async_client("AI_1") as client:
        with pytest.raises(BadMessage, match="100"):
            await client.put_artifact(bytes(101))
        await client.put_artifact(bytes(100))
        with pytest.raises(Refused) as caught:
            await client.put_artifact(bytes(99))
        assert caught.value.code == "too_large"
        await client.confirm()  # it was raised already


# -- receiving -------------------------------------------------------------------------------------


@in_loop
async def test_handlers_are_called_in_order_whether_plain_or_async(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        seen: list[Any] = []

        @other.on("pattern_share")
        async def shared(message: Message) -> None:
            await other.share_code({"id": "c", "name": "n", "code": "x"})
            seen.append(message.payload["pattern"]["id"])

        @other.on("performance_report")
        def reported(message: Message) -> None:
            seen.append(message.payload["performance"])

        running = asyncio.create_task(other.run())
        await client.share_pattern(pattern(1))
        await client.report("c1", {"speed": 1.0})
        await client.share_code({"id": "c9", "name": "n", "code": "x"})  # nobody asked for these
        await client.share_pattern(pattern(2))
        await until(lambda: len(seen) == 3)
        assert seen == ["p1", {"speed": 1.0}, "p2"]
        await other.close()
        await running  # ends when the client is closed


@in_loop
async def test_an_error_in_a_handler_ends_run_and_not_the_client(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):

        @other.on("pattern_share")
        def shared(message: Message) -> None:
            raise RuntimeError("mine")

        await client.share_pattern(pattern(1))
        with pytest.raises(RuntimeError, match="mine"):
            await other.run()
        await other.share_pattern(pattern(2))
        await other.confirm()


@in_loop
async def test_receive_waits_no_longer_than_it_is_told_to(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1") as client:
        assert (await client.receive(5)).message_type == "training_sync"
        assert await client.receive(0.01) is None
        assert await client.receive(0) is None
        waiting = asyncio.create_task(client.receive())
        await asyncio.sleep(0)
        await client.close()
        assert await waiting is None
        assert await client.receive() is None


@in_loop
async def test_a_cursor_handed_on_replays_exactly_what_came_since(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_1") as client,
    ):
        reader = fleet.async_client("AI_2")
        await reader.connect()
        for number in range(5):
            await client.share_pattern(pattern(number))
        await client.share_pattern(pattern(100), target_ai="AI_2")
        for number in range(5, 10):
            await client.share_pattern(pattern(number))
        await client.confirm()
        first = await receive_until(reader, is_pattern(6))
        cursor = reader.cursor
        await reader.close()
        for number in range(10, 13):
            await client.share_pattern(pattern(number))
        await client.share_pattern(pattern(101), target_ai="AI_2")
        await client.confirm()
        async with fleet.async_client("AI_2", cursor=cursor) as later:
            rest = await receive_all(later)
        log = [m for m in first + rest if m.stream == "log"]
        inbox = [m for m in first + rest if m.stream == "inbox"]
        assert numbers_of(log) == list(range(13))
        assert numbers_of(inbox) == [100, 101]
        assert not [m for m in first + rest if m.message_type == "gap"]


@in_loop
async def test_a_cursor_counts_what_was_received_and_not_what_was_read(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as reader,
    ):
        beginning = reader.cursor
        await client.share_pattern(pattern(1))
        await client.share_pattern(pattern(2))
        await client.confirm()
        assert reader.cursor == beginning  # nothing was received yet
        came = await receive_until(reader, is_pattern(1))
        assert reader.cursor.log == came[-1].n
        await receive_until(reader, is_pattern(2))
        assert reader.cursor.log == came[-1].n + 1


# -- a reader who is slow --------------------------------------------------------------------------


@pytest.mark.parametrize("reads_first", [False, True], ids=["never read", "read once"])
@in_loop
async def test_who_reads_late_has_bounded_memory_and_loses_nothing(
    reads_first: bool, new_fleet: Fleets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.mailbox.MAX_BUFFERED", 50)
    monkeypatch.setattr("coordinator.feed.PAGE", 20)
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_2") as reader,
        fleet.async_client("AI_1") as client,
    ):
        if reads_first:
            await receive_until(reader, lambda m: m.sender_id == "AI_1")
        for number in range(300):
            await client.share_pattern(pattern(number))
            if number % 3 == 0:
                await client.share_pattern(pattern(1000 + number), target_ai="AI_2")
        await client.confirm()
        await reader.report("c", {})  # a refusal is noticed although nobody reads
        with pytest.raises(Refused):
            await reader.confirm()
        assert len(reader._transport._reader.mailbox) <= 50 + 20
        came = await receive_all(reader)
        log = [m for m in came if m.stream == "log"]
        inbox = [m for m in came if m.stream == "inbox"]
        assert numbers_of(log) == list(range(300))
        assert numbers_of(inbox) == list(range(1000, 1300, 3))
        assert not [m for m in came if m.message_type == "gap"]
        await client.share_pattern(pattern(300))
        assert numbers_of(await receive_until(reader, is_pattern(300))) == [300]


@in_loop
async def test_what_comes_while_a_late_reader_catches_up_keeps_its_place(
    new_fleet: Fleets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.mailbox.MAX_BUFFERED", 20)
    monkeypatch.setattr("coordinator.feed.PAGE", 7)
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_2") as reader,
        fleet.async_client("AI_1") as client,
    ):
        for number in range(100):
            await client.share_pattern(pattern(number))
        came: list[Message] = []

        async def share() -> None:
            for number in range(100, 300):
                await client.share_pattern(pattern(number))

        sharing = asyncio.create_task(share())
        async for message in reader.messages():
            came.append(message)
            await asyncio.sleep(0.0005)
            if is_pattern(299)(message):
                break
        await sharing
        assert numbers_of(came) == list(range(300))


# -- guards of the protocol, taken out one at a time -----------------------------------------------


async def _own_messages_come_back(new_fleet: Fleets) -> bool:
    async with new_fleet() as fleet, fleet.async_client("AI_1") as client:
        await client.share_pattern(pattern(1))
        await client.confirm()
        return numbers_of(await receive_all(client)) == [1]


@in_loop
async def test_a_sender_does_not_get_its_own_broadcast(new_fleet: Fleets) -> None:
    assert not await _own_messages_come_back(new_fleet)


@by_redis
@in_loop
async def test_without_exclude_a_sender_would(
    new_fleet: Fleets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reader, "_is_meant", lambda self, push: push.instance is None)
    assert await _own_messages_come_back(new_fleet)


@by_redis
@in_loop
async def test_garbage_on_a_channel_is_ignored(new_fleet: Fleets) -> None:
    async with (
        new_fleet() as fleet,
        fleet.async_client("AI_1") as client,
        fleet.async_client("AI_2") as other,
    ):
        channel = client._transport._keys.broadcast_channel
        epoch = other.cursor.epoch
        for garbage in [
            b"\xff",
            b"5",
            b"[]",
            b"{}",
            b'{"epoch":"x","message":5}',
            b'{"epoch":"x","n":null,"message":{}}',
            f'{{"epoch":"{epoch}","n":"7","message":{{}}}}'.encode(),
        ]:
            await client._transport._redis.publish(channel, garbage)
        await client.share_pattern(pattern(1))
        assert numbers_of(await receive_until(other, is_pattern(1))) == [1]


# -- cancelling and ending -------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["connect", "close", "life"])
@in_loop
async def test_a_client_cancelled_at_any_point_leaves_nothing_behind(
    step: str, new_fleet: Fleets
) -> None:
    """Each run is cancelled one turn of the event loop later than the one before."""

    async def life(client: AsyncClient) -> None:
        if step == "close":
            await asyncio.shield(asyncio.create_task(client.connect()))
            started.set()
            await client.close()
            return
        started.set()
        await client.connect()
        if step == "life":
            try:
                await client.share_pattern(pattern(1))
                await client.query("counts")
                await client.confirm()
            finally:
                await client.close()

    async with new_fleet() as fleet:
        background = our_tasks()
        turns = 0
        ended = False
        while not ended and turns < 400:
            turns += 1 if turns < 25 else 7
            client = fleet.async_client(f"AI_{turns}")
            started = asyncio.Event()
            task = asyncio.create_task(life(client))
            await started.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            ended = not task.cancelled() and (
                await asyncio.gather(task, return_exceptions=True)
            ) == [None]
            if step == "connect" and ended:
                await client.close()
            await until(lambda: not our_tasks() - background, what="its tasks to end")
        gc.collect()  # a connection that was left open would warn, and warnings are errors


@in_loop
async def test_who_failed_to_connect_leaves_no_task_behind(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet, fleet.async_client("AI_1"):
        background = our_tasks()
        with pytest.raises(IdTaken):
            await fleet.async_client("AI_1").connect()
        with pytest.raises(Refused):
            await fleet.async_client("AI_2", specialization="???").connect()
        await until(lambda: not our_tasks() - background)


@in_loop
async def test_nothing_can_be_sent_once_it_is_closed(new_fleet: Fleets) -> None:
    async with new_fleet() as fleet:
        client = fleet.async_client("AI_1")
        await client.connect()
        await client.close()
        with pytest.raises(CoordError, match="closed"):
            await client.share_pattern(pattern(1))
        with pytest.raises(CoordError, match="closed"):
            await client.query("counts")


# -- without a server, or a coordinator ------------------------------------------------------------


@in_loop
async def test_a_server_that_cannot_be_reached_is_not_answered_in_time(tmp_path: Any) -> None:
    client = AsyncClient("AI_1", f"unix://{tmp_path}/nobody")
    with pytest.raises(NotAnswered, match="coord status"):
        await client.connect(timeout_s=0.3)
    await no_tasks_left()


@in_loop
async def test_without_a_coordinator_a_client_is_not_answered_in_time(real_url: str) -> None:
    with pytest.raises(NotAnswered):
        await AsyncClient("AI_1", real_url, settings=Settings()).connect(timeout_s=0.3)


@in_loop
async def test_a_bad_url_is_refused_before_anything_is_tried() -> None:
    with pytest.raises(ServerUnusable, match="scheme"):
        AsyncClient("AI_1", "http://example.org")
