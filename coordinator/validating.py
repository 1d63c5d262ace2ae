"""What is shared waits for its validation: queued with the share, taken off when that is void."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coordinator.clock import iso
from coordinator.context import Context
from coordinator.effects import Deliver, Effect, Write
from coordinator.fleet import RecordKey
from coordinator.messages import OPERATOR, to_json
from coordinator.validation_jobs import dequeue_validation, enqueue_validation
from coordinator.validations import Judged, Waiting, record_hash, why_not

HOUR_MS = 3_600_000
LASTING = ("passed", "failed", "compiled")
"""Verdicts that hold for as long as the record is what it was."""


def submit(
    record_key: RecordKey,
    record: dict[str, Any],
    specialization: str,
    contributor: str,
    context: Context,
) -> list[Effect]:
    """``contributor`` has stored ``record``: have it validated.

    One that is what it was keeps its verdict, or its place in the queue; one that changed loses
    both. What cannot be validated, or not now, is told so by its verdict, and is stored all the
    same.
    """
    fleet = context.fleet
    known, waiting = fleet.judged[record_key], fleet.waiting.get(record_key)
    digest = record_hash(record, specialization)
    is_open = waiting is not None and waiting.attempt > 0
    if digest == known.hash and (is_open or known.verdict in LASTING):
        return []
    had_credit = known.verdict == "passed" or waiting is not None
    effects = withdraw(record_key, context)
    fleet.judged[record_key] = Judged(digest, specialization)
    new = Waiting(*record_key, digest, 1, context.now_ms)
    reason = why_not(record)
    limit = "" if reason else _over_limit(contributor, context)
    if not (reason or limit):
        return [*effects, *_count(contributor, context), *wait(new, context)]
    verdict = not_validated(reason or limit, context)
    effects.append(write_verdict(record_key, verdict, context))
    if had_credit:
        effects += wait(replace(new, attempt=0), context)
    if limit:
        effects.append(_tell(new, verdict, contributor, context))
    return effects


def not_validated(reason: str, context: Context) -> dict[str, Any]:
    """The coordinator's own verdict."""
    return {"verdict": "not_validated", "reason": reason, "timestamp": iso(context.now_ms)}


def write_verdict(record_key: RecordKey, verdict: dict[str, Any], context: Context) -> Write:
    """That is what was found of the record as it is."""
    judged = context.fleet.judged[record_key].given(verdict)
    context.fleet.judged[record_key] = judged
    stored = ("hash", judged.hash, "validation", to_json(verdict))
    return Write(("HSET", context.keys.record(*record_key), *stored))


def wait(waiting: Waiting, context: Context) -> list[Effect]:
    """It waits for its verdict from now on; the job of that attempt, if there is one, is queued."""
    keys = context.keys
    context.fleet.waiting[waiting.kind, waiting.id] = waiting
    queued = enqueue_validation(waiting, keys, context.now_ms) if waiting.attempt else []
    key = keys.record(waiting.kind, waiting.id)
    return [
        Write(("HSET", key, "hash", waiting.hash, "validating", waiting.to_json())),
        Write(("ZADD", keys.validations, waiting.queued_ms, waiting.member)),
        *queued,
    ]


def try_again(waiting: Waiting, context: Context) -> list[Effect]:
    """The job of its attempt was lost: another one is queued."""
    lost = dequeue_validation(waiting, context.keys)
    return [*lost, *wait(replace(waiting, attempt=waiting.attempt + 1), context)]


def stop_waiting(waiting: Waiting, context: Context) -> list[Effect]:
    """It waits no longer; its job is taken off the queue, where it may still lie."""
    keys = context.keys
    context.fleet.waiting.pop((waiting.kind, waiting.id), None)
    return [
        Write(("HDEL", keys.record(waiting.kind, waiting.id), "validating")),
        Write(("ZREM", keys.validations, waiting.member)),
        *(dequeue_validation(waiting, keys) if waiting.attempt else []),
    ]


def withdraw(record_key: RecordKey, context: Context) -> list[Effect]:
    """The record is no longer what was judged, or to be judged."""
    fleet, keys = context.fleet, context.keys
    kind, record_id = record_key
    known, waiting = fleet.judged[record_key], fleet.waiting.get(record_key)
    effects: list[Effect] = []
    if known.verdict:
        effects.append(Write(("HDEL", keys.record(*record_key), "validation", "quality_score")))
    if known.verdict == "passed":
        effects.append(Write(("ZREM", keys.best(kind, known.specialization), record_id)))
    if waiting is not None:
        effects += stop_waiting(waiting, context)
    fleet.judged[record_key] = Judged()
    return effects


def _tell(waiting: Waiting, verdict: dict[str, Any], contributor: str, context: Context) -> Deliver:
    record = {"kind": waiting.kind, "component_id": waiting.id, "hash": waiting.hash}
    payload = record | verdict | {"contributor": contributor}
    return Deliver(contributor, context.hub_message("validation_result", payload, contributor))


def _over_limit(contributor: str, context: Context) -> str:
    """Why nothing more is queued for ``contributor`` now, and when it may share again; "" if there
    is room. Its hour begins with the first that it shares."""
    settings = context.settings
    if len(context.fleet.waiting) >= settings.validations_open_max:
        return (
            f"{settings.validations_open_max} components wait to be validated, which is the most "
            "(COORD_VALIDATIONS_OPEN_MAX): share it again when some of them have their verdict"
        )
    member = context.fleet.members[contributor]
    ends_ms = member.validations_since_ms + HOUR_MS
    is_over = not member.validations_since_ms <= context.now_ms < ends_ms
    if is_over or member.validations_queued < settings.validations_per_hour:
        return ""
    return (
        f"{contributor} had {member.validations_queued} components validated within the hour, "
        f"which is the most (COORD_VALIDATIONS_PER_HOUR): share it again after {iso(ends_ms)}"
    )


def _count(contributor: str, context: Context) -> list[Effect]:
    """One more of its hour. People at a shell are not counted."""
    if contributor == OPERATOR:
        return []
    member = context.fleet.members[contributor]
    since_ms = member.validations_since_ms
    if not since_ms <= context.now_ms < since_ms + HOUR_MS:
        member.validations_since_ms, member.validations_queued = context.now_ms, 0
    member.validations_queued += 1
    hour = ("validations_since_ms", member.validations_since_ms)
    queued = ("validations_queued", member.validations_queued)
    return [Write(("HSET", context.keys.member(contributor), *hour, *queued))]
