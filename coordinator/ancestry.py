"""What a record stands on: whose work it is, and whose it began from.

A record is a **copy** if a record of others that it stands on has the same ``hash``, and had it no
later: the same source, in the same specialization. A copy is nobody's work. It is looked through,
as if whoever began from it had begun from what it is a copy of. What differs by a space is none.

Records that stand on each other, as revisions of them may come to, are no one's origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import redis

from coordinator.keys import Keys, RecordKey
from coordinator.lineage import is_others, read_parents
from coordinator.messages import OPERATOR
from coordinator.state import read_contributors
from coordinator.stored import replies_of, text_of, whole_number

ORIGIN_DEPTH = 8
MAX_ANCESTORS = 128


class Ancestry(NamedTuple):
    """What a record stands on: its ``contributors`` (none if it is gone), its ``parents``, and of
    each other AI the way to the nearest record that it builds on, which ends there and leads
    through its contributors' own and through copies if need be; a copy builds on none. ``people``
    made what lies above."""

    contributors: tuple[str, ...]
    parents: tuple[RecordKey, ...]
    origins: dict[str, tuple[RecordKey, ...]]
    is_copy: bool
    people: frozenset[str]


class Source(NamedTuple):
    """Whose a record is, and since when (ms) it is what ``hash`` is of; "" for a pattern."""

    contributors: tuple[str, ...]
    hash: str
    since_ms: int


def read_ancestry(connection: redis.Redis, keys: Keys, record: RecordKey) -> Ancestry:
    """Looks ORIGIN_DEPTH records up, and at MAX_ANCESTORS of them at most."""
    above = _read_above(connection, keys, record)
    is_copy = above.is_copy(record)
    origins = {} if is_copy else above.origins_of(record)
    parents = above.parents.get(record, [])
    people = frozenset(ai for source in above.sources.values() for ai in source.contributors)
    return Ancestry(above.sources[record].contributors, tuple(parents), origins, is_copy, people)


@dataclass(frozen=True)
class Above:
    """Some records, and what each of them began from."""

    sources: Mapping[RecordKey, Source]
    parents: Mapping[RecordKey, Sequence[RecordKey]]

    def ancestors_of(self, record: RecordKey) -> set[RecordKey]:
        """Those that are known; of a cycle the record itself is one."""
        found: set[RecordKey] = set()
        level = [record]
        while level:
            new = {parent for child in level for parent in self._known_parents(child)} - found
            found |= new
            level = list(new)
        return found

    def is_copy(self, record: RecordKey) -> bool:
        own = self.sources[record]
        older = (self.sources[key] for key in self.ancestors_of(record)) if own.hash else ()
        return any(
            source.hash == own.hash
            and source.since_ms <= own.since_ms
            and is_others(own.contributors, source.contributors)
            for source in older
        )

    def origins_of(self, record: RecordKey) -> dict[str, tuple[RecordKey, ...]]:
        """Of each other AI the way to the nearest record that ``record`` builds on."""
        contributors = self.sources[record].contributors
        origins: dict[str, tuple[RecordKey, ...]] = {}
        ways: dict[RecordKey, tuple[RecordKey, ...]] = {record: ()}
        level = [record]
        while level:
            new: dict[RecordKey, tuple[RecordKey, ...]] = {}
            for child in level:
                for key in self._known_parents(child):
                    if key not in ways:
                        new.setdefault(key, (*ways[child], key))
            ways |= new
            level = []
            for key, way in new.items():
                others = self.sources[key].contributors
                if not is_others(contributors, others) or self.is_copy(key):
                    level.append(key)
                elif record not in self.ancestors_of(key):
                    origins = {ai: way for ai in others if ai != OPERATOR} | origins
        return origins

    def _known_parents(self, record: RecordKey) -> list[RecordKey]:
        return [key for key in self.parents.get(record, ()) if key in self.sources]


def _read_above(connection: redis.Redis, keys: Keys, record: RecordKey) -> Above:
    sources = _read_sources(connection, keys, [record])
    parents: dict[RecordKey, list[RecordKey]] = {}
    level = [record]
    for _ in range(ORIGIN_DEPTH):
        for edge in read_parents(connection, keys, level):
            parents.setdefault(edge.child, []).append(edge.parent)
        met = dict.fromkeys(key for child in level for key in parents.get(child, ()))
        level = [key for key in met if key not in sources][: MAX_ANCESTORS - len(sources)]
        sources |= _read_sources(connection, keys, level)
    return Above(sources, parents)


def _read_sources(
    connection: redis.Redis, keys: Keys, records: Sequence[RecordKey]
) -> dict[RecordKey, Source]:
    contributors = read_contributors(connection, keys, records)
    with connection.pipeline(transaction=False) as pipe:
        for record in records:
            pipe.hmget(keys.record(*record), "hash", "hash_ms")
        replies = replies_of(pipe)
    sources: dict[RecordKey, Source] = {}
    for record, reply in zip(records, replies, strict=True):
        digest, since_ms = reply or (None, None)
        sources[record] = Source(contributors[record], text_of(digest), whole_number(since_ms))
    return sources
