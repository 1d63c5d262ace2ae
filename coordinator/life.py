"""A client's life: what it does in the background, and why it is over once it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from coordinator.errors import CoordError

log = logging.getLogger("coord.client")


class Life:
    """``failure`` is why nothing can be sent or received any more; ``on_end`` is told of it.
    ``trouble`` is what hindered it last, for people."""

    def __init__(self, ai_id: str, on_end: Callable[[CoordError], None]) -> None:
        self._ai_id = ai_id
        self._on_end = on_end
        self._tasks: set[asyncio.Task[None]] = set()
        self.failure: CoordError | None = None
        self.trouble = ""

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` beside the caller's; an error in it is no secret."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._note_end)
        return task

    def check(self) -> None:
        """Raise why it is over, if it is."""
        if self.failure:
            raise self.failure

    def fail(self, error: CoordError) -> None:
        """It is over, for this reason; the first one counts."""
        self.failure = self.failure or error
        self._on_end(self.failure)

    async def end(self) -> None:
        """Cancel what is done in the background, and wait until it is."""
        self.failure = self.failure or CoordError(f"the client of {self._ai_id} is closed")
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and not self.failure:
            log.error("%s: %r", self._ai_id, error, exc_info=error)
            self.fail(CoordError(f"the client of {self._ai_id} failed: {error!r}"))
