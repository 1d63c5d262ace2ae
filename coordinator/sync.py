"""training_sync: what an AI is told when it joins, bounded however much the fleet knows."""

from __future__ import annotations

from typing import Any

from coordinator.context import Context, Incoming
from coordinator.epochs import resume_after
from coordinator.fleet import Ai
from coordinator.keys import SYNC_MAP
from coordinator.messages import Cursor, to_json
from coordinator.reads import Item, Showcase
from coordinator.specializations import fits

MAX_BYTES_PER_KIND = 64 * 1024
MAX_LISTED_AIS = 1000
MAX_OPPORTUNITIES = 5
NOT_SYNCED = frozenset({"id", "specialization", "validation"})
"""Of a record: by what it is found here, and what is asked for where it matters."""


def training_sync(message: Incoming, seen: Cursor | None, context: Context) -> str:
    """The answer to a hello, as an encoded message.

    ``cursor`` in it is where this snapshot was made, where a newcomer begins to read. When the
    hello said what its sender had ``seen``, ``resume`` is where that one goes on, and ``forgot``
    the numbers it has seen that the server no longer knows.
    """
    fleet = context.fleet
    showcase: Showcase = context.found
    base: dict[str, Any] = {
        SYNC_MAP[kind]: _bounded(page.items) for kind, page in showcase.pages.items()
    }
    base["performance_benchmarks"] = _bounded_reports(showcase.benchmarks)
    inbox = fleet.members[message.sender]
    others = [ai for ai in fleet.ais.values() if ai.id != message.sender]
    partners = [ai for ai in others if fleet.members[ai.id].takes_part]
    payload: dict[str, Any] = {
        "in_reply_to": message.envelope.message_id,
        "global_knowledge_base": base,
        "active_ais": [message.sender, *(ai.id for ai in others[: MAX_LISTED_AIS - 1])],
        "collaboration_opportunities": _opportunities(message, partners),
        "counts": {
            "active_ais": len(others) + 1,
            **{SYNC_MAP[kind]: page.total for kind, page in showcase.pages.items()},
        },
        "cursor": {"epoch": fleet.epoch, "log": fleet.log.n, "inbox": inbox.n},
        "lease_s": context.settings.lease_s,
    }
    if seen is not None:
        log = resume_after(seen.epoch, seen.log, fleet.begins, fleet.log.n)
        own = resume_after(seen.epoch, seen.inbox, inbox.begins, inbox.n)
        payload["resume"] = {"epoch": fleet.epoch, "log": log, "inbox": own}
        payload["forgot"] = {"log": seen.log - log, "inbox": seen.inbox - own}
    return context.hub_message("training_sync", payload, message.sender)


def _bounded(items: list[Item]) -> dict[str, Item]:
    """Newest first, as many as fit; one that is too large hides no other."""
    fitting: dict[str, Item] = {}
    left_bytes = MAX_BYTES_PER_KIND
    for item in items:
        shown = {k: v for k, v in item.items() if k not in NOT_SYNCED}
        size_bytes = len(to_json(shown).encode())
        if size_bytes <= left_bytes:
            left_bytes -= size_bytes
            fitting[item["id"]] = shown
    return fitting


def _bounded_reports(benchmarks: dict[str, list[Item]]) -> dict[str, list[Item]]:
    """The newest reports of each component, as many as fit, shared out among the components."""
    left_bytes = MAX_BYTES_PER_KIND
    fitting: dict[str, list[Item]] = {}
    for rank in range(max(map(len, benchmarks.values()), default=0)):
        for component_id, reports in benchmarks.items():
            size_bytes = len(to_json(reports[rank : rank + 1]).encode())
            if rank < len(reports) and size_bytes <= left_bytes:
                left_bytes -= size_bytes
                fitting.setdefault(component_id, []).append(reports[rank])
    return fitting


def _opportunities(message: Incoming, others: list[Ai]) -> list[Item]:
    """Partners that the sender's specialization looks for: the least loaded, then the newest."""
    seeker = str(message.envelope.payload.get("specialization", "general"))
    partners = [
        ai
        for ai in others
        if ai.profile.get("collaboration_ready", True)
        and fits(seeker, ai.specialization, ai.capabilities)
    ]
    partners.sort(key=lambda ai: (ai.load, -ai.joined_ms))
    return [
        {
            "ai_id": ai.id,
            "specialization": ai.specialization,
            "capabilities": ai.capabilities,
            "suggested_type": "cross_specialization"
            if ai.specialization != seeker
            else "performance_optimization",
        }
        for ai in partners[:MAX_OPPORTUNITIES]
    ]
