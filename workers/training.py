"""The training process of a trainer: it searches, and tells what it found.

On standard input comes what could be started from, one JSON object ``{"pattern": {...},
"contributor": ai, "kind": "pattern"}`` a line; what stems from a component has the kind
``component``, and that one's id and parameters in ``pattern``. Standard output carries what was
learned, one ``{"pattern": {...}, "code": {...}, "performance": {...}}`` a line. It ends when its
input does.
"""

from __future__ import annotations

import argparse
import logging
import os
import queue
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workers.lines import read_line, write_line
from workers.problems import Problem, ProblemError, Score, find_problem
from workers.problems.problem import check_values, defaults
from workers.search import Found, search

log = logging.getLogger("coord.trainer")

ROUND_EVALUATIONS = 120
MAX_CANDIDATES = 20
NICENESS = 10
"""Training fills the time that units leave: somebody waits for those."""


@dataclass(frozen=True)
class Candidate:
    """Parameters that somebody shared, as a pattern or with a component. What they are worth is
    measured before they are used."""

    kind: str
    id: str
    contributor: str
    values: dict[str, float]


@dataclass(frozen=True)
class Start:
    """Where a search starts from, measured on its workload; ``source`` is None for the defaults."""

    values: dict[str, float]
    source: Candidate | None
    gap_closed: float

    def told(self) -> dict[str, Any] | None:
        """It, as what is found from there says under ``derived_from``."""
        if self.source is None:
            return None
        return {
            "id": self.source.id,
            f"{self.source.kind}_id": self.source.id,
            "contributor": self.source.contributor,
            "measured_gap_closed": self.gap_closed,
        }


class Trainer:
    """Searches one problem, round by round, on its training workloads in turn.

    Every round starts from the best that is known for the workload: its own, or one that was
    shared, which is evaluated again first. ``seed`` decides everything that
    is drawn; ``run`` tells this run's patterns from those of earlier ones.
    """

    def __init__(self, ai_id: str, problem: Problem, seed: int, run: str) -> None:
        self._ai_id = ai_id
        self._name = f"{problem.name}.{ai_id}.{run}"
        self._problem = problem
        self._seed = seed
        self._round = 0
        self._best: dict[str, Start] = {}
        self._candidates: dict[tuple[str, str], Candidate] = {}

    def offer(self, pattern: dict[str, Any], contributor: str, kind: str = "pattern") -> bool:
        """Remember what was shared as a start to try; False when it is none of this problem's.

        With the ``kind`` component, ``pattern`` has that one's id and parameters.
        """
        data = pattern.get("data")
        if not isinstance(data, dict) or data.get("problem") != self._problem.name:
            return False
        try:
            values = check_values(self._problem.parameters, data.get("parameters", {}))
        except (ProblemError, TypeError, AttributeError) as error:
            log.info("a %s of %s cannot be used: %s", kind, contributor, error)
            return False
        key = kind, str(pattern.get("id"))
        self._candidates.pop(key, None)
        self._candidates[key] = Candidate(*key, contributor, values)
        while len(self._candidates) > MAX_CANDIDATES:
            del self._candidates[next(iter(self._candidates))]
        return True

    def train(self) -> dict[str, Any] | None:
        """One round of search; what was learned, or None when nothing better was found."""
        workloads = self._problem.training_workloads
        turn = (self._seed + self._round) % len(workloads)
        workload = workloads[turn]
        self._round += 1
        start = self._choose_start(workload)
        found = search(
            self._problem,
            workload,
            ROUND_EVALUATIONS,
            seed=self._seed * 1_000_003 + self._round,
            start=start.values,
        )
        known = self._best.get(workload)
        if known and found.score.gap_closed <= known.gap_closed:
            return None
        name = f"{self._name}.{self._round}"
        own = Candidate("pattern", name, self._ai_id, found.values)
        self._best[workload] = Start(found.values, own, found.score.gap_closed)
        held_out = self._problem.held_out_workloads[turn]
        return self._describe(name, found, workload, held_out, start)

    def _choose_start(self, workload: str) -> Start:
        """The best of all that is known, as measured here: nobody's word is taken for anything."""
        best = self._best.get(workload)
        if best is None:
            values = defaults(self._problem.parameters)
            best = Start(values, None, self._problem.evaluate(values, workload).gap_closed)
        for candidate in self._candidates.values():
            gap_closed = self._problem.evaluate(candidate.values, workload).gap_closed
            if gap_closed > best.gap_closed:
                best = Start(candidate.values, candidate, gap_closed)
        return best

    def _describe(
        self, name: str, found: Found, workload: str, held_out: str, start: Start
    ) -> dict[str, Any]:
        """The pattern and the component to share. Every number in them was measured here."""
        problem = self._problem
        judged = problem.evaluate(found.values, held_out)
        pattern = {
            "id": name,
            "type": "policy_parameters",
            "specialization": problem.specialization,
            "confidence": max(0.0, min(1.0, judged.gap_closed)),
            "data": {
                "problem": problem.name,
                "parameters": found.values,
                "workload": workload,
                "gap_closed": found.score.gap_closed,
                "evaluations": found.evaluations,
                "held_out": {"workload": held_out, **_summary(judged)},
            },
            "derived_from": start.told(),
        }
        code = {
            "id": f"{name}.policy",
            "name": f"{problem.name} policy",
            "language": "python",
            "specialization": problem.specialization,
            "code": problem.component_source(found.values),
            "dependencies": [],
            "derived_from": {"pattern_id": name},
        }
        return {"pattern": pattern, "code": code, "performance": _summary(judged)}


def _summary(score: Score) -> dict[str, float]:
    return {
        "gap_closed": score.gap_closed,
        "achieved": score.achieved,
        "baseline": score.baseline,
        "bound": score.bound,
    }


def seed_of(ai_id: str) -> int:
    """The same AI searches the same way every time; two AIs do not."""
    return zlib.crc32(ai_id.encode())


def _read_offers(offers: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        offers.put(read_line(line))
    os._exit(0)


def _waiting(offers: queue.SimpleQueue[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    while not offers.empty():
        yield offers.get()


def main() -> None:
    parser = argparse.ArgumentParser(description="The training process of a trainer.")
    parser.add_argument("ai_id")
    parser.add_argument("specialization")
    parser.add_argument("run")
    arguments = parser.parse_args()
    os.nice(NICENESS)
    problem = find_problem(arguments.specialization)
    if problem is None:
        raise SystemExit(f"there is nothing to train for {arguments.specialization!r} yet")
    seed = seed_of(arguments.ai_id)
    trainer = Trainer(arguments.ai_id, problem, seed, arguments.run)
    offers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read_offers, args=(offers,), daemon=True).start()
    while True:
        for offer in _waiting(offers):
            trainer.offer(offer["pattern"], offer["contributor"], offer.get("kind", "pattern"))
        learned = trainer.train()
        if learned is not None:
            write_line(sys.stdout, learned)


if __name__ == "__main__":
    main()
