"""A fleet in numbers: what a scrape reads, in a few round trips, however large the fleet is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple, get_args

import redis

from coordinator.archive_marks import Behind, read_behind
from coordinator.dispatch import ROUTES
from coordinator.keys import KINDS, Keys, Kind
from coordinator.lag import Lag, read_lag
from coordinator.metrics import COMMIT_BOUNDS_S, bucket_field
from coordinator.payloads import VerdictWord
from coordinator.plans import PLANS
from coordinator.specializations import CAPABILITIES, VALIDATION
from coordinator.status import STANDBY_SEEN_MS, read_gateways
from coordinator.stored import json_of, number_of, read_hashes, replies_of, text_of, whole_number
from coordinator.work import OPEN_STATES, UnitState
from web.fleet_reader import FleetReader

OTHER = "other"
"""Stands for every word that coord does not know: the labels of a metric are bounded."""
COUNT_MAX = 10**15
"""What is more has been written by strangers."""
SPECIALIZATIONS = (*CAPABILITIES, VALIDATION)


class CommitTimes(NamedTuple):
    """``buckets`` are (upper bound in seconds, commits that took at most so long)."""

    buckets: list[tuple[float, int]]
    commits: int
    sum_s: float

    def counts(self) -> list[int]:
        """How many commits are in each bucket alone; the last number is of those in none."""
        so_far = [commits for _, commits in self.buckets]
        pairs = zip([0, *so_far], [*so_far, self.commits], strict=True)
        return [max(0, upper - lower) for lower, upper in pairs]

    def quantile_s(self, share: float) -> float | None:
        """What that share of the commits took at most, as far as the buckets tell: inf beyond the
        last one, None if there are no commits."""
        left = share * sum(self.counts())
        if not left:
            return None
        lower_s = 0.0
        for (bound_s, _), count in zip(self.buckets, self.counts(), strict=False):
            if left <= count:
                return lower_s + (bound_s - lower_s) * left / count
            left -= count
            lower_s = bound_s
        return inf


@dataclass(frozen=True)
class FleetNumbers:
    """``lease_s`` is what is left of the active coordinator's lease, None if none is active.

    Of sessions, by (type, state), and units, by state, the open ones are counted, as the
    coordinator told them last; all other words but those that coord knows are OTHER.
    """

    lease_s: float | None
    standby: int
    messages: dict[str, int]
    commits: CommitTimes
    lag: Lag
    ais: dict[str, int]
    units: dict[str, int]
    sessions: dict[tuple[str, str], int]
    verdicts: dict[str, int]
    open_validations: int
    records: dict[Kind, int]
    gateways: int
    gateway_connections: int
    dead_letters: int
    log_number: int
    events_number: int
    archives: list[Behind]
    server: Mapping[str, Any]
    """What INFO says."""


def read_fleet_numbers(reader: FleetReader) -> FleetNumbers:
    """Raises redis.RedisError for a server that does not answer."""
    connection, keys, now_ms = reader.connection, reader.keys, reader.clock.now_ms()
    read = _read_at_once(connection, keys, now_ms)
    told = read["metrics"] or {}
    log_n, events_n = read["fleet"] or (None, None)
    gateways = read_gateways(connection, keys, now_ms)
    return FleetNumbers(
        lease_s=max(0, read["lease_ms"] or 0) / 1000 if read["leader"] else None,
        standby=read["standby"] or 0,
        messages=_known(read["totals"], tuple(ROUTES)),
        commits=commit_times(told),
        lag=read_lag(connection, keys),
        ais=_by_specialization(read),
        units=_of_units(told),
        sessions=_of_sessions(told),
        verdicts=_known(read["verdicts"], get_args(VerdictWord)),
        open_validations=read["validations"] or 0,
        records={kind: read[kind] or 0 for kind in KINDS},
        gateways=sum(gateway["address"] is not None for gateway in gateways),
        gateway_connections=sum(gateway["connections"] for gateway in gateways),
        dead_letters=read["dead"] or 0,
        log_number=whole_number(log_n),
        events_number=whole_number(events_n),
        archives=read_behind(connection, keys, now_ms),
        server=read["info"] or {},
    )


def read_open_numbers(reader: FleetReader) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """Of FleetNumbers ``units`` and ``sessions``, in one round trip."""
    (told,) = read_hashes(reader.connection, [reader.keys.metrics])
    return _of_units(told), _of_sessions(told)


def _read_at_once(connection: redis.Redis, keys: Keys, now_ms: int) -> dict[str, Any]:
    """One round trip; None for what strangers spoiled."""
    asked: dict[str, tuple[Any, ...]] = {
        "leader": ("EXISTS", keys.leader),
        "lease_ms": ("PTTL", keys.leader),
        "standby": ("ZCOUNT", keys.standby, now_ms - STANDBY_SEEN_MS, "+inf"),
        "totals": ("HGETALL", keys.totals),
        "metrics": ("HGETALL", keys.metrics),
        "verdicts": ("HGETALL", keys.verdicts),
        "fleet": ("HMGET", keys.fleet, "log_n", "events_n"),
        "validations": ("ZCARD", keys.validations),
        "dead": ("XLEN", keys.dead),
        "info": ("INFO",),
        "ais": ("ZCARD", keys.leases),
        **{kind: ("ZCARD", keys.records(kind)) for kind in KINDS},
        **{name: ("SCARD", keys.specialization(name)) for name in SPECIALIZATIONS},
    }
    with connection.pipeline(transaction=False) as pipe:
        for command in asked.values():
            pipe.execute_command(*command)
        return dict(zip(asked, replies_of(pipe), strict=True))


def _known(stored: Mapping[bytes, bytes] | None, words: tuple[str, ...]) -> dict[str, int]:
    """The counts of all ``words``, and of all other words together if there are any."""
    counts = Counter(dict.fromkeys(words, 0))
    for name, count in (stored or {}).items():
        word = text_of(name)
        counts[word if word in words else OTHER] += whole_number(count)
    return dict(counts)


def _by_specialization(read: Mapping[str, Any]) -> dict[str, int]:
    ais = {name: read[name] or 0 for name in SPECIALIZATIONS}
    return ais | {OTHER: max(0, (read["ais"] or 0) - sum(ais.values()))}


def commit_times(told: Mapping[bytes, bytes]) -> CommitTimes:
    """As the coordinator has told them in ``keys.metrics``."""

    def count(field: str) -> int:
        return whole_number(told.get(field.encode()))

    buckets = [(bound_s, count(bucket_field(bound_s))) for bound_s in COMMIT_BOUNDS_S]
    return CommitTimes(buckets, count("commit_count"), number_of(told.get(b"commit_sum_s")) or 0.0)


def _of_units(told: Mapping[bytes, bytes]) -> dict[str, int]:
    stored = _counts(json_of(told.get(b"units")))
    return {state: stored.get(state, 0) for state in get_args(UnitState)}


def _of_sessions(told: Mapping[bytes, bytes]) -> dict[tuple[str, str], int]:
    stored = json_of(told.get(b"sessions"))
    by_type = {name: _counts(states) for name, states in _items(stored)}
    return {
        (name, state): by_type.get(name, {}).get(state, 0)
        for name in PLANS
        for state in OPEN_STATES
    }


def _counts(stored: Any) -> dict[str, int]:
    return {name: count for name, count in _items(stored) if _is_count(count)}


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= COUNT_MAX


def _items(stored: Any) -> list[tuple[str, Any]]:
    return list(stored.items()) if isinstance(stored, dict) else []
