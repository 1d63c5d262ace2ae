"""One batch, one transaction: effects become commands, and a commit's outcome is named."""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import redis
from hiredis import pack_command
from redis.client import Pipeline
from redis.exceptions import ExecAbortError

from coordinator.doors import Speaker
from coordinator.effects import Ask, Broadcast, Deliver, Effect, Event, Note, Write
from coordinator.epochs import Begin, encode_begins
from coordinator.errors import LeaseLost
from coordinator.fleet import SEEN_KEPT, Fleet, Member, Numbered
from coordinator.keys import Keys
from coordinator.lease import Lease
from coordinator.messages import encode_push, one_line, to_json
from coordinator.settings import Settings

Command = tuple[Any, ...]

STRANGERS_NUMBER_KEPT_MS = 600_000


class Outcome(enum.Enum):
    """How a commit failed. Whatever it is, memory is void and must be read afresh."""

    REFUSED = "refused, so nothing was committed"
    UNKNOWN = "unknown whether it was committed"
    TORN = "committed in part"


def outcome_of(error: Exception) -> Outcome:
    """The table of outcomes.

    The server answers EXECABORT, or refuses a command before EXEC (OOM, MISCONF, READONLY,
    LOADING): nothing was committed. A lost connection, a time-out and WatchError (which redis-py
    also raises for a connection lost after EXEC was sent): nobody knows.
    """
    if isinstance(error, LeaseLost | redis.BusyLoadingError):
        return Outcome.REFUSED
    if isinstance(error, redis.WatchError | redis.ConnectionError | redis.TimeoutError):
        return Outcome.UNKNOWN
    if isinstance(error, redis.ResponseError):
        return Outcome.REFUSED
    raise error


class CommitFailed(Exception):
    """``reason`` is the server's or the connection's word."""

    def __init__(self, outcome: Outcome, reason: Exception) -> None:
        super().__init__(f"{outcome.value}: {reason}")
        self.outcome = outcome
        self.reason = reason


def commit(connection: redis.Redis, lease: Lease, commands: Iterable[Command]) -> None:
    """All of ``commands`` in one fenced MULTI/EXEC, or CommitFailed."""
    with connection.pipeline() as pipe:
        try:
            lease.fence(pipe)
            pipe.multi()
            replies = _exec(pipe, commands)
        except (redis.RedisError, LeaseLost) as error:
            raise CommitFailed(outcome_of(error), error) from error
    for reply in replies:
        if isinstance(reply, Exception):
            raise CommitFailed(Outcome.TORN, reply)


def stream_fields(fleet: Fleet) -> tuple[Any, ...]:
    """Where log and events have come to, in ``keys.fleet``: it outlives the streams."""
    log, events = fleet.log, fleet.events
    return (
        *("log_n", log.n, "log_bytes", log.total_bytes),
        *("events_n", events.n, "events_bytes", events.total_bytes),
    )


def _exec(pipe: Pipeline, commands: Iterable[Command]) -> list[Any]:
    """What Pipeline.execute does, in half its time, which is most of a coordinator's: commands are
    packed by hiredis and sent as they are, and nothing is made of a reply but an exception.

    Raises the first refusal of a command, WatchError, or what the connection says.
    """
    connection = pipe.connection
    assert connection is not None, "the fence has opened one"
    packed = [pack_command(command) for command in (("MULTI",), *commands, ("EXEC",))]
    connection.send_packed_command([b"".join(packed)])
    refused: redis.ResponseError | None = None
    for _ in packed[:-1]:
        try:
            connection.read_response()
        except redis.ResponseError as error:
            refused = refused or error
    try:
        replies: list[Any] | None = connection.read_response()
    except ExecAbortError as aborted:
        raise refused or aborted from None
    pipe.watching = False
    if replies is None:
        raise redis.WatchError("Watched variable changed.")
    return replies


class Batch:
    """The effects of some messages, on their way to become one transaction.

    Numbers are given out while effects are added; counters and last numbers are written once.
    """

    def __init__(self, fleet: Fleet, keys: Keys, settings: Settings, now_ms: int) -> None:
        self._fleet = fleet
        self._keys = keys
        self._settings = settings
        self._now_ms = now_ms
        self._commands: list[Command] = []
        self._taken: defaultdict[str, list[bytes]] = defaultdict(list)
        self._numbers: dict[Speaker, int] = {}
        self._seen: defaultdict[Speaker, list[str]] = defaultdict(list)
        self._inboxes: dict[str, Member] = {}
        self._types: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._numbered = False
        self.notes: list[str] = []
        self.asked: list[Ask] = []

    def take(self, door: str, entry_id: bytes) -> None:
        """Remove an ingress entry: its XDEL in the transaction is the acknowledgement."""
        self._taken[door].append(entry_id)

    def number(self, speaker: Speaker, n: int) -> None:
        """Remember ``n`` as the last number taken from that instance."""
        self._numbers[speaker] = n

    def see(self, speaker: Speaker, message_id: str) -> None:
        """Remember a message_id as taken from an instance that does not number its messages."""
        self._seen[speaker].append(message_id)

    def count(self, message_type: str) -> None:
        self._types[message_type] += 1

    def add(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Write():
                    self._commands.append(effect.command)
                case Broadcast():
                    self._broadcast(effect)
                case Deliver():
                    self._deliver(effect)
                case Event():
                    self._record(effect)
                case Note():
                    self.notes.append(one_line(effect.text))
                case Ask():
                    self.asked.append(effect)

    @property
    def has_messages(self) -> bool:
        return bool(self._taken)

    @property
    def is_empty(self) -> bool:
        return not self._commands and not self._taken

    def commands(self) -> list[Command]:
        """Everything the batch writes, ready for ``commit``."""
        keys = self._keys
        keep_ms = int(self._settings.inbox_keep_s * 1000)
        commands = list(self._commands)
        for speaker, n in self._numbers.items():
            commands.append(("SET", keys.instance(*speaker), n, "PX", self._kept_ms(speaker)))
        for speaker, message_ids in self._seen.items():
            key = keys.seen(*speaker)
            commands.append(("RPUSH", key, *message_ids))
            commands.append(("LTRIM", key, -SEEN_KEPT, -1))
            commands.append(("PEXPIRE", key, self._kept_ms(speaker)))
        for ai, inbox in self._inboxes.items():
            commands.append(
                (
                    "HSET",
                    keys.member(ai),
                    "inbox_n",
                    inbox.n,
                    "inbox_bytes",
                    inbox.total_bytes,
                    "inbox_begins",
                    encode_begins(inbox.begins),
                )
            )
            if ai not in self._fleet.ais:
                commands.append(("PEXPIRE", keys.inbox(ai), keep_ms))
            if not inbox.is_known:
                commands.append(("PEXPIRE", keys.member(ai), keep_ms))
        if self._numbered:
            commands.append(("HSET", keys.fleet, *stream_fields(self._fleet)))
        for message_type, count in self._types.items():
            commands.append(("HINCRBY", keys.totals, message_type, count))
        for word, count in self._verdicts.items():
            commands.append(("HINCRBY", keys.verdicts, word, count))
        for door, entry_ids in self._taken.items():
            commands.append(("XDEL", keys.ingress(door), *entry_ids))
        return commands

    def _kept_ms(self, speaker: Speaker) -> int:
        """For how long repeats of that instance are told."""
        present = self._fleet.ais.get(speaker.owner)
        if present is not None and present.instance == speaker.instance:
            return int(self._settings.inbox_keep_s * 1000)
        return STRANGERS_NUMBER_KEPT_MS

    def _broadcast(self, effect: Broadcast) -> None:
        keys, fleet = self._keys, self._fleet
        fields: list[Any] = ["message", effect.message]
        if effect.exclude:
            fields += ["exclude", ",".join(effect.exclude)]
        self._numbered = True
        n = self._append(keys.log, fleet.log, fields)
        push = encode_push(effect.message, epoch=fleet.epoch, n=n, exclude=effect.exclude)
        self._commands.append(("PUBLISH", keys.broadcast_channel, push))

    def _deliver(self, effect: Deliver) -> None:
        keys, fleet = self._keys, self._fleet
        inbox = fleet.members[effect.ai]
        if not inbox.begins or inbox.begins[-1].epoch != fleet.epoch:
            inbox.begins.append(Begin(fleet.epoch, inbox.n))
        self._inboxes[effect.ai] = inbox
        after = fleet.log.n
        fields: list[Any] = ["message", effect.message, "after", after]
        if effect.instance:
            fields += ["instance", effect.instance]
        trim = ("MAXLEN", self._settings.inbox_keep)
        n = self._append(keys.inbox(effect.ai), inbox, fields, trim)
        push = encode_push(
            effect.message, epoch=fleet.epoch, n=n, instance=effect.instance, after=after
        )
        self._commands.append(("PUBLISH", keys.channel(effect.ai), push))

    def _record(self, event: Event) -> None:
        text = one_line(event.text)
        self.notes.append(text)
        fields = ["kind", event.kind, "ai", event.ai, "text", text]
        fields += ["data", to_json(event.data)]
        self._numbered = True
        if event.kind == "validated":
            self._verdicts[event.data["verdict"]] += 1
        self._append(self._keys.events, self._fleet.events, fields)

    def _append(
        self, key: str, stream: Numbered, fields: list[Any], trim: tuple[Any, ...] = ()
    ) -> int:
        """XADD under the stream's next number; ``bytes`` counts all that was ever appended."""
        n = stream.append(sum(len(str(field).encode()) for field in fields))
        common = ("epoch", self._fleet.epoch, "ms", self._now_ms, "bytes", stream.total_bytes)
        self._commands.append(("XADD", key, *trim, f"{n}-0", *fields, *common))
        return n
