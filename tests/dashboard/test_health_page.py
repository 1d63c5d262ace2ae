"""The pages under Health: coordinator and server, dead letters, audit and members."""

from __future__ import annotations

import re
from math import inf
from typing import Any

import pytest
from redis import Redis
from starlette.testclient import TestClient

from coordinator.metrics import COMMIT_BOUNDS_S, bucket_field
from tests.dashboards import bearer, client_of, shown, sign_in, token_of, words_of
from tests.fleet import FleetUnderTest, ManualClock
from web.fleet_numbers import CommitTimes
from web.live.pulse import Trouble
from web.pages.health import CHART_HEIGHT, columns_of, troubles_of

PRIVATE = ("/health/dead", "/health/audit", "/health/members")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def fleet(redis: Redis, clock: ManualClock) -> FleetUnderTest:
    fleet = FleetUnderTest(redis, clock=clock)
    fleet.run()
    return fleet


def words_on(client: TestClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return words_of(answer.text)


def set_commits(fleet: FleetUnderTest, *so_far: int, count: int) -> None:
    """Have so many commits in the first buckets together, and the last number in all others."""
    numbers = [*so_far, *[so_far[-1]] * (len(COMMIT_BOUNDS_S) - len(so_far))]
    told: dict[str, Any] = dict(zip(map(bucket_field, COMMIT_BOUNDS_S), numbers, strict=True))
    fleet.redis.hset(fleet.keys.metrics, mapping=told | {"commit_count": count})  # type: ignore[arg-type]


# -- coordinator and server ------------------------------------------------------------------------


def test_how_coordinator_and_server_are(fleet: FleetUnderTest, client: TestClient) -> None:
    fleet.redis.zadd(fleet.keys.standby, {"coordinator-2": fleet.clock.now_ms()})
    words = words_on(client, "/health")
    assert "Active coordinator-1, seen here since" in words
    assert "Standing by coordinator-2 Lag 0 messages wait" in words
    assert "Valkey Version 9" in words
    assert "without a limit Append-only file off Last snapshot" in words
    assert "None: AIs come by Redis alone" in words
    assert "None: coord archive keeps what happens" in words


def test_without_a_coordinator_that_is_the_first_thing_said(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    fleet.redis.delete(fleet.keys.leader)
    fleet.say("AI_1", "hello")
    page = client.get("/health").text
    assert shown(page, "troubles").startswith("No coordinator is active, and messages wait. Run")
    assert shown(page, "waiting").startswith("1 messages wait, the oldest for")


def test_how_long_commits_take(fleet: FleetUnderTest, client: TestClient) -> None:
    set_commits(fleet, 50, 90, 99, count=100)
    words = words_on(client, "/health")
    shares = "half of them took at most 1 ms, 95 % took at most 3.89 ms, 99 % took at most 5 ms"
    assert f"Of 100 commits of this coordinator {shares}." in words
    assert "Took at most, ms Commits 1 50 2.5 40 5 9 10 0" in words
    assert words.count("> 5000") == 2


def test_before_the_first_commit(fleet: FleetUnderTest, client: TestClient) -> None:
    fleet.redis.delete(fleet.keys.metrics)
    assert "Nothing has been committed yet" in words_on(client, "/health")


def test_gateways_and_archives_are_listed(fleet: FleetUnderTest, client: TestClient) -> None:
    now_ms = fleet.clock.now_ms()
    for n, address in enumerate(("10.0.0.1:6000", "")):
        fleet.redis.zadd(fleet.keys.gateways, {f"gateway-{n}": now_ms - 5000})
        if address:
            told = {"address": address, "tls": 1, "connections": 1200}
            fleet.redis.hset(fleet.keys.gateway(f"gateway-{n}"), mapping=told)  # type: ignore[arg-type]
    fleet.order("archived", archive="main", epoch=fleet.coordinator._fleet.epoch, log=0, events=0)
    page = client.get("/health").text
    assert shown(page, "gateway-gateway-0") == "10.0.0.1:6000 TLS 1,200 5.0 s ago"
    assert shown(page, "gateway-gateway-1") == "gateway-1 silent 0 5.0 s ago"
    assert shown(page, "archive-main") == "main 0 0.0 s ago"


def test_keys_that_strangers_spoiled_stop_no_page(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    keys = fleet.keys
    spoiled = (keys.standby, keys.dead, keys.gateways, keys.metrics, keys.archives, keys.doors)
    for key in spoiled:
        fleet.redis.set(key, "spoiled")
    words = words_on(client, "/health")
    assert "Standing by nobody" in words
    assert "0 dead letters" in words


@pytest.mark.parametrize("count", ["-5", "junk", "9" * 18])
def test_spoiled_numbers_of_commits_are_borne(
    fleet: FleetUnderTest, client: TestClient, count: str
) -> None:
    fleet.redis.hset(fleet.keys.metrics, bucket_field(COMMIT_BOUNDS_S[1]), count)
    words_on(client, "/health")


FINE_LEADS: dict[str, Any] = {
    "active": "c-1",
    "standby": ["c-2"],
    "ingress": {"entries": 3, "oldest_age_ms": 9_000},
    "dead_letters": 0,
}
FINE_SERVER: dict[str, Any] = {
    "append_only_file": True,
    "last_append_ok": True,
    "last_snapshot_ok": True,
    "used_memory_bytes": 1024,
    "max_memory_bytes": 4096,
}
TROUBLES: list[tuple[dict[str, Any], str]] = [
    ({"active": None, "standby": []}, "No coordinator is active"),
    ({"standby": []}, "No coordinator stands by"),
    ({"ingress": {"entries": 3, "oldest_age_ms": 12_000}}, "A message has waited for 12 s"),
    ({"dead_letters": 1234}, "Dead letters: 1,234."),
    ({"append_only_file": False}, "The server keeps no append-only file"),
    ({"last_append_ok": False}, "The server failed to write to its disk"),
    ({"last_snapshot_ok": False}, "The server failed to write to its disk"),
    ({"used_memory_bytes": 4000}, "The server uses 3.9 KiB of 4.0 KiB"),
]


@pytest.mark.parametrize(("changed", "said"), TROUBLES)
def test_each_trouble_is_said(changed: dict[str, Any], said: str) -> None:
    (trouble,) = troubles_of(FINE_LEADS | changed, FINE_SERVER | changed)
    assert trouble.text.startswith(said)


def test_where_all_is_well_nothing_is_said() -> None:
    found: list[Trouble] = list(troubles_of(FINE_LEADS, FINE_SERVER))
    assert found == []


# -- commit times ----------------------------------------------------------------------------------


def times_of(*so_far: int, commits: int) -> CommitTimes:
    """Those of buckets that end at 1, 2, … s."""
    buckets = [(float(n), count) for n, count in enumerate(so_far, start=1)]
    return CommitTimes(buckets, commits, 0.0)


@pytest.mark.parametrize(
    ("times", "share", "took_s"),
    [
        (times_of(0, 0, commits=0), 0.5, None),
        (times_of(10, 10, commits=10), 0.5, 0.5),
        (times_of(0, 10, commits=10), 0.5, 1.5),
        (times_of(5, 10, commits=10), 0.5, 1.0),
        (times_of(5, 5, commits=10), 0.9, inf),
        (times_of(9, 3, commits=12), 0.5, 1.0),  # strangers' numbers: 9, 0 and 9 more
    ],
)
def test_quantiles_are_told_as_far_as_the_buckets_go(
    times: CommitTimes, share: float, took_s: float | None
) -> None:
    assert times.quantile_s(share) == took_s


def test_columns_are_as_high_as_they_have_commits() -> None:
    so_far = [2, 6, 6, 7, *[7] * (len(COMMIT_BOUNDS_S) - 4)]
    buckets = list(zip(COMMIT_BOUNDS_S, so_far, strict=True))
    columns = columns_of(CommitTimes(buckets, 7, 0.0))
    assert [column.label for column in columns] == ["1", "2.5", "5", "10"]
    assert [column.commits for column in columns] == [2, 4, 0, 1]
    heights = [column.height for column in columns]
    assert heights == [CHART_HEIGHT / 2, CHART_HEIGHT, 0, CHART_HEIGHT / 4]
    assert all(column.y + column.height == CHART_HEIGHT for column in columns)


# -- what operators see ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", PRIVATE)
def test_an_observer_is_told_that_it_is_for_operators(fleet: FleetUnderTest, path: str) -> None:
    client = client_of(fleet, asks_token=True)
    token = bearer(token_of(fleet, "Olga", "observer"))
    answer = client.get(path, headers=token)
    assert (answer.status_code, "operators" in answer.text) == (403, True)
    page = client.get("/health", headers=token).text
    assert "Dead letters, audit and members are for operators" in page
    assert path not in page


def test_dead_letters_are_shown_with_what_broke(fleet: FleetUnderTest, client: TestClient) -> None:
    letter_id = fleet.bury(body='{"message_type": "hello", "payload": {"x": "</code><b>"}}')
    page = client.get("/health/dead").text
    told = shown(page, f"letter-{letter_id}")
    assert told.startswith(
        f"{letter_id} hello Of AI_1, 2025-06-15 15:06:40 UTC KeyError: 'x' How it begins"
    )
    assert "&lt;/code&gt;&lt;b&gt;" in page
    assert "/actions/" not in page


def test_who_may_act_can_retry_and_drop_them(fleet: FleetUnderTest, client: TestClient) -> None:
    letter_id = fleet.bury()
    sign_in(client, token_of(fleet, "Alice", "operator"))
    page = client.get("/health/dead").text
    links = re.findall(r'href="/actions/(\w+)\?id=([\d-]+)&amp;to=%2Fhealth%2Fdead"', page)
    assert links == [("dead_retry", letter_id), ("dead_drop", letter_id)]


def test_many_dead_letters_are_paged(fleet: FleetUnderTest, client: TestClient) -> None:
    for n in range(1, 46):
        fleet.bury(f"{n}-1")
    seen, path = [], "/health/dead"
    while path:
        page = client.get(path).text
        seen += re.findall(r'id="letter-(\d+)-1"', page)
        path = "".join(re.findall(r'rel="next" href="([^"]+)"', page))
    assert seen == [str(n) for n in range(45, 0, -1)]


def test_a_letter_of_strangers_is_shown_as_far_as_it_goes(
    fleet: FleetUnderTest, client: TestClient
) -> None:
    fleet.redis.xadd(fleet.keys.dead, {"odd": 1, "ms": "9" * 18}, id="7-1")
    assert "7-1 not readable Of nobody" in words_on(client, "/health/dead")


def test_without_dead_letters_the_page_says_what_it_is_for(client: TestClient) -> None:
    assert "There are none." in words_on(client, "/health/dead")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["revoked", "enrolled", "enrolled"]),
        ("?kind=revoked", ["revoked"]),
        ("?ai=AI_2&kind=", ["enrolled"]),
        ("?ai=AI_9", []),
    ],
)
def test_the_audit(fleet: FleetUnderTest, client: TestClient, query: str, found: list[str]) -> None:
    fleet.enroll("AI_1")
    fleet.enroll("AI_2", "key00002")
    fleet.order("revoke", ai="AI_1", reason="<b>lost</b>")
    stranger = {"ms": 1, "epoch": "", "kind": "revoked", "ai": "AI_1", "text": "", "data": "junk"}
    fleet.redis.xadd(fleet.keys.events, stranger, id="500-0")  # type: ignore[arg-type]
    page = client.get(f"/health/audit{query}").text
    rows = re.findall(r'<tr id="event-(\d+)">', page)
    assert [shown(page, f"event-{n}").split()[3] for n in rows] == found
    assert "<b>" not in page
    assert ("No such event is kept" in page) == (not found)


def test_members_with_their_tokens(fleet: FleetUnderTest, client: TestClient) -> None:
    fleet.enroll("AI_1", specializations=["audio"])
    fleet.enroll("AI_2", "key00002", role="observer", message_types=["query"])
    fleet.order("revoke", ai="AI_2")
    fleet.join("AI_1", specialization="audio")
    page = client.get("/health/members").text
    assert shown(page, "member-AI_1") == (
        "AI_1 here trainer audio all messages key00001 of 2025-06-15 15:06:40 UTC"
    )
    assert shown(page, "member-AI_2") == ("AI_2 revoked observer any specialization query none")


def test_without_members_the_page_says_how_to_enroll_one(client: TestClient) -> None:
    assert "Nobody is enrolled. coord enroll NAME" in words_on(client, "/health/members")
