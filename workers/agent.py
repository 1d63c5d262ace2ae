"""The agent process of a trainer: it joins, heartbeats, listens, and shares what training finds.

Standard output carries JSON lines to the worker that started it: ``{"joined": instance}`` and
``{"metrics": {...}}``. It ends with exit code REFUSED_EXIT when the fleet does not take it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from importlib.metadata import version
from typing import Any

from coordinator import AsyncClient, CoordError, IdTaken, Settings
from coordinator.processes import tied_to_parent
from coordinator.specializations import capabilities_of
from workers.lines import METRICS, REFUSED_EXIT, encode_line, read_line, write_line
from workers.problems import find_problem

log = logging.getLogger("coord.trainer")

LINE_MAX_BYTES = 1024 * 1024
TRAINING_RESTART_S = 1.0
HOLDER_POLL_S = 0.5


class Agent:
    """``url`` is the server's; the AI's specialization and all else come from ``settings``."""

    def __init__(self, ai_id: str, url: str, settings: Settings) -> None:
        self._ai_id = ai_id
        self._url = url
        self._settings = settings
        self._client = self._new_client()
        self._training: Process | None = None
        self.metrics = dict.fromkeys(METRICS, 0)

    async def run(self) -> None:
        """Take part until cancelled. Raises CoordError when the fleet does not take us."""
        await self._connect()
        write_line(sys.stdout, {"joined": self._client.instance})
        try:
            async with asyncio.TaskGroup() as tasks:
                if find_problem(self._settings.specialization) is None:
                    log.warning(
                        "%s: there is nothing to train for %r yet; it takes part without training",
                        self._ai_id,
                        self._settings.specialization,
                    )
                else:
                    tasks.create_task(self._keep_training())
                tasks.create_task(self._listen())
        finally:
            await self._end_training()
            await self._client.close("the trainer was stopped")

    def _new_client(self) -> AsyncClient:
        specialization = self._settings.specialization
        return AsyncClient(
            self._ai_id,
            self._url,
            specialization=specialization,
            capabilities=capabilities_of(specialization),
            settings=self._settings,
            profile={"version": version("coord"), "trainer": True},
        )

    async def _connect(self) -> None:
        """Join; an id whose holder is dead is ours once its lease has ended.

        A holder that heartbeats while we wait is alive, and we are refused at once.
        """
        first: IdTaken | None = None
        while True:
            try:
                await self._client.connect(timeout_s=None)
                return
            except IdTaken as taken:
                if first and (
                    taken.last_heartbeat_ms > first.last_heartbeat_ms
                    or taken.holder != first.holder
                ):
                    raise
                if first is None:
                    log.warning("%s; waiting whether it is alive", taken.detail)
                first = first or taken
            await asyncio.sleep(HOLDER_POLL_S)
            self._client = self._new_client()

    async def _listen(self) -> None:
        async for message in self._client.messages():
            if message.message_type == "pattern_share":
                await self._offer(message.payload["pattern"], message.sender_id)
            elif message.message_type == "error":
                log.warning("%s: refused: %s", self._ai_id, message.payload["detail"])

    async def _offer_known_patterns(self) -> None:
        """What the fleet learned before this training began."""
        wanted = {"specialization": self._settings.specialization}
        page = await self._client.query("patterns", wanted, limit=100, timeout_s=None)
        for item in reversed(page.items):
            await self._offer(item["pattern"], item["contributor"])

    async def _offer(self, pattern: dict[str, Any], contributor: str) -> None:
        if self._training is None or self._training.stdin is None:
            return
        if contributor == self._ai_id:
            return
        with contextlib.suppress(ConnectionError):
            line = {"pattern": pattern, "contributor": contributor}
            self._training.stdin.write(encode_line(line))
            await self._training.stdin.drain()

    async def _keep_training(self) -> None:
        while True:
            self._client.set_status("training", 1.0)
            await self._train()
            log.warning("%s: training ended; it is started again", self._ai_id)
            await asyncio.sleep(TRAINING_RESTART_S)

    async def _train(self) -> None:
        """Run a training process to its end, and share what it finds."""
        command = [sys.executable, "-m", "workers.training"]
        run = self._client.instance.rpartition(".")[2]
        command += [self._ai_id, self._settings.specialization, run]
        self._training = await asyncio.create_subprocess_exec(
            *tied_to_parent(command),
            stdin=PIPE,
            stdout=PIPE,
            limit=LINE_MAX_BYTES,
            process_group=0,  # Ctrl-C is the worker's affair
        )
        assert self._training.stdout is not None
        await self._offer_known_patterns()
        async for line in self._training.stdout:
            await self._share(read_line(line))
        await self._training.wait()

    async def _share(self, learned: dict[str, Any]) -> None:
        await self._client.share_pattern(learned["pattern"])
        await self._client.share_code(learned["code"])
        await self._client.report(learned["code"]["id"], learned["performance"])
        self.metrics["patterns_generated"] += 1
        self.metrics["components_created"] += 1
        write_line(sys.stdout, {"metrics": self.metrics})

    async def _end_training(self) -> None:
        if self._training is not None and self._training.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._training.kill()
            await self._training.wait()


async def run_until_told(agent: Agent) -> None:
    """Run ``agent`` until SIGTERM. SIGINT is the worker's affair, which then ends us."""
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(agent.run())
    loop.add_signal_handler(signal.SIGTERM, running.cancel)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    with contextlib.suppress(asyncio.CancelledError):
        await running


def main() -> None:
    parser = argparse.ArgumentParser(description="The agent process of a trainer.")
    parser.add_argument("ai_id")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    settings = Settings()
    agent = Agent(arguments.ai_id, os.environ["RQ_REDIS_URL"], settings)
    is_refused = False
    try:
        asyncio.run(run_until_told(agent))
    except* CoordError as errors:
        log.error("%s", errors.exceptions[0])
        is_refused = True  # what is raised here would come out as a group, and not as an exit code
    if is_refused:
        raise SystemExit(REFUSED_EXIT)
    write_line(sys.stdout, {"metrics": agent.metrics})


if __name__ == "__main__":
    main()
