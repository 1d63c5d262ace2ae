"""What is known of a fleet at one moment, with how fast it goes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Protocol

from cli.options import OpenFleet
from coordinator.clock import Clock
from coordinator.history import Follower, Line
from coordinator.reads import Item, read_ais_with_work, read_counts
from coordinator.session_reads import read_sessions, read_unit_states
from coordinator.status import read_coordinator, read_server
from coordinator.work import END_STATES

WINDOW_S = 10.0
"""Rates are means over this long."""
READ_MAX_LINES = 5_000
"""So many lines of the history are read at a time; what is behind by more goes on at its end."""
BACKLOG = 500
"""So many messages back the history begins, for who is followed."""
AIS_MAX = 100_000
SESSIONS_MAX = 200
UNITS_MAX = 2_000


@dataclass(frozen=True)
class Snapshot:
    """A fleet at ``now_ms``. Rates are messages a second, None until they can be told: those by
    type of all that is committed, those of AIs of what the history tells (no heartbeats, no
    queries), and ``is_partial`` if not all of it could be read.

    ``units`` are those of ``sessions``, the open ones first, and ``lines`` those of the history
    since the snapshot before.
    """

    now_ms: int
    namespace: str
    place: str
    coordinator: Item
    server: Item
    counts: Item
    messages_per_s: float | None
    by_type_per_s: dict[str, float]
    is_partial: bool
    ais: list[Item]
    sessions: list[Item]
    sessions_total: int
    units: list[Item]
    lines: list[Line] = field(default_factory=list)

    def as_json(self) -> Item:
        """All but the lines of the history."""
        return {name: value for name, value in asdict(self).items() if name != "lines"}


class Snapshots(Protocol):
    """Where snapshots come from."""

    def read(self) -> Snapshot:
        """The fleet now. Raises redis.RedisError while the server is away."""


class Rates:
    """How fast counters grow, as a mean over the last WINDOW_S."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[str, int]]] = deque()

    def add(self, now_s: float, totals: Mapping[str, int]) -> None:
        """Counters that went back are those of other data: all begins anew."""
        if self._seen and any(totals.get(name, 0) < n for name, n in self._seen[-1][1].items()):
            self._seen.clear()
        self._seen.append((now_s, dict(totals)))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - WINDOW_S:
            self._seen.popleft()

    def forget(self) -> None:
        self._seen.clear()

    def per_s(self) -> dict[str, float] | None:
        """By name; None before there are two looks at the counters."""
        if len(self._seen) < 2 or self._seen[-1][0] <= self._seen[0][0]:
            return None
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return {name: (n - first.get(name, 0)) / (last_s - first_s) for name, n in last.items()}


class FleetSnapshots:
    """Those of a real fleet; one thread reads."""

    def __init__(self, fleet: OpenFleet, clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock
        self._totals = Rates()
        self._told = Rates()
        self._told_by_ai: Counter[str] = Counter()
        self._follower = Follower(fleet.connection, fleet.keys)
        self._is_first = True

    def read(self) -> Snapshot:
        try:
            return self._read()
        except Exception:
            self._totals.forget()
            self._told.forget()
            raise

    def _read(self) -> Snapshot:
        connection, keys = self._fleet.connection, self._fleet.keys
        now_ms, now_s = self._clock.now_ms(), self._clock.elapsed_s()
        coordinator = read_coordinator(connection, keys, now_ms)
        lines, is_partial = self._read_lines(coordinator["log"])
        counts = read_counts(connection, keys)
        self._totals.add(now_s, counts["messages_by_type"])
        self._told.add(now_s, self._told_by_ai)
        by_type = self._totals.per_s()
        sessions = read_sessions(connection, keys, SESSIONS_MAX)
        unit_ids = [one for session in sessions.items for one in session["units"]]
        units = read_unit_states(connection, keys, unit_ids[:UNITS_MAX])
        return Snapshot(
            now_ms=now_ms,
            namespace=keys.namespace,
            place=self._fleet.place,
            coordinator=coordinator,
            server=read_server(connection),
            counts=counts,
            messages_per_s=None if by_type is None else sum(by_type.values()),
            by_type_per_s={name: rate for name, rate in (by_type or {}).items() if rate},
            is_partial=is_partial,
            ais=self._read_ais(now_ms),
            sessions=sessions.items,
            sessions_total=sessions.total,
            units=sorted(units, key=lambda unit: unit["state"] in END_STATES),
            lines=lines,
        )

    def _read_ais(self, now_ms: int) -> list[Item]:
        connection, keys = self._fleet.connection, self._fleet.keys
        ais = read_ais_with_work(connection, keys, AIS_MAX).items
        rates = self._told.per_s()
        return [
            ai
            | {
                "heartbeat_age_ms": max(0, now_ms - ai["heartbeat_ms"]),
                "messages_per_s": None if rates is None else rates.get(ai["ai_id"], 0.0),
            }
            for ai in ais
        ]

    def _read_lines(self, log_n: int) -> tuple[list[Line], bool]:
        """What is new in the history, and whether some of it had to be left out."""
        if self._is_first:
            self._follower.begin_at(max(1, log_n - BACKLOG))
        lines: list[Line] = []
        while fresh := self._follower.read(0):
            lines += fresh
            if len(lines) >= READ_MAX_LINES:
                self._follower = Follower(self._fleet.connection, self._fleet.keys)
                break
        if not self._is_first:  # the backlog is not of this window
            senders = Counter(one["sender_id"] for line in lines if (one := line.envelope))
            self._told_by_ai.update(senders)
        self._is_first = False
        return lines, len(lines) >= READ_MAX_LINES
