"""What validators found: a verdict is stored, counts for what it is worth, and is told."""

from __future__ import annotations

from typing import Any

import redis

from coordinator import credit
from coordinator.context import Context, Incoming
from coordinator.effects import Broadcast, Deliver, Effect, Event, Note, Write
from coordinator.errors import BadMessage
from coordinator.keys import Keys, RecordKey
from coordinator.payloads import ValidationResult, Verdict, parse_payload
from coordinator.settings import Settings
from coordinator.validation.models import ATTEMPTS, OpenValidation
from coordinator.validation.waiting_list import (
    added,
    not_validated,
    own_result,
    settled,
    stop_waiting,
    try_again,
    write_verdict,
)


def read_judged_ledger(
    connection: redis.Redis, keys: Keys, _: Settings, message: Incoming
) -> credit.Ledger:
    """All that the credit for what was validated depends on."""
    result = parse_payload(ValidationResult, message.envelope.payload)
    return credit.read_ledger(connection, keys, RecordKey(result.kind, result.component_id))


def validation_result(message: Incoming, context: Context) -> list[Effect]:
    """A validator's verdict on a record, as that was when the validation began.

    One of an older attempt is as good as any. One on what the record no longer is, or that nobody
    waits for, changes nothing. Of what is measured again, one that says nothing of it leaves the
    verdict that it has, and one by another version than is waited for leaves it waiting.
    """
    result = parse_payload(ValidationResult, message.envelope.payload)
    record_key = RecordKey(result.kind, result.component_id)
    known = context.fleet.judged[record_key]
    contributors = context.fleet.contributors[record_key]
    _check_validator(message.sender, record_key, contributors)
    waiting = context.fleet.waiting.get(record_key)
    if waiting is None or result.hash != known.hash or result.attempt > waiting.attempt:
        text = f"{message.sender} validated {record_key}, for which nobody waits any more"
        return [Note(text)]
    verdict = result.model_dump(include=set(Verdict.model_fields))
    if result.verdict == "not_validated" and known.is_lasting:
        reason = f"{message.sender} could not: {result.reason}"
        return _not_measured_again(waiting, reason, context)
    verdict |= added(record_key, verdict, message.sender, context)
    record = {"hash": result.hash, "attempt": result.attempt, "contributor": contributors[0]}
    encoded = message.encode(message.envelope.payload | verdict | record)
    return [
        *settle(waiting, verdict, context.found, context),
        *_waits_on(waiting, result, context),
        *_told(record_key, verdict, encoded, message.sender, context),
    ]


def give_up(
    waiting: OpenValidation, reason: str, ledger: credit.Ledger, context: Context
) -> list[Effect]:
    """No validator brings its validation to an end: the coordinator itself says so. What has a
    verdict keeps it."""
    record_key = waiting.record_key
    if context.fleet.judged[record_key].is_lasting:
        return _not_measured_again(waiting, reason, context)
    verdict = not_validated(record_key, reason, context)
    encoded = own_result(waiting, verdict, context.fleet.contributors[record_key][0], context)
    return [
        *settle(waiting, verdict, ledger, context),
        *stop_waiting(waiting, context),
        *_told(record_key, verdict, encoded, "", context),
    ]


def settle(
    waiting: OpenValidation, verdict: dict[str, Any], ledger: credit.Ledger, context: Context
) -> list[Effect]:
    """Store the verdict that ``waiting`` waits for. Only one that passed gives a quality_score, a
    place among the best, and credit."""
    keys = context.keys
    record_key = waiting.record_key
    kind, record_id = record_key
    before = context.fleet.judged[record_key]
    effects: list[Effect] = [write_verdict(record_key, verdict, context)]
    judged = context.fleet.judged[record_key]
    key = keys.record(*record_key)
    if before.verdict == "passed":
        effects.append(Write(("ZREM", keys.best(kind, before.problem), record_id)))
    if judged.verdict == "passed":
        effects += [
            Write(("HSET", key, "quality_score", judged.score)),
            Write(("ZADD", keys.best(kind, judged.problem), judged.score, record_id)),
        ]
    else:
        effects.append(Write(("HDEL", key, "quality_score")))
    return [*effects, *credit.credited(record_key, judged.problem, judged.score, ledger, keys)]


def _waits_on(waiting: OpenValidation, result: ValidationResult, context: Context) -> list[Effect]:
    """Its wait is over, unless it is to be measured by a version that this ``result`` is not of:
    then it is queued again, ATTEMPTS times in all."""
    if waiting.evaluator in ("", result.evaluator) or result.attempt >= ATTEMPTS:
        return stop_waiting(waiting, context)
    return try_again(waiting, context) if result.attempt == waiting.attempt else []


def _not_measured_again(waiting: OpenValidation, reason: str, context: Context) -> list[Effect]:
    """It waits no longer, and keeps its verdict and all that this gave: what fails here is no fault
    of the record's."""
    record_key = waiting.record_key
    contributor = context.fleet.contributors[record_key][0]
    text = f"{record_key} of {contributor} was not measured again, and keeps its verdict: {reason}"
    data = {"kind": record_key.kind, "component_id": record_key.id, "reason": reason}
    return [*stop_waiting(waiting, context), Event("validation_kept", contributor, text, data)]


def _check_validator(sender: str, record_key: RecordKey, contributors: tuple[str, ...]) -> None:
    """BadMessage unless there is such a record, and ``sender`` had no part in it."""
    if not contributors:
        raise BadMessage(
            "not_found",
            f"payload.component_id names no {record_key.kind}: {record_key.id!r}; it may have been "
            "retracted",
            "payload.component_id",
        )
    if sender in contributors:
        raise BadMessage(
            "forbidden",
            f"{sender} had a part in {record_key}, and nobody validates what he wrote; "
            "another validator has to",
            "payload.component_id",
        )


def _told(
    record_key: RecordKey, verdict: dict[str, Any], encoded: str, validator: str, context: Context
) -> list[Effect]:
    """Tell the contributors, each in its inbox, and all others."""
    contributors = context.fleet.contributors[record_key]
    exclude = tuple(dict.fromkeys((*contributors, *([validator] if validator else []))))
    return [
        *(Deliver(ai, encoded) for ai in contributors),
        Broadcast(encoded, exclude=exclude),
        settled(record_key, verdict, context),
    ]
