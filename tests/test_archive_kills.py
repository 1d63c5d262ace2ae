"""`coord archive` as a process: killed at any moment, and on a disk that is full, it loses and
doubles nothing."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from coordinator.archive.failures import BadArchive
from coordinator.archive.reader import ArchiveReader
from tests.archive_victim import PHASES
from tests.archives import archive_all, contents
from tests.fleet import FleetUnderTest, python
from tests.foreground import ForegroundCommand
from tests.servers import python_environment, wait_for

pytestmark = pytest.mark.one_server

MESSAGES = 3000
KILLS = 4
LIMIT_BYTES = 1 << 20


@pytest.fixture
def prefilled(real_redis: Redis) -> FleetUnderTest:
    """A fleet with much to archive."""
    fleet = FleetUnderTest(real_redis, log_keep=100_000, validations_open_max=100_000)
    fleet.join("a", "b", specialization="audio")
    for n in range(0, MESSAGES, 3):
        fleet.say("a", "pattern_share", {"pattern": {"id": f"p{n % 100}", "data": "x" * 300}})
        fleet.say("a", "message", {"text": f"number {n}"}, "b")
        fleet.say("b", "code_share", {"code": python(f"c{n % 50}", derived_from=f"p{n % 100}")})
    fleet.run()
    return fleet


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub_data.db"


@pytest.fixture
def start(real_url: str, path: Path) -> Iterator[Callable[[], ForegroundCommand]]:
    """Starts `coord archive` on the file; what it started ends with the test."""
    started: list[ForegroundCommand] = []

    def start() -> ForegroundCommand:
        started.append(ForegroundCommand("archive", str(path), "--redis", real_url))
        return started[-1]

    yield start
    for command in started:
        command.end(signal.SIGKILL)


def stored(path: Path) -> int:
    """How many entries the archive has by now."""
    try:
        with ArchiveReader.read(path) as archive:
            return archive.cursor.log + archive.cursor.events
    except BadArchive:
        return 0  # it is being made


def test_killed_again_and_again_it_loses_and_doubles_nothing(
    prefilled: FleetUnderTest, path: Path, start: Callable[[], ForegroundCommand], tmp_path: Path
) -> None:
    seed = random.randrange(1000)
    print(f"seed {seed}")  # to repeat a run that failed
    chance = random.Random(seed)
    for n in range(KILLS):
        before = stored(path)
        for m in range(chance.randrange(1, 800)):
            prefilled.say("b", "pattern_share", {"pattern": {"id": f"q{n}", "data": m}})
        prefilled.run()
        command = start()
        wait_for(lambda: stored(path) > before, what="something to be stored")  # noqa: B023
        command.end(signal.SIGKILL)
    command = start()
    command.wait_for("follows the fleet")
    end = prefilled.coordinator._fleet.log.n + prefilled.coordinator._fleet.events.n
    wait_for(lambda: stored(path) == end, what="all to be stored")
    assert command.end() == 0
    archive_all(prefilled.redis, tmp_path / "at once.db")
    assert contents(path) == contents(tmp_path / "at once.db")


@pytest.mark.parametrize("phase", PHASES)
def test_killed_in_each_phase_of_a_batch(
    prefilled: FleetUnderTest, real_redis: Redis, path: Path, tmp_path: Path, phase: str
) -> None:
    socket = str(real_redis.get_connection_kwargs()["path"])
    for nth in ("2", "3"):
        victim = [sys.executable, "-m", "tests.archive_victim", socket, str(path), phase, nth]
        died = subprocess.run(victim, env=python_environment(), capture_output=True, text=True)
        assert died.returncode == -signal.SIGKILL, died.stderr
    archive_all(prefilled.redis, path)
    archive_all(prefilled.redis, tmp_path / "at once.db")
    assert contents(path) == contents(tmp_path / "at once.db")


def test_on_a_full_disk_it_ends_and_goes_on_when_there_is_room(
    prefilled: FleetUnderTest, path: Path, real_url: str, tmp_path: Path
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))

    command = [sys.executable, "-m", "cli.main", "archive", str(path), "--redis", real_url]
    full = subprocess.run(
        command, preexec_fn=limit, env=python_environment(), capture_output=True, text=True
    )
    assert full.returncode == 1
    assert "make room on its disk" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    assert path.stat().st_size <= LIMIT_BYTES
    archive_all(prefilled.redis, path)
    archive_all(prefilled.redis, tmp_path / "at once.db")
    assert contents(path) == contents(tmp_path / "at once.db")


def test_a_second_one_on_the_same_file_is_refused(
    prefilled: FleetUnderTest, path: Path, start: Callable[[], ForegroundCommand]
) -> None:
    first = start()
    first.wait_for("follows the fleet")
    second = start()
    assert second.wait_for("being written by another `coord archive`")
    assert second.process.wait(30) == 1
    assert first.end() == 0
    assert "goes on from here" in first.lines[-1]
