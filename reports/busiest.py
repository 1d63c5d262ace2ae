"""The busiest collaborations: on what, by whom, how long, and what came out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from coordinator.reads import Item
from coordinator.work import FEATURE_REQUEST
from reports import shown

BUSIEST = 10
WORKERS_SHOWN = 8


class Collaboration(NamedTuple):
    """A session. ``workers`` are AIs with how many units each completed."""

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
    sessions: Iterable[Item], read_units: Callable[[str], Iterable[Item]]
) -> tuple[list[Collaboration], int]:
    """The BUSIEST sessions, those of most units first and then those that took longest; and how
    many there are in all."""
    found = list(sessions)
    began = [item for item in found if item.get("began_ms")]
    began.sort(key=lambda item: (-_planned(item), -_took_ms(item), str(item["session_id"])))
    chosen = began[:BUSIEST]
    return [_told(item, list(read_units(str(item["session_id"])))) for item in chosen], len(found)


def _planned(item: Item) -> int:
    session = item.get("session")
    units = session.get("units") if isinstance(session, dict) else None
    return len(units) if isinstance(units, list) else 0


def _took_ms(item: Item) -> int:
    began_ms, ended_ms = item.get("began_ms"), item.get("ended_ms")
    return ended_ms - began_ms if isinstance(ended_ms, int) and isinstance(began_ms, int) else 0


def _told(item: Item, attempts: Sequence[Item]) -> Collaboration:
    done = Counter(str(one["ai"]) for one in attempts if one.get("outcome") == "completed")
    workers = [(shown.name(ai), count) for ai, count in done.most_common(WORKERS_SHOWN)]
    participants = item.get("participants") or []
    return Collaboration(
        what=_what(item),
        state=shown.name(item.get("state")),
        initiator=shown.name(item.get("initiator")),
        participants=", ".join(map(shown.name, participants[:WORKERS_SHOWN])),
        workers=workers,
        completed=done.total(),
        units=max(_planned(item), len({one["unit_id"] for one in attempts})),
        tries=len(attempts),
        took=shown.duration(_took_ms(item)) if item.get("ended_ms") else "not ended",
        outcome=_outcome(item),
    )


def _what(item: Item) -> str:
    if item.get("type") != FEATURE_REQUEST:
        return shown.name(item.get("type"))
    session = item.get("session")
    wanted = session.get("requirements") if isinstance(session, dict) else None
    feature = wanted.get("feature") if isinstance(wanted, dict) else None
    return f"feature {shown.name(feature or '')}"


def _outcome(item: Item) -> str:
    """As those who did the work tell it, or why nothing came out."""
    result = item.get("result")
    if not isinstance(result, Mapping) or not result:
        return shown.text(item.get("reason") or item.get("component_id") or "")
    if isinstance(result.get("text"), str):
        return shown.text(result["text"])
    return shown.text(", ".join(f"{name} = {_brief(value)}" for name, value in result.items()))


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
