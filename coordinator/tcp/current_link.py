"""The connection to a gateway that there is at present, and who waits for one."""

from __future__ import annotations

import asyncio

from coordinator.life import Life
from coordinator.tcp.link import Link


class CurrentLink:
    """``connected`` is the connection that is open, ``joined`` the same once we have joined on it:
    only then it is for messages."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._changed = asyncio.Event()
        self.connected: Link | None = None
        self.joined: Link | None = None

    async def when_joined(self) -> Link:
        """The connection, once there is one on which we have joined. Raises what ended us."""
        while True:
            self._life.check()
            if self.joined is not None:
                return self.joined
            self._changed.clear()
            await self._changed.wait()

    def join(self, link: Link) -> None:
        self.joined = link
        self._changed.set()

    def leave(self) -> None:
        """It has ended."""
        self.connected = self.joined = None

    def drop(self) -> None:
        """Have another connection."""
        if self.connected is not None:
            self.connected.drop()

    def wake(self) -> None:
        """No connection may come any more: who waits for one is to look."""
        self._changed.set()
