"""One connection to a gateway: lines of JSON in both directions."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from coordinator.messages import Cursor
from coordinator.tcp.pace import Pace

CLOSE_LIMIT_S = 1.0


class Link:
    """An open connection, logged in. ``start`` is the cursor before the first message on it;
    ``has_heard`` becomes true with all that comes."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        start: Cursor,
        pace: Pace,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._pace = pace
        self.start = start
        self.has_heard = False

    async def read(self) -> dict[str, Any] | None:
        """The next message; None at the end. ConnectionError for what is none."""
        try:
            line = await self._reader.readline()
            told = object_in(line) if line.endswith(b"\n") else None
        except ValueError as error:
            raise ConnectionError(str(error)) from None
        self.has_heard = self.has_heard or told is not None
        return told

    async def write(self, body: bytes) -> None:
        """Raises ConnectionError when the connection has ended."""
        await self._pace.turn()
        if self._writer.is_closing():
            raise ConnectionError("the connection has ended")
        self._writer.write(body + b"\n")
        await self._writer.drain()

    def drop(self) -> None:
        """End it at once."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """End it once what was written is gone, or after CLOSE_LIMIT_S."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._writer.wait_closed()
        self.drop()


def cursor_of(told: dict[str, Any]) -> Cursor:
    return Cursor(epoch=told["epoch"], log=told["log"], inbox=told["inbox"])


def object_in(line: bytes) -> dict[str, Any]:
    """Raises ValueError."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("what came is not a line of JSON") from None
    if not isinstance(told, dict):
        raise ValueError("what came is not an object")
    return told
