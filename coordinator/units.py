"""What happens to a unit: given to an AI, under way, ended. Each attempt is one RQ job."""

from __future__ import annotations

from typing import Any, Literal

from coordinator import jobs
from coordinator.context import Context
from coordinator.effects import Effect, Event, Write
from coordinator.messages import to_json
from coordinator.work import ASSIGNED_STATES, Attempt, Unit

EndedOutcome = Literal["completed", "failed", "lost", "cancelled"]


def assign(unit: Unit, ai: str, context: Context) -> list[Effect]:
    """Begin the next attempt: ``ai`` has the unit, and its job lies in that AI's queue."""
    unit.attempts.append(Attempt(ai, context.now_ms))
    unit.state = "queued"
    unit.progress = 0.0
    unit.unowned_since_s = None
    context.fleet.assigned[ai] += 1
    text = f"{unit.name} of session {unit.session_id} goes to {ai} (attempt {unit.attempt})"
    return [
        *jobs.enqueue(unit, ai, context.keys, context.now_ms),
        write(unit, context),
        Event("unit_assigned", ai, text, _data(unit)),
    ]


def note_running(unit: Unit, progress: float, context: Context) -> list[Effect]:
    """The present attempt is under way, and has come so far (0 to 1)."""
    unit.state = "running"
    if unit.running_since_s is None:
        unit.running_since_s = context.elapsed_s
    unit.progress = max(unit.progress, progress)
    return [write(unit, context)]


def end_attempt(
    unit: Unit,
    outcome: EndedOutcome,
    reason: str,
    context: Context,
    output: dict[str, Any] | None = None,
) -> list[Effect]:
    """End the present attempt; its job is taken off the queue, where it may still lie. One that
    ``completed`` has an ``output``.

    One that ``failed`` has its unit tried again until that has failed ``tries`` times; one that
    was ``lost`` with its AI has it tried again in any case.
    """
    present = unit.attempts[-1]
    unit.running_since_s = None
    present.ended_ms, present.outcome, present.reason = context.now_ms, outcome, reason
    _give_back(present.ai, context)
    if outcome in ("completed", "cancelled"):
        unit.state = outcome
    else:
        unit.state = "failed" if unit.failures >= unit.tries else "waiting"
    unit.progress = 1.0 if outcome == "completed" else 0.0
    text = f"{unit.name} of session {unit.session_id}: {present.ai} {_said(outcome, reason)}"
    data = _data(unit) | {"reason": reason} | ({} if output is None else {"output": output})
    return [
        *jobs.dequeue(unit, present.ai, context.keys),
        *_count(present.ai, outcome, context),
        write(unit, context),
        *([] if output is None else [_write_output(unit, output, context)]),
        Event(f"unit_{outcome}", present.ai, text, data),
    ]


def cancel(unit: Unit, reason: str, context: Context) -> list[Effect]:
    """Whatever has not ended ends here."""
    if unit.state in ASSIGNED_STATES:
        return end_attempt(unit, "cancelled", reason, context)
    if unit.state == "waiting":
        unit.state = "cancelled"
        return [write(unit, context)]
    return []


def write(unit: Unit, context: Context) -> Write:
    """The unit's record; ``attempt`` is what the entry function looks at first."""
    attempt = unit.attempt if unit.state in ASSIGNED_STATES else 0
    key = context.keys.unit(unit.id)
    return Write(("HSET", key, "unit", unit.to_json(), "attempt", attempt))


def _write_output(unit: Unit, output: dict[str, Any], context: Context) -> Write:
    return Write(("HSET", context.keys.unit(unit.id), "output", to_json(output)))


def _give_back(ai: str, context: Context) -> None:
    context.fleet.assigned[ai] -= 1
    if not context.fleet.assigned[ai]:
        del context.fleet.assigned[ai]


def _count(ai: str, outcome: EndedOutcome, context: Context) -> list[Effect]:
    """An AI's record, by which it is ranked."""
    member, key = context.fleet.members[ai], context.keys.member(ai)
    if outcome == "completed":
        member.units_completed += 1
        return [Write(("HINCRBY", key, "units_completed", 1))]
    if outcome == "failed":
        member.units_failed += 1
        return [Write(("HINCRBY", key, "units_failed", 1))]
    return []


def _said(outcome: EndedOutcome, reason: str) -> str:
    return f"{outcome} it: {reason}" if reason else f"{outcome} it"


def _data(unit: Unit) -> dict[str, Any]:
    told = {"session_id": unit.session_id, "unit_id": unit.id, "attempt": unit.attempt}
    return told | {"unit": unit.told()}
