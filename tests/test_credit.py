"""Who is credited for what: the rule, and that only the newest verdicts count."""

from __future__ import annotations

import itertools
import random

import pytest
from redis import Redis

from coordinator.credit import (
    KEPT,
    USERS_COUNTED,
    credited,
    read_contributions,
    read_ledger,
    retracted,
)
from coordinator.keys import RecordKey
from tests.fleet import dump
from tests.lineages import Records


@pytest.fixture
def records(redis: Redis) -> Records:
    """a's pattern p, and b's component c, which is built on it through a pattern of b's own."""
    records = Records(redis)
    records.share("pattern", "p", "a")
    records.share("pattern", "q", "b", derived_from="p")
    records.share("component", "c", "b", derived_from="q")
    return records


def test_a_component_that_passed_is_credited_and_what_it_builds_on(records: Records) -> None:
    records.judge("c", 0.6)
    assert records.scores() == {"a": 0.15, "b": 0.6}
    assert records.book("b") == {"own:disk": {"component:c": [0.6, []]}}
    assert records.book("a") == {"built:b:disk": {"component:c": [0.6, ["pattern:q", "pattern:p"]]}}
    assert read_contributions(records.redis, records.keys, ["b", "a", "z"]) == [0.6, 0.15, 0.0]
    assert read_contributions(records.redis, records.keys, []) == []


def test_the_same_verdict_again_changes_nothing(records: Records) -> None:
    records.judge("c", 0.6)
    once = dump(records.redis)
    records.judge("c", 0.6)
    assert dump(records.redis) == once


def test_of_each_problem_the_best_counts_once(records: Records) -> None:
    records.judge("c", 0.6)
    for number, quality in enumerate([0.6, 0.5, 0.8, 0.8]):
        records.share("component", f"again{number}", "b", derived_from="q")
        records.judge(f"again{number}", quality)
    assert records.scores() == {"a": 0.2, "b": 0.8}
    records.share("component", "other", "b", derived_from="p")
    records.judge("other", 0.4, problem="cpu")
    assert records.scores() == {"a": 0.3, "b": 1.2}


def test_each_other_ai_that_builds_on_it_counts(records: Records) -> None:
    for ai, quality in (("c", 0.4), ("d", 0.8)):
        records.share("component", f"of-{ai}", ai, derived_from="p")
        records.judge(f"of-{ai}", quality)
    assert records.scores() == {"a": 0.3, "c": 0.4, "d": 0.8}


def test_ones_own_use_does_not_pay_nor_does_a_partners(records: Records) -> None:
    records.share("component", "own", "a", derived_from="p")
    records.share("component", "pair", "b", "a", derived_from="p")
    records.judge("own", 0.5)
    records.judge("pair", 0.4)
    assert records.scores() == {"a": 0.5, "b": 0.4}
    assert records.book("a")["own:disk"] == {
        "component:own": [0.5, []],
        "component:pair": [0.4, []],
    }


def test_a_person_is_neither_credited_nor_pays(records: Records) -> None:
    records.share("pattern", "theirs", "operator")
    records.share("component", "new", "operator", derived_from="p")
    records.share("component", "newer", "b", derived_from="theirs")
    records.judge("new", 0.5)
    records.judge("newer", 0.5)
    assert records.scores() == {"b": 0.5}
    assert records.book("operator") == {}


@pytest.mark.parametrize("quality", [None, 0.0, -3.0])
def test_what_closes_no_gap_pays_nothing_and_costs_nothing(
    records: Records, quality: float | None
) -> None:
    records.judge("c", quality)
    assert records.scores() == {}
    assert records.book("a") == records.book("b") == {}


def test_a_worse_verdict_lowers_it_and_the_next_best_stands_in(records: Records) -> None:
    records.share("component", "second", "b", derived_from="q")
    told = []
    for component, quality in [("c", 0.8), ("second", 0.4), ("c", 0.6), ("c", 0.2), ("c", None)]:
        records.judge(component, quality)
        told.append(records.scores())
    assert [scores["b"] for scores in told] == [0.8, 0.8, 0.6, 0.4, 0.4]
    assert [scores["a"] for scores in told] == [0.2, 0.2, 0.15, 0.1, 0.1]
    records.judge("second", None)
    assert records.scores() == {"a": 0.0, "b": 0.0}
    assert records.book("a") == records.book("b") == {}


def test_one_that_is_measured_by_another_problem_leaves_the_first(records: Records) -> None:
    records.judge("c", 0.8, problem="disk")
    records.judge("c", 0.4, problem="cpu")
    assert records.scores() == {"a": 0.1, "b": 0.4}
    assert list(records.book("b")) == ["own:cpu"]


def test_a_new_verdict_on_what_others_build_on_leaves_them_their_credit(records: Records) -> None:
    records.share("component", "next", "d", derived_from={"component_id": "c"})
    records.judge("c", 0.6)
    records.judge("next", 0.8)
    assert records.scores() == {"a": 0.15, "b": 0.8, "d": 0.8}
    records.judge("c", 0.4)
    assert records.scores() == {"a": 0.1, "b": 0.6, "d": 0.8}


def test_a_component_that_is_retracted_takes_its_credit_along(records: Records) -> None:
    records.judge("c", 0.6)
    records.retract(RecordKey("component", "c"))
    assert records.scores() == {"a": 0.0, "b": 0.0}
    assert records.book("a") == records.book("b") == {}


def test_a_record_that_is_retracted_takes_along_what_was_built_on_it(records: Records) -> None:
    records.judge("c", 0.6)
    records.retract(RecordKey("pattern", "p"))
    assert records.scores() == {"a": 0.0, "b": 0.6}
    records.judge("c", 0.6)
    assert records.scores() == {"a": 0.0, "b": 0.6}


def test_credit_goes_with_what_it_leads_through(records: Records) -> None:
    """What lies between is retracted."""
    records.judge("c", 0.6)
    records.retract(RecordKey("pattern", "q"))
    assert records.scores() == {"a": 0.0, "b": 0.6}
    assert records.book("a") == {}
    records.judge("c", 0.6)
    assert records.scores() == {"a": 0.0, "b": 0.6}
    assert records.redis.hget(records.keys.record("component", "c"), "credited") is None


def test_records_of_one_id_are_retracted_at_once(records: Records) -> None:
    records.share("feature", "c", "b", derived_from="p")
    records.share("component", "best", "b")
    for component, quality in (("c", 0.6), ("best", 0.9)):
        records.judge(component, quality)
    records.retract(RecordKey("component", "c"), RecordKey("feature", "c"))
    assert records.scores() == {"a": 0.0, "b": 0.9}
    assert records.book("b") == {"own:disk": {"component:best": [0.9, []]}}
    assert records.uses("pattern", "p") == {"pattern:q": 1}


COPIES = {
    "of its parent": ["orig"],
    "of what its parent began from": ["between"],
    "of a copy": ["copied"],
}


@pytest.fixture
def copied(records: Records) -> Records:
    """e's component, which two others have copied or begun from."""
    records.share("component", "orig", "e", source="1", hash_ms=1)
    records.share("component", "between", "x", derived_from="orig", source="2", hash_ms=2)
    records.share("component", "copied", "y", derived_from="orig", source="1", hash_ms=3)
    records.judge("orig", 0.8)
    return records


@pytest.mark.parametrize("parents", COPIES.values(), ids=COPIES.keys())
def test_a_copy_earns_nothing_for_nobody(copied: Records, parents: list[str]) -> None:
    before = copied.scores()
    copied.share("component", "new", "z", derived_from=parents, source="1", hash_ms=9)
    copied.judge("new", 0.8)
    assert copied.scores() == before == {"e": 0.8}
    assert copied.uses("component", parents[0])["component:new"] == 1


def test_who_begins_from_a_copy_builds_on_what_it_is_a_copy_of(copied: Records) -> None:
    copied.share("component", "new", "z", derived_from="copied", source="3", hash_ms=9)
    copied.judge("new", 0.8)
    assert copied.scores() == {"e": 1.0, "z": 0.8}
    copied.share("component", "back", "e", derived_from="copied", source="4", hash_ms=9)
    copied.judge("back", 0.8)
    assert copied.scores() == {"e": 1.0, "z": 0.8}


def test_who_was_copied_stays_who_made_it(copied: Records) -> None:
    """Later the copy is named as what the original began from."""
    copied.share("component", "orig", "e", derived_from="copied", source="1", hash_ms=1)
    copied.judge("orig", 0.8)
    copied.judge("copied", 0.8)
    assert copied.scores() == {"e": 0.8}


def test_records_that_stand_on_each_other_pay_nobody(copied: Records) -> None:
    copied.share("component", "orig", "e", derived_from="between", source="5", hash_ms=5)
    for name in ("orig", "between"):
        copied.judge(name, 0.8)
    assert copied.scores() == {"e": 0.8, "x": 0.8}


def test_what_is_gone_earns_nothing(records: Records) -> None:
    records.redis.delete(records.keys.record("component", "c"))
    before = dump(records.redis)
    ledger = read_ledger(records.redis, records.keys, RecordKey("component", "c"))
    records.write(retracted(ledger, records.keys))
    assert dump(records.redis).keys() == before.keys()
    records.judge("c", 0.6)
    assert records.scores() == {}


def test_the_books_are_bounded_and_the_best_stay(records: Records) -> None:
    for number in range(KEPT + 5):
        records.share("component", f"n{number}", "b", derived_from="p")
        records.judge(f"n{number}", (number + 1) / 100)
    for book, group in ((records.book("b"), "own:disk"), (records.book("a"), "built:b:disk")):
        assert set(book[group]) == {f"component:n{number}" for number in range(5, KEPT + 5)}


def test_of_those_who_build_on_it_the_best_few_count(records: Records) -> None:
    for number in range(KEPT + 2):
        records.share("component", f"of-{number}", f"puppet{number}", derived_from="p")
        records.judge(f"of-{number}", (number + 1) / 20)
    best = [(number + 1) / 20 for number in range(KEPT + 2)][-USERS_COUNTED:]
    assert records.scores()["a"] == pytest.approx(0.25 * sum(best))
    assert len(records.book("a")) == KEPT
    records.judge("of-17", None)
    assert records.scores()["a"] == pytest.approx(0.25 * sum(n / 20 for n in (14, 15, 16, 17)))


SPOILED_BOOKS = {
    "no JSON": "junk",
    "a list": "[1]",
    "a word for a number": '{"component:z": ["x", []]}',
    "a list for a number": '{"component:z": [[1], []]}',
    "no finite number": '{"component:z": [NaN, []]}',
    "a huge number": '{"component:z": [' + "9" * 400 + ", []]}",
    "no way": '{"component:z": [1, ""]}',
    "no pair": '{"component:z": 1}',
}


@pytest.mark.parametrize("spoiled", SPOILED_BOOKS.values(), ids=SPOILED_BOOKS.keys())
@pytest.mark.parametrize("group", ["own:disk", "own:", "\udcff", "built:x"])
def test_what_of_a_book_cannot_be_read_counts_as_nothing(
    records: Records, group: str, spoiled: str
) -> None:
    records.redis.hset("coord:credit:b", group.encode(errors="surrogateescape"), spoiled)
    records.redis.hset("coord:component:c", "credited", '{"x": [1, "\\ud800"]}')
    ledger = read_ledger(records.redis, records.keys, RecordKey("component", "c"))
    records.write(credited(RecordKey("component", "c"), "disk", 0.6, ledger, records.keys))
    assert read_contributions(records.redis, records.keys, ["a", "b"]) == [0.15, 0.6]


def test_what_is_no_book_is_removed(records: Records) -> None:
    for name in ("coord:credit:a", "coord:credit:b"):
        records.redis.set(name, "junk")
    records.judge("c", 0.6)
    assert records.scores() == {"a": 0.15, "b": 0.6}


@pytest.mark.parametrize("junk", ["x", "nan", "inf", ""])
def test_a_spoiled_score_counts_as_none(records: Records, junk: str) -> None:
    records.redis.hset("coord:member:a", "contribution_score", junk)
    records.redis.set("coord:member:b", junk)
    assert read_contributions(records.redis, records.keys, ["a", "b"]) == [0.0, 0.0]


@pytest.mark.parametrize("seed", range(5))
def test_verdicts_come_to_the_same_in_any_order(records: Records, seed: int) -> None:
    """The rule, worked out here from all the last verdicts."""
    rng = random.Random(seed)
    makers = {f"{ai}{n}": ai for ai, n in itertools.product("bcd", range(4))}
    parents = {name: rng.choice(["p", "q", None]) for name in makers}
    for name, ai in makers.items():
        records.share("component", name, ai, derived_from=parents[name])
    last: dict[str, float | None] = {}
    for name in rng.choices(list(makers), k=30):
        last[name] = rng.choice([None, -0.5, *(n / 10 for n in range(11))])
        records.judge(name, last[name])

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
    scores = records.scores()
    assert {ai: scores.get(ai, 0.0) for ai in expected} == pytest.approx(expected)
