"""A fleet that has been at work for some minutes: something of everything that pages show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coordinator.specializations import CAPABILITIES, FEATURES
from tests.fleet import FleetUnderTest, python
from tests.runs import POLICY

WORKED_S = 420.0
PROBLEMS = {
    "AI_Node_2": ("buffer_cache", "µs per access", 1.0),
    "AI_Node_3": ("cpu_scheduler", "mean slowdown", 1.19),
    "AI_Node_4": ("firewall_order", "rules per packet", 1.31),
    "AI_Node_5": ("congestion_control", "1 - utility", 0.66),
}
"""By the AI that works on it: the problem, the unit of its costs, how easy it is."""
SCORES = (0.31, 0.46, 0.58, 0.71)


class RichFleet:
    """Puts it into ``fleet``, whose clock is a CatchingUpClock WORKED_S behind."""

    def __init__(self, fleet: FleetUnderTest) -> None:
        self._fleet = fleet
        self._trainers = [f"AI_Node_{n}" for n in range(1, 1 + len(CAPABILITIES))]

    def fill(self) -> dict[str, str]:
        """Have it all happen; ids of something of each kind, by the names that the paths of pages
        have for them."""
        self._join()
        self._share()
        self._fail()
        session_id = self._search()
        self._request()
        self._report()
        letter_id = self._fleet.bury(owner="AI_Node_6", door="AI_Node_6")
        self._pass(self._fleet.clock.behind_s)
        return {
            "ai_id": "AI_Node_2",
            "a": "AI_Node_2",
            "b": "AI_Node_3",
            "name": "buffer_cache",
            "kind": "component",
            "id": f"buffer_cache.AI_Node_2.{len(SCORES)}",
            "session_id": session_id,
            "unit_id": f"{session_id}-2",
            "source": "log",
            "n": "5",
            "letter_id": letter_id,
        }

    def _join(self) -> None:
        for ai, (specialization, words) in zip(self._trainers, CAPABILITIES.items(), strict=True):
            hello = {"specialization": specialization, "capabilities": list(words)}
            self._fleet.join(ai, **hello, skills=["search", "judge"], version="1.4")
        self._fleet.enroll("Validator_1", role="validator")
        self._fleet.join("Validator_1", evaluators={"buffer_cache": "3"})
        self._fleet.join("AI_Node_9", specialization="audio")
        self._pass(20)
        self._fleet.say("AI_Node_9", "goodbye", {"reason": "its machine is needed elsewhere"})

    def _share(self) -> None:
        """Each builds on what it shared before; what others do, on the best of somebody."""
        for n, score in enumerate(SCORES, 1):
            for ai, (problem, unit, ease) in PROBLEMS.items():
                specialization = self._specialization(ai)
                self._fleet.say(ai, "pattern_share", {"pattern": self._pattern(ai, problem, n)})
                record_id = f"{problem}.{ai}.{n}"
                own = {"name": problem, "specialization": specialization}
                if n > 1:
                    own["derived_from"] = f"{problem}.{ai}.{n - 1}"
                self._fleet.say(ai, "code_share", {"code": python(record_id, POLICY, **own)})
                self._fleet.run()
                self._judge(record_id, problem, round(score * ease, 3), unit)
            self._pass(15)
        other = {"derived_from": "buffer_cache.AI_Node_2.4", "specialization": "performance"}
        self._fleet.say("AI_Node_8", "code_share", {"code": python("hybrid.AI_Node_8.1", **other)})
        self._fleet.run()
        self._fleet.judge(
            "Validator_1", "hybrid.AI_Node_8.1", reason="test_it_gives_up_blocks failed"
        )

    def _pattern(self, ai: str, problem: str, n: int) -> dict[str, Any]:
        parameters = {"capacity_share": n / 8, "decay": 0.5**n}
        gap = round(SCORES[n - 1] * 1.1, 3)
        return {
            "id": f"{problem}.pattern.{ai}.{n}",
            "type": "optimized_parameters",
            "confidence": 0.5 + n / 10,
            "specialization": self._specialization(ai),
            "data": {"problem": problem, "parameters": parameters, "gap_closed": gap},
        }

    def _judge(self, record_id: str, problem: str, score: float, unit: str) -> None:
        costs = {"baseline": 8.4, "component": round(8.4 - 5.2 * score, 3), "bound": 3.2}
        self._fleet.judge(
            "Validator_1",
            record_id,
            verdict="passed",
            problem=problem,
            evaluator="3",
            score=score,
            costs=costs,
            cost_unit=unit,
            sandbox="bubblewrap 0.11.0",
            tests=["test_it_stays_within_its_capacity"],
        )

    def _fail(self) -> None:
        plan = [{"name": "measure", "kind": "judge", "participant": 1, "tries": 2}]
        session_id = self._fleet.collaborate(
            "AI_Node_4", "AI_Node_5", description="Order rules for congested links", plan=plan
        )
        for reason in ("no workload fits the rules", "no workload fits the rules either"):
            self._pass(12)
            self._fleet.report(f"{session_id}-1", "failed", reason=reason)

    def _search(self) -> str:
        """Several look for a policy together; one of them had to try twice, and it goes on."""
        steps = [("search_a", 0), ("search_b", 1), ("search_c", 2)]
        plan: list[dict[str, Any]] = [
            {"name": name, "kind": "search", "participant": place, "inputs": {"generations": 40}}
            for name, place in steps
        ]
        plan.append({"name": "choose", "kind": "judge", "needs": [name for name, _ in steps]})
        others = ("AI_Node_3", "AI_Node_8")
        description = "A cache that knows what the scheduler runs next"
        session_id = self._fleet.collaborate(
            "AI_Node_2", *others, description=description, plan=plan
        )
        note = {
            "session_id": session_id,
            "key": "notes",
            "value": {"best": 0.71, "by": "AI_Node_2"},
        }
        self._pass(50)
        self._fleet.say("AI_Node_2", "workspace_update", note)
        self._fleet.report(f"{session_id}-2", "failed", reason="its workload had no gap")
        self._pass(40)
        self._fleet.report(f"{session_id}-1", output={"score": 0.62})
        self._pass(30)
        self._fleet.report(f"{session_id}-3", output={"score": 0.55})
        self._fleet.report(f"{session_id}-2", "running", progress=0.4)
        return session_id

    def _request(self) -> None:
        for feature in list(FEATURES)[:3]:
            self._fleet.request_feature("AI_Node_1", feature, latency_ms=5)

    def _report(self) -> None:
        performance = {"hit_rate": 0.81, "p99_us": 42.0}
        report = {"component_id": "buffer_cache.AI_Node_2.4", "performance": performance}
        self._fleet.say("AI_Node_8", "performance_report", report)
        for ai, target in zip(self._trainers, self._trainers[1:], strict=False):
            self._fleet.say(ai, "message", {"text": f"{ai} asks what you measured"}, target)
        self._fleet.run()

    def _specialization(self, ai: str) -> str:
        return list(CAPABILITIES)[self._trainers.index(ai)]

    def _pass(self, seconds: float) -> None:
        """Let time go by while all who are there go on saying so."""
        while seconds > 0:
            self._fleet.clock.advance(min(20.0, seconds))
            seconds -= 20
            for n, ai in enumerate([*self._trainers, "Validator_1"]):
                told: Mapping[str, Any] = {"load": round(0.15 + n * 0.09, 2), "status": "training"}
                self._fleet.say(ai, "heartbeat", told)
            self._fleet.run()
