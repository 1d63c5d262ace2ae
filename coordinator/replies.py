"""Answers to single messages, and who waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from coordinator.errors import refusal

Reply = asyncio.Future[dict[str, Any]]


class Replies:
    """Hands each answer to who expects it."""

    def __init__(self) -> None:
        self._expected: dict[str, Reply] = {}

    @contextmanager
    def expected(self, message_id: str) -> Iterator[Reply]:
        """Give the message that answers ``message_id``, once it has come."""
        reply: Reply = asyncio.get_running_loop().create_future()
        self._expected[message_id] = reply
        try:
            yield reply
        finally:
            del self._expected[message_id]
            reply.cancel()

    def take(self, in_reply_to: str, message: dict[str, Any]) -> bool:
        """Whether somebody expected this answer; it has it then."""
        reply = self._expected.get(in_reply_to)
        if reply is None or reply.done():
            return False
        reply.set_result(message)
        return True


def answer_in(message: dict[str, Any]) -> dict[str, Any]:
    """The payload of an answer. Raises Refused or IdTaken if it is an error."""
    payload: dict[str, Any] = message["payload"]
    if message["message_type"] == "error":
        raise refusal(payload)
    return payload
