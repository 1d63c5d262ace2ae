"""The logic of training: what a search starts from, and what is told of what it found."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from coordinator import lineage
from workers.lines import encode_line, read_line
from workers.problems import Interface, Maker, Measured, Scenarios
from workers.problems.problem import About, Parameter, Problem, Score, check_values
from workers.training import MAX_CANDIDATES, Trainer, seed_of


class Untested:
    """The part of a problem that training does without: it measures parameters, and no policies."""

    about = About("where to stand", "a landscape", "the valley", "the peak")
    interfaces: Mapping[str, Interface] = {}

    def makers(self, values: Mapping[str, float]) -> dict[str, Maker]:
        raise AssertionError("no policy is measured here")

    def recorded(self, workload: str) -> Scenarios:
        raise AssertionError("no policy is measured here")

    def generated(self, seed: bytes) -> Scenarios:
        raise AssertionError("no policy is measured here")

    def evaluate_policies(self, makers: Mapping[str, Maker], scenarios: Scenarios) -> Score:
        raise AssertionError("no policy is measured here")

    def measure(self, makers: Mapping[str, Maker], scenario: Any) -> Measured:
        raise AssertionError("no policy is measured here")

    def score(self, scenarios: Scenarios, measured: Sequence[Measured]) -> Score:
        raise AssertionError("no policy is measured here")


class Hill(Untested):
    """A problem with one peak at ``x = y = 0.8``; each workload counts its evaluations."""

    specialization = "hills"
    name = "hill"
    cost_unit = "miles"
    parameters = (Parameter("x", 0.0, 1.0, 0.1), Parameter("y", 0.0, 1.0, 0.1))
    training_workloads = ("north", "south")
    development_workloads = ("north-development", "south-development")
    held_out_workloads = ("north-held-out", "south-held-out")

    def __init__(self) -> None:
        self.evaluated: list[tuple[dict[str, float], str]] = []

    def evaluate(self, values: Mapping[str, float], workload: str) -> Score:
        checked = check_values(self.parameters, values)
        self.evaluated.append((checked, workload))
        miss = abs(checked["x"] - 0.8) + abs(checked["y"] - 0.8)
        if workload.endswith("held-out"):
            miss += 0.25
        return Score.from_costs({workload: (miss, 1.6, 0.0)})

    def component_source(self, values: Mapping[str, float]) -> str:
        return f"VALUES = {json.dumps(dict(values))}\n"


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.training.ROUND_EVALUATIONS", 8)


@pytest.fixture
def hill() -> Hill:
    return Hill()


def trainer(hill: Hill, ai_id: str = "AI_1", run: str = "r1", seed: int = 2) -> Trainer:
    return Trainer(ai_id, hill, seed, run)


def shared(pattern_id: str, x: float, y: float, **data: Any) -> dict[str, Any]:
    parameters = {"x": x, "y": y}
    return {"id": pattern_id, "data": {"problem": "hill", "parameters": parameters, **data}}


def learned(a_trainer: Trainer) -> dict[str, Any]:
    found = a_trainer.train()
    assert found is not None
    return found


def test_the_fake_is_a_problem(hill: Hill) -> None:
    assert isinstance(hill, Problem)


def test_every_number_in_what_is_learned_was_measured(hill: Hill) -> None:
    found = learned(trainer(hill))
    pattern, code = found["pattern"], found["code"]
    values = pattern["data"]["parameters"]
    fresh = Hill()
    assert pattern["data"]["workload"] == "north"
    assert pattern["data"]["gap_closed"] == fresh.evaluate(values, "north").gap_closed
    judged = fresh.evaluate(values, "north-held-out")
    assert pattern["data"]["held_out"]["workload"] == "north-held-out"
    assert pattern["data"]["held_out"]["gap_closed"] == judged.gap_closed
    assert found["performance"] == {
        "gap_closed": judged.gap_closed,
        "achieved": judged.achieved,
        "baseline": judged.baseline,
        "bound": judged.bound,
    }
    assert pattern["confidence"] == judged.gap_closed
    assert pattern["data"]["evaluations"] == 8
    assert pattern["derived_from"] is None
    assert pattern["specialization"] == code["specialization"] == "hills"
    assert code["derived_from"] == {"pattern_id": pattern["id"]}
    assert code["language"] == "python"
    space: dict[str, Any] = {}
    exec(code["code"], space)
    assert space["VALUES"] == values
    assert read_line(encode_line(found)) == found  # it goes over a line


def test_confidence_is_between_0_and_1(hill: Hill, monkeypatch: pytest.MonkeyPatch) -> None:
    def poor(self: Hill, values: Mapping[str, float], workload: str) -> Score:
        return Score.from_costs({workload: (5.0, 1.0, 0.0)})

    monkeypatch.setattr(Hill, "evaluate", poor)
    found = learned(trainer(hill))
    assert found["performance"]["gap_closed"] == -4.0
    assert found["pattern"]["confidence"] == 0.0


def test_rounds_go_through_the_workloads_in_turn_and_tell_only_what_is_better(hill: Hill) -> None:
    one = trainer(hill)
    best: dict[str, float] = {}
    told = 0
    for number in range(12):
        found = one.train()
        if found is None:
            continue
        told += 1
        data = found["pattern"]["data"]
        assert data["workload"] == ("north", "south")[number % 2]
        assert data["gap_closed"] > best.get(data["workload"], -1.0)
        best[data["workload"]] = data["gap_closed"]
    assert 2 <= told < 12
    assert set(best) == {"north", "south"}


def test_the_best_shared_pattern_is_measured_and_started_from(hill: Hill) -> None:
    one = trainer(hill)
    assert one.offer(shared("poor", 0.2, 0.2), "AI_2")
    assert one.offer(shared("good", 0.79, 0.79), "AI_3")
    assert one.offer(shared("fair", 0.5, 0.5), "AI_4")
    found = learned(one)
    assert found["pattern"]["derived_from"] == {
        "id": "good",
        "pattern_id": "good",
        "contributor": "AI_3",
        "measured_gap_closed": Hill().evaluate({"x": 0.79, "y": 0.79}, "north").gap_closed,
    }
    assert found["pattern"]["data"]["gap_closed"] >= 0.98
    assert ({"x": 0.79, "y": 0.79}, "north") in hill.evaluated


def test_a_pattern_that_claims_1_and_is_worth_0_is_not_started_from(hill: Hill) -> None:
    one = trainer(hill)
    liar = shared("liar", 0.0, 0.0, gap_closed=1.0, held_out={"gap_closed": 1.0})
    liar["confidence"] = 1.0
    assert one.offer(liar, "AI_liar")
    assert one.offer(shared("honest", 0.6, 0.6, gap_closed=0.1), "AI_3")
    found = learned(one)
    assert found["pattern"]["derived_from"]["contributor"] == "AI_3"
    assert found["pattern"]["derived_from"]["measured_gap_closed"] == pytest.approx(0.75)


def test_ones_own_best_is_started_from_when_nobody_has_a_better_one(hill: Hill) -> None:
    one = trainer(hill)
    found = [learned(one)]
    found += [again for again in (one.train() for _ in range(12)) if again]
    north = [what["pattern"] for what in found if what["pattern"]["data"]["workload"] == "north"]
    assert len(north) > 1
    assert north[0]["derived_from"] is None
    for earlier, later in itertools.pairwise(north):
        assert later["derived_from"] == {
            "id": earlier["id"],
            "pattern_id": earlier["id"],
            "contributor": "AI_1",
            "measured_gap_closed": earlier["data"]["gap_closed"],
        }


def test_a_start_from_a_component_names_the_component(hill: Hill) -> None:
    one = trainer(hill)
    assert one.offer(shared("same", 0.79, 0.79), "AI_3", "component")
    assert one.offer(shared("same", 0.5, 0.5), "AI_4")
    assert learned(one)["pattern"]["derived_from"] == {
        "id": "same",
        "component_id": "same",
        "contributor": "AI_3",
        "measured_gap_closed": Hill().evaluate({"x": 0.79, "y": 0.79}, "north").gap_closed,
    }


@pytest.mark.parametrize("kind", ["pattern", "component"])
def test_what_is_told_of_a_start_names_its_parent_to_the_coordinator(hill: Hill, kind: Any) -> None:
    one = trainer(hill)
    assert one.offer(shared("good", 0.79, 0.79), "AI_3", kind)
    found = learned(one)
    for field in ("pattern", "code"):
        lineage.check(found[field], f"payload.{field}")
    assert (kind, "good") in lineage.named_parents(found["pattern"])
    assert lineage.named_parents(found["code"]) == [("pattern", found["pattern"]["id"])]


def test_only_the_worst_is_on_offer_and_the_defaults_are_better(hill: Hill) -> None:
    one = trainer(hill)
    assert one.offer(shared("liar", 0.0, 0.0, gap_closed=1.0), "AI_liar")
    found = learned(one)
    assert found["pattern"]["derived_from"] is None


@pytest.mark.parametrize(
    "pattern",
    [
        {},
        {"id": "p"},
        {"id": "p", "data": None},
        {"id": "p", "data": "hill"},
        {"id": "p", "data": {"problem": "another", "parameters": {"x": 0.5, "y": 0.5}}},
        {"id": "p", "data": {"problem": "hill"}},
        {"id": "p", "data": {"problem": "hill", "parameters": None}},
        {"id": "p", "data": {"problem": "hill", "parameters": [0.5, 0.5]}},
        {"id": "p", "data": {"problem": "hill", "parameters": "xy"}},
        {"id": "p", "data": {"problem": "hill", "parameters": 3}},
        {"id": "p", "data": {"problem": "hill", "parameters": {"x": 0.5}}},
        {"id": "p", "data": {"problem": "hill", "parameters": {"x": 0.5, "y": 0.5, "z": 1}}},
        {"id": "p", "data": {"problem": "hill", "parameters": {"x": 7, "y": 0.5}}},
        {"id": "p", "data": {"problem": "hill", "parameters": {"x": "0.5", "y": 0.5}}},
        {"id": "p", "data": {"problem": "hill", "parameters": {"x": None, "y": 0.5}}},
        {"id": "p", "data": {"problem": "hill", "parameters": {"x": True, "y": 0.5}}},
        {"id": "p", "data": {"problem": "hill", "parameters": {"x": float("nan"), "y": 0.5}}},
        {"id": "p", "data": {"problem": "hill", "parameters": {"x": {}, "y": []}}},
        {"id": "p", "data": {"problem": ["hill"], "parameters": {"x": 0.5, "y": 0.5}}},
    ],
)
def test_a_malformed_pattern_is_ignored(pattern: dict[str, Any], hill: Hill) -> None:
    one = trainer(hill)
    assert not one.offer(pattern, "AI_2")
    assert learned(one)["pattern"]["derived_from"] is None


def test_candidates_are_bounded_and_the_newest_stay(hill: Hill) -> None:
    one = trainer(hill)
    assert one.offer(shared("first", 0.8, 0.8), "AI_2")
    for number in range(MAX_CANDIDATES):
        assert one.offer(shared(f"p{number}", 0.3, 0.3), "AI_3")
    learned(one)
    assert ({"x": 0.8, "y": 0.8}, "north") not in hill.evaluated  # the first had to go


def test_a_pattern_shared_anew_replaces_what_it_was(hill: Hill) -> None:
    one = trainer(hill)
    assert one.offer(shared("p", 0.1, 0.9), "AI_2")
    assert one.offer(shared("p", 0.7, 0.7), "AI_2")
    learned(one)
    assert ({"x": 0.1, "y": 0.9}, "north") not in hill.evaluated
    assert ({"x": 0.7, "y": 0.7}, "north") in hill.evaluated


def test_ids_are_unique_over_rounds_ais_and_restarts(hill: Hill) -> None:
    ids = []
    for ai_id, run in [("AI_1", "r1"), ("AI_1", "r2"), ("AI_2", "r1")]:
        one = trainer(hill, ai_id, run)
        found = [one.train() for _ in range(6)]
        ids += [what["pattern"]["id"] for what in found if what]
        ids += [what["code"]["id"] for what in found if what]
    assert len(ids) == len(set(ids))
    assert all(len(one) <= 128 for one in ids)


def test_the_same_ai_searches_the_same_way_and_two_do_not(hill: Hill) -> None:
    def first(ai_id: str, run: str) -> Any:
        return learned(trainer(Hill(), ai_id, run, seed_of(ai_id)))["pattern"]["data"]

    assert first("AI_1", "r1") == first("AI_1", "r2")
    assert first("AI_1", "r1") != first("AI_2", "r1")
