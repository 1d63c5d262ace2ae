"""What operators have done by the pages of actions, and who may not."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from coordinator.audit import read_audit
from coordinator.clock import SystemClock
from coordinator.letters import read_letters
from coordinator.messages import OPERATOR
from tests.dashboards import client_of, fields_of, sign_in, token_of
from tests.fleet import FleetUnderTest
from web.actions import ACTIONS
from web.pages.urls import page_url


@dataclass(frozen=True)
class Subjects:
    """What there is to act on: by the names of the fields of the forms."""

    ai: str
    session_id: str
    unit_id: str
    id: str

    def of(self, name: str) -> dict[str, str]:
        field = ACTIONS[name].field
        return {field: str(getattr(self, field))}


@pytest.fixture
def subjects(fleet: FleetUnderTest, operator: str) -> Subjects:
    """Two AIs, a session that one of them could not do its unit of, one that is open, a dead
    letter."""
    fleet.join("AI_1", "AI_2", skills=["echo"])
    plan = [{"name": "echo", "kind": "echo", "participant": 1, "tries": 1}]
    failed = fleet.collaborate("AI_1", "AI_2", plan=plan)
    fleet.report(f"{failed}-1", "failed", reason="broke")
    session_id = fleet.collaborate("AI_1", "AI_2", plan=plan)
    return Subjects("AI_2", session_id, f"{failed}-1", fleet.bury())


@pytest.fixture
def acting(
    subjects: Subjects, running: FleetUnderTest, client: TestClient, operator: str
) -> TestClient:
    """A browser of an operator, of a fleet whose coordinator takes messages."""
    sign_in(client, operator)
    return client


def form_of(client: TestClient, name: str, subjects: Subjects, to: str = "/") -> dict[str, str]:
    page = client.get(page_url(f"/actions/{name}", to=to, **subjects.of(name)))
    assert page.status_code == 200, page.text
    return fields_of(page.text)


def send(client: TestClient, name: str, form: dict[str, str], **headers: str) -> Any:
    return client.post(f"/actions/{name}", data=form, headers=headers, follow_redirects=False)


def state_of(fleet: FleetUnderTest, subjects: Subjects) -> tuple[object, ...]:
    """All that actions could have changed."""
    return (
        fleet.live(),
        fleet.redis.hexists(fleet.keys.member("AI_2"), "draining"),
        fleet.session(subjects.session_id)["state"],
        fleet.unit(subjects.unit_id)["state"],
        len(read_letters(fleet.redis, fleet.keys)),
    )


UNTOUCHED = (["AI_1", "AI_2"], False, "active", "failed", 1)


# -- what is done ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "state", "said"),
    [
        ("cancel", (["AI_1", "AI_2"], False, "cancelled", "failed", 1), "You cancelled "),
        ("retry", (["AI_1", "AI_2"], False, "active", "queued", 1), "You retried "),
        ("drain", (["AI_1", "AI_2"], True, "active", "failed", 1), "You drained AI_2."),
        ("dead_retry", (["AI_1", "AI_2"], False, "active", "failed", 0), "dead letter 5-1."),
        ("dead_drop", (["AI_1", "AI_2"], False, "active", "failed", 0), "dead letter 5-1."),
    ],
)
def test_an_action_is_done_told_and_leads_back(
    acting: TestClient,
    fleet: FleetUnderTest,
    subjects: Subjects,
    caplog: pytest.LogCaptureFixture,
    name: str,
    state: tuple[object, ...],
    said: str,
) -> None:
    caplog.set_level(logging.INFO, "coord.http")
    form = form_of(acting, name, subjects, to="/fleet?specialization=general")
    answer = send(acting, name, form)
    assert answer.headers["location"] == "/fleet?specialization=general"
    assert (answer.status_code, state_of(fleet, subjects)) == (303, state)
    assert said in acting.get("/fleet").text
    assert said not in acting.get("/fleet").text
    (subject,) = subjects.of(name).values()
    assert f"Alice {ACTIONS[name].done} {subject} by the dashboard" in caplog.messages


@pytest.mark.parametrize("name", ["kick", "revoke"])
def test_who_is_sent_away_is_gone_with_the_reason(
    acting: TestClient, fleet: FleetUnderTest, subjects: Subjects, name: str
) -> None:
    form = form_of(acting, name, subjects) | {"reason": "it was <b>stolen</b>"}
    assert send(acting, name, form).status_code == 303
    assert fleet.live() == ["AI_1"]
    told = fleet.error("AI_2")
    assert told["code"] == ("kicked" if name == "kick" else "revoked")
    assert told["detail"].endswith("it was <b>stolen</b>")


def test_the_audit_says_who_did_it(
    acting: TestClient, fleet: FleetUnderTest, subjects: Subjects
) -> None:
    send(acting, "kick", form_of(acting, "kick", subjects))
    (event,) = read_audit(fleet.redis, fleet.keys, 1)
    assert (event["kind"], event["text"]) == (
        "kicked",
        "operator (Alice) kicked AI_2: kicked by the operator",
    )


def test_a_form_that_is_sent_twice_is_one_message(
    acting: TestClient, fleet: FleetUnderTest, subjects: Subjects
) -> None:
    form = form_of(acting, "kick", subjects)
    answers = [send(acting, "kick", form) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    kicked = [event for event in fleet.events() if event["kind"] == "kicked"]
    assert (len(kicked), fleet.inbox(OPERATOR)) == (1, [])


def test_a_form_that_is_sent_again_with_another_subject_is_another_message(
    acting: TestClient, fleet: FleetUnderTest, subjects: Subjects
) -> None:
    form = form_of(acting, "kick", subjects)
    answers = [send(acting, "kick", form | {"ai": ai}) for ai in ("AI_2", "AI_1")]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert fleet.live() == []


@pytest.mark.parametrize("name", ACTIONS)
def test_looking_at_a_form_does_nothing(
    acting: TestClient, fleet: FleetUnderTest, subjects: Subjects, name: str
) -> None:
    path = page_url(f"/actions/{name}", **subjects.of(name))
    page, head = acting.get(path), acting.head(path)
    (subject,) = subjects.of(name).values()
    assert f'<span class="subject">{subject}</span>' in page.text
    assert (page.status_code, head.status_code, head.content) == (200, 200, b"")
    assert state_of(fleet, subjects) == UNTOUCHED


# -- what cannot be done ---------------------------------------------------------------------------


def test_what_the_coordinator_refuses_is_said_on_the_form(
    acting: TestClient, fleet: FleetUnderTest, subjects: Subjects
) -> None:
    form = form_of(acting, "cancel", subjects)
    assert send(acting, "cancel", form).status_code == 303
    again = send(acting, "cancel", form | {"form_id": "0" * 32, "reason": "done with it"})
    assert again.status_code == 409
    assert "names no open session" in again.text
    assert "done with it" in again.text
    assert fields_of(again.text)["form_id"] != "0" * 32


class HastyClock(SystemClock):
    """Time goes by as often as somebody looks."""

    def __init__(self) -> None:
        self._looked = 0

    def elapsed_s(self) -> float:
        self._looked += 1
        return self._looked


def test_without_a_coordinator_it_waits_and_is_said_to(
    fleet: FleetUnderTest, subjects: Subjects, operator: str
) -> None:
    client = client_of(fleet, clock=HastyClock())
    sign_in(client, operator)
    form = form_of(client, "drain", subjects)
    answer = send(client, "drain", form)
    assert answer.status_code == 503
    assert "it is queued and takes effect once one is active" in answer.text
    fleet.run()
    assert state_of(fleet, subjects) == (["AI_1", "AI_2"], True, "active", "failed", 1)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("kick", {"ai": "AI_9"}),
        ("revoke", {"ai": "AI_9"}),
        ("cancel", {"session_id": "none"}),
        ("retry", {"unit_id": "none-1"}),
        ("dead_retry", {"id": "9-9"}),
        ("none", {}),
    ],
)
def test_what_is_not_there_is_said_so(acting: TestClient, name: str, given: dict[str, str]) -> None:
    answer = acting.get(page_url(f"/actions/{name}", **given))
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ai": "no id!"}, "ai is not an id"),
        ({"ai": ""}, "ai is missing"),
        ({"reason": "x" * 501}, "reason should have at most 500"),
        ({"form_id": ""}, "form_id is missing"),
        ({"form_id": "x"}, "form_id"),
        ({"session_id": "x"}, "&#39;session_id&#39; is no parameter"),
    ],
)
def test_a_form_that_was_changed_is_one_clear_error(
    acting: TestClient,
    fleet: FleetUnderTest,
    subjects: Subjects,
    changed: dict[str, str],
    said: str,
) -> None:
    answer = send(acting, "kick", form_of(acting, "kick", subjects) | changed)
    assert answer.status_code == 400
    assert said in answer.text.partition("<main")[2]
    assert state_of(fleet, subjects) == UNTOUCHED


# -- who may not -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIONS)
def test_who_has_not_signed_in_is_led_there_and_cannot_act(
    client: TestClient, fleet: FleetUnderTest, subjects: Subjects, name: str
) -> None:
    path = page_url(f"/actions/{name}", **subjects.of(name))
    asked = client.get(path, follow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, page_url("/sign-in", to=path))
    form = {"form_key": "", "form_id": "0" * 32, **subjects.of(name)}
    answer = send(client, name, form)
    assert answer.status_code == 403
    assert "has signed in as an operator" in answer.text
    assert state_of(fleet, subjects) == UNTOUCHED


def test_an_observer_looks_and_does_not_act(
    fleet: FleetUnderTest, subjects: Subjects, operator: str
) -> None:
    client = client_of(fleet, asks_token=True)
    sign_in(client, operator)
    form = form_of(client, "kick", subjects)
    observing = token_of(fleet, "Bob", "observer")
    sign_in(client, observing)
    form["form_key"] = fields_of(client.get("/fleet").text)["form_key"]
    assert "/actions/" not in client.get("/fleet/AI_2").text
    assert send(client, "kick", form).status_code == 403
    assert state_of(fleet, subjects) == UNTOUCHED


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:9000"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
)
def test_no_other_page_has_anything_done(
    acting: TestClient, fleet: FleetUnderTest, subjects: Subjects, headers: dict[str, str]
) -> None:
    answer = send(acting, "kick", form_of(acting, "kick", subjects), **headers)
    assert answer.status_code == (400 if "Host" in headers else 403)
    assert state_of(fleet, subjects) == UNTOUCHED


@pytest.mark.parametrize("key", ["", "wrong", "ä"])
def test_a_form_without_the_key_of_the_sign_in_does_nothing(
    acting: TestClient, fleet: FleetUnderTest, subjects: Subjects, key: str
) -> None:
    answer = send(acting, "kick", form_of(acting, "kick", subjects) | {"form_key": key})
    assert answer.status_code == 403
    assert "an earlier sign-in" in answer.text
    assert state_of(fleet, subjects) == UNTOUCHED


def test_a_token_in_the_header_is_no_sign_in(
    fleet: FleetUnderTest, subjects: Subjects, operator: str
) -> None:
    client = client_of(fleet, asks_token=True)
    form = {"form_key": "", "form_id": "0" * 32, "ai": "AI_2"}
    answer = send(client, "kick", form, Authorization=f"Bearer {operator}")
    assert answer.status_code == 403
    assert state_of(fleet, subjects) == UNTOUCHED


def test_where_it_goes_on_is_here(acting: TestClient, subjects: Subjects) -> None:
    form = form_of(acting, "drain", subjects, to="//evil.example")
    assert form["to"] == "/"
    answer = send(acting, "drain", form | {"to": "https://evil.example/"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_no_page_may_be_framed(acting: TestClient, subjects: Subjects) -> None:
    page = acting.get(page_url("/actions/kick", **subjects.of("kick")))
    policy = page.headers["content-security-policy"].split("; ")
    assert {"frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"} <= set(policy)
    assert page.headers["cache-control"] == "no-store"
