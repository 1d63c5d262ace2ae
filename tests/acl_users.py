"""Redis users of AIs on a server under test."""

from __future__ import annotations

from urllib.parse import quote

from redis import Redis

from coordinator.acl import new_password, set_user, user_of
from coordinator.keys import Keys
from tests.servers import TestServer

KEYS = Keys()


def url_as(server: TestServer, redis: Redis, ai: str) -> str:
    """A new login of ``ai``, as a URL."""
    password = new_password()
    set_user(redis, KEYS, ai, password)
    return f"unix://{quote(user_of(KEYS, ai), '')}:{password}@{server.socket_path}"


def denials(redis: Redis) -> list[tuple[str, str]]:
    """What was refused to users since the log began: reason, and the command or key. RQ's own
    connection says who it is, which 7.0 cannot allow: that is left out."""
    found = [(entry["reason"], entry["object"]) for entry in redis.acl_log()]
    return [what for what in found if what != ("command", "client|setinfo")]
