"""The numbers for machines: what the coordinator counts, what a scrape shows, and that alerts, the
dashboard and the document name what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text_format
from redis import Redis
from redis.client import Pipeline
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from coordinator.archive_marks import MAX_ARCHIVES
from coordinator.history import read_end
from coordinator.keys import Keys
from coordinator.metrics import COMMIT_BOUNDS_S, bucket_field
from tests.fleet import FleetUnderTest, ManualClock, python
from web.fleet_reader import FleetReader
from web.metrics import metrics_endpoint

DOCS = Path(__file__).resolve().parents[1] / "docs"
ALERTS = DOCS / "alerts.yml"
DASHBOARD = DOCS / "grafana-dashboard.json"
HOSTILE = 'x"} 1\n# HELP evil \x1b[31m'
FUNCTIONS = {
    *("absent", "and", "by", "histogram_quantile", "ignoring", "increase"),
    *("rate", "resets", "sum", "without"),
}


class TickingClock(ManualClock):
    """Each look at the clock takes 4 ms: what is measured by two looks took that long."""

    def elapsed_s(self) -> float:
        self.steady_s += 0.004
        return self.steady_s


def scraping(connection: Redis, clock: Any = None, namespace: str = "coord") -> TestClient:
    reader = FleetReader(connection, Keys(namespace), clock or ManualClock())
    return TestClient(Starlette(routes=[Route("/metrics", metrics_endpoint(reader))]))


def families_of(client: TestClient) -> dict[str, Metric]:
    answer = client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    return {family.name: family for family in text_format(answer.text)}


def mark(epoch: str = "", log: int = 0, heard_ms: int = 0) -> str:
    """How far an archive has come, as it is kept."""
    return json.dumps({"epoch": epoch, "log": log, "events": 0, "ms": heard_ms})


def values(connection: Redis, clock: Any = None) -> dict[str, Any]:
    """What a scrape shows: by name the value, or by labels the values that are not 0."""
    shown: dict[str, Any] = {}
    for family in families_of(scraping(connection, clock)).values():
        for sample in family.samples:
            labels = ",".join(sample.labels.values())
            if not labels:
                shown[sample.name] = sample.value
            elif sample.value:
                shown.setdefault(sample.name, {})[labels] = sample.value
    return shown


@pytest.fixture
def memory() -> Iterator[Redis]:
    with fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2) as client:
        yield client


# -- what the coordinator counts -------------------------------------------------------------------


def told(fleet: FleetUnderTest) -> dict[str, str]:
    stored: Any = fleet.redis.hgetall(fleet.keys.metrics)
    return {name.decode(): value.decode() for name, value in stored.items()}


def test_a_coordinator_tells_of_its_commits_and_of_the_work_that_is_open(redis: Redis) -> None:
    fleet = FleetUnderTest(redis, clock=TickingClock())
    for ai in ("a", "b"):
        fleet.join(ai, skills=["develop"], specialization="audio")
    plan = [{"name": "one", "kind": "develop"}, {"name": "two", "kind": "develop"}]
    fleet.collaborate("a", "b", plan=plan)
    fleet.ask("b", type="cross_specialization")
    fleet.pass_time(1)
    found = told(fleet)
    counts = [int(found[bucket_field(bound_s)]) for bound_s in COMMIT_BOUNDS_S]
    assert counts[:3] == [0, 0, 5], "each took 4 ms"
    assert set(counts[2:]) == {5} == {int(found["commit_count"])}
    assert 5 * 0.004 <= float(found["commit_sum_s"]) < 5 * 0.1
    assert json.loads(found["units"]) == {"queued": 2}
    assert json.loads(found["sessions"]) == {
        "feature_development": {"active": 1},
        "cross_specialization": {"pending": 1},
    }


def test_it_tells_once_a_second_at_most_and_only_what_changed(
    memory: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = FleetUnderTest(memory)
    fleet.join("a")
    fleet.pass_time(1)
    first = told(fleet)
    fleet.say("a", "heartbeat")
    fleet.run()
    within_the_second = told(fleet)
    fleet.pass_time(1)
    second = told(fleet)
    memory.delete(fleet.keys.metrics)
    fleet.pass_time(1)
    assert within_the_second == first
    assert int(second["commit_count"]) == int(first["commit_count"]) + 1
    assert told(fleet) == {}, "nothing was committed since, so nothing is written"


def test_another_coordinator_begins_at_0_and_writes_all_of_it(memory: Redis) -> None:
    fleet = FleetUnderTest(memory)
    fleet.join("a")
    fleet.pass_time(1)
    fleet.replace_coordinator("coordinator-2")
    fleet.say("a", "heartbeat")
    fleet.run()
    fleet.pass_time(1)
    found = told(fleet)
    assert found == {
        **{bucket_field(bound_s): "1" for bound_s in COMMIT_BOUNDS_S},
        "commit_count": "1",
        "commit_sum_s": "0.0",
        "units": "{}",
        "sessions": "{}",
    }


def test_what_it_has_told_is_told_again_after_the_server_has_lost_it(memory: Redis) -> None:
    fleet = FleetUnderTest(memory)
    fleet.join("a")
    fleet.pass_time(1)
    first = told(fleet)
    memory.flushall()
    fleet.say("a", "heartbeat")
    fleet.run()
    fleet.pass_time(1)
    assert told(fleet).keys() == first.keys()


def test_verdicts_are_counted_by_their_word(memory: Redis) -> None:
    fleet = FleetUnderTest(memory)
    fleet.enroll("v", role="validator")
    fleet.join("a", "v")
    for record_id in ("c", "d"):
        fleet.say("a", "code_share", {"code": python(record_id)})
        fleet.run()
        fleet.judge("v", record_id)
    fleet.say("a", "code_share", {"code": {"id": "e", "language": "rust", "code": "fn f() {}"}})
    fleet.run()
    assert memory.hgetall(fleet.keys.verdicts) == {b"failed": b"2", b"not_validated": b"1"}


# -- what a scrape shows ---------------------------------------------------------------------------


def test_a_scrape_shows_the_fleet_in_numbers(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    fleet.enroll("v", role="validator")
    fleet.join("v", specialization="validation")
    fleet.join("a", "b", specialization="audio", skills=["develop"])
    fleet.join("c", specialization="cooking", gateway="gw1")
    fleet.gateway_says(
        "gw1", "gateway_heartbeat", {"address": "127.0.0.1:6000", "connections": 7, "ais": {}}
    )
    fleet.collaborate("a", "b", plan=[{"name": "one", "kind": "develop"}])
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}})
    fleet.say("a", "code_share", {"code": python("c")})
    fleet.pass_time(1)
    redis.xadd(fleet.keys.dead, {"body": "{}"})
    redis.zadd(fleet.keys.standby, {"another": fleet.clock.now_ms()})
    log, events = len(fleet.log()), len(fleet.events())
    epoch, heard_ms = read_end(redis, fleet.keys).epoch, fleet.clock.now_ms() - 5000
    redis.hset(fleet.keys.archives, "vault", mark(epoch, log - 1, heard_ms))
    fleet.say("b", "heartbeat")
    shown = values(redis, fleet.clock)
    server = {name: shown.pop(name) for name in list(shown) if name.startswith("coord_server_")}
    commits = {name: shown.pop(name) for name in list(shown) if "_commit_" in name}
    assert 0 < shown.pop("coord_lease_seconds") <= fleet.settings.leader_lease_s
    assert shown.pop("coord_ingress_oldest_age_seconds") < 30
    messages = shown.pop("coord_messages_total")
    assert shown == {
        "coord_scrape_seconds": 0,
        "coord_coordinator_active": 1,
        "coord_standby_coordinators": 1,
        "coord_dead_letters": 1,
        "coord_ingress_entries": 1,
        "coord_log_number": log,
        "coord_events_number": events,
        "coord_ais": {"audio": 2, "validation": 1, "other": 1},
        "coord_gateways": 1,
        "coord_gateway_connections": 7,
        "coord_units": {"queued": 1},
        "coord_sessions": {"active,feature_development": 1},
        "coord_patterns": 1,
        "coord_components": 1,
        "coord_features": 0,
        "coord_open_validations": 1,
        "coord_archive_behind": {"vault,log": 1, "vault,events": events},
        "coord_archive_silent_seconds": {"vault": 5},
    }
    assert messages == {
        "enroll": 1,
        "hello": 4,
        "gateway_heartbeat": 1,
        "collaboration_request": 1,
        "collaboration_response": 1,
        "pattern_share": 1,
        "code_share": 1,
    }
    assert commits["coord_commit_seconds_bucket"]["+Inf"] == commits["coord_commit_seconds_count"]
    assert (server["coord_server_up"], server["coord_server_writes_ok"]) == (1, 1)


def test_a_fleet_that_never_was_is_shown_in_full(memory: Redis) -> None:
    shown = values(memory)
    assert {name: value for name, value in shown.items() if value} == {
        "coord_server_up": 1,
        "coord_server_writes_ok": 1,
    }
    assert families_of(scraping(memory)).keys() == set(documented())


def test_open_metrics_for_who_asks_for_it(memory: Redis) -> None:
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = scraping(memory).get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in open_metrics(answer.text)} == set(documented())


def test_what_is_asked_for_in_no_sense_is_answered_all_the_same(memory: Redis) -> None:
    accept = {"accept": "application/openmetrics-text;version=abc;escaping=foo;=;;,,"}
    answer = scraping(memory).get("/metrics", headers=accept)
    assert {family.name for family in open_metrics(answer.text)} == set(documented())


def test_numbers_that_nothing_can_count_count_as_none(memory: Redis) -> None:
    nines, keys = "9" * 400, Keys()
    for name, log in (("below", f"-{nines}"), ("above", nines)):
        memory.hset(keys.archives, name, mark().replace('"log": 0', f'"log": {log}'))
    memory.hset(keys.metrics, "units", f'{{"running": {nines}, "queued": 1}}')
    memory.hset(keys.metrics, "sessions", f'{{"feature_request": {{"active": {nines}}}}}')
    shown = values(memory)
    assert shown["coord_units"] == {"queued": 1}
    assert "coord_sessions" not in shown
    assert "above" not in shown.get("coord_archive_behind", {})


def test_a_server_that_is_away_is_a_number_and_not_an_error() -> None:
    server, clock = fakeredis.FakeServer(), ManualClock()
    client = scraping(fakeredis.FakeRedis(server=server, protocol=2), clock)
    server.connected = False
    away = families_of(client)
    server.connected = True
    clock.advance(1)
    back = families_of(client)
    assert {name: family.samples[0].value for name, family in away.items()} == {
        "coord_server_up": 0,
        "coord_scrape_seconds": 0,
    }
    assert back["coord_server_up"].samples[0].value == 1
    assert back.keys() == set(documented())


def test_labels_are_bounded_whatever_strangers_write(memory: Redis) -> None:
    fleet = FleetUnderTest(memory)
    fleet.join("a", specialization="cooking")
    fleet.pass_time(1)
    expected = {
        name: set(map(labels_of, f.samples)) for name, f in families_of(scraping(memory)).items()
    }
    keys = fleet.keys
    for n in range(100):
        memory.sadd(keys.specialization(f"{HOSTILE}{n}"), f"{HOSTILE}{n}")
        memory.zadd(keys.leases, {f"{HOSTILE}{n}": n})
        memory.hset(keys.archives, f"archive{n}", mark(heard_ms=n))
        memory.hset(keys.archives, f"{HOSTILE}{n}", HOSTILE)
        for key in (keys.totals, keys.verdicts):
            memory.hset(key, f"{HOSTILE}{n}", n)
    memory.hset(keys.metrics, "units", json.dumps({HOSTILE: 1, "queued": HOSTILE}))
    memory.hset(keys.metrics, "sessions", json.dumps({HOSTILE: {"active": 1}, "x": HOSTILE}))
    memory.hset(keys.metrics, "commit_sum_s", HOSTILE)
    body = scraping(memory).get("/metrics").text
    found = {family.name: family for family in text_format(body)}
    labels = {name: set(map(labels_of, family.samples)) for name, family in found.items()}
    behind, silent = labels.pop("coord_archive_behind"), labels.pop("coord_archive_silent_seconds")
    expected["coord_messages"] |= {"type=other"}
    expected["coord_verdicts"] |= {"verdict=other"}
    del expected["coord_archive_behind"], expected["coord_archive_silent_seconds"]
    assert labels == expected
    assert silent == {f"archive=archive{n}" for n in range(100 - MAX_ARCHIVES, 100)}
    assert len(behind) == 2 * MAX_ARCHIVES
    assert "evil" not in body


def labels_of(sample: Any) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))


def test_what_is_of_a_wrong_type_costs_itself_alone(memory: Redis) -> None:
    fleet = FleetUnderTest(memory)
    fleet.join("a", specialization="audio")
    keys = fleet.keys
    spoiled = (keys.totals, keys.metrics, keys.verdicts, keys.archives, keys.validations, keys.dead)
    for key in (*spoiled, keys.fleet, keys.standby, keys.records("pattern")):
        memory.set(key, "not what it should be")
    shown = values(memory)
    assert (shown["coord_server_up"], shown["coord_ais"]) == (1, {"audio": 1})
    assert shown["coord_patterns"] == shown["coord_log_number"] == 0


def test_a_scrape_costs_a_few_round_trips_however_large_the_fleet_is(
    memory: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys()
    for n in range(1000):
        memory.sadd(keys.doors, f"AI_{n}")
        memory.zadd(keys.leases, {f"AI_{n}": n})
        memory.sadd(keys.specialization("audio"), f"AI_{n}")
        memory.hset(keys.session(f"s{n}"), "session", "{}")
        memory.hset(keys.unit(f"u{n}"), "unit", "{}")
    trips: list[int] = []
    execute, command = Pipeline.execute, Redis.execute_command
    monkeypatch.setattr(
        Pipeline,
        "execute",
        lambda self, *a, **kw: trips.append(len(self)) or execute(self, *a, **kw),
    )
    monkeypatch.setattr(
        Redis, "execute_command", lambda *a, **kw: trips.append(1) or command(*a, **kw)
    )
    shown = values(memory)
    assert shown["coord_ais"] == {"audio": 1000}
    assert len(trips) <= 8
    assert sum(trips) < 1100, "one for each ingress, none for each record"


def test_who_asks_within_a_second_shares_what_was_read(memory: Redis) -> None:
    clock = ManualClock()
    client = scraping(memory, clock)
    first = client.get("/metrics").text
    memory.zadd(Keys().leases, {"a": 1})
    clock.advance(0.9)
    second = client.get("/metrics").text
    clock.advance(0.1)
    third = client.get("/metrics").text
    assert second == first
    assert 'coord_ais{specialization="other"} 1.0' in third


def test_two_pages_have_nothing_in_common(memory: Redis) -> None:
    memory.zadd(Keys("one").leases, {"a": 1})
    one, other = (scraping(memory, namespace=name).get("/metrics").text for name in ("one", "two"))
    assert 'coord_ais{specialization="other"} 1.0' in one
    assert 'coord_ais{specialization="other"} 0.0' in other


def test_every_help_text_is_that_of_the_document(memory: Redis) -> None:
    families = families_of(scraping(memory)).values()
    assert {family.name: family.documentation for family in families} == help_texts()


# -- what names them -------------------------------------------------------------------------------


def documented() -> dict[str, list[str]]:
    """The metrics of docs/monitoring.md, as parsers name them, with their labels."""
    return {name: re.findall(r"`(\w+)`", labels) for name, labels, _ in rows()}


def help_texts() -> dict[str, str]:
    return {name: text for name, _, text in rows()}


def rows() -> list[tuple[str, str, str]]:
    """Name, labels and meaning of each."""
    text = (DOCS / "monitoring.md").read_text()
    found = re.findall(r"^\| `(coord_\w+)` \| (.*?) ?\| (.*) \|$", text, re.M)
    return [(name.removesuffix("_total"), labels, meaning) for name, labels, meaning in found]


def test_the_document_names_all_metrics_and_their_labels(memory: Redis) -> None:
    cursor = mark()
    memory.hset(Keys().archives, "vault", cursor)
    found = families_of(scraping(memory))
    labels = {
        name: {label for sample in family.samples for label in sample.labels} - {"le"}
        for name, family in found.items()
    }
    assert labels == {name: set(named) for name, named in documented().items()}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    assert group["name"] == "coord"
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def expressions() -> list[str]:
    targets = [target for panel in panels() for target in panel.get("targets", [])]
    return [rule["expr"] for rule in rules()] + [target["expr"] for target in targets]


def test_alerts_and_dashboard_ask_for_what_there_is(memory: Redis) -> None:
    memory.hset(Keys().archives, "vault", mark())
    samples = [s for f in families_of(scraping(memory)).values() for s in f.samples]
    names = {sample.name for sample in samples}
    values_of = {(s.name, label, value) for s in samples for label, value in s.labels.items()}
    labels = {label for sample in samples for label in sample.labels} | {"instance"}
    for expression in expressions():
        asked = set(re.findall(r"\bcoord_\w+", expression))
        assert asked, expression
        assert asked <= names, expression
        for name, selector in re.findall(r"(coord_\w+)\{(.*?)\}", expression):
            for label, value in re.findall(r'(\w+)="(.*?)"', selector):
                is_there = (label, value) == ("instance", "$instance")
                assert is_there or (name, label, value) in values_of, expression
        bare = re.sub(r'\{.*?\}|\[.*?\]|"[^"]*"', "", expression)
        words = set(re.findall(r"[a-z_]+", bare)) - asked - FUNCTIONS
        assert words <= labels, expression


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    alerts = rules()
    names = [alert["alert"] for alert in alerts]
    document = (DOCS / "monitoring.md").read_text()
    assert re.findall(r"^\| `(Coord\w+)` \|", document, re.M) == names
    for alert in alerts:
        assert alert.keys() - {"for"} == {"alert", "expr", "labels", "annotations"}, alert
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"].keys() == {"summary", "description"}
        assert re.fullmatch(r"\d+[sm]", alert.get("for", "1m"))
        shown = set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
        assert shown <= {"instance", "archive", "stream"}


def test_the_dashboard_has_what_grafana_needs() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert (dashboard["uid"], dashboard["id"]) == ("coord-fleet", None)
    assert dashboard["title"]
    assert dashboard["schemaVersion"] >= 36
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["instance"]["query"]["query"] == "label_values(coord_server_up, instance)"
    headings = [panel["title"] for panel in panels() if panel["type"] == "row"]
    assert headings == ["Fleet", "Traffic", "Work", "Quality", "Server and archives"]
    assert len({panel["id"] for panel in panels()}) == len(panels())
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        if panel["type"] != "row":
            assert panel["type"] in ("stat", "timeseries")
            assert panel["title"]
            assert panel["description"].endswith(".")
            assert panel["targets"]
            assert [target["datasource"] for target in panel["targets"]] == [source] * len(
                panel["targets"]
            )
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        across = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in across for y in range(place["y"], place["y"] + place["h"])}
        assert max(across) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_shows_all_metrics() -> None:
    asked = {name for text in expressions() for name in re.findall(r"\bcoord_\w+", text)}
    bare = {re.sub(r"_(total|bucket|count)$", "", name) for name in asked}
    assert bare == set(documented()) - {"coord_lease_seconds"}
