"""Who worked with whom lately: tallies of spans of time, which any window is put together from."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Literal, NamedTuple

from coordinator.clock import Clock
from coordinator.history import Line
from reports.graph.pairs import Pairs
from reports.graph.tally import Pair, Tally
from web.cached import Cached

Window = Literal["1", "5", "15", "60", "all"]
"""Up to now, in minutes; or all that is known."""
WINDOWS: dict[Window, float] = {"1": 1, "5": 5, "15": 15, "60": 60, "all": float("inf")}
SHORTEST_MS = 5000
FINENESS = 8
"""A span lasts an eighth of its age at most: windows begin as exactly as that."""
FACTS_MAX = 60_000
"""As many as are put together in some hundredths of a second."""
AIS_SHOWN = 60
PAIRS_SHOWN = 120
PAIRS_LOOKED_AT = 1000


@dataclass
class Span:
    """A time from ``begin_ms`` to before ``end_ms``, and what was told in it."""

    begin_ms: int
    end_ms: int
    tally: Tally = field(default_factory=Tally)


class Lately(NamedTuple):
    """What was told in a window, which begins at ``since_ms``; before ``complete_ms`` only those
    who did most are counted. ``shown`` are the pairs that did most, among AIS_SHOWN AIs at most."""

    since_ms: int
    complete_ms: int
    pairs: Pairs
    shown: Sequence[Pair]


class Tallies:
    """A listener of a Feed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._spans: list[Span] = []
        self._complete_ms = 0
        self._shown: dict[Window, Set[str]] = {}
        self._windows = {
            window: Cached(partial(self._put_together, window), clock) for window in WINDOWS
        }

    def take(self, lines: Sequence[Line]) -> None:
        now_ms = self._clock.now_ms()
        with self._lock:
            for line in lines:
                if line.kind in ("message", "event"):
                    self._span_of(min(line.ms, now_ms)).tally.take(line)

    def lately(self, window: Window) -> Lately:
        """As it was a second ago at most."""
        return self._windows[window].get()

    def _span_of(self, ms: int) -> Span:
        """The newest one, which also takes what comes late."""
        if not self._spans or ms >= self._spans[-1].end_ms:
            self._coarsen(ms)
            self._spans.append(Span(ms, ms + SHORTEST_MS))
        return self._spans[-1]

    def _coarsen(self, now_ms: int) -> None:
        """Merge neighbours that have become old; where there are too many facts, the spans share
        what there is room for."""
        kept: list[Span] = []
        for span in self._spans:
            before = kept[-1] if kept else None
            if before and span.end_ms - before.begin_ms <= (now_ms - before.begin_ms) / FINENESS:
                before.tally.add(span.tally)
                before.end_ms = span.end_ms
            else:
                kept.append(span)
        self._spans = kept
        if sum(span.tally.size for span in kept) > FACTS_MAX:
            self._complete_ms = kept[-1].end_ms
            for span in kept:
                span.tally.shed(FACTS_MAX // len(kept))

    def _put_together(self, window: Window) -> Lately:
        now_ms = self._clock.now_ms()
        begin_ms = max(0, now_ms - WINDOWS[window] * 60_000)
        since_ms, tally = now_ms, Tally()
        with self._lock:
            before = [span for span in self._spans if span.end_ms <= begin_ms]
            within = self._spans[len(before) :]
            for span in within:
                tally.add(span.tally)
            for span in reversed(before):
                tally.recall(span.tally)
            if self._spans:
                begins_ms = [begin_ms, *(span.begin_ms for span in within)]
                since_ms = int(max(self._spans[0].begin_ms, min(begins_ms)))
            complete_ms = self._complete_ms
        pairs = Pairs(tally)
        shown = _heaviest_of_few(pairs, self._shown.get(window, frozenset()))
        self._shown[window] = {ai for pair in shown for ai in pair}
        return Lately(since_ms, complete_ms, pairs, shown)


def _heaviest_of_few(pairs: Pairs, shown_before: Set[str]) -> list[Pair]:
    """Who was ``shown_before`` counts double: AIs that did about the same do not take turns."""

    def rank(pair: Pair) -> int:
        return -pairs.weights[pair] * (2 if shown_before >= set(pair) else 1)

    heaviest = pairs.heaviest(PAIRS_LOOKED_AT)
    ais: set[str] = set()
    chosen: set[Pair] = set()
    for pair in sorted(heaviest, key=rank):
        if len(chosen) < PAIRS_SHOWN and len(ais.union(pair)) <= AIS_SHOWN:
            ais.update(pair)
            chosen.add(pair)
    return [pair for pair in heaviest if pair in chosen]
