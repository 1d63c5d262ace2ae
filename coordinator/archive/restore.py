"""The knowledge of a fleet, rebuilt from its archive: what was done to it is done again.

Records, verdicts, credit and all that follows of them become what they were, by the functions that
made them first. The restored fleet is the same fleet, which goes on in another epoch: its numbers
follow on those of the archive, and that follows it as before. Nothing of a restore goes into the
history, for it is there already.

A restore is the only coordinator while it lasts. How far it has come is committed with what it did;
a coordinator stands aside until it is whole, and one that was broken off goes on there.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

import redis
from pydantic import FiniteFloat, TypeAdapter

from coordinator.archive.forgotten import epoch_ranges
from coordinator.archive.reader import ArchiveReader
from coordinator.archive.replay import SPOILED, OnProgress, Replay
from coordinator.archive.restore_writer import RESTORED, RestoreMark, RestoreWriter
from coordinator.archive.soundness import describe, fitting, misfits
from coordinator.clock import Clock, Ids
from coordinator.credit import read_contributions
from coordinator.epochs import Begin, fleet_of
from coordinator.errors import CoordError, LeaseLost
from coordinator.fleet import Fleet
from coordinator.history import read_end
from coordinator.keys import KINDS, Keys
from coordinator.lease import Lease
from coordinator.messages import Id, to_json
from coordinator.payloads import RecordId
from coordinator.reads import Item
from coordinator.settings import Settings
from coordinator.state import RESTORING, fleet_record, read_fleet
from coordinator.transaction import Command, CommitFailed
from coordinator.validation.jobs import enqueue_validation
from coordinator.waiting import comes_true

NAME = "restore-"
"""What the names of restores begin with, where those of coordinators stand."""
REPORTS_AT_ONCE = 500

_PLACE = ("component_id", "source", "epoch", "n")
"""The columns without which nobody knows what a report is about, and when it came."""
_CONTRIBUTION = ("ai", "contribution_score")
_METRICS = TypeAdapter(dict[str, FiniteFloat])
_REPORTER = TypeAdapter(Id)
_COMPONENT = TypeAdapter(RecordId)


class RestoreFailed(CoordError):
    """The fleet could not be restored, or not yet."""

    code = "restore_failed"


class Restored(NamedTuple):
    """What the fleet knows now, and what of the archive did not come into it.

    ``waiting`` are records that wait for a verdict, ``reports`` those of performance, ``replayed``
    the events that were done again. ``is_again`` says that all was done before, by a restore that
    nobody heard of any more. ``bad`` are rows that cannot be read, some of which are named;
    ``unknown`` events are about what the archive knows nothing of, and those that the server had
    ``forgotten`` are left out. ``missing`` numbers had been cut before they were archived.
    ``differing`` are the AIs whose contribution score is not what the archive says last, which
    comes first.
    """

    patterns: int
    components: int
    features: int
    waiting: int
    reports: int
    replayed: int
    is_again: bool
    unknown: int
    forgotten: int
    missing: int
    bad: int
    named_bad: list[str]
    differing: dict[str, tuple[float, float]]


def restore(
    archive: ArchiveReader,
    connection: redis.Redis,
    settings: Settings,
    clock: Clock,
    ids: Ids,
    name: str,
    run_id: str,
    on_progress: OnProgress,
) -> Restored:
    """Restore the fleet of ``settings``, which must know nothing, from ``archive``.

    ``name`` tells this restore from others; ``run_id`` is the server's. Raises RestoreFailed,
    BadArchive, and what Redis says.
    """
    if not archive.cursor.epoch:
        raise RestoreFailed(f"{archive.path} is empty: nothing was archived that could be restored")
    keys = Keys(settings.namespace)
    lease = Lease(connection, keys, NAME + name, settings.leader_lease_s, clock, ids)
    _take(lease, connection, keys, settings)
    try:
        if (mark := _done_before(connection, keys, archive)) is not None:
            return _summed_up(archive, RestoreWriter(connection, keys, lease, Fleet(), mark))
        mark = _begun(connection, keys, archive)
        fleet = read_fleet(connection, keys, settings, clock, lease.renew_if_due)
        writer = RestoreWriter(connection, keys, lease, fleet, mark)
        writer.commit()
        replay = Replay(writer, settings, ids)
        replayed = replay.run(archive, on_progress)
        reports = _restore_reports(archive, writer, settings.benchmarks_keep)
        _go_on(archive, writer, run_id, ids, clock.now_ms())
        done = _summed_up(archive, writer)
    except CommitFailed as failure:
        raise _explained(failure) from failure
    except LeaseLost as lost:
        raise RestoreFailed(f"{lost}; give the command again, and it goes on") from lost
    finally:
        lease.release()
    return done._replace(is_again=False, replayed=replayed, unknown=replay.unknown, reports=reports)


def _take(lease: Lease, connection: redis.Redis, keys: Keys, settings: Settings) -> None:
    """Be the only coordinator. A restore that was killed is one for a while."""
    if lease.take():
        return
    holder = lease.holder or "another one"
    is_restore = holder.startswith(NAME) or connection.hexists(keys.fleet, RESTORING)
    if is_restore and comes_true(lease.take, settings.leader_lease_s + 1):
        return
    raise RestoreFailed(
        f"coordinator {lease.holder or holder} is active: end it (Ctrl-C for `coord serve`, or"
        " `coord down`), for a restore must be the only one that writes"
    )


def _done_before(connection: redis.Redis, keys: Keys, archive: ArchiveReader) -> RestoreMark | None:
    """What a restore from this very archive left when the fleet was whole; None if none did."""
    try:
        stored = connection.hget(keys.fleet, RESTORED)
        mark = RestoreMark.model_validate_json(stored or b"")
    except ValueError:
        return None
    is_same = (mark.archive, mark.cursor) == (archive.archive_id, archive.cursor)
    return mark if is_same else None


def _begun(connection: redis.Redis, keys: Keys, archive: ArchiveReader) -> RestoreMark:
    """Where to go on. RestoreFailed for a fleet that has something, by another way than this."""
    stored = connection.hget(keys.fleet, RESTORING)
    if stored is None:
        _check_empty(connection, keys, archive)
        return RestoreMark(archive=archive.archive_id, cursor=archive.cursor)
    try:
        mark = RestoreMark.model_validate_json(stored)
    except ValueError:
        raise RestoreFailed(
            f"how far the restore of the fleet {keys.namespace} has come cannot be read: restore"
            " into another --namespace, or on an empty server"
        ) from None
    if mark.archive != archive.archive_id:
        raise RestoreFailed(
            f"the fleet {keys.namespace} is restored in part from the archive {mark.archive}, and"
            f" {archive.path} is {archive.archive_id}: go on with that, or use another --namespace"
        )
    return mark.model_copy(update={"cursor": archive.cursor})


def _check_empty(connection: redis.Redis, keys: Keys, archive: ArchiveReader) -> None:
    """Of another fleet there may be no history either: the archive would take it for its own."""
    elsewhere = "restore into another --namespace, or on an empty server"
    known = [kind for kind in KINDS if connection.zcard(keys.records(kind))]
    if known:
        raise RestoreFailed(
            f"the fleet {keys.namespace} is not empty, it has {known[0]}s: {elsewhere}"
        )
    epoch, messages, events = read_end(connection, keys)
    if (messages or events) and fleet_of(epoch) != archive.fleet:
        raise RestoreFailed(
            f"the fleet {keys.namespace} has a history of its own"
            f" ({messages} messages, {events} events): {elsewhere}"
        )


def _explained(failure: CommitFailed) -> RestoreFailed:
    again = "give the command again, and it goes on where it was"
    if isinstance(failure.reason, redis.OutOfMemoryError):
        return RestoreFailed(f"the server is out of memory: raise its maxmemory; then {again}")
    return RestoreFailed(f"the restore was broken off, {failure}; {again}")


def _restore_reports(archive: ArchiveReader, writer: RestoreWriter, keep: int) -> int:
    """The last ``keep`` reports on each component; how many there are. Done again, it changes
    nothing."""
    stood = {
        (source, one.epoch): one.last_n
        for source in ("log", "events")
        for one in epoch_ranges(archive, source)
    }
    count, pending = 0, 0
    for row in archive.query(misfits("benchmarks", *_PLACE)):
        writer.leave_out(describe("benchmarks", row))
    where = f"WHERE {fitting('benchmarks', *_PLACE)} ORDER BY component_id, rowid"
    rows = archive.query(f"SELECT * FROM benchmarks {where}")
    for component_id, of_one in groupby(rows, key=lambda row: row["component_id"]):
        last: deque[Item] = deque(maxlen=keep)
        for row in of_one:
            if row["n"] <= stood.get((row["source"], row["epoch"]), row["n"]):
                last.append(row)
        commands = _report_commands(component_id, last, writer)
        writer.add_commands(commands)
        count += max(0, len(commands) - 1)
        pending += len(commands)
        if pending > REPORTS_AT_ONCE:
            writer.commit()
            pending = 0
    writer.commit()
    return count


def _report_commands(
    component_id: str, rows: Iterable[Item], writer: RestoreWriter
) -> list[Command]:
    """What writes the reports on one component afresh; nothing if there are none."""
    key = writer.keys.benchmarks(component_id)
    entries: list[Command] = []
    last_id = (0, 0)
    for row in rows:
        try:
            _COMPONENT.validate_python(component_id)
            reporter = _REPORTER.validate_python(row["reporter"])
            metrics = to_json(_METRICS.validate_python(json.loads(row["metrics"])))
            ms = int(row["ms"])
        except SPOILED as error:
            writer.leave_out(f"a report on {component_id} in the table benchmarks", error)
            continue
        last_id = max((ms, 0), (last_id[0], last_id[1] + 1))
        fields = ("reporter", reporter, "ms", ms, "metrics", metrics)
        entries.append(("XADD", key, f"{last_id[0]}-{last_id[1]}", *fields))
    return [("DEL", key), *entries] if entries else []


def _go_on(
    archive: ArchiveReader, writer: RestoreWriter, run_id: str, ids: Ids, now_ms: int
) -> None:
    """The fleet goes on where the archive ends, and what waits for a verdict is queued."""
    fleet, keys, cursor = writer.fleet, writer.keys, archive.cursor
    fleet.log.n = max(fleet.log.n, cursor.log)
    fleet.events.n = max(fleet.events.n, cursor.events)
    fleet.run_id = run_id
    fleet.epoch = f"{archive.fleet}.{ids.new()[-8:]}"
    fleet.begins = [Begin(row["epoch"], row["log_n"]) for row in archive.rows("epochs")]
    fleet.begins.append(Begin(fleet.epoch, fleet.log.n))
    for waiting in fleet.waiting.values():
        if waiting.attempt:
            queued = enqueue_validation(waiting, keys, now_ms)
            writer.add_commands(write.command for write in queued)
    writer.add_commands([fleet_record(fleet, keys)])
    writer.end()


def _summed_up(archive: ArchiveReader, writer: RestoreWriter) -> Restored:
    """What the fleet knows, as if nothing had been left to do."""
    connection, keys = writer.connection, writer.keys
    differing = _differing(archive, writer)
    patterns, components, features = (connection.zcard(keys.records(kind)) for kind in KINDS)
    return Restored(
        patterns,
        components,
        features,
        connection.zcard(keys.validations),
        reports=0,
        replayed=0,
        is_again=True,
        unknown=0,
        forgotten=sum(one.forgotten for one in epoch_ranges(archive, "events")),
        missing=archive.missing(),
        bad=writer.mark.bad,
        named_bad=writer.named_bad,
        differing=differing,
    )


def _differing(archive: ArchiveReader, writer: RestoreWriter) -> dict[str, tuple[float, float]]:
    """Of each AI whose contribution score is not what the archive says last: that, and what it
    is."""
    for row in archive.query(misfits("contributions", *_CONTRIBUTION)):
        writer.leave_out(describe("contributions", row))
    where = f"WHERE {fitting('contributions', *_CONTRIBUTION)} ORDER BY ai"
    rows = archive.query(f"SELECT ai, contribution_score AS score FROM contributions {where}")
    said = {row["ai"]: row["score"] for row in rows}
    scores = read_contributions(writer.connection, writer.keys, list(said))
    pairs = zip(said.items(), scores, strict=True)
    return {ai: (score, now) for (ai, score), now in pairs if score != now}
