"""The leader lease: who may write, and the fence that holds back whoever may no longer."""

from __future__ import annotations

from typing import cast

import redis
from redis.client import Pipeline

from coordinator.clock import Clock, Ids
from coordinator.errors import LeaseLost
from coordinator.keys import Keys


def holder_name(token: bytes) -> str:
    """Which coordinator a token is of: ``<name>/<random>``."""
    return token.decode(errors="replace").rpartition("/")[0]


class Lease:
    """A key that holds the active coordinator's token and expires when it is not renewed.

    The token changes at every take, so that a transaction of ours that was delayed on its way to
    the server is fenced off as surely as one of another coordinator. ``holder`` is the name of
    whoever held it when it was last tried.
    """

    def __init__(
        self,
        connection: redis.Redis,
        keys: Keys,
        name: str,
        lease_s: float,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._redis = connection
        self._key = keys.leader
        self._name = name
        self._lease_ms = int(lease_s * 1000)
        self._clock = clock
        self._ids = ids
        self._token: bytes | None = None
        self._renewed_s = 0.0
        self.holder: str | None = None

    def take(self) -> bool:
        """Hold the lease under a new token; False when another coordinator holds it.

        Any token of our own name is ours, also one that we never heard was taken.

        Raises redis.RedisError when the server does not answer.
        """
        token = f"{self._name}/{self._ids.new()}".encode()
        with self._redis.pipeline() as pipe:
            pipe.watch(self._key)
            holder = cast("bytes | None", pipe.get(self._key))
            self.holder = None if holder is None else holder_name(holder)
            if self.holder not in (None, self._name):
                self._token = None
                return False
            pipe.multi()
            pipe.set(self._key, token, px=self._lease_ms)
            try:
                pipe.execute()
            except redis.WatchError:
                return False
        self._token = token
        self._renewed_s = self._clock.elapsed_s()
        return True

    def fence(self, pipe: Pipeline) -> None:
        """Watch the lease on ``pipe``, so that its EXEC fails unless we still hold it then.

        Raises LeaseLost when we do not hold it now.
        """
        pipe.watch(self._key)
        if self._token is None or pipe.get(self._key) != self._token:
            raise LeaseLost("another coordinator holds the lease, or it ended")

    def renew_if_due(self) -> None:
        """Extend the lease once a quarter of it has passed. Only between transactions.

        A bare PEXPIRE passes at maxmemory, as no transaction does; it extends nothing once the key
        is gone, and another's lease by no more than that one would itself. Raises LeaseLost.
        """
        if self._clock.elapsed_s() - self._renewed_s < self._lease_ms / 4000:
            return
        with self._redis.pipeline() as pipe:
            self.fence(pipe)
            if not pipe.pexpire(self._key, self._lease_ms):
                raise LeaseLost("the lease ended before it was renewed")
        self._renewed_s = self._clock.elapsed_s()

    def release(self) -> None:
        """Give the lease up, if it is still ours, so that a standby need not wait for its end."""
        with self._redis.pipeline() as pipe:
            try:
                self.fence(pipe)
                pipe.multi()
                pipe.delete(self._key)
                pipe.execute()
            except (LeaseLost, redis.WatchError):
                pass
        self._token = None
