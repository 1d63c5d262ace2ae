"""The function that a validator's work-horse runs: one component, and the verdict on it."""

from __future__ import annotations

import json
import logging
import os
from typing import Any, NamedTuple, cast

import redis
from rq import get_current_job

from coordinator.clock import Clock, RandomIds, SystemClock
from coordinator.errors import BadMessage
from coordinator.keys import Keys
from coordinator.messages import one_line
from coordinator.outages import sit_out
from coordinator.payloads import ValidationResult, Verdict, parse_payload
from coordinator.validation.jobs import VALIDATION_LIMIT_S
from coordinator.validation.models import record_hash, verdict_in_words
from workers.job import Host, ValidatorJob
from workers.sandbox import Interrupted
from workers.telling import Teller
from workers.time_limit import TookTooLong, time_limit
from workers.validation import Component, day_of, validate, validation_seed

log = logging.getLogger("rq.worker.validations")
log.setLevel(logging.INFO)  # what is judged is told, where RQ's own steps are not

MARGIN_S = 10.0
"""The last of the job's time is left to RQ, for noting that it has ended."""
TELLING_S = 40.0
"""So much of the rest is for telling the verdict, should the server be away."""
LONGEST_REASON = 500
NICENESS = 10
"""As training's: somebody waits for units, and nobody for a verdict."""

Payload = dict[str, Any]


class Stored(NamedTuple):
    """A record as it is stored, and whose it is."""

    component: Component
    hash: str
    contributors: list[str]


def run_validation(kind: str, record_id: str, hash: str, attempt: int) -> Payload:
    """Validate the record if it is still what ``hash`` is of; the payload of the validation_result.

    It is sent too. What is returned is kept by RQ, for people to see; ``skipped`` says why there
    is no verdict.
    """
    os.nice(NICENESS)
    job = cast(ValidatorJob, get_current_job())
    told = {"kind": kind, "component_id": record_id, "hash": hash, "attempt": attempt}
    return run_attempt(told, job.connection, job.host, SystemClock())


def run_attempt(asked: Payload, connection: redis.Redis, host: Host, clock: Clock) -> Payload:
    """``run_validation``, with all that it needs handed in."""
    until_s = clock.elapsed_s() + VALIDATION_LIMIT_S - MARGIN_S
    keys, name = Keys(host.settings.namespace), f"{asked['kind']} {asked['component_id']}"

    def read() -> Stored | None:
        return _read(connection, keys.record(asked["kind"], asked["component_id"]))

    stored = sit_out(read, until_s, clock)
    if stored is None or stored.hash != asked["hash"]:
        log.info("%s has changed since it was queued, and is not validated as it was", name)
        return asked | {"skipped": "it has changed"}
    if host.ai_id in stored.contributors:
        log.warning("%s is of %s itself, and is left to another validator", name, host.ai_id)
        return asked | {"skipped": "its contributor does not validate it"}
    try:
        day = day_of(clock.now_ms())
        payload = asked | _verdict(stored.component, host, day).model_dump()
    except Interrupted as error:
        log.warning("%s: attempt %d: %s", name, asked["attempt"], error.detail)
        return asked | {"skipped": error.detail}
    log.info("%s: %s", name, verdict_in_words(payload))
    _tell(payload, until_s, connection, host, clock)
    return payload


def _read(connection: redis.Redis, key: str) -> Stored | None:
    """None if there is none, or nothing that can be read."""
    fields = ("record", "specialization", "contributor", "contributors")
    found = cast("list[bytes | None]", connection.hmget(key, fields))
    record, specialization, contributor, contributors = (value or b"" for value in found)
    try:
        component = Component(json.loads(record), specialization.decode())
        everybody = [*json.loads(contributors or b"[]"), contributor.decode()]
    except ValueError:
        return None
    taken = record_hash(cast(Payload, component.record), component.specialization)
    return Stored(component, taken, everybody)


def _verdict(component: Component, host: Host, day: str) -> Verdict:
    """What is to be said of it. A fault of ours is no fault of the component's. Raises Interrupted:
    then nothing is said, and the coordinator has it tried again."""
    limit_s = VALIDATION_LIMIT_S - MARGIN_S - TELLING_S
    try:
        with time_limit(limit_s):
            return validate(component, validation_seed(host.settings), day=day)
    except TookTooLong:
        reason = f"its validation took longer than {limit_s:g} s"
    except Interrupted:
        raise
    except Exception as error:
        log.exception("a validation could not be done")
        reason = one_line(f"the validator failed: {type(error).__name__}: {error}", LONGEST_REASON)
    return Verdict(verdict="not_validated", reason=reason)


def _tell(
    payload: Payload, until_s: float, connection: redis.Redis, host: Host, clock: Clock
) -> None:
    """Send the verdict, trying until ``until_s``: after that another attempt is made."""
    # An instance for this run alone: the same attempt comes again when an evaluator has changed.
    teller = Teller(f"validation/{RandomIds().new()}", connection, host, clock)
    try:
        parse_payload(ValidationResult, payload)
        teller.tell(teller.encode("validation_result", payload), until_s)
    except (BadMessage, redis.RedisError) as error:
        name = f"{payload['kind']} {payload['component_id']}"
        log.warning("%s: its verdict could not be sent: %s", name, error)
