"""Who worked with whom lately: any window of a history, however long and busy it is."""

from __future__ import annotations

import pytest

from coordinator.clock import LAST_MS
from coordinator.history import Line
from coordinator.messages import to_json
from coordinator.work import Attempt
from reports.graph.graph import Edge, Label
from reports.graph.pairs import graph_of
from tests.fleet import BEGINNING_MS, ManualClock
from tests.runs import (
    a_rich_run,
    envelope,
    event_line,
    session_line,
    session_of,
    unit_line,
    unit_of,
)
from web.live import tallies as module
from web.live.tallies import AIS_SHOWN, PAIRS_SHOWN, Lately, Tallies, Window


class Told:
    """A store, and the lines that it is told as time goes by."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.tallies = Tallies(self.clock)

    def tell(self, *lines: Line) -> None:
        self.tallies.take(lines)

    def message(self, a: str, b: str, count: int = 1, ms: int | None = None) -> None:
        at_ms = self.clock.now_ms() if ms is None else ms
        sent = to_json(envelope("m", a, "direct", target_ai=b))
        line = event_line("message", b, {"message_id": "m", "message": sent}, ms=at_ms)
        self.tell(*[line] * count)

    def lately(self, window: Window) -> Lately:
        self.clock.steady_s += 10  # it is not what was put together before
        return self.tallies.lately(window)

    def weights(self, window: Window) -> dict[str, int]:
        return {f"{a} {b}": count for (a, b), count in self.lately(window).pairs.weights.items()}


@pytest.fixture
def told() -> Told:
    return Told()


def test_all_of_a_history_is_the_graph_of_it(told: Told) -> None:
    lines = a_rich_run(rounds=40).lines
    for begin in range(0, len(lines), 7):
        part = lines[begin : begin + 7]
        told.clock.wall_ms = part[-1].ms
        told.tell(*part)
    pairs = told.lately("all").pairs
    assert len(told.tallies._spans) < len({line.ms // 5000 for line in lines})
    assert pairs.graph(pairs.heaviest(1000), pairs.ais) == graph_of(lines)


def test_a_window_has_what_happened_in_it(told: Told) -> None:
    told.message("a", "b")
    told.clock.advance(180)
    told.message("b", "c", 2)
    told.clock.advance(30)
    assert told.weights("1") == {"b c": 2}
    assert told.weights("5") == {"a b": 1, "b c": 2}
    assert told.lately("1").since_ms == told.clock.now_ms() - 60_000
    assert told.lately("5").since_ms == told.lately("all").since_ms == BEGINNING_MS


def test_before_anything_was_told_there_is_nothing(told: Told) -> None:
    lately = told.lately("15")
    assert (lately.since_ms, lately.shown, told.weights("all")) == (BEGINNING_MS, [], {})


def test_a_window_knows_what_began_before_it(told: Told) -> None:
    told.tell(
        event_line("joined", "a", {"specialization": "audio"}),
        session_line(session_of("s", "cross_specialization", "a", "b", state="active")),
    )
    told.clock.advance(600)
    done = unit_of("s", "u", Attempt("a", 0, 1, "completed"))
    told.tell(unit_line(done, ms=told.clock.now_ms()))
    pairs = told.lately("1").pairs
    graph = pairs.graph(pairs.heaviest(9), pairs.ais)
    label = Label("cross_specialization", "", 1)
    assert graph.edges == (Edge("a", "b", 0, 0, 1, (label,), ("s",)),)
    assert [(node.id, node.specialization) for node in graph.nodes] == [("a", "audio")]


def test_long_ago_is_kept_coarsely_and_counted_exactly(told: Told) -> None:
    for _ in range(7200 // 5):
        told.message("a", "b")
        told.clock.advance(5)
    now_ms = told.clock.now_ms()
    assert len(told.tallies._spans) < 120
    assert told.weights("all") == {"a b": 1440}
    for window, minutes in (("1", 1), ("15", 15), ("60", 60)):
        span_ms = now_ms - told.lately(window).since_ms
        assert minutes * 60_000 <= span_ms <= minutes * 60_000 * 1.1 + 5000


def test_of_too_much_those_who_did_most_stay(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FACTS_MAX", 2000)
    for n in range(200):
        told.message("a", "b", 3)
        for other in range(20):
            told.message(f"x{n}", f"y{other}")
        told.clock.advance(5)
    lately = told.lately("all")
    assert sum(span.tally.size for span in told.tallies._spans) < 2000 + 100
    assert lately.pairs.weights["a", "b"] == 600
    assert lately.since_ms == BEGINNING_MS < lately.complete_ms <= told.clock.now_ms()


def test_what_is_said_to_be_of_the_future_happened_now(told: Told) -> None:
    told.message("a", "b", ms=LAST_MS)
    told.clock.advance(120)
    told.message("b", "c")
    assert told.weights("1") == {"b c": 1}


def test_the_pairs_that_are_shown_are_bounded(told: Told) -> None:
    for a in range(25):
        for b in range(a):
            told.message(f"AI_{a}", f"AI_{b}", 2)
    for n in range(100):
        told.message(f"one_{n}", f"other_{n}")
    shown = told.lately("5").shown
    assert len(shown) == PAIRS_SHOWN
    assert {ai for pair in shown for ai in pair} == {f"AI_{n}" for n in range(25)}
    sparse = Told()
    for n in range(100):
        sparse.message(f"one_{n}", f"other_{n}", 100 - n)
    shown = sparse.lately("5").shown
    assert shown == [(f"one_{n}", f"other_{n}") for n in range(AIS_SHOWN // 2)]


def test_who_is_shown_stays_unless_others_do_much_more(told: Told) -> None:
    first = [(f"a{n}", f"b{n}") for n in range(AIS_SHOWN // 2)]
    for pair in first:
        told.message(*pair, 2)
    assert set(told.lately("5").shown) == set(first)
    told.message("c0", "d0", 3)
    told.message("c1", "d1", 5)
    shown = set(told.lately("5").shown)
    assert (("c0", "d0") in shown, ("c1", "d1") in shown) == (False, True)
