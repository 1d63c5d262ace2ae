"""How a trainer works with others: what it answers, what it asks for, what came of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from coordinator import AsyncClient, Message
from coordinator.messages import one_line
from coordinator.specializations import FEATURES, SEEKS, fits
from coordinator.work import END_STATES
from workers.problems import find_joint_problem, find_problem
from workers.skills.policies import problem_for
from workers.skills.skill import SkillError

LONGEST_REASON = 400
SEEK_EVERY_S = 10.0
SEEK_BELOW = 2
"""A trainer looks for company while it takes part in fewer collaborations than this."""
FIRST_SOUGHT = 2
EFFORT = {"rounds": 6, "evaluations": 40}
"""What a trainer asks of others unbidden: some seconds of work, beside their own training."""


class Answer(NamedTuple):
    accept: bool
    reason: str


def answer_to(
    request: dict[str, Any],
    is_asked_by_name: bool,
    specialization: str,
    capabilities: Sequence[str],
    active: int,
    most: int,
) -> Answer:
    """Whether to take part in a collaboration, and why not.

    One takes part if it fits by its specialization or by a capability, or is asked by name, and
    takes part in fewer than ``most`` others. Without a plan of the initiator's own there must be
    something to train; in joining two components, a problem that both specializations have a part
    in: the initiator's, or that of another who is sought if it takes no part itself.
    """
    if active >= most:
        return Answer(False, f"I take part in {active} collaborations already")
    partner = str(request.get("partner_specialization"))
    if request.get("plan") is None:
        reason = _unsolvable(request, specialization, partner)
        if reason is not None:
            return Answer(False, reason)
    sought = _sought(request)
    if sought:
        is_fit = specialization in sought or any(word in sought for word in capabilities)
    else:
        is_fit = specialization == partner or fits(partner, specialization, list(capabilities))
    if is_asked_by_name or is_fit:
        return Answer(True, "")
    return Answer(False, f"{specialization} is not what is looked for")


def _unsolvable(request: dict[str, Any], specialization: str, partner: str) -> str | None:
    """Why the units of a collaboration's type would fail; None if they need not."""
    if request.get("type") != "cross_specialization":
        return decline_reason(request.get("requirements") or {}, specialization)
    others = [partner] if partner else [w for w in _sought(request) if w != specialization]
    if any(find_joint_problem(specialization, other) for other in others):
        return None
    named = " or ".join(others) or "anybody that is sought"
    return f"there is no problem that {specialization} and {named} both have a part in"


def _sought(request: dict[str, Any]) -> list[str]:
    return [str(word) for word in request.get("seeking_expertise") or []]


def decline_reason(requirements: dict[str, Any], specialization: str) -> str | None:
    """Why nothing can be developed for ``requirements``; None if something can."""
    try:
        problem_for(requirements, specialization)
    except SkillError as error:
        return one_line(error.detail, LONGEST_REASON)
    return None


def lacking(specialization: str, known: Iterable[str]) -> list[str]:
    """Features that partners of a specialization develop, and that the fleet does not have."""
    there = set(known)
    return [
        feature
        for feature, owner in FEATURES.items()
        if owner in SEEKS.get(specialization, ()) and find_problem(owner) and feature not in there
    ]


class Partner:
    """Answers for one trainer, and seeks company for it. It takes ``messages`` as they come."""

    def __init__(
        self,
        client: AsyncClient,
        specialization: str,
        capabilities: Sequence[str],
        most_sessions: int,
    ) -> None:
        self._client = client
        self._specialization = specialization
        self._capabilities = list(capabilities)
        self._most_sessions = most_sessions
        self._active: set[str] = set()
        self._requested: set[str] = set()
        self._sought = 0
        self.done: Counter[str] = Counter()

    async def take(self, message: Message) -> None:
        """Do what ``message`` asks of a partner."""
        match message.message_type:
            case "collaboration_request":
                await self._answer(message)
            case "collaboration_update":
                self._note_session(message.payload)
            case "feature_request":
                self._requested.add(str(message.payload.get("feature")))
            case "feature_response":
                await self._check_feature(message.payload)
            case "feature_update":
                self._note_feature(message.payload)
            case "gap" | "training_sync":
                self._active.clear()  # ends were missed, or sessions lost with a server's data

    async def seek(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look for company for ever: at first among the opportunities that were offered."""
        for opportunity in self._client.sync["collaboration_opportunities"][:FIRST_SOUGHT]:
            kind = opportunity["suggested_type"]
            if find_joint_problem(self._specialization, opportunity["specialization"]) is None:
                kind = "performance_optimization"  # what anybody can help with
            await self._ask(kind, opportunity["ai_id"])
        while True:
            await sleep(SEEK_EVERY_S)
            if len(self._active) < SEEK_BELOW:
                await self._ask_somebody()
            await self._request_what_is_lacking()

    async def _answer(self, message: Message) -> None:
        answer = answer_to(
            message.payload,
            message.target_ai == self._client.ai_id,
            self._specialization,
            self._capabilities,
            len(self._active),
            self._most_sessions,
        )
        payload = {"session_id": message.payload["session_id"], **answer._asdict()}
        await self._client.send("collaboration_response", payload)

    def _note_session(self, update: dict[str, Any]) -> None:
        session_id, status = update["session_id"], update["status"]
        if status not in END_STATES:
            self._active.add(session_id)
            return
        self._active.discard(session_id)
        if status == "completed":
            self.done["collaborations_completed"] += 1

    async def _check_feature(self, assigned: dict[str, Any]) -> None:
        reason = decline_reason(assigned["original_request"], self._specialization)
        if reason is not None:
            payload = {"request_id": assigned["request_id"], "accept": False, "reason": reason}
            await self._client.send("feature_response", payload)

    def _note_feature(self, update: dict[str, Any]) -> None:
        if update["status"] == "completed" and self._client.ai_id in update["assignees"]:
            self.done["features_implemented"] += 1

    async def _ask_somebody(self) -> None:
        """Ask everybody for one of the kinds of work that make sense here, each in its turn."""
        if find_problem(self._specialization) is None:
            return
        sought = SEEKS.get(self._specialization, ())
        kinds = ["performance_optimization", "feature_development"]
        if any(find_joint_problem(self._specialization, partner) for partner in sought):
            kinds.insert(0, "cross_specialization")
        kind = kinds[self._sought % len(kinds)]
        self._sought += 1
        await self._ask(kind, "")

    async def _ask(self, kind: str, target: str) -> None:
        if find_problem(self._specialization) is None:
            return
        seeking = list(SEEKS.get(self._specialization, ()))
        if kind == "performance_optimization":
            seeking.append(self._specialization)
        payload = {
            "type": kind,
            "target_ai": target,
            "description": f"{self._client.ai_id} looks for company in {self._specialization}",
            "expertise_offered": self._capabilities,
            "seeking_expertise": seeking,
            "requirements": {"specialization": self._specialization, **EFFORT},
        }
        await self._client.send("collaboration_request", payload)

    async def _request_what_is_lacking(self) -> None:
        """Ask once for each feature that partners could develop and the fleet does not have."""
        wanted = [f for f in lacking(self._specialization, ()) if f not in self._requested]
        if not wanted:
            return
        page = await self._client.query("features", limit=100, timeout_s=None)
        known = [str(item["component"].get("name")) for item in page.items]
        for feature in lacking(self._specialization, known):
            if feature not in self._requested:
                self._requested.add(feature)
                await self._client.send("feature_request", {"feature": feature})
                return
