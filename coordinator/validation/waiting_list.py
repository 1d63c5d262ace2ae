"""What is shared waits for its validation: queued with the share, taken off when that is void."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from coordinator.clock import iso
from coordinator.context import Context
from coordinator.effects import Deliver, Effect, Event, Write
from coordinator.keys import RecordKey
from coordinator.messages import OPERATOR, to_json
from coordinator.validation.jobs import dequeue_validation, enqueue_validation
from coordinator.validation.models import (
    Judged,
    OpenValidation,
    record_hash,
    verdict_in_words,
    why_not_validated,
)

HOUR_MS = 3_600_000


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
    if digest == known.hash and (is_open or known.is_lasting):
        return []
    had_credit = known.verdict == "passed" or waiting is not None
    effects = withdraw(record_key, context)
    if digest != known.hash:
        effects.append(Write(("HSET", context.keys.record(*record_key), "hash_ms", context.now_ms)))
    fleet.judged[record_key] = Judged(digest)
    new = OpenValidation(record_key, digest, 1, context.now_ms)
    reason = why_not_validated(record)
    limit = "" if reason else _over_limit(contributor, context)
    if not (reason or limit):
        return [*effects, *_count(contributor, context), *wait(new, context)]
    unqueued = replace(new, attempt=0)
    verdict = not_validated(record_key, reason or limit, context)
    effects.append(write_verdict(record_key, verdict, context))
    if had_credit:
        effects += wait(unqueued, context)
    result = own_result(unqueued, verdict, contributor, context, target_ai=contributor)
    return [*effects, Deliver(contributor, result), settled(record_key, verdict, context)]


def not_validated(record_key: RecordKey, reason: str, context: Context) -> dict[str, Any]:
    """The coordinator's own verdict on what the record is now."""
    verdict = {"verdict": "not_validated", "reason": reason}
    return verdict | added(record_key, verdict, None, context)


def added(
    record_key: RecordKey, verdict: Mapping[str, Any], validator: str | None, context: Context
) -> dict[str, Any]:
    """What the coordinator adds to a ``verdict``. ``validator`` is None for its own."""
    known = context.fleet.judged[record_key]
    return {
        "validator": validator,
        "timestamp": iso(context.now_ms),
        "previous_score": known.score,
        "regression": known.has_regressed(verdict.get("score"), str(verdict.get("workload", ""))),
    }


def own_result(
    waiting: OpenValidation,
    verdict: dict[str, Any],
    contributor: str,
    context: Context,
    target_ai: str | None = None,
) -> str:
    """The ``validation_result`` of the coordinator's own ``verdict``, encoded."""
    kind, record_id = waiting.record_key
    record = {"kind": kind, "component_id": record_id, "hash": waiting.hash}
    payload = record | {"attempt": waiting.attempt, "contributor": contributor} | verdict
    return context.hub_message("validation_result", payload, target_ai)


def settled(record_key: RecordKey, verdict: dict[str, Any], context: Context) -> Event:
    """That there is a verdict on the record as it is, with all that the history tells of it."""
    fleet = context.fleet
    contributors = fleet.contributors[record_key]
    named = f"{record_key} of {contributors[0]}"
    text = f"{verdict['validator'] or 'nobody'} validated {named}: {verdict_in_words(verdict)}"
    if verdict["regression"]:
        text += f"; it was {verdict['previous_score']:.1%} before"
    record: dict[str, Any] = {"kind": record_key.kind, "component_id": record_key.id}
    record |= {"hash": fleet.judged[record_key].hash, "contributors": contributors}
    return Event("validated", contributors[0], text, verdict | record)


def write_verdict(record_key: RecordKey, verdict: dict[str, Any], context: Context) -> Write:
    """That is what was found of the record as it is."""
    judged = context.fleet.judged[record_key].given(verdict)
    context.fleet.judged[record_key] = judged
    stored = ("hash", judged.hash, "validation", to_json(verdict))
    return Write(("HSET", context.keys.record(*record_key), *stored))


def wait(waiting: OpenValidation, context: Context) -> list[Effect]:
    """It waits for its verdict from now on; the job of that attempt, if there is one, is queued."""
    keys = context.keys
    context.fleet.waiting[waiting.record_key] = waiting
    jobless = context.fleet.jobless
    (jobless.discard if waiting.attempt else jobless.add)(waiting.record_key)
    queued = enqueue_validation(waiting, keys, context.now_ms) if waiting.attempt else []
    key = keys.record(*waiting.record_key)
    return [
        Write(("HSET", key, "hash", waiting.hash, "validating", waiting.to_json())),
        Write(("ZADD", keys.validations, waiting.queued_ms, waiting.name)),
        *queued,
    ]


def try_again(waiting: OpenValidation, context: Context) -> list[Effect]:
    """The job of its attempt was lost: another one is queued."""
    lost = dequeue_validation(waiting, context.keys)
    return [*lost, *wait(replace(waiting, attempt=waiting.attempt + 1), context)]


def stop_waiting(waiting: OpenValidation, context: Context) -> list[Effect]:
    """It waits no longer; its job is taken off the queue, where it may still lie."""
    keys = context.keys
    context.fleet.waiting.pop(waiting.record_key, None)
    context.fleet.jobless.discard(waiting.record_key)
    return [
        Write(("HDEL", keys.record(*waiting.record_key), "validating")),
        Write(("ZREM", keys.validations, waiting.name)),
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
        effects.append(Write(("ZREM", keys.best(kind, known.problem), record_id)))
    if waiting is not None:
        effects += stop_waiting(waiting, context)
    fleet.judged[record_key] = Judged()
    return effects


def _over_limit(contributor: str, context: Context) -> str:
    """Why nothing more is queued for ``contributor`` now, and when it may share again; "" if there
    is room. Its hour begins with the first that it shares."""
    settings = context.settings
    fleet, most = context.fleet, settings.validations_open_max
    if len(fleet.waiting) - len(fleet.jobless) >= most:
        return (
            f"{most} components wait to be validated, which is the most "
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
