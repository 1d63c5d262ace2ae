"""The Redis user of an AI: what it may do on the server, and nothing else.

With it the key that an AI may write is its identity. An ACL bounds no sizes: what the coordinator
reads of an ingress is bounded by the coordinator.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import NamedTuple, cast

import redis
from rq import Queue
from rq.command import PUBSUB_CHANNEL_TEMPLATE
from rq.executions import Execution, ExecutionRegistry
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.suspension import WORKERS_SUSPENDED
from rq.worker import Worker
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from coordinator.connection import connection_name
from coordinator.enrolled import read_access
from coordinator.jobs import job_prefix
from coordinator.keys import KINDS, Keys
from coordinator.payloads import Role
from coordinator.validation.jobs import VALIDATION_PREFIX

_SETINFO_MIN = (7, 2)
_NOT_CONNECTED = redis.Redis()
"""RQ's classes want a connection; only the names of keys are asked of them."""

_READ_COMMANDS = (
    *("get", "hget", "hmget", "hgetall", "zcard", "zcount", "zrevrange", "zrevrank"),
    *("xlen", "xrange", "xread", "xrevrange"),
)
_RQ_COMMANDS = (
    *("blmove", "del", "exists", "expire", "get", "lmove", "lrange", "lrem", "persist", "rpop"),
    *("hdel", "hexists", "hget", "hgetall", "hincrby", "hincrbyfloat", "hset", "set"),
    *("sadd", "smembers", "srem", "watch", "xadd", "xrevrange"),
    *("zadd", "zrange", "zrangebyscore", "zrem", "zremrangebyscore"),
)
"""What RQ's worker does with the keys of its own queue and of its own jobs."""


class Work(NamedTuple):
    """What of RQ is an AI's: the queue that it takes from, what the ids of its jobs begin with, and
    what its worker is called."""

    queue: str
    jobs: str
    worker: str


class SharedUser(NamedTuple):
    """A user of the server that is not an AI's own, and the AIs that are it."""

    user: str
    ais: list[str]


# -- what a user may do ----------------------------------------------------------------------------


def user_of(keys: Keys, ai: str) -> str:
    return f"{keys.namespace}:{ai}"


def new_password() -> str:
    return secrets.token_urlsafe(32)


def rules(
    keys: Keys,
    ai: str,
    server_version: tuple[int, ...],
    database: int = 0,
    role: Role = "trainer",
) -> list[str]:
    """What ACL SETUSER lets the user of ``ai`` do. Its password is not among them.

    A validator works on the queue that all validators share, and has none of its own.
    No id of an AI has a ``*``, ``?``, ``[`` or ``:`` in it, so none widens a pattern, and none that
    begins like another meets the other's.
    """
    work = _work_of(keys, ai, role)
    channels = [keys.broadcast_channel, keys.channel(ai), PUBSUB_CHANNEL_TEMPLATE % work.worker]
    commands = ["ping", "subscribe", "unsubscribe", "multi", "exec", "discard", "unwatch"]
    commands.append("client|setname")
    if server_version >= _SETINFO_MIN:  # an unknown command is an error
        commands.append("client|setinfo")
    if database:
        commands.append("select")
    return [
        *("reset", "on", "resetchannels", *(f"&{channel}" for channel in channels)),
        *("-@all", *(f"+{command}" for command in commands)),
        _selector("%R~", _readable(keys, ai), _READ_COMMANDS),
        *(_of_validators(keys, ai) if role == "validator" else []),
        _selector("%W~", [keys.ingress(ai)], ["xadd"]),
        _selector("%W~", [keys.doors], ["sadd"]),
        _selector("%RW~", [keys.artifact(ai, "*")], ["exists", "get", "set", "strlen"]),
        _selector("%RW~", _rq_keys(work), _RQ_COMMANDS),
        _selector("%W~", [REDIS_WORKER_KEYS], ["sadd", "srem"]),
        _selector("%R~", [WORKERS_SUSPENDED], ["exists"]),
    ]


def _selector(access: str, patterns: list[str], commands: list[str] | tuple[str, ...]) -> str:
    """These commands on these keys, and on no others."""
    parts = [f"{access}{pattern}" for pattern in patterns]
    return f"({' '.join(parts)} {' '.join(f'+{command}' for command in commands)})"


def _readable(keys: Keys, ai: str) -> list[str]:
    """What is sent to it and to all, and what the fleet knows and works on together."""
    knowledge = [
        key
        for kind in KINDS
        for key in (
            *(keys.record(kind, "*"), keys.derived(kind, "*")),
            *(keys.records(kind), keys.records(kind, "*")),
        )
    ]
    return [
        *(keys.fleet, keys.log, keys.inbox(ai), keys.instance(ai, "*"), keys.artifact("", "*")),
        *(*knowledge, keys.unit("*"), keys.workspace("*")),
    ]


def _of_validators(keys: Keys, ai: str) -> list[str]:
    """A validator looks up whether it was enrolled as one, and which of the others are gone."""
    others = f"{Worker.redis_worker_namespace_prefix}{keys.validator('*')}"
    return [
        _selector("%R~", [keys.member(ai)], ["hget"]),
        _selector("%R~", [others], ["exists"]),
    ]


def _work_of(keys: Keys, ai: str, role: Role) -> Work:
    if role == "validator":
        return Work(keys.validation_queue, VALIDATION_PREFIX, keys.validator(ai))
    return Work(keys.queue(ai), job_prefix(ai), keys.queue(ai))


def _rq_keys(work: Work) -> list[str]:
    queue = Queue(work.queue, connection=_NOT_CONNECTED, serializer=JSONSerializer)
    jobs = f"{work.jobs}*"
    registries = (StartedJobRegistry, FinishedJobRegistry, FailedJobRegistry)
    return [
        *(queue.key, f"{queue.key}:*"),
        *(registry.key_template.format(queue.name) for registry in registries),
        f"{Worker.redis_worker_namespace_prefix}{work.worker}",
        WORKERS_BY_QUEUE_KEY % queue.name,
        *(Job.key_for(jobs), Job.key_for(f":{jobs}"), Result.get_key(jobs)),
        ExecutionRegistry.key_template.format(jobs),
        Execution("*", jobs, _NOT_CONNECTED).key,
    ]


# -- on the server ---------------------------------------------------------------------------------

UNSAVED = (
    "the server has no file for its users, and forgets this change when it is restarted: start it"
    " with `aclfile`, or run `CONFIG REWRITE` if it has a configuration file"
)
"""What is said where ``save_users`` could not."""


def read_rules(connection: redis.Redis, keys: Keys, ai: str) -> list[str]:
    """``rules`` for this server, in the form that it knows, for this database, and for what ``ai``
    was enrolled as."""
    # Valkey tells the version of the Redis that it is like.
    version = str(connection.info("server")["redis_version"])
    numbers = tuple(int(number) for number in version.split(".")[:2])
    options = connection.connection_pool.connection_kwargs
    access = read_access(connection, keys, ai)
    return rules(keys, ai, numbers, options.get("db") or 0, access.role if access else "trainer")


def set_user(connection: redis.Redis, keys: Keys, ai: str, password: str) -> None:
    """Make the user of ``ai``, or make it anew: whoever is connected as it is cut off.

    It is for ``save_users`` to keep it. ``password`` must be random, for the server keeps an
    unsalted digest of it.
    """
    digest = hashlib.sha256(password.encode()).hexdigest()
    user, may = user_of(keys, ai), read_rules(connection, keys, ai)
    connection.execute_command("ACL SETUSER", user, *may, f"#{digest}")
    connection.execute_command("CLIENT KILL", "USER", user)


def cut_off(connection: redis.Redis, keys: Keys, ai: str) -> bool:
    """Remove the user of ``ai`` and close its connections; whether there was one.

    It is for ``save_users`` to keep it so.
    """
    return bool(connection.execute_command("ACL DELUSER", user_of(keys, ai)))


def save_users(connection: redis.Redis) -> bool:
    """Have the server keep its users for its next start; False if it has no file for them."""
    try:
        connection.execute_command("ACL SAVE")
    except redis.ResponseError as error:
        if "not configured to use an ACL file" not in str(error):
            raise
        return False
    return True


def default_is_open(connection: redis.Redis) -> bool:
    """Whether whoever reaches the server may act without a password."""
    default = cast("dict[str, list[str]]", connection.acl_getuser("default"))
    return {"on", "nopass"} <= set(default["flags"])


def shared_users(connection: redis.Redis, keys: Keys) -> list[SharedUser]:
    """The users of AIs that are connected now, save those that are an AI's own."""
    users: dict[str, set[str]] = {}
    prefix = connection_name("")
    for client in connection.client_list():
        if client["name"].startswith(prefix):
            ai = client["name"].removeprefix(prefix)
            if client["user"] != user_of(keys, ai):
                users.setdefault(client["user"], set()).add(ai)
    return [SharedUser(user, sorted(ais)) for user, ais in sorted(users.items())]
