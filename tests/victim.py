"""A coordinator in a process of its own that ends itself by SIGKILL at a chosen moment.

    python -m tests.victim SOCKET NAME PHASE NTH

PHASE is one of ``PHASES``, or "never". NTH counts batches with messages in them, from 1.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from coordinator import coordinator as coordinator_module
from coordinator.clock import RandomIds, SystemClock
from coordinator.coordinator import Coordinator
from coordinator.settings import Settings

PHASES = ("after the read", "before EXEC", "EXEC sent", "after")
LEADER_LEASE_S = 0.5


class Victim:
    """Counts batches, and strikes in the phase chosen for the last."""

    def __init__(self, phase: str, nth: int) -> None:
        self.phase = phase
        self.left = nth

    def strike(self, phase: str) -> None:
        if phase != self.phase:
            return
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def client(self, path: str) -> redis.Redis:
        pool = redis.ConnectionPool(
            connection_class=_WatchedConnection,
            path=path,
            victim=self,
            protocol=2,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
        )
        return redis.Redis(connection_pool=pool)


class _WatchedConnection(redis.UnixDomainSocketConnection):
    def __init__(self, victim: Victim, **options: Any) -> None:
        super().__init__(**options)
        self._victim = victim

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        data = command if isinstance(command, bytes) else b"".join(command)
        commits = b"\r\nEXEC\r\n" in data and b"\r\nXDEL\r\n" in data
        if commits:
            self._victim.strike("before EXEC")
        super().send_packed_command(command, check_health)
        if commits:
            self._victim.strike("EXEC sent")


def run(path: str, name: str, phase: str, nth: int) -> None:
    victim = Victim(phase, nth)
    read, commit = Coordinator._commit_entries, coordinator_module.commit

    def after_the_read(self: Coordinator, entries: Any) -> int:
        if entries:
            victim.strike("after the read")
        return read(self, entries)

    def after(connection: Any, lease: Any, commands: Any) -> None:
        written = list(commands)
        commit(connection, lease, written)
        if any(command[0] == "XDEL" for command in written):
            victim.strike("after")

    Coordinator._commit_entries = after_the_read  # type: ignore[method-assign]
    coordinator_module.commit = after
    with victim.client(path) as client:
        Coordinator(
            client,
            Settings(
                leader_lease_s=LEADER_LEASE_S,
                batch_max_messages=16,
                lease_s=3600,
                log_keep=100_000,
                inbox_keep=100_000,
            ),
            SystemClock(),
            RandomIds(),
            name,
            lambda: str(client.info("server")["run_id"]),
        ).run(threading.Event())


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
