"""The harm that is done in a soak run: processes are killed, stopped, and started again."""

from __future__ import annotations

import math
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.soak_story import SETTINGS, SLACK_S, Gone, Outage, Story
from bench.trainers import KEYS, BenchFleet
from coordinator.lease import holder_name
from workers.fleet_agent import LISTENING_SPELLS, SILENCE_S

SPECIALIZATIONS = ("file_system", "process_manager")
AWAY_S = (0.0, 2 * SETTINGS.lease_s)
STOPPED_S = (SETTINGS.lease_s + 2, SETTINGS.lease_s + 12)
SILENT_S = max(SETTINGS.lease_s, SILENCE_S) * (1 + 1 / LISTENING_SPELLS) + 1
"""After so long the agent of a worker that is stopped gives up what it has."""
COORDINATORS = 2
COORDINATOR_AWAY_S = 3.0


@dataclass
class Trainer:
    ai: str
    specialization: str
    process: subprocess.Popen[bytes] | None = None
    is_stopped: bool = False


class Harm:
    """The trainers and coordinators of a fleet, and what is done to them."""

    def __init__(
        self,
        fleet: BenchFleet,
        trainers: int,
        story: Story,
        look: Callable[[], None],
        chance: random.Random,
    ) -> None:
        """``look`` brings the story up to now."""
        self.fleet = fleet
        self.redis = fleet.redis
        self.story = story
        self.look = look
        self.chance = chance
        self.counts: Counter[str] = Counter()
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._leader = b""
        self._killed_s = 0.0
        self._coordinators = [fleet.start_coordinator() for _ in range(COORDINATORS)]
        self.trainers = [
            Trainer(f"AI_{n}", SPECIALIZATIONS[n % len(SPECIALIZATIONS)]) for n in range(trainers)
        ]
        for trainer in self.trainers:
            self._start(trainer)

    def do_one(self) -> None:
        harms = [self._kill_trainer] * 4 + [self._stop_all, self._stop_worker] * 2
        harms += [self._kill_horse] * 2 + [self._kill_coordinator] * 2
        harm = self.chance.choice(harms)
        self.counts[harm.__name__.removeprefix("_").replace("_", " ")] += harm()

    def mend(self, until_s: float) -> None:
        """Start and continue again what is due by then."""
        for due in [due for due in self._due if due[0] <= until_s]:
            self._due.remove(due)
            due[1]()

    def note_takeover(self) -> None:
        leader: Any = self.redis.get(KEYS.leader) or b""
        if leader and self._leader and leader != self._leader and self._killed_s:
            self.story.outages[-1] = Outage(self._killed_s, time.time())
            self._killed_s = 0.0
        self._leader = leader or self._leader

    def coordinators_mib(self) -> float:
        return sum(_rss_mib(one.pid) for one in self._coordinators)

    def _chosen(self) -> Trainer | None:
        alive = [one for one in self.trainers if one.process and not one.is_stopped]
        return self.chance.choice(alive) if len(alive) > len(self.trainers) // 2 else None

    def _kill_trainer(self) -> bool:
        trainer = self._chosen()
        if trainer is None or trainer.process is None:
            return False
        trainer.process.kill()
        trainer.process.wait()
        trainer.process = None
        self._gone(trainer, self._lease_end_s(trainer.ai))
        self._later(AWAY_S, lambda: self._start(trainer))
        return True

    def _kill_horse(self) -> bool:
        horses = [pid for one in self.trainers if one.process for pid in _horses(one.process.pid)]
        if horses:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(horses), signal.SIGKILL)
        return bool(horses)

    def _stop_all(self) -> bool:
        """The worker and all that it started."""
        trainer = self._chosen()
        if trainer is None or trainer.process is None:
            return False
        pids = [trainer.process.pid, *_descendants(trainer.process.pid)]
        self._stop(trainer, pids)
        self._gone(trainer, self._lease_end_s(trainer.ai))
        self._later(STOPPED_S, lambda: self._continue(trainer, pids))
        return True

    def _stop_worker(self) -> bool:
        """The worker alone: its agent heartbeats until it has missed it for long."""
        trainer = self._chosen()
        if trainer is None or trainer.process is None:
            return False
        pids = [trainer.process.pid]
        self._stop(trainer, pids)
        self._gone(trainer, time.time() + SILENT_S)
        self._later(STOPPED_S, lambda: self._continue(trainer, pids))
        return True

    def _kill_coordinator(self) -> bool:
        if self._killed_s or len(self._coordinators) < COORDINATORS:
            return False
        process = self.chance.choice(self._coordinators)
        active = holder_name(self._leader)
        self._coordinators.remove(process)
        process.kill()
        process.wait()
        if active.split(".")[-2:-1] == [str(process.pid)]:
            self._killed_s = time.time()
            self.story.outages.append(Outage(self._killed_s, math.inf))

        def start() -> None:
            self._coordinators.append(self.fleet.start_coordinator())

        self._later((COORDINATOR_AWAY_S, 2 * COORDINATOR_AWAY_S), start)
        return True

    def _lease_end_s(self, ai: str) -> float:
        """A heartbeat that is on its way may still renew it."""
        is_on_its_way = self.redis.xlen(KEYS.ingress(ai)) > 0
        ends_ms = self.redis.zscore(KEYS.leases, ai)
        if ends_ms is None or is_on_its_way:
            return time.time() + SETTINGS.lease_s
        return ends_ms / 1000

    def _gone(self, trainer: Trainer, lease_ends_s: float) -> None:
        self.story.gone[trainer.ai] = Gone(time.time(), lease_ends_s + SLACK_S)

    def _start(self, trainer: Trainer) -> None:
        ai, specialization = trainer.ai, trainer.specialization
        trainer.process = self.fleet.start_trainer(ai, specialization, wait=False)

    def _stop(self, trainer: Trainer, pids: Iterable[int]) -> None:
        trainer.is_stopped = True
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def _continue(self, trainer: Trainer, pids: Iterable[int]) -> None:
        """What it still has then it may go on with."""
        trainer.is_stopped = False
        self.look()
        self.story.gone.pop(trainer.ai, None)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _later(self, within_s: tuple[float, float], action: Callable[[], None]) -> None:
        self._due.append((time.time() + self.chance.uniform(*within_s), action))


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _descendants(pid: int) -> list[int]:
    return [found for child in _children(pid) for found in (child, *_descendants(child))]


def _horses(worker: int) -> list[int]:
    """What the worker forked: it has its own command line."""
    with suppress(OSError):
        own = Path(f"/proc/{worker}/cmdline").read_bytes()
        return [c for c in _children(worker) if Path(f"/proc/{c}/cmdline").read_bytes() == own]
    return []


def _rss_mib(pid: int) -> float:
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        if found := re.search(r"VmRSS:\s+(\d+) kB", status):
            return int(found[1]) / 1024
    return 0.0
