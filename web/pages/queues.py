"""Where units wait: RQ's queues, one of each AI, and the workers on them."""

from __future__ import annotations

from pydantic import Field

from coordinator.jobs import session_id_of, unit_of
from coordinator.keys import Keys
from coordinator.queues import LOOKED_AT, read_busiest
from coordinator.reads import Item
from web.pages.look import Look
from web.parameters import Query

ROWS = 50


class QueuesQuery(Query):
    """Which queues."""

    search: str | None = Field(
        None, max_length=128, description="Only queues and workers whose names contain this."
    )


def read_queues_page(look: Look, query: QueuesQuery) -> Item:
    reader = look.reader
    keys, now_ms = reader.keys, reader.clock.now_ms()
    found = read_busiest(reader.connection, keys, now_ms, ROWS, query.search or "")
    return {
        "query": query,
        "queues": [queue | {"ai": _ai_of(queue["name"], keys)} for queue in found.queues],
        "workers": [
            worker | {"ai": _ai_of(worker["name"], keys)} | _work_of(worker, keys)
            for worker in found.workers
        ],
        "queues_total": found.queues_total,
        "workers_total": found.workers_total,
        "looked_at": LOOKED_AT,
    }


def _ai_of(name: str, keys: Keys) -> str:
    """Whose queue or worker it is; "" for the queue of all validators."""
    for prefix in (keys.queue(""), keys.validator("")):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return ""


def _work_of(worker: Item, keys: Keys) -> Item:
    """The unit that it is at, and the session of that; "" for none, and for a validator."""
    runs_units = worker["name"].startswith(keys.queue(""))
    unit_id = unit_of(worker["current_job"] or "") if runs_units else ""
    return {"unit_id": unit_id, "session_id": session_id_of(unit_id)}
