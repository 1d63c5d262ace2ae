"""The coordinator: reads what comes in, says what it does, and commits it, batch by batch."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from threading import Event as Flag

import redis

from coordinator import registry, sessions
from coordinator.answers import answer, answer_failed
from coordinator.clock import Clock, Ids
from coordinator.context import Context, Incoming, refuse
from coordinator.dispatch import bury, check, handle, is_counted, is_repeatable, reader_of, undo_of
from coordinator.duties import close_doors, ended_leases
from coordinator.effects import Ask, Effect, Write
from coordinator.errors import REJOIN_CODES, BadMessage, CoordError, LeaseLost
from coordinator.fleet import Fleet
from coordinator.ingress import Entry, Ingress
from coordinator.job_watch import JobWatch
from coordinator.keys import Keys
from coordinator.knowledge import derived_records, shared_records
from coordinator.lease import Lease
from coordinator.messages import parse_envelope
from coordinator.metrics import CoordinatorMetrics
from coordinator.questions import Questions
from coordinator.retention import relieve, trims
from coordinator.server_errors import raise_unless_of_the_data
from coordinator.settings import Settings
from coordinator.state import (
    HalfRestored,
    check_whole,
    fleet_record,
    new_epoch,
    read_fleet,
    read_numbers,
    read_seen,
)
from coordinator.transaction import Batch, CommitFailed, Outcome, commit
from coordinator.validation.models import VALIDATED_KINDS
from coordinator.validation.watch import ValidationWatch

log = logging.getLogger("coord")

SHORTEST_BLOCK_MS = 20
DOORS_PER_BLOCK_MS = 10
STANDBY_KEPT_MS = 3_600_000
DUTIES_EVERY_S = 1.0
ANSWERS_S = 0.02
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 2.0
CLOCK_WARNING_MS = 2_000


class HandlerFailed(Exception):
    """A handler raised on ``entry``: its batch is spoiled, and so is what is in memory."""

    def __init__(self, entry: Entry, reason: Exception) -> None:
        super().__init__(f"{type(reason).__name__}: {reason}")
        self.entry = entry
        self.reason = reason


class Coordinator:
    """One of a fleet's coordinators; the one that holds the lease is active, the others stand by.

    ``connection`` must not retry by itself: after a commit in doubt everything is read afresh.
    ``run_id`` gives the id of the server's present run, which begins a new epoch when it changes.
    """

    def __init__(
        self,
        connection: redis.Redis,
        settings: Settings,
        clock: Clock,
        ids: Ids,
        name: str,
        run_id: Callable[[], str],
    ) -> None:
        self._redis = connection
        self._settings = settings
        self._clock = clock
        self._ids = ids
        self._name = name
        self._run_id = run_id
        self._keys = Keys(settings.namespace)
        self._lease = Lease(connection, self._keys, name, settings.leader_lease_s, clock, ids)
        self._ingress = Ingress(connection, self._keys, settings, clock)
        self._fleet = Fleet()
        self._questions = Questions()
        self._job_watch = JobWatch()
        self._validation_watch = ValidationWatch()
        self._metrics = CoordinatorMetrics()
        self._trouble = ""
        self._singles = 0
        self._last_step_s = 0.0
        self._last_duties_s = 0.0
        self._no_expiry_before_s = 0.0
        self._stands_by_for: str | None = None
        self.active = False

    def run(self, stop: Flag) -> None:
        """Coordinate until ``stop`` is set. Survives every outage of the server."""
        wait_s = FIRST_WAIT_S
        while not stop.is_set():
            try:
                if self.active or self.take_over():
                    self.step(self._block_ms)
                    wait_s = FIRST_WAIT_S
                else:
                    stop.wait(self._settings.leader_lease_s / 20)
            except Exception as error:
                self._deactivate(self._explain(error))
                stop.wait(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        self.leave()

    def take_over(self) -> bool:
        """Become active if nobody else is: take the lease, then read the fleet afresh."""
        try:
            taken = self._lease.take()
        except redis.OutOfMemoryError:
            self._relieve()  # nobody else holds the lease, and not even it can be written
            raise
        if not taken:
            self._stand_by(self._lease.holder)
            return False
        self._redis.zrem(self._keys.standby, self._name)
        try:
            self._load()
        except CommitFailed as failure:
            self._recover(failure)
            return False
        except LeaseLost as lost:
            self._deactivate(str(lost))
            return False
        except HalfRestored:
            self._lease.release()  # it is the restore that needs it
            raise
        self._check_clock()
        if self._stands_by_for:
            log.info("took over from %s", self._stands_by_for)
            self._stands_by_for = None
        log.info(
            "active: %s, epoch %s, %d AIs", self._name, self._fleet.epoch, len(self._fleet.ais)
        )
        return True

    def step(self, block_ms: int = 0) -> int:
        """One round; how many messages it committed. Any failure ends in ``active`` being False."""
        try:
            self._lease.renew_if_due()
            self._notice_pause()
            self._ingress.poll(0 if self._questions else block_ms)
            committed = self._commit_entries(self._take())
            self._answer_some()
            if self._clock.elapsed_s() - self._last_duties_s >= DUTIES_EVERY_S:
                self._do_duties()
            return committed
        except CommitFailed as failure:
            self._recover(failure)
        except LeaseLost as lost:
            self._deactivate(str(lost))
        return 0

    def leave(self) -> None:
        """Give up the lease, so that a standby takes over at once."""
        if self.active:
            self.active = False
            try:
                self._lease.release()
            except redis.RedisError:
                log.warning("could not give up the lease; it ends by itself")

    @property
    def _block_ms(self) -> int:
        """How long to wait for messages. A new door is noticed only between two waits; the more
        doors there are, the more each wait costs."""
        return SHORTEST_BLOCK_MS + len(self._ingress.doors) // DOORS_PER_BLOCK_MS

    def _stand_by(self, active: str | None) -> None:
        """Be seen among those who stand by, for as long as that is done again and again."""
        if active != self._stands_by_for:
            self._stands_by_for = active
            log.info("standing by: %s is active", active)
        now_ms = self._clock.now_ms()
        with self._redis.pipeline() as pipe:
            pipe.zadd(self._keys.standby, {self._name: now_ms})
            pipe.zremrangebyscore(self._keys.standby, 0, now_ms - STANDBY_KEPT_MS)
            pipe.execute()

    def _load(self) -> None:
        check_whole(self._redis, self._keys)
        run_id = self._run_id()
        renew = self._lease.renew_if_due
        self._fleet = read_fleet(self._redis, self._keys, self._settings, self._clock, renew)
        self._job_watch = JobWatch()
        self._validation_watch = ValidationWatch()
        self._metrics.forget_written()
        self._ingress.reset()
        self._questions.clear()
        begin = new_epoch(self._fleet, run_id, self._ids, self._keys)
        if begin:
            commit(self._redis, self._lease, begin)
        now_s = self._clock.elapsed_s()
        self._no_expiry_before_s = now_s + self._settings.lease_s
        self._last_step_s = now_s
        self.active = True

    def _check_clock(self) -> None:
        """Ages are told by the clocks of those who wrote: one that is off makes them wrong."""
        seconds, microseconds = self._redis.time()
        off_ms = self._clock.now_ms() - (seconds * 1000 + microseconds // 1000)
        if abs(off_ms) > CLOCK_WARNING_MS:
            log.warning(
                "this machine's clock is %.1f s %s the server's, and all times that are stored from"
                " now on are wrong by that: synchronise both by NTP",
                abs(off_ms) / 1000,
                "ahead of" if off_ms > 0 else "behind",
            )

    def _take(self) -> list[Entry]:
        settings = self._settings
        subscribers = max(1, len(self._fleet.ais))
        max_bytes = min(settings.batch_max_bytes, settings.fanout_max_bytes // subscribers)
        max_messages = 1 if self._singles else settings.batch_max_messages
        return self._ingress.take(max_messages, max_bytes)

    def _commit_entries(self, entries: list[Entry]) -> int:
        if not entries:
            return 0
        parsed = [self._parse(entry) for entry in entries]
        self._prefetch(entries, parsed)
        pending: list[tuple[Entry, Incoming | BadMessage]] = []
        try:
            for entry, message in zip(entries, parsed, strict=True):
                if isinstance(message, Incoming) and reader_of(message):
                    self._commit_batch(pending)
                    pending = []
                    self._commit_batch([(entry, message)])
                else:
                    pending.append((entry, message))
            self._commit_batch(pending)
        except HandlerFailed as failed:
            self._isolate(failed, len(entries))
            return 0
        self._singles = max(0, self._singles - len(entries))
        return len(entries)

    def _parse(self, entry: Entry) -> Incoming | BadMessage:
        try:
            if not entry.is_sound:
                raise BadMessage(
                    "bad_entry",
                    "an ingress entry needs the fields body, instance and n (from 1); a gateway's "
                    "with ai, which must be an AI's id, may do without n",
                )
            envelope = parse_envelope(entry.body, self._settings.message_max_bytes)
            return Incoming(envelope, entry.door, *entry.speaker)
        except BadMessage as error:
            return error

    def _prefetch(self, entries: list[Entry], parsed: list[Incoming | BadMessage]) -> None:
        """Read what the fleet in memory does not know: repeats of new instances, inboxes, whose the
        records are."""
        fleet = self._fleet
        numbered = {entry.speaker for entry in entries if entry.is_numbered}
        unnumbered = {e.speaker for e in entries if e.is_sound and not e.is_numbered}
        read_numbers(self._redis, self._keys, fleet, numbered - fleet.last_numbers.keys())
        read_seen(self._redis, self._keys, fleet, unnumbered - fleet.seen.keys())
        people = {entry.speaker.owner for entry in entries}
        people |= {m.envelope.target_ai or m.owner for m in parsed if isinstance(m, Incoming)}
        fleet.members.prefetch(people)
        shared = [key for m in parsed if isinstance(m, Incoming) for key in shared_records(m)]
        fleet.contributors.prefetch(shared)
        derived = (key for m in parsed if isinstance(m, Incoming) for key in derived_records(m))
        fleet.origins.prefetch(derived)
        fleet.judged.prefetch(key for key in shared if key[0] in VALIDATED_KINDS)

    def _commit_batch(self, pending: list[tuple[Entry, Incoming | BadMessage]]) -> None:
        if not pending:
            return
        context = self._context()
        batch = Batch(self._fleet, self._keys, self._settings, context.now_ms)
        for entry, message in pending:
            batch.take(entry.door, entry.entry_id)
            if self._is_repeat(entry, message):
                continue
            if entry.is_numbered:
                batch.number(entry.speaker, entry.n)
            try:
                batch.add(self._effects_of(entry, message, context, batch))
            except Exception as error:
                raise_unless_of_the_data(error)
                raise HandlerFailed(entry, error) from error
        try:
            self._commit(batch)
        except (redis.DataError, UnicodeError) as error:
            raise HandlerFailed(pending[0][0], error) from error

    def _is_repeat(self, entry: Entry, message: Incoming | BadMessage) -> bool:
        if entry.is_numbered:
            return not self._fleet.take_number(entry.speaker, entry.n)
        if isinstance(message, BadMessage):
            return False
        return self._fleet.has_seen(entry.speaker, message.envelope.message_id)

    def _remember(self, entry: Entry, message: Incoming, batch: Batch) -> None:
        """That the message was taken, if nothing but its message_id tells a repeat of it."""
        if not entry.is_numbered and not is_repeatable(message):
            self._fleet.see(entry.speaker, message.envelope.message_id)
            batch.see(entry.speaker, message.envelope.message_id)

    def _effects_of(
        self, entry: Entry, message: Incoming | BadMessage, context: Context, batch: Batch
    ) -> list[Effect]:
        if isinstance(message, BadMessage):
            return refuse(*entry.speaker, None, message, context)
        try:
            check(message, context)
            if read := reader_of(message):
                context.found = read(self._redis, self._keys, self._settings, message)
            effects = handle(message, context)
        except BadMessage as error:
            if error.code not in REJOIN_CODES:
                self._remember(entry, message, batch)
            refused = refuse(*entry.speaker, message.envelope, error, context)
            return [*refused, *self._undo(message, context)]
        self._remember(entry, message, batch)
        if is_counted(message):
            batch.count(message.envelope.message_type)
        return effects

    def _undo(self, message: Incoming, context: Context) -> list[Effect]:
        """Remove what came with a refused message; one that cannot be read names nothing."""
        undo, read = undo_of(message), reader_of(message)
        if undo is None or read is None:
            return []
        try:
            context.found = read(self._redis, self._keys, self._settings, message)
        except BadMessage:
            return []
        return undo(message, context)

    def _commit(self, batch: Batch) -> None:
        self._lease.renew_if_due()
        began_s = self._clock.elapsed_s()
        commit(self._redis, self._lease, batch.commands())
        if batch.has_messages:
            self._metrics.add_commit(self._clock.elapsed_s() - began_s)
        for note in batch.notes:
            log.info("%s", note)
        for asked in batch.asked:
            self._questions.add(asked)

    def _answer_some(self) -> None:
        """Answer queries for a moment: reads, which may take their time but not everybody's."""
        ends_s = self._clock.elapsed_s() + ANSWERS_S
        while self._questions and self.active:
            self._answer(self._questions.take())
            if self._clock.elapsed_s() >= ends_s:
                break

    def _answer(self, asked: Ask) -> None:
        """Whatever goes wrong with an answer costs this answer alone."""
        try:
            answer(self._redis, asked, self._context())
        except redis.RedisError as error:
            raise_unless_of_the_data(error)
            log.error("a query of %s could not be answered: %s", asked.ai, error)
            answer_failed(self._redis, asked, self._context())
        except Exception:
            answer_failed(self._redis, asked, self._context())
            log.exception("a query of %s could not be answered: %r", asked.ai, asked.query)

    def _context(self) -> Context:
        return Context(
            self._fleet,
            self._keys,
            self._settings,
            self._ids,
            self._clock.now_ms(),
            self._clock.elapsed_s(),
        )

    def _isolate(self, failed: HandlerFailed, batch_size: int) -> None:
        """A spoiled batch is run again message by message; who spoils a batch of one is buried."""
        culprit = failed.entry
        log.error(
            "a message from %s broke its handler: %s",
            culprit.speaker.owner,
            failed,
            exc_info=failed.reason,
        )
        self._reload()
        if batch_size > 1:
            self._singles = batch_size
            return
        context = self._context()
        batch = Batch(self._fleet, self._keys, self._settings, context.now_ms)
        batch.take(culprit.door, culprit.entry_id)
        message = self._parse(culprit)
        if culprit.is_numbered:
            batch.number(culprit.speaker, culprit.n)
        elif isinstance(message, Incoming):
            self._remember(culprit, message, batch)
        batch.add(bury(culprit, str(failed), context))
        self._commit(batch)

    def _reload(self) -> None:
        """Take the lease again under a new token, then read everything afresh."""
        if not self._lease.take():
            raise LeaseLost("another coordinator took over")
        self._load()

    def _recover(self, failure: CommitFailed) -> None:
        """After any commit that did not succeed memory is void; what follows is a fresh start."""
        self._deactivate(str(failure))
        if failure.outcome is Outcome.TORN:
            log.critical("a transaction was committed in part, which must not happen: %s", failure)
        if isinstance(failure.reason, redis.OutOfMemoryError):
            self._relieve()
        if failure.outcome is Outcome.REFUSED and not isinstance(failure.reason, LeaseLost):
            raise failure.reason

    def _relieve(self) -> None:
        log.error("the server is out of memory: history is cut to make room; raise maxmemory")
        relieve(self._redis, self._keys, self._settings)

    def _explain(self, error: Exception) -> str:
        """What is wrong, for the log; what is no outage may be a fault of ours, and says where."""
        if isinstance(error, CoordError):
            return error.detail
        if isinstance(error, redis.RedisError):
            return f"the server does not answer as it should: {error}"
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"

    def _deactivate(self, why: str) -> None:
        """Stop being active; the same trouble again and again is told once."""
        if self.active or why != self._trouble:
            log.warning("not active: %s", why)
        self._trouble = why
        self.active = False

    def _notice_pause(self) -> None:
        """After a pause the heartbeats that came meanwhile are still unread: nobody expires yet."""
        now_s = self._clock.elapsed_s()
        if now_s - self._last_step_s > self._settings.lease_s / 2:
            self._no_expiry_before_s = now_s + self._settings.lease_s
        self._last_step_s = now_s

    def _do_duties(self) -> None:
        """What time brings: ended leases, trimmed streams, doors that nobody uses any more; and the
        coordinator's own numbers are told."""
        self._last_duties_s = self._clock.elapsed_s()
        context = self._context()
        batch = Batch(self._fleet, self._keys, self._settings, context.now_ms)
        if context.elapsed_s >= self._no_expiry_before_s:
            for ai in ended_leases(self._fleet, self._ingress, context.elapsed_s):
                batch.add(registry.expire(ai, context))
        batch.add(self._job_watch.look(self._redis, self._fleet, self._ingress, context))
        batch.add(sessions.overdue(context))
        batch.add(self._validation_watch.look(self._redis, context))
        batch.add(trims(self._redis, context))
        numbers = self._metrics.changes(self._fleet, self._keys)
        batch.add([Write(command) for command in numbers])
        if self._redis.hget(self._keys.fleet, "epoch") != self._fleet.epoch.encode():
            batch.add([Write(fleet_record(self._fleet, self._keys))])
        if not batch.is_empty:
            self._commit(batch)
        self._fleet.forget_surplus()
        idle_since_s = context.elapsed_s - self._settings.lease_s
        close_doors(self._redis, self._keys, self._fleet, self._ingress, self._lease, idle_since_s)
