"""What was done to a fleet's knowledge, done again: the events of an archive, each by the functions
that did it first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coordinator import credit, knowledge
from coordinator.archive.forgotten import epoch_ranges
from coordinator.archive.lines import event_line
from coordinator.archive.reader import ArchiveReader
from coordinator.archive.restore_writer import MOST_BYTES, RestoreWriter
from coordinator.archive.soundness import describe, fitting, misfits
from coordinator.clock import Ids
from coordinator.context import Context, Incoming
from coordinator.effects import Effect, Write
from coordinator.events import (
    MODELS,
    EvaluatorChanged,
    FleetEvent,
    Retracted,
    Shared,
    Validated,
    ValidationKept,
    ValidationLost,
    read_event,
)
from coordinator.history import Line
from coordinator.lineage import named_parents
from coordinator.messages import OPERATOR, Envelope
from coordinator.reads import Item
from coordinator.records import store
from coordinator.settings import Settings
from coordinator.validation.models import ATTEMPTS, VALIDATED_KINDS, OpenValidation
from coordinator.validation.verdicts import settle
from coordinator.validation.waiting_list import stop_waiting, try_again
from coordinator.validation.watch import measured_by

AT_ONCE = 200
NO_LIMIT = {"validations_per_hour": 10**9, "validations_open_max": 10**9}
"""What was beyond a limit has its verdict, which says so, among the events."""
SPOILED = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What is raised for a row that is not as the coordinator wrote it."""

OnProgress = Callable[[int, int], None]
"""Is told how many events are done, of how many."""


class _Step(NamedTuple):
    """An event that is done again: None for what cannot be read, which ``error`` says why."""

    line: Line
    event: FleetEvent | None
    error: Exception | None = None


class Replay:
    """Takes up where the restore is. ``unknown`` counts what is about records that the archive
    knows nothing of."""

    def __init__(self, writer: RestoreWriter, settings: Settings, ids: Ids) -> None:
        self._writer = writer
        self._fleet = writer.fleet
        self._keys = writer.keys
        self._settings = settings.model_copy(update=NO_LIMIT)
        self._ids = ids
        self.unknown = 0

    def run(self, archive: ArchiveReader, on_progress: OnProgress) -> int:
        """Every event after the last that is done; how many there were. Raises CommitFailed,
        LeaseLost, BadArchive."""
        after_n = self._writer.mark.n
        if not after_n:
            for row in archive.query(misfits("events", *_PLACE)):
                self._writer.leave_out(describe("events", row))
        total, done = _count(archive, after_n), 0
        for some in _batches(_rows(archive, after_n)):
            on_progress(done, total)
            self._take([_read(event_line(row)) for row in some])
            done += len(some)
        on_progress(done, total)
        return done

    def _take(self, steps: Sequence[_Step]) -> None:
        self._prefetch(steps)
        for step in steps:
            self._writer.add(self._done_again(step))
            self._writer.mark.n = step.line.n
            if self._writer.is_full:
                self._writer.commit()
        self._writer.commit()

    def _done_again(self, step: _Step) -> list[Effect]:
        try:
            if step.event is None:
                raise step.error or ValueError("it is no event that is done again")
            return _STEPS[type(step.event)](self, step.event)
        except SPOILED as error:
            self._forget(step.event)
            what = f"event {step.line.n} in the table events ({step.line.data['text']})"
            self._writer.leave_out(what, error)
            return []

    def _prefetch(self, steps: Iterable[_Step]) -> None:
        """Read at once what the fleet in memory does not know."""
        fleet = self._fleet
        events = [step.event for step in steps]
        records = [event.record_key for event in events if isinstance(event, Shared | Validated)]
        shared = [event for event in events if isinstance(event, Shared)]
        parents = (key for event in shared for key in named_parents(event.record))
        fleet.contributors.prefetch([*records, *parents])
        fleet.origins.prefetch(records)
        fleet.judged.prefetch(key for key in records if key.kind in VALIDATED_KINDS)

    def _forget(self, event: FleetEvent | None) -> None:
        """What is in memory may be half done: it is read again."""
        self._writer.commit()
        if isinstance(event, Shared | Validated):
            for known in (self._fleet.contributors, self._fleet.origins, self._fleet.judged):
                known.pop(event.record_key, None)

    # -- by the kind of event --------------------------------------------------------------------

    def _shared(self, event: Shared) -> list[Effect]:
        if event.record.get("id") != event.id:
            raise ValueError("the record has another id")
        contributors = list(dict.fromkeys((event.ai, *event.contributors)))
        context = self._context(event)
        return store(event.kind, event.record, event.specialization, contributors, context)

    def _validated(self, event: Validated) -> list[Effect]:
        record_key = event.record_key
        fleet, context = self._fleet, self._context(event)
        if fleet.judged[record_key].hash != event.hash:
            return self._about_unknown()
        self._writer.commit()
        ledger = credit.read_ledger(self._writer.connection, self._keys, record_key)
        waiting = fleet.waiting.get(record_key)
        waited = waiting or OpenValidation(record_key, event.hash, 1, event.ms)
        effects = settle(waited, event.found, ledger, context)
        effects.append(Write(("HINCRBY", self._keys.verdicts, event.verdict, 1)))
        if event.validator and event.evaluator and event.problem:
            effects += self._measured_now(event.problem, event.evaluator)
        if waiting is None:
            return effects
        is_over = waiting.evaluator in ("", event.evaluator) or waiting.attempt >= ATTEMPTS
        return [*effects, *(stop_waiting if is_over else try_again)(waiting, context)]

    def _measured_now(self, problem: str, version: str) -> list[Effect]:
        """A problem is measured by what its newest verdict is of."""
        if self._fleet.evaluators.get(problem) == version:
            return []
        self._fleet.evaluators[problem] = version
        return [Write(("HSET", self._keys.evaluators, problem, version))]

    def _retracted(self, event: Retracted) -> list[Effect]:
        envelope = Envelope(
            message_id=f"event-{event.n}",
            sender_id=OPERATOR,
            message_type="retract",
            timestamp="",
            payload={"id": event.id},
            target_ai=None,
        )
        message = Incoming(envelope, OPERATOR, OPERATOR, "restore")
        self._writer.commit()
        context = self._context(event)
        context.found = knowledge.read_found(
            self._writer.connection, self._keys, self._settings, message
        )
        if not context.found.homes:
            return self._about_unknown()
        return knowledge.retract(message, context)

    def _evaluator_changed(self, event: EvaluatorChanged) -> list[Effect]:
        self._writer.commit()
        context = self._context(event)
        return measured_by(self._writer.connection, event.problem, event.version, context)

    def _validation_lost(self, event: ValidationLost) -> list[Effect]:
        waiting = self._fleet.waiting.get(event.record_key)
        if waiting is None or waiting.attempt >= ATTEMPTS:
            return self._about_unknown()
        return try_again(waiting, self._context(event))

    def _validation_kept(self, event: ValidationKept) -> list[Effect]:
        waiting = self._fleet.waiting.get(event.record_key)
        return stop_waiting(waiting, self._context(event)) if waiting else self._about_unknown()

    def _about_unknown(self) -> list[Effect]:
        self.unknown += 1
        return []

    def _context(self, event: FleetEvent) -> Context:
        """As it was when the event was written."""
        return Context(self._fleet, self._keys, self._settings, self._ids, event.ms, 0.0)


_STEPS: Mapping[type[FleetEvent], Callable[[Replay, Any], list[Effect]]] = {
    Shared: Replay._shared,
    Validated: Replay._validated,
    Retracted: Replay._retracted,
    EvaluatorChanged: Replay._evaluator_changed,
    ValidationLost: Replay._validation_lost,
    ValidationKept: Replay._validation_kept,
}
_KINDS = [kind for kind, model in MODELS.items() if model in _STEPS]
_PLACE = ("epoch", "n")
"""The columns without which nobody knows when an event happened."""
_CHOSEN = f"kind IN ({', '.join(map(repr, _KINDS))}) AND {fitting('events', *_PLACE)}"


def _rows(archive: ArchiveReader, after_n: int) -> Iterator[Item]:
    """The events that are done again, in the order of the history."""
    sql = f"SELECT * FROM events WHERE epoch = ? AND n > ? AND n <= ? AND {_CHOSEN} ORDER BY n"
    for one in epoch_ranges(archive, "events"):
        yield from archive.query(sql, (one.epoch, after_n, one.last_n))


def _batches(rows: Iterable[Item]) -> Iterator[list[Item]]:
    """Few enough to be in memory at once, also if they are long."""
    batch: list[Item] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(str(row["data"]))
        if len(batch) >= AT_ONCE or size > MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _count(archive: ArchiveReader, after_n: int) -> int:
    """How many there are; some more than that, if the server had forgotten some."""
    sql = f"SELECT count(*) AS count FROM events WHERE n > ? AND {_CHOSEN}"
    return int(next(archive.query(sql, (after_n,)))["count"])


def _read(line: Line) -> _Step:
    try:
        return _Step(line, read_event(line))
    except SPOILED as error:
        return _Step(line, None, error)
