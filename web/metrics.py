"""``/metrics``: a fleet in numbers, as Prometheus reads them. docs/monitoring.md tells of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import redis
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from coordinator.archive_marks import Behind
from web.cached import Cached
from web.fleet_numbers import CommitTimes, FleetNumbers, read_fleet_numbers
from web.fleet_reader import FleetReader

OPEN_METRICS = "application/openmetrics-text"
LAST_WRITES = ("aof_last_write_status", "rdb_last_bgsave_status")
"""What INFO says of the last writes to the disk."""


def metrics_endpoint(reader: FleetReader) -> Callable[[Request], Response]:
    """Answers also where the server is away: ``coord_server_up`` says so. Many may scrape it: they
    share what was read within the last second."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FleetCollector(reader))

    def metrics(request: Request) -> Response:
        is_open = OPEN_METRICS in request.headers.get("accept", "")
        encode, content_type = choose_encoder(f"{OPEN_METRICS}; version=1.0.0" if is_open else "")
        return Response(encode(registry), media_type=content_type)

    return metrics


class Gauge(NamedTuple):
    """A metric without labels: its name behind ``coord_``, what it is, and how it is read."""

    name: str
    about: str
    read: Callable[[FleetNumbers], float]


GAUGES = (
    Gauge(
        "coordinator_active",
        "1 if a coordinator is active. Without one messages wait in the ingress, and none is lost.",
        lambda numbers: numbers.lease_s is not None,
    ),
    Gauge(
        "lease_seconds",
        "What is left of the active coordinator's lease. It is renewed each quarter of"
        " `COORD_LEADER_LEASE_S`; near 0 it has trouble to do so.",
        lambda numbers: numbers.lease_s or 0,
    ),
    Gauge(
        "standby_coordinators",
        "Coordinators that would take over. With 0 the fleet waits for somebody to start another"
        " one.",
        lambda numbers: numbers.standby,
    ),
    Gauge(
        "dead_letters",
        "Messages that broke their handler, and wait for `coord dead retry` or `coord dead drop`.",
        lambda numbers: numbers.dead_letters,
    ),
    Gauge(
        "ingress_entries",
        "Messages that were accepted, and the coordinator has not taken yet.",
        lambda numbers: numbers.lag.entries,
    ),
    Gauge(
        "ingress_oldest_age_seconds",
        "For how long the oldest of them has waited, by the server's clock: how far the coordinator"
        " is behind.",
        lambda numbers: numbers.lag.oldest_age_ms / 1000,
    ),
    Gauge(
        "log_number",
        "Number of the last broadcast; its rate is that of broadcasts.",
        lambda numbers: numbers.log_number,
    ),
    Gauge(
        "events_number",
        "Number of the last event; its rate is that of all that happens in the fleet.",
        lambda numbers: numbers.events_number,
    ),
    Gauge(
        "gateways",
        "Gateways that are there for AIs that come by TCP.",
        lambda numbers: numbers.gateways,
    ),
    Gauge(
        "gateway_connections",
        "Connections that gateways have, as they told last.",
        lambda numbers: numbers.gateway_connections,
    ),
    Gauge(
        "patterns",
        "Patterns that the fleet keeps.",
        lambda numbers: numbers.records["pattern"],
    ),
    Gauge(
        "components",
        "Components that the fleet keeps.",
        lambda numbers: numbers.records["component"],
    ),
    Gauge(
        "features",
        "Features that the fleet keeps.",
        lambda numbers: numbers.records["feature"],
    ),
    Gauge(
        "open_validations",
        "Components and features that wait for a verdict; without validators they wait for ever.",
        lambda numbers: numbers.open_validations,
    ),
    Gauge(
        "server_memory_bytes",
        "Memory that the server uses for data.",
        lambda numbers: numbers.server.get("used_memory", 0),
    ),
    Gauge(
        "server_memory_max_bytes",
        "Its `maxmemory`, at which it refuses all that is sent; 0 for none.",
        lambda numbers: numbers.server.get("maxmemory", 0),
    ),
    Gauge(
        "server_writes_ok",
        "0 if the server could not write to its disk the last time that it tried.",
        lambda numbers: "err" not in map(numbers.server.get, LAST_WRITES),
    ),
    Gauge(
        "server_uptime_seconds",
        "How long the server has run. Where it falls it was started again, which begins an epoch.",
        lambda numbers: numbers.server.get("uptime_in_seconds", 0),
    ),
)


class FleetCollector(Collector):
    """What a fleet's metrics are, each time that they are asked for."""

    def __init__(self, reader: FleetReader) -> None:
        self._reader = reader
        self._families = Cached(self._read, reader.clock)

    def collect(self) -> Iterator[Metric]:
        return iter(self._families.get())

    def _read(self) -> list[Metric]:
        began_s = self._reader.clock.elapsed_s()
        families: list[Metric] = []
        try:
            families = list(_families(read_fleet_numbers(self._reader)))
            is_up = True
        except redis.RedisError:
            is_up = False
        took_s = self._reader.clock.elapsed_s() - began_s
        return [*_of_the_scrape(is_up, took_s), *families]


def _of_the_scrape(is_up: bool, took_s: float) -> Iterator[Metric]:
    """What can always be said."""
    yield _gauges(
        "server_up",
        "1 if the Redis server answers. If it is 0, it and `coord_scrape_seconds` are all there is:"
        " gaps in the others are not zeros.",
        [],
        [([], is_up)],
    )
    yield _gauges(
        "scrape_seconds",
        "How long it took to read these numbers. It grows with the number of AIs, and with that of"
        " messages that wait.",
        [],
        [([], took_s)],
    )


def _families(numbers: FleetNumbers) -> Iterator[Metric]:
    for name, about, read in GAUGES:
        yield _gauges(name, about, [], [([], read(numbers))])
    yield from _by_word(numbers)
    yield from _of_archives(numbers.archives)
    yield _commit_histogram(numbers.commits)


def _by_word(numbers: FleetNumbers) -> Iterator[Metric]:
    """Counts by words that coord knows."""
    yield _filled(
        CounterMetricFamily(
            "coord_messages",
            "Messages committed since the fleet began, by type; of those that were refused none.",
            labels=["type"],
        ),
        _labelled(numbers.messages),
    )
    yield _gauges(
        "ais",
        "AIs that are there. Validators are of `validation`; all specializations that are not built"
        " in are `other`.",
        ["specialization"],
        _labelled(numbers.ais),
    )
    yield _gauges(
        "units",
        "Units of open sessions, as the coordinator told within the last second. `waiting` are"
        " those that nobody has yet, for want of somebody or of another unit's output.",
        ["state"],
        _labelled(numbers.units),
    )
    yield _gauges(
        "sessions",
        "Collaborations and feature requests that are open, as the coordinator told within the last"
        " second.",
        ["type", "state"],
        numbers.sessions.items(),
    )
    yield _filled(
        CounterMetricFamily(
            "coord_verdicts",
            "Verdicts on what was shared, those of the coordinator itself (`not_validated`) among"
            " them.",
            labels=["verdict"],
        ),
        _labelled(numbers.verdicts),
    )


def _of_archives(archives: Sequence[Behind]) -> Iterator[Metric]:
    yield _gauges(
        "archive_behind",
        "Entries of the `log` or the `events` that an archive has not stored yet. What retention"
        " cuts before it has is a gap in it.",
        ["archive", "stream"],
        [
            ((one.archive, stream), unread)
            for one in archives
            for stream, unread in (("log", one.unread_log), ("events", one.unread_events))
        ],
    )
    yield _gauges(
        "archive_silent_seconds",
        "How long ago an archive told how far it is. One that has nothing to store is silent, too.",
        ["archive"],
        [((one.archive,), one.silent_ms / 1000) for one in archives],
    )


def _commit_histogram(times: CommitTimes) -> Metric:
    family = HistogramMetricFamily(
        "coord_commit_seconds",
        "Histogram: how long the transactions that commit messages took. It begins at 0 with each"
        " coordinator, as counters may.",
    )
    buckets = [(str(bound_s), float(commits)) for bound_s, commits in times.buckets]
    family.add_metric([], [*buckets, ("+Inf", float(times.commits))], times.sum_s)
    return family


Samples = Iterable[tuple[Sequence[str], float]]
"""Values, each with those of the labels."""


def _labelled(counts: Mapping[str, int]) -> Samples:
    return [((word,), count) for word, count in counts.items()]


def _gauges(name: str, about: str, labels: Sequence[str], samples: Samples) -> Metric:
    return _filled(GaugeMetricFamily(f"coord_{name}", about, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Samples) -> Metric:
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family
