"""``/metrics``: a fleet in numbers, as Prometheus reads them. docs/monitoring.md tells of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import redis
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from web.fleet_numbers import CommitTimes, FleetNumbers, read_fleet_numbers
from web.fresh import Fresh
from web.source import Source


def metrics_endpoint(source: Source) -> Callable[[Request], Response]:
    """Answers also where the server is away: ``coord_server_up`` says so. Many may scrape it: they
    share what was read within the last second."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FleetCollector(source))

    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=content_type)

    return metrics


class FleetCollector(Collector):
    """What a fleet's metrics are, each time that they are asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._families = Fresh(self._read, source.clock)

    def collect(self) -> Iterator[Metric]:
        return iter(self._families.get())

    def _read(self) -> list[Metric]:
        began_s = self._source.clock.elapsed_s()
        families: list[Metric] = []
        try:
            families = list(_families(read_fleet_numbers(self._source)))
            is_up = True
        except redis.RedisError:
            is_up = False
        took_s = self._source.clock.elapsed_s() - began_s
        return [
            _gauge("server_up", "1 if the Redis server answers; else this is all there is", is_up),
            _gauge("scrape_seconds", "How long it took to read these numbers", took_s),
            *families,
        ]


def _families(numbers: FleetNumbers) -> Iterator[Metric]:
    yield from _of_the_coordinator(numbers)
    yield from _of_the_traffic(numbers)
    yield from _of_the_fleet(numbers)
    yield from _of_the_work(numbers)
    yield from _of_what_is_shared(numbers)
    yield from _of_archives(numbers)
    yield from _of_the_server(numbers)


def _of_the_coordinator(numbers: FleetNumbers) -> Iterator[Metric]:
    yield _gauge(
        "coordinator_active",
        "1 if a coordinator is active; without one messages wait and nothing is lost",
        numbers.lease_s is not None,
    )
    yield _gauge(
        "lease_seconds",
        "What is left of the active coordinator's lease; near 0 it has trouble to renew it",
        numbers.lease_s or 0,
    )
    yield _gauge(
        "standby_coordinators", "Coordinators that would take over from it", numbers.standby
    )
    yield _histogram(
        "commit_seconds",
        "How long the transactions that commit messages took, since this coordinator began",
        numbers.commits,
    )
    yield _gauge(
        "dead_letters",
        "Messages that broke their handler: look at them by `coord dead list`",
        numbers.dead_letters,
    )


def _of_the_traffic(numbers: FleetNumbers) -> Iterator[Metric]:
    yield _counter(
        "messages",
        "Messages committed since the fleet began, by their type",
        ["type"],
        (([name], count) for name, count in numbers.messages.items()),
    )
    yield _gauge(
        "ingress_entries", "Messages that the coordinator has not taken yet", numbers.lag.entries
    )
    yield _gauge(
        "ingress_oldest_age_seconds",
        "For how long the oldest of them has waited: how far the coordinator is behind",
        numbers.lag.oldest_age_ms / 1000,
    )
    yield _gauge(
        "log_number",
        "Number of the last broadcast; its rate is that of broadcasts",
        numbers.last_numbers["log"],
    )
    yield _gauge(
        "events_number",
        "Number of the last event; its rate is that of all that happens in the fleet",
        numbers.last_numbers["events"],
    )


def _of_the_fleet(numbers: FleetNumbers) -> Iterator[Metric]:
    yield _gauges(
        "ais",
        "AIs that are there, by specialization; validators are of `validation`, and all that are "
        "not built in are `other`",
        ["specialization"],
        (([name], count) for name, count in numbers.ais.items()),
    )
    yield _gauge("gateways", "Gateways that are there for AIs that come by TCP", numbers.gateways)
    yield _gauge(
        "gateway_connections",
        "Connections that they have, as they told last",
        numbers.gateway_connections,
    )


def _of_the_work(numbers: FleetNumbers) -> Iterator[Metric]:
    yield _gauges(
        "units",
        "Units of open sessions, by their state; those that are waiting have nobody yet",
        ["state"],
        (([state], count) for state, count in numbers.units.items()),
    )
    yield _gauges(
        "sessions",
        "Collaborations and feature requests that are open, by type and state",
        ["type", "state"],
        ((list(labels), count) for labels, count in numbers.sessions.items()),
    )


def _of_what_is_shared(numbers: FleetNumbers) -> Iterator[Metric]:
    for kind, count in numbers.records.items():
        yield _gauge(f"{kind}s", f"Shared {kind}s that the fleet keeps", count)
    yield _gauge(
        "open_validations",
        "Components and features that wait for a verdict; without validators they wait for ever",
        numbers.open_validations,
    )
    yield _counter(
        "verdicts",
        "Verdicts on what was shared, by their word",
        ["verdict"],
        (([name], count) for name, count in numbers.verdicts.items()),
    )


def _of_archives(numbers: FleetNumbers) -> Iterator[Metric]:
    yield _gauges(
        "archive_behind",
        "Entries of a stream (log, events) that an archive has not stored yet; what retention cuts "
        "before it has is lost to it",
        ["archive", "stream"],
        (
            ([archive.name, stream], count)
            for archive in numbers.archives
            for stream, count in archive.behind.items()
        ),
    )
    yield _gauges(
        "archive_silent_seconds",
        "How long ago an archive told how far it is; one that has nothing to store is silent, too",
        ["archive"],
        (([archive.name], archive.silent_s) for archive in numbers.archives),
    )


def _of_the_server(numbers: FleetNumbers) -> Iterator[Metric]:
    info = numbers.server
    yield _gauge(
        "server_memory_bytes",
        "Memory that the Redis server uses for data",
        info.get("used_memory", 0),
    )
    yield _gauge(
        "server_memory_max_bytes",
        "Its maxmemory, at which it refuses all that is sent; 0 for none",
        info.get("maxmemory", 0),
    )
    yield _gauge(
        "server_writes_ok",
        "0 if it could not write to its disk the last time that it tried",
        "err" not in (info.get("aof_last_write_status"), info.get("rdb_last_bgsave_status")),
    )
    yield _gauge(
        "server_uptime_seconds",
        "How long it has run; where that falls it was started again",
        info.get("uptime_in_seconds", 0),
    )


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return _gauges(name, help_text, [], [([], value)])


def _gauges(
    name: str, help_text: str, labels: list[str], values: Iterable[tuple[list[str], float]]
) -> Metric:
    family = GaugeMetricFamily(f"coord_{name}", f"{help_text}.", labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, float(value))
    return family


def _counter(
    name: str, help_text: str, labels: list[str], values: Iterable[tuple[list[str], float]]
) -> Metric:
    family = CounterMetricFamily(f"coord_{name}", f"{help_text}.", labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, float(value))
    return family


def _histogram(name: str, help_text: str, times: CommitTimes) -> Metric:
    family = HistogramMetricFamily(f"coord_{name}", f"{help_text}.")
    buckets = [(str(bound_s), float(commits)) for bound_s, commits in times.buckets]
    family.add_metric([], [*buckets, ("+Inf", float(times.commits))], times.sum_s)
    return family
