"""A fleet that works, and is harmed, for as long as wanted; what must hold is looked at all along.

    python -m bench.soak [--minutes 10] [--seed N] [--trainers 12]

Trainers of two specializations train, seek company and ask for features; a client and the operator
ask for more. Meanwhile trainers, work-horses and coordinators are killed and started again, and
trainers stopped for longer than their lease. Prints Markdown; exit code 1 when something does not
hold. The seed decides what is asked and harmed, and when, but not what the fleet makes of it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.machine import (
    MESSAGING_PACKAGES,
    describe_machine,
    describe_server,
    throwaway_server,
)
from bench.soak_harm import SPECIALIZATIONS, Harm
from bench.soak_records import END_LIMIT_S, Records
from bench.soak_story import LOOK_EVERY_S, SETTINGS, SLACK_S, Story
from bench.trainers import KEYS, BenchFleet
from coordinator import Client, CoordError
from coordinator.clock import RandomIds, SystemClock
from coordinator.jobs import JOB_KEPT_S
from coordinator.operator import send_as_operator
from coordinator.specializations import FEATURES
from coordinator.work import END_STATES

SAMPLE_EVERY_S = 10.0
ASK_EVERY_S = (0.5, 3.0)
HARM_EVERY_S = (2.0, 8.0)
MOST_GROWTH = 1.25
"""Of a mean over the last quarter of a run to that over the quarter before."""
OUTCOMES = ("completed", "failed", "lost", "cancelled")
TYPES = ("performance_optimization", "feature_development", "cross_specialization")


class Soak:
    """One run: what is asked of a fleet that is harmed, and what is seen of it."""

    def __init__(self, fleet: BenchFleet, trainers: int, chance: random.Random) -> None:
        self.fleet = fleet
        self.redis = fleet.redis
        self.chance = chance
        self.story = Story()
        self.records = Records(fleet.redis, self.story)
        self.harm = Harm(fleet, trainers, self.story, self.look, chance)
        self.samples: list[dict[str, float]] = []
        self._last_event = "0-0"
        self._looked_s = time.time()
        self.longest_pause_s = 0.0
        self._client = Client("Asker", fleet.url, settings=fleet.settings)
        self._client.connect()

    def run(self, seconds: float) -> None:
        """Ask and harm all the time, and look at what comes of it."""
        now_s = time.time()
        ends_s = now_s + seconds
        ask_s, harm_s, sample_s = now_s, now_s + HARM_EVERY_S[1], now_s
        while (now_s := time.time()) < ends_s:
            self.look()
            self.harm.mend(now_s)
            if now_s >= ask_s:
                self._ask()
                ask_s = now_s + self.chance.uniform(*ASK_EVERY_S)
            if now_s >= harm_s:
                self.harm.do_one()
                harm_s = now_s + self.chance.uniform(*HARM_EVERY_S)
            if now_s >= sample_s:
                self.samples.append(self._sample())
                sample_s += SAMPLE_EVERY_S
            time.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Read what happened, and judge it."""
        looked_s, self._looked_s = self._looked_s, time.time()
        self.longest_pause_s = max(self.longest_pause_s, self._looked_s - looked_s)
        self.harm.note_takeover()
        entries: Any = self.redis.xrange(KEYS.events, f"({self._last_event}", "+")
        for entry_id, fields in entries:
            number, expected = int(entry_id.split(b"-")[0]), int(self._last_event.split("-")[0]) + 1
            if number != expected:
                self.story.faults.append(f"events {expected}..{number - 1} were not there to read")
            self._last_event = entry_id.decode()
            kind, data = fields[b"kind"].decode(), json.loads(fields[b"data"])
            self.story.take(kind, fields[b"ai"].decode(), data, int(fields[b"ms"]) / 1000)
            if kind.removeprefix("session_") in set(END_STATES) - {kind}:
                self.records.check_session(data["session_id"], kind.removeprefix("session_"))
        self.story.look(time.time())
        with suppress(CoordError):
            while self._client.receive(0.0):
                pass

    def _sample(self) -> dict[str, float]:
        return {
            **self.records.sample(),
            "coordinators' memory, MiB": self.harm.coordinators_mib(),
            "sessions open": len(self.story.open),
        }

    def _ask(self) -> None:
        chance = self.chance
        specialization = chance.choice(SPECIALIZATIONS)
        request: dict[str, Any] = {
            "type": chance.choice(TYPES),
            "participants": chance.randint(2, 4),
            "seeking_expertise": list(SPECIALIZATIONS),
            "requirements": {"specialization": specialization, "rounds": 3, "evaluations": 12},
        }
        message_type = "collaboration_request"
        match chance.randrange(4):
            case 0:
                message_type, request = "feature_request", {"feature": chance.choice([*FEATURES])}
            case 1 | 2:
                request["plan"] = self._plan()
        if chance.random() < 0.5:
            with suppress(CoordError):
                self._client.send(message_type, request)
        else:
            self._order(message_type, request)

    def _plan(self) -> list[dict[str, Any]]:
        """Some that do nothing, and some that take a while, of which half wait for another."""
        units: list[dict[str, Any]] = []
        for n in range(self.chance.randint(5, 40)):
            is_long = self.chance.random() < 0.2
            inputs = {"seconds": self.chance.uniform(0.1, 5)} if is_long else {}
            needs = [f"n{self.chance.randrange(n)}"] if n and self.chance.random() < 0.5 else []
            kind = "hold" if is_long else "nothing"
            units.append({"name": f"n{n}", "kind": kind, "inputs": inputs, "needs": needs})
        return units

    def _order(self, message_type: str, payload: dict[str, Any]) -> None:
        """It waits for no answer: with nobody active it is taken later."""
        with suppress(CoordError):
            send_as_operator(
                self.redis, KEYS, SystemClock(), RandomIds(), message_type, payload, timeout_s=0
            )

    def end(self) -> None:
        """End all that is open, and wait until what ended sessions leave has gone."""
        self.harm.mend(math.inf)
        alive = [one.process for one in self.harm.trainers if one.process]
        for process in alive:
            process.terminate()
        ends_s = time.time() + END_LIMIT_S
        self._client.close("the soak is over")
        while time.time() < ends_s and (self.story.open or any(p.poll() is None for p in alive)):
            self.look()
            if all(process.poll() is not None for process in alive):
                for session_id in self.story.open:
                    self._order("cancel", {"session_id": session_id})
                time.sleep(1)
            time.sleep(LOOK_EVERY_S)
        self.look()
        for process in [process for process in alive if process.poll() is None]:
            self.story.faults.append(f"trainer process {process.pid} did not end when told to")
        for session_id in self.story.open:
            self.story.faults.append(f"session {session_id} could not be ended")
        kept_until_s = time.time() + SETTINGS.session_keep_s + 5
        while time.time() < kept_until_s:
            time.sleep(LOOK_EVERY_S)
            self.look()

    def check_the_rest(self) -> None:
        """Results, time without an owner, growth, dead letters, and what was logged."""
        story = self.story
        for unit_id, count in story.results.items():
            if count != 1:
                story.faults.append(f"unit {unit_id} was completed {count} times")
        if story.longest_unowned_s > SLACK_S:
            story.faults.append(f"a unit had no owner for {story.longest_unowned_s:.1f} s")
        if letters := self.redis.xlen(KEYS.dead):
            story.faults.append(f"{letters} messages broke a handler: see {KEYS.dead}")
        for log in sorted(self.fleet.directory.glob("log-*")):
            text = log.read_text(errors="replace")
            for word in ("Traceback", "critical:", "gave up session"):
                if word in text:
                    story.faults.append(f"{log} has {word!r} {text.count(word)} times")
        quarter = len(self.samples) // 4
        if quarter * SAMPLE_EVERY_S * 2 >= JOB_KEPT_S:
            for name in ("server memory, MiB", "coordinators' memory, MiB", "keys"):
                before, last = (
                    fmean(sample[name] for sample in self.samples[-n * quarter :][:quarter])
                    for n in (2, 1)
                )
                if last > before * MOST_GROWTH:
                    story.faults.append(f"{name} grows: {before:.1f}, then {last:.1f}")


def counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def print_summary(soak: Soak, keys: dict[str, list[int]]) -> None:
    story = soak.story
    attempts = {name: story.kinds[f"unit_{name}"] for name in OUTCOMES}
    rows: dict[str, object] = {
        "sessions opened": len(story.types),
        "sessions ended": counted(story.ends),
        "attempts begun": len(story.assigned_s),
        "attempts ended": counted(attempts),
        "harm done": counted(soak.harm.counts),
        "takeovers": len(story.outages),
        "attempts whose owner was gone": len(story.late_s),
        "... ended after the lease, worst, s": f"{max(story.late_s, default=0):.2f}",
        "longest a unit was nobody's, s": f"{story.longest_unowned_s:.2f}",
        "messages refused": counted(story.refusals),
        "longest between two looks, s": f"{soak.longest_pause_s:.1f}",
    }
    print("| | value |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    print("\n| sampled | first | middle | last | most |\n|---|---|---|---|---|")
    for name in soak.samples[0]:
        values = [sample[name] for sample in soak.samples]
        shown = values[0], values[len(values) // 2], values[-1], max(values)
        print(f"| {name} | {' | '.join(f'{value:,.0f}' for value in shown)} |")
    print("\n| keys at the end | how many | never expire | members |\n|---|---|---|---|")
    for name, counts in sorted(keys.items()):
        print(f"| {name} | {' | '.join(map(str, counts))} |")
    print()
    for fault in story.faults:
        print(f"- FAULT: {fault}")
    print(f"{len(story.faults)} faults." if story.faults else "All that must hold held.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--trainers", type=int, default=12)
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="coord-soak-"))
    with throwaway_server() as url:
        fleet = BenchFleet(url, directory, SETTINGS)
        try:
            print(
                f"{arguments.trainers} trainers for {arguments.minutes:g} min, seed "
                f"{arguments.seed}. Machine: {describe_machine(*MESSAGING_PACKAGES, 'rq')}; "
                f"{describe_server(fleet.redis)}.\n",
                flush=True,
            )
            soak = Soak(fleet, arguments.trainers, random.Random(arguments.seed))
            soak.run(arguments.minutes * 60)
            soak.end()
            keys = soak.records.check_keys()
            soak.check_the_rest()
            print_summary(soak, keys)
        finally:
            fleet.close()
    if soak.story.faults:
        raise SystemExit(f"what the processes said is in {directory}")
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
