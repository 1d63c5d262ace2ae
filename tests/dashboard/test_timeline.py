"""Who ran what when, as bars on an axis of time."""

from __future__ import annotations

from typing import Any

import pytest

from web.pages.attempts import with_attempts
from web.pages.timeline import BARS_MAX, Bar, Timeline, timeline

BEGAN_MS = 1_750_000_000_000
HOUR_MS = 3_600_000


def attempt(
    began_ms: int, ended_ms: int | None, outcome: str = "", ai: str = "AI_1", reason: str = ""
) -> dict[str, Any]:
    ended = None if ended_ms is None else BEGAN_MS + ended_ms
    told = {"ai": ai, "began_ms": BEGAN_MS + began_ms, "ended_ms": ended}
    return {**told, "outcome": outcome, "reason": reason}


def unit(n: int, *attempts: dict[str, Any], state: str = "completed", **own: Any) -> dict[str, Any]:
    named = {"id": f"s-{n}", "name": f"unit {n}", "state": state, "needs": []}
    return {**named, "attempts": list(attempts), **own}


def drawing(*units: dict[str, Any], now_ms: int = 0) -> Timeline | None:
    told = [with_attempts(one, BEGAN_MS + now_ms) for one in units]
    return timeline(told, {one["id"]: one for one in told})


def bars(*units: dict[str, Any], now_ms: int = 0) -> list[list[Bar]]:
    drawn = drawing(*units, now_ms=now_ms)
    assert drawn is not None
    return [row.bars for row in drawn.rows]


def test_nothing_is_drawn_before_anybody_was_given_a_unit() -> None:
    assert drawing(unit(1, state="waiting")) is None


def test_a_bar_goes_from_when_the_unit_was_given_until_the_attempt_ended() -> None:
    first = unit(1, attempt(0, 250, "completed"))
    second = unit(2, attempt(250, 1000, "completed", ai="AI_2"))
    ((one,), (two,)) = bars(first, second)
    assert (one.x, one.width, two.x, two.width) == (0, 25, 25, 75)
    assert (one.label, two.label) == ("✓ AI_1", "✓ AI_2")


@pytest.mark.parametrize(
    ("state", "outcome", "label"),
    [
        ("completed", "completed", "✓ AI_1"),
        ("failed", "failed", "✕ AI_1"),
        ("waiting", "lost", "? AI_1"),
        ("cancelled", "cancelled", "– AI_1"),  # noqa: RUF001
        ("running", "", "▸ AI_1"),
        ("queued", "", "… AI_1"),
        ("running", "as strangers say", " AI_1"),
    ],
)
def test_each_outcome_has_its_mark(state: str, outcome: str, label: str) -> None:
    (((bar,),)) = bars(unit(1, attempt(0, None, outcome), state=state), now_ms=1000)
    assert bar.label == label


def test_what_lasts_goes_on_until_now() -> None:
    done, lasting = attempt(0, 500, "completed"), attempt(1000, None)
    (_, (bar,)) = bars(unit(1, done), unit(2, lasting, state="running"), now_ms=4000)
    assert (bar.x, bar.width) == (25, 75)
    assert bar.about == "attempt 1 by AI_1: running, 3.0 s"


def test_attempts_at_a_unit_stand_in_one_row_with_why_they_ended() -> None:
    failed = attempt(0, 1000, "failed", reason="no buffer\n" * 100)
    ((first, second),) = bars(unit(1, failed, attempt(1000, 2000, "completed", ai="AI_2")))
    assert (first.x, second.x) == (0, 50)
    assert first.about.startswith(r"attempt 1 by AI_1: failed, 1.0 s: no buffer\nno buffer\n")
    assert len(first.about) < 400
    assert second.about == "attempt 2 by AI_2: completed, 1.0 s"


def test_of_many_attempts_the_last_are_drawn() -> None:
    lost = [attempt(n, n + 1, "lost") for n in range(1000)]
    (drawn,) = bars(unit(1, *lost))
    assert len(drawn) == BARS_MAX
    assert drawn[-1].about.startswith("attempt 1000 by")


@pytest.mark.parametrize(
    ("span_ms", "labels"),
    [
        (0, ["0"]),
        (300, ["0", "0.1 s", "0.2 s", "0.3 s"]),
        (42_000, ["0", "10 s", "20 s", "30 s", "40 s"]),
        (72 * HOUR_MS, ["0", "24 h", "2 days", "3 days"]),
    ],
)
def test_the_axis_is_divided_by_round_times(span_ms: int, labels: list[str]) -> None:
    drawn = drawing(unit(1, attempt(0, span_ms, "completed")))
    assert drawn is not None
    assert [tick.label for tick in drawn.ticks] == labels


def test_clocks_that_step_back_draw_nothing_outside_the_axis() -> None:
    ((one,), (two,)) = bars(
        unit(1, attempt(5000, 0, "completed")), unit(2, attempt(9000, None), state="running")
    )
    for bar in (one, two):
        assert 0 <= bar.x < bar.x + bar.width <= 100


def test_the_label_of_a_narrow_bar_stands_behind_it_where_there_is_room() -> None:
    ((short,), (wide,), (last,)) = bars(
        unit(1, attempt(0, 50, "completed")),
        unit(2, attempt(50, 990, "completed")),
        unit(3, attempt(990, 1000, "completed")),
    )
    assert (short.label_at, wide.label_at, last.label_at) == (5, None, None)


def test_a_unit_that_waits_names_what_it_waits_for() -> None:
    done, runs = unit(1, attempt(0, 10, "completed")), unit(2, attempt(10, None), state="running")
    waits = unit(3, state="waiting", needs=["s-1", "s-2", "gone"])
    drawn = drawing(done, runs, waits, now_ms=20)
    assert drawn is not None
    assert [row.waits_for for row in drawn.rows] == [[], [], ["unit 2", "gone"]]
