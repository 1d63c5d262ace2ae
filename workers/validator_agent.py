"""The agent process of a validator: it joins, and is there for as long as its worker is."""

from __future__ import annotations

import asyncio
import logging
from importlib.metadata import version

from coordinator import AsyncClient
from coordinator.specializations import CAPABILITIES
from workers.presence import Presence, run_agent
from workers.problems import evaluator_version, find_problem

log = logging.getLogger("coord.validator")

SPECIALIZATION = CAPABILITY = "validation"


class ValidatorAgent(Presence):
    """It takes part in nothing: whoever measures the others' work has no work of its own."""

    role = "validator"

    def new_client(self) -> AsyncClient:
        return AsyncClient(
            self._ai_id,
            self._url,
            specialization=SPECIALIZATION,
            capabilities=[CAPABILITY],
            settings=self._settings,
            profile={
                "version": version("coord"),
                "collaboration_ready": False,
                "evaluators": evaluators(),
            },
        )

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        tasks.create_task(self._listen())

    async def _listen(self) -> None:
        """What it is told is dropped, but for refusals: people should see those."""
        async for message in self._client.messages():
            if message.message_type == "error":
                log.warning("%s: refused: %s", self._ai_id, message.payload["detail"])


def evaluators() -> dict[str, str]:
    """By specialization, the version of what its components are measured by here."""
    found = {word: find_problem(word) for word in CAPABILITIES}
    return {word: evaluator_version(problem) for word, problem in found.items() if problem}


if __name__ == "__main__":
    run_agent(ValidatorAgent)
