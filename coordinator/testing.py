"""A whole fleet in one process, for tests of your own AI: no server, nothing to stub."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any

import fakeredis

from coordinator.blocking import Client, LoopThread
from coordinator.client import AsyncClient
from coordinator.clock import RandomIds, SystemClock
from coordinator.coordinator import Coordinator
from coordinator.settings import Settings

STEP_S = 0.002


class FakeFleet:
    """A real coordinator on a Redis that is held in memory.

    ``with FakeFleet() as fleet, fleet.client("AI_1") as client: ...`` in blocking code,
    ``async with FakeFleet() as fleet, fleet.async_client("AI_1") as client: ...`` in asyncio.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._server = fakeredis.FakeServer()
        self._thread: LoopThread | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> FakeFleet:
        self._thread = LoopThread("fake fleet")
        self._thread.call(self.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None
        self._thread.call(self.__aexit__())
        self._thread.close()

    async def __aenter__(self) -> FakeFleet:
        self._task = asyncio.create_task(self._coordinate())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def client(self, ai_id: str, **options: Any) -> Client:
        """A Client of this fleet, not yet connected; ``options`` are those of Client."""
        assert self._thread is not None, "use it as `with FakeFleet() as fleet`"
        return Client._on(self._thread, partial(self._make, ai_id, **options))

    def async_client(self, ai_id: str, **options: Any) -> AsyncClient:
        """An AsyncClient of this fleet, not yet connected; ``options`` are those of AsyncClient."""
        return self._make(ai_id, **options)

    def _make(self, ai_id: str, url: str | None = None, **options: Any) -> AsyncClient:
        options["settings"] = options.get("settings") or self.settings
        connection = fakeredis.FakeAsyncRedis(server=self._server)
        return AsyncClient(ai_id, connection=connection, **options)

    async def _coordinate(self) -> None:
        connection = fakeredis.FakeRedis(server=self._server)
        coordinator = Coordinator(
            connection, self.settings, SystemClock(), RandomIds(), "fake", lambda: "fake"
        )
        while True:
            if coordinator.active or coordinator.take_over():
                coordinator.step()
            await asyncio.sleep(STEP_S)
