"""The busiest collaborations: on what, by whom, how long, and what came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import ValidationError

from coordinator.events import ToldSession
from coordinator.reads import Item
from reports import formats
from reports.sessions import kind_of, outcome_of

BUSIEST = 10
WORKERS_SHOWN = 8


class Collaboration(NamedTuple):
    """A session. ``workers`` are AIs with how many units each completed; ``took`` is "" for one
    that is still open, of whose units nobody knows how many there will be."""

    what: str
    state: str
    initiator: str
    participants: str
    workers: Sequence[tuple[str, int]]
    completed: int
    units: int
    tries: int
    took: str
    outcome: str


def busiest_of(
    sessions: Iterable[Item], done: Mapping[str, int], read_units: Callable[[str], Iterable[Item]]
) -> tuple[list[Collaboration], int]:
    """The BUSIEST sessions, those of most units ``done`` (by session) first and then those that
    took longest; and of how many that began."""
    found = map(_session_of, sessions)
    began = [session for session in found if session is not None and session.began_ms]
    began.sort(key=lambda session: (-done.get(session.id, 0), -_took_ms(session), session.id))
    chosen = began[:BUSIEST]
    return [_told(session, list(read_units(session.id))) for session in chosen], len(began)


def _session_of(item: Item) -> ToldSession | None:
    """None for one that people spoiled."""
    try:
        return ToldSession.model_validate(item["session"])
    except ValidationError:
        return None


def _took_ms(session: ToldSession) -> int:
    if session.began_ms is None or session.ended_ms is None:
        return 0
    return session.ended_ms - session.began_ms


def _told(session: ToldSession, attempts: Sequence[Item]) -> Collaboration:
    done = Counter(str(one["ai"]) for one in attempts if one["outcome"] == "completed")
    workers = [(formats.name(ai), count) for ai, count in done.most_common(WORKERS_SHOWN)]
    item = session.model_dump()
    return Collaboration(
        what=formats.name(kind_of(item)),
        state=formats.name(session.state),
        initiator=formats.name(session.initiator),
        participants=", ".join(map(formats.name, session.participants[:WORKERS_SHOWN])),
        workers=workers,
        completed=done.total(),
        units=max(len(session.units), len({one["unit_id"] for one in attempts})),
        tries=len(attempts),
        took=formats.duration(_took_ms(session)) if session.ended_ms else "",
        outcome=formats.text(outcome_of(item)),
    )
