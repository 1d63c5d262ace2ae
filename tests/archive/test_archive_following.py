"""Following a fleet into an archive, and the command that does so."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis as redis_py
from redis import Redis
from typer.testing import CliRunner

from cli.main import app
from coordinator.archive.archive import Archive
from coordinator.archive.follow import TOLD_AGAIN_S, ProgressReporter, follow
from coordinator.archive.reader import ArchiveReader
from coordinator.keys import Keys
from tests.archives import (
    archive_all,
    history,
    take_all,
    with_validators,
)
from tests.fleet import CountingIds, FleetUnderTest, ManualClock

KEYS = Keys()


class Faulty(fakeredis.FakeRedis):
    """Its server is away for the next ``away`` reads of streams."""

    away = 0

    def xread(self, *arguments: Any) -> Any:
        if self.away:
            self.away -= 1
            raise redis_py.ConnectionError("gone")
        return super().xread(*arguments)


def test_an_outage_is_said_once_and_waited_out(
    archive: Archive, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.following.AWAY_S", 0.01)
    monkeypatch.setattr("coordinator.following.BLOCK_MS", 10)
    caplog.set_level(logging.INFO, "coord.archive")
    stop = threading.Event()
    with Faulty(server=fakeredis.FakeServer(), protocol=2) as client:
        fleet = with_validators(FleetUnderTest(client))
        client.away = 3
        for lines in follow(archive, client, KEYS, ManualClock(), CountingIds(), stop):
            if any(line.data.get("event") == "joined" for line in lines):
                stop.set()
        assert [line for line in archive.lines() if line.kind != "epoch"] == history(fleet.redis)
    told = [record.message for record in caplog.records if record.name == "coord.archive"]
    said = [text for text in told if "epoch" not in text]
    assert len(said) == 2
    assert "waiting for it" in said[0]
    assert said[1] == "the server is back"


@pytest.mark.parametrize(
    "error",
    [redis_py.AuthenticationError("WRONGPASS"), redis_py.ResponseError("WRONGTYPE")],
    ids=lambda error: type(error).__name__,
)
def test_what_does_not_pass_is_not_waited_for(
    archive: Archive, memory: Redis, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(memory, "xread", refuse)
    FleetUnderTest(memory).join("a")
    lines = follow(archive, memory, KEYS, ManualClock(), CountingIds(), threading.Event())
    assert [line.kind for line in next(lines)] == ["epoch"]
    with pytest.raises(type(error)):
        next(lines)


def test_the_coordinator_is_told_how_far_it_has_come(
    fleet: FleetUnderTest, archive: Archive
) -> None:
    clock = ManualClock()
    reporter = ProgressReporter(archive, fleet.redis, KEYS, clock, CountingIds())

    def told() -> list[Any]:
        entries = fleet.stream(KEYS.ingress("operator"))
        bodies = [json.loads(fields["body"]) for _, fields in entries]
        return [(body["message_type"], body["payload"]) for body in bodies]

    reporter.report()
    assert told() == []  # nothing was read
    take_all(fleet.redis, archive)
    cursor = archive.cursor
    payload = {"archive": archive.archive_id, **cursor._asdict()}
    reporter.report()
    reporter.report()
    assert told() == [("archived", payload)]
    before = fleet.log(), fleet.events()
    fleet.run()
    assert (fleet.log(), fleet.events()) == before  # else there were always something new
    clock.advance(2)
    reporter.report()
    assert told() == []  # nothing is new
    clock.advance(TOLD_AGAIN_S)
    reporter.report()
    assert told() == [("archived", payload)]


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("logs_restored")
def test_the_command_stores_what_is_there(real_redis: Redis, real_url: str, path: Path) -> None:
    with_validators(FleetUnderTest(real_redis))
    done = CliRunner().invoke(app, ["archive", str(path), "--once", "--json", "--redis", real_url])
    assert done.exit_code == 0, done.output
    counts = json.loads(done.stdout)
    shown = CliRunner().invoke(app, ["archive", str(path), "--once", "--redis", real_url])
    with ArchiveReader.read(path) as archive:
        assert counts == archive.counts()
        assert [line for line in archive.lines() if line.kind != "epoch"] == history(real_redis)
    assert (counts["ais"], counts["missing"]) == (4, 0)
    assert "ais" in shown.stdout


@pytest.mark.usefixtures("logs_restored")
def test_the_command_says_that_the_file_is_another_fleets(
    fleet: FleetUnderTest, real_redis: Redis, real_url: str, path: Path
) -> None:
    """By its exit code, so that it is not started again and again."""
    archive_all(fleet.redis, path)
    stranger = FleetUnderTest(real_redis)
    stranger.ids.made = 50
    stranger.join("a")
    done = CliRunner().invoke(app, ["archive", str(path), "--redis", real_url])
    assert done.exit_code == 2
    assert "is the archive of another fleet" in " ".join(done.stderr.split())


@pytest.mark.usefixtures("logs_restored")
@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (["--json"], 2, "--json goes with --once"),
        (["--once"], 1, "is a directory"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(
    real_url: str, tmp_path: Path, options: list[str], code: int, word: str
) -> None:
    done = CliRunner().invoke(app, ["archive", str(tmp_path), *options, "--redis", real_url])
    assert done.exit_code == code
    assert word in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
