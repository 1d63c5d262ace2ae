"""The training process of a trainer: it searches, and tells what it measured and what it found.

On standard input comes what others share, a JSON object a line:

- ``{"pattern": {...}, "contributor": ai, "kind": "pattern"}``: parameters that may be good. What
  stems from a component has the kind ``component``, and that one's id and parameters in
  ``pattern``.
- ``{"measured": {"problem": name, "workload": name, "evaluations": [[point, gap], ...]},
  "contributor": ai}``: what somebody evaluated, good or bad.

Standard output carries the same of its own: ``{"measured": {...}}`` every few evaluations, and
after a round ``{"pattern": {...}, "code": {...}, "performance": {...}}`` if it found something
better. It ends when its input does.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import threading
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workers.evaluations import Evaluation, evaluations_of
from workers.lines import read_line, write_line
from workers.problems import Problem, ProblemError, Score, find_problem
from workers.problems.policies import is_finite_number
from workers.problems.problem import check_values
from workers.search import Found, Search

log = logging.getLogger("coord.trainer")

ROUND_EVALUATIONS = 120
TOLD_EVALUATIONS = 3
"""So many at a time are told. The more, the longer everybody searches without what others know:
``docs/sharing.md`` has figures."""
MAX_CANDIDATES = 20
CHECKED_CANDIDATES = 4
"""So many are evaluated before a round."""
TOLERANCE = 1e-6
"""How far apart two machines may be in the gap that one point closes."""
TEACHERS_NAMED = 20
HEARD_AT_ONCE = 100
WAITING_MAX = 1_000
"""Of what others tell so much is kept until there is time for it; the oldest is left out."""
NICENESS = 10
"""Training fills the time that units leave: somebody waits for those."""


@dataclass(frozen=True)
class Candidate:
    """Parameters that somebody shared, as a pattern or with a component. What they are worth is
    measured before they are used; ``claim`` is the workload and the gap that they are said to close
    there."""

    kind: str
    id: str
    contributor: str
    values: dict[str, float]
    claim: tuple[str, float] | None

    def claimed_on(self, workload: str) -> float | None:
        return self.claim[1] if self.claim and self.claim[0] == workload else None


@dataclass(frozen=True)
class Start:
    """The best known for a workload, as measured there; ``source`` is None for the defaults."""

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

    There is one search a workload. It goes on from round to round, and takes in all that others
    say to have measured: that tells it where to look. Nobody's word is taken for what is good,
    though. What was shared as good is evaluated before a round, and whoever said too much of it is
    not listened to any more.

    ``seed`` decides everything that is drawn; ``run`` tells this run's patterns from those of
    earlier ones.
    """

    round_evaluations = ROUND_EVALUATIONS
    told_evaluations = TOLD_EVALUATIONS

    def __init__(self, ai_id: str, problem: Problem, seed: int, run: str) -> None:
        self._ai_id = ai_id
        self._name = f"{problem.name}.{ai_id}.{run}"
        self._problem = problem
        self._seed = seed
        self._round = 0
        self._searches = {
            workload: Search(problem, workload, seed * 1_000_003 + place)
            for place, workload in enumerate(problem.training_workloads)
        }
        self._best: dict[str, Start] = {}
        self._offered: dict[str, dict[tuple[str, str], Candidate]] = {
            workload: {} for workload in problem.training_workloads
        }
        self._heard: dict[str, Counter[str]] = {
            workload: Counter() for workload in problem.training_workloads
        }
        self._liars: set[str] = set()

    def hear(self, line: dict[str, Any], contributor: str) -> None:
        """Take in what another trainer told, in the form of ``lines``."""
        if "measured" in line:
            self.learn(line["measured"], contributor)
        if "pattern" in line:
            self.offer(line["pattern"], contributor, line.get("kind", "pattern"))

    def learn(self, measured: Any, contributor: str) -> bool:
        """Let the search know what somebody evaluated; False when it is of no use here."""
        if contributor in self._liars or not isinstance(measured, dict):
            return False
        workload = str(measured.get("workload"))
        search = self._searches.get(workload)
        if search is None or measured.get("problem") != self._problem.name:
            return False
        try:
            told = evaluations_of(measured.get("evaluations"), len(self._problem.parameters))
        except ProblemError as error:
            log.info("what %s measured cannot be used: %s", contributor, error)
            return False
        if any(gap_closed > 1 for _, gap_closed in told):  # nothing is better than the bound
            self._liars.add(contributor)
            return False
        used = sum(search.learn(one) for one in told)
        if used:
            self._heard[workload][contributor] += used
        return True

    def offer(self, pattern: dict[str, Any], contributor: str, kind: str = "pattern") -> bool:
        """Remember what was shared as good, to try it; False when it is none of this problem's.

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
        for offered in self._offered.values():
            offered.pop(key, None)
            offered[key] = Candidate(*key, contributor, values, _claim(data))
            while len(offered) > MAX_CANDIDATES:
                del offered[next(iter(offered))]
        return True

    def lines(self) -> Iterator[dict[str, Any]]:
        """What there is to tell, as it comes, without end."""
        while True:
            yield from self.train()

    def train(self) -> Iterator[dict[str, Any]]:
        """One round of search: what was measured, a few evaluations at a time; and in the end what
        was learned, if anything better was found."""
        turn = (self._seed + self._round) % len(self._searches)
        workload = self._problem.training_workloads[turn]
        self._round += 1
        start = self._choose_start(workload)
        search = self._searches[workload]
        begun = search.evaluations
        while (left := begun + self.round_evaluations - search.evaluations) > 0:
            measured = [search.step() for _ in range(min(left, self.told_evaluations))]
            yield self._told(workload, measured)
        found = search.found
        is_first = start.source is None and workload not in self._best
        self._best[workload] = start
        if found.score.gap_closed > start.gap_closed or is_first:
            name = f"{self._name}.{self._round}"
            own = Candidate("pattern", name, self._ai_id, found.values, None)
            self._best[workload] = Start(own, found.score.gap_closed)
            yield self._describe(name, found, turn, search.evaluations - begun, start)

    def _choose_start(self, workload: str) -> Start:
        """The best of all that is known, as measured here: nobody's word is taken for anything."""
        search = self._searches[workload]
        best = self._best.get(workload) or Start(None, search.found.score.gap_closed)
        tries = 0
        for candidate in self._take_offers(workload):
            claimed = candidate.claimed_on(workload)
            is_no_better = claimed is not None and claimed <= best.gap_closed
            if is_no_better or candidate.contributor in self._liars:
                continue
            if tries == CHECKED_CANDIDATES:
                break
            tries += 1
            gap_closed = search.check(candidate.values)
            if claimed is not None and gap_closed < claimed - TOLERANCE:
                self._liars.add(candidate.contributor)
            if gap_closed > best.gap_closed:
                best = Start(candidate, gap_closed)
        return best

    def _take_offers(self, workload: str) -> list[Candidate]:
        """What was offered since the last round on this workload: what is said to be best there
        first, and after that what says nothing of it, the newest first."""
        newest_first = list(reversed(self._offered[workload].values()))
        self._offered[workload].clear()

        def claimed(candidate: Candidate) -> float:
            claim = candidate.claimed_on(workload)
            return -math.inf if claim is None else claim

        return sorted(newest_first, key=claimed, reverse=True)

    def _told(self, workload: str, measured: list[Evaluation]) -> dict[str, Any]:
        named = {"problem": self._problem.name, "workload": workload}
        return {"measured": {**named, "evaluations": [list(one) for one in measured]}}

    def _describe(
        self, name: str, found: Found, turn: int, evaluations: int, start: Start
    ) -> dict[str, Any]:
        """The pattern and the component to share. Every number in them was measured here."""
        problem = self._problem
        workload, held_out = problem.training_workloads[turn], problem.held_out_workloads[turn]
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
                "evaluations": evaluations,
                "learned_from": dict(self._heard[workload].most_common(TEACHERS_NAMED)),
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


def _claim(data: dict[str, Any]) -> tuple[str, float] | None:
    """On which workload a pattern is said to close which gap, if it says so."""
    gap_closed = data.get("gap_closed")
    if not isinstance(gap_closed, int | float) or not is_finite_number(gap_closed):
        return None
    return str(data.get("workload")), gap_closed


def seed_of(ai_id: str) -> int:
    """The same AI searches the same way every time; two AIs do not."""
    return zlib.crc32(ai_id.encode())


def _read_told(told: deque[dict[str, Any]]) -> None:
    for line in sys.stdin:
        told.append(read_line(line))
    os._exit(0)


def _next_told(told: deque[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Some of what waits, the oldest first: whoever talks much does not keep others from work."""
    for _ in range(min(len(told), HEARD_AT_ONCE)):
        yield told.popleft()


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
    told: deque[dict[str, Any]] = deque(maxlen=WAITING_MAX)
    threading.Thread(target=_read_told, args=(told,), daemon=True).start()
    for line in trainer.lines():
        write_line(sys.stdout, line)
        for heard in _next_told(told):
            trainer.hear(heard, heard["contributor"])


if __name__ == "__main__":
    main()
