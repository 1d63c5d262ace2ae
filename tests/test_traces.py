"""Spans of a fleet's history: exactly what lines tell, and over the wire to a collector."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import fakeredis
import pytest
import typer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from typer.testing import CliRunner

from cli.main import app
from cli.output import ExitCode
from cli.signals import Interrupted
from cli.traces import command
from cli.traces.command import HELD_MAX, Outlet, tell_on
from cli.traces.spans import EARLIEST_MS, REMEMBERED, Span, span_id_of, spans_of, trace_id_of
from coordinator.errors import CoordError
from coordinator.history import Follower, Line
from coordinator.keys import Keys
from coordinator.settings import Settings
from coordinator.testing import FakeFleet
from coordinator.work import Attempt
from tests.clients import RealFleet
from tests.runs import (
    EPOCH,
    envelope,
    event_line,
    session_line,
    session_of,
    unit_line,
    unit_of,
)
from tests.servers import wait_for

pytestmark = pytest.mark.one_server

SENT_MS = 1_767_225_600_000  # 2026-01-01
SENT = "2026-01-01T00:00:00+00:00"
TRACE, ROOT = trace_id_of("session:s1"), span_id_of("session:s1")


def message(n: int, ms: int, message_type: str = "pattern_share", **fields: Any) -> Line:
    sent = envelope(f"m{n}", "AI_1", message_type, timestamp=SENT)
    return Line("message", "log", n, n, ms, EPOCH, sent | fields)


def session(n: int, ms: int, **fields: Any) -> Line:
    known: dict[str, Any] = {"units": ["u1"], "in_reply_to": "m1", "created_ms": SENT_MS + 10}
    made = session_of("s1", "joint_training", "AI_1", "AI_2", **known | fields)
    return session_line(made, n, ms)


def unit(n: int, ms: int, *attempts: Attempt) -> Line:
    return unit_line(unit_of("s1", "u1", *attempts, name="train"), n, ms)


BEGAN = {"began_ms": SENT_MS + 50}
ENDED = BEGAN | {"state": "completed", "ended_ms": SENT_MS + 160, "component_id": "c1"}
ASSIGNED = Attempt("AI_2", SENT_MS + 60)
LOST = Attempt("AI_2", SENT_MS + 60, SENT_MS + 90, "lost", "it left")
DONE = Attempt("AI_1", SENT_MS + 90, SENT_MS + 150, "completed")
STORY = [
    message(1, SENT_MS + 10, "collaboration_request"),
    session(1, SENT_MS + 10),
    session(2, SENT_MS + 50, state="active", **BEGAN),
    unit(3, SENT_MS + 60, ASSIGNED),
    unit(4, SENT_MS + 90, LOST),
    unit(5, SENT_MS + 150, LOST, DONE),
    session(6, SENT_MS + 160, **ENDED),
]


def test_a_session_is_a_trace_from_its_request_to_its_result() -> None:
    whole = {
        "coord.session_id": "s1",
        "coord.session_type": "joint_training",
        "coord.initiator": "AI_1",
        "coord.state": "completed",
        "coord.component_id": "c1",
        "coord.units": 1,
        "coord.participants": "AI_1, AI_2",
    }
    request = {
        "coord.message_id": "m1",
        "coord.message_type": "collaboration_request",
        "coord.sender": "AI_1",
    }
    work = {
        "coord.unit_id": "u1",
        "coord.unit_name": "train",
        "coord.unit_kind": "search",
        "coord.session_id": "s1",
    }

    def span(name: str, own: str, begin: int, end: int, **more: Any) -> Span:
        made = Span(name, TRACE, span_id_of(own), ROOT, SENT_MS + begin, SENT_MS + end)
        return replace(made, **more)

    first = {"coord.ai": "AI_2", "coord.outcome": "lost", "coord.attempt": 1}
    second = {"coord.ai": "AI_1", "coord.outcome": "completed", "coord.attempt": 2}
    recruited = {"coord.session_id": "s1", "coord.refusals": 0}
    assert spans_of(STORY) == [
        span("message collaboration_request", "message:m1", 0, 10, attributes=request),
        span("recruiting", "recruiting:s1", 10, 50, attributes=recruited),
        span("unit train", "unit:u1:1", 60, 90, attributes=work | first, error="it left"),
        span("unit train", "unit:u1:2", 90, 150, attributes=work | second),
        span("result", "result:s1", 160, 160, attributes=whole),
        span("session joint_training", "session:s1", 0, 160, attributes=whole, parent_id=""),
    ]


def test_told_from_the_middle_it_has_the_same_ids() -> None:
    whole, part = spans_of(STORY), spans_of(STORY[4:])
    assert [span.span_id for span in part] == [span.span_id for span in whole[2:]]
    assert part[-1].begin_ms == SENT_MS + 10  # when it was opened: the request is not known


def test_one_that_failed_before_it_began_is_an_error_with_its_reason() -> None:
    reason = "no room\n\x1b[2J" + "x" * 999
    ended = session(1, SENT_MS + 99, state="failed", ended_ms=SENT_MS + 99, reason=reason)
    spans = spans_of([ended])
    assert [span.name for span in spans] == ["recruiting", "result", "session joint_training"]
    assert [span.error is None for span in spans] == [True, False, False]
    error = spans[-1].error or ""
    assert (len(error), error.isprintable()) == (200, True)


@pytest.mark.parametrize(
    ("timestamp", "begin_ms", "ahead_ms"),
    [
        (SENT, SENT_MS, None),
        ("2026-01-01T00:00:00", SENT_MS, None),
        ("2026-01-01T01:00:00", SENT_MS + 7, 3_599_993),
        ("0001-01-01T00:00:00", SENT_MS + 7 - EARLIEST_MS, -63_902_822_400_007),
        ("yesterday", SENT_MS + 7, None),
    ],
)
def test_a_wrong_clock_of_a_sender_is_put_right_and_told(
    timestamp: str, begin_ms: int, ahead_ms: int | None
) -> None:
    (span,) = spans_of([message(1, SENT_MS + 7, timestamp=timestamp)])
    assert (span.begin_ms, span.end_ms) == (begin_ms, SENT_MS + 7)
    assert span.attributes.get("coord.clock_ahead_ms") == ahead_ms


def test_a_message_to_one_ai_is_a_span_and_other_lines_are_none() -> None:
    targeted = message(1, 0, target_ai="AI_2").data
    data = {"message_id": "m1", "message": json.dumps(targeted)}
    opened = session(1, SENT_MS).data["data"]
    spoiled = opened | {"session": {"state": "completed"}}
    told = [
        ("message", data),
        ("joined", {}),
        ("session_joined", {"session_id": "s1"}),
        ("unit_retried", {"unit_id": "u1"}),
        ("session_completed", spoiled),
        ("unit_lost", {"unit": {"id": "u1"}, "attempt": 1}),
        ("message", {"message": "[]"}),
    ]
    spans = spans_of(
        [
            *(
                event_line(kind, "AI_1", data, n, SENT_MS + 7)
                for n, (kind, data) in enumerate(told)
            ),
            Line("gap", "log", 1, 2, SENT_MS, EPOCH),
            Line("epoch", "log", 1, 1, 0, EPOCH),
        ]
    )
    assert [(span.name, span.attributes["coord.target"]) for span in spans] == [
        ("message pattern_share", "AI_2")
    ]


def test_requests_that_open_nothing_are_told_once_they_are_too_many() -> None:
    lines = [message(n, SENT_MS, message_type="feature_request") for n in range(REMEMBERED + 2)]
    assert [span.attributes["coord.message_id"] for span in spans_of(lines)] == ["m0", "m1"]


def test_a_real_session_is_told_from_what_the_coordinator_wrote() -> None:
    lines: list[Line] = []

    def is_over() -> bool:
        lines.extend(follower.read(0))
        return any(line.data.get("event") == "session_expired" for line in lines)

    with FakeFleet(Settings(collaboration_wait_s=0.5)) as fleet, fleet.client("AI_1") as one:
        follower = Follower(fakeredis.FakeRedis(server=fleet._server), Keys())
        one.send("collaboration_request", {"type": "performance_optimization"})
        wait_for(is_over)
    request, *parts, root = (span for span in spans_of(lines) if "update" not in span.name)
    assert request.name == "message collaboration_request"
    assert [span.name for span in parts] == ["recruiting", "result"]
    assert root.name == "session performance_optimization"
    assert {span.trace_id for span in (request, *parts)} == {root.trace_id}
    assert root.begin_ms == request.begin_ms


def test_ids_are_made_as_the_documents_say() -> None:
    digest = sha256(b"session:s1").hexdigest()
    assert (digest[:32], digest[-16:]) == (TRACE, ROOT)


# -- to a collector --------------------------------------------------------------------------------


class Refusing:
    """A collector that takes spans when it is told to."""

    def __init__(self) -> None:
        self.is_there = False
        self.taken: list[Span] = []

    def send(self, spans: list[Span]) -> str:
        self.taken += spans if self.is_there else []
        return "" if self.is_there else "it is full"


def test_spans_wait_for_a_collector_up_to_a_limit(capsys: pytest.CaptureFixture[str]) -> None:
    to, (span,) = Refusing(), spans_of([message(1, SENT_MS)])
    outlet = Outlet(to)
    for count in (HELD_MAX, 2):
        outlet.add([span] * count)
        outlet.flush()
    assert (outlet.is_away, outlet.reason) == (True, "it is full")
    to.is_there = True
    outlet.flush()
    assert (outlet.is_away, len(to.taken), outlet.held) == (False, HELD_MAX, [])
    assert capsys.readouterr().err.splitlines() == [
        "coord: 2 spans are lost: the collector was away for too long",
    ]


def test_it_says_when_the_collector_goes_and_comes_back(
    fleet: RealFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    to = Refusing()
    follower = Follower(fleet.redis, fleet.keys)
    follower.begin_at(0)
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        to.is_there = calls > 2
        if calls > 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        tell_on("the server", follower, Outlet(to), check)
    assert to.taken
    assert capsys.readouterr().err.splitlines() == [
        "coord: the collector does not take spans (it is full); they are kept, and sent again",
        "the collector takes spans again",
    ]


@pytest.fixture
def collected() -> Iterator[tuple[str, list[Any]]]:
    """An endpoint, and the spans that came there."""
    found: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    found.extend((resource.resource, span) for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", found
        server.shutdown()
        thread.join()


@pytest.fixture
def fleet(real_url: str) -> Iterator[RealFleet]:
    with RealFleet(real_url) as running, running.client("AI_1") as one, running.client("AI_2"):
        one.share_pattern({"id": "p1", "type": "note"})
        wait_for(lambda: running.redis.exists(running.keys.record("pattern", "p1")))
        yield running


def test_a_collector_gets_the_spans_of_a_fleet(
    fleet: RealFleet, collected: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, found = collected
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    arguments = ["traces", "--from", "0", "--once", "--redis", fleet.url]
    done = CliRunner().invoke(app, arguments)
    printed = CliRunner().invoke(app, [*arguments, "--json"])
    assert (done.exit_code, done.output) == (ExitCode.OK, "")
    told = [json.loads(line) for line in printed.stdout.splitlines()]
    assert [
        (span.trace_id.hex(), span.span_id.hex(), span.name, span.end_time_unix_nano // 1_000_000)
        for _, span in found
    ] == [(one["trace_id"], one["span_id"], one["name"], one["end_ms"]) for one in told]
    assert "message pattern_share" in [one["name"] for one in told]
    resource = {one.key: one.value.string_value for one in found[0][0].attributes}
    assert (resource["service.name"], resource["coord.namespace"]) == ("coord", "coord")


@pytest.mark.parametrize("url", ["foo", "ftp://x", "http://127.0.0.1:99999", "http://[::1"])
def test_an_endpoint_that_is_none_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    with pytest.raises(CoordError, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT is no URL of a collector"):
        command.collector({})


@pytest.mark.parametrize(
    ("is_listening", "reason"), [(False, "Connection refused"), (True, "no answer in time")]
)
def test_why_a_collector_takes_nothing_is_said(
    fleet: RealFleet, monkeypatch: pytest.MonkeyPatch, is_listening: bool, reason: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if is_listening:
            silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        arguments = ["traces", "--from", "0", "--once", "--redis", fleet.url]
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == ExitCode.FAILED
    assert f"({reason} at 127.0.0.1:" in done.stderr
    assert "sent again" not in done.stderr


def test_without_opentelemetry_it_says_what_to_install(
    fleet: RealFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(name: str) -> None:
        raise ModuleNotFoundError("No module", name="opentelemetry")

    monkeypatch.setattr(command.importlib, "import_module", gone)
    done = CliRunner().invoke(traces_alone(), ["--redis", fleet.url])
    assert done.exit_code != ExitCode.OK
    assert "pip install 'coord[otel]'" in str(done.exception)


def traces_alone() -> Any:
    """The command by itself: how commands are loaded is not in question."""
    alone = typer.Typer()
    alone.command()(command.traces)
    return alone
