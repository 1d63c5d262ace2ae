"""The stream of what happens, as its clients get it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import pytest

from coordinator.waiting import comes_true
from tests.dashboards import LIMIT_S, Serve, Served, bearer, token_of
from tests.fleet import FleetUnderTest


class Event(NamedTuple):
    name: str
    id: str
    data: Any


class Listener:
    """A client of the stream, once it was admitted."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        self._events = self._read(response.iter_lines())

    def _read(self, lines: Iterator[str]) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in lines:
            if line:
                name, _, value = line.partition(": ")
                assert name not in fields
                fields[name] = value
            else:
                yield Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
                fields.clear()

    def next(self, *names: str) -> Event:
        """The next event of one of these names."""
        return next(event for event in self._events if event.name in names)

    def lines(self, count: int) -> list[dict[str, Any]]:
        """The next lines, so many of them."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            found += self.next("lines").data["lines"]
        return found

    def types(self, count: int) -> list[str]:
        return [line["type"] for line in self.lines(count)]

    def rest(self) -> list[Event]:
        """All that comes until the server ends it."""
        return list(self._events)


Listen = Callable[..., Listener]


@pytest.fixture
def listen(served: Served) -> Iterator[Listen]:
    """Call it with the parameters of a stream, and ``headers``; ``at`` is another dashboard."""
    with ExitStack() as stack:

        def listen(
            *, at: Served = served, headers: dict[str, str] | None = None, **asked: Any
        ) -> Listener:
            url = f"{at.url}/api/v1/stream"
            more: Any = {"params": asked, "headers": headers, "timeout": LIMIT_S}
            return Listener(stack.enter_context(httpx.stream("GET", url, **more)))

        yield listen


def refusal(served: Served, token: str = "", **asked: Any) -> tuple[int, str]:
    answer = httpx.get(f"{served.url}/api/v1/stream", params=asked, headers=bearer(token))
    return answer.status_code, answer.json()["error"]["code"]


def test_lines_are_told_with_where_they_lie(
    fleet: FleetUnderTest, served: Served, listen: Listen
) -> None:
    listener = listen(lines="true")
    fleet.join("A")
    lines = listener.lines(3)
    epoch = fleet.redis.hget(fleet.keys.fleet, "epoch").decode()  # type: ignore[union-attr]
    assert [line["type"] for line in lines] == ["epoch", "hello", "joined"]
    assert lines[2] == {
        "kind": "event",
        "epoch": epoch,
        "source": "events",
        "n": 1,
        "ms": lines[2]["ms"],
        "ai": "A",
        "to": "",
        "type": "joined",
        "text": lines[2]["text"],
    }
    assert lines[2]["text"].startswith("A joined")
    assert listener.next("pulse").id == f"{epoch}:1:1"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"ai": "B"}, ["epoch", "hello", "joined"]),
        ({"type": "joined"}, ["epoch", "joined", "joined"]),
        ({"kind": "message", "ai": "A"}, ["epoch", "hello", "pattern_share"]),
    ],
)
def test_a_filter_holds_for_lines_alone(
    fleet: FleetUnderTest, listen: Listen, asked: dict[str, str], told: list[str]
) -> None:
    listener = listen(lines="true", **asked)
    fleet.join("A", "B")
    fleet.share_pattern("A", "p")
    assert listener.types(len(told)) == told
    assert listener.next("pulse").data["totals"] == {"hello": 2, "pattern_share": 1}


def test_who_asks_for_no_lines_is_told_what_has_changed(
    fleet: FleetUnderTest, listen: Listen
) -> None:
    fleet.join("A")
    listener = listen()
    fleet.share_pattern("A", "p")
    assert listener.next("changed", "lines").data == {"areas": ["knowledge"]}
    fleet.say("A", "goodbye")
    fleet.run()
    assert listener.next("changed", "lines").data == {"areas": ["fleet"]}


def test_who_comes_back_goes_on_where_it_was(fleet: FleetUnderTest, listen: Listen) -> None:
    fleet.join("A")
    place = listen().next("pulse").id
    fleet.share_pattern("A", "p", "q")
    missed = listen(lines="true", after=place).lines(4)
    assert sorted((line["source"], line["n"]) for line in missed) == [
        *(("events", 2), ("events", 3)),
        *(("log", 2), ("log", 3)),
    ]
    after_one = place.rsplit(":", 2)[0] + ":2:2"
    header = {"Last-Event-ID": after_one}
    listener = listen(lines="true", after=place, headers=header)
    assert sorted(listener.types(2)) == ["pattern_share", "shared"]


def test_what_is_no_longer_kept_is_said_to_be_missed(fleet: FleetUnderTest, listen: Listen) -> None:
    fleet.join("A")
    listener = listen(lines="true", after="another.1:7:7")
    assert listener.next("lines").data["missed"]
    areas = listener.next("changed").data["areas"]
    assert areas == ["fleet", "health", "knowledge", "work"]


def test_of_many_lines_the_newest_are_told(
    fleet: FleetUnderTest, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.live.stream.LINES_AT_ONCE", 2)
    monkeypatch.setattr("web.live.stream.RESUMED_MAX", 3)
    fleet.join("A")
    place = listen().next("pulse").id
    listener = listen(lines="true", type="shared")
    fleet.share_pattern("A", *map(str, range(40)))
    told: list[Any] = []
    left_out = 0
    while len(told) + left_out < 40:
        data = listener.next("lines").data
        told += data["lines"]
        left_out += data["left_out"]
        assert 0 < len(data["lines"]) <= 2
    assert told[-1]["text"].startswith("A shared pattern 39")
    data = listen(lines="true", type="shared", after=place).next("lines").data
    assert (len(data["lines"]), data["left_out"], data["missed"]) == (3, 37, False)


def test_the_rates_of_the_last_minutes_come_first(
    fleet: FleetUnderTest, served: Served, listen: Listen
) -> None:
    fleet.join("A")
    assert comes_true(lambda: "hello" in served.feed.pulse.totals, LIMIT_S)
    fleet.share_pattern("A", "p")
    assert comes_true(lambda: "pattern_share" in served.feed.pulse.rates, LIMIT_S)
    listener = listen(rates="true")
    first = listener.next("rates", "lines", "changed", "pulse")
    assert first.name == "rates"
    assert len(first.data["ms"]) == len(first.data["rates"]["pattern_share"])
    assert max(first.data["rates"]["pattern_share"]) > 0


def test_there_are_so_many_streams_and_a_place_becomes_free(
    serve: Serve, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COORD_HTTP_STREAMS_MAX", "1")
    served = serve()
    with httpx.stream("GET", f"{served.url}/api/v1/stream") as response:
        listener = Listener(response)
        listener.next("pulse")
        assert refusal(served) == (503, "busy")
        assert listener.next("pulse").data["outage"] == ""
    assert comes_true(lambda: served.feed.watchers == 0, LIMIT_S)
    assert listen(at=served).next("pulse").data["outage"] == ""


def test_lines_are_for_operators(
    fleet: FleetUnderTest, serve: Serve, operator: str, listen: Listen
) -> None:
    served = serve(asks_token=True)
    observer = token_of(fleet, "Bob", "observer")
    assert refusal(served) == (401, "no_token")
    assert refusal(served, observer, lines="true") == (403, "forbidden")
    assert listen(at=served, headers=bearer(observer)).next("pulse").data["outage"] == ""
    listener = listen(at=served, headers=bearer(operator), lines="true")
    fleet.join("A")
    assert listener.types(2) == ["hello", "joined"]


def test_a_stream_ends_when_its_token_does(
    fleet: FleetUnderTest,
    serve: Serve,
    operator: str,
    listen: Listen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("web.live.stream.ADMITTED_EVERY_S", 0.0)
    served = serve(asks_token=True)
    observer = token_of(fleet, "Bob", "observer")
    ends, stays = (listen(at=served, headers=bearer(token)) for token in (observer, operator))
    ends.next("pulse")
    fleet.order("revoke", ai="Bob")
    ends.rest()
    assert stays.next("pulse").data["outage"] == ""
    assert refusal(served, observer) == (401, "bad_token")


def test_all_streams_end_when_the_process_is_about_to(served: Served, listen: Listen) -> None:
    listeners = [listen() for _ in range(3)]
    for listener in listeners:
        listener.next("pulse")
    served.feed.end()
    assert [event.name for listener in listeners for event in listener.rest()] == []
    assert comes_true(lambda: served.feed.watchers == 0, LIMIT_S)


def test_an_epoch_of_strangers_forges_no_event(fleet: FleetUnderTest, listen: Listen) -> None:
    fleet.join("A")
    listener = listen(lines="true")
    listener.next("pulse")
    forged = "x\n\nevent: pulse\ndata: {}\n\n"
    fleet.redis.hset(fleet.keys.fleet, "epoch", forged)
    line = listener.next("lines")
    assert (line.id, line.data["lines"][0]["kind"]) == ("", "epoch")
    assert listener.next("pulse").data["ais"] == 1


def test_asking_what_there_is_opens_none(served: Served) -> None:
    answer = httpx.head(f"{served.url}/api/v1/stream")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (
        *(200, "text/event-stream"),
    )
    assert served.feed.watchers == 0


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"after": "no place"}, "bad_cursor"),
        ({"kind": "gap"}, "bad_request"),
        ({"lines": "perhaps"}, "bad_request"),
        ({"speed": "1"}, "bad_request"),
    ],
)
def test_what_cannot_be_asked_is_refused(served: Served, asked: dict[str, str], code: str) -> None:
    assert refusal(served, **asked) == (400, code)
