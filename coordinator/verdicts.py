"""What validators found: a verdict is stored, counts for what it is worth, and is told."""

from __future__ import annotations

from typing import Any

import redis

from coordinator import credit
from coordinator.clock import iso
from coordinator.context import Context, Incoming
from coordinator.effects import Broadcast, Deliver, Effect, Event, Note, Write
from coordinator.errors import BadMessage
from coordinator.fleet import RecordKey
from coordinator.keys import Keys
from coordinator.payloads import ValidationResult, Verdict, parse_payload
from coordinator.settings import Settings
from coordinator.validating import not_validated, stop_waiting, write_verdict
from coordinator.validations import Judged, Waiting, in_words

REGRESSION = 0.02
"""A score that is worse by more than this is."""


def read_judged_ledger(
    connection: redis.Redis, keys: Keys, _: Settings, message: Incoming
) -> credit.Ledger:
    """All that the credit for what was validated depends on."""
    result = parse_payload(ValidationResult, message.envelope.payload)
    return credit.read_ledger(connection, keys, (result.kind, result.component_id))


def validation_result(message: Incoming, context: Context) -> list[Effect]:
    """A validator's verdict on a record, as that was when the validation began.

    One of an older attempt is as good as any. One on what the record no longer is, or that nobody
    waits for, changes nothing.
    """
    result = parse_payload(ValidationResult, message.envelope.payload)
    record_key: RecordKey = (result.kind, result.component_id)
    known = context.fleet.judged[record_key]
    contributors = context.fleet.contributors[record_key]
    _check_validator(message.sender, record_key, contributors)
    waiting = context.fleet.waiting.get(record_key)
    if waiting is None or result.hash != known.hash or result.attempt > waiting.attempt:
        text = f"{message.sender} validated {_named(record_key)}, for which nobody waits any more"
        return [Note(text)]
    verdict = result.model_dump(include=set(Verdict.model_fields)) | {
        "validator": message.sender,
        "timestamp": iso(context.now_ms),
        "previous_score": known.score,
        "regression": _is_regression(known, result.score),
    }
    record = {"hash": result.hash, "attempt": result.attempt, "contributor": contributors[0]}
    encoded = message.encode(message.envelope.payload | verdict | record)
    return [
        *settle(waiting, verdict, context.found, context),
        *_told(record_key, verdict, encoded, message.sender, context),
    ]


def give_up(waiting: Waiting, reason: str, ledger: credit.Ledger, context: Context) -> list[Effect]:
    """No validator brings its validation to an end: the coordinator itself says so."""
    record_key: RecordKey = (waiting.kind, waiting.id)
    known = context.fleet.judged[record_key]
    verdict = not_validated(reason, context) | {
        "validator": None,
        "previous_score": known.score,
        "regression": _is_regression(known, None),
    }
    contributor = context.fleet.contributors[record_key][0]
    record = {"kind": waiting.kind, "component_id": waiting.id, "hash": waiting.hash}
    payload = record | {"attempt": waiting.attempt, "contributor": contributor} | verdict
    encoded = context.hub_message("validation_result", payload)
    return [
        *settle(waiting, verdict, ledger, context),
        *_told(record_key, verdict, encoded, "", context),
    ]


def settle(
    waiting: Waiting, verdict: dict[str, Any], ledger: credit.Ledger, context: Context
) -> list[Effect]:
    """Store the verdict that ``waiting`` waited for. Only one that passed gives a quality_score, a
    place among the best, and credit."""
    keys = context.keys
    record_key: RecordKey = (waiting.kind, waiting.id)
    written = write_verdict(record_key, verdict, context)
    judged = context.fleet.judged[record_key]
    key, best = keys.record(*record_key), keys.best(waiting.kind, judged.specialization)
    if verdict["verdict"] == "passed":
        worth = [
            Write(("HSET", key, "quality_score", judged.score)),
            Write(("ZADD", best, judged.score, waiting.id)),
        ]
    else:
        worth = [Write(("HDEL", key, "quality_score")), Write(("ZREM", best, waiting.id))]
    problem = str(verdict.get("problem", ""))
    return [
        written,
        *worth,
        *stop_waiting(waiting, context),
        *credit.credited(record_key, problem, judged.score, ledger, keys),
    ]


def _check_validator(sender: str, record_key: RecordKey, contributors: tuple[str, ...]) -> None:
    """BadMessage unless there is such a record, and ``sender`` had no part in it."""
    if not contributors:
        raise BadMessage(
            "not_found",
            f"payload.component_id names no {record_key[0]}: {record_key[1]!r}; it may have been "
            "retracted",
            "payload.component_id",
        )
    if sender in contributors:
        raise BadMessage(
            "forbidden",
            f"{sender} had a part in {_named(record_key)}, and nobody validates what he wrote; "
            "another validator has to",
            "payload.component_id",
        )


def _is_regression(known: Judged, score: float | None) -> bool:
    """Whether the same record is worse than it was."""
    if known.score is None:
        return False
    return score is None or score < known.score - REGRESSION


def _told(
    record_key: RecordKey, verdict: dict[str, Any], encoded: str, validator: str, context: Context
) -> list[Effect]:
    """Tell the contributors, each in its inbox, and all others."""
    contributors = context.fleet.contributors[record_key]
    named = f"{_named(record_key)} of {contributors[0]}"
    text = f"{validator or 'nobody'} validated {named}: {in_words(verdict)}"
    if verdict["regression"]:
        text += f"; it was {verdict['previous_score']:.1%} before"
    shown = ("verdict", "reason", "score", "validator", "previous_score", "regression")
    data: dict[str, Any] = {name: verdict.get(name) for name in shown}
    data |= {"kind": record_key[0], "component_id": record_key[1]}
    exclude = tuple(dict.fromkeys((*contributors, *([validator] if validator else []))))
    return [
        *(Deliver(ai, encoded) for ai in contributors),
        Broadcast(encoded, exclude=exclude),
        Event("validated", contributors[0], text, data),
    ]


def _named(record_key: RecordKey) -> str:
    return " ".join(record_key)
