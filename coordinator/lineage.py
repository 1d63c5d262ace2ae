"""What is derived from what: who began from whose record, as ``derived_from`` of what is shared
says.

An edge leads from a parent to the record that began from it. The parent lists it in
``keys.derived``, where 1 stands for a use: the child is another AI's. The child's hash has a field
``from:<kind>:<id>`` for it, which is the way up. Neither changes when a record is shared again, so
repeats count once; and a revision that names other parents adds those, for what a record once began
from stays its origin. An edge counts as long as the parent lists it: a record that is taken back
loses its own list, and whoever is next to use its id inherits nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis

from coordinator.context import Context
from coordinator.effects import Effect, Write
from coordinator.errors import BadMessage
from coordinator.fleet import RecordKey
from coordinator.keys import KINDS, Keys, Kind
from coordinator.messages import OPERATOR, RECORD_ID_PATTERN
from coordinator.reads import Item, usage_count, verdict_of
from coordinator.state import read_contributors

MAX_PARENTS = 16
"""A record names so many at most."""
ORIGIN_DEPTH = 8
MAX_ANCESTORS = 256
FROM = "from:"
FROM_BYTES = FROM.encode()
NODE_FIELDS = (
    *(b"contributor", b"specialization", b"timestamp"),
    *(b"quality_score", b"validation", b"validating"),
)
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
    """The edges from the parents that there are to ``record``, which ``contributors`` share. What
    is malformed, is not there, or is the record itself has none."""
    child: RecordKey = (kind, str(record["id"]))
    known = context.fleet.contributors
    makers = {*known[child], *contributors}
    effects: list[Effect] = []
    for meant in _parents_in(record.get("derived_from")) or ():
        parent = next((key for key in meant if known[key]), child)
        if parent != child:
            is_use = is_others(makers, known[parent])
            edge = (context.keys.derived(*parent), int(is_use), name_of(child))
            effects.append(Write(("ZADD", *edge)))
            origin = f"{FROM}{name_of(parent)}"
            effects.append(Write(("HSET", context.keys.record(*child), origin, 1)))
    return effects


def forgotten(record: RecordKey, parents: Iterable[RecordKey], keys: Keys) -> list[Effect]:
    """The edges of a record that is taken back go, those to its ``parents`` and its own list."""
    up = [Write(("ZREM", keys.derived(*parent), name_of(record))) for parent in parents]
    return [*up, Write(("DEL", keys.derived(*record)))]


def is_others(makers: Iterable[str], contributors: Iterable[str]) -> bool:
    """Whether what ``makers`` made of a record of ``contributors`` is a use of it by others. A
    person is no AI."""
    return bool({*makers} - {OPERATOR}) and {*makers}.isdisjoint(contributors)


def name_of(record: RecordKey) -> str:
    """``<kind>:<id>``, as sets and fields have it."""
    return ":".join(record)


class Ancestry(NamedTuple):
    """What a record stands on: its ``contributors`` (none if it is gone), its ``parents``, and of
    each other AI the nearest record that it builds on, through its contributors' own if need be."""

    contributors: tuple[str, ...]
    parents: tuple[RecordKey, ...]
    origins: dict[str, RecordKey]


def read_ancestry(connection: redis.Redis, keys: Keys, record: RecordKey) -> Ancestry:
    """Looks ORIGIN_DEPTH records up, and at MAX_ANCESTORS of them at most."""
    contributors = read_contributors(connection, keys, [record])[record]
    seen = {record}
    level = [record]
    parents: tuple[RecordKey, ...] = ()
    origins: dict[str, RecordKey] = {}
    for _ in range(ORIGIN_DEPTH):
        met = dict.fromkeys(edge.parent for edge in _read_parents(connection, keys, level))
        parents = parents or tuple(met)
        new = [key for key in met if key not in seen][: MAX_ANCESTORS - len(seen)]
        seen.update(new)
        level = []
        for key, makers in read_contributors(connection, keys, new).items():
            if is_others(contributors, makers):
                origins = {ai: key for ai in makers if ai != OPERATOR} | origins
            else:
                level.append(key)
    return Ancestry(contributors, parents, origins)


@dataclass(frozen=True)
class Lineage:
    """Records around those of one id, by name: what they came from and what came of them.

    A node has kind, id, contributor, specialization, timestamp, verdict, quality_score (both None
    where there is none), usage_count, and ``is_gone`` if it was taken back. ``is_cut`` says that
    there are more.
    """

    roots: list[RecordKey]
    nodes: dict[RecordKey, Item]
    ancestry: list[Edge]
    progeny: list[Edge]
    is_cut: bool

    def to_json(self) -> Item:
        edges = dict.fromkeys([*self.ancestry, *self.progeny])
        return {
            "roots": [name_of(root) for root in self.roots],
            "nodes": {name_of(key): node for key, node in self.nodes.items()},
            "edges": [
                {"parent": name_of(e.parent), "child": name_of(e.child), "is_use": e.is_use}
                for e in edges
            ],
            "is_cut": self.is_cut,
        }


def read_lineage(
    connection: redis.Redis, keys: Keys, record_id: str, depth: int, limit: int
) -> Lineage:
    """The lineage of what is called ``record_id``, ``depth`` records up and down and of ``limit``
    records at most, the nearest first. Without roots there is no such record."""
    named: list[RecordKey] = [(kind, record_id) for kind in KINDS]
    roots = [key for key, node in _read_nodes(connection, keys, named) if not node["is_gone"]]
    up = _Walk(lambda level: _read_parents(connection, keys, level), lambda edge: edge.parent)
    down = _Walk(
        lambda level: _read_children(connection, keys, level, limit), lambda edge: edge.child
    )
    up.walk(roots, depth, limit)
    down.walk(roots, depth, limit - len(up.seen) + len(roots))
    nodes = dict(_read_nodes(connection, keys, up.seen | down.seen))
    return Lineage(roots, nodes, up.edges, down.edges, up.is_cut or down.is_cut)


class _Walk:
    """A walk from record to record, the nearest first and each once; ``edges`` lead between those
    that were ``seen``."""

    def __init__(
        self,
        read: Callable[[Sequence[RecordKey]], list[Edge]],
        far_end: Callable[[Edge], RecordKey],
    ) -> None:
        self._read = read
        self._far_end = far_end
        self.seen: dict[RecordKey, None] = {}
        self.edges: list[Edge] = []
        self.is_cut = False

    def walk(self, roots: Sequence[RecordKey], depth: int, limit: int) -> None:
        self.seen = dict.fromkeys(roots)
        level = list(roots)
        for _ in range(depth):
            edges = self._read(level)
            new = [key for key in dict.fromkeys(map(self._far_end, edges)) if key not in self.seen]
            level = new[: max(0, limit - len(self.seen))]
            self.is_cut |= len(level) < len(new)
            self.seen |= dict.fromkeys(level)
            self.edges += [edge for edge in edges if self._far_end(edge) in self.seen]


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
    return tuple((kind, parent_id) for kind in NAMED[name])


def _read_parents(connection: redis.Redis, keys: Keys, children: Sequence[RecordKey]) -> list[Edge]:
    """The edges up from ``children``: those that the parents list, and those to parents that are
    gone."""
    with connection.pipeline(transaction=False) as pipe:
        for child in children:
            pipe.hkeys(keys.record(*child))
        replies = pipe.execute()
    named = [
        (parent, child)
        for child, names in zip(children, replies, strict=True)
        for parent in _records_in(sorted(n[len(FROM) :] for n in names if n.startswith(FROM_BYTES)))
    ]
    with connection.pipeline(transaction=False) as pipe:
        for parent, child in named:
            pipe.zscore(keys.derived(*parent), name_of(child))
            pipe.exists(keys.record(*parent))
        replies = pipe.execute()
    return [
        Edge(parent, child, use == 1)
        for (parent, child), use, is_there in zip(named, replies[::2], replies[1::2], strict=True)
        if use is not None or not is_there
    ]


def _read_children(
    connection: redis.Redis, keys: Keys, parents: Sequence[RecordKey], limit: int
) -> list[Edge]:
    """The edges down from ``parents``, uses first, a few more than ``limit`` of each at most."""
    with connection.pipeline(transaction=False) as pipe:
        for parent in parents:
            pipe.zrevrange(keys.derived(*parent), 0, limit, withscores=True)
        replies = pipe.execute()
    return [
        Edge(parent, child, use == 1)
        for parent, listed in zip(parents, replies, strict=True)
        for name, use in listed
        for child in _records_in([name])
    ]


def _records_in(names: Iterable[bytes]) -> Iterator[RecordKey]:
    """The records that are called so; what is none is left out."""
    for name in names:
        kind, _, record_id = name.decode(errors="replace").partition(":")
        if kind in KINDS:
            yield kind, record_id


def _read_nodes(
    connection: redis.Redis, keys: Keys, records: Iterable[RecordKey]
) -> list[tuple[RecordKey, Item]]:
    wanted = list(records)
    with connection.pipeline(transaction=False) as pipe:
        for key in wanted:
            pipe.hmget(keys.record(*key), NODE_FIELDS)
            pipe.zcount(keys.derived(*key), 1, 1)
        replies = pipe.execute()
    return [
        (key, _node(key, dict(zip(NODE_FIELDS, values, strict=True)), uses))
        for key, values, uses in zip(wanted, replies[::2], replies[1::2], strict=True)
    ]


def _node(record: RecordKey, fields: dict[bytes, bytes | None], uses: int) -> Item:
    kind, record_id = record
    stored = {name: value for name, value in fields.items() if value is not None}
    verdict = verdict_of(stored)
    quality = stored.get(b"quality_score")
    told = ("contributor", "specialization", "timestamp")
    return {
        "kind": kind,
        "id": record_id,
        **{name: stored.get(name.encode(), b"").decode(errors="replace") for name in told},
        "verdict": verdict,
        "quality_score": float(quality) if quality is not None else None,
        "usage_count": usage_count(kind, verdict, uses),
        "is_gone": b"contributor" not in stored,
    }
