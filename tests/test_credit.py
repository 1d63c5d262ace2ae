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
    assert archive.book("b") == {"own:disk": {"component:c": [0.6, []]}}
    assert archive.book("a") == {"built:b:disk": {"component:c": [0.6, ["pattern:q", "pattern:p"]]}}
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
        "component:own": [0.5, []],
        "component:pair": [0.4, []],
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
    archive.retract(RecordKey("component", "c"))
    assert archive.scores() == {"a": 0.0, "b": 0.0}
    assert archive.book("a") == archive.book("b") == {}


def test_a_record_that_is_retracted_takes_along_what_was_built_on_it(archive: Archive) -> None:
    archive.judge("c", 0.6)
    archive.retract(RecordKey("pattern", "p"))
    assert archive.scores() == {"a": 0.0, "b": 0.6}
    archive.judge("c", 0.6)
    assert archive.scores() == {"a": 0.0, "b": 0.6}


def test_credit_goes_with_what_it_leads_through(archive: Archive) -> None:
    """What lies between is retracted."""
    archive.judge("c", 0.6)
    archive.retract(RecordKey("pattern", "q"))
    assert archive.scores() == {"a": 0.0, "b": 0.6}
    assert archive.book("a") == {}
    archive.judge("c", 0.6)
    assert archive.scores() == {"a": 0.0, "b": 0.6}
    assert archive.redis.hget(archive.keys.record("component", "c"), "credited") is None


def test_records_of_one_id_are_retracted_at_once(archive: Archive) -> None:
    archive.share("feature", "c", "b", derived_from="p")
    archive.share("component", "best", "b")
    for component, quality in (("c", 0.6), ("best", 0.9)):
        archive.judge(component, quality)
    archive.retract(RecordKey("component", "c"), RecordKey("feature", "c"))
    assert archive.scores() == {"a": 0.0, "b": 0.9}
    assert archive.book("b") == {"own:disk": {"component:best": [0.9, []]}}
    assert archive.uses("pattern", "p") == {"pattern:q": 1}


COPIES = {
    "of its parent": ["orig"],
    "of what its parent began from": ["between"],
    "of a copy": ["copied"],
}


@pytest.fixture
def copied(archive: Archive) -> Archive:
    """e's component, which two others have copied or begun from."""
    archive.share("component", "orig", "e", source="1", hash_ms=1)
    archive.share("component", "between", "x", derived_from="orig", source="2", hash_ms=2)
    archive.share("component", "copied", "y", derived_from="orig", source="1", hash_ms=3)
    archive.judge("orig", 0.8)
    return archive


@pytest.mark.parametrize("parents", COPIES.values(), ids=COPIES.keys())
def test_a_copy_earns_nothing_for_nobody(copied: Archive, parents: list[str]) -> None:
    before = copied.scores()
    copied.share("component", "new", "z", derived_from=parents, source="1", hash_ms=9)
    copied.judge("new", 0.8)
    assert copied.scores() == before == {"e": 0.8}
    assert copied.uses("component", parents[0])["component:new"] == 1


def test_who_begins_from_a_copy_builds_on_what_it_is_a_copy_of(copied: Archive) -> None:
    copied.share("component", "new", "z", derived_from="copied", source="3", hash_ms=9)
    copied.judge("new", 0.8)
    assert copied.scores() == {"e": 1.0, "z": 0.8}
    copied.share("component", "back", "e", derived_from="copied", source="4", hash_ms=9)
    copied.judge("back", 0.8)
    assert copied.scores() == {"e": 1.0, "z": 0.8}


def test_who_was_copied_stays_who_made_it(copied: Archive) -> None:
    """Later the copy is named as what the original began from."""
    copied.share("component", "orig", "e", derived_from="copied", source="1", hash_ms=1)
    copied.judge("orig", 0.8)
    copied.judge("copied", 0.8)
    assert copied.scores() == {"e": 0.8}


def test_records_that_stand_on_each_other_pay_nobody(copied: Archive) -> None:
    copied.share("component", "orig", "e", derived_from="between", source="5", hash_ms=5)
    for name in ("orig", "between"):
        copied.judge(name, 0.8)
    assert copied.scores() == {"e": 0.8, "x": 0.8}


def test_what_is_gone_earns_nothing(archive: Archive) -> None:
    archive.redis.delete(archive.keys.record("component", "c"))
    before = dump(archive.redis)
    ledger = read_ledger(archive.redis, archive.keys, RecordKey("component", "c"))
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


def test_of_those_who_build_on_it_the_best_few_count(archive: Archive) -> None:
    for number in range(KEPT + 2):
        archive.share("component", f"of-{number}", f"puppet{number}", derived_from="p")
        archive.judge(f"of-{number}", (number + 1) / 20)
    best = [(number + 1) / 20 for number in range(KEPT + 2)][-USERS_COUNTED:]
    assert archive.scores()["a"] == pytest.approx(0.25 * sum(best))
    assert len(archive.book("a")) == KEPT
    archive.judge("of-17", None)
    assert archive.scores()["a"] == pytest.approx(0.25 * sum(n / 20 for n in (14, 15, 16, 17)))


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
    archive: Archive, group: str, spoiled: str
) -> None:
    archive.redis.hset("coord:credit:b", group.encode(errors="surrogateescape"), spoiled)
    archive.redis.hset("coord:component:c", "credited", '{"x": [1, "\\ud800"]}')
    ledger = read_ledger(archive.redis, archive.keys, RecordKey("component", "c"))
    archive.write(credited(RecordKey("component", "c"), "disk", 0.6, ledger, archive.keys))
    assert read_contributions(archive.redis, archive.keys, ["a", "b"]) == [0.15, 0.6]


def test_what_is_no_book_is_removed(archive: Archive) -> None:
    for name in ("coord:credit:a", "coord:credit:b"):
        archive.redis.set(name, "junk")
    archive.judge("c", 0.6)
    assert archive.scores() == {"a": 0.15, "b": 0.6}


@pytest.mark.parametrize("junk", ["x", "nan", "inf", ""])
def test_a_spoiled_score_counts_as_none(archive: Archive, junk: str) -> None:
    archive.redis.hset("coord:member:a", "contribution_score", junk)
    archive.redis.set("coord:member:b", junk)
    assert read_contributions(archive.redis, archive.keys, ["a", "b"]) == [0.0, 0.0]


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
