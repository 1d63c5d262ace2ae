"""A fleet under test: time and ids held in hand, a coordinator, and readers of all it wrote."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

import redis

from coordinator.clock import SystemClock, iso
from coordinator.coordinator import Coordinator
from coordinator.doors import gateway_door
from coordinator.fleet import Fleet
from coordinator.jobs import job_id
from coordinator.keys import Keys
from coordinator.messages import GATEWAY
from coordinator.settings import Settings
from coordinator.state import read_fleet

BEGINNING_MS = 1_750_000_000_000
SLOW_LEASE_S = 600.0
"""The server's clock cannot be held: in tests of logic the leader lease outlasts the test."""


class ManualClock:
    """Both clocks, moved by hand: ``step_wall`` moves the wall clock alone."""

    def __init__(self) -> None:
        self.wall_ms = BEGINNING_MS
        self.steady_s = 1000.0

    def now_ms(self) -> int:
        return self.wall_ms

    def elapsed_s(self) -> float:
        return self.steady_s

    def advance(self, seconds: float) -> None:
        self.steady_s += seconds
        self.wall_ms += int(seconds * 1000)

    def step_wall(self, seconds: float) -> None:
        self.wall_ms += int(seconds * 1000)


class CatchingUpClock(SystemClock):
    """One that is ``behind_s`` behind, by less whenever time is passed: in the end it says what
    others do."""

    def __init__(self, behind_s: float) -> None:
        self.behind_s = behind_s

    def now_ms(self) -> int:
        return super().now_ms() - round(self.behind_s * 1000)

    def elapsed_s(self) -> float:
        return super().elapsed_s() - self.behind_s

    def advance(self, seconds: float) -> None:
        self.behind_s = max(0.0, self.behind_s - seconds)


class CountingIds:
    """Ids in the order of their making; they differ in every part, for parts make epochs."""

    def __init__(self) -> None:
        self.made = 0

    def new(self) -> str:
        self.made += 1
        return f"{self.made:08d}" * 4


class FleetUnderTest:
    """A coordinator on ``connection``, and clients that write to it as clients do.

    ``say`` numbers the messages of each AI and instance; ``run`` has the coordinator take them.
    """

    def __init__(
        self,
        connection: redis.Redis,
        *,
        clock: Any = None,
        namespace: str = "coord",
        **settings: Any,
    ) -> None:
        self.redis = connection
        self.keys = Keys(namespace)
        self.clock: Any = clock or ManualClock()
        self.ids = CountingIds()
        self.run_id = "run-1"
        self.settings = Settings(
            namespace=namespace, **{"leader_lease_s": SLOW_LEASE_S, **settings}
        )
        self.numbers: dict[tuple[str, str], int] = {}
        self.coordinator = self.another("coordinator-1")

    def another(self, name: str, connection: redis.Redis | None = None) -> Coordinator:
        """A further coordinator of the same fleet; ``self.coordinator`` stays what it is."""
        return Coordinator(
            connection or self.redis, self.settings, self.clock, self.ids, name, lambda: self.run_id
        )

    # -- clients ---------------------------------------------------------------------------------

    def say(
        self,
        ai: str,
        message_type: str,
        payload: Mapping[str, Any] | None = None,
        target: str | None = None,
        *,
        instance: str = "",
        n: int | None = None,
        message_id: str = "",
        gateway: str = "",
        is_numbered: bool = True,
    ) -> str:
        """Write a message as a client does, or as the ``gateway`` does that it came by; its
        message_id, ``<ai>-<n>`` if none is given."""
        instance = instance or f"{ai}.1"
        if n is None:
            n = self.numbers.get((ai, instance), 0) + 1
        self.numbers[ai, instance] = n
        message_id = message_id or f"{ai}-{n}"
        body = envelope(message_id, ai, message_type, payload, target)
        number = {"n": n} if is_numbered else {}
        guest = {"ai": ai} if gateway else {}
        door = gateway_door(gateway) if gateway else ai
        self.write(door, body, instance=instance, **number, **guest)
        return message_id

    def gateway_says(
        self, gateway: str, message_type: str, payload: Mapping[str, Any] | None = None
    ) -> None:
        """Write a message of a gateway's own."""
        n = self.numbers[GATEWAY, gateway] = self.numbers.get((GATEWAY, gateway), 0) + 1
        body = envelope(f"{gateway}-{n}", GATEWAY, message_type, payload)
        self.write(gateway_door(gateway), body, instance=gateway, n=n)

    def write(self, door: str, body: str | bytes, **fields: Any) -> None:
        """Write any entry at all; the fields but ``body`` are left out unless given."""
        entry = cast(Any, {"body": body, **fields})
        self.redis.xadd(self.keys.ingress(door), entry)
        self.redis.sadd(self.keys.doors, door)

    def join(self, *ais: str, gateway: str = "", **payload: Any) -> None:
        """Have ``ais`` say hello one after the other."""
        for ai in ais:
            self.say(ai, "hello", payload, gateway=gateway)
            self.run()

    def share_pattern(self, ai: str, *ids: str, **own: Any) -> None:
        """Have ``ai`` share patterns, each with what else is given."""
        for pattern_id in ids:
            self.say(ai, "pattern_share", {"pattern": {"id": pattern_id, **own}})
        self.run()

    def bury(self, letter_id: str = "5-1", **changed: Any) -> str:
        """Have a message that nobody could take among the dead letters; the letter's id."""
        letter: Any = {"door": "AI_1", "owner": "AI_1", "instance": "AI_1.1", "n": 1}
        letter |= {"ms": self.clock.now_ms(), "error": "KeyError: 'x'"}
        letter |= {"body": envelope("m", "AI_1", "heartbeat"), **changed}
        self.redis.xadd(self.keys.dead, letter, id=letter_id)
        return letter_id

    def order(self, message_type: str, **payload: Any) -> None:
        """Have the operator say that."""
        self.say("operator", message_type, payload)
        self.run()

    def enroll(self, ai: str, key_id: str = "key00001", **payload: Any) -> None:
        """Have the operator let ``ai`` in by a token."""
        self.order("enroll", ai=ai, key_id=key_id, digest=digest_of(key_id), **payload)

    def ask(self, ai: str, **payload: Any) -> str:
        """Have ``ai`` ask for a collaboration; the session's id."""
        self.say(ai, "collaboration_request", {"type": "feature_development", **payload})
        self.run()
        return str(self.told(ai, "collaboration_update")[-1]["session_id"])

    def answer(self, ai: str, session_id: str, accept: bool = True, **payload: Any) -> None:
        """Have ``ai`` say yes or no to a collaboration."""
        answer = {"session_id": session_id, "accept": accept, **payload}
        self.say(ai, "collaboration_response", answer)
        self.run()

    def collaborate(self, initiator: str, *others: str, **payload: Any) -> str:
        """A collaboration that ``others`` said yes to, and which so begins; the session's id."""
        session_id = self.ask(initiator, participants=1 + len(others), **payload)
        for ai in others:
            self.answer(ai, session_id)
        return session_id

    def request_feature(self, ai: str, feature: str, **requirements: Any) -> str:
        """Have ``ai`` ask for a feature; the request's id."""
        payload = {"feature": feature, "requirements": requirements}
        self.say(ai, "feature_request", payload)
        self.run()
        return str(self.told(ai, "feature_update")[-1]["request_id"])

    def report(self, unit_id: str, outcome: str = "completed", **payload: Any) -> None:
        """Have whoever has the unit say how its present attempt goes, or ended."""
        unit = self.unit(unit_id)
        attempt = {"session_id": unit["session_id"], "unit_id": unit_id}
        attempt |= {"attempt": len(unit["attempts"]), "outcome": outcome}
        self.say(unit["attempts"][-1]["ai"], "work_result", {**attempt, **payload})
        self.run()

    def judge(
        self, validator: str, record_id: str, kind: Any = "component", **verdict: Any
    ) -> None:
        """Have a work-horse of ``validator`` bring back a verdict on the record as it is."""
        record = self.record(kind, record_id)
        attempt = json.loads(record.get("validating", "{}")).get("attempt", 1)
        result = {"kind": kind, "component_id": record_id, "hash": record.get("hash", "0" * 64)}
        result |= {"attempt": attempt, "verdict": "failed", "problem": "sound", **verdict}
        self.say(validator, "validation_result", result, instance=f"{validator}.1/{record_id}")
        self.run()

    def pass_time(self, seconds: float) -> None:
        """Let time go by, and the coordinator do what that brings."""
        self.clock.advance(seconds)
        self.run()

    # -- the coordinator -------------------------------------------------------------------------

    def run(self) -> int:
        """Step until quiet; how many messages were committed."""
        committed = 0
        quiet = 0
        for _ in range(10_000):
            if not self.coordinator.active and not self.coordinator.take_over():
                raise AssertionError("another coordinator holds the lease")
            taken = self.coordinator.step()
            committed += taken
            quiet = 0 if taken or not self.coordinator.active or self._waiting() else quiet + 1
            if quiet == 2:
                return committed
        raise AssertionError(f"never quiet; {committed} messages were committed")

    def _waiting(self) -> bool:
        doors = cast("set[bytes]", self.redis.smembers(self.keys.doors))
        with self.redis.pipeline(transaction=False) as pipe:
            for door in doors:
                pipe.xlen(self.keys.ingress(door.decode()))
            return any(pipe.execute())

    def replace_coordinator(self, name: str) -> None:
        """The active one is gone without a word, as after a crash whose lease has ended."""
        self.redis.delete(self.keys.leader)
        self.coordinator = self.another(name)
        assert self.coordinator.take_over()

    def check_memory(self) -> None:
        """What the coordinator holds is what Redis has."""
        held = self.coordinator._fleet
        fresh = read_fleet(self.redis, self.keys, self.settings, self.clock, lambda: None)
        for name in ("contributors", "origins", "judged"):
            loaded = getattr(held, name)
            assert loaded == {key: getattr(fresh, name)[key] for key in loaded}, name
        for name in ("waiting", "jobless", "evaluators", "log", "events"):
            assert getattr(held, name) == getattr(fresh, name), name
        assert _of_sessions(held) == _of_sessions(fresh)
        for ai, member in held.members.items():
            known = fresh.members[ai]
            known.checked_bytes = member.checked_bytes
            assert member == known, ai

    # -- what it wrote ---------------------------------------------------------------------------

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(fields["message"]) for _, fields in self.stream(self.keys.log)]

    def inbox(self, ai: str) -> list[dict[str, Any]]:
        return [json.loads(fields["message"]) for _, fields in self.stream(self.keys.inbox(ai))]

    def events(self) -> list[dict[str, Any]]:
        return [
            {
                "kind": fields["kind"],
                "ai": fields["ai"],
                "text": fields["text"],
                "data": json.loads(fields["data"]),
            }
            for _, fields in self.stream(self.keys.events)
        ]

    def error(self, ai: str) -> dict[str, Any]:
        """The payload of the last message to ``ai``, which must be an error."""
        message = self.inbox(ai)[-1]
        assert message["message_type"] == "error", message
        return cast("dict[str, Any]", message["payload"])

    def sync(self, ai: str) -> dict[str, Any]:
        """The payload of the last message to ``ai``, which must be a training_sync."""
        message = self.inbox(ai)[-1]
        assert message["message_type"] == "training_sync", message
        return cast("dict[str, Any]", message["payload"])

    def stream(self, key: str) -> list[tuple[str, dict[str, str]]]:
        entries = cast("list[Any]", self.redis.xrange(key))
        return [(entry_id.decode(), _text_of(fields)) for entry_id, fields in entries]

    def record(self, kind: Any, record_id: str) -> dict[str, str]:
        stored = cast("dict[bytes, bytes]", self.redis.hgetall(self.keys.record(kind, record_id)))
        return _text_of(stored)

    def ids_in(self, kind: Any, specialization: str | None = None) -> list[str]:
        """Ids in an index, oldest first."""
        index = self.keys.records(kind, specialization)
        return [member.decode() for member in cast("list[bytes]", self.redis.zrange(index, 0, -1))]

    def session(self, session_id: str) -> dict[str, Any]:
        """The stored record of a session."""
        stored = cast(bytes, self.redis.hget(self.keys.session(session_id), "session"))
        return cast("dict[str, Any]", json.loads(stored))

    def unit(self, unit_id: str) -> dict[str, Any]:
        """The stored record of a unit."""
        stored = cast(bytes, self.redis.hget(self.keys.unit(unit_id), "unit"))
        return cast("dict[str, Any]", json.loads(stored))

    def queue(self, ai: str) -> list[str]:
        """The ids of the jobs in an AI's queue."""
        name = f"rq:queue:{self.keys.queue(ai)}"
        return [job.decode() for job in cast("list[bytes]", self.redis.lrange(name, 0, -1))]

    def job(self, unit_id: str) -> str:
        """The id of the job of a unit's present attempt."""
        attempts = self.unit(unit_id)["attempts"]
        return job_id(attempts[-1]["ai"], unit_id, len(attempts))

    def excluded(self) -> str:
        """Whom the last broadcast is not meant for."""
        return self.stream(self.keys.log)[-1][1]["exclude"]

    def told(self, ai: str, message_type: str) -> list[dict[str, Any]]:
        """The payloads of the messages of that type in an inbox."""
        return [m["payload"] for m in self.inbox(ai) if m["message_type"] == message_type]

    def live(self) -> list[str]:
        names = cast("list[bytes]", self.redis.zrange(self.keys.leases, 0, -1))
        return sorted(name.decode() for name in names)

    def state(self) -> dict[str, Any]:
        """Every key of the server and all it holds, with whether it expires; without the lease, and
        what the coordinator tells of itself."""
        return dump(self.redis, without={self.keys.leader, self.keys.metrics})


def _of_sessions(fleet: Fleet) -> list[str]:
    sessions = [session.to_json() for session in fleet.sessions.values()]
    return sorted([*sessions, *(unit.to_json() for unit in fleet.units.values())])


def python(record_id: str, code: str = "x = 1", **own: Any) -> dict[str, Any]:
    """A component that can be validated."""
    return {"id": record_id, "language": "python", "code": code, **own}


def digest_of(key_id: str) -> str:
    """What stands for the digest of a token here."""
    return hashlib.sha256(key_id.encode()).hexdigest()


class Stop(threading.Event):
    """Set once ``done`` says so; waiting moves no clock, and takes no time."""

    def __init__(self, done: Callable[[], bool], rounds: int = 2000) -> None:
        super().__init__()
        self._done = done
        self._rounds = rounds

    def is_set(self) -> bool:
        self._rounds -= 1
        assert self._rounds, "it was never done"
        return self._done()

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class Pushes:
    """All that the channels of a fleet carry from now on."""

    def __init__(self, connection: redis.Redis, keys: Keys) -> None:
        self._redis = connection
        self._end = f"{keys.namespace}:end-of-test"
        self._pubsub = connection.pubsub(ignore_subscribe_messages=False)
        self._pubsub.psubscribe(f"{keys.namespace}:*")
        assert self._pubsub.get_message(timeout=5) is not None

    def all(self) -> list[tuple[str, dict[str, Any]]]:
        """Channel and push of all that came since the last call."""
        self._redis.publish(self._end, "")
        came = []
        while (message := self._pubsub.get_message(timeout=5)) is not None:
            channel = message["channel"].decode()
            if channel == self._end:
                return came
            came.append((channel, json.loads(message["data"])))
        raise AssertionError("a push of our own did not arrive")

    def close(self) -> None:
        self._pubsub.close()


def envelope(
    message_id: str,
    sender: str,
    message_type: str,
    payload: Mapping[str, Any] | None = None,
    target: str | None = None,
) -> str:
    """A message as clients encode it."""
    return json.dumps(
        {
            "message_id": message_id,
            "sender_id": sender,
            "message_type": message_type,
            "timestamp": iso(BEGINNING_MS),
            "payload": payload or {},
            "target_ai": target,
        }
    )


def dump(connection: redis.Redis, without: set[str] | None = None) -> dict[str, Any]:
    """Every key but ``without``: what it holds, and whether it expires."""
    names = sorted(key.decode() for key in cast("list[bytes]", connection.keys("*")))
    names = [name for name in names if name not in (without or set())]
    with connection.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.type(name)
            pipe.pttl(name)
        told = pipe.execute()
        kinds, left_ms = told[::2], told[1::2]
        for name, kind in zip(names, kinds, strict=True):
            _read(pipe, name, kind)
        values = pipe.execute()
    return {
        name: (_value(kind, value), "expires" if left >= 0 else "stays")
        for name, kind, value, left in zip(names, kinds, values, left_ms, strict=True)
    }


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """The keys that are not the same in both dumps, but for where log and events have come to, and
    what the coordinator tells of itself."""
    names = (before.keys() | after.keys()) - {"coord:fleet", "coord:metrics"}
    return {name for name in names if before.get(name) != after.get(name)}


def _read(pipe: Any, name: str, kind: bytes) -> None:
    match kind:
        case b"string":
            pipe.get(name)
        case b"hash":
            pipe.hgetall(name)
        case b"set":
            pipe.smembers(name)
        case b"list":
            pipe.lrange(name, 0, -1)
        case b"zset":
            pipe.zrange(name, 0, -1, withscores=True)
        case b"stream":
            pipe.xrange(name)
        case _:
            raise AssertionError(f"{name!r} is a {kind!r}, which no fleet writes")


def _value(kind: bytes, value: Any) -> Any:
    match kind:
        case b"string":
            return value.decode()
        case b"hash":
            return _text_of(value)
        case b"set":
            return {member.decode() for member in value}
        case b"list":
            return [member.decode() for member in value]
        case b"zset":
            return {member.decode(): score for member, score in value}
    return [(entry_id.decode(), _text_of(fields)) for entry_id, fields in value]


def _text_of(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
