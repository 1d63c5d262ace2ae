"""Attacks on the score: measured on the validator's own workload, no cheating gains anything."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.payloads import Verdict
from tests.attacks.clairvoyant import (
    SEEKERS,
    cheating_source,
    honest_source,
    memorised_seeker,
)
from tests.attacks.probes_channel import EVERYWHERE
from tests.components import lru_with
from tests.sandboxes import needs_sandbox
from workers.problems.file_system import problem as file_system
from workers.problems.file_system.problem import BufferCache
from workers.sandbox import Limits
from workers.validation import Component, validate
from workers.validation.judgement import DEFAULT_LIMITS
from workers.validation.seed import seed_of

pytestmark = needs_sandbox
SEED = b"the validator's own"
TOLERANCE = 0.005
"""Of a score on a secret workload, which is told to two digits."""
GAIN = 0.3
"""What a cheat that works gains, at least."""


def validated(source: str, limits: Limits = DEFAULT_LIMITS, is_public: bool = False) -> Verdict:
    record = {"code": source, "language": "python", "specialization": "file_system"}
    return validate(Component(record), SEED, limits, is_public=is_public)


def scored_beside(source: str, workload: str = "") -> float:
    """The score where policy and evaluator share a process, on a recording or the own workload."""
    names: dict[str, Any] = {"__name__": "component"}
    exec(compile(source, "<component>", "exec"), names)
    problem = BufferCache()
    own = seed_of(SEED, problem.name)
    scenarios = problem.recorded(workload) if workload else problem.generated(own)
    return problem.evaluate_policies({"file_system": names["Policy"]}, scenarios).gap_closed


@pytest.fixture(scope="module")
def honest() -> float:
    verdict = validated(honest_source())
    assert verdict.verdict == "passed", verdict
    assert verdict.score is not None
    return verdict.score


@pytest.fixture
def _as_careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a careless validator has lying about, and what attacks change of this process."""
    monkeypatch.setenv("COORD_VALIDATION_SEED", SEED.decode())
    monkeypatch.setattr(file_system, "policy_misses", file_system.policy_misses)


OWN_FUTURE = ("frames_of_its_caller", "all_objects", "seed_of_the_workload")
"""Ways to the future of any workload; the others lead to that of a shipped one."""
WAYS = [*SEEKERS, "learned_by_heart"]


def seeker(way: str) -> str:
    return SEEKERS[way] if way in SEEKERS else memorised_seeker()


@pytest.mark.usefixtures("_as_careless")
@pytest.mark.parametrize("way", [way for way in WAYS if way != "waiting_questions"])
def test_who_knows_the_future_gains_beside_the_evaluator(way: str, honest: float) -> None:
    workload = "" if way in OWN_FUTURE else "compile-held-out"

    score = scored_beside(cheating_source(seeker(way)), workload)

    assert score > honest + GAIN


@pytest.mark.usefixtures("_as_careless")
def test_no_way_to_the_future_leads_out_of_the_sandbox(honest: float) -> None:
    verdict = validated(cheating_source(*map(seeker, WAYS)))

    assert (verdict.verdict, verdict.reason) == ("passed", "")
    assert verdict.score == pytest.approx(honest, abs=TOLERANCE)


TAMPERING = {
    "forged_answers": EVERYWHERE
    + """
Policy.hit = lambda self, block: everywhere(b'{"score": 1.0, "verdict": "passed"}' + bytes([10]))
""",
    "answers_in_advance": EVERYWHERE
    + """
Policy.insert = lambda self, block: everywhere(str(block).encode() + bytes([10]))
""",
    "patched_harness": """
import builtins, gc, json, sys, types

main = sys.modules["__main__"]
for name, value in vars(main).items():
    if isinstance(value, types.FunctionType):
        setattr(main, name, lambda *arguments: 1.0)
builtins.sum = builtins.max = json.loads = json.dumps = lambda *arguments, **options: 1.0
for one in gc.get_objects():
    if type(one).__name__ == "Harness":
        type(one).done = type(one).make = lambda *arguments: 1.0
""",
    "equal_to_everything": """
class Everything(int):
    __eq__ = lambda self, other: True
    __hash__ = lambda self: 0

Policy.replace = lambda self, block: Everything()
""",
    "no_block": "Policy.replace = lambda self, block: True",
    "verdict_instead_of_a_block": """
Policy.replace = lambda self, block: {"verdict": "passed", "score": 1.0}
""",
    "infinite_block": "Policy.replace = lambda self, block: float('inf')",
    "exit_with_0": "import os\nPolicy.replace = lambda self, block: os._exit(0)",
}


@pytest.mark.parametrize("name", TAMPERING)
def test_who_tampers_with_the_harness_fails(name: str) -> None:
    verdict = validated(f"{honest_source()}\n{TAMPERING[name]}", Limits(cpu_s=1.0))

    assert (verdict.verdict, verdict.score) == ("failed", None)
    assert verdict.reason


def test_who_lies_about_its_time_is_waited_for_no_longer() -> None:
    source = f"""{honest_source()}
import time
sleep = time.sleep
for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
    setattr(time, name, lambda: 0.0)
    setattr(time, name + "_ns", lambda: 0)
Policy.hit = lambda self, block: sleep(0.05)
"""

    verdict = validated(source, Limits(wall_s=1.0), is_public=True)

    assert (verdict.verdict, verdict.score) == ("failed", None)
    assert verdict.reason.startswith("it took longer than 1 s")
    assert verdict.timings["policy_ms"] >= 950


def test_who_behaves_otherwise_in_its_tests_is_judged_by_the_run() -> None:
    in_the_run = lru_with("last=False", "last=True")
    otherwise = (
        lru_with("last=False", "last=not TESTED")
        + """
TESTED = False

def test_it_gives_up_what_was_used_least_recently():
    global TESTED
    TESTED = True
    policy = Policy(2)
    policy.insert(1)
    policy.insert(2)
    assert policy.replace(3) == 1
"""
    )

    verdict = validated(otherwise)

    assert verdict.tests == ["test_it_gives_up_what_was_used_least_recently"]
    assert verdict.score == pytest.approx(scored_beside(in_the_run), abs=TOLERANCE)


def test_the_verdict_tells_nothing_of_the_workload() -> None:
    source = f"""{honest_source()}
SEEN = []

class Policy:
    def __init__(self, capacity_blocks):
        pass

    def insert(self, block):
        SEEN.append(block)

    def hit(self, block):
        SEEN.append(block)

    def replace(self, block):
        raise type(f"E{{SEEN[0]}}", (Exception,), {{}})(SEEN[1:])
"""
    [scenario, *_] = BufferCache().generated(seed_of(SEED, BufferCache.name))

    verdict = validated(source)

    assert verdict.verdict == "failed"
    assert not any(str(block) in verdict.model_dump_json() for block in scenario.start)


def test_the_verdict_does_nothing_to_a_terminal() -> None:
    source = f"{honest_source()}\nraise ValueError('\\x1b[2J \\x07 \\u202e \\n' * 100)"

    verdict = validated(source)

    assert verdict.verdict == "failed"
    assert verdict.reason.isprintable()
