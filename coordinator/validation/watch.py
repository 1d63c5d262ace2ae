"""Watches over validations: jobs that were lost, credit to take back, evaluators that changed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import NamedTuple

import redis

from coordinator import credit
from coordinator.context import Context
from coordinator.effects import Effect, Event, Write
from coordinator.fleet import Fleet
from coordinator.keys import RecordKey
from coordinator.messages import OPERATOR
from coordinator.server_errors import raise_unless_of_the_data
from coordinator.validation.jobs import Signs, read_signs
from coordinator.validation.models import ATTEMPTS, OpenValidation
from coordinator.validation.state import read_best
from coordinator.validation.verdicts import give_up
from coordinator.validation.waiting_list import stop_waiting, try_again, wait

log = logging.getLogger("coord")

LOOK_EVERY_S = 3.0
LOOKED_AT_ONCE = 100
LOST_AFTER_S = 15.0
"""A job that left the queue shows a sign of life every few seconds, from whichever machine."""
MEASURED_AGAIN = 10
"""So many of the best of each kind are measured by an evaluator that is new."""
VERSION_STANDS_S = 60.0
"""Another version counts once the validators have told it for so long, whoever comes and goes."""
MOST_EVALUATORS = 64

Step = Callable[[], list[Effect]]


class Sight(NamedTuple):
    """What RQ showed of a job, and since when it shows the same, on the clock that never steps."""

    signs: Signs
    since_s: float


class Version(NamedTuple):
    """By what validators say that a problem is measured, and since when, on the same clock."""

    name: str
    since_s: float


class ValidationWatch:
    """Looks every few seconds, at some of the open validations at a time."""

    def __init__(self) -> None:
        self._sights: dict[OpenValidation, Sight] = {}
        self._versions: dict[str, Version] = {}
        self._last: RecordKey | None = None
        self._looked_s = float("-inf")

    def look(self, connection: redis.Redis, context: Context) -> list[Effect]:
        """What follows from what RQ shows now, and from what live validators measure by. A step
        that fails costs itself alone."""
        if context.elapsed_s - self._looked_s < LOOK_EVERY_S:
            return []
        self._looked_s = context.elapsed_s
        looked = contained("the open validations", lambda: self._look_at_jobs(connection, context))
        measured = contained("the evaluators", lambda: self._measure_again(connection, context))
        return [*looked, *measured]

    def _look_at_jobs(self, connection: redis.Redis, context: Context) -> list[Effect]:
        fleet = context.fleet
        looked_at = self._turn(fleet)
        jobs = [waiting for waiting in looked_at if waiting.attempt]
        signs = read_signs(connection, jobs, context.keys)
        lost = [one for one in jobs if self._is_lost(one, signs.get(one), context.elapsed_s)]
        effects = _end_one(connection, looked_at, lost, signs, context)
        for waiting in lost:
            if waiting.attempt < ATTEMPTS:
                effects += contained(str(waiting.record_key), partial(_again, waiting, context))
        open_ones = set(fleet.waiting.values())
        self._sights = {one: sight for one, sight in self._sights.items() if one in open_ones}
        return effects

    def _measure_again(self, connection: redis.Redis, context: Context) -> list[Effect]:
        """The best of one problem whose evaluator is new, and which another one measured."""
        fleet, now_s = context.fleet, context.elapsed_s
        told = told_evaluators(fleet)
        before, self._versions = self._versions, {}
        for name, version in told.items():
            known = before.get(name)
            same = known is not None and known.name == version
            self._versions[name] = known if known and same else Version(version, now_s)
        effects: list[Effect] = []
        for name in fleet.evaluators.keys() - told.keys():
            del fleet.evaluators[name]
            effects.append(Write(("HDEL", context.keys.evaluators, name)))
        for name, version in told.items():
            has_stood = now_s - self._versions[name].since_s >= VERSION_STANDS_S
            if fleet.evaluators.get(name) != version and has_stood:
                return [*effects, *measured_by(connection, name, version, context)]
        return effects

    def _turn(self, fleet: Fleet) -> list[OpenValidation]:
        """The next of those that wait."""
        later = [key for key in fleet.waiting if self._last is None or key > self._last]
        chosen = list(islice(sorted(later or fleet.waiting), LOOKED_AT_ONCE))
        self._last = chosen[-1] if chosen else None
        return [fleet.waiting[key] for key in chosen]

    def _is_lost(self, waiting: OpenValidation, signs: Signs | None, now_s: float) -> bool:
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
    looked_at: list[OpenValidation],
    lost: list[OpenValidation],
    signs: dict[OpenValidation, Signs],
    context: Context,
) -> list[Effect]:
    """Give up one that was lost too often, or take back the credit for one that nobody validates.

    One at a time: the credit of the next depends on what this one writes.
    """
    ended = [one for one in lost if one.attempt >= ATTEMPTS]
    for waiting in [*ended, *(one for one in looked_at if not one.attempt)][:1]:
        record_key = waiting.record_key
        try:
            return _end(connection, waiting, signs.get(waiting), context)
        except Exception as error:
            raise_unless_of_the_data(error)
            log.exception("gave up the validation of %s", record_key)
            context.fleet.judged.pop(record_key, None)
            return stop_waiting(waiting, context)
    return []


def _end(
    connection: redis.Redis, waiting: OpenValidation, signs: Signs | None, context: Context
) -> list[Effect]:
    record_key = waiting.record_key
    if not context.fleet.contributors[record_key]:
        return stop_waiting(waiting, context)
    ledger = credit.read_ledger(connection, context.keys, record_key)
    if waiting.attempt:
        reason = (
            f"its validation was lost {ATTEMPTS} times, and RQ last called its job "
            f"{(signs and signs.status) or 'gone'}: share it again to have it tried again"
        )
        return give_up(waiting, reason, ledger, context)
    taken_back = credit.credited(record_key, "", None, ledger, context.keys)
    return [*stop_waiting(waiting, context), *taken_back]


def _again(waiting: OpenValidation, context: Context) -> list[Effect]:
    contributors = context.fleet.contributors[waiting.record_key]
    if not contributors:
        return stop_waiting(waiting, context)  # a stranger has removed the record
    kind, record_id = waiting.record_key
    text = f"the validation of {waiting.record_key} was lost, and is queued again"
    data = {"kind": kind, "component_id": record_id, "attempt": waiting.attempt}
    return [*try_again(waiting, context), Event("validation_lost", contributors[0], text, data)]


def measured_by(
    connection: redis.Redis, problem: str, version: str, context: Context
) -> list[Effect]:
    """``version`` of what measures ``problem`` counts from now on: the best that another one has
    measured are queued."""
    fleet, keys = context.fleet, context.keys
    fleet.evaluators[problem] = version
    effects: list[Effect] = [Write(("HSET", keys.evaluators, problem, version))]
    best = read_best(connection, keys, problem, MEASURED_AGAIN)
    fleet.judged.prefetch(best)
    # What has no hash is no record: a stranger has listed it.
    known = [(key, fleet.judged[key]) for key in best]
    again = [(key, was) for key, was in known if was.hash and was.evaluator != version]
    for key, was in again:
        if key not in fleet.waiting:
            waiting = OpenValidation(key, was.hash, 1, context.now_ms, version)
            effects += wait(waiting, context)
    if again:
        text = f"{problem} is measured by {version} now: {len(again)} are validated again"
        data = {"problem": problem, "version": version}
        effects.append(Event("evaluator_changed", OPERATOR, text, data))
    return effects


def told_evaluators(fleet: Fleet) -> dict[str, str]:
    """By problem, what the validators measure by that are here: what the newest says. What is no
    such list is left out, and what is more than MOST_EVALUATORS."""
    newest: dict[str, str] = {}
    for ai in sorted(fleet.ais.values(), key=lambda ai: (ai.joined_ms, ai.id), reverse=True):
        access = fleet.members[ai.id].access
        if access is None or not access.is_validator or not isinstance(ai.profile, dict):
            continue
        told = ai.profile.get("evaluators")
        for name, version in told.items() if isinstance(told, dict) else ():
            is_sound = isinstance(version, str) and f"{name}{version}".isprintable()
            if is_sound and len(newest) < MOST_EVALUATORS:
                newest.setdefault(name, version)
    return newest


def contained(what: str, step: Step) -> list[Effect]:
    """What a step of the watch does; one that fails on what it finds stops neither the others nor
    the coordinator."""
    try:
        return step()
    except Exception as error:
        raise_unless_of_the_data(error)
        log.exception("the watch over validations failed at %s", what)
        return []
