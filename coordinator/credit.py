"""Who is credited for what: the one rule of ``contribution_score``.

The contribution score of A is, over all problems p,

    the sum of max(0, the best quality_score of A's components in p)
    + USE_WEIGHT x the sum, over all other AIs B, of max(0, the best quality_score that B's
      components in p reached which build on a record of A)

A component is a component or feature that passed its validation; only that gives a quality_score.
It builds on a record of A if ``derived_from`` leads from it to that record, through nothing but
B's own records (``lineage.read_ancestry``).

Why so:

- Claims do not pay: nothing counts but what a validator measured, on a workload of its own.
- Repeated shares of the same do not pay: of each problem the best counts, once.
- Own use does not pay: what has a contributor in common with what it builds on is no use of it.
- It pays to share what others get further with, and less than to get there oneself. Only the next
  AI up is credited, for the one above it is credited for that one's component already.
- A problem is what was measured, not a word in a record: nobody has more of them by naming more.

The credit for a component follows its verdicts: one that is worse lowers it, one that is not passed
takes it away, and so does the retraction of the component, or of what it builds on. Until then what
it earned stays, also when it is shared anew and waits for its next verdict. A contributor that is
no AI, as the operator, has none.

``keys.credit`` holds by group, ``own:<problem>`` or ``built:<B>:<problem>``, the KEPT best
components as JSON: ``{"<kind>:<id>": [quality_score, "<kind>:<id> of what it builds on, or ''"]}``.
The others are there for when the best one falls.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple, cast

import redis

from coordinator.effects import Effect, Write
from coordinator.fleet import RecordKey
from coordinator.keys import Keys
from coordinator.lineage import Ancestry, forgotten, name_of, read_ancestry
from coordinator.messages import OPERATOR, to_json

USE_WEIGHT = 0.25
KEPT = 16
OWN = "own"
BUILT = "built"
FIELD = "contribution_score"
MARK = "credited"
"""A field of a component: which other AIs are credited for it."""

Earned = tuple[float, str]
"""A quality_score, and the name of the record that it was built on, "" for one's own."""
Book = dict[str, dict[str, Earned]]
"""What one AI is credited for: by group, then by the name of a component."""


class Ledger(NamedTuple):
    """All that credit for some records depends on: what they stand on, and the books of all who
    are, were or will be credited for them."""

    ancestries: Mapping[RecordKey, Ancestry]
    books: Mapping[str, Book]


def read_ledger(connection: redis.Redis, keys: Keys, *records: RecordKey) -> Ledger:
    """The ledger for ``records``. One that is gone has no contributors."""
    ancestries = {record: read_ancestry(connection, keys, record) for record in records}
    people = set(_credited_before(connection, keys, records))
    for ancestry in ancestries.values():
        people.update(ancestry.contributors, ancestry.origins)
    return Ledger(ancestries, _read_books(connection, keys, sorted(people - {OPERATOR})))


def credited(
    record: RecordKey, problem: str, quality: float | None, ledger: Ledger, keys: Keys
) -> list[Effect]:
    """``record`` has a verdict on ``problem``: with that ``quality`` it passed, with None it did
    not. The same verdict again changes nothing."""
    ancestry = ledger.ancestries[record]
    if not ancestry.contributors:
        return []
    name = name_of(record)
    books = {ai: _without(book, earned_by={name}) for ai, book in ledger.books.items()}
    others: list[str] = []
    if quality is not None and quality > 0:
        for ai in books.keys() & {*ancestry.contributors}:
            _enter(books[ai], f"{OWN}:{problem}", name, (quality, ""))
        user = ancestry.contributors[0]
        for ai, origin in ancestry.origins.items():
            _enter(books[ai], f"{BUILT}:{user}:{problem}", name, (quality, name_of(origin)))
        others = sorted(ancestry.origins)
    key = keys.record(*record)
    mark = ("HSET", key, MARK, to_json(others)) if others else ("HDEL", key, MARK)
    return [Write(mark), *_written(ledger.books, books, keys)]


def retracted(ledger: Ledger, keys: Keys) -> list[Effect]:
    """The ledger's records are taken back: what they earned, and their edges."""
    names = {name_of(record) for record in ledger.ancestries}
    books = {ai: _without(book, names, names) for ai, book in ledger.books.items()}
    edges = [
        effect
        for record, ancestry in ledger.ancestries.items()
        for effect in forgotten(record, ancestry.parents, keys)
    ]
    return [*edges, *_written(ledger.books, books, keys)]


def score_of(book: Book) -> float:
    """The contribution score, by the rule."""
    return round(
        sum(
            max((quality for quality, _ in earned.values()), default=0.0)
            * (USE_WEIGHT if group.startswith(f"{BUILT}:") else 1.0)
            for group, earned in book.items()
        ),
        4,
    )


def read_contributions(connection: redis.Redis, keys: Keys, ais: Sequence[str]) -> list[float]:
    """The contribution score of each of ``ais``, 0 for one that has none."""
    with connection.pipeline(transaction=False) as pipe:
        for ai in ais:
            pipe.hget(keys.member(ai), FIELD)
        replies = pipe.execute()
    return [float(score or 0) for score in replies]


def _without(book: Book, earned_by: Set[str], built_on: Set[str] = frozenset()) -> Book:
    """A copy of ``book`` without what those components earned, and what was built on those."""
    return {
        group: {
            component: (quality, origin)
            for component, (quality, origin) in earned.items()
            if component not in earned_by and origin not in built_on
        }
        for group, earned in book.items()
    }


def _enter(book: Book, group: str, component: str, earned: Earned) -> None:
    """The best are kept, of equals the first by name."""
    entries = sorted((book.get(group, {}) | {component: earned}).items())
    entries.sort(key=lambda entry: entry[1][0], reverse=True)
    book[group] = dict(entries[:KEPT])


def _written(before: Mapping[str, Book], after: Mapping[str, Book], keys: Keys) -> list[Effect]:
    """What of the books changed, and the scores that follow."""
    effects: list[Effect] = []
    for ai, book in after.items():
        was = before[ai]
        changed = [group for group in book if book[group] != was.get(group)]
        for group in changed:
            key, earned = keys.credit(ai), book[group]
            stored = ("HSET", key, group, to_json(earned)) if earned else ("HDEL", key, group)
            effects.append(Write(stored))
        if changed:
            effects.append(Write(("HSET", keys.member(ai), FIELD, score_of(book))))
    return effects


def _credited_before(
    connection: redis.Redis, keys: Keys, records: Iterable[RecordKey]
) -> Iterable[str]:
    """The other AIs that were last credited for ``records``."""
    with connection.pipeline(transaction=False) as pipe:
        for record in records:
            pipe.hget(keys.record(*record), MARK)
        replies = pipe.execute()
    return [ai for stored in replies for ai in json.loads(stored or b"[]")]


def _read_books(connection: redis.Redis, keys: Keys, ais: Sequence[str]) -> dict[str, Book]:
    with connection.pipeline(transaction=False) as pipe:
        for ai in ais:
            pipe.hgetall(keys.credit(ai))
        replies = cast("list[dict[bytes, bytes]]", pipe.execute())
    return {
        ai: {group.decode(): _earned(json.loads(text)) for group, text in stored.items()}
        for ai, stored in zip(ais, replies, strict=True)
    }


def _earned(stored: dict[str, tuple[float, str]]) -> dict[str, Earned]:
    return {component: (quality, origin) for component, (quality, origin) in stored.items()}
