"""Following a fleet's history into an archive, through outages, and telling how far it has come."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from threading import Event as Flag

import redis

from coordinator.archive.archive import Archive
from coordinator.clock import Clock, Ids, instance_id
from coordinator.connection import unusable
from coordinator.following import follow_lines
from coordinator.history import Cursor, Follower, Line
from coordinator.keys import Keys
from coordinator.operator import post

log = logging.getLogger("coord.archive")

TOLD_EVERY_S = 1.0
TOLD_AGAIN_S = 60.0
"""So often it is told that the archive is there, even if nothing is new."""


def catch_up(archive: Archive, follower: Follower) -> Iterator[Sequence[Line]]:
    """Store what is there already; each batch once it is stored. Raises BadArchive, ArchiveFull,
    and what Redis does."""
    follower.resume(archive.cursor, archive.begins())
    while lines := follower.read(0):
        _take(archive, lines)
        yield lines


def follow(
    archive: Archive, connection: redis.Redis, keys: Keys, clock: Clock, ids: Ids, stop: Flag
) -> Iterator[Sequence[Line]]:
    """Store what is there and what comes, until ``stop`` is set; each batch once it is stored, and
    an empty one now and then.

    An outage of the server is said once and waited out. Raises BadArchive, ArchiveFull, and what
    Redis says that does not pass.
    """
    follower = Follower(connection, keys)
    follower.resume(archive.cursor, archive.begins())
    reporter = ProgressReporter(archive, connection, keys, clock, ids)
    for lines in follow_lines(follower, stop.wait, _log_outage):
        if lines:
            _take(archive, lines)
        reporter.report()
        yield lines
        if stop.is_set():
            return


def _log_outage(error: redis.RedisError | None) -> None:
    if error is None:
        log.info("the server is back")
    else:
        log.warning("%s; waiting for it", unusable("the server", error).detail)


class ProgressReporter:
    """Tells the fleet's coordinator how far ``archive`` has come, so that it keeps the rest; once a
    second at most, and waiting for no answer."""

    def __init__(
        self, archive: Archive, connection: redis.Redis, keys: Keys, clock: Clock, ids: Ids
    ) -> None:
        self._archive = archive
        self._redis = connection
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self._instance = instance_id(ids)
        self._n = 0
        self._told = Cursor()
        self._told_s = clock.elapsed_s() - TOLD_EVERY_S

    def report(self) -> None:
        """Say it if it is time. In an outage, or while the server's memory is full, it is said
        later."""
        cursor, now_s = self._archive.cursor, self._clock.elapsed_s()
        every_s = TOLD_AGAIN_S if cursor == self._told else TOLD_EVERY_S
        if not cursor.epoch or now_s - self._told_s < every_s:
            return
        self._archive.sync()  # what is told to be stored must be so whatever happens
        self._told_s = now_s
        payload = {"archive": self._archive.archive_id, **cursor._asdict()}
        with suppress(redis.RedisError):
            self._n += 1
            post(
                self._redis,
                self._keys,
                self._clock,
                self._ids,
                self._instance,
                self._n,
                "archived",
                payload,
            )
            self._told = cursor


def _take(archive: Archive, lines: Sequence[Line]) -> None:
    archive.take(lines)
    for line in lines:
        if line.kind == "gap" and line.data.get("unreadable"):
            log.warning("%s %d is no entry of coord's: a gap", line.source, line.n)
        elif line.kind == "gap":
            log.warning(
                "%s %d to %d (%d) were cut before they were read: a gap",
                *(line.source, line.first, line.n, line.n - line.first + 1),
            )
        elif line.kind == "epoch":
            forgot = line.data.get("forgot")
            log.info(
                "epoch %s begins after log %d%s",
                *(line.epoch, line.n),
                f"; the server has forgotten {forgot} that came after it" if forgot else "",
            )
