"""Who is credited for what: the rule, and that only the newest verdicts count."""

from __future__ import annotations

import itertools
import random

import pytest
from redis import Redis

from coordinator.credit import KEPT, read_contributions, read_ledger, retracted
from tests.fleet import dump
from tests.lineages import Archive


@pytest.fixture
def archive(redis: Redis) -> Archive:
    """a's pattern p, and b's component c, which is built on it through a pattern of b's own."""
    archive = Archive(redis)
    archive.share("pattern", "p", "a")
    archive.share("pattern", "q", "b", derived_from="p")
    archive.share("component", "c", "b", derived_from="q")
    return archive


def test_a_component_that_passed_is_credited_and_what_it_builds_on(archive: Archive) -> None:
    archive.judge("c", 0.6)
    assert archive.scores() == {"a": 0.15, "b": 0.6}
    assert archive.book("b") == {"own:disk": {"component:c": [0.6, ""]}}
    assert archive.book("a") == {"built:b:disk": {"component:c": [0.6, "pattern:p"]}}
    assert read_contributions(archive.redis, archive.keys, ["b", "a", "z"]) == [0.6, 0.15, 0.0]
    assert read_contributions(archive.redis, archive.keys, []) == []


def test_the_same_verdict_again_changes_nothing(archive: Archive) -> None:
    archive.judge("c", 0.6)
    once = dump(archive.redis)
    archive.judge("c", 0.6)
    assert dump(archive.redis) == once


def test_of_each_problem_the_best_counts_once(archive: Archive) -> None:
    archive.judge("c", 0.6)
    for number, quality in enumerate([0.6, 0.5, 0.8, 0.8]):
        archive.share("component", f"again{number}", "b", derived_from="q")
        archive.judge(f"again{number}", quality)
    assert archive.scores() == {"a": 0.2, "b": 0.8}
    archive.share("component", "other", "b", derived_from="p")
    archive.judge("other", 0.4, problem="cpu")
    assert archive.scores() == {"a": 0.3, "b": 1.2}


def test_each_other_ai_that_builds_on_it_counts(archive: Archive) -> None:
    for ai, quality in (("c", 0.4), ("d", 0.8)):
        archive.share("component", f"of-{ai}", ai, derived_from="p")
        archive.judge(f"of-{ai}", quality)
    assert archive.scores() == {"a": 0.3, "c": 0.4, "d": 0.8}


def test_ones_own_use_does_not_pay_nor_does_a_partners(archive: Archive) -> None:
    archive.share("component", "own", "a", derived_from="p")
    archive.share("component", "pair", "b", "a", derived_from="p")
    archive.judge("own", 0.5)
    archive.judge("pair", 0.4)
    assert archive.scores() == {"a": 0.5, "b": 0.4}
    assert archive.book("a")["own:disk"] == {
        "component:own": [0.5, ""],
        "component:pair": [0.4, ""],
    }


def test_a_person_is_neither_credited_nor_pays(archive: Archive) -> None:
    archive.share("pattern", "theirs", "operator")
    archive.share("component", "new", "operator", derived_from="p")
    archive.share("component", "newer", "b", derived_from="theirs")
    archive.judge("new", 0.5)
    archive.judge("newer", 0.5)
    assert archive.scores() == {"b": 0.5}
    assert archive.book("operator") == {}


@pytest.mark.parametrize("quality", [None, 0.0, -3.0])
def test_what_closes_no_gap_pays_nothing_and_costs_nothing(
    archive: Archive, quality: float | None
) -> None:
    archive.judge("c", quality)
    assert archive.scores() == {}
    assert archive.book("a") == archive.book("b") == {}


def test_a_worse_verdict_lowers_it_and_the_next_best_stands_in(archive: Archive) -> None:
    archive.share("component", "second", "b", derived_from="q")
    told = []
    for component, quality in [("c", 0.8), ("second", 0.4), ("c", 0.6), ("c", 0.2), ("c", None)]:
        archive.judge(component, quality)
        told.append(archive.scores())
    assert [scores["b"] for scores in told] == [0.8, 0.8, 0.6, 0.4, 0.4]
    assert [scores["a"] for scores in told] == [0.2, 0.2, 0.15, 0.1, 0.1]
    archive.judge("second", None)
    assert archive.scores() == {"a": 0.0, "b": 0.0}
    assert archive.book("a") == archive.book("b") == {}


def test_one_that_is_measured_by_another_problem_leaves_the_first(archive: Archive) -> None:
    archive.judge("c", 0.8, problem="disk")
    archive.judge("c", 0.4, problem="cpu")
    assert archive.scores() == {"a": 0.1, "b": 0.4}
    assert list(archive.book("b")) == ["own:cpu"]


def test_a_new_verdict_on_what_others_build_on_leaves_them_their_credit(archive: Archive) -> None:
    archive.share("component", "next", "d", derived_from={"component_id": "c"})
    archive.judge("c", 0.6)
    archive.judge("next", 0.8)
    assert archive.scores() == {"a": 0.15, "b": 0.8, "d": 0.8}
    archive.judge("c", 0.4)
    assert archive.scores() == {"a": 0.1, "b": 0.6, "d": 0.8}


def test_a_component_that_is_retracted_takes_its_credit_along(archive: Archive) -> None:
    archive.judge("c", 0.6)
    archive.retract(("component", "c"))
    assert archive.scores() == {"a": 0.0, "b": 0.0}
    assert archive.book("a") == archive.book("b") == {}


def test_a_record_that_is_retracted_takes_along_what_was_built_on_it(archive: Archive) -> None:
    archive.judge("c", 0.6)
    archive.retract(("pattern", "p"))
    assert archive.scores() == {"a": 0.0, "b": 0.6}
    archive.judge("c", 0.6)
    assert archive.scores() == {"a": 0.0, "b": 0.6}


def test_credit_is_found_again_when_the_way_to_it_is_gone(archive: Archive) -> None:
    """What lies between is retracted: what was earned stays until the component's next verdict."""
    archive.judge("c", 0.6)
    archive.retract(("pattern", "q"))
    assert archive.scores() == {"a": 0.15, "b": 0.6}
    archive.judge("c", 0.6)
    assert archive.scores() == {"a": 0.0, "b": 0.6}
    assert archive.redis.hget(archive.keys.record("component", "c"), "credited") is None


def test_records_of_one_id_are_retracted_at_once(archive: Archive) -> None:
    archive.share("feature", "c", "b", derived_from="p")
    archive.share("component", "best", "b")
    for component, quality in (("c", 0.6), ("best", 0.9)):
        archive.judge(component, quality)
    archive.retract(("component", "c"), ("feature", "c"))
    assert archive.scores() == {"a": 0.0, "b": 0.9}
    assert archive.book("b") == {"own:disk": {"component:best": [0.9, ""]}}
    assert archive.uses("pattern", "p") == {"pattern:q": 1}


def test_what_is_gone_earns_nothing(archive: Archive) -> None:
    archive.redis.delete(archive.keys.record("component", "c"))
    before = dump(archive.redis)
    ledger = read_ledger(archive.redis, archive.keys, ("component", "c"))
    archive.write(retracted(ledger, archive.keys))
    assert dump(archive.redis).keys() == before.keys()
    archive.judge("c", 0.6)
    assert archive.scores() == {}


def test_the_books_are_bounded_and_the_best_stay(archive: Archive) -> None:
    for number in range(KEPT + 5):
        archive.share("component", f"n{number}", "b", derived_from="p")
        archive.judge(f"n{number}", (number + 1) / 100)
    for book, group in ((archive.book("b"), "own:disk"), (archive.book("a"), "built:b:disk")):
        assert set(book[group]) == {f"component:n{number}" for number in range(5, KEPT + 5)}


@pytest.mark.parametrize("seed", range(5))
def test_verdicts_come_to_the_same_in_any_order(archive: Archive, seed: int) -> None:
    """The rule, worked out here from all the last verdicts."""
    rng = random.Random(seed)
    makers = {f"{ai}{n}": ai for ai, n in itertools.product("bcd", range(4))}
    parents = {name: rng.choice(["p", "q", None]) for name in makers}
    for name, ai in makers.items():
        archive.share("component", name, ai, derived_from=parents[name])
    last: dict[str, float | None] = {}
    for name in rng.choices(list(makers), k=30):
        last[name] = rng.choice([None, -0.5, *(n / 10 for n in range(11))])
        archive.judge(name, last[name])

    def best(ai: str, *built_on: str | None) -> float:
        mine = [quality for name, quality in last.items() if makers[name] == ai and quality]
        of_these = [last[n] or 0.0 for n in last if makers[n] == ai and parents[n] in built_on]
        return max(0.0, *(of_these if built_on else mine), 0.0)

    expected = {
        "a": 0.25 * (best("b", "p", "q") + best("c", "p") + best("d", "p")),
        "b": best("b") + 0.25 * (best("c", "q") + best("d", "q")),
        "c": best("c"),
        "d": best("d"),
    }
    scores = archive.scores()
    assert {ai: scores.get(ai, 0.0) for ai in expected} == pytest.approx(expected)
