"""Who is credited for what: the one rule of ``contribution_score``.

The contribution score of A is, over all problems p,

    the sum of max(0, the best quality_score of A's components in p)
    + USE_WEIGHT x the sum, over the USERS_COUNTED other AIs B for whom that is most, of max(0, the
      best quality_score that B's components in p reached which build on a record of A)

A component is a component or feature that passed its validation; only that gives a quality_score.
It builds on a record of A if ``derived_from`` leads from it to that record, through nothing but
B's own records and copies (``ancestry.read_ancestry``).

Why so:

- Claims do not pay: nothing counts but what a validator measured, on a workload of its own.
- Repeated shares of the same do not pay: of each problem the best counts, once.
- Copies do not pay: what has the same source as an older record of others that it stands on earns
  nothing, and nobody is credited for it. Nor is anybody for records that stand on each other. A
  copy is a use all the same, if it passed or not: uses are counted and shown, and pay nothing.
- Own use does not pay: what has a contributor in common with what it builds on is no use of it.
- It pays to share what others get further with, and less than to get there oneself. Only the next
  AI up is credited, for the one above it is credited for that one's component already.
- Nobody gets rich by puppets: of those who build on A's records only the best few count, and each
  of them had to reach its score by what is no copy.
- A problem is what was measured, not a word in a record: nobody has more of them by naming more.

Credit for a component is as of its last verdict: who made it, and what it began from, counts as it
was then. A verdict that is worse lowers it, one that is not passed takes it away, and so does the
retraction of the component, of what it builds on, or of what lies between. Until then what it
earned stays, also when it is shared anew, names other origins, and waits for its next verdict. A
contributor that is no AI, as the operator, has none.

``keys.credit`` holds by group, ``own:<problem>`` or ``built:<B>:<problem>``, the 16 best components
as JSON: ``{"<kind>:<id>": [quality_score, ["<kind>:<id>" on the way to what it builds on, which is
the last; none for one's own]]}``. The others are there for when the best one falls; what is not
among the 16 counts again by its next verdict alone. Of the groups ``built`` of a problem, too, the
16 best are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import redis

from coordinator.ancestry import Ancestry, read_ancestry
from coordinator.effects import Effect, Event, Write
from coordinator.keys import Keys, RecordKey
from coordinator.lineage import forgotten
from coordinator.messages import ID_PATTERN, OPERATOR, to_json
from coordinator.reads import CONTRIBUTION
from coordinator.stored import (
    finite_number,
    json_of,
    number_of,
    remove_spoiled,
    replies_of,
    text_of,
)

USE_WEIGHT = 0.25
USERS_COUNTED = 4
KEPT = 16
OWN = "own"
BUILT = "built"
MARK = "credited"
"""A field of a component: which other AIs are credited for it."""

Earned = tuple[float, tuple[str, ...]]
"""A quality_score, and the names of the records on the way to that which it was built on, which is
the last; none for one's own."""
Book = dict[str, dict[str, Earned]]
"""What one AI is credited for: by group, then by the name of a component."""


class Ledger(NamedTuple):
    """All that credit for some records depends on: what they stand on, and the books of all who
    are, were or will be credited for them."""

    ancestries: Mapping[RecordKey, Ancestry]
    books: Mapping[str, Book]


def read_ledger(
    connection: redis.Redis, keys: Keys, *records: RecordKey, all_above: bool = False
) -> Ledger:
    """The ledger for ``records``. One that is gone has no contributors. With ``all_above`` it has
    the books of all who may be credited for what began from these."""
    ancestries = {record: read_ancestry(connection, keys, record) for record in records}
    people = set(_credited_before(connection, keys, records))
    for ancestry in ancestries.values():
        people.update(ancestry.contributors, ancestry.people if all_above else ancestry.origins)
    return Ledger(ancestries, _read_books(connection, keys, sorted(people - {OPERATOR})))


def credited(
    record: RecordKey, problem: str, quality: float | None, ledger: Ledger, keys: Keys
) -> list[Effect]:
    """``record`` has a verdict on ``problem``: with that ``quality`` it passed, with None it did
    not. The same verdict again changes nothing."""
    ancestry = ledger.ancestries[record]
    if not ancestry.contributors:
        return []
    name = record.name
    books = {ai: _without(book, earned_by={name}) for ai, book in ledger.books.items()}
    others: list[str] = []
    if quality is not None and quality > 0 and not ancestry.is_copy:
        for ai in books.keys() & {*ancestry.contributors}:
            _enter(books[ai], f"{OWN}:{problem}", name, (quality, ()))
        user = ancestry.contributors[0]
        for ai, way in ancestry.origins.items():
            names = tuple(step.name for step in way)
            _enter(books[ai], f"{BUILT}:{user}:{problem}", name, (quality, names))
            _keep_best_users(books[ai], problem)
        others = sorted(ancestry.origins)
    key = keys.record(*record)
    mark = ("HSET", key, MARK, to_json(others)) if others else ("HDEL", key, MARK)
    return [Write(mark), *_written(ledger.books, books, keys)]


def retracted(ledger: Ledger, keys: Keys) -> list[Effect]:
    """The ledger's records are taken back: what they earned, and their edges."""
    names = {record.name for record in ledger.ancestries}
    books = {ai: _without(book, names, names) for ai, book in ledger.books.items()}
    edges = [
        effect
        for record, ancestry in ledger.ancestries.items()
        for effect in forgotten(record, ancestry.parents, keys)
    ]
    return [*edges, *_written(ledger.books, books, keys)]


def score_of(book: Book) -> float:
    """The contribution score, by the rule."""
    own = sum(_best(earned) for group, earned in book.items() if group.startswith(f"{OWN}:"))
    problems = {_problem_built(group) for group in book} - {None}
    built = sum(
        _best(book[group])
        for problem in problems
        for group in _users(book, problem)[:USERS_COUNTED]
    )
    return round(own + USE_WEIGHT * built, 4)


def read_contributions(connection: redis.Redis, keys: Keys, ais: Sequence[str]) -> list[float]:
    """The contribution score of each of ``ais``, 0 for one that has none."""
    with connection.pipeline(transaction=False) as pipe:
        for ai in ais:
            pipe.hget(keys.member(ai), CONTRIBUTION)
        replies = replies_of(pipe)
    return [number_of(score) or 0.0 for score in replies]


def _without(book: Book, earned_by: Set[str], built_on: Set[str] = frozenset()) -> Book:
    """A copy of ``book`` without what those components earned, and what was built on those or led
    through them."""
    return {
        group: {
            component: (quality, way)
            for component, (quality, way) in earned.items()
            if component not in earned_by and built_on.isdisjoint(way)
        }
        for group, earned in book.items()
    }


def _enter(book: Book, group: str, component: str, earned: Earned) -> None:
    """The best are kept, of equals the first by name."""
    entries = sorted((book.get(group, {}) | {component: earned}).items())
    entries.sort(key=lambda entry: entry[1][0], reverse=True)
    book[group] = dict(entries[:KEPT])


def _keep_best_users(book: Book, problem: str) -> None:
    for group in _users(book, problem)[KEPT:]:
        book[group] = {}


def _users(book: Book, problem: str | None) -> list[str]:
    """The groups of those who built on something in ``problem``, the best first."""
    groups = sorted(group for group in book if _problem_built(group) == problem)
    return sorted(groups, key=lambda group: _best(book[group]), reverse=True)


def _problem_built(group: str) -> str | None:
    """None for a group that is of one's own components."""
    kind, _, rest = group.partition(":")
    return rest.partition(":")[2] if kind == BUILT else None


def _best(earned: Mapping[str, Earned]) -> float:
    return max((quality for quality, _ in earned.values()), default=0.0)


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
        score = score_of(book)
        if changed:
            effects.append(Write(("HSET", keys.member(ai), CONTRIBUTION, score)))
        if score != score_of(was):
            text = f"{ai} is credited with a contribution score of {score:g}"
            effects.append(Event("credited", ai, text, {CONTRIBUTION: score}))
    return effects


def _credited_before(
    connection: redis.Redis, keys: Keys, records: Iterable[RecordKey]
) -> Iterable[str]:
    """The other AIs that were last credited for ``records``."""
    with connection.pipeline(transaction=False) as pipe:
        for record in records:
            pipe.hget(keys.record(*record), MARK)
        replies = replies_of(pipe)
    marked = [json_of(stored) for stored in replies]
    named = [ai for names in marked if isinstance(names, list) for ai in names]
    return [ai for ai in named if isinstance(ai, str) and re.fullmatch(ID_PATTERN, ai)]


def _read_books(connection: redis.Redis, keys: Keys, ais: Sequence[str]) -> dict[str, Book]:
    with connection.pipeline(transaction=False) as pipe:
        for ai in ais:
            pipe.hgetall(keys.credit(ai))
        replies = replies_of(pipe)
    spoiled = [keys.credit(ai) for ai, reply in zip(ais, replies, strict=True) if reply is None]
    remove_spoiled(connection, spoiled)
    return {
        ai: {text_of(group): _earned(json_of(text)) for group, text in (reply or {}).items()}
        for ai, reply in zip(ais, replies, strict=True)
    }


def _earned(stored: Any) -> dict[str, Earned]:
    """What of a group can be read."""
    found: dict[str, Earned] = {}
    for component, entry in stored.items() if isinstance(stored, dict) else ():
        quality, way = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        number = finite_number(quality)
        if number is not None and isinstance(way, list):
            found[component] = (number, tuple(name for name in way if isinstance(name, str)))
    return found
