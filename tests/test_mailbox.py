"""The mailbox: order, a bound, and what there was no room for."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.errors import CoordError
from coordinator.mailbox import Mailbox, Message, StreamName
from tests.clients import in_loop


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.mailbox.MAX_BUFFERED", 4)


def message(n: int, stream: StreamName = "log") -> Message:
    return Message(f"id-{n}", "AI_1", "t", "", {}, None, stream, n)


def filled(*numbers: int) -> Mailbox:
    mailbox = Mailbox()
    for n in numbers:
        mailbox.put(message(n), after=n - 1)
    return mailbox


async def take(mailbox: Mailbox) -> int:
    taken = await mailbox.take()
    assert taken is not None
    return taken.n


@in_loop
async def test_messages_come_out_as_they_went_in() -> None:
    mailbox = filled(1, 2)
    mailbox.put(message(7, "inbox"), after=6)
    assert [await take(mailbox) for _ in range(3)] == [1, 2, 7]
    assert mailbox.taken == {"log": 2, "inbox": 7}


@in_loop
async def test_what_finds_no_room_is_noted_and_so_is_all_that_follows_it() -> None:
    mailbox = filled(1, 2, 3, 4, 5, 6)
    assert (len(mailbox), mailbox.missed) == (4, {"log": 4})
    assert await take(mailbox) == 1
    mailbox.put(message(7), after=6)  # there is room, but 5 and 6 come before it
    mailbox.put(message(1, "inbox"), after=0)  # the other stream has missed nothing
    assert [await take(mailbox) for _ in range(4)] == [2, 3, 4, 1]
    assert mailbox.missed == {"log": 4}


@in_loop
async def test_it_is_worth_while_to_read_again_when_half_of_it_is_free() -> None:
    mailbox = filled(1, 2, 3, 4)
    assert not mailbox.has_room
    await take(mailbox)
    assert not mailbox.has_room
    await take(mailbox)
    assert mailbox.has_room


def test_what_cannot_be_read_again_always_finds_room() -> None:
    mailbox = filled(1, 2, 3, 4, 5)
    mailbox.put(message(0), after=None)
    assert len(mailbox) == 5


@in_loop
async def test_numbers_the_server_forgot_count_as_the_last_it_remembers() -> None:
    mailbox = filled(1, 2, 3, 4, 5)
    mailbox.put(message(9, "inbox"), after=None)
    await take(mailbox)
    mailbox.rewind("log", 2)
    assert mailbox.missed == {}  # what comes behind 2 is read anyway
    assert [await take(mailbox) for _ in range(4)] == [2, 2, 2, 9]
    assert mailbox.taken == {"log": 2, "inbox": 9}


def test_a_rewind_keeps_what_was_missed_before_it() -> None:
    mailbox = filled(1, 2, 3, 4, 5)
    mailbox.rewind("log", 10)
    assert mailbox.missed == {"log": 4}


@in_loop
async def test_a_taker_waits_for_a_message_or_the_end() -> None:
    mailbox = Mailbox()
    takers = [asyncio.create_task(mailbox.take()) for _ in range(3)]
    await asyncio.sleep(0)
    mailbox.put(message(1), after=0)
    await asyncio.sleep(0)
    mailbox.close()
    came = await asyncio.gather(*takers)
    assert sorted(came, key=str) == sorted([message(1), None, None], key=str)


@in_loop
async def test_what_is_in_it_comes_before_the_reason_of_its_end() -> None:
    mailbox = filled(1)
    mailbox.close(CoordError("first"))
    mailbox.close(CoordError("second"))
    assert await take(mailbox) == 1
    for _ in range(2):
        with pytest.raises(CoordError, match="first"):
            await mailbox.take()
