"""Watches over validations: jobs that were lost, credit to take back, evaluators that changed."""

from __future__ import annotations

import logging
from itertools import islice
from typing import NamedTuple

import redis

from coordinator import credit
from coordinator.context import Context
from coordinator.effects import Effect, Event, Write
from coordinator.fleet import Fleet, RecordKey
from coordinator.keys import Keys
from coordinator.messages import OPERATOR
from coordinator.server_errors import is_of_the_data
from coordinator.validating import stop_waiting, try_again, wait
from coordinator.validation_jobs import Signs, read_signs
from coordinator.validation_state import read_best
from coordinator.validations import Waiting
from coordinator.verdicts import give_up

log = logging.getLogger("coord")

LOOK_EVERY_S = 3.0
LOOKED_AT_ONCE = 100
LOST_AFTER_S = 15.0
"""A job that left the queue shows a sign of life every few seconds, from whichever machine."""
ATTEMPTS = 3
MEASURED_AGAIN = 10
"""So many of the best of each kind are measured by an evaluator that is new."""


class Sight(NamedTuple):
    """What RQ showed of a job, and since when it shows the same, on the clock that never steps."""

    signs: Signs
    since_s: float


class ValidationWatch:
    """Looks every few seconds, at some of the open validations at a time."""

    def __init__(self) -> None:
        self._sights: dict[Waiting, Sight] = {}
        self._last: RecordKey | None = None
        self._looked_s = float("-inf")

    def look(self, connection: redis.Redis, context: Context) -> list[Effect]:
        """What follows from what RQ shows now, and from what live validators measure by."""
        if context.elapsed_s - self._looked_s < LOOK_EVERY_S:
            return []
        self._looked_s = context.elapsed_s
        fleet, keys = context.fleet, context.keys
        looked_at = self._turn(fleet)
        jobs = [waiting for waiting in looked_at if waiting.attempt]
        signs = read_signs(connection, jobs, keys)
        lost = [one for one in jobs if self._is_lost(one, signs.get(one), context.elapsed_s)]
        effects = _end_one(connection, looked_at, lost, signs, context)
        for waiting in lost:
            if waiting.attempt < ATTEMPTS:
                effects += _again(waiting, context)
        open_ones = set(fleet.waiting.values())
        self._sights = {one: sight for one, sight in self._sights.items() if one in open_ones}
        return [*effects, *_measure_again(connection, keys, context)]

    def _turn(self, fleet: Fleet) -> list[Waiting]:
        """The next of those that wait."""
        later = [key for key in fleet.waiting if self._last is None or key > self._last]
        chosen = list(islice(sorted(later or fleet.waiting), LOOKED_AT_ONCE))
        self._last = chosen[-1] if chosen else None
        return [fleet.waiting[key] for key in chosen]

    def _is_lost(self, waiting: Waiting, signs: Signs | None, now_s: float) -> bool:
        """``signs`` is None for a job that still lies in the queue."""
        if signs is None:
            self._sights.pop(waiting, None)
            return False
        sight = self._sights.get(waiting)
        if sight is None or sight.signs != signs:
            self._sights[waiting] = Sight(signs, now_s)
            return False
        return now_s - sight.since_s >= LOST_AFTER_S


def _end_one(
    connection: redis.Redis,
    looked_at: list[Waiting],
    lost: list[Waiting],
    signs: dict[Waiting, Signs],
    context: Context,
) -> list[Effect]:
    """Give up one that was lost too often, or take back the credit for one that nobody validates.

    One at a time: the credit of the next depends on what this one writes.
    """
    ended = [one for one in lost if one.attempt >= ATTEMPTS]
    for waiting in [*ended, *(one for one in looked_at if not one.attempt)][:1]:
        record_key: RecordKey = (waiting.kind, waiting.id)
        ledger = _read_ledger(connection, context.keys, record_key)
        if ledger is None or not context.fleet.contributors[record_key]:
            return stop_waiting(waiting, context)
        if waiting.attempt:
            reason = (
                f"its validation was lost {ATTEMPTS} times, and RQ last called its job "
                f"{signs[waiting].status or 'gone'}: share it again to have it tried again"
            )
            return give_up(waiting, reason, ledger, context)
        taken_back = credit.credited(record_key, "", None, ledger, context.keys)
        return [*stop_waiting(waiting, context), *taken_back]
    return []


def _read_ledger(
    connection: redis.Redis, keys: Keys, record_key: RecordKey
) -> credit.Ledger | None:
    """None if strangers have spoiled it."""
    try:
        return credit.read_ledger(connection, keys, record_key)
    except Exception as error:
        if isinstance(error, redis.RedisError) and not is_of_the_data(error):
            raise
        log.warning("gave up the validation of %s, whose credit cannot be read", record_key)
        return None


def _again(waiting: Waiting, context: Context) -> list[Effect]:
    contributors = context.fleet.contributors[waiting.kind, waiting.id]
    if not contributors:
        return stop_waiting(waiting, context)  # a stranger has removed the record
    text = f"the validation of {waiting.kind} {waiting.id} was lost, and is queued again"
    data = {"kind": waiting.kind, "component_id": waiting.id, "attempt": waiting.attempt}
    return [*try_again(waiting, context), Event("validation_lost", contributors[0], text, data)]


def _measure_again(connection: redis.Redis, keys: Keys, context: Context) -> list[Effect]:
    """The best of one specialization whose evaluator is new, and which another one measured."""
    fleet = context.fleet
    for specialization, version in _evaluators(fleet).items():
        if fleet.evaluators.get(specialization) == version:
            continue
        fleet.evaluators[specialization] = version
        effects: list[Effect] = [Write(("HSET", keys.evaluators, specialization, version))]
        best = read_best(connection, keys, specialization, MEASURED_AGAIN)
        fleet.judged.prefetch(best)
        again = [key for key in best if fleet.judged[key].evaluator != version]
        for record_key in again:
            if record_key not in fleet.waiting:
                digest = fleet.judged[record_key].hash
                effects += wait(Waiting(*record_key, digest, 1, context.now_ms), context)
        if again:
            text = (
                f"{specialization} is measured by {version} now: {len(again)} are validated again"
            )
            data = {"specialization": specialization, "version": version}
            effects.append(Event("evaluator_changed", OPERATOR, text, data))
        return effects
    return []


def _evaluators(fleet: Fleet) -> dict[str, str]:
    """By specialization, what the validators measure by that are here: what the newest says."""
    newest: dict[str, str] = {}
    for ai in sorted(fleet.ais.values(), key=lambda ai: (ai.joined_ms, ai.id)):
        access = fleet.members[ai.id].access
        if access is not None and access.role == "validator":
            newest |= ai.profile.get("evaluators") or {}
    return newest
