"""Artifacts by TCP: in numbered chunks, up, passed on as a reference, and down again."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator

import pytest

from coordinator.errors import BadMessage
from coordinator.gateway.uploads import (
    MAX_UPLOADS_PER_AI,
    UPLOAD_KEPT_S,
    CompleteUpload,
    Uploads,
)
from coordinator.messages import CHUNK_BYTES
from coordinator.settings import Settings
from tests.clients import RealFleet, RunningGateway
from tests.fleet import ManualClock
from tests.gateway_clients import Json, OldClient, enroll
from tests.servers import wait_for

pytestmark = pytest.mark.one_server

Clients = Callable[[str], OldClient]


def chunks_of(data: bytes, **more: object) -> list[Json]:
    """The payloads that carry ``data``."""
    starts = range(0, max(1, len(data)), CHUNK_BYTES)
    told = {"artifact": sha256(data), "count": len(starts), "bytes": len(data), **more}
    return [
        {**told, "index": index, "data": base64.b64encode(data[at : at + CHUNK_BYTES]).decode()}
        for index, at in enumerate(starts)
    ]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def content(size: int) -> bytes:
    return bytes(n % 251 for n in range(size))


def fetched(client: OldClient, artifact: str) -> bytes:
    data, index, count = b"", 0, 1
    while index < count:
        client.send("payload", {"artifact": artifact, "index": index})
        chunk = client.receive("payload").payload
        assert chunk.keys() == {"artifact", "index", "count", "bytes", "data", "in_reply_to"}
        assert (chunk["artifact"], chunk["index"]) == (artifact, index)
        data += base64.b64decode(chunk["data"])
        count = chunk["count"]
        index += 1
    return data


# -- by a gateway ----------------------------------------------------------------------------------


@pytest.fixture
def gateway(real_url: str) -> Iterator[RunningGateway]:
    with (
        RealFleet(real_url, artifacts_max_bytes=1024 * 1024) as fleet,
        RunningGateway(fleet) as gateway,
    ):
        yield gateway


@pytest.fixture
def clients(gateway: RunningGateway) -> Iterator[Clients]:
    made: list[OldClient] = []

    def make(ai: str) -> OldClient:
        made.append(OldClient(gateway.address, ai, enroll(gateway.fleet, ai)))
        made[-1].hello()
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_one_for_an_ai_is_put_passed_on_and_fetched(clients: Clients, size: int) -> None:
    one, two = clients("AI_1"), clients("AI_2")
    data = content(size)
    for n, chunk in enumerate(chunks_of(data, name="weights")):
        one.send("payload", chunk, "AI_2", message_id=f"chunk-{n}")
    done = one.receive("payload").payload
    assert done["in_reply_to"] == f"chunk-{n}"
    assert (done["artifact"], done["owner"], done["bytes"]) == (sha256(data), "AI_1", size)
    told = two.receive("payload")
    assert (told.sender_id, told.target_ai) == ("AI_1", "AI_2")
    assert told.payload["name"] == "weights"
    assert (told.payload["artifact"], told.payload["owner"]) == (sha256(data), "AI_1")
    assert fetched(two, sha256(data)) == data


def test_one_that_is_shared_can_be_fetched_by_all(clients: Clients) -> None:
    one, two, three = clients("AI_1"), clients("AI_2"), clients("AI_3")
    data = content(1000)
    one.send("payload", chunks_of(data, share=True)[0])
    for other in (two, three):
        assert other.receive("payload").payload["bytes"] == 1000
        assert fetched(other, sha256(data)) == data


def test_one_of_ones_own_is_nobody_elses(clients: Clients) -> None:
    one, two = clients("AI_1"), clients("AI_2")
    data = content(1000)
    one.send("payload", chunks_of(data)[0])
    assert one.receive("payload").payload["owner"] == "AI_1"
    assert fetched(one, sha256(data)) == data
    two.send("payload", {"artifact": sha256(data), "owner": "AI_1", "index": 0})
    assert two.error() == "not_found"


def test_a_quota_is_the_fleets(clients: Clients) -> None:
    one = clients("AI_1")
    codes = []
    for n in range(3):
        data = content(400 * 1024 + n)
        for chunk in chunks_of(data):
            one.send("payload", chunk)
        assert one.receive("payload").payload["bytes"] == len(data)
        one.send("query", {"what": "counts"}, message_id=f"q{n}")
        while (message := one.next()).message_type != "query_result":
            codes.append(message.payload["code"])
    assert codes == ["too_large"]


@pytest.mark.parametrize(
    "changed",
    [
        {"artifact": "x"},
        {"artifact": "0" * 64},
        {"index": 1},
        {"count": 2},
        {"bytes": 4},
        {"data": "???"},
        {"data": ""},
        {"index": "0"},
    ],
    ids=repr,
)
def test_a_bad_chunk_is_refused(clients: Clients, changed: Json) -> None:
    one = clients("AI_1")
    one.send("payload", chunks_of(b"abc")[0] | changed, message_id="bad")
    refused = one.receive("error").payload
    assert (refused["code"], refused["in_reply_to"]) == ("bad_payload", "bad")


@pytest.mark.parametrize("more", [{"role": "observer"}, {"message_types": ["pattern_share"]}])
def test_who_may_not_send_payload_stores_nothing(
    gateway: RunningGateway, clients: Clients, more: Json
) -> None:
    giver, fleet = clients("AI_2"), gateway.fleet
    data = content(10)
    giver.send("payload", chunks_of(data, share=True)[0])
    with OldClient(gateway.address, "AI_1", enroll(fleet, "AI_1", **more)) as one:
        one.hello()
        one.send("payload", chunks_of(b"abc")[0], message_id="mine")
        came = [one.next()]
        while came[-1].message_type != "error":
            came.append(one.next())
        answers = [m.payload for m in came if m.payload.get("in_reply_to") == "mine"]
        assert [answer.get("code") for answer in answers] == ["forbidden"]
        assert fleet.redis.keys(f"{fleet.keys.namespace}:artifact:AI_1:*") == []
        assert fetched(one, sha256(data)) == data


# -- what is held meanwhile ------------------------------------------------------------------------


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def uploads(clock: ManualClock) -> Uploads:
    return Uploads(Settings(artifact_max_bytes=4 * CHUNK_BYTES), 6 * CHUNK_BYTES, clock)


def test_chunks_may_come_in_any_order_and_twice(uploads: Uploads) -> None:
    data = content(2 * CHUNK_BYTES + 5)
    first, second, third = chunks_of(data)
    taken = [uploads.take("AI_1", chunk) for chunk in (third, first, first, third, second)]
    assert taken == [None, None, None, None, CompleteUpload(sha256(data), data)]
    assert uploads.held_bytes == 0


def test_what_is_never_completed_is_given_up(uploads: Uploads, clock: ManualClock) -> None:
    uploads.take("AI_1", chunks_of(content(2 * CHUNK_BYTES))[0])
    assert uploads.held_bytes == CHUNK_BYTES
    clock.advance(UPLOAD_KEPT_S)
    uploads.expire()
    assert uploads.held_bytes == 0


def test_all_that_is_held_is_bounded(uploads: Uploads) -> None:
    for ai in ("AI_1", "AI_2"):
        for chunk in chunks_of(content(4 * CHUNK_BYTES))[:3]:
            uploads.take(ai, chunk)
    with pytest.raises(BadMessage) as refused:
        uploads.take("AI_3", chunks_of(content(2 * CHUNK_BYTES))[0])
    assert refused.value.code == "busy"
    assert uploads.held_bytes == 6 * CHUNK_BYTES


def test_one_ai_leaves_room_for_others(clock: ManualClock) -> None:
    uploads = Uploads(Settings(artifact_max_bytes=2 * CHUNK_BYTES), 24 * CHUNK_BYTES, clock)
    for n in range(2):
        uploads.take("AI_1", chunks_of(content(2 * CHUNK_BYTES - n))[0])
    uploads.take("AI_1", chunks_of(content(CHUNK_BYTES + 1))[0])
    with pytest.raises(BadMessage) as refused:
        uploads.take("AI_1", chunks_of(content(CHUNK_BYTES + 2))[0])
    assert refused.value.code == "busy"
    assert uploads.take("AI_2", chunks_of(content(2 * CHUNK_BYTES))[0]) is None


def test_a_repeat_is_no_progress(uploads: Uploads, clock: ManualClock) -> None:
    first = chunks_of(content(2 * CHUNK_BYTES))[0]
    uploads.take("AI_1", first)
    clock.advance(UPLOAD_KEPT_S / 2)
    uploads.take("AI_1", first)
    clock.advance(UPLOAD_KEPT_S / 2)
    uploads.expire()
    assert uploads.held_bytes == 0


def test_what_one_has_begun_goes_with_it(gateway: RunningGateway, clients: Clients) -> None:
    one = clients("AI_1")
    uploads = gateway.gateway.uploads
    one.send("payload", chunks_of(content(2 * CHUNK_BYTES))[0])
    wait_for(lambda: uploads.held_bytes == CHUNK_BYTES, what="the first chunk to come")
    one.close()
    wait_for(lambda: uploads.held_bytes == 0, what="it to be forgotten")


def test_one_ai_has_a_few_on_their_way_only(uploads: Uploads) -> None:
    for n in range(MAX_UPLOADS_PER_AI):
        uploads.take("AI_1", chunks_of(content(CHUNK_BYTES + 1 + n))[1])
    with pytest.raises(BadMessage) as refused:
        uploads.take("AI_1", chunks_of(content(CHUNK_BYTES + 100))[1])
    assert refused.value.code == "busy"
    assert uploads.take("AI_2", chunks_of(content(CHUNK_BYTES + 100))[1]) is None


def test_the_largest_is_known_before_it_comes(uploads: Uploads) -> None:
    with pytest.raises(BadMessage) as refused:
        uploads.take("AI_1", chunks_of(content(4 * CHUNK_BYTES + 1))[0])
    assert refused.value.code == "too_large"


def test_another_content_under_a_name_is_refused_and_forgotten(uploads: Uploads) -> None:
    forged = chunks_of(b"abc")[0] | {"artifact": sha256(b"abd")}
    with pytest.raises(BadMessage) as refused:
        uploads.take("AI_1", forged)
    assert (refused.value.code, refused.value.field) == ("bad_payload", "payload.artifact")
    assert uploads.held_bytes == 0


def test_chunks_are_not_piled_up_for_one_that_does_not_read(
    gateway: RunningGateway, clients: Clients
) -> None:
    """They are read for it as it reads them."""
    one = clients("AI_1")
    data = content(CHUNK_BYTES)
    one.send("payload", chunks_of(data)[0])
    one.receive("payload")
    for _ in range(150):
        one.send("payload", {"artifact": sha256(data), "index": 0})
    seen: list[int] = []

    def stands_still() -> bool:
        seen.append(gateway.metrics.received)
        return len(seen) > 50 and len(set(seen[-50:])) == 1

    wait_for(stands_still, what="the gateway to take no more")
    assert seen[-1] < 140
    assert [one.receive("payload").payload["index"] for _ in range(150)] == [0] * 150
