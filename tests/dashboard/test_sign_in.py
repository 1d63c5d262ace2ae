"""Signing in by a token, and how long that is worth anything."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from coordinator.credentials import digest, new_token
from coordinator.gateway.failures import MAX_FAILURES
from tests.dashboards import PEPPER, client_of, fields_of, sign_in, token_of
from tests.fleet import FleetUnderTest, ManualClock
from web.guards import FORM_MAX_BYTES
from web.sign_ins import LASTS_S, SIGN_INS_MAX, SignIns

AUDIT = "/api/v1/audit"
"""For operators alone."""


@pytest.fixture(params=["fakeredis"])
def server_kind(request: pytest.FixtureRequest) -> str:
    """What is shown here is the application's affair."""
    return str(request.param)


@pytest.fixture
def closed(fleet: FleetUnderTest) -> TestClient:
    """A client of a dashboard that asks for tokens."""
    fleet.run()
    return client_of(fleet, asks_token=True)


def name_of(client: TestClient) -> str:
    """Who is signed in, by what the page of the fleet says; "" for nobody."""
    page = client.get("/fleet").text
    _, found, rest = page.partition('<div class="who">')
    assert found
    return rest.partition("<span>")[2].partition("</span>")[0] if "/sign-out" in rest else ""


# -- in and out ------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["operator", "observer"])
def test_who_has_a_token_gets_in_and_goes_on_to_where_they_wanted(
    fleet: FleetUnderTest, closed: TestClient, role: str
) -> None:
    token = token_of(fleet, "Alice", role)
    asked = closed.get("/fleet?specialization=audio")
    assert (asked.url.path, asked.status_code) == ("/sign-in", 200)
    assert "coord enroll YOUR_NAME --role operator" in asked.text
    fields = fields_of(asked.text)
    answer = closed.post("/sign-in", data={**fields, "token": f" {token} "}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/fleet?specialization=audio")
    assert name_of(closed) == "Alice"
    assert closed.get(AUDIT).status_code == (200 if role == "operator" else 403)


@pytest.mark.parametrize("role", ["trainer", "validator"])
def test_the_token_of_an_ai_does_not_let_people_in(
    fleet: FleetUnderTest, closed: TestClient, role: str
) -> None:
    answer = sign_in(closed, token_of(fleet, "AI_1", role))
    assert answer.status_code == 403
    assert f"The token is of a {role}" in answer.text
    assert "set-cookie" not in answer.headers


def test_a_wrong_token_is_answered_by_the_form_and_one_sentence(closed: TestClient) -> None:
    wrong = new_token().text
    answer = sign_in(closed, wrong, to="/traffic")
    assert answer.status_code == 401
    assert "The token is none that is in force" in answer.text
    assert fields_of(answer.text)["to"] == "/traffic"
    assert wrong not in answer.text
    assert "set-cookie" not in answer.headers


def test_after_many_wrong_tokens_one_that_could_be_guessed_is_not_tried(
    fleet: FleetUnderTest, closed: TestClient
) -> None:
    strong = token_of(fleet, "AI_1", "operator")
    token_of(fleet, "AI_2", "operator", digest=digest(PEPPER, "a-word"), is_weak=True)
    for n in range(MAX_FAILURES):
        assert sign_in(closed, f"guess-{n}").status_code == 401
    answer = sign_in(closed, "a-word")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert sign_in(closed, strong).status_code == 303


def test_where_nobody_is_asked_signing_in_lets_operators_act(
    fleet: FleetUnderTest, operator: str
) -> None:
    fleet.join("AI_1")
    client = client_of(fleet)
    assert "/actions/kick" not in client.get("/fleet/AI_1").text
    sign_in(client, operator)
    assert "/actions/kick" in client.get("/fleet/AI_1").text
    assert name_of(client) == "Alice"


def test_without_a_pepper_it_says_why_nobody_can_sign_in(fleet: FleetUnderTest) -> None:
    client = client_of(fleet, pepper=None)
    page = client.get("/sign-in")
    assert "no pepper" in page.text
    assert "<form" not in page.text.partition("<main")[2]
    answer = sign_in(client, new_token().text)
    assert answer.status_code == 403
    assert "no pepper" in answer.text


def test_who_signs_out_is_nobody_and_their_key_is_worth_nothing(
    fleet: FleetUnderTest, closed: TestClient, operator: str
) -> None:
    sign_in(closed, operator)
    stolen = closed.cookies["coord-0"]
    key = fields_of(closed.get("/fleet").text)["form_key"]
    answer = closed.post("/sign-out", data={"form_key": key}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert 'coord-0=""' in answer.headers["set-cookie"]
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert not closed.cookies
    closed.headers["Cookie"] = f"coord-0={stolen}"
    assert closed.get("/fleet").url.path == "/sign-in"


# -- what it is worth ------------------------------------------------------------------------------


def test_a_cookie_is_kept_from_scripts_and_other_sites(
    fleet: FleetUnderTest, operator: str
) -> None:
    plain = sign_in(client_of(fleet, "http://localhost:8600"), operator)
    name, _, rest = plain.headers["set-cookie"].partition("=")
    assert name == "coord-8600"
    assert rest.partition("; ")[2] == f"HttpOnly; Max-Age={LASTS_S}; Path=/; SameSite=strict"
    by_tls = sign_in(client_of(fleet, "https://coord.example", is_local=False), operator)
    name, _, rest = by_tls.headers["set-cookie"].partition("=")
    assert name == "__Host-coord-0"
    bounds = f"HttpOnly; Max-Age={LASTS_S}; Path=/; SameSite=strict; Secure"
    assert rest.partition("; ")[2] == bounds


def test_a_key_that_was_there_before_is_not_the_one_one_gets(
    fleet: FleetUnderTest, closed: TestClient, operator: str
) -> None:
    keys = [sign_in(closed, operator).cookies["coord-0"] for _ in range(2)]
    assert len({"planted", *keys}) == 3
    closed.cookies.clear()
    closed.headers["Cookie"] = f"coord-0={keys[0]}"
    assert closed.get("/fleet").url.path == "/sign-in"
    closed.headers["Cookie"] = "coord-0=planted"
    planted = sign_in(closed, operator).cookies["coord-0"]
    assert planted not in ("planted", *keys)


@pytest.mark.parametrize(
    "end",
    [
        lambda fleet: fleet.order("revoke", ai="Alice"),
        lambda fleet: token_of(fleet, "Alice", "observer"),
    ],
    ids=["the token is revoked", "the role is another"],
)
def test_it_ends_with_what_it_was_begun_by(
    fleet: FleetUnderTest,
    closed: TestClient,
    operator: str,
    end: Callable[[FleetUnderTest], object],
) -> None:
    sign_in(closed, operator)
    assert closed.get(AUDIT).status_code == 200
    end(fleet)
    assert closed.get(AUDIT).status_code == 401
    assert closed.post("/actions/kick", data={"ai": "AI_1"}).url.path == "/sign-in"


def test_it_ends_in_time() -> None:
    clock = ManualClock()
    sign_ins = SignIns(clock)
    key = sign_ins.begin("Alice", "operator", "digest")
    clock.advance(LASTS_S - 1)
    assert sign_ins.find(key) is not None
    clock.advance(1)
    assert sign_ins.find(key) is None


def test_of_too_many_of_a_name_its_oldest_end() -> None:
    sign_ins = SignIns(ManualClock())
    of_bob = sign_ins.begin("Bob", "operator", "digest")
    keys = [sign_ins.begin("Alice", "observer", "digest") for _ in range(SIGN_INS_MAX + 1)]
    assert [sign_ins.find(key) is None for key in keys] == [True] + [False] * SIGN_INS_MAX
    assert sign_ins.find(of_bob) is not None


def test_a_token_is_nowhere_but_in_the_form(
    fleet: FleetUnderTest, closed: TestClient, operator: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = sign_in(closed, operator)
    assert operator not in caplog.text
    assert operator not in str(answer.headers) + closed.get("/fleet").text
    in_the_url = closed.get("/sign-in", params={"token": operator})
    assert in_the_url.status_code == 400
    ours = [line for line in caplog.messages if str(in_the_url.url) not in line]
    assert operator not in in_the_url.text + "".join(ours)


# -- who sends the form ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:9000"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_no_other_page_signs_anybody_in_or_out(
    fleet: FleetUnderTest, operator: str, headers: dict[str, str]
) -> None:
    client = client_of(fleet)
    refused = client.post("/sign-in", data={"token": operator}, headers=headers)
    assert refused.status_code == 403
    assert not client.cookies
    sign_in(client, operator)
    key = fields_of(client.get("/fleet").text)["form_key"]
    refused = client.post("/sign-out", data={"form_key": key}, headers=headers)
    assert (refused.status_code, name_of(client)) == (403, "Alice")


def test_a_form_of_somebody_else_signs_nobody_out(fleet: FleetUnderTest, operator: str) -> None:
    client = client_of(fleet)
    sign_in(client, operator)
    for key in ("another's", ""):
        assert client.post("/sign-out", data={"form_key": key}).status_code == 403
    assert name_of(client) == "Alice"


@pytest.mark.parametrize(
    "to",
    [
        "http://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "/\t/evil.example",
        "/\r\nSet-Cookie: x=1",
        "javascript:alert(1)",
        "evil",
        "/x\\y",
    ],
)
def test_nobody_is_led_elsewhere(fleet: FleetUnderTest, operator: str, to: str) -> None:
    client = client_of(fleet)
    assert fields_of(client.get("/sign-in", params={"to": to}).text)["to"] == "/"
    answer = sign_in(client, operator, to=to)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "x" not in client.cookies


# -- what is no form -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"{}", "application/json", "sent as application/x-www-form-urlencoded"),
        (b"token=x", "multipart/form-data; boundary=x", "sent as application/x-www-form"),
        (b"token=x", "", "sent as application/x-www-form-urlencoded"),
        (b"token=\xff", "application/x-www-form-urlencoded", "UTF-8"),
        (b"token=%ff", "application/x-www-form-urlencoded", "UTF-8"),
        (b"&".join([b"a=1"] * 30), "application/x-www-form-urlencoded", "20 fields"),
        (b"token=a&token=b", "application/x-www-form-urlencoded", "more than once"),
        (b"to=/", "application/x-www-form-urlencoded", "token is missing"),
        (b"token=", "application/x-www-form-urlencoded", "token is missing"),
        (b"token=a&x=b", "application/x-www-form-urlencoded", "is no parameter"),
        (b"token=" + b"a" * 2000, "application/x-www-form-urlencoded", "at most 1024"),
    ],
)
def test_what_is_no_such_form_is_one_clear_error(
    fleet: FleetUnderTest, body: bytes, kind: str, said: str
) -> None:
    answer = client_of(fleet).post("/sign-in", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert said in answer.text.partition("<main")[2]


def test_a_form_that_is_too_long_or_of_unknown_length_is_refused(fleet: FleetUnderTest) -> None:
    client = client_of(fleet)
    long = client.post("/sign-in", data={"token": "a" * FORM_MAX_BYTES})
    chunked = client.post("/sign-in", content=iter([b"token=a"]))
    assert [long.status_code, chunked.status_code] == [413, 413]


@pytest.mark.parametrize("path", ["/fleet", "/api/v1/counts", "/sign-out", "/static/coord.css"])
def test_a_method_that_a_path_does_not_take_is_named(fleet: FleetUnderTest, path: str) -> None:
    client = client_of(fleet)
    method, allowed = ("GET", "POST") if path == "/sign-out" else ("POST", "GET, HEAD")
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert client.put("/sign-in").headers["allow"] == "GET, HEAD, POST"
