"""A client's life: what it does in the background, and why it is over once it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from coordinator.errors import CoordError
from coordinator.tasks import Tasks

log = logging.getLogger("coord.client")


class Life:
    """``failure`` is why nothing can be sent or received any more; ``on_end`` is told of it.
    ``trouble`` is what hindered it last, for people."""

    def __init__(self, ai_id: str, on_end: Callable[[CoordError], None]) -> None:
        self._ai_id = ai_id
        self._on_end = on_end
        self._tasks = Tasks(self._note_error)
        self.failure: CoordError | None = None
        self.trouble = ""

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` beside the caller's; an error in it is no secret."""
        return self._tasks.start(work)

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
        await self._tasks.end()

    def _note_error(self, error: BaseException) -> None:
        if not self.failure:
            log.error("%s: %r", self._ai_id, error, exc_info=error)
            self.fail(CoordError(f"the client of {self._ai_id} failed: {error!r}"))
