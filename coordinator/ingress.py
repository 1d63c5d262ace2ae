"""The ways in: reads every client's ingress stream, a fair share of each."""

from __future__ import annotations

import logging
import re
from collections import deque
from typing import Any, NamedTuple, cast

import redis

from coordinator.clock import Clock
from coordinator.doors import Speaker, is_gateway_door, owner_of
from coordinator.keys import Keys
from coordinator.messages import is_ai_id
from coordinator.settings import Settings

log = logging.getLogger("coord")

DOOR = re.compile(r"(?:gw:)?[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
COLD_COUNT = 8
HOT_MAX_BYTES = 4 * 1024 * 1024


class Entry(NamedTuple):
    """A message on its way in. ``n`` is 0 when its sender did not number it.

    It ``is_sound`` if it can be told from its repeats: by its number, or by its message_id, which
    only a gateway's guests may do.
    """

    door: str
    entry_id: bytes
    speaker: Speaker
    n: int
    body: bytes
    is_sound: bool = True

    @property
    def is_numbered(self) -> bool:
        return self.n > 0 and self.is_sound


def read_entry(door: str, entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    """An ``ai`` that no AI can be called counts as the gateway's own, and is not sound."""
    instance = fields.get(b"instance", b"")[:128].decode("utf-8", "replace")
    number = fields.get(b"n", b"")
    n = int(number) if number.isdigit() and len(number) < 19 else 0
    ai = fields.get(b"ai", b"")[:128].decode("utf-8", "replace") if is_gateway_door(door) else ""
    is_guest = is_ai_id(ai)
    speaker = Speaker(owner_of(door, ai if is_guest else ""), instance)
    is_sound = instance != "" and (is_guest or (n > 0 and not ai))
    return Entry(door, entry_id, speaker, n, fields.get(b"body", b""), is_sound)


class Ingress:
    """Entries read and not yet committed are held per door, and a door is read again only when its
    own are used up: memory stays bounded, and one that floods is one voice among the others."""

    def __init__(
        self, connection: redis.Redis, keys: Keys, settings: Settings, clock: Clock
    ) -> None:
        self._redis = connection
        self._keys = keys
        self._settings = settings
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget all that was read: what was not committed is read again from the beginning."""
        self._last_ids: dict[str, bytes] = {}
        self._held: dict[str, deque[Entry]] = {}
        self._turns: deque[str] = deque()
        self._hot: set[str] = set()
        self._empty_since_s: dict[str, float] = {}
        self._door_count = -1

    @property
    def doors(self) -> list[str]:
        return list(self._last_ids)

    def is_drained_since(self, door: str, elapsed_s: float) -> bool:
        """Whether a read begun at or after ``elapsed_s`` found nothing more behind ``door``."""
        if door not in self._last_ids:
            return True
        return door not in self._held and self._empty_since_s.get(door, -1.0) >= elapsed_s

    def forget(self, door: str) -> None:
        """``door`` was removed, and its stream with it."""
        self._last_ids.pop(door, None)
        self._empty_since_s.pop(door, None)
        self._hot.discard(door)
        self._door_count -= 1

    def poll(self, block_ms: int) -> None:
        """Read what has come; wait up to ``block_ms`` for it if nothing is held."""
        started_s = self._clock.elapsed_s()
        waiting = [door for door in self._last_ids if door not in self._held]
        hot = [door for door in waiting if door in self._hot]
        cold = [door for door in waiting if door not in self._hot]
        budget = self._settings.batch_max_messages
        reads = [
            (hot, max(1, budget // max(1, len(hot)))),
            (cold, max(1, min(COLD_COUNT, budget // max(1, len(cold))))),
        ]
        may_block = block_ms > 0 and not self._held and not hot
        with self._redis.pipeline(transaction=False) as pipe:
            for doors, count in reads:
                if doors:
                    streams = {self._keys.ingress(door): self._last_ids[door] for door in doors}
                    pipe.xread(cast(Any, streams), count, block_ms if may_block else None)
            if may_block and self._door_count == 0:  # nobody there: wait at a door that stays shut
                pipe.xread({self._keys.ingress(""): "$"}, 1, block_ms)
            pipe.scard(self._keys.doors)
            try:
                *replies, door_count = pipe.execute()
            except redis.ResponseError as error:
                if "WRONGTYPE" not in str(error):
                    raise
                self._shut_out_strangers()
                return
        answered = [read for read in reads if read[0]]
        for (doors, count), reply in zip(answered, replies, strict=False):
            self._hold(doors, count, reply or [], started_s)
        if door_count != self._door_count:
            self._find_doors()

    def take(self, max_messages: int, max_bytes: int) -> list[Entry]:
        """The next entries, one of each door in turn; at least one if any is held."""
        taken: list[Entry] = []
        size_bytes = 0
        while self._turns and len(taken) < max_messages:
            door = self._turns[0]
            held = self._held[door]
            size_bytes += len(held[0].body)
            if taken and size_bytes > max_bytes:
                break
            taken.append(held.popleft())
            self._turns.popleft()
            if held:
                self._turns.append(door)
            else:
                del self._held[door]
        return taken

    def _hold(self, doors: list[str], count: int, reply: list[Any], started_s: float) -> None:
        prefix = len(self._keys.ingress(""))
        found = {stream.decode()[prefix:]: entries for stream, entries in reply}
        for door in doors:
            entries = found.get(door, [])
            size_bytes = sum(len(fields.get(b"body", b"")) for _, fields in entries)
            if len(entries) == count and size_bytes <= HOT_MAX_BYTES:
                self._hot.add(door)
            else:
                self._hot.discard(door)
            if not entries:
                self._empty_since_s[door] = started_s
                continue
            self._last_ids[door] = entries[-1][0]
            self._held[door] = deque(read_entry(door, *entry) for entry in entries)
            self._cut(self._held[door])
            self._turns.append(door)

    def _cut(self, entries: deque[Entry]) -> None:
        """Of a body that is too large one byte too many is kept: it will be refused for it."""
        longest = self._settings.message_max_bytes + 1
        for index, entry in enumerate(entries):
            if len(entry.body) > longest:
                entries[index] = entry._replace(body=entry.body[:longest])

    def _shut_out_strangers(self) -> None:
        """A door behind which there is no stream would keep all from being read."""
        with self._redis.pipeline(transaction=False) as pipe:
            for door in self._last_ids:
                pipe.type(self._keys.ingress(door))
            types = pipe.execute()
        for door, kind in zip(list(self._last_ids), types, strict=True):
            if kind not in (b"stream", b"none"):
                log.warning("ignored a door behind which there is no stream: %r", door)
                self._redis.srem(self._keys.doors, door)
                self.forget(door)

    def _find_doors(self) -> None:
        """Names that no client can have are removed: they would never be read."""
        members = cast("set[bytes]", self._redis.smembers(self._keys.doors))
        self._door_count = len(members)
        for member in members:
            name = member.decode("utf-8", "replace")
            if not DOOR.match(name):
                self._redis.srem(self._keys.doors, member)
                self._door_count -= 1
                log.warning("ignored a door that no client can have: %.200r", member)
            elif name not in self._last_ids:
                self._last_ids[name] = b"0-0"
