"""The function that RQ's work-horse runs: one attempt at one unit, and word of how it ended."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

import redis
from rq import get_current_job

from coordinator.clock import Clock, SystemClock
from coordinator.errors import BadMessage
from coordinator.jobs import GRACE_S
from coordinator.keys import Keys
from coordinator.messages import one_line
from coordinator.outages import sit_out
from coordinator.payloads import WorkResult, parse_payload
from coordinator.work import Unit
from workers.job import Host, TrainerJob
from workers.shared import StoredArtifacts, StoredKnowledge, StoredWorkspace
from workers.skills.registry import find_skill
from workers.skills.skill import Output, SkillError, UnitContext
from workers.telling import Teller
from workers.time_limit import TookTooLong, time_limit

log = logging.getLogger("rq.worker")

LONGEST_REASON = 400
PROGRESS_EVERY_S = 1.0
PROGRESS_SHARE = 0.1
"""How much of a unit's time may be spent on telling its progress to a server that is away."""
MARGIN_S = 10.0
"""The last of the grace is left to RQ, for noting that the job has ended."""

T = TypeVar("T")
Payload = dict[str, Any]


def run_unit(unit_id: str, attempt: int) -> Payload:
    """Run the unit if ``attempt`` is its present one; the payload of the work_result.

    It is sent too. What is returned is kept by RQ, should the message get lost.
    """
    job = cast(TrainerJob, get_current_job())
    return run_attempt(unit_id, attempt, job.connection, job.host, SystemClock())


def run_attempt(
    unit_id: str, attempt: int, connection: redis.Redis, host: Host, clock: Clock
) -> Payload:
    """``run_unit``, with all that it needs handed in."""
    began_s = clock.elapsed_s()
    keys = Keys(host.settings.namespace)
    unit = sit_out(lambda: _read_unit(connection, keys, unit_id, attempt), began_s + GRACE_S, clock)
    if unit is None:
        log.info("unit %s: attempt %d is not the present one, and is not run", unit_id, attempt)
        reason = "it is not the unit's present attempt"
        return {"unit_id": unit_id, "attempt": attempt, "outcome": "failed", "reason": reason}
    until_s = began_s + int(unit.limit_s) + GRACE_S - MARGIN_S

    def patient(action: Callable[[], T]) -> T:
        return sit_out(action, until_s, clock)

    report = UnitReport(unit, connection, host, clock)
    workspace = StoredWorkspace(connection, keys, unit.session_id, patient)

    def run() -> Output:
        skill = find_skill(unit.kind)
        if skill is None:
            raise SkillError(f"{host.ai_id} has no skill for {unit.kind}")
        context = UnitContext(
            ai_id=host.ai_id,
            specialization=host.settings.specialization,
            outputs=patient(lambda: _read_outputs(connection, keys, unit)),
            workspace=workspace,
            knowledge=StoredKnowledge(connection, keys, patient),
            artifacts=StoredArtifacts(
                connection,
                keys,
                host.ai_id,
                host.settings,
                patient,
                lambda told: report.tell_artifact(told, until_s),
            ),
            progress=report.progress,
            log=log.getChild(unit.kind),
        )
        return skill.run(unit, context)

    output, reason = _outcome(unit, run)
    return report.end(output, workspace.written, reason, until_s)


class UnitReport:
    """What one attempt tells the coordinator."""

    def __init__(self, unit: Unit, connection: redis.Redis, host: Host, clock: Clock) -> None:
        self._unit = unit
        self._clock = clock
        self._teller = Teller(f"{unit.id}/{unit.attempt}", connection, host, clock)
        self._next_progress_s = 0.0

    def progress(self, progress: float) -> None:
        """Tell how far the unit has come (0 to 1), if it is time; when the server is away, less
        often."""
        began_s = self._clock.elapsed_s()
        if began_s < self._next_progress_s:
            return
        told = {"progress": min(1.0, max(0.0, float(progress)))}
        try:
            self._teller.tell(self._teller.encode("work_result", self._payload("running") | told))
        except redis.RedisError as error:
            log.debug("unit %s: its progress was not told: %s", self._unit.id, error)
        took_s = self._clock.elapsed_s() - began_s
        self._next_progress_s = began_s + max(PROGRESS_EVERY_S, took_s / PROGRESS_SHARE)

    def tell_artifact(self, reference: Payload, until_s: float) -> None:
        """Tell what lies in the AI's space since now, trying until ``until_s``."""
        self._teller.tell(self._teller.encode("payload", reference), until_s)

    def end(
        self, output: Output, workspace: dict[str, Any], reason: str, until_s: float
    ) -> Payload:
        """Tell how the attempt ended, trying until ``until_s``; what was told. With a ``reason``
        it has failed, and so it has with a result that cannot be sent."""
        payload = self._payload("failed") | {"reason": reason}
        if not reason:
            payload = self._payload("completed") | {"output": output, "workspace": workspace}
        try:
            parse_payload(WorkResult, payload)
            body = self._teller.encode("work_result", payload)
        except (BadMessage, RecursionError) as error:
            reason = one_line(f"its result cannot be sent: {error}", LONGEST_REASON)
            payload = self._payload("failed") | {"reason": reason}
            body = self._teller.encode("work_result", payload)
        try:
            self._teller.tell(body, until_s)
        except redis.RedisError as error:
            log.warning("unit %s: its result could not be sent: %s", self._unit.id, error)
        return payload

    def _payload(self, outcome: Literal["running", "completed", "failed"]) -> Payload:
        unit = self._unit
        return {
            "session_id": unit.session_id,
            "unit_id": unit.id,
            "attempt": unit.attempt,
            "outcome": outcome,
        }


def _outcome(unit: Unit, run: Callable[[], Output]) -> tuple[Output, str]:
    """The output of ``run``, or the reason why there is none, in one line."""
    try:
        with time_limit(unit.limit_s):
            return run(), ""
    except TookTooLong:
        reason = f"took longer than {unit.limit_s:g} s"
    except (Exception, SystemExit) as error:
        log.debug("unit %s failed", unit.id, exc_info=True)
        reason = one_line(f"{type(error).__name__}: {error}", LONGEST_REASON)
    log.info("unit %s (%s) failed: %s", unit.id, unit.kind, reason)
    return {}, reason


def _read_unit(connection: redis.Redis, keys: Keys, unit_id: str, attempt: int) -> Unit | None:
    """The unit, if ``attempt`` is its present one."""
    unit, present = cast(
        "list[bytes | None]", connection.hmget(keys.unit(unit_id), ["unit", "attempt"])
    )
    if unit is None or present != str(attempt).encode():
        return None
    return Unit.from_json(unit)


def _read_outputs(connection: redis.Redis, keys: Keys, unit: Unit) -> dict[str, Output]:
    """What the units made that this one needs, by their names."""
    with connection.pipeline(transaction=False) as pipe:
        for need in unit.needs:
            pipe.hmget(keys.unit(need), ["unit", "output"])
        found = pipe.execute()
    outputs: dict[str, Output] = {}
    for need, (needed, output) in zip(unit.needs, found, strict=True):
        if needed is None or output is None:
            raise SkillError(f"the output of unit {need}, which it needs, is gone")
        outputs[Unit.from_json(needed).name] = json.loads(output)
    return outputs
