"""The agent process of a trainer: it joins, heartbeats, listens, and shares what training finds.

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
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from coordinator import AsyncClient, CoordError, IdTaken, Message, Settings
from coordinator.errors import BadMessage
from coordinator.messages import HUB
from coordinator.processes import tied_to_parent
from coordinator.specializations import capabilities_of
from workers.launch import training_environment
from workers.lines import METRICS, REFUSED_EXIT, encode_line, read_line, write_line
from workers.partner import Partner
from workers.problems import find_problem
from workers.skills.registry import all_skills, load_skills

log = logging.getLogger("coord.trainer")

LINE_MAX_BYTES = 1024 * 1024
TRAINING_RESTART_S = 1.0
HOLDER_POLL_S = 0.5
SILENCE_S = 10.0
"""A worker that is silent for so long, and for a lease, runs no units that others could not."""
LISTENING_SPELLS = 10

TOO_LATE = frozenset({"session_full", "busy", "not_found", "unknown_target", "draining"})
"""Refusals of what was right when it was said, or as far as one knew."""

WORKER_IS_SILENT = "its worker does not respond"


class WorkerSilent(Exception):
    """The worker that started this agent is stopped, or gone."""


class Agent:
    """``url`` is the server's; the AI's specialization and all else come from ``settings``."""

    def __init__(self, ai_id: str, url: str, settings: Settings) -> None:
        self._ai_id = ai_id
        self._url = url
        self._settings = settings
        self._client = self._new_client()
        self._training: Process | None = None
        self._farewell = "the trainer was stopped"
        self.metrics = dict.fromkeys(METRICS, 0)

    async def run(self) -> None:
        """Take part until cancelled. Raises CoordError when the fleet does not take us."""
        await self._connect()
        write_line(sys.stdout, {"joined": self._client.instance})
        specialization = self._settings.specialization
        most = self._settings.sessions_per_ai
        partner = Partner(self._client, specialization, capabilities_of(specialization), most)
        try:
            async with asyncio.TaskGroup() as tasks:
                if self._trains:
                    tasks.create_task(self._keep_training())
                else:
                    log.warning(
                        "%s: there is nothing to train for %r yet; it takes part without training",
                        self._ai_id,
                        self._settings.specialization,
                    )
                tasks.create_task(self._watch_worker())
                tasks.create_task(self._listen(partner))
                tasks.create_task(partner.seek())
        finally:
            await self._end_training()
            await self._client.close(self._farewell)

    def _new_client(self) -> AsyncClient:
        specialization = self._settings.specialization
        skills = all_skills()
        learned = [word for kind in sorted(skills) for word in skills[kind].capabilities]
        return AsyncClient(
            self._ai_id,
            self._url,
            specialization=specialization,
            capabilities=list(dict.fromkeys([*capabilities_of(specialization), *learned])),
            settings=self._settings,
            profile={"version": version("coord"), "skills": sorted(skills)},
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

    @property
    def _trains(self) -> bool:
        settings = self._settings
        return settings.trainer is not None or find_problem(settings.specialization) is not None

    async def _watch_worker(self) -> None:
        """Raise WorkerSilent once nothing was heard of it for long: what lies in its queue must go
        to others. Time in which this process itself stood still does not count."""
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
        self._farewell = WORKER_IS_SILENT
        raise WorkerSilent

    async def _listen(self, partner: Partner) -> None:
        async for message in self._client.messages():
            await partner.take(message)
            self._count(partner.done)
            payload = message.payload
            if message.message_type == "pattern_share":
                await self._offer(payload["pattern"], message.sender_id)
            elif message.message_type == "os_component_share":
                await self._offer(as_pattern(payload["component"]), _makers(message))
            elif message.message_type == "error":
                level = logging.INFO if payload["code"] in TOO_LATE else logging.WARNING
                log.log(level, "%s: refused: %s", self._ai_id, payload["detail"])

    def _count(self, more: Mapping[str, int]) -> None:
        """Tell the worker of what was done, if it is news."""
        if any(self.metrics[name] != count for name, count in more.items()):
            self.metrics |= more
            write_line(sys.stdout, {"metrics": self.metrics})

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
        run = self._client.instance.rpartition(".")[2]
        if self._settings.trainer:
            training = ["workers.own_training", self._ai_id, self._settings.trainer]
        else:
            training = ["workers.training", self._ai_id, self._settings.specialization, run]
        command = [sys.executable, "-m", *training]
        self._training = await asyncio.create_subprocess_exec(
            *tied_to_parent(command),
            stdin=PIPE,
            stdout=PIPE,
            limit=max(LINE_MAX_BYTES, 2 * self._settings.message_max_bytes),
            env=training_environment(),
            process_group=0,  # Ctrl-C is the worker's affair
        )
        assert self._training.stdout is not None
        await self._offer_known_patterns()
        async for line in self._training.stdout:
            try:
                await self._share(read_line(line))
            except BadMessage as error:
                log.warning("%s: not shared: %s", self._ai_id, error.detail)
        if await self._training.wait() == REFUSED_EXIT:
            raise CoordError(f"{self._settings.trainer} cannot be trained with; see above")

    async def _share(self, learned: dict[str, Any]) -> None:
        """Share what a line of the training process tells: any of pattern, code, performance."""
        code = learned.get("code")
        if "pattern" in learned:
            await self._client.share_pattern(learned["pattern"])
            self.metrics["patterns_generated"] += 1
        if code:
            await self._client.share_code(code)
            self.metrics["components_created"] += 1
        if code and learned.get("performance"):
            await self._client.report(code["id"], learned["performance"])
        write_line(sys.stdout, {"metrics": self.metrics})

    async def _end_training(self) -> None:
        if self._training is not None and self._training.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._training.kill()
            await self._training.wait()


def _makers(message: Message) -> str:
    """Who made what a message shares: what came of a collaboration is of several."""
    contributors = message.payload.get("contributors")
    if message.sender_id == HUB and isinstance(contributors, list):
        return ", ".join(map(str, contributors))
    return message.sender_id


def as_pattern(component: dict[str, Any]) -> dict[str, Any]:
    """What a component teaches: the parameters it was built with, if it tells them."""
    data = {name: component.get(name) for name in ("problem", "parameters")}
    return {"id": str(component.get("id")), "data": data}


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
    for fault in load_skills().faults:
        log.warning("%s: %s", arguments.ai_id, fault)
    is_refused = False
    try:
        asyncio.run(run_until_told(agent))
    except* WorkerSilent:
        log.warning("%s: %s", arguments.ai_id, WORKER_IS_SILENT)
    except* CoordError as errors:
        log.error("%s", errors.exceptions[0])
        is_refused = True  # what is raised here would come out as a group, and not as an exit code
    if is_refused:
        raise SystemExit(REFUSED_EXIT)
    write_line(sys.stdout, {"metrics": agent.metrics})


if __name__ == "__main__":
    main()
