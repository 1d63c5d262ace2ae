"""The agent process of a validator: it joins, and is there for as long as its worker is."""

from __future__ import annotations

import asyncio
import logging
from importlib.metadata import version

from coordinator import AsyncClient
from coordinator.clock import SystemClock
from coordinator.specializations import VALIDATION
from workers.fleet_agent import FleetAgent, run_agent
from workers.problems import JOINT_PROBLEMS, PROBLEMS, evaluator_version
from workers.validation import day_of

log = logging.getLogger("coord.validator")

DAY_POLL_S = 30.0


class ValidatorAgent(FleetAgent):
    """It takes part in nothing: whoever measures the others' work has no work of its own."""

    role = "validator"

    def new_client(self) -> AsyncClient:
        self._day = today()
        return AsyncClient(
            self._ai_id,
            self._url,
            specialization=VALIDATION,
            capabilities=[VALIDATION],
            settings=self._settings,
            profile={
                "version": version("coord"),
                "collaboration_ready": False,
                "evaluators": evaluators(self._day),
            },
        )

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        tasks.create_task(self._listen())
        tasks.create_task(self._measure_by_the_day())

    async def _measure_by_the_day(self) -> None:
        """End with the day: the next agent joins with the new day's workload, on which the best are
        then measured again."""
        while today() == self._day:
            await asyncio.sleep(DAY_POLL_S)
        self.end_with("a new day has begun, and with it another workload")

    async def _listen(self) -> None:
        """What it is told is dropped, but for refusals: people should see those."""
        async for message in self._client.messages():
            if message.message_type == "error":
                log.warning("%s: refused: %s", self._ai_id, message.payload["detail"])


def today() -> str:
    return day_of(SystemClock().now_ms())


def evaluators(day: str) -> dict[str, str]:
    """By problem, the version of what measures it here on a day."""
    problems = (*PROBLEMS, *JOINT_PROBLEMS)
    return {problem.name: evaluator_version(problem, day) for problem in problems}


if __name__ == "__main__":
    run_agent(ValidatorAgent)
