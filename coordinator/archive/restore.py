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
from coordinator.archive.restore_writer import RestoreMark, RestoreWriter
from coordinator.clock import Clock, Ids
from coordinator.credit import read_contributions
from coordinator.epochs import Begin
from coordinator.errors import CoordError, LeaseLost
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

_METRICS = TypeAdapter(dict[str, FiniteFloat])
_REPORTER = TypeAdapter(Id)
_COMPONENT = TypeAdapter(RecordId)


class RestoreFailed(CoordError):
    """The fleet could not be restored, or not yet."""

    code = "restore_failed"


class Restored(NamedTuple):
    """What the fleet knows now, and what of the archive did not come into it.

    ``waiting`` are records that wait for a verdict, ``reports`` those of performance, ``replayed``
    the events that were done again. ``bad`` are rows that cannot be read, some of which are named;
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
        mark = _begun(connection, keys, archive)
        fleet = read_fleet(connection, keys, settings, clock, lease.renew_if_due)
        writer = RestoreWriter(connection, keys, lease, fleet, mark)
        writer.commit()
        replay = Replay(writer, settings, ids)
        replayed = replay.run(archive, on_progress)
        reports = _restore_reports(archive, writer, settings.benchmarks_keep)
        _go_on(archive, writer, run_id, ids, clock.now_ms())
    except CommitFailed as failure:
        raise _explained(failure) from failure
    except LeaseLost as lost:
        raise RestoreFailed(f"{lost}; give the command again, and it goes on") from lost
    finally:
        lease.release()
    return _summed_up(archive, writer, replayed, replay.unknown, reports)


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


def _begun(connection: redis.Redis, keys: Keys, archive: ArchiveReader) -> RestoreMark:
    """Where to go on. RestoreFailed for a fleet that knows something, by another way than this."""
    stored = connection.hget(keys.fleet, RESTORING)
    if stored is None:
        known = [kind for kind in KINDS if connection.zcard(keys.records(kind))]
        if known:
            raise RestoreFailed(
                f"the fleet {keys.namespace} is not empty, it has {known[0]}s: restore into another"
                " --namespace, or on an empty server"
            )
        return RestoreMark(archive=archive.archive_id)
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
    return mark


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
    rows = archive.query("SELECT * FROM benchmarks ORDER BY component_id, rowid")
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
            writer.leave_out(f"a report on {component_id}", error)
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


def _summed_up(
    archive: ArchiveReader, writer: RestoreWriter, replayed: int, unknown: int, reports: int
) -> Restored:
    connection, keys = writer.connection, writer.keys
    contributions = archive.contributions()
    scores = read_contributions(connection, keys, list(contributions))
    pairs = {
        ai: (score, now) for (ai, score), now in zip(contributions.items(), scores, strict=True)
    }
    patterns, components, features = (connection.zcard(keys.records(kind)) for kind in KINDS)
    return Restored(
        patterns,
        components,
        features,
        connection.zcard(keys.validations),
        reports,
        replayed,
        unknown,
        forgotten=sum(one.forgotten for one in epoch_ranges(archive, "events")),
        missing=archive.missing(),
        bad=writer.mark.bad,
        named_bad=writer.named_bad,
        differing={ai: pair for ai, pair in pairs.items() if pair[0] != pair[1]},
    )
