"""The Redis user of an AI: all that a trainer does works, and nothing else does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from redis import Redis

from coordinator.acl import (
    SharedUser,
    cut_off,
    default_is_open,
    rules,
    save_users,
    shared_users,
    user_of,
)
from coordinator.connection import connect, connection_name
from coordinator.errors import ServerUnusable
from coordinator.jobs import job_id
from coordinator.keys import Keys
from tests.acl_users import denials, url_as
from tests.clients import RealFleet, numbers_of, pattern
from tests.servers import RealKind, TestServer, wait_for
from tests.skills_for_tests import install
from tests.trainers import LEASE_S, Start, instance, patterns_of, started_trainers
from tests.units import Gates, Run

KEYS = Keys()
ME = "AI_1"
OTHER = "AI_10"
"""Its id begins like ours."""


@pytest.fixture(scope="module")
def server(real_kind: RealKind) -> Iterator[TestServer]:
    with TestServer(real_kind) as server:
        yield server


@pytest.fixture(scope="module")
def fleet(server: TestServer) -> Iterator[RealFleet]:
    with RealFleet(server.url, lease_s=LEASE_S) as fleet:
        yield fleet


@pytest.fixture
def start(
    server: TestServer, fleet: RealFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Trainers that are each a user of their own."""
    paths = [str(install(tmp_path / "skills")), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    with started_trainers(tmp_path, lambda ai: url_as(server, fleet.redis, ai)) as start:
        yield start


# -- what works ------------------------------------------------------------------------------------


@pytest.fixture
def unrefused(fleet: RealFleet) -> Iterator[None]:
    """Not one command was refused."""
    fleet.redis.acl_log_reset()
    yield
    assert denials(fleet.redis) == []


@pytest.mark.usefixtures("unrefused")
def test_a_client_does_all_that_it_can(server: TestServer, fleet: RealFleet, ai: str) -> None:
    other = f"{ai}0"
    as_ai, as_other = (url_as(server, fleet.redis, name) for name in (ai, other))
    with fleet.client(ai, url=as_ai) as one, fleet.client(other, url=as_other) as two:
        one.share_pattern(pattern(1))
        one.share_pattern(pattern(2), target_ai=other)
        one.confirm()
        two.confirm()
        received = [two.receive(timeout_s=10) for _ in range(3)]
        assert {1, 2} == set(numbers_of([message for message in received if message]))
        one.share_code({"id": "c", "name": "n", "code": "x"})
        one.share_component({"id": "k", "name": "n"})
        one.report("c", {"speed": 1.0})
        assert other in [item["ai_id"] for item in one.query("ais").items]
        for_one = two.put_artifact(b"for one", target_ai=ai)
        for_all = two.put_artifact(b"for all", share=True)
        two.confirm()
        assert one.get_artifact(other, for_one.sha256) == b"for one"
        assert one.get_artifact(other, for_all.sha256) == b"for all"
        asked = one.request_feature("undo")
        two.share_component({"id": "u", "name": "undo"}, feature_name="undo")
        session = one.collaborate("feature_development", target_ai=other)
        two.answer(session.session_id, True)
        two.put_workspace(session.session_id, "key", 1)
        two.confirm()
        states = {item["id"]: item["state"] for item in one.query("sessions").items}
        assert states[asked.session_id] == "completed"
        assert states[session.session_id] == "active"
        cursor = two.cursor
    with fleet.client(other, url=as_other, cursor=cursor) as again:
        again.confirm()


@pytest.mark.usefixtures("unrefused")
def test_a_trainer_trains_and_shares(fleet: RealFleet, start: Start, ai: str) -> None:
    trainer = start(ai, "file_system")
    wait_for(lambda: patterns_of(fleet, ai), 30, f"a pattern of {ai}; it said {trainer.said()}")
    named = {c["name"] for c in fleet.redis.client_list() if c["user"] == user_of(KEYS, ai)}
    assert named == {connection_name(ai)}
    trainer.process.terminate()
    assert trainer.process.wait(30) == 0, trainer.said()
    assert "Traceback" not in trainer.said()


@pytest.mark.usefixtures("unrefused")
@pytest.mark.one_server
def test_trainers_run_units_also_when_a_work_horse_is_killed(
    fleet: RealFleet, start: Start, ai: str, gates: Gates
) -> None:
    trainers = {name: start(name) for name in (ai, f"{ai}0")}
    for name, trainer in trainers.items():
        wait_for(lambda name=name: instance(fleet, name), what=trainer.said() or f"{name} to join")
    gates.open("g", 2)
    plan = [
        gates.unit("g"),
        {"name": "a", "kind": "share", "participant": 1},
        {"name": "b", "kind": "share", "participant": 2, "needs": ["a"]},
    ]
    run = Run(fleet, plan, partners=2)
    os.kill(gates.begun("g", 1).horse, signal.SIGKILL)
    run.wait_until_over()
    assert run.has_one_result_each(), run.units
    assert [attempt.outcome for attempt in run.units["g"].attempts] == ["failed", "completed"]
    assert "terminated unexpectedly" in run.units["g"].attempts[0].reason
    a, b = run.output("a"), run.output("b")
    assert {a["ai"], b["ai"]} == {*trainers}
    assert b["needed"] == ["of a"]
    assert b["of_need"] == [{"attempt": 1}]
    for trainer in trainers.values():
        assert "permission" not in trainer.said()


# -- what does not ---------------------------------------------------------------------------------


def hostile_commands() -> list[str]:
    """Each must be refused; ``{…}`` stands for a key."""
    others = {
        "inbox": KEYS.inbox(OTHER),
        "ingress": KEYS.ingress(OTHER),
        "artifact": KEYS.artifact(OTHER, "x"),
        "artifacts": KEYS.artifacts(OTHER),
        "receipt": KEYS.instance(OTHER, "i"),
        "queue": f"rq:queue:{KEYS.queue(OTHER)}",
        "aside": f"rq:queue:{KEYS.queue(OTHER)}:intermediate",
        "job": f"rq:job:{job_id(OTHER, 'u', 1)}",
        "result": f"rq:results:{job_id(OTHER, 'u', 1)}",
        "execution": f"rq:execution:{job_id(OTHER, 'u', 1)}:x",
        "executions": f"rq:executions:{job_id(OTHER, 'u', 1)}",
        "wip": f"rq:wip:{KEYS.queue(OTHER)}",
        "failed": f"rq:failed:{KEYS.queue(OTHER)}",
        "worker": f"rq:worker:{KEYS.queue(OTHER)}",
        "workers": f"rq:workers:{KEYS.queue(OTHER)}",
        "channel": KEYS.channel(OTHER),
        "orders": f"rq:pubsub:{KEYS.queue(OTHER)}",
    }
    own = {
        "my_inbox": KEYS.inbox(ME),
        "my_ingress": KEYS.ingress(ME),
        "my_queue": f"rq:queue:{KEYS.queue(ME)}",
        "my_job": f"rq:job:{job_id(ME, 'u', 1)}",
        "my_artifact": KEYS.artifact(ME, "x"),
        "my_artifacts": KEYS.artifacts(ME),
        "my_receipt": KEYS.instance(ME, "i"),
        "my_member": KEYS.member(ME),
        "my_credentials": KEYS.credentials(ME),
        "my_orders": f"rq:pubsub:{KEYS.queue(ME)}",
        "my_channel": KEYS.channel(ME),
    }
    shared = {
        "log": KEYS.log,
        "events": KEYS.events,
        "fleet": KEYS.fleet,
        "leader": KEYS.leader,
        "doors": KEYS.doors,
        "dead": KEYS.dead,
        "leases": KEYS.leases,
        "enrolled": KEYS.enrolled,
        "for_all": KEYS.artifact("", "x"),
        "unit": KEYS.unit("u"),
        "workspace": KEYS.workspace("s"),
        "session": KEYS.session("s"),
        "pattern": KEYS.record("pattern", "p"),
        "patterns": KEYS.records("pattern"),
        "gateway": KEYS.ingress("gw:1"),
        "operator": KEYS.ingress("operator"),
        "operator_inbox": KEYS.inbox("operator"),
        "broadcast": KEYS.broadcast_channel,
        "ai_record": KEYS.ai(ME),
    }
    return [line.format(**others, **own, **shared) for line in HOSTILE.split("\n") if line]


HOSTILE = """
XREAD STREAMS {inbox} 0
XREAD STREAMS {my_inbox} {inbox} 0 0
XRANGE {inbox} - +
XREVRANGE {inbox} + -
XLEN {inbox}
XADD {inbox} * a b
XDEL {inbox} 1-0
XTRIM {inbox} MAXLEN 0
XINFO STREAM {inbox}
XGROUP CREATE {inbox} g 0
DUMP {inbox}
COPY {inbox} {my_artifact}
RENAME {inbox} {my_inbox}
SORT {inbox}
SORT {my_queue} BY nosort GET {inbox}
SORT_RO {my_queue} BY nosort GET {job}->data
EXISTS {inbox}
TYPE {inbox}
OBJECT ENCODING {inbox}
DEL {inbox}
UNLINK {inbox}
EXPIRE {inbox} 1
TOUCH {inbox}
WATCH {inbox}
XADD {my_inbox} * a b
XDEL {my_inbox} 1-0
XTRIM {my_inbox} MAXLEN 0
DEL {my_inbox}
EXPIRE {my_inbox} 1
XADD {ingress} * a b
XRANGE {ingress} - +
DEL {ingress}
XADD {gateway} * a b
XADD {operator} * a b
XRANGE {operator_inbox} - +
XRANGE {my_ingress} - +
XREAD STREAMS {my_ingress} 0
XDEL {my_ingress} 1-0
DEL {my_ingress}
SADD {my_ingress} x
SMEMBERS {doors}
SCARD {doors}
SREM {doors} AI_10
SPOP {doors}
DEL {doors}
EXPIRE {doors} 1
XADD {doors} * a b
GET {receipt}
SET {receipt} 1
SET {my_receipt} 1
DEL {my_receipt}
GET {artifact}
SET {artifact} x
STRLEN {artifact}
DEL {artifact}
GETRANGE {artifact} 0 -1
SET {for_all} x
DEL {for_all}
HGETALL {artifacts}
HGETALL {my_artifacts}
HSET {my_artifacts} x y
RPUSH {queue} x
LPUSH {queue} x
LRANGE {queue} 0 -1
RPOP {queue}
LREM {queue} 0 x
LMOVE {queue} {my_queue} LEFT LEFT
LMOVE {my_queue} {queue} LEFT LEFT
BLMOVE {queue} {my_queue} LEFT LEFT 0.1
BLMOVE {my_queue} {queue} LEFT LEFT 0.1
DEL {queue}
LRANGE {aside} 0 -1
LREM {aside} 0 x
HGETALL {job}
HSET {job} data x
DEL {job}
EXPIRE {job} 1
DEL {my_job} {job}
XADD {result} * a b
XREVRANGE {result} + -
HSET {execution} a b
ZADD {executions} 1 x
ZADD {wip} 1 x
ZREM {wip} x
ZRANGE {failed} 0 -1
HSET {worker} state idle
HGETALL {worker}
DEL {worker}
SADD {workers} x
SMEMBERS rq:workers
DEL rq:workers
EXPIRE rq:workers 1
SADD rq:queues x
SREM rq:queues x
SMEMBERS rq:queues
SET rq:suspended 1
DEL rq:suspended
RPUSH rq:queue:default x
LPOP {my_queue}
RPUSH {my_queue} x
HGETALL {my_member}
HSET {my_member} access x
HGETALL {my_credentials}
HSET {my_credentials} k v
HGETALL coord:credentials:AI_10
HGETALL coord:member:AI_10
HSET {fleet} credentials_n 0
HINCRBY {fleet} credentials_n 1
DEL {fleet}
GET {leader}
SET {leader} me
DEL {leader}
EXPIRE {leader} 1
XADD {log} * a b
XTRIM {log} MAXLEN 0
XRANGE {events} - +
XADD {events} * a b
XRANGE {dead} - +
ZADD {leases} 1 AI_1
ZRANGE {leases} 0 -1
SMEMBERS {enrolled}
SADD {enrolled} AI_10
HSET {ai_record} role operator
HSET {unit} unit x
HSET {workspace} k v
HSET {session} session x
HSET {pattern} record x
ZADD {patterns} 1 x
ZREM {patterns} x
DEL {pattern}
SET other x
GET other
SUBSCRIBE {channel}
SUBSCRIBE {my_channel} {channel}
SUBSCRIBE {orders}
SUBSCRIBE *
PSUBSCRIBE *
PSUBSCRIBE {my_channel}
PSUBSCRIBE coord:to:AI_1*
SSUBSCRIBE {channel}
SSUBSCRIBE {my_channel}
PUBLISH {broadcast} x
PUBLISH {channel} x
PUBLISH {my_channel} x
PUBLISH {orders} x
PUBLISH {my_orders} x
SPUBLISH {my_channel} x
PUBSUB CHANNELS
PUBSUB NUMSUB {channel}
KEYS *
SCAN 0
SSCAN rq:workers 0
HSCAN {fleet} 0
RANDOMKEY
DBSIZE
EVAL return{{}} 0
EVAL_RO return{{}} 0
EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
FCALL f 0
FUNCTION LIST
FUNCTION LOAD x
SCRIPT LOAD return{{}}
SCRIPT FLUSH
CONFIG GET *
CONFIG SET maxmemory 1
CONFIG REWRITE
CONFIG RESETSTAT
ACL LIST
ACL USERS
ACL WHOAMI
ACL GETUSER default
ACL SETUSER coord:AI_1 +@all
ACL SETUSER coord:AI_10 nopass
ACL DELUSER coord:AI_10
ACL SAVE
ACL LOAD
ACL LOG
CLIENT LIST
CLIENT INFO
CLIENT ID
CLIENT KILL USER default
CLIENT PAUSE 1000
CLIENT TRACKING on
CLIENT UNBLOCK 1
CLIENT NO-EVICT on
CLIENT GETREDIR
CLIENT REPLY OFF
MONITOR
INFO
INFO server
COMMAND
COMMAND COUNT
MODULE LIST
REPLICAOF 127.0.0.1 1
SLAVEOF NO ONE
PSYNC ? -1
SYNC
FAILOVER
ROLE
CLUSTER INFO
MIGRATE 127.0.0.1 1 {my_artifact} 0 1
RESTORE {my_artifact} 0 x
DEBUG SLEEP 0
SHUTDOWN NOSAVE
SAVE
BGSAVE
BGREWRITEAOF
LASTSAVE
FLUSHALL
FLUSHDB
SWAPDB 0 1
SELECT 1
MOVE {my_artifact} 1
SLOWLOG GET
LATENCY LATEST
MEMORY STATS
WAIT 0 0
TIME
ECHO x
APPEND {my_artifact} x
SETRANGE {my_artifact} 536870911 x
PFADD {my_artifact} x
GEOADD {my_queue} 1 1 x
BITOP AND {my_artifact} {artifact}
SMOVE {doors} {my_queue} x
ZUNIONSTORE {my_queue} 1 {leases}
OBJECT FREQ {my_queue}
"""


@pytest.fixture
def filled(fleet: RealFleet) -> None:
    """What another has and is told, in the shapes in which the server keeps it."""
    with fleet.redis.pipeline() as pipe:
        pipe.xadd(KEYS.inbox(OTHER), {"message": "{}"}, id="1-0")
        pipe.xadd(KEYS.inbox(ME), {"message": "{}"}, id="1-0")
        pipe.set(KEYS.artifact(OTHER, "x"), "secret")
        pipe.set(KEYS.artifact("", "x"), "for all")
        pipe.set(KEYS.instance(OTHER, "i"), 5)
        pipe.rpush(f"rq:queue:{KEYS.queue(OTHER)}", "x")
        pipe.hset(f"rq:job:{job_id(OTHER, 'u', 1)}", "data", "secret")
        pipe.hset(f"rq:worker:{KEYS.queue(OTHER)}", "state", "busy")
        pipe.hset(KEYS.credentials(OTHER), "k", "{}")
        pipe.execute()


@pytest.fixture
def me(server: TestServer, fleet: RealFleet) -> Iterator[Redis]:
    with connect(url_as(server, fleet.redis, ME)) as me:
        yield me


def refused(connection: Redis, *command: str) -> bool:
    """Whether the server refuses it for want of permission, and not for another reason."""
    try:
        connection.execute_command(*command)
    except redis_py.exceptions.NoPermissionError:
        return True
    except redis_py.RedisError:
        return False
    return False


def test_all_else_is_refused(server: TestServer, fleet: RealFleet, filled: None, me: Redis) -> None:
    fleet.stop_coordinator()
    try:
        before = dump(fleet.redis)
        commands = hostile_commands()
        let_through = [line for line in commands if not refused(me, *line.split())]
        assert let_through == []
        assert len(commands) > 200
        assert dump(fleet.redis) == before
    finally:
        fleet.start_coordinator()


def dump(redis: Redis) -> dict[bytes, Any]:
    return {key: redis.dump(key) for key in redis.scan_iter(count=1000)}


def test_a_transaction_is_no_way_round(fleet: RealFleet, me: Redis) -> None:
    with me.pipeline() as pipe:
        pipe.xadd(KEYS.ingress(ME), {"body": "x"})
        pipe.xadd(KEYS.inbox(OTHER), {"message": "x"})
        with pytest.raises(redis_py.exceptions.NoPermissionError):
            pipe.execute()
    assert not any(fields == {b"message": b"x"} for _, fields in inbox(fleet.redis, OTHER))


def inbox(redis: Redis, ai: str) -> list[Any]:
    entries: Any = redis.xrange(KEYS.inbox(ai))
    return list(entries)


def test_what_is_ones_own_works_where_the_same_of_others_is_refused(me: Redis) -> None:
    """The names in HOSTILE are the right ones: the server does not refuse them for a slip."""
    assert not refused(me, "XADD", KEYS.ingress(ME), "*", "a", "b")
    assert not refused(me, "SADD", KEYS.doors, ME)
    for command in (
        ("XRANGE", KEYS.inbox(ME), "-", "+"),
        ("XREAD", "STREAMS", KEYS.inbox(ME), KEYS.log, "0", "0"),
        ("GET", KEYS.instance(ME, "i")),
        ("SET", KEYS.artifact(ME, "x"), "y"),
        ("GET", KEYS.artifact(ME, "x")),
        ("GET", KEYS.artifact("", "x")),
        ("LRANGE", f"rq:queue:{KEYS.queue(ME)}", "0", "-1"),
        ("LRANGE", f"rq:queue:{KEYS.queue(ME)}:intermediate", "0", "-1"),
        ("HGETALL", f"rq:job:{job_id(ME, 'u', 1)}"),
        ("XADD", f"rq:results:{job_id(ME, 'u', 1)}", "*", "a", "b"),
        ("HGETALL", f"rq:execution:{job_id(ME, 'u', 1)}:x"),
        ("ZRANGE", f"rq:executions:{job_id(ME, 'u', 1)}", "0", "-1"),
        ("ZRANGE", f"rq:wip:{KEYS.queue(ME)}", "0", "-1"),
        ("ZRANGE", f"rq:failed:{KEYS.queue(ME)}", "0", "-1"),
        ("HGETALL", f"rq:worker:{KEYS.queue(ME)}"),
        ("SMEMBERS", f"rq:workers:{KEYS.queue(ME)}"),
        ("SADD", "rq:workers", f"rq:worker:{KEYS.queue(ME)}"),
        ("EXISTS", "rq:suspended"),
        ("HGET", KEYS.fleet, "epoch"),
        ("ZREVRANGE", KEYS.records("pattern", "audio"), "0", "1"),
        ("HGETALL", KEYS.record("pattern", "p")),
        ("HGETALL", KEYS.workspace("s")),
        ("HMGET", KEYS.unit("u"), "unit"),
    ):
        me.execute_command(*command)
    with me.pubsub() as pubsub:
        pubsub.subscribe(KEYS.broadcast_channel, KEYS.channel(ME), f"rq:pubsub:{KEYS.queue(ME)}")


def test_another_namespace_is_another_fleet(server: TestServer, fleet: RealFleet) -> None:
    with connect(url_as(server, fleet.redis, ME)) as me:
        elsewhere = Keys("coord2")
        assert refused(me, "XADD", elsewhere.ingress(ME), "*", "a", "b")
        assert refused(me, "XRANGE", elsewhere.inbox(ME), "-", "+")
        assert refused(me, "LRANGE", f"rq:queue:{elsewhere.queue(ME)}", "0", "-1")


def test_with_the_login_of_another_one_is_told_how_to_have_its_own(
    server: TestServer, fleet: RealFleet, ai: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ServerUnusable, match=f"not {ai}'s own.*`coord acl {ai} --apply`"):
        fleet.client(ai, url=url_as(server, fleet.redis, OTHER)).connect()
    assert "Traceback" not in caplog.text


@pytest.mark.one_server
def test_a_trainer_with_the_login_of_another_says_so_and_ends(
    server: TestServer, fleet: RealFleet, ai: str, tmp_path: Path
) -> None:
    with started_trainers(tmp_path, lambda _: url_as(server, fleet.redis, OTHER)) as start:
        trainer = start(ai)
        assert trainer.process.wait(30) == 1, trainer.said()
    assert trainer.said().count(f"`coord acl {ai} --apply`") == 1
    assert "Traceback" not in trainer.said()


# -- revocation ------------------------------------------------------------------------------------


def test_who_is_cut_off_is_out_at_once(fleet: RealFleet, me: Redis, server: TestServer) -> None:
    with me.pubsub() as pubsub:
        pubsub.subscribe(KEYS.channel(ME))
        assert pubsub.get_message(timeout=5) is not None
        assert cut_off(fleet.redis, KEYS, ME) is True
        with pytest.raises(redis_py.ConnectionError):
            pubsub.connection.read_response()  # type: ignore[union-attr]
    with pytest.raises(redis_py.ConnectionError):
        me.ping()
    with pytest.raises(redis_py.AuthenticationError):
        me.ping()
    assert user_of(KEYS, ME) not in fleet.redis.acl_users()
    assert cut_off(fleet.redis, KEYS, ME) is False


def test_a_new_password_cuts_off_who_has_the_old_one(
    server: TestServer, fleet: RealFleet, me: Redis
) -> None:
    assert me.ping()
    with connect(url_as(server, fleet.redis, ME)) as again:
        with pytest.raises(redis_py.ConnectionError):
            me.ping()
        with pytest.raises(redis_py.AuthenticationError):
            me.ping()
        assert again.ping()


@pytest.mark.one_server
def test_a_trainer_that_is_cut_off_ends(fleet: RealFleet, start: Start, ai: str) -> None:
    trainer = start(ai)
    wait_for(lambda: instance(fleet, ai), what=trainer.said() or f"{ai} to join")
    assert cut_off(fleet.redis, KEYS, ai)
    assert trainer.process.wait(30) != 0
    assert "Traceback" not in trainer.said()
    wait_for(lambda: ai not in fleet.live(), what="its lease to end")


# -- the rules -------------------------------------------------------------------------------------


def test_the_rules_are_built_for_the_server() -> None:
    assert "+client|setinfo" not in rules(KEYS, ME, (7, 0))
    assert "+client|setinfo" in rules(KEYS, ME, (7, 2))
    assert "+select" not in rules(KEYS, ME, (7, 0))
    assert "+select" in rules(KEYS, ME, (7, 0), database=3)


def test_in_another_database_it_works_too(server: TestServer) -> None:
    with connect(f"{server.url}?db=3") as operator:
        with connect(f"{url_as(server, operator, ME)}?db=3") as me:
            me.xadd(KEYS.ingress(ME), {"a": "b"})
        assert operator.xlen(KEYS.ingress(ME)) == 1


def test_users_are_saved_where_the_server_has_a_file_for_them(
    start_server: Callable[..., TestServer], tmp_path: Path
) -> None:
    without = start_server()
    with without.client() as redis:
        assert save_users(redis) is False
    path = tmp_path / "users.acl"
    path.write_text("user default on nopass ~* &* +@all\n")
    server = start_server("--aclfile", str(path))
    with server.client() as redis:
        url = url_as(server, redis, ME)
        assert save_users(redis) is True
    server.restart()
    with connect(url) as me:
        assert me.ping()
    with server.client() as redis:
        assert cut_off(redis, KEYS, ME)
        save_users(redis)
    server.restart()
    with connect(url) as me, pytest.raises(redis_py.AuthenticationError):
        me.ping()


def test_who_is_not_a_user_of_its_own_is_seen(start_server: Callable[..., TestServer]) -> None:
    server = start_server()
    with server.client() as redis:
        assert default_is_open(redis)
        own = Redis.from_url(url_as(server, redis, ME), client_name=connection_name(ME))
        others = [
            Redis.from_url(server.url, client_name=name)
            for name in (connection_name("AI_2"), connection_name("AI_3"), "coord-coordinator")
        ]
        for connection in (own, *others):
            connection.ping()
        assert shared_users(redis, KEYS) == [SharedUser("default", ["AI_2", "AI_3"])]
        redis.execute_command("ACL SETUSER", "default", ">x")
        assert not default_is_open(redis)
        for connection in (own, *others):
            connection.close()
