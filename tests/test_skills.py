"""The skills that every trainer has: what each makes, and what bad inputs of others do to them."""

from __future__ import annotations

import ast
import logging
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.sessions import LONGEST_TEXT
from coordinator.reads import Item
from coordinator.work import Unit
from tests.test_trainer import Hill, Untested
from workers import problems
from workers.problems import JOINT_PROBLEMS, JointProblem, ProblemError, Score, find_problem
from workers.problems.overall import HELD_OUT, TRAINING, Overall
from workers.problems.problem import Parameter, check_values, defaults
from workers.problems.process_manager.policy import Policy
from workers.problems.process_manager.problem import CpuScheduler
from workers.skills import BUILT_IN
from workers.skills.skill import Output, SkillError, UnitContext

WORKERS = Path(__file__).resolve().parents[1] / "workers"
GOOD = {"x": 0.7, "y": 0.7}
HUGE = 10**400


class Vale(Hill):
    """Another problem, of another specialization."""

    specialization = "vales"
    name = "vale"


class Range(Untested):
    """The joint problem of both: hills count double."""

    specializations = ("hills", "vales")
    name = "range"
    cost_unit = "miles"
    parameters = tuple(Parameter(f"{of}.{p}", 0.0, 1.0, 0.1) for of in "hv" for p in "xy")
    training_workloads = ("north",)
    development_workloads = ("north-development",)
    held_out_workloads = ("north-held-out",)

    def evaluate(self, values: Mapping[str, float], workload: str) -> Score:
        checked = check_values(self.parameters, values)
        miss = sum(abs(v - 0.8) * (2 if n.startswith("h") else 1) for n, v in checked.items())
        return Score.from_costs({workload: (miss, 6.0, 0.0)})

    def joined(self, parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        joined = {
            f"{of[0]}.{name}": v for of, values in parts.items() for name, v in values.items()
        }
        return check_values(self.parameters, joined)

    def split(self, values: Mapping[str, float]) -> dict[str, dict[str, float]]:
        return {
            of: {name[2:]: value for name, value in values.items() if name[0] == of[0]}
            for of in self.specializations
        }

    def component_sources(self, values: Mapping[str, float]) -> dict[str, str]:
        return {of: f"VALUES = {dict(values)}\n" for of in self.specializations}


@pytest.fixture(autouse=True)
def _toy_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(problems._SINGLE, "hills", Hill())
    monkeypatch.setitem(problems._SINGLE, "vales", Vale())
    monkeypatch.setitem(problems._JOINT, frozenset({"hills", "vales"}), Range())


class FakeWorkspace:
    def __init__(self, **values: Any) -> None:
        self.values: dict[str, Any] = values

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def items(self, prefix: str = "") -> dict[str, Any]:
        return {key: value for key, value in self.values.items() if key.startswith(prefix)}

    def put(self, key: str, value: Any) -> None:
        self.values[key] = value


class FakeKnowledge:
    """Knows the ``data`` of patterns, the newest first."""

    def __init__(self, data: list[Any]) -> None:
        self._items: list[Item] = [
            {"id": f"p{n}", "contributor": "AI_2", "pattern": {"id": f"p{n}", "data": d}}
            for n, d in enumerate(data)
        ]

    def patterns(self, specialization: str | None = None, limit: int = 100) -> list[Item]:
        return self._items[:limit]

    components = features = patterns


class NoArtifacts:
    def put(self, data: bytes) -> str:
        raise AssertionError("no skill of ours needs artifacts")

    def get(self, reference: str) -> bytes:
        raise AssertionError("no skill of ours needs artifacts")


def run(
    kind: str,
    inputs: Mapping[str, Any] | None = None,
    *outputs: Output,
    workspace: FakeWorkspace | None = None,
    known: list[Any] | None = None,
    specialization: str = "hills",
    told: list[float] | None = None,
) -> Output:
    """Run a unit of ``kind`` that needs those that made ``outputs``."""
    needs = [f"s-{n}" for n in range(len(outputs))]
    unit = Unit(
        id="s-9",
        session_id="s",
        name="unit",
        kind=kind,
        participant="AI_1",
        needs=needs,
        inputs=dict(inputs or {}),
        limit_s=60,
        tries=3,
    )
    context = UnitContext(
        ai_id="AI_1",
        specialization=specialization,
        outputs=dict(zip(needs, outputs, strict=True)),
        workspace=workspace or FakeWorkspace(),
        knowledge=FakeKnowledge(known or []),
        artifacts=NoArtifacts(),
        progress=(told if told is not None else []).append,
        log=logging.getLogger("test"),
    )
    return BUILT_IN[kind].run(unit, context)


def pattern(values: Any, **more: Any) -> dict[str, Any]:
    return {"problem": "hill", "parameters": values, **more}


def begun_from(number: int, gap_closed: float) -> dict[str, Any]:
    """What is told of a start from pattern ``number`` of those that are known."""
    name = f"p{number}"
    named = {"id": name, "pattern_id": name, "contributor": "AI_2"}
    return {**named, "measured_gap_closed": gap_closed}


def gap(values: Mapping[str, float], workload: str = TRAINING, problem: Any = None) -> float:
    return Overall(problem or Hill()).evaluate(values, workload).gap_closed


# -- features --------------------------------------------------------------------------------------


def test_a_design_says_what_is_to_be_built_and_where_to_begin() -> None:
    assert run("propose_design") == {
        "specialization": "hills",
        "ranges": [{"name": n, "low": 0.0, "high": 1.0, "kind": "linear"} for n in "xy"],
        "interface": {},
        "parameters": {"x": 0.1, "y": 0.1},
        "gap_closed": gap({"x": 0.1, "y": 0.1}),
        "derived_from": None,
    }
    interface = run("propose_design", {"feature": "process_scheduler"})["interface"]
    methods = [call.partition("(")[0] for call in interface["Policy"]]
    assert methods == [
        name for name in vars(Policy) if callable(getattr(Policy, name)) and name[0] != "_"
    ]


LIAR = pattern({"x": 0.0, "y": 0.0}, gap_closed=1.0, held_out={"gap_closed": 1.0})
UNUSABLE: list[Any] = [
    None,
    [],
    "hill",
    {},
    {"problem": ["hill"], "parameters": GOOD},
    {"problem": "vale", "parameters": {"x": 0.8, "y": 0.8}},
    *(pattern(values) for values in (None, 5, "xy", ["x", "y"], {}, {"x": 0.8}, GOOD | {"z": 1})),
    *(pattern(GOOD | {"x": bad}) for bad in (None, "0.8", True, [], {}, 2, -HUGE, float("nan"))),
]


def test_the_start_is_the_best_of_what_was_shared_measured_here() -> None:
    liar = pattern({"x": 0.0, "y": 0.0}, gap_closed=HUGE)
    claims = [{}, {"gap_closed": "high"}, {"gap_closed": 0.1}]
    shared = [pattern(GOOD, **claim) for claim in claims]
    design = run("propose_design", known=[liar, *UNUSABLE, *shared])
    assert (design["parameters"], design["gap_closed"]) == (GOOD, gap(GOOD))
    assert design["derived_from"] == begun_from(1 + len(UNUSABLE) + 2, gap(GOOD))


@pytest.mark.parametrize("kind", ["propose_design", "bring_component", "begin_search"])
def test_a_pattern_that_claims_1_and_is_worth_0_is_no_start(kind: str) -> None:
    workspace = FakeWorkspace()
    made = run(kind, {"specialization": "hills"}, known=[LIAR], workspace=workspace)
    chosen = workspace.get("start") or made
    assert chosen["parameters"] == defaults(Hill.parameters)
    assert chosen["derived_from"] is None
    assert made["gap_closed"] == gap(defaults(Hill.parameters)) > gap(LIAR["parameters"])


def test_a_feature_is_not_begun_from_what_only_claims_to_be_good() -> None:
    inputs = {"evaluations": 1}
    component = run("develop_feature", inputs, known=[LIAR])["component"]
    assert component["parameters"] == defaults(Hill.parameters)
    assert "derived_from" not in component
    component = run("develop_feature", inputs, known=[LIAR, pattern(GOOD)])["component"]
    assert component["parameters"] == GOOD
    assert component["derived_from"] == begun_from(1, gap(GOOD))


def test_a_design_that_claims_1_and_is_worth_0_is_not_begun_from() -> None:
    design = LIAR | {"specialization": "hills", "derived_from": "liar"}
    component = run("implement_design", {"evaluations": 1}, design)["component"]
    assert component["parameters"] == defaults(Hill.parameters)
    assert "derived_from" not in component
    design = {"specialization": "hills", "parameters": GOOD, "derived_from": "good"}
    component = run("implement_design", {"evaluations": 1}, design)["component"]
    assert (component["parameters"], component["derived_from"]) == (GOOD, "good")


def test_of_many_that_were_shared_the_highest_claims_are_tried() -> None:
    many = [pattern({"x": 0.3, "y": 0.3}, gap_closed=0.0)] * 99
    assert run("propose_design", known=[*many, pattern(GOOD, gap_closed=0.9)])["parameters"] == GOOD


def test_an_implementation_is_no_worse_than_its_design_and_tells_how_far_it_is() -> None:
    told: list[float] = []
    design = {"specialization": "hills", "parameters": GOOD, "interface": {"A": ["b()"]}}
    made = run("implement_design", {"evaluations": 8, "feature": "f"}, design, told=told)
    component = made["component"]
    assert gap(component["parameters"]) >= gap(GOOD)
    assert (component["name"], component["interface"]) == ("f", {"A": ["b()"]})
    assert told == [n / 8 for n in range(1, 9)]


def test_the_source_of_a_component_runs_and_is_as_good_as_was_measured() -> None:
    inputs = {"feature": "process_scheduler", "requirements": {"evaluations": 2}}
    made = run("develop_feature", inputs, specialization="performance")
    component = types.ModuleType("component")
    exec(made["component"]["implementation"], vars(component))  # made here a moment ago
    scheduler = CpuScheduler()
    makers = {scheduler.specialization: component.Policy}
    again = [
        scheduler.evaluate_policies(makers, scheduler.recorded(workload)).gap_closed
        for workload in scheduler.held_out_workloads
    ]
    measured = made["summary"]["gap_closed"]
    assert sum(again) / len(again) == pytest.approx(measured)
    assert made["component"]["name"] == "process_scheduler"
    assert made["component"]["specialization"] == "process_manager"
    assert made["component"]["measured"] == made["summary"]


def test_a_measurement_is_on_held_out_recordings_and_against_what_was_before() -> None:
    component = {"name": "f", "specialization": "hills", "parameters": GOOD, "implementation": "?"}
    made = run("measure_component", {}, {"component": component})
    begun = gap(defaults(Hill.parameters), HELD_OUT)
    after = gap(GOOD, HELD_OUT)
    assert made["summary"] == {
        "text": f"hill: {after:.1%} of the gap closed on held-out workloads, "
        f"{(after - begun) * 100:+.1f} points over the defaults",
        "problem": "hill",
        "workload": "held-out",
        "gap_closed": after,
        "before": begun,
        "gained": after - begun,
        "cost": Overall(Hill()).evaluate(GOOD, HELD_OUT).achieved,
        "cost_before": Overall(Hill()).evaluate(defaults(Hill.parameters), HELD_OUT).achieved,
        "cost_unit": "miles",
    }
    before = {"parameters": {"x": 0.8, "y": 0.8}}
    summary = run("measure_component", {}, {"component": component, "before": before})["summary"]
    assert summary["gained"] < 0
    assert summary["text"].endswith("points over what was brought")


def test_what_is_measured_is_what_the_component_then_is() -> None:
    claimed = {"gap_closed": 1.0}
    other = {"specialization": "hills", "parameters": GOOD, "implementation": "import os"}
    made = run("measure_component", {}, {"component": other | {"measured": claimed, "more": 1}})
    assert made["component"]["implementation"] == Hill().component_source(GOOD)
    assert made["component"]["measured"] == made["summary"]
    assert made["component"]["more"] == 1


@pytest.mark.parametrize(
    ("inputs", "evaluations"),
    [
        ({}, 40),
        ({"evaluations": 3}, 3),
        ({"requirements": {"evaluations": 4}}, 4),
        *(({"evaluations": bad}, 40) for bad in (0, -1, 2.5, "9", True, None, [9])),
        *(({"requirements": bad}, 40) for bad in (None, [], "evaluations")),
    ],
)
def test_how_long_to_search_can_be_asked_for(inputs: dict[str, Any], evaluations: int) -> None:
    told: list[float] = []
    run("develop_feature", inputs, told=told)
    assert len(told) == evaluations


# -- joining ---------------------------------------------------------------------------------------


def bring(specialization: str, values: dict[str, float]) -> Output:
    name = {"hills": "hill", "vales": "vale"}[specialization]
    known = [{"problem": name, "parameters": values}]
    return run("bring_component", {"specialization": specialization}, known=known)


def test_what_was_joined_is_no_worse_in_training_than_what_was_brought() -> None:
    hills, vales = bring("hills", GOOD), bring("vales", {"x": 0.6, "y": 0.9})
    assert hills == {
        "specialization": "hills",
        "parameters": GOOD,
        "gap_closed": gap(GOOD),
        "derived_from": begun_from(0, gap(GOOD)),
    }
    tuned = run("tune_jointly", {"evaluations": 20}, vales, hills)
    start = {"h.x": 0.7, "h.y": 0.7, "v.x": 0.6, "v.y": 0.9}
    assert tuned["before"] == {"parameters": start}
    component = tuned["component"]
    assert component["specializations"] == ["hills", "vales"]
    assert component["derived_from"] == [vales["derived_from"], hills["derived_from"]]
    assert gap(component["parameters"], problem=Range()) >= gap(start, problem=Range())
    summary = run("measure_component", {}, tuned)["summary"]
    assert summary["before"] == gap(start, HELD_OUT, Range())


def test_what_was_brought_with_a_claim_of_1_and_is_worth_0_is_left_alone() -> None:
    liar = {"specialization": "hills", **LIAR, "derived_from": "liar"}
    tuned = run("tune_jointly", {"evaluations": 1}, liar, bring("vales", GOOD))
    assert tuned["before"] == {"parameters": {"h.x": 0.0, "h.y": 0.0, "v.x": 0.7, "v.y": 0.7}}
    assert tuned["component"]["parameters"] == {"h.x": 0.1, "h.y": 0.1, "v.x": 0.7, "v.y": 0.7}
    assert [one["pattern_id"] for one in tuned["component"]["derived_from"]] == ["p0"]


def test_a_result_of_two_says_what_each_gave_up_and_gained_alone() -> None:
    """Hills gave up what vales gained, and more."""
    before = {"h.x": 0.7, "h.y": 0.7, "v.x": 0.3, "v.y": 0.3}
    values = {"h.x": 0.4, "h.y": 0.6, "v.x": 0.5, "v.y": 0.4}
    component = {"specializations": ["hills", "vales"], "parameters": values}
    made = run("measure_component", {}, {"component": component, "before": {"parameters": before}})

    def cost(x: float, y: float) -> float:
        return Overall(Hill()).evaluate({"x": x, "y": y}, HELD_OUT).achieved

    def part(of: str, name: str, then: tuple[float, float], now: tuple[float, float]) -> Any:
        ended, begun = (gap(dict(zip("xy", at, strict=True)), HELD_OUT) for at in (now, then))
        scores = {"gap_closed": ended, "before": begun, "gained": ended - begun}
        costs = {"cost": cost(*now), "cost_before": cost(*then), "cost_unit": "miles"}
        return {"specialization": of, "problem": name} | scores | costs

    hills = part("hills", "hill", (0.7, 0.7), (0.4, 0.6))
    vales = part("vales", "vale", (0.3, 0.3), (0.5, 0.4))
    summary = made["summary"]
    assert summary["parts"] == [hills, vales]
    assert hills["gained"] < 0 < vales["gained"]
    assert summary["text"].endswith(
        f"over what was brought; alone, hills gave up {-100 * hills['gained']:.1f} points"
        f" and vales gained {100 * vales['gained']:.1f} points"
    )
    costs = [Overall(Range()).evaluate(one, HELD_OUT).achieved for one in (values, before)]
    assert [summary["cost"], summary["cost_before"]] == costs


@pytest.mark.parametrize("problem", JOINT_PROBLEMS, ids=lambda problem: problem.name)
def test_every_two_that_have_a_problem_together_can_join(problem: JointProblem) -> None:
    brought = [run("bring_component", {"specialization": of}) for of in problem.specializations]
    tuned = run("tune_jointly", {"evaluations": 1}, *brought)
    made = run("measure_component", {}, tuned)
    assert list(made["component"]["implementation"]) == list(problem.specializations)
    summary = made["summary"]
    assert summary["problem"] == problem.name
    assert [part["specialization"] for part in summary["parts"]] == list(problem.specializations)
    assert summary["gained"] == pytest.approx(summary["gap_closed"] - summary["before"])
    assert len(summary["text"]) <= LONGEST_TEXT


# -- a search that is split ------------------------------------------------------------------------


def searched(parts: int, rounds: int, workspace: FakeWorkspace, **more: Any) -> Output:
    """Run a whole search, in the order that a plan has it; its result."""
    inputs = {"specialization": "hills", "seed": 7, "parts": parts, **more}
    run("begin_search", inputs, workspace=workspace)
    for _ in range(rounds):
        for part in reversed(range(parts)):
            run("search_share", inputs | {"part": part}, workspace=workspace)
    return run("conclude_search", inputs, workspace=workspace)


@pytest.mark.parametrize(("parts", "rounds"), [(1, 12), (2, 6), (3, 6)])
def test_the_same_search_by_one_or_many_finds_the_same(parts: int, rounds: int) -> None:
    """36 evaluations are 12 rounds of one, 6 of two, and 6 of three (9 and 3 of each 12)."""
    made = searched(parts, rounds, FakeWorkspace())
    alone = searched(1, 12, FakeWorkspace())
    assert made["summary"].pop("rounds") == rounds
    assert alone["summary"].pop("rounds") == 12
    assert made == alone | {"component": made["component"]}
    assert made["component"]["parameters"] == alone["component"]["parameters"]
    assert made["summary"]["evaluations"] == 36
    assert gap(made["component"]["parameters"]) > gap(defaults(Hill.parameters))


def test_a_search_is_not_begun_where_only_a_claim_says_so() -> None:
    start = {"parameters": LIAR["parameters"], "gap_closed": 1.0, "derived_from": "liar"}
    workspace = FakeWorkspace(start=start)
    inputs = {"specialization": "hills", "seed": 7, "parts": 1, "part": 0}
    run("search_share", inputs, workspace=workspace)
    begun = list(defaults(Hill.parameters).values())
    assert workspace.get("round-0.0")[0] == (begun, gap(defaults(Hill.parameters)))
    component = run("conclude_search", inputs, workspace=workspace)["component"]
    assert gap(component["parameters"]) >= gap(defaults(Hill.parameters))
    assert "derived_from" not in component


def test_what_a_search_was_begun_from_is_told() -> None:
    workspace = FakeWorkspace()
    inputs = {"specialization": "hills", "seed": 7, "parts": 1, "part": 0}
    run("begin_search", inputs, workspace=workspace, known=[pattern(GOOD)])
    run("search_share", inputs, workspace=workspace)
    component = run("conclude_search", inputs, workspace=workspace)["component"]
    assert component["derived_from"] == begun_from(0, gap(GOOD))


def test_a_target_that_is_reached_stops_the_search() -> None:
    workspace = FakeWorkspace()
    summary = searched(2, 8, workspace, target=0.2)["summary"]
    assert 0 < summary["rounds"] < 8
    assert summary["evaluations"] == 6 * summary["rounds"]
    assert gap(searched(2, 8, FakeWorkspace(), target=HUGE)["component"]["parameters"]) > 0.2
    assert searched(2, 3, FakeWorkspace(), target="high")["summary"]["rounds"] == 3


def test_a_claim_that_does_not_hold_neither_wins_nor_ends_a_search() -> None:
    workspace = FakeWorkspace(start={"parameters": GOOD})
    workspace.put(
        "round-0.0", [[[0.7, 0.7], gap(GOOD)], [[0.1, 0.1], 5.0], [[0.2, 0.2], HUGE // HUGE]]
    )
    workspace.put("round-0.1", [[[0.3, 0.3], 0.9], [[0.4, 0.4], -1.0], [[0.5, 0.5], 0.0]])
    inputs = {"specialization": "hills", "seed": 7, "parts": 2, "part": 0, "target": 0.99}
    assert run("search_share", inputs, workspace=workspace) == {"evaluated": 3}
    assert run("conclude_search", inputs, workspace=workspace)["component"]["parameters"] == GOOD
    workspace.put("round-0.0", [[[0.1, 0.1], 5.0]] * 3)
    workspace.put("round-0.1", [[[0.1, 0.1], 5.0]] * 3)
    with pytest.raises(SkillError, match="is as good when it is measured again"):
        run("conclude_search", inputs, workspace=workspace)


# -- what others may have sent ---------------------------------------------------------------------

NO_VALUES = [
    None,
    [],
    "xy",
    {},
    {"x": 0.5},
    GOOD | {"z": 1},
    GOOD | {"x": HUGE},
    GOOD | {"x": None},
]
SEARCH = {"specialization": "hills", "seed": 1, "parts": 2, "part": 0}
BAD_UNITS: list[tuple[str, dict[str, Any], list[Output]]] = [
    *((kind, {"specialization": "gardening"}, []) for kind in BUILT_IN if "_search" in kind),
    *((kind, {"specialization": [1]}, []) for kind in ("propose_design", "develop_feature")),
    ("bring_component", {"feature": "audio_mixer", "specialization": "gardening"}, []),
    ("implement_design", {}, []),
    ("implement_design", {}, [{}, {}]),
    ("implement_design", {}, [{"specialization": {}}]),
    ("implement_design", {}, [{"specialization": "vales", "parameters": {"h.x": 1}}]),
    *(("implement_design", {}, [{"parameters": bad}]) for bad in NO_VALUES),
    ("measure_component", {}, []),
    *(("measure_component", {}, [{"component": bad}]) for bad in (None, [], "x", {})),
    *(
        ("measure_component", {}, [{"component": {"specialization": "hills", "parameters": bad}}])
        for bad in NO_VALUES
    ),
    *(
        ("measure_component", {}, [{"component": {"specializations": bad, "parameters": GOOD}}])
        for bad in ([], ["hills"], ["hills", "hills"], [[], {}], ["hills", "vales"])
    ),
    (
        "measure_component",
        {},
        [{"component": {"specialization": "hills", "parameters": GOOD}, "before": {"x": 1}}],
    ),
    ("tune_jointly", {}, []),
    ("tune_jointly", {}, [{"specialization": "hills", "parameters": GOOD}] * 2),
    ("tune_jointly", {}, [{"specialization": ["hills"]}, {"specialization": None}]),
    *(
        ("tune_jointly", {}, [{"specialization": "hills", "parameters": bad}, {}])
        for bad in NO_VALUES
    ),
    *(
        (
            "tune_jointly",
            {},
            [
                {"specialization": "hills", "parameters": bad},
                {"specialization": "vales", "parameters": GOOD},
            ],
        )
        for bad in NO_VALUES
    ),
    *(
        ("search_share", SEARCH | {name: bad}, [])
        for name in ("seed", "parts", "part")
        for bad in (None, "1", 1.0, True)
    ),
    *(("search_share", SEARCH | {"parts": bad}, []) for bad in (0, -1)),
    *(("search_share", SEARCH | {"part": bad}, []) for bad in (2, -1)),
    ("conclude_search", SEARCH | {"parts": 0}, []),
    ("conclude_search", SEARCH, []),
]


@pytest.mark.parametrize(("kind", "inputs", "outputs"), BAD_UNITS)
def test_bad_inputs_and_outputs_of_others_end_in_one_clear_line(
    kind: str, inputs: dict[str, Any], outputs: list[Output]
) -> None:
    workspace = FakeWorkspace(start={"parameters": GOOD})
    with pytest.raises(SkillError) as raised:
        run(kind, inputs, *outputs, workspace=workspace)
    assert "\n" not in raised.value.detail
    assert len(raised.value.detail) > 20


POINT = [[0.5, 0.5], 0.1]
BAD_SHARES: list[Any] = [
    None,
    "share",
    {"a": 1},
    [],
    [POINT],
    [POINT] * 4,
    [POINT, POINT, None],
    [POINT, POINT, [[0.5], 0.1]],
    [POINT, POINT, [[0.5, 1.5], 0.1]],
    [POINT, POINT, [[0.5, 0.5], "0.9"]],
    [POINT, POINT, [[0.5, 0.5], HUGE]],
    [POINT, POINT, [[0.5, 0.5], True]],
    [POINT, POINT, [[0.5, float("nan")], 0.1]],
]


@pytest.mark.parametrize("share", BAD_SHARES)
def test_a_search_does_not_go_on_from_a_share_that_is_none(share: Any) -> None:
    workspace = FakeWorkspace(start={"parameters": GOOD})
    workspace.put("round-0.0", [POINT] * 3)
    workspace.put("round-0.1", share)
    with pytest.raises(SkillError, match="the search cannot go on: "):
        run("search_share", SEARCH, workspace=workspace)


@pytest.mark.parametrize("start", [None, [], "x", 5, {}, {"parameters": {"x": 0.5}}])
def test_a_search_needs_a_start(start: Any) -> None:
    with pytest.raises(SkillError, match="parameters of hill"):
        run("search_share", SEARCH, workspace=FakeWorkspace(start=start))


# -- shared code -----------------------------------------------------------------------------------

RUNS_CODE = {"exec", "eval", "compile", "__import__", "import_module", "run_path", "run_module"}
LOADS_CODE = {"pickle", "marshal", "shelve", "runpy", "importlib.util", "imp", "code"}
OF_THE_OWNER = {"own_training.py": {"import_module"}, "inside.py": {"compile", "exec"}}
"""What the owner of a trainer names in its settings is imported: nobody else's word decides it.
What others share is run by what runs inside the sandbox, and by nothing else."""


@pytest.mark.parametrize("path", sorted(WORKERS.rglob("*.py")), ids=lambda path: path.name)
def test_nothing_that_comes_from_others_is_executed(path: Path) -> None:
    called, imported = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = node.func
            called.add(getattr(function, "id", "") or getattr(function, "attr", ""))
            of_module = getattr(getattr(function, "value", None), "id", "")
            called -= {"compile"} if of_module == "re" else set()
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert called & RUNS_CODE <= OF_THE_OWNER.get(path.name, set())
    assert imported & LOADS_CODE == set()


def test_the_toys_are_problems() -> None:
    assert isinstance(Range(), problems.JointProblem)
    assert find_problem("vales") is not None
    with pytest.raises(ProblemError):
        Range().joined({"hills": GOOD})
