"""The agent process of a trainer: it joins, heartbeats, listens, and shares what training finds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from coordinator import AsyncClient, CoordError, Message, Settings
from coordinator.errors import BadMessage
from coordinator.messages import one_line
from coordinator.processes import tied_to_parent
from coordinator.specializations import capabilities_of
from coordinator.validation.models import verdict_in_words
from workers.fleet_agent import FleetAgent, run_agent
from workers.launch import training_environment
from workers.lines import METRICS, REFUSED_EXIT, encode_line, read_line, write_line
from workers.offers import Offer, Unproven, offer_of
from workers.partner import Partner
from workers.problems import find_problem
from workers.skills.registry import all_skills, load_skills

log = logging.getLogger("coord.trainer")

LINE_MAX_BYTES = 1024 * 1024
TRAINING_RESTART_S = 1.0
KNOWN_MAX = 100
PEERS_MAX = 100
MEASURED_MAX_BYTES = 16 * 1024
"""What is longer is not what a trainer says of a few evaluations."""
LONGEST_TOLD = 600
SEEK_WITHOUT_S = 15.0
"""A trainer that has learned nothing for so long looks for company all the same."""

TOO_LATE = frozenset({"session_full", "busy", "not_found", "unknown_target", "draining"})
"""Refusals of what was right when it was said, or as far as one knew."""


class TrainerAgent(FleetAgent):
    """A trainer. ``url`` is the server's; specialization and all else come from ``settings``."""

    role = "trainer"

    def __init__(self, ai_id: str, url: str, settings: Settings) -> None:
        super().__init__(ai_id, url, settings)
        self._training: Process | None = None
        self._unproven = Unproven()
        self._has_learned = asyncio.Event()
        self._peers: set[str] = set()
        self.metrics = dict.fromkeys(METRICS, 0)

    def new_client(self) -> AsyncClient:
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

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        specialization = self._settings.specialization
        most = self._settings.sessions_per_ai
        partner = Partner(self._client, specialization, capabilities_of(specialization), most)
        if self._trains:
            tasks.create_task(self._keep_training())
        else:
            log.warning(
                "%s: there is nothing to train for %r yet; it takes part without training",
                self._ai_id,
                specialization,
            )
        tasks.create_task(self._listen(partner))
        tasks.create_task(self._seek(partner))

    async def end(self) -> None:
        if self._training is not None and self._training.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._training.kill()
            await self._training.wait()

    @property
    def _trains(self) -> bool:
        settings = self._settings
        return settings.trainer is not None or find_problem(settings.specialization) is not None

    async def _seek(self, partner: Partner) -> None:
        """Look for company as soon as there is something to bring: what two join is the best that
        each has, and who only begins to learn has none."""
        if self._trains:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._has_learned.wait(), SEEK_WITHOUT_S)
        await partner.seek()

    async def _listen(self, partner: Partner) -> None:
        async for message in self._client.messages():
            await partner.take(message)
            self._count(partner.done)
            payload = message.payload
            match message.message_type:
                case "hello" if payload.get("specialization") == self._settings.specialization:
                    self._peers.add(message.sender_id)
                case "pattern_share":
                    await self._offer(Offer(payload["pattern"], message.sender_id))
                case "message" if "measured" in payload and message.sender_id in self._peers:
                    heard = {"measured": payload["measured"], "contributor": message.sender_id}
                    if len(encode_line(heard)) <= MEASURED_MAX_BYTES:
                        await self._tell_training(heard)
                case "goodbye":
                    self._peers.discard(message.sender_id)
                case "code_share" | "os_component_share":
                    self._unproven.add(message)
                case "validation_result":
                    await self._take_verdict(message)
                case "error":
                    level = logging.INFO if payload["code"] in TOO_LATE else logging.WARNING
                    log.log(level, "%s: refused: %s", self._ai_id, payload["detail"])

    async def _take_verdict(self, message: Message) -> None:
        """Start from what has passed; say so when one's own, which we are told of in the inbox, did
        not, or is worth less than it was."""
        verdict = message.payload
        offer = self._unproven.judged(verdict)
        if offer is not None:
            await self._offer(offer)
        is_bad = verdict["verdict"] == "failed" or verdict.get("regression")
        if message.stream == "inbox" and is_bad:
            told = f"component {verdict['component_id']}: {verdict_in_words(verdict)}"
            if verdict.get("regression"):
                told += f"; it was {verdict['previous_score']:.1%} before"
            log.warning("%s: %s", self._ai_id, one_line(told, LONGEST_TOLD))

    def _count(self, more: Mapping[str, int]) -> None:
        """Tell the worker of what was done, if it is news."""
        if any(self.metrics[name] != count for name, count in more.items()):
            self.metrics |= more
            write_line(sys.stdout, {"metrics": self.metrics})

    async def _offer_known(self) -> None:
        """What the fleet learned before this training began. Components are left out: those of
        trainers are written from a pattern, and have no parameters."""
        wanted = {"specialization": self._settings.specialization}
        page = await self._client.query("patterns", wanted, limit=KNOWN_MAX, timeout_s=None)
        for item in reversed(page.items):
            await self._offer(Offer(item["pattern"], item["contributor"]))
        page = await self._client.query("features", wanted, limit=KNOWN_MAX, timeout_s=None)
        for item in reversed(page.items):
            if item["integration_tested"]:
                await self._offer(offer_of(item["component"], item["contributor"]))

    async def _meet_peers(self) -> None:
        """Who trains the same: they want to know what is measured here, and are listened to."""
        wanted = {"specialization": self._settings.specialization}
        page = await self._client.query("ais", wanted, limit=PEERS_MAX, timeout_s=None)
        self._peers.update({item["ai_id"] for item in page.items} - {self._ai_id})

    async def _offer(self, offer: Offer) -> None:
        if offer.contributor != self._ai_id:
            await self._tell_training(offer._asdict())

    async def _tell_training(self, line: dict[str, Any]) -> None:
        stdin = self._training.stdin if self._training is not None else None
        if stdin is None or stdin.is_closing():
            return
        with contextlib.suppress(ConnectionError):
            stdin.write(encode_line(line))
            await stdin.drain()

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
        await self._meet_peers()
        await self._offer_known()
        async for line in self._training.stdout:
            try:
                await self._share(read_line(line))
            except BadMessage as error:
                log.warning("%s: not shared: %s", self._ai_id, error.detail)
        if await self._training.wait() == REFUSED_EXIT:
            raise CoordError(f"{self._settings.trainer} cannot be trained with; see above")

    async def _share(self, learned: dict[str, Any]) -> None:
        """Share what a line of the training process tells: what was measured, if that is of use to
        anybody; or any of pattern, code, performance."""
        if "measured" in learned:
            if self._peers:
                await self._client.send("message", {"measured": learned["measured"]})
            return
        code = learned.get("code")
        if "pattern" in learned:
            await self._client.share_pattern(learned["pattern"])
            self.metrics["patterns_generated"] += 1
        if code:
            await self._client.share_code(code)
            self.metrics["components_created"] += 1
        if code and learned.get("performance"):
            await self._client.report(code["id"], learned["performance"])
        self._has_learned.set()
        write_line(sys.stdout, {"metrics": self.metrics})


def tell_faults(ai_id: str) -> None:
    """What is wrong with skills that other packages bring."""
    for fault in load_skills().faults:
        log.warning("%s: %s", ai_id, fault)


if __name__ == "__main__":
    run_agent(TrainerAgent, tell_faults)
