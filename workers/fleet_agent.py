"""The agent process of a worker: it joins, heartbeats, and is there for as long as its worker is.

Standard output carries JSON lines to the worker that started it: ``{"joined": instance}`` and
``{"metrics": {...}}``; on standard input the worker says that it is alive. It ends with exit code
REFUSED_EXIT when the fleet does not take it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from coordinator import AsyncClient, CoordError, IdTaken, Settings
from workers.lines import REFUSED_EXIT, write_line
from workers.logs import log_to_stderr

HOLDER_POLL_S = 0.5
SILENCE_S = 10.0
"""A worker that is silent for so long, and for a lease, runs no units that others could not."""
LISTENING_SPELLS = 10

WORKER_IS_SILENT = "its worker does not respond"


class AgentEnds(Exception):
    """Why an agent ends by itself, in words for the others: its worker may start another one."""


class FleetAgent:
    """An AI in the fleet. ``url`` is the server's; all else comes from ``settings``.

    A kind of agent says as what it joins, what it does while it is there, and how that ends.
    """

    role: str

    def __init__(self, ai_id: str, url: str, settings: Settings) -> None:
        self._ai_id = ai_id
        self._url = url
        self._settings = settings
        self._client = self.new_client()
        self._farewell = f"the {self.role} was stopped"
        self.log = logging.getLogger(f"coord.{self.role}")
        self.metrics: dict[str, int] = {}

    def new_client(self) -> AsyncClient:
        raise NotImplementedError

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Start what it does while it is there."""
        raise NotImplementedError

    async def end(self) -> None:
        """End what ``begin`` started and no task of its own ends."""

    async def run(self) -> None:
        """Take part until cancelled. Raises CoordError when the fleet does not take us."""
        await self._connect()
        write_line(sys.stdout, {"joined": self._client.instance})
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch_worker())
                self.begin(tasks)
        finally:
            await self.end()
            await self._client.close(self._farewell)

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
                    self.log.warning("%s; waiting whether it is alive", taken.detail)
                first = first or taken
            await asyncio.sleep(HOLDER_POLL_S)
            self._client = self.new_client()

    async def _watch_worker(self) -> None:
        """Raise AgentEnds once nothing was heard of it for long: what lies in its queue must go to
        others. Time in which this process itself stood still does not count."""
        worker = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(worker), sys.stdin)
        spell_s = max(self._settings.lease_s, SILENCE_S) / LISTENING_SPELLS
        silent_spells = 0
        while silent_spells < LISTENING_SPELLS and not worker.at_eof():
            try:
                async with asyncio.timeout(spell_s):
                    await worker.readline()
                    silent_spells = 0
            except TimeoutError:
                silent_spells += 1
        self.end_with(WORKER_IS_SILENT)

    def end_with(self, reason: str) -> NoReturn:
        self._farewell = reason
        raise AgentEnds(reason)


def run_agent(kind: type[FleetAgent], prepare: Callable[[str], None] = lambda _: None) -> None:
    """Be the agent of that kind that the command line names, once ``prepare`` has been called with
    its id."""
    parser = argparse.ArgumentParser(description="The agent process of a worker.")
    parser.add_argument("ai_id")
    ai_id = parser.parse_args().ai_id
    settings = Settings()
    log_to_stderr(settings.log_json, logging.INFO)
    agent = kind(ai_id, os.environ["RQ_REDIS_URL"], settings)
    prepare(ai_id)
    is_refused = False
    try:
        asyncio.run(_run_until_told(agent))
    except* AgentEnds as ends:
        agent.log.warning("%s: %s", ai_id, ends.exceptions[0])
    except* CoordError as errors:
        agent.log.error("%s", errors.exceptions[0])
        is_refused = True  # what is raised here would come out as a group, and not as an exit code
    if is_refused:
        raise SystemExit(REFUSED_EXIT)
    write_line(sys.stdout, {"metrics": agent.metrics})


async def _run_until_told(agent: FleetAgent) -> None:
    """Run ``agent`` until SIGTERM. SIGINT is the worker's affair, which then ends us."""
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(agent.run())
    loop.add_signal_handler(signal.SIGTERM, running.cancel)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    with contextlib.suppress(asyncio.CancelledError):
        await running
