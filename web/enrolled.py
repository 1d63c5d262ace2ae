"""Who is enrolled, found by token: read again whenever an enrolment has changed."""

from __future__ import annotations

from threading import Lock

import redis

from coordinator.enrolled import find_enrolled
from coordinator.keys import Keys
from coordinator.stored import read_one


class Enrolled:
    """All credentials are read once a change, for the fleet counts those. What is found by it
    says whose a token may be; whether it is good is read each time."""

    def __init__(self, connection: redis.Redis, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._lock = Lock()
        self._is_known = False
        self._changes: bytes | None = None
        self._owners: dict[str, str] = {}

    def owner_of(self, digest: str) -> str | None:
        """Whose token has that digest. Raises RedisError."""
        with self._lock:
            self._refresh()
            return self._owners.get(digest)

    def _refresh(self) -> None:
        connection, keys = self._connection, self._keys
        changes = read_one(connection, "HGET", keys.fleet, "credentials_n")
        if self._is_known and changes == self._changes:
            return
        found = find_enrolled(connection, keys)
        self._owners = {one.digest: ai for ai, several in found.items() for one in several}
        self._changes, self._is_known = changes, True
