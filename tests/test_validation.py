"""Validation: components are run in the real sandbox, measured outside of it, and judged."""

from __future__ import annotations

import dataclasses
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from coordinator.payloads import Verdict
from coordinator.settings import Settings
from tests.components import LRU, ROUND_ROBIN, lru_with, spoilt
from tests.sandboxes import needs_sandbox
from tests.servers import REPOSITORY
from workers.problems import Score, find_joint_problem, find_problem
from workers.problems.file_system.problem import BufferCache
from workers.problems.policies import Maker
from workers.sandbox import Compiled, Limits, NoCompiler, NoRung, Rung, find_rung
from workers.validation import Component, day_of, judgement, validate, validation_seed
from workers.validation.measurement import MEASURED, TOGETHER
from workers.validation.seed import fingerprint, seed_of

SEED = b"a seed of the tests"
EXAMPLE = (REPOSITORY / "examples" / "component.py").read_text()
SHORT = Limits(cpu_s=1.0)
NO_RUNG = NoRung("bubblewrap is not installed", "install it")


def no_rung() -> Rung:
    raise NO_RUNG


def judged(
    code: object,
    specialization: str = "file_system",
    limits: Limits = SHORT,
    find_rung: Callable[[], Rung] = find_rung,
    is_public: bool = True,
    **fields: Any,
) -> Verdict:
    record = {"language": "python", "code": code} | fields
    component = Component(record, specialization)
    return validate(component, SEED, limits, find_rung, is_public=is_public)


def names_of(source: str) -> dict[str, Any]:
    """What a component of the tests' own defines."""
    names: dict[str, Any] = {}
    exec(source, names)
    return names


def policy(source: str) -> Maker:
    """The policy of a component of the tests' own, to be run outside."""
    made: Maker = names_of(source)["Policy"]
    return made


def measured_outside(*sources: str) -> Score:
    """The score of components of the tests' own, their policies being run here."""
    makers = {names_of(source)["SPECIALIZATION"]: policy(source) for source in sources}
    problem = find_problem(*makers) if len(makers) == 1 else find_joint_problem(*makers)
    assert problem is not None
    return problem.evaluate_policies(makers, problem.generated(seed_of(SEED, problem.name)))


def told(verdict: Verdict) -> dict[str, Any]:
    """All of a verdict but for its times."""
    return verdict.model_dump(exclude={"timings"})


# -- those that pass -------------------------------------------------------------------------------


@needs_sandbox
@pytest.mark.parametrize(
    ("sources", "problem", "unit"),
    [
        ([EXAMPLE], "buffer_cache", "miss ratio"),
        ([spoilt(LRU, "popitem(last=False)", "popitem()")], "buffer_cache", "miss ratio"),
        ([spoilt(ROUND_ROBIN, "10_000", "2_000")], "cpu_scheduler", "s"),
        ([EXAMPLE, ROUND_ROBIN], "cache_and_scheduler", "s"),
    ],
    ids=["example", "worst", "scheduler", "joint"],
)
def test_the_score_is_what_the_same_policy_has_outside(
    sources: list[str], problem: str, unit: str
) -> None:
    by_name = {names_of(source)["SPECIALIZATION"]: source for source in sources}
    code = by_name if len(sources) > 1 else sources[0]
    verdict = judged(code, next(iter(by_name)), test_cases=["it is fast"])
    score = measured_outside(*sources)
    tests = [name for source in sources for name in names_of(source) if name.startswith("test_")]
    assert verdict.evaluator.startswith(f"{problem}-")
    assert told(verdict) == {
        "verdict": "passed",
        "reason": "",
        "problem": problem,
        "evaluator": verdict.evaluator,
        "workload": fingerprint(SEED, problem),
        "score": round(score.gap_closed, 3),
        "costs": {
            name: float(f"{getattr(score, name):.3g}") for name in ("achieved", "baseline", "bound")
        },
        "cost_unit": unit,
        "sandbox": find_rung().describe(),
        "limits": {
            "wall_s": 20.0,
            "cpu_s": 1.0,
            "memory_bytes": SHORT.memory_bytes,
            "answer_bytes": SHORT.answer_bytes,
            "output_bytes": SHORT.output_bytes,
        },
        "tests": tests,
        "not_run": ["it is fast"],
        "dropped": [],
    }
    assert verdict.score != 0, "it cannot be told from the baseline"


@needs_sandbox
def test_times_are_told_in_milliseconds() -> None:
    times_ms = judged(EXAMPLE).timings
    assert list(times_ms) == [
        *("parse_ms", "startup_ms", "tests_ms", "workload_ms", "evaluation_ms"),
        *("policy_ms", "total_ms"),
    ]
    assert all(ms > 0 for ms in times_ms.values())
    assert times_ms["policy_ms"] < times_ms["evaluation_ms"] < times_ms["total_ms"]


@needs_sandbox
def test_but_for_its_times_a_verdict_is_the_same_every_time() -> None:
    assert told(judged(EXAMPLE)) == told(judged(EXAMPLE))


@needs_sandbox
def test_each_seed_has_a_workload_of_its_own_and_stays_a_secret() -> None:
    component = Component({"language": "python", "code": EXAMPLE}, "file_system")
    one, other = (validate(component, seed) for seed in (b"seed of one", b"seed of another"))
    assert one.workload != other.workload
    assert one.costs != other.costs
    assert "seed" not in json.dumps(one.model_dump())


@needs_sandbox
def test_it_says_what_it_does() -> None:
    steps: list[str] = []
    component = Component({"language": "python", "code": EXAMPLE}, "file_system")
    validate(component, SEED, on_step=steps.append)
    test = "test_a_scan_does_not_push_out_what_was_read_again"
    assert steps[:-1] == [
        *("reading it", "looking for a sandbox", "loading file_system"),
        *(f"running its test {test}", "generating the workload"),
    ]
    assert steps[-1].startswith("measuring it in ")


@needs_sandbox
def test_what_its_tests_left_behind_is_gone_when_it_is_measured() -> None:
    """Else a policy could tell the test from the run, or prepare itself in the first."""
    leaving = "SEEN = []\n\ndef test_a():\n    SEEN.append(1)\n"
    using = "self.resident = OrderedDict()\n        assert not SEEN, 'there is something'"
    verdict = judged(lru_with("self.resident = OrderedDict()", using) + leaving)
    assert (verdict.verdict, verdict.tests) == ("passed", ["test_a"])


# -- those that fail -------------------------------------------------------------------------------


ENDLESS = "while True: pass"
FAILING = {
    "at import": (LRU + "1 / 0\n", "ZeroDivisionError: division by zero"),
    "imports what is not there": ("import numpy\n" + LRU, "No module named 'numpy'"),
    "loops at import": (LRU + ENDLESS, "s of CPU"),
    "exits at import": ("import os\nos._exit(0)\n" + LRU, "its process ended with status 0"),
    "in its constructor": (
        lru_with("capacity_blocks):", "a):\n        1 / 0"),
        "ZeroDivisionError",
    ),
    "when it is told": (
        lru_with("hit(self, block):", "hit(self, b):\n        1 / 0"),
        "ZeroDivisi",
    ),
    "when it is asked": (lru_with("return victim", "return 1 / 0"), "ZeroDivisionError"),
    "loops when it is asked": (
        lru_with("return victim", ENDLESS),
        "it used more than 1 s of CPU; last it was asked replace()",
    ),
    "prints a flood": (
        lru_with("return victim", "print('x' * 10**7)"),
        f"it printed more than 1048576 bytes: {'x' * 197}...",
    ),
    "in Markdown": (f"```python\n{LRU}```\n", "the code is no Python: it begins with ```, as in"),
    "text": (lru_with("return victim", "return str(victim)"), "': it must be an int, not str"),
    "float": (lru_with("return victim", "return float(victim)"), ".0: it must be an int, not fl"),
    "bool": (lru_with("return victim", "return True"), "answered True: it must be an int, not bo"),
    "nothing": (lru_with("return victim", "return None"), "answered None: it must be an int, not"),
    "not resident": (
        lru_with("return victim", "return -7"),
        "replace() answered -7: it must be a block that is in the cache",
    ),
    "no JSON": (lru_with("return victim", "return {1}"), "its answer is not JSON"),
    "not a number": (lru_with("return victim", "return float('nan')"), "its answer is not JSON"),
    "a great number": (lru_with("return victim", "return 1 << 20000"), ""),
    "a long answer": (lru_with("return victim", "return 'a' * 10**6"), ""),
    "a deep answer": (
        lru_with("return victim", "return eval('['*99+']'*99)"),
        "it is nested deeper than",
    ),
    "much memory": (lru_with("return victim", "return 'a' * 10**9"), "more memory than it may"),
    "no specialization": (LRU + "del SPECIALIZATION\n", "SPECIALIZATION is no longer file_system"),
    "another specialization": (
        LRU + "globals()['SPECIALIZATION'] = 'x'\n",
        "is no longer file_sys",
    ),
    "no method": (LRU + "del Policy.hit\n", "Policy has no method hit: add `def hit(self, block)`"),
    "its test": (LRU + "def test_a(): assert 1 > 2, 'no'\n", "its test test_a: AssertionError: no"),
    "its test loops": (LRU + f"def test_a():\n    {ENDLESS}\n", "its test test_a: it used more"),
    "its test ends it": (
        LRU + "import os\ndef test_a(): os._exit(0)\n",
        "its test test_a: its pro",
    ),
    "no Python": ("int main() { return 0; }", "line 1 of the code is no Python"),
    "no policy": ('SPECIALIZATION = "file_system"', "there is no class Policy at module level"),
    "too large": ("#\n" * 200_000, "bytes, and may have"),
}


@needs_sandbox
@pytest.mark.parametrize(("code", "reason"), FAILING.values(), ids=FAILING.keys())
def test_what_breaks_the_rules_fails(code: str, reason: str) -> None:
    verdict = judged(code)
    assert (verdict.verdict, verdict.score, verdict.costs) == ("failed", None, {})
    assert reason in verdict.reason
    assert verdict.reason.isprintable()
    assert 0 < len(verdict.reason) <= 500


TALKATIVE = {
    "raises": "raise ValueError(block)",
    "raises a class of that name": "raise type(f'E{block}', (Exception,), {})",
    "prints and ends": "print(block); import os; os._exit(1)",
    "prints": "print(str(block) * 10**6)",
    "answers": "return block",
    "answers text": "return str(block)",
    "answers no JSON": "return {block}",
    "uses memory": "return [block] * 10**9",
    "takes time": ENDLESS,
}


@needs_sandbox
@pytest.mark.parametrize("saying", TALKATIVE.values(), ids=TALKATIVE.keys())
def test_of_a_secret_workload_no_policy_can_tell_anything(saying: str) -> None:
    """Else it would say what it was asked, a piece each time, and know the answers in the end: not
    even how it broke is told, which is its own choice."""
    verdict = judged(lru_with("return victim", saying), is_public=False)
    assert verdict.verdict == "failed"
    assert verdict.reason == (
        "it raised an exception, or broke a rule or a limit, while it was measured:"
        " `coord validate` says which, on a public workload"
    )
    assert (verdict.score, verdict.costs) == (None, {})
    assert verdict.timings.keys() == {"parse_ms", "startup_ms", "tests_ms", "workload_ms"}


@needs_sandbox
def test_of_a_secret_workload_little_is_told_of_the_score() -> None:
    secret, public = (judged(EXAMPLE, is_public=is_public) for is_public in (False, True))
    assert public.score is not None
    assert secret.score == pytest.approx(public.score, abs=0.005)
    assert secret.score == round(secret.score or 0, 2)
    assert public.costs == {"achieved": public.costs["achieved"], **secret.costs}
    assert secret.costs.keys() == {"baseline", "bound"}
    assert secret.timings.keys() == {"parse_ms", "startup_ms", "tests_ms", "workload_ms"}


@needs_sandbox
def test_each_day_has_a_workload_of_its_own() -> None:
    """What was found out about one by trying is of no use on the next."""
    component = Component({"language": "python", "code": EXAMPLE}, "file_system")
    days = ("2026-01-05", "2026-01-06", "2026-01-05")
    one, next_day, again = (validate(component, SEED, day=day) for day in days)
    assert told(one) == told(again)
    assert one.workload != next_day.workload
    assert one.costs != next_day.costs


@pytest.mark.parametrize(
    ("now_ms", "day"),
    [(0, "1970-01-01"), (86_400_000 - 1, "1970-01-01"), (86_400_000, "1970-01-02")],
)
def test_a_day_begins_at_midnight_in_utc(now_ms: int, day: str) -> None:
    assert day_of(now_ms) == day


@needs_sandbox
@pytest.mark.parametrize("is_joint", [False, True], ids=["alone", "joint"])
def test_all_that_is_waited_counts_as_one(is_joint: bool) -> None:
    """Several sandboxes have no more time than one."""
    nap = "\n\ndef test_nap():\n    import time\n    time.sleep(0.8)\n"
    slow = lru_with("return victim", "import time; time.sleep(0.01); return victim")
    code = {"file_system": LRU + nap, "process_manager": ROUND_ROBIN + nap} if is_joint else slow
    verdict = judged(code, limits=Limits(wall_s=1.0))
    assert verdict.verdict == "failed"
    where = "process_manager: its test test_nap: it took longer than 1 s"
    alone = "it took longer than 1 s; last it was asked replace()"
    assert verdict.reason == (where if is_joint else alone)


@needs_sandbox
def test_scenarios_without_a_gap_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = BufferCache.score

    def score(*arguments: Any) -> Score:
        return dataclasses.replace(scored(*arguments), dropped=("zipf 1/16", "loop 1/4"))

    monkeypatch.setattr(BufferCache, "score", score)
    assert judged(LRU).dropped == ["zipf 1/16", "loop 1/4"]


@needs_sandbox
def test_its_tests_which_see_no_workload_may_say_what_they_like() -> None:
    verdict = judged(LRU + "def test_a(): assert 1 > 2, 'no'\n", is_public=False)
    assert verdict.reason.startswith("its test test_a: AssertionError: no")


@needs_sandbox
@pytest.mark.parametrize("answer", ["7", "(0,)", "(0, 0)", "(0, 1.5)", "('0', 1)", "(0, None)"])
def test_a_scheduler_that_chooses_nonsense_fails(answer: str) -> None:
    choosing = spoilt(ROUND_ROBIN, "return self.queue.popleft(), 10_000", f"return {answer}")
    verdict = judged(choosing, "process_manager")
    assert verdict.verdict == "failed"
    assert verdict.reason.startswith("the policy")


BARE_END = "def ended(self, process, ran_us):\n"
COUNT = "        ENDED.append(process)\n        assert len(ENDED) <= MOST\n"


@needs_sandbox
def test_what_it_is_told_last_counts_too() -> None:
    """Of a failure in the last call, which nobody waits for, the measurement hears as well."""
    counting = f"ENDED = []\n{spoilt(ROUND_ROBIN, BARE_END, BARE_END + COUNT)}"
    names = names_of(f"MOST = 10**9\n{counting}")
    problem = find_problem("process_manager")
    assert problem is not None
    scenarios = problem.generated(seed_of(SEED, problem.name))
    problem.evaluate_policies({"process_manager": names["Policy"]}, scenarios)
    verdicts = {
        most: judged(counting.replace("MOST", str(most)), "process_manager").verdict
        for most in (len(names["ENDED"]) - 1, len(names["ENDED"]))
    }
    assert list(verdicts.values()) == ["failed", "passed"]


@needs_sandbox
def test_nothing_is_written_outside(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    mark = tmp_path / "mark"
    verdict = judged(LRU + f"open({str(mark)!r}, 'w').close()\n")
    assert verdict.verdict == "failed"
    assert not mark.exists()


# -- those that nobody judged ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"code": LRU}, "bubblewrap is not installed; install it"),
        ({"code": "int a;", "language": "cpp"}, "bubblewrap is not installed; install it"),
        ({"code": "fn main() {}", "language": "rust"}, "nothing judges rust here: share Python"),
        ({"code": "int a;", "language": None}, "it names no `language`, and read as Python line 1"),
        (
            {"code": LRU, "specialization": "gardening"},
            f"nothing measures gardening yet: measured are {', '.join(MEASURED)}",
        ),
        (
            {"code": {"gardening": LRU, "file_system": LRU}},
            f"nothing measures file_system and gardening yet: measured are {', '.join(TOGETHER)}",
        ),
    ],
)
def test_what_cannot_be_judged_is_neither_good_nor_bad(fields: dict[str, Any], reason: str) -> None:
    verdict = judged(**fields, find_rung=no_rung)
    assert (verdict.verdict, verdict.score, verdict.sandbox) == ("not_validated", None, "")
    assert reason in verdict.reason


def test_what_names_no_language_may_be_python() -> None:
    assert judged(LRU, language=None, find_rung=no_rung).reason == NO_RUNG.detail


def test_what_does_not_say_what_it_is_for_fails() -> None:
    verdict = judged("a = 1", specialization="", find_rung=no_rung)
    assert verdict.verdict == "failed"
    assert verdict.reason.startswith('SPECIALIZATION is not set: write `SPECIALIZATION = "')
    assert verdict.reason.endswith(f"or what else it is for: {', '.join(MEASURED)}")


def test_of_two_texts_the_one_at_fault_is_named() -> None:
    code = {"file_system": LRU, "process_manager": "def f(:"}
    verdict = judged(code, find_rung=no_rung)
    assert verdict.verdict == "failed"
    assert verdict.reason.startswith("process_manager: line 1 of the code is no Python")


def test_a_fault_is_found_without_a_sandbox() -> None:
    assert judged("SPECIALIZATION = 1", find_rung=no_rung).verdict == "failed"


@needs_sandbox
@pytest.mark.parametrize(
    ("ok", "diagnostics", "verdict", "reason"),
    [
        (True, "", "compiled", "g++ 12.2 compiles it; only Python is measured"),
        (
            False,
            "in main:\n1:2: error: expected ';'\n",
            "failed",
            "g++ 12.2: 1:2: error: expected ';'",
        ),
        (False, "killed\nby a signal", "failed", "g++ 12.2: killed"),
        (False, "", "failed", "g++ 12.2: it says nothing"),
    ],
)
def test_cpp_is_compiled_and_not_measured(
    monkeypatch: pytest.MonkeyPatch, ok: bool, diagnostics: str, verdict: str, reason: str
) -> None:
    monkeypatch.setattr(judgement, "compile_cpp", lambda *_: Compiled(ok, "g++ 12.2", diagnostics))
    found = judged("int main() { return 0; }", language="C++")
    assert (found.verdict, found.reason, found.score) == (verdict, reason, None)
    assert found.sandbox == find_rung().describe()


@needs_sandbox
def test_a_real_compiler_judges_cpp() -> None:
    """Without one installed it is not validated, which is tested below."""
    good, bad = (judged(f"int main() {{ return 0{end} }}", language="cpp") for end in (";", ""))
    if good.verdict == "not_validated":
        pytest.skip(f"sandbox: {good.reason}")
    assert (good.verdict, bad.verdict) == ("compiled", "failed")
    assert "error: expected" in bad.reason


@needs_sandbox
def test_without_a_compiler_nothing_is_said_of_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_cpp(*_: object) -> Compiled:
        raise NoCompiler("no C++ compiler is installed: install g++")

    monkeypatch.setattr(judgement, "compile_cpp", compile_cpp)
    found = judged("int main() { return 0; }", language="cpp")
    assert (found.verdict, found.reason[:15]) == ("not_validated", "no C++ compiler")


# -- whatever comes --------------------------------------------------------------------------------


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NAMES = ("language", "code", "implementation", "specialization", "specializations", "test_cases")
LIKELY = st.sampled_from(["python", "cpp", "", LRU, "file_system", "a.b", "def f(", "test_a"])
RECORDS = st.dictionaries(
    st.sampled_from(NAMES),
    JSON | LIKELY | st.dictionaries(LIKELY, LIKELY | JSON) | st.lists(LIKELY),
)


@hypothesis_settings(max_examples=200, deadline=None)
@given(record=RECORDS)
def test_no_record_whatever_raises(record: dict[str, Any]) -> None:
    verdict = validate(Component(record, "file_system"), SEED, find_rung=no_rung)
    assert verdict.verdict in ("failed", "not_validated")
    assert verdict.reason.isprintable()


def test_a_fault_of_our_own_is_raised() -> None:
    def broken() -> Rung:
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        judged(LRU, find_rung=broken)


# -- the seed --------------------------------------------------------------------------------------


def test_the_seed_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state")
    seed = validation_seed(settings)
    path = tmp_path / "state" / "validation.seed"
    assert len(seed) == 64
    assert path.read_bytes() == seed + b"\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert validation_seed(settings) == seed


def test_the_seed_may_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COORD_VALIDATION_SEED", "5" * 64)
    assert validation_seed(Settings(state_dir=tmp_path / "state")) == b"5" * 64
    assert not (tmp_path / "state").exists()


def test_a_fingerprint_is_not_what_the_workload_is_made_of() -> None:
    one, other = (fingerprint(SEED, name) for name in ("buffer_cache", "cpu_scheduler"))
    assert one != other
    assert len(one) == 12
    assert not seed_of(SEED, "buffer_cache").hex().startswith(one)
