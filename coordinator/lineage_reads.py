"""Reads of what is derived from what, as people see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import redis

from coordinator.keys import KINDS, Keys, Kind, RecordKey
from coordinator.lineage import Edge, read_parents, records_in
from coordinator.reads import Item, quality_of, usage_count, verdict_of
from coordinator.stored import replies_of, text_of

NODE_FIELDS = (
    *(b"contributor", b"specialization", b"timestamp"),
    *(b"quality_score", b"validation", b"validating"),
)
NO_FIELDS = [None] * len(NODE_FIELDS)


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
            "roots": [root.name for root in self.roots],
            "nodes": {key.name: node for key, node in self.nodes.items()},
            "edges": [
                {"parent": e.parent.name, "child": e.child.name, "is_use": e.is_use} for e in edges
            ],
            "is_cut": self.is_cut,
        }


def read_lineage(
    connection: redis.Redis,
    keys: Keys,
    record_id: str,
    depth: int,
    limit: int,
    kinds: Sequence[Kind] = KINDS,
) -> Lineage:
    """The lineage of what is called ``record_id`` and is of one of ``kinds``, ``depth`` records up
    and down and of ``limit`` records at most, the nearest first. Without roots there is no such
    record."""
    named = [RecordKey(kind, record_id) for kind in kinds]
    roots = [key for key, node in read_nodes(connection, keys, named) if not node["is_gone"]]
    up = _Walk(lambda level: read_parents(connection, keys, level), lambda edge: edge.parent)
    down = _Walk(
        lambda level: _read_children(connection, keys, level, limit), lambda edge: edge.child
    )
    up.walk(roots, depth, limit)
    down.walk(roots, depth, limit - len(up.seen) + len(roots))
    nodes = dict(read_nodes(connection, keys, up.seen | down.seen))
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


def _read_children(
    connection: redis.Redis, keys: Keys, parents: Sequence[RecordKey], limit: int
) -> list[Edge]:
    """The edges down from ``parents``, uses first, a few more than ``limit`` of each at most."""
    with connection.pipeline(transaction=False) as pipe:
        for parent in parents:
            pipe.zrevrange(keys.derived(*parent), 0, limit, withscores=True)
        replies = replies_of(pipe)
    return [
        Edge(parent, child, use == 1)
        for parent, listed in zip(parents, replies, strict=True)
        for name, use in listed or ()
        for child in records_in([text_of(name)])
    ]


def read_nodes(
    connection: redis.Redis, keys: Keys, records: Iterable[RecordKey]
) -> list[tuple[RecordKey, Item]]:
    """The node of each, as of a Lineage; however large a record is."""
    wanted = list(records)
    with connection.pipeline(transaction=False) as pipe:
        for key in wanted:
            pipe.hmget(keys.record(*key), NODE_FIELDS)
            pipe.zcount(keys.derived(*key), 1, 1)
        replies = replies_of(pipe)
    return [
        (key, _node(key, dict(zip(NODE_FIELDS, values or NO_FIELDS, strict=True)), uses or 0))
        for key, values, uses in zip(wanted, replies[::2], replies[1::2], strict=True)
    ]


def _node(record: RecordKey, fields: dict[bytes, bytes | None], uses: int) -> Item:
    stored = {name: value for name, value in fields.items() if value is not None}
    verdict = verdict_of(stored)
    told = ("contributor", "specialization", "timestamp")
    return {
        "kind": record.kind,
        "id": record.id,
        **{name: text_of(stored.get(name.encode())) for name in told},
        "verdict": verdict,
        "quality_score": quality_of(stored),
        "usage_count": usage_count(record.kind, verdict, uses),
        "is_gone": b"contributor" not in stored,
    }
