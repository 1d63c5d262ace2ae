"""What a restore writes: in fenced transactions, each with how far it has come by that."""

from __future__ import annotations

from collections.abc import Iterable

import redis
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordinator.effects import Effect, Write
from coordinator.fleet import Fleet
from coordinator.history import Cursor
from coordinator.keys import Keys
from coordinator.lease import Lease
from coordinator.messages import describe, one_line
from coordinator.state import RESTORING
from coordinator.transaction import Command, commit

MOST_BYTES = 1024 * 1024
NAMED_BAD = 100
"""So many rows that cannot be read are named."""
LONGEST_REASON = 200


RESTORED = "restored"
"""The field of ``keys.fleet`` that says what a fleet was restored from, once it is whole."""


class RestoreMark(BaseModel):
    """How far a restore has come: the archive, what that had read of the history, the last event
    that is done, and how many rows were bad until then. It is the field ``restoring`` of
    ``keys.fleet``, and in the end ``restored``."""

    model_config = ConfigDict(strict=True)

    archive: str
    cursor: Cursor
    n: int = Field(0, ge=0)
    bad: int = Field(0, ge=0)


class RestoreWriter:
    """What a restore has still to write, and what it left out.

    ``fleet`` is what it knows of the fleet, and is read from Redis where it knows nothing.
    """

    def __init__(
        self, connection: redis.Redis, keys: Keys, lease: Lease, fleet: Fleet, mark: RestoreMark
    ) -> None:
        self.connection = connection
        self.keys = keys
        self.fleet = fleet
        self.mark = mark
        self.named_bad: list[str] = []
        self._lease = lease
        self._commands: list[Command] = []
        self._bytes = 0

    def add(self, effects: Iterable[Effect]) -> None:
        """What is written to the fleet's own keys. Nobody is told, nothing goes into the history,
        and RQ's jobs are queued in the end."""
        own = f"{self.keys.namespace}:"
        self.add_commands(
            effect.command
            for effect in effects
            if isinstance(effect, Write) and str(effect.command[1]).startswith(own)
        )

    def add_commands(self, commands: Iterable[Command]) -> None:
        for command in commands:
            self._commands.append(command)
            self._bytes += sum(len(part) for part in command if isinstance(part, str))

    def leave_out(self, what: str, error: Exception | None = None) -> None:
        """A row of the archive cannot be read."""
        self.mark.bad += 1
        if len(self.named_bad) < NAMED_BAD:
            self.named_bad.append(what if error is None else f"{what}: {_reason(error)}")

    @property
    def is_full(self) -> bool:
        return self._bytes > MOST_BYTES

    def commit(self) -> None:
        """Write what there is. Raises CommitFailed, LeaseLost."""
        self.add_commands([("HSET", self.keys.fleet, RESTORING, self.mark.model_dump_json())])
        self._send()

    def end(self) -> None:
        """Write what there is, after which the fleet is whole. Raises CommitFailed, LeaseLost."""
        done = ("HSET", self.keys.fleet, RESTORED, self.mark.model_dump_json())
        self.add_commands([done, ("HDEL", self.keys.fleet, RESTORING)])
        self._send()

    def _send(self) -> None:
        self._lease.renew_if_due()
        commit(self.connection, self._lease, self._commands)
        self._commands, self._bytes = [], 0
        self.fleet.forget_surplus()


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return describe(error)[1]
    return one_line(str(error) or type(error).__name__, LONGEST_REASON)
