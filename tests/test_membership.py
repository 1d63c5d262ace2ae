"""Who may come in: enrolment, rotation and revocation, as they are stored and told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from tests.fleet import BEGINNING_MS, FleetUnderTest, changed, digest_of

ACCESS = {
    "role": "trainer",
    "specializations": None,
    "message_types": None,
    "is_revoked": False,
}
DAY_MS = 86_400_000


@pytest.fixture
def fleet(redis: Redis) -> FleetUnderTest:
    return FleetUnderTest(redis)


def access(fleet: FleetUnderTest, ai: str) -> dict[str, Any]:
    return json.loads(fleet.redis.hget(f"coord:member:{ai}", "access"))  # type: ignore[arg-type,no-any-return]


def credentials(fleet: FleetUnderTest, ai: str) -> dict[str, dict[str, Any]]:
    stored = fleet.state().get(f"coord:credentials:{ai}", ({}, "stays"))
    assert stored[1] == "stays"
    return {key_id: json.loads(value) for key_id, value in stored[0].items()}


def changes(fleet: FleetUnderTest) -> int:
    return int(fleet.redis.hget("coord:fleet", "credentials_n") or 0)


def ends(fleet: FleetUnderTest, ai: str) -> dict[str, int | None]:
    """Key id -> when it expires, in ms since the beginning."""
    return {
        key_id: None if one["expires_ms"] is None else one["expires_ms"] - BEGINNING_MS
        for key_id, one in credentials(fleet, ai).items()
    }


def refused(fleet: FleetUnderTest, message_type: str, **payload: Any) -> dict[str, Any]:
    before = fleet.state()
    fleet.order(message_type, **payload)
    written = changed(before, fleet.state()) - {"coord:doors", "coord:ingress:operator"}
    assert written == {
        "coord:events",
        "coord:inbox:operator",
        "coord:instance:operator/operator.1",
        "coord:member:operator",
    }
    return fleet.error("operator")


# -- enroll ----------------------------------------------------------------------------------------


def test_enrolment(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", "key00001", specializations=["audio"], is_weak=True)
    assert access(fleet, "a") == ACCESS | {"specializations": ["audio"]}
    assert fleet.state()["coord:member:a"][1] == "stays"
    assert credentials(fleet, "a") == {
        "key00001": {
            "key_id": "key00001",
            "digest": digest_of("key00001"),
            "created_ms": BEGINNING_MS,
            "expires_ms": None,
            "is_weak": True,
        }
    }
    assert changes(fleet) == 1
    assert fleet.events() == [
        {
            "kind": "enrolled",
            "ai": "a",
            "text": "operator enrolled a as trainer by key key00001",
            "data": {
                "by": "operator",
                "key_id": "key00001",
                "expires_ms": None,
                "role": "trainer",
                "is_weak": True,
            },
        }
    ]


def test_the_digest_is_told_to_nobody(fleet: FleetUnderTest, caplog: Any) -> None:
    caplog.set_level("DEBUG", "coord")
    fleet.enroll("a", "key00001")
    fleet.order("rotate", ai="a", key_id="key00002", digest=digest_of("key00002"), grace_s=1)
    told = {name: value for name, value in fleet.state().items() if "credentials:" not in name}
    for key_id in ("key00001", "key00002"):
        assert digest_of(key_id) not in repr(told)
        assert digest_of(key_id) not in caplog.text


def test_enrolling_again_replaces_what_it_may_and_adds_a_key(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", "key00001", role="observer", message_types=[])
    fleet.clock.advance(1)
    fleet.enroll("a", "key00002", role="operator")
    assert access(fleet, "a") == ACCESS | {"role": "operator"}
    assert sorted(credentials(fleet, "a")) == ["key00001", "key00002"]
    fleet.clock.advance(1)
    fleet.enroll("a", "key00003")
    assert sorted(credentials(fleet, "a")) == ["key00002", "key00003"]
    assert changes(fleet) == 3


def test_a_key_that_is_enrolled_again_is_replaced(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", "key00001")
    fleet.clock.advance(1)
    fleet.enroll("a", "key00001", expires_ms=BEGINNING_MS + DAY_MS)
    assert ends(fleet, "a") == {"key00001": DAY_MS}


def test_a_key_that_has_expired_goes_at_the_next(fleet: FleetUnderTest) -> None:
    """It is known for as long as there is but one that is good."""
    fleet.enroll("a", "key00001", expires_ms=BEGINNING_MS + 1000)
    fleet.clock.advance(2)
    fleet.enroll("a", "key00002")
    assert ends(fleet, "a") == {"key00001": -BEGINNING_MS, "key00002": None}
    fleet.enroll("a", "key00003")
    assert ends(fleet, "a") == {"key00002": None, "key00003": None}


def test_a_member_outlives_a_reload(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", role="observer")
    fleet.replace_coordinator("coordinator-2")
    fleet.join("a")
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}})
    fleet.run()
    assert fleet.error("a")["code"] == "forbidden"


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"ai": "operator"}, "payload.ai"),
        ({"ai": "gateway"}, "payload.ai"),
        ({"ai": "a b"}, "payload.ai"),
        ({"key_id": "KEY00001"}, "payload.key_id"),
        ({"key_id": "short"}, "payload.key_id"),
        ({"digest": "xyz"}, "payload.digest"),
        ({"role": "king"}, "payload.role"),
        ({"expires_ms": BEGINNING_MS}, "payload.expires_ms"),
        ({"specializations": ["two words"]}, "payload.specializations.0"),
        ({"message_types": ["hello", "pattern_shar"]}, "payload.message_types"),
        ({"is_weak": "no"}, "payload.is_weak"),
    ],
    ids=str,
)
def test_an_enrolment_that_breaks_a_rule(
    fleet: FleetUnderTest, payload: dict[str, Any], field: str
) -> None:
    good = {"ai": "a", "key_id": "key00001", "digest": digest_of("key00001")}
    error = refused(fleet, "enroll", **(good | payload))
    assert (error["code"], error["field"]) == ("bad_payload", field)


# -- rotate ----------------------------------------------------------------------------------------


def rotate(fleet: FleetUnderTest, key_id: str, **payload: Any) -> None:
    fleet.order("rotate", ai="a", key_id=key_id, digest=digest_of(key_id), **payload)


def test_both_keys_are_good_during_the_grace(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", "key00001", role="observer")
    fleet.clock.advance(10)
    rotate(fleet, "key00002", grace_s=3600)
    assert ends(fleet, "a") == {"key00001": 3_610_000, "key00002": None}
    assert access(fleet, "a")["role"] == "observer"
    assert changes(fleet) == 2
    assert fleet.events()[-1] == {
        "kind": "rotated",
        "ai": "a",
        "text": "operator gave a the key key00002",
        "data": {
            "by": "operator",
            "key_id": "key00002",
            "expires_ms": None,
            "grace_s": 3600,
            "is_weak": False,
        },
    }


def test_without_a_grace_the_old_key_ends_at_once(fleet: FleetUnderTest) -> None:
    """It is known until it is replaced once more."""
    fleet.enroll("a", "key00001")
    rotate(fleet, "key00002")
    assert ends(fleet, "a") == {"key00001": -BEGINNING_MS, "key00002": None}
    fleet.clock.advance(1)
    rotate(fleet, "key00003", grace_s=60)
    assert ends(fleet, "a") == {"key00002": 61_000, "key00003": None}


def test_a_grace_lengthens_nothing(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", "key00001", expires_ms=BEGINNING_MS + 5000)
    rotate(fleet, "key00002", grace_s=3600)
    assert ends(fleet, "a")["key00001"] == 5000


def test_the_new_key_is_good_for_as_long_as_the_last_was_given_for(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", "key00001", expires_ms=BEGINNING_MS + 30 * DAY_MS)
    fleet.clock.advance(86_400)
    rotate(fleet, "key00002", grace_s=60)
    assert ends(fleet, "a") == {"key00001": DAY_MS + 60_000, "key00002": 31 * DAY_MS}
    fleet.clock.advance(3600)
    rotate(fleet, "key00003", grace_s=60)
    assert ends(fleet, "a") == {
        "key00002": DAY_MS + 3_660_000,
        "key00003": 31 * DAY_MS + 3_600_000,
    }


@pytest.mark.parametrize("expires_ms", [None, BEGINNING_MS + DAY_MS])
def test_the_end_of_the_new_key_may_be_said(fleet: FleetUnderTest, expires_ms: int | None) -> None:
    fleet.enroll("a", "key00001", expires_ms=BEGINNING_MS + 30 * DAY_MS)
    rotate(fleet, "key00002", expires_ms=expires_ms)
    end_ms = None if expires_ms is None else DAY_MS
    assert ends(fleet, "a") == {"key00001": -BEGINNING_MS, "key00002": end_ms}


def test_who_has_no_key_has_none_to_rotate(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    key = {"key_id": "key00002", "digest": digest_of("key00002"), "grace_s": 0}
    error = refused(fleet, "rotate", ai="a", **key)
    assert (error["code"], error["field"]) == ("not_found", "payload.ai")


# -- revoke ----------------------------------------------------------------------------------------


def test_one_key_is_revoked(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", "key00001")
    fleet.enroll("a", "key00002")
    fleet.join("a")
    fleet.order("revoke", ai="a", key_id="key00001", reason="it leaked")
    assert list(credentials(fleet, "a")) == ["key00002"]
    assert access(fleet, "a") == ACCESS
    assert fleet.live() == ["a"]
    assert changes(fleet) == 3
    assert fleet.events()[-1] == {
        "kind": "revoked",
        "ai": "a",
        "text": "operator revoked the key key00001 of a: it leaked",
        "data": {"by": "operator", "key_id": "key00001", "reason": "it leaked"},
    }


def test_an_ai_is_shut_out_altogether(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", "key00001", role="observer")
    fleet.join("a", gateway="g1")
    fleet.order("revoke", ai="a", reason="it leaked")
    assert credentials(fleet, "a") == {}
    assert access(fleet, "a") == ACCESS | {"role": "observer", "is_revoked": True}
    assert fleet.live() == []
    assert changes(fleet) == 2
    assert fleet.error("a") == {
        "in_reply_to": None,
        "code": "revoked",
        "detail": "a was removed from the fleet: it leaked",
    }
    assert fleet.redis.xrevrange("coord:inbox:a", count=1)[0][1][b"instance"] == b"a.1"  # type: ignore[index]
    assert fleet.log()[-1]["message_type"] == "goodbye"
    assert [event["kind"] for event in fleet.events()] == ["enrolled", "joined", "revoked", "left"]


def test_its_units_go_to_others(fleet: FleetUnderTest) -> None:
    fleet.join("a", "b", skills=["propose_design", "implement_design", "measure_component"])
    session_id = fleet.collaborate("a", "b")
    unit_id = f"{session_id}-1"
    assert fleet.unit(unit_id)["attempts"][-1]["ai"] == "a"
    fleet.order("revoke", ai="a")
    assert fleet.unit(unit_id)["attempts"][-1]["ai"] == "b"


def test_one_that_was_never_enrolled_can_be_shut_out(fleet: FleetUnderTest) -> None:
    fleet.join("a")
    fleet.order("revoke", ai="a")
    assert access(fleet, "a") == ACCESS | {"is_revoked": True}
    assert fleet.live() == []


def test_one_that_was_shut_out_can_be_enrolled_again(fleet: FleetUnderTest) -> None:
    fleet.enroll("a", "key00001")
    fleet.order("revoke", ai="a")
    fleet.enroll("a", "key00002")
    fleet.join("a")
    assert access(fleet, "a") == ACCESS
    assert fleet.live() == ["a"]


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"ai": "a", "key_id": "key00009"}, "payload.key_id"),
        ({"ai": "stranger"}, "payload.ai"),
        ({"ai": "operator"}, "payload.ai"),
        ({"ai": "hub"}, "payload.ai"),
    ],
    ids=str,
)
def test_there_must_be_something_to_revoke(
    fleet: FleetUnderTest, payload: dict[str, Any], field: str
) -> None:
    fleet.enroll("a")
    error = refused(fleet, "revoke", **payload)
    assert (error["code"], error["field"]) == ("not_found", field)
