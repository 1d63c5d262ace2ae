"""The literal key strings: a change of one of them is a change of the schema."""

from __future__ import annotations

from coordinator.keys import Keys


def test_the_literal_keys() -> None:
    keys = Keys()
    assert {
        "leader": keys.leader,
        "standby": keys.standby,
        "fleet": keys.fleet,
        "totals": keys.totals,
        "doors": keys.doors,
        "gateways": keys.gateways,
        "gateway": keys.gateway("g1"),
        "log": keys.log,
        "events": keys.events,
        "dead": keys.dead,
        "leases": keys.leases,
        "broadcast_channel": keys.broadcast_channel,
        "ingress": keys.ingress("AI_1"),
        "instance": keys.instance("AI_1", "host.1.a"),
        "seen": keys.seen("AI_1", "host.1.a"),
        "inbox": keys.inbox("AI_1"),
        "ai": keys.ai("AI_1"),
        "member": keys.member("AI_1"),
        "credentials": keys.credentials("AI_1"),
        "capability": keys.capability("encryption"),
        "specialization": keys.specialization("audio"),
        "pattern": keys.record("pattern", "p"),
        "component": keys.record("component", "c"),
        "feature": keys.record("feature", "f"),
        "patterns": keys.records("pattern"),
        "components": keys.records("component"),
        "features of": keys.records("feature", "audio"),
        "benchmarks": keys.benchmarks("c"),
        "sessions": keys.sessions,
        "session": keys.session("s"),
        "unit": keys.unit("s-1"),
        "workspace": keys.workspace("s"),
        "artifact": keys.artifact("AI_1", "ab12"),
        "artifacts": keys.artifacts("AI_1"),
        "channel": keys.channel("AI_1"),
        "queue": keys.queue("AI_1"),
    } == {
        "leader": "coord:leader",
        "standby": "coord:standby",
        "fleet": "coord:fleet",
        "totals": "coord:totals",
        "doors": "coord:doors",
        "gateways": "coord:gateways",
        "gateway": "coord:gateway:g1",
        "log": "coord:log",
        "events": "coord:events",
        "dead": "coord:dead",
        "leases": "coord:leases",
        "broadcast_channel": "coord:broadcast",
        "ingress": "coord:ingress:AI_1",
        "instance": "coord:instance:AI_1/host.1.a",
        "seen": "coord:seen:AI_1/host.1.a",
        "inbox": "coord:inbox:AI_1",
        "ai": "coord:ai:AI_1",
        "member": "coord:member:AI_1",
        "credentials": "coord:credentials:AI_1",
        "capability": "coord:capability:encryption",
        "specialization": "coord:specialization:audio",
        "pattern": "coord:pattern:p",
        "component": "coord:component:c",
        "feature": "coord:feature:f",
        "patterns": "coord:patterns",
        "components": "coord:components",
        "features of": "coord:features:audio",
        "benchmarks": "coord:benchmarks:c",
        "sessions": "coord:sessions",
        "session": "coord:session:s",
        "unit": "coord:unit:s-1",
        "workspace": "coord:workspace:s",
        "artifact": "coord:artifact:AI_1:ab12",
        "artifacts": "coord:artifacts:AI_1",
        "channel": "coord:to:AI_1",
        "queue": "coord.ai.AI_1",
    }


def test_two_namespaces_share_nothing() -> None:
    one, other = vars(Keys("one")), vars(Keys("other"))
    assert not set(one.values()) & set(other.values())
    assert {name: value.replace("one", "other", 1) for name, value in one.items()} == other
