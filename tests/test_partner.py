"""What a trainer answers to others, what it asks of them, and what it counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import pytest

from coordinator import AsyncClient, Message
from coordinator.specializations import capabilities_of
from coordinator.testing import FakeFleet
from coordinator.work import END_STATES
from tests.clients import in_loop, receive_until
from workers.partner import (
    EFFORT,
    SEEK_EVERY_S,
    Answer,
    Partner,
    answer_to,
    decline_reason,
    lacking,
)

ME = "AI_1"
OPTIMIZATION, JOINING = "performance_optimization", "cross_specialization"


def answer(request: dict[str, Any], **given: Any) -> Answer:
    """What a trainer of file_system says to a request of one of process_manager."""
    asked = {"type": OPTIMIZATION, "partner_specialization": "process_manager", **request}
    me = {"specialization": "file_system", "is_asked_by_name": False, "active": 0, "most": 3}
    me |= {"capabilities": ("data_structures",), **given}
    return answer_to(asked, **cast(Any, me))


PAIR = ["process_manager", "file_system"]
NOT_SOUGHT = Answer(False, "file_system is not what is looked for")
NO_GARDEN = Answer(False, "there is nothing to train for 'gardening' yet")


@pytest.mark.parametrize(
    ("request_", "given", "expected"),
    [
        ({}, {}, Answer(True, "")),  # process_manager looks for file_system
        ({"partner_specialization": "file_system"}, {}, Answer(True, "")),
        ({"partner_specialization": "security"}, {}, NOT_SOUGHT),
        ({"partner_specialization": None}, {}, NOT_SOUGHT),
        ({"seeking_expertise": []}, {}, Answer(True, "")),
        ({"seeking_expertise": ["file_system"]}, {}, Answer(True, "")),
        ({"seeking_expertise": ["x", "data_structures"]}, {}, Answer(True, "")),
        ({"seeking_expertise": ["graphics"]}, {}, NOT_SOUGHT),
        ({"seeking_expertise": ["graphics"]}, {"is_asked_by_name": True}, Answer(True, "")),
        ({}, {"active": 2}, Answer(True, "")),
        ({}, {"active": 3}, Answer(False, "I take part in 3 collaborations already")),
        ({"type": JOINING}, {}, Answer(True, "")),
        (
            {"type": JOINING, "partner_specialization": "file_system"},
            {"is_asked_by_name": True},
            Answer(
                False,
                "there is no problem that file_system and file_system both have a part in",
            ),
        ),
        (
            {"type": JOINING, "partner_specialization": "", "seeking_expertise": PAIR},
            {},
            Answer(True, ""),
        ),
        (
            {"type": JOINING, "partner_specialization": "", "seeking_expertise": ["file_system"]},
            {},
            Answer(
                False,
                "there is no problem that file_system and anybody that is sought both have a part"
                " in",
            ),
        ),
        (
            {"type": JOINING, "partner_specialization": "audio", "plan": [{}]},
            {"is_asked_by_name": True},
            Answer(True, ""),
        ),
        ({"requirements": {"specialization": "process_manager"}}, {}, Answer(True, "")),
        (
            {"requirements": {"specialization": "gardening"}},
            {"is_asked_by_name": True},
            NO_GARDEN,
        ),
        ({"requirements": {"feature": "audio_mixer"}}, {}, Answer(True, "")),
        ({}, {"specialization": "gardening", "is_asked_by_name": True}, NO_GARDEN),
        ({"plan": [{}], "requirements": {"specialization": "gardening"}}, {}, Answer(True, "")),
    ],
)
def test_who_fits_and_is_not_too_busy_says_yes(
    request_: dict[str, Any], given: dict[str, Any], expected: Answer
) -> None:
    assert answer(request_, **given) == expected


@pytest.mark.parametrize(
    ("feature", "specialization", "reason"),
    [
        ("file_cache", "gardening", None),
        ("whatever", "file_system", None),
        ("audio_mixer", "gardening", None),
        ("whatever", "gardening", "there is nothing to train for 'gardening' yet"),
    ],
)
def test_a_feature_that_nothing_can_be_trained_for_is_declined(
    feature: str, specialization: str, reason: str | None
) -> None:
    assert decline_reason({"feature": feature}, specialization) == reason


def test_a_reason_is_one_line_of_bounded_length_whatever_was_asked() -> None:
    reason = decline_reason({"specialization": "gardening\n" * 10_000}, "file_system")
    assert reason is not None
    assert len(reason) <= 400
    assert "\n" not in reason


def test_lacking_is_what_partners_could_develop_and_nobody_has() -> None:
    assert lacking("performance", ()) == ["file_cache", "process_scheduler"]
    assert lacking("performance", ["file_cache"]) == ["process_scheduler"]
    assert lacking("window_manager", ["memory_allocator"]) == ["graphics_driver"]
    assert lacking("no such word", ()) == []


# -- a partner -------------------------------------------------------------------------------------


class Page:
    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items


class FakeClient:
    """Keeps what is sent; ``features`` are the components that the fleet has."""

    ai_id = ME

    def __init__(self, *opportunities: tuple[str, str, str]) -> None:
        fields = ("ai_id", "specialization", "suggested_type")
        offered = [dict(zip(fields, one, strict=True)) for one in opportunities]
        self.sync = {"collaboration_opportunities": offered}
        self.features: list[dict[str, Any]] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []

    async def send(self, message_type: str, payload: dict[str, Any]) -> str:
        self.sent.append((message_type, payload))
        return str(len(self.sent))

    async def query(self, what: str, **_: object) -> Page:
        assert what == "features"
        return Page([{"component": component} for component in self.features])

    def asked_for(self) -> list[tuple[str, str]]:
        """The collaborations it asked for: the type, and of whom."""
        sent = [payload for kind, payload in self.sent if kind == "collaboration_request"]
        return [(payload["type"], payload["target_ai"]) for payload in sent]

    def requested(self) -> list[str]:
        return [payload["feature"] for kind, payload in self.sent if kind == "feature_request"]


def partner_of(client: Any, specialization: str = "file_system", most: int = 3) -> Partner:
    return Partner(client, specialization, capabilities_of(specialization), most)


def message(message_type: str, payload: dict[str, Any], target: str | None = None) -> Message:
    return Message("m1", "AI_2", message_type, "", payload, target, "log", 1)


def update(session: str, status: str) -> Message:
    return message("collaboration_update", {"session_id": session, "status": status}, ME)


def request(session: str, **more: Any) -> Message:
    payload = {"session_id": session, "type": OPTIMIZATION, "partner_specialization": "file_system"}
    return message("collaboration_request", payload | more)


class Over(Exception):
    """The time that a test gives is over."""


async def seek(partner: Partner, spells: int) -> None:
    """Have it look for company for so many times SEEK_EVERY_S."""
    slept_s: list[float] = []

    async def sleep(seconds: float) -> None:
        slept_s.append(seconds)
        if len(slept_s) > spells:
            raise Over

    with pytest.raises(Over):
        await partner.seek(sleep)
    assert set(slept_s) == {SEEK_EVERY_S}


@in_loop
async def test_it_answers_with_the_session_and_the_reason() -> None:
    client = FakeClient()
    partner = partner_of(client)
    await partner.take(request("s1"))
    await partner.take(request("s2", partner_specialization="security"))
    await partner.take(message("collaboration_request", {**request("s3").payload}, ME))
    assert client.sent == [
        ("collaboration_response", {"session_id": "s1", "accept": True, "reason": ""}),
        ("collaboration_response", {"session_id": "s2", **NOT_SOUGHT._asdict()}),
        ("collaboration_response", {"session_id": "s3", "accept": True, "reason": ""}),
    ]


@in_loop
async def test_sessions_that_have_not_ended_count_as_active() -> None:
    client = FakeClient()
    partner = partner_of(client, most=2)

    async def is_accepted() -> bool:
        await partner.take(request("s9"))
        return bool(client.sent[-1][1]["accept"])

    for told in (update("s1", "pending"), update("s1", "active"), update("s1", "active")):
        await partner.take(told)
    assert await is_accepted()
    await partner.take(update("s2", "active"))
    assert not await is_accepted()
    for status in sorted(END_STATES):
        await partner.take(update("s3", "active"))
        await partner.take(update("s3", status))
    assert not await is_accepted()
    await partner.take(update("s2", "failed"))
    assert await is_accepted()


@pytest.mark.parametrize("kind", ["gap", "training_sync"])
@in_loop
async def test_ends_that_were_missed_do_not_keep_it_busy_for_ever(kind: str) -> None:
    client = FakeClient()
    partner = partner_of(client, most=1)
    await partner.take(update("s1", "active"))
    await partner.take(message(kind, {}))
    await partner.take(request("s2"))
    assert client.sent[-1][1]["accept"]
    await partner.take(update("s1", "completed"))  # it had not ended after all
    assert partner.done == {"collaborations_completed": 1}


@in_loop
async def test_it_counts_what_was_completed() -> None:
    partner = partner_of(FakeClient())
    for session, status in [("s1", "completed"), ("s2", "failed"), ("s3", "completed")]:
        await partner.take(update(session, "active"))
        await partner.take(update(session, status))
    for status, assignees in [("active", [ME]), ("completed", [ME]), ("completed", ["AI_2"])]:
        payload = {"request_id": "f", "status": status, "assignees": assignees}
        await partner.take(message("feature_update", payload, ME))
    assert partner.done == Counter(collaborations_completed=2, features_implemented=1)


@in_loop
async def test_at_first_it_asks_two_of_those_that_were_offered() -> None:
    client = FakeClient(
        ("AI_2", "process_manager", JOINING),
        ("AI_3", "networking", JOINING),
        ("AI_4", "file_system", OPTIMIZATION),
    )
    await seek(partner_of(client), 0)
    assert client.asked_for() == [(JOINING, "AI_2"), (OPTIMIZATION, "AI_3")]
    _, payload = client.sent[0]
    assert payload["requirements"] == {"specialization": "file_system", **EFFORT}
    assert payload["expertise_offered"] == capabilities_of("file_system")
    assert "process_manager" in payload["seeking_expertise"]


@in_loop
async def test_one_with_nothing_to_train_asks_nobody() -> None:
    client = FakeClient(("AI_2", "networking", JOINING))
    await seek(partner_of(client, "gardening"), 3)
    assert client.sent == []


@in_loop
async def test_later_it_asks_everybody_for_one_kind_after_the_other() -> None:
    client = FakeClient()
    await seek(partner_of(client), 4)
    kinds = [JOINING, OPTIMIZATION, "feature_development", JOINING]
    assert client.asked_for() == [(kind, "") for kind in kinds]


@in_loop
async def test_it_asks_for_no_more_while_it_takes_part_in_two() -> None:
    client = FakeClient()
    partner = partner_of(client)
    await partner.take(update("s1", "pending"))
    await seek(partner, 1)
    assert len(client.asked_for()) == 1
    await partner.take(update("s2", "active"))
    await seek(partner, 3)
    assert len(client.asked_for()) == 1
    await partner.take(update("s2", "completed"))
    await seek(partner, 1)
    assert len(client.asked_for()) == 2


@in_loop
async def test_it_requests_once_what_it_lacks() -> None:
    client = FakeClient()
    await seek(partner_of(client, "performance"), 4)
    assert client.requested() == ["file_cache", "process_scheduler"]


@in_loop
async def test_it_requests_nothing_that_is_there_or_was_requested_by_others() -> None:
    client = FakeClient()
    client.features = [{"name": "process_scheduler"}, {}, {"name": None}]
    partner = partner_of(client, "performance")
    await partner.take(message("feature_request", {"feature": "file_cache"}))
    await seek(partner, 3)
    assert client.requested() == []


@in_loop
async def test_it_declines_an_assigned_feature_that_it_cannot_develop() -> None:
    client = FakeClient()
    partner = partner_of(client, "gardening")
    for request_id, feature in [("f1", "file_cache"), ("f2", "garden_shed")]:
        asked = {"feature": feature, "requirements": {"priority": "high"}}
        payload = {"request_id": request_id, "original_request": asked, "requestor": "AI_2"}
        await partner.take(message("feature_response", payload, ME))
    reason = "there is nothing to train for 'gardening' yet"
    told = {"request_id": "f2", "accept": False, "reason": reason}
    assert client.sent == [("feature_response", told)]


# -- in a fleet ------------------------------------------------------------------------------------


async def listen(client: AsyncClient, partner: Partner, heard: list[Message]) -> None:
    async for came in client.messages():
        heard.append(came)
        await partner.take(came)


def statuses(heard: list[Message]) -> Counter[str]:
    """How often a collaboration was told to be in a state."""
    told = [came.payload for came in heard if came.message_type == "collaboration_update"]
    return Counter(payload["status"] for payload in told)


@in_loop
async def test_two_that_ask_each_other_at_the_same_time_have_two_sessions() -> None:
    async with (
        FakeFleet() as fleet,
        fleet.async_client("AI_1", specialization="file_system") as one,
        fleet.async_client("AI_2", specialization="file_system") as two,
    ):
        heard: dict[AsyncClient, list[Message]] = {one: [], two: []}
        partners = {client: partner_of(client) for client in heard}
        for client, other in ((one, two), (two, one)):
            payload = {"type": OPTIMIZATION, "target_ai": other.ai_id}
            await client.send("collaboration_request", payload)
        async with asyncio.TaskGroup() as tasks:
            listening = [
                tasks.create_task(listen(client, partner, heard[client]))
                for client, partner in partners.items()
            ]
            while not all(statuses(came)["active"] == 2 for came in heard.values()):
                await asyncio.sleep(0)
            for task in listening:
                task.cancel()
        for came in heard.values():
            assert statuses(came) == {"pending": 1, "active": 2}
            assert not [message for message in came if message.message_type == "error"]


STRANGE: list[tuple[str, dict[str, Any]]] = [
    ("collaboration_request", {"type": OPTIMIZATION, "session_id": 5, "initiator": []}),
    ("collaboration_request", {"type": OPTIMIZATION, "partner_specialization": {"a": 1}}),
    ("collaboration_request", {"type": OPTIMIZATION, "requirements": {"specialization": [{}]}}),
    (
        "collaboration_request",
        {"type": OPTIMIZATION, "requirements": {"specialization": "\n" * 900}},
    ),
    ("collaboration_request", {"type": OPTIMIZATION, "requirements": {"feature": {"x": None}}}),
    ("collaboration_request", {"type": JOINING, "seeking_expertise": ["", "\u2028"]}),
    ("feature_request", {"feature": "x" * 128, "request_id": 7}),
    ("feature_request", {"feature": "file_cache", "requirements": {"feature": []}}),
    ("os_component_share", {"component": {"name": None, "parameters": [[]]}, "session_id": "no"}),
    ("pattern_share", {"pattern": {"id": "p", "data": [[]]}}),
    ("code_share", {"code": {"id": "c", "dependencies": [None]}}),
]
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("collaboration_update", {"status": []}),
    ("feature_update", {}),
    ("training_sync", {}),
    ("gap", {}),
    ("feature_response", {"request_id": "none", "original_request": 5, "accept": True}),
    ("collaboration_request", {"type": OPTIMIZATION, "seeking_expertise": [{}]}),
    ("collaboration_request", {"type": OPTIMIZATION, "requirements": []}),
    ("feature_request", {"feature": ["file_cache"]}),
    ("os_component_share", {"component": []}),
    ("pattern_share", {}),
]


@in_loop
async def test_nothing_that_a_stranger_sends_harms_it() -> None:
    async with (
        FakeFleet() as fleet,
        fleet.async_client(ME, specialization="file_system") as client,
        fleet.async_client("AI_2", specialization="file_system") as stranger,
    ):
        partner = partner_of(client)
        for message_type, payload in [*STRANGE, *REFUSED]:
            await stranger.send(message_type, payload)
            await stranger.send(message_type, payload, ME)
        await stranger.share_pattern({"id": "last"})
        heard = await receive_until(
            client, lambda m: m.payload.get("pattern", {}).get("id") == "last"
        )
        for came in heard:
            await partner.take(came)
        by_strangers = {came.message_type for came in heard if came.sender_id != "hub"}
        assert by_strangers == {"hello", *(kind for kind, _ in STRANGE)}
        await client.confirm()
