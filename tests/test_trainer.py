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
    monkeypatch.setattr(Trainer, "round_evaluations", 8)
    monkeypatch.setattr(Trainer, "told_evaluations", 3)


@pytest.fixture
def hill() -> Hill:
    return Hill()


def trainer(hill: Hill, ai_id: str = "AI_1", run: str = "r1", seed: int = 2) -> Trainer:
    return Trainer(ai_id, hill, seed, run)


def shared(pattern_id: str, x: float, y: float, **data: Any) -> dict[str, Any]:
    parameters = {"x": x, "y": y}
    return {"id": pattern_id, "data": {"problem": "hill", "parameters": parameters, **data}}


def found_by(a_trainer: Trainer) -> dict[str, Any] | None:
    """What a round brings."""
    *_, last = a_trainer.train()
    return last if "pattern" in last else None


def learned(a_trainer: Trainer) -> dict[str, Any]:
    found = found_by(a_trainer)
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
        found = found_by(one)
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
    assert one.offer(shared("good", 0.7, 0.7), "AI_3")
    assert one.offer(shared("fair", 0.5, 0.5), "AI_4")
    found = learned(one)
    assert found["pattern"]["derived_from"] == {
        "id": "good",
        "pattern_id": "good",
        "contributor": "AI_3",
        "measured_gap_closed": Hill().evaluate({"x": 0.7, "y": 0.7}, "north").gap_closed,
    }
    assert found["pattern"]["data"]["gap_closed"] > 0.875
    assert ({"x": 0.7, "y": 0.7}, "north") in hill.evaluated


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
    found += [again for again in (found_by(one) for _ in range(12)) if again]
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
    assert one.offer(shared("same", 0.7, 0.7), "AI_3", "component")
    assert one.offer(shared("same", 0.5, 0.5), "AI_4")
    assert learned(one)["pattern"]["derived_from"] == {
        "id": "same",
        "component_id": "same",
        "contributor": "AI_3",
        "measured_gap_closed": Hill().evaluate({"x": 0.7, "y": 0.7}, "north").gap_closed,
    }


@pytest.mark.parametrize("kind", ["pattern", "component"])
def test_what_is_told_of_a_start_names_its_parent_to_the_coordinator(hill: Hill, kind: Any) -> None:
    one = trainer(hill)
    assert one.offer(shared("good", 0.7, 0.7), "AI_3", kind)
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
        found = [found_by(one) for _ in range(6)]
        ids += [what["pattern"]["id"] for what in found if what]
        ids += [what["code"]["id"] for what in found if what]
    assert len(ids) == len(set(ids))
    assert all(len(one) <= 128 for one in ids)


def test_the_same_ai_searches_the_same_way_and_two_do_not(hill: Hill) -> None:
    def first(ai_id: str, run: str) -> Any:
        return learned(trainer(Hill(), ai_id, run, seed_of(ai_id)))["pattern"]["data"]

    assert first("AI_1", "r1") == first("AI_1", "r2")
    assert first("AI_1", "r1") != first("AI_2", "r1")


# -- what others measured --------------------------------------------------------------------------


def measured(*evaluations: Any, **more: Any) -> dict[str, Any]:
    told = {"problem": "hill", "workload": "north", "evaluations": list(evaluations)}
    return {"measured": told | more}


def points_of(hill: Hill) -> list[tuple[float, float]]:
    """What was evaluated in the north, the start and what was held out aside."""
    tried = [values for values, workload in hill.evaluated if workload == "north"]
    return [(values["x"], values["y"]) for values in tried[1:]]


def test_it_tells_every_evaluation_a_few_at_a_time(hill: Hill) -> None:
    lines = list(trainer(hill).train())
    told = [line["measured"] for line in lines if "measured" in line]
    assert [len(one["evaluations"]) for one in told] == [3, 3, 2]
    assert {(one["problem"], one["workload"]) for one in told} == {("hill", "north")}
    evaluations = [one for line in told for one in line["evaluations"]]
    assert [tuple(point) for point, _ in evaluations] == points_of(hill)
    fresh = Hill()
    for (x, y), gap_closed in evaluations:
        assert fresh.evaluate({"x": x, "y": y}, "north").gap_closed == gap_closed


def test_what_others_measured_steers_the_search_and_is_no_result(hill: Hill) -> None:
    alone, steered = Hill(), hill
    list(trainer(alone).train())
    one = trainer(steered)
    near = [[[0.1 + n / 100, 0.1 + n / 100], 0.1 + n / 50] for n in range(30)]
    assert all(one.learn(measured(*near[n : n + 10])["measured"], "AI_2") for n in (0, 10, 20))
    found = learned(one)
    assert points_of(steered) != points_of(alone)
    assert found["pattern"]["data"]["learned_from"] == {"AI_2": 30}
    tried = {(one["x"], one["y"]) for one, _ in steered.evaluated}
    values = found["pattern"]["data"]["parameters"]
    assert (values["x"], values["y"]) in tried  # nobody's claim, though many were higher


def test_what_was_measured_too_far_away_is_left_out(hill: Hill) -> None:
    alone = Hill()
    list(trainer(alone).train())
    one = trainer(hill)
    list(one.train())  # from 0.1 each, with steps of 0.25
    assert points_of(hill) == points_of(alone)
    assert one.learn(measured([[1.0, 1.0], 0.9], workload="south")["measured"], "AI_2")
    found = learned(one)
    assert found["pattern"]["data"]["learned_from"] == {}


@pytest.mark.parametrize(
    "told",
    [
        None,
        "all of it",
        {},
        measured(workload="west")["measured"],
        measured(workload=["north"])["measured"],
        measured(problem="another")["measured"],
        measured(evaluations=None)["measured"],
        measured(*[[[0.5, 0.5], 0.5]] * 13)["measured"],
        measured([0.5, 0.5])["measured"],
        measured([[0.5], 0.5])["measured"],
        measured([[0.5, 1.5], 0.5])["measured"],
        measured([[0.5, 0.5], "1"])["measured"],
        measured([[0.5, 0.5], float("nan")])["measured"],
        measured([[0.5, 0.5], 10**400])["measured"],
    ],
)
def test_malformed_measurements_change_nothing(told: Any, hill: Hill) -> None:
    alone = Hill()
    list(trainer(alone).train())
    one = trainer(hill)
    assert not one.learn(told, "AI_2")
    list(one.train())
    assert points_of(hill) == points_of(alone)


def test_whoever_claims_more_than_is_possible_is_not_listened_to(hill: Hill) -> None:
    one = trainer(hill)
    assert not one.learn(measured([[0.1, 0.1], 1.5])["measured"], "AI_liar")
    assert not one.learn(measured([[0.1, 0.1], 0.1])["measured"], "AI_liar")
    assert one.learn(measured([[0.1, 0.1], 0.1])["measured"], "AI_2")


def test_whoever_shares_less_than_was_claimed_is_not_listened_to(hill: Hill) -> None:
    one = trainer(hill)
    assert one.offer(shared("liar", 0.0, 0.0, gap_closed=0.9, workload="north"), "AI_liar")
    assert one.offer(shared("honest", 0.7, 0.7, gap_closed=0.875, workload="north"), "AI_3")
    learned(one)
    assert not one.learn(measured([[0.7, 0.7], 0.9])["measured"], "AI_liar")
    assert one.learn(measured([[0.7, 0.7], 0.875])["measured"], "AI_3")


def test_what_does_not_claim_to_be_better_is_not_even_tried(hill: Hill) -> None:
    one = trainer(hill)
    claims = {"good": 0.875, "fair": 0.625}
    for name, claim in claims.items():
        place = claim / 1.25
        assert one.offer(shared(name, place, place, gap_closed=claim, workload="north"), "AI_2")
    list(one.train())
    tried = {values["x"] for values, workload in hill.evaluated}
    assert 0.875 / 1.25 in tried
    assert 0.625 / 1.25 not in tried


def test_what_was_offered_is_tried_once(hill: Hill) -> None:
    one = trainer(hill)
    assert one.offer(shared("p", 0.25, 0.25), "AI_2")
    for _ in range(6):
        list(one.train())
    tried = [workload for values, workload in hill.evaluated if values == {"x": 0.25, "y": 0.25}]
    assert sorted(tried) == ["north", "south"]


def test_a_start_of_anothers_that_was_not_improved_is_not_shared(hill: Hill) -> None:
    one = trainer(hill)
    assert one.offer(shared("peak", 0.8, 0.8), "AI_2")
    assert found_by(one) is None


def test_lines_go_on_over_rounds_and_what_is_heard_counts_at_once(hill: Hill) -> None:
    one, other = trainer(hill), trainer(Hill(), "AI_2", seed=4)
    lines = other.lines()
    heard = [next(lines) for _ in range(5)]
    assert [*map(len, heard)] == [1, 1, 1, 3, 1]
    assert "pattern" in heard[3]
    assert heard[4]["measured"]["workload"] == "south"  # of the next round
    for line in heard:
        one.hear(line, "AI_2")
    told = learned(one)["pattern"]
    assert 0 < told["data"]["learned_from"]["AI_2"] <= 8
    assert told["derived_from"]["contributor"] == "AI_2"
