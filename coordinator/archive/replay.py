"""What was done to a fleet's knowledge, done again: the events of an archive, each by the functions
that did it first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple

from pydantic import Field, TypeAdapter

from coordinator import credit, knowledge
from coordinator.archive.archive import Archive
from coordinator.archive.forgotten import spans
from coordinator.archive.restoring import Restoring
from coordinator.clock import LAST_MS, Ids
from coordinator.context import Context, Incoming
from coordinator.effects import Effect, Write
from coordinator.keys import KINDS, Kind, RecordKey
from coordinator.lineage import named_parents
from coordinator.messages import OPERATOR, Envelope, Id, to_json
from coordinator.payloads import Payload, RecordId, Sha256, Verdict, Version, Word
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
OF_RECORD = ("kind", "component_id", "hash", "contributors")
"""What an event of a verdict says besides the verdict itself."""
SPOILED = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What is raised for a row that is not as the coordinator wrote it."""

Told = Callable[[int, int], None]
"""Is told how many events are done, of how many."""


class _Shared(Payload):
    kind: Kind
    id: RecordId
    specialization: Word
    contributors: list[Id] = Field(min_length=1)
    record: dict[str, Any]


class _Judged(Verdict):
    kind: Literal["component", "feature"]
    component_id: RecordId
    hash: Sha256
    validator: Id | None
    timestamp: str


class _Waited(Payload):
    kind: Literal["component", "feature"]
    component_id: RecordId


class _Retracted(Payload):
    id: RecordId


class _Measured(Payload):
    problem: Word
    version: Version


_SHARER = TypeAdapter(Id)


class _Event(NamedTuple):
    """``data`` is None for what cannot be read, which ``error`` says why."""

    n: int
    ms: int
    kind: str
    ai: str
    text: str
    data: dict[str, Any]
    error: Exception | None = None


class Replay:
    """Takes up where the restore is. ``unknown`` counts what is about records that the archive
    knows nothing of."""

    def __init__(self, restoring: Restoring, settings: Settings, ids: Ids) -> None:
        self._restoring = restoring
        self._fleet = restoring.fleet
        self._keys = restoring.keys
        self._settings = settings.model_copy(update=NO_LIMIT)
        self._ids = ids
        self.unknown = 0

    def run(self, archive: Archive, told: Told) -> int:
        """Every event after the last that is done; how many there were. Raises CommitFailed,
        LeaseLost, BadArchive."""
        after_n = self._restoring.mark.n
        total, done = _count(archive, after_n), 0
        rows = _rows(archive, after_n)
        while some := list(islice(rows, AT_ONCE)):
            told(done, total)
            self._take([_read(row) for row in some])
            done += len(some)
        told(done, total)
        return done

    def _take(self, events: Sequence[_Event]) -> None:
        self._prefetch(events)
        for event in events:
            self._restoring.add(self._done_again(event))
            self._restoring.mark.n = event.n
            if self._restoring.is_full:
                self._restoring.commit()
        self._restoring.commit()

    def _done_again(self, event: _Event) -> list[Effect]:
        try:
            if event.error is not None:
                raise event.error
            return _STEPS[event.kind](self, event)
        except SPOILED as error:
            self._forget(event)
            self._restoring.leave_out(f"event {event.n} ({event.text})", error)
            return []

    def _prefetch(self, events: Sequence[_Event]) -> None:
        """Read at once what the fleet in memory does not know."""
        fleet = self._fleet
        shared = [event.data for event in events if event.kind == "shared"]
        judged = [event.data for event in events if event.kind == "validated"]
        records = [*_keys_in(shared, "id"), *_keys_in(judged, "component_id")]
        parents = (key for data in shared for key in named_parents(data.get("record")))
        fleet.contributors.prefetch([*records, *parents])
        fleet.origins.prefetch(records)
        fleet.judged.prefetch(key for key in records if key.kind in VALIDATED_KINDS)

    def _forget(self, event: _Event) -> None:
        """What is in memory may be half done: it is read again."""
        self._restoring.commit()
        for name in ("id", "component_id"):
            for record in _keys_in([event.data], name):
                self._fleet.contributors.pop(record, None)
                self._fleet.origins.pop(record, None)
                self._fleet.judged.pop(record, None)

    # -- by the kind of event --------------------------------------------------------------------

    def _shared(self, event: _Event) -> list[Effect]:
        share = _Shared.model_validate(event.data)
        sharer = _SHARER.validate_python(event.ai)
        if share.record.get("id") != share.id:
            raise ValueError("the record has another id")
        contributors = list(dict.fromkeys((sharer, *share.contributors)))
        context = self._context(event)
        effects = store(share.kind, share.record, share.specialization, contributors, context)
        # What is judged at once is told by an event of its own, and counted with that.
        counted = ("HINCRBY", self._keys.verdicts)
        return [e for e in effects if not (isinstance(e, Write) and e.command[:2] == counted)]

    def _validated(self, event: _Event) -> list[Effect]:
        judged = _Judged.model_validate(event.data)
        record_key = RecordKey(judged.kind, judged.component_id)
        fleet, context = self._fleet, self._context(event)
        if fleet.judged[record_key].hash != judged.hash:
            return self._about_unknown()
        self._restoring.commit()
        ledger = credit.read_ledger(self._restoring.connection, self._keys, record_key)
        verdict = {name: part for name, part in event.data.items() if name not in OF_RECORD}
        waiting = fleet.waiting.get(record_key)
        waited = waiting or OpenValidation(record_key, judged.hash, 1, event.ms)
        effects = settle(waited, verdict, ledger, context)
        effects.append(Write(("HINCRBY", self._keys.verdicts, judged.verdict, 1)))
        if judged.validator and judged.evaluator and judged.problem:
            effects += self._measured_now(judged.problem, judged.evaluator)
        if waiting is None:
            return effects
        is_over = waiting.evaluator in ("", judged.evaluator) or waiting.attempt >= ATTEMPTS
        return [*effects, *(stop_waiting if is_over else try_again)(waiting, context)]

    def _measured_now(self, problem: str, version: str) -> list[Effect]:
        """A problem is measured by what its newest verdict is of."""
        if self._fleet.evaluators.get(problem) == version:
            return []
        self._fleet.evaluators[problem] = version
        return [Write(("HSET", self._keys.evaluators, problem, version))]

    def _retracted(self, event: _Event) -> list[Effect]:
        record_id = _Retracted.model_validate(event.data).id
        envelope = Envelope(
            message_id=f"event-{event.n}",
            sender_id=OPERATOR,
            message_type="retract",
            timestamp="",
            payload={"id": record_id},
            target_ai=None,
        )
        message = Incoming(envelope, OPERATOR, OPERATOR, "restore")
        self._restoring.commit()
        context = self._context(event)
        context.found = knowledge.read_found(
            self._restoring.connection, self._keys, self._settings, message
        )
        if not context.found.homes:
            return self._about_unknown()
        return knowledge.retract(message, context)

    def _evaluator_changed(self, event: _Event) -> list[Effect]:
        measured = _Measured.model_validate(event.data)
        self._restoring.commit()
        context = self._context(event)
        return measured_by(self._restoring.connection, measured.problem, measured.version, context)

    def _validation_lost(self, event: _Event) -> list[Effect]:
        waiting = self._waiting(event)
        if waiting is None or waiting.attempt >= ATTEMPTS:
            return self._about_unknown()
        return try_again(waiting, self._context(event))

    def _validation_kept(self, event: _Event) -> list[Effect]:
        waiting = self._waiting(event)
        return stop_waiting(waiting, self._context(event)) if waiting else self._about_unknown()

    def _waiting(self, event: _Event) -> OpenValidation | None:
        waited = _Waited.model_validate(event.data)
        return self._fleet.waiting.get(RecordKey(waited.kind, waited.component_id))

    def _about_unknown(self) -> list[Effect]:
        self.unknown += 1
        return []

    def _context(self, event: _Event) -> Context:
        """As it was when the event was written."""
        return Context(self._fleet, self._keys, self._settings, self._ids, event.ms, 0.0)


_STEPS: Mapping[str, Callable[[Replay, _Event], list[Effect]]] = {
    "shared": Replay._shared,
    "validated": Replay._validated,
    "retracted": Replay._retracted,
    "evaluator_changed": Replay._evaluator_changed,
    "validation_lost": Replay._validation_lost,
    "validation_kept": Replay._validation_kept,
}
_OF_KNOWLEDGE = f"kind IN ({', '.join(repr(kind) for kind in _STEPS)})"


def _rows(archive: Archive, after_n: int) -> Iterator[Item]:
    """The events that are done again, in the order of the history."""
    for span in spans(archive, "events"):
        where = f"WHERE epoch = ? AND n > ? AND n <= ? AND {_OF_KNOWLEDGE} ORDER BY n"
        yield from archive.rows("events", where, (span.epoch, after_n, span.last_n))


def _count(archive: Archive, after_n: int) -> int:
    """How many there are; some more than that, if the server had forgotten some."""
    counted = f"(SELECT count(*) AS count FROM events WHERE n > {after_n} AND {_OF_KNOWLEDGE})"
    return int(next(archive.rows(counted, "LIMIT 1"))["count"])


def _read(row: Item) -> _Event:
    head = (row["n"], row["ms"], row["kind"], row["ai"], row["text"])
    try:
        data = json.loads(row["data"])
        to_json(data).encode()
        if not isinstance(data, dict) or not 0 <= row["ms"] <= LAST_MS:
            raise ValueError("it is no event")
    except SPOILED as error:
        return _Event(*head, {}, error)
    return _Event(*head, data)


def _keys_in(items: Iterable[Mapping[str, Any]], name: str) -> list[RecordKey]:
    """The records that events say they are about, as far as they name any."""
    pairs = [(item.get("kind"), item.get(name)) for item in items]
    return [
        RecordKey(kind, record_id)
        for kind, record_id in pairs
        if kind in KINDS and isinstance(record_id, str)
    ]
