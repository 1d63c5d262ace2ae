"""What is derived from what: who began from whose record, as ``derived_from`` of what is shared
says.

An edge leads from a parent to the record that began from it. The parent lists it in
``keys.derived``, where 1 stands for a use: the child is another AI's. The child's field
``origins``, a list of names as JSON, is the way up. A revision that names parents replaces those
which the record had, so that it never has more than MAX_PARENTS; one that names none keeps them. An
edge counts as long as the parent lists it: a record that is taken back loses its own list, and
whoever is next to use its id inherits nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import redis

from coordinator.context import Context
from coordinator.effects import Effect, Write
from coordinator.errors import BadMessage
from coordinator.keys import KINDS, Keys, Kind, RecordKey
from coordinator.messages import OPERATOR, RECORD_ID_PATTERN, to_json
from coordinator.stored import json_of, replies_of

MAX_PARENTS = 16
"""A record names so many at most."""
ORIGINS = "origins"
CHILDREN_READ_AT_ONCE = 32
NAMED: dict[str, tuple[Kind, ...]] = {
    "pattern_id": ("pattern",),
    "component_id": ("component", "feature"),
    "id": KINDS,
}
"""What of ``derived_from`` names a parent, and which kinds it may be of; the first that is there
counts, of names as of kinds. An id alone is as good as ``id``."""

Parents = tuple[tuple[RecordKey, ...], ...]
"""Of each parent that is named, the records that may be meant."""


class Edge(NamedTuple):
    """``child`` began from ``parent``; a use if it is another AI's."""

    parent: RecordKey
    child: RecordKey
    is_use: bool


def check(record: Mapping[str, Any], where: str) -> None:
    """BadMessage for a ``derived_from`` of ``record``, which stands at ``where``, that names no
    parents."""
    derived_from = record.get("derived_from")
    if derived_from is not None and _parents_in(derived_from) is None:
        names = ", ".join(NAMED)
        raise BadMessage(
            "bad_payload",
            f"{where}.derived_from must be the id of the record that this one began from, an object"
            f" with that as {names}, or a list of at most {MAX_PARENTS} of these; leave it out if"
            " it began from none",
            f"{where}.derived_from",
        )


def named_parents(record: object) -> list[RecordKey]:
    """Every record that ``derived_from`` may mean, for whoever wants to know which of them there
    are; none if it is malformed."""
    named = record.get("derived_from") if isinstance(record, dict) else None
    choices = None if named is None else _parents_in(named)
    return [key for keys_of_one in choices or () for key in keys_of_one]


def derived(
    kind: Kind, record: Mapping[str, Any], contributors: Sequence[str], context: Context
) -> list[Effect]:
    """The edges from the parents that there are to ``record``, which ``contributors`` share; those
    of an earlier revision go. What is malformed, is not there, or is the record itself has none."""
    child = RecordKey(kind, str(record["id"]))
    fleet, keys = context.fleet, context.keys
    known = fleet.contributors
    named = _parents_in(record.get("derived_from")) or ()
    first = (next((key for key in meant if known[key]), child) for meant in named)
    parents = tuple(dict.fromkeys(parent for parent in first if parent != child))
    if not parents:
        return []
    of_child = {*known[child], *contributors}
    gone = [parent for parent in fleet.origins[child] if parent not in parents]
    fleet.origins[child] = parents
    names = to_json([parent.name for parent in parents])
    effects: list[Effect] = [Write(("HSET", keys.record(*child), ORIGINS, names))]
    for parent in gone:
        effects.append(Write(("ZREM", keys.derived(*parent), child.name)))
    for parent in parents:
        is_use = is_others(of_child, known[parent])
        effects.append(Write(("ZADD", keys.derived(*parent), int(is_use), child.name)))
    return effects


def named_origins(child: RecordKey, context: Context) -> list[dict[str, Any]]:
    """What ``child`` says that it began from, for the history: each with its ``name``, its
    ``contributors``, and whether that ``is_use``."""
    known = context.fleet.contributors
    return [
        {
            "name": parent.name,
            "contributors": known[parent],
            "is_use": is_others(known[child], known[parent]),
        }
        for parent in context.fleet.origins[child]
    ]


def forgotten(record: RecordKey, parents: Iterable[RecordKey], keys: Keys) -> list[Effect]:
    """The edges of a record that is taken back go, those to its ``parents`` and its own list."""
    up = [Write(("ZREM", keys.derived(*parent), record.name)) for parent in parents]
    return [*up, Write(("DEL", keys.derived(*record)))]


def is_others(users: Iterable[str], contributors: Iterable[str]) -> bool:
    """Whether what ``users`` contributed is a use of a record of ``contributors`` by others, which
    it began from. A person is no AI."""
    return bool({*users} - {OPERATOR}) and {*users}.isdisjoint(contributors)


def _parents_in(derived_from: object) -> Parents | None:
    """What ``derived_from`` names; None if it is malformed."""
    listed = derived_from if isinstance(derived_from, list) else [derived_from]
    parents = [_parent_in(one) for one in listed]
    if len(parents) > MAX_PARENTS:
        return None
    meant = tuple(parent for parent in parents if parent is not None)
    return meant if len(meant) == len(parents) else None


def _parent_in(one: object) -> tuple[RecordKey, ...] | None:
    named = {"id": one} if isinstance(one, str) else one
    if not isinstance(named, dict):
        return None
    name = next((name for name in NAMED if named.get(name) is not None), None)
    parent_id = named[name] if name else None
    if name is None or not isinstance(parent_id, str):
        return None
    if not re.fullmatch(RECORD_ID_PATTERN, parent_id):
        return None
    return tuple(RecordKey(kind, parent_id) for kind in NAMED[name])


def read_parents(connection: redis.Redis, keys: Keys, children: Sequence[RecordKey]) -> list[Edge]:
    """The edges up from ``children``, at most MAX_PARENTS of each: those that the parents list, and
    those to parents that are gone."""
    return [
        edge
        for first in range(0, len(children), CHILDREN_READ_AT_ONCE)
        for edge in _read_edges(connection, keys, children[first : first + CHILDREN_READ_AT_ONCE])
    ]


def read_origins(
    connection: redis.Redis, keys: Keys, children: Iterable[RecordKey]
) -> dict[RecordKey, tuple[RecordKey, ...]]:
    """What each of ``children`` says that it began from."""
    wanted = list(children)
    with connection.pipeline(transaction=False) as pipe:
        for child in wanted:
            pipe.hget(keys.record(*child), ORIGINS)
        replies = replies_of(pipe)
    return {child: tuple(_origins_in(reply)) for child, reply in zip(wanted, replies, strict=True)}


def _origins_in(stored: bytes | None) -> Iterator[RecordKey]:
    names = json_of(stored)
    listed = names[:MAX_PARENTS] if isinstance(names, list) else []
    return records_in(sorted({name for name in listed if isinstance(name, str)}))


def _read_edges(connection: redis.Redis, keys: Keys, children: Sequence[RecordKey]) -> list[Edge]:
    origins = read_origins(connection, keys, children)
    named = [(parent, child) for child in children for parent in origins[child]]
    with connection.pipeline(transaction=False) as pipe:
        for parent, child in named:
            pipe.zscore(keys.derived(*parent), child.name)
            pipe.exists(keys.record(*parent))
        replies = replies_of(pipe)
    return [
        Edge(parent, child, use == 1)
        for (parent, child), use, is_there in zip(named, replies[::2], replies[1::2], strict=True)
        if use is not None or not is_there
    ]


def records_in(names: Iterable[str]) -> Iterator[RecordKey]:
    """The records that are called so; what is none is left out."""
    named = (RecordKey.from_name(name) for name in names)
    return (key for key in named if key is not None and re.fullmatch(RECORD_ID_PATTERN, key.id))
