"""A whole fleet for benchmarks: coordinators and trainers as processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from bench.machine import connect_to, throwaway_server
from coordinator.keys import Keys
from coordinator.processes import tied_to_parent
from coordinator.settings import Settings
from coordinator.work import Session, Unit
from workers.launch import trainer_command, worker_environment
from workers.skills.skill import Output, UnitContext

REPOSITORY = Path(__file__).resolve().parents[1]
KEYS = Keys()
ENTRY_POINTS = """\
[coord.skills]
nothing = bench.trainers:Nothing
hold = bench.trainers:Hold
"""

HOLD_POLL_S = 0.02

T = TypeVar("T")


class Nothing:
    """Does nothing."""

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        return {}


class Hold:
    """Takes ``inputs["seconds"]``. With a ``mark``, the path of a file, it says in
    ``<mark>.<attempt>`` when it began and whose it is, and ends once ``<mark>.end`` is there."""

    capabilities = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        ends_s = time.monotonic() + unit.inputs["seconds"]
        mark = unit.inputs.get("mark")
        if mark:
            written = Path(f"{mark}.{unit.attempt}.new")
            written.write_text(f"{time.time()} {context.ai_id}")
            written.rename(f"{mark}.{unit.attempt}")
        while time.monotonic() < ends_s and not (mark and Path(f"{mark}.end").exists()):
            time.sleep(HOLD_POLL_S)
        return {}


class BenchFleet:
    """Coordinators and trainers on one server; what each says goes into a file of ``directory``."""

    def __init__(self, url: str, directory: Path, settings: Settings) -> None:
        self.url = url
        self.redis = connect_to(url)
        self.directory = directory
        self.settings = settings
        self.processes: list[subprocess.Popen[bytes]] = []
        info = directory / "bench_skills-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-skills\nVersion: 1\n")
        (info / "entry_points.txt").write_text(ENTRY_POINTS)

    def start_coordinator(self) -> subprocess.Popen[bytes]:
        """A real ``coord serve`` with all of this fleet's settings."""
        environment = self.settings.to_environment()
        command = [sys.executable, "-m", "cli.main", "serve", "--quiet"]
        command += ["--no-gateway", "--no-http"]
        process = self.start(command, COORD_REDIS_URL=self.url, **environment)
        self.wait(lambda: self.redis.exists(KEYS.leader), "a coordinator")
        return process

    def start_trainer(
        self, ai: str, specialization: str = "general", wait: bool = True
    ) -> subprocess.Popen[bytes]:
        settings = self.settings.model_copy(update={"specialization": specialization})
        environment = worker_environment(self.url, settings)
        process = self.start(trainer_command(ai, settings.namespace), **environment)
        if wait:
            self.wait(lambda: self.redis.zscore(KEYS.leases, ai) is not None, f"{ai} to join")
        return process

    def start(self, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
        """Any process that imports from this repository, and ends with this one."""
        inherited = {name: v for name, v in os.environ.items() if not name.startswith("COORD_")}
        paths = [str(REPOSITORY), str(self.directory)]
        with (self.directory / f"log-{len(self.processes)}").open("wb") as log:
            process = subprocess.Popen(
                tied_to_parent(command),
                env={**inherited, "PYTHONPATH": os.pathsep.join(paths), **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def session(self, session_id: str) -> Session:
        stored: Any = self.redis.hget(KEYS.session(session_id), "session")
        return Session.from_json(stored)

    def units(self, session: Session) -> dict[str, Unit]:
        """The units by their names."""
        stored: list[Any] = [self.redis.hget(KEYS.unit(one), "unit") for one in session.units]
        return {unit.name: unit for unit in map(Unit.from_json, stored)}

    def wait(self, condition: Callable[[], T], what: str, limit_s: float = 60) -> T:
        """The first true value of ``condition``."""
        ends_s = time.monotonic() + limit_s
        while not (value := condition()):
            if time.monotonic() > ends_s:
                raise SystemExit(f"waited {limit_s:g} s in vain for {what}: see {self.directory}")
            time.sleep(0.005)
        return value

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.redis.close()


@contextmanager
def fleet_on(url: str) -> Iterator[BenchFleet]:
    """A fleet on the server at ``url``, with one coordinator. What it said is kept if it failed."""
    directory = Path(tempfile.mkdtemp(prefix="coord-bench-log-"))
    fleet = BenchFleet(url, directory, Settings())
    try:
        fleet.start_coordinator()
        yield fleet
    finally:
        fleet.close()
    shutil.rmtree(directory)


@contextmanager
def bench_fleet() -> Iterator[BenchFleet]:
    """A fleet on a throw-away server, with one coordinator; see `fleet_on`."""
    with throwaway_server() as url, fleet_on(url) as fleet:
        yield fleet
