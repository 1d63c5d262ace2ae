"""A connection that fails at a chosen moment of a commit, or holds its EXEC back."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

Phase = Literal["after the read", "before EXEC", "EXEC sent", "after"]
PHASES: list[Phase] = ["after the read", "before EXEC", "EXEC sent", "after"]


class Faults:
    """What is to go wrong, and when: at the ``nth`` batch that commits, counted from 1.

    ``before_exec`` is called at that moment instead of a failure; ``late`` holds the transaction
    back, to be delivered by ``deliver`` when the client has long given up.
    """

    def __init__(
        self,
        phase: Phase | Literal["late", "lost XADD", ""] = "",
        nth: int = 1,
        before_exec: Callable[[], None] | None = None,
    ) -> None:
        self.phase = phase
        self.nth = nth
        self.before_exec = before_exec
        self.struck = 0
        self._held: tuple[socket.socket, list[bytes]] | None = None

    def client(self, path: str, retries: int = 0) -> redis.Redis:
        pool = redis.ConnectionPool(
            connection_class=_FaultyConnection,
            path=path,
            faults=self,
            protocol=2,
            socket_timeout=10,
            retry=Retry(NoBackoff(), retries),
            driver_info=None,
        )
        return redis.Redis(connection_pool=pool)

    def is_due(self, phase: str) -> bool:
        """Whether ``phase`` is the one to strike in, now; it strikes once."""
        if self.phase != phase or self.struck:
            return False
        self.nth -= 1
        if self.nth == 0:
            self.struck += 1
            return True
        return False

    def hold(self, connection_socket: socket.socket, data: list[bytes]) -> None:
        self._held = connection_socket, data

    def deliver(self) -> bytes:
        """Send what was held back, as a network does that was only slow; the server's answer."""
        assert self._held is not None, "nothing was held back"
        held, data = self._held
        self._held = None
        with held:
            held.sendall(b"".join(data))
            answer = b""
            while not answer.endswith(b"\r\n") or not _is_whole(answer, b"".join(data)):
                answer += held.recv(65536)
        return answer


def _is_whole(answer: bytes, data: bytes) -> bool:
    """Whether the reply to EXEC is there: after the +OK of MULTI and a +QUEUED for each command."""
    queued = answer.count(b"+QUEUED\r\n")
    rest = answer.rpartition(b"+QUEUED\r\n")[2]
    return queued > 0 and rest.startswith((b"*", b"-")) and data.endswith(b"EXEC\r\n")


class _FaultyConnection(redis.UnixDomainSocketConnection):
    def __init__(self, faults: Faults, **options: Any) -> None:
        super().__init__(**options)
        self._faults = faults

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        data = [command] if isinstance(command, bytes) else list(command)
        sent = b"".join(data)
        faults = self._faults
        commits = b"\r\nEXEC\r\n" in sent and b"\r\nXDEL\r\n" in sent
        if b"\r\nWATCH\r\n" in sent and faults.is_due("after the read"):
            self._cut()
        if faults.phase == "after" and faults.struck == 1:
            faults.struck += 1
            self._cut()
        if commits and faults.is_due("before EXEC"):
            if faults.before_exec is None:
                self._cut()
            else:
                faults.before_exec()
        if commits and faults.is_due("late"):
            faults.hold(self._sock, data)
            self._sock = None
            self.disconnect()
            raise redis.TimeoutError("no answer in time")
        super().send_packed_command(command, check_health)
        if commits and faults.is_due("EXEC sent"):
            self._read_exec()
            self._cut()
        if commits:
            faults.is_due("after")
        if b"\r\nXADD\r\n" in sent and not commits and faults.is_due("lost XADD"):
            super().read_response()
            self._cut()

    def _read_exec(self) -> None:
        """Until the server has answered: it has committed, and nobody hears of it."""
        while super().read_response() in (b"OK", b"QUEUED"):
            pass

    def _cut(self) -> None:
        self.disconnect()
        raise redis.ConnectionError("the connection was cut by the test")
