"""Records as rows of a table, however large they are: what was measured of each, and what its maker
claims."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from coordinator.clock import ms_of
from coordinator.keys import RecordKey
from coordinator.lineage_reads import read_nodes
from coordinator.reads import Item
from coordinator.stored import dig, finite_number, json_of, replies_of
from coordinator.validation.models import VALIDATED_KINDS, shown_word
from coordinator.validation.state import read_best
from reports import formats
from web.fleet_reader import FleetReader

CLAIM_MAX_BYTES = 16 * 1024
"""No larger record is read for a claim in a table."""


class Row(NamedTuple):
    """``score`` is what a validator measured and ``claimed`` what the maker says, as parts of the
    gap between baseline and bound; ``verdict`` is "" for what nobody judges."""

    key: RecordKey
    specialization: str
    maker: str
    shared_ms: int | None
    uses: int
    verdict: str
    score: float | None
    claimed: float | None


def read_rows(reader: FleetReader, records: Iterable[RecordKey]) -> list[Row]:
    """In the same order, without those that are gone."""
    nodes = read_nodes(reader.connection, reader.keys, records)
    there = [(key, node) for key, node in nodes if not node["is_gone"]]
    claims = _read_claims(reader, [key for key, _ in there if key.kind not in VALIDATED_KINDS])
    return [row_of(key, node, claims.get(key)) for key, node in there]


def read_best_rows(
    reader: FleetReader, problems: Iterable[str], limit: int
) -> dict[str, list[Row]]:
    """Of each of ``problems`` the ``limit`` best that passed, the best first."""
    listed = {name: read_best(reader.connection, reader.keys, name, limit) for name in problems}
    named = dict.fromkeys(key for found in listed.values() for key in found)
    passed = {row.key: row for row in read_rows(reader, named) if row.score is not None}
    rows = {name: [passed[key] for key in found if key in passed] for name, found in listed.items()}
    return {name: sorted(found, key=_worst_last)[:limit] for name, found in rows.items()}


def _worst_last(row: Row) -> float:
    return -(row.score or 0.0)


def row_of(key: RecordKey, node: Item, claimed: float | None) -> Row:
    """The row of a node as ``coordinator.lineage_reads`` gives it."""
    word = node["verdict"] or ("not_validated" if key.kind in VALIDATED_KINDS else "")
    return Row(
        key=key,
        specialization=node["specialization"],
        maker=node["contributor"],
        shared_ms=ms_of(node["timestamp"]),
        uses=node["usage_count"],
        verdict=formats.name(shown_word(word)),
        score=node["quality_score"],
        claimed=claimed,
    )


def claimed_gap(record: Any) -> float | None:
    """The part of a gap that a record says to close: on a workload that it was not made on, if it
    tells of one."""
    held_out = finite_number(dig(record, "data", "held_out", "gap_closed"))
    return finite_number(dig(record, "data", "gap_closed")) if held_out is None else held_out


def _read_claims(
    reader: FleetReader, records: Sequence[RecordKey]
) -> dict[RecordKey, float | None]:
    names = {key: reader.keys.record(*key) for key in records}
    with reader.connection.pipeline(transaction=False) as pipe:
        for name in names.values():
            pipe.hstrlen(name, "record")
        sizes = zip(names, replies_of(pipe), strict=True)
        small = [key for key, size_bytes in sizes if (size_bytes or 0) <= CLAIM_MAX_BYTES]
        for key in small:
            pipe.hget(names[key], "record")
        found = zip(small, replies_of(pipe), strict=True)
        return {key: claimed_gap(json_of(stored)) for key, stored in found}
