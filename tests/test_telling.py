"""A line of the history in words: short, on one line, whatever AIs wrote."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.history import Line
from coordinator.telling import SUMMARY_MAX, concerns, summary_of

HOSTILE = "x\x1b[2J\n12:00:00  log 9  hub -> all\x9b31m\u202e\r\x00"


def message(payload: Any) -> Line:
    envelope = {"sender_id": "A", "target_ai": "B", "message_type": "T", "payload": payload}
    return Line("message", "log", 1, 1, 1, "e", envelope)


def event(text: str) -> Line:
    return Line("event", "events", 1, 1, 1, "e", {"event": "joined", "ai": "A", "text": text})


@pytest.mark.parametrize(
    ("line", "summary"),
    [
        (event("A joined"), "A joined"),
        (message({"pattern": {"id": "p1"}}), "pattern p1"),
        (message({"code": {"id": "f1"}}), "code f1"),
        (message({"component": {}}), "component None"),
        (message({"component_id": "c1", "score": 1}), "on c1"),
        (message({"pattern": "no record", "n": 1}), '{"pattern":"no record","n":1}'),
        (message({}), ""),
        (message(None), ""),
        (Line("gap", "log", 3, 7, 1, "e"), "gap: log 3 to 7 (5) are no longer kept"),
        (
            Line("gap", "events", 3, 3, 0, "e", {"unreadable": True}),
            "gap: events 3 (1) is no entry of coord's",
        ),
        (Line("epoch", "log", 4, 4, 0, "e2", {"forgot": 0}), "epoch e2 began after log 4"),
        (
            Line("epoch", "log", 4, 4, 0, "e2", {"forgot": 3}),
            "epoch e2 began after log 4; the server has forgotten 3 that came after it",
        ),
    ],
)
def test_a_summary_says_what_happened(line: Line, summary: str) -> None:
    assert summary_of(line) == summary


@pytest.mark.parametrize(
    "line",
    [
        event(HOSTILE * 100),
        message({"text": HOSTILE * 100}),
        message({"pattern": {"id": HOSTILE * 100}}),
        message({"component_id": [HOSTILE] * 100}),
        Line("epoch", "log", 1, 1, 0, HOSTILE * 100),
    ],
)
def test_a_summary_is_one_short_line_whatever_was_written(line: Line) -> None:
    summary = summary_of(line)
    assert summary.isprintable()
    assert len(summary) == SUMMARY_MAX


@pytest.mark.parametrize(
    ("ai", "kind", "passes"),
    [
        (None, None, True),
        ("A", None, True),
        ("B", "T", True),
        ("C", None, False),
        ("A", "U", False),
    ],
)
def test_a_message_passes_for_who_sent_it_or_gets_it(
    ai: str | None, kind: str | None, passes: bool
) -> None:
    assert concerns(message({}), ai, kind) is passes


@pytest.mark.parametrize(("ai", "kind", "passes"), [("A", "joined", True), ("B", None, False)])
def test_an_event_passes_for_whom_it_is_about(
    ai: str | None, kind: str | None, passes: bool
) -> None:
    assert concerns(event("A joined"), ai, kind) is passes


@pytest.mark.parametrize("kind", ["gap", "epoch"])
def test_gaps_and_epochs_always_pass(kind: Any) -> None:
    assert concerns(Line(kind, "log", 1, 2, 1, "e"), "C", "U")
