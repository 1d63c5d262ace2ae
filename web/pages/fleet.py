"""Who is there, how each of them does, and who came and went lately."""

from __future__ import annotations

from pydantic import Field

from coordinator.keys import KINDS
from coordinator.presence import count_specializations, read_presence
from coordinator.reads import Item, read_ais_with_work, read_counts
from coordinator.stored import read_one
from reports.palette import SPECIALIZATION_COLOURS, colours_of
from web.pages.ais import in_words
from web.pages.look import Look
from web.parameters import AisFilter, CursorQuery

ROWS = 50
CHANGES_SHOWN = 10


class FleetQuery(AisFilter, CursorQuery):
    """Which AIs."""

    search: str = Field("", max_length=64, description="Only AIs whose id has this in it.")


def read_fleet(look: Look, query: FleetQuery) -> Item:
    connection, keys, now_ms = look.reader.connection, look.reader.keys, look.reader.clock.now_ms()
    given = (ROWS, query.specialization, query.capability, query.cursor, query.search)
    page = read_ais_with_work(connection, keys, *given)
    presence = read_presence(connection, keys, [ai["ai_id"] for ai in page.items])
    counts = read_counts(connection, keys)
    shown = {ai["specialization"] for ai in page.items}
    names = [*SPECIALIZATION_COLOURS, *sorted(shown - SPECIALIZATION_COLOURS.keys())]
    specializations = count_specializations(connection, keys, names)
    return {
        "ais": page._replace(
            items=[in_words(ai, presence[ai["ai_id"]], now_ms) for ai in page.items]
        ),
        "query": query,
        "now_ms": now_ms,
        "live": counts["ais"],
        "records": sum(counts[f"{kind}s"] for kind in KINDS),
        "open_sessions": read_one(connection, "ZCOUNT", keys.sessions, "+inf", "+inf") or 0,
        "specializations": {name: count for name, count in specializations.items() if count},
        "others": max(0, counts["ais"] - sum(specializations.values())),
        "colours": colours_of(names),
        "changes": look.churn.newest[:CHANGES_SHOWN],
    }
