"""What an AI keeps until the gateway's fleet is known to have it."""

from __future__ import annotations

import pytest

from coordinator.tcp import unconfirmed
from coordinator.tcp.unconfirmed import Unconfirmed


@pytest.fixture
def kept() -> Unconfirmed:
    """Three messages, with a query after the second."""
    kept = Unconfirmed()
    kept.add("1", b"one")
    kept.add("2", b"two")
    kept.note_query("q")
    kept.add("3", b"three")
    return kept


def test_an_answer_confirms_what_was_sent_before_its_query(kept: Unconfirmed) -> None:
    kept.confirm_before("q")
    assert (kept.ids, kept.bodies) == ({"3"}, [b"three"])


@pytest.mark.parametrize("query", ["another", ""])
def test_an_answer_to_no_query_confirms_nothing(kept: Unconfirmed, query: str) -> None:
    kept.confirm_before(query)
    assert kept.bodies == [b"one", b"two", b"three"]


def test_an_answer_confirms_once(kept: Unconfirmed) -> None:
    kept.confirm_before("q")
    kept.add("2", b"two")
    kept.confirm_before("q")
    assert kept.bodies == [b"three", b"two"]


def test_what_was_not_taken_is_given_back(kept: Unconfirmed) -> None:
    assert kept.take_out("2") == b"two"
    assert kept.take_out("2") == b""
    assert kept.bodies == [b"one", b"three"]


@pytest.mark.parametrize(("limit", "most"), [("MAX_UNCONFIRMED", 3), ("MAX_UNCONFIRMED_BYTES", 10)])
def test_it_is_full_by_number_or_bytes(
    kept: Unconfirmed, limit: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not kept.is_full
    monkeypatch.setattr(unconfirmed, limit, most)
    assert kept.is_full
    kept.take_out("1")
    assert not kept.is_full
