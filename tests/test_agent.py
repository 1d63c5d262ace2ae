"""The agent of a trainer: what it has its training start from, and what it says of verdicts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Literal, cast

import pytest

from coordinator import Message, Settings
from tests.clients import in_loop
from workers import trainer_agent
from workers.partner import Partner
from workers.trainer_agent import TrainerAgent

PARAMETERS = {"x": 0.5}


class FakeTraining:
    """A training process whose input is kept."""

    returncode = 0

    def __init__(self) -> None:
        self.stdin = self
        self.lines: list[dict[str, Any]] = []

    def write(self, line: bytes) -> None:
        self.lines.append(json.loads(line))

    async def drain(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False


class FakeClient:
    """A client that receives what a test says, and then nothing more."""

    def __init__(self, received: list[Message]) -> None:
        self._received = received

    async def messages(self) -> AsyncIterator[Message]:
        for message in self._received:
            yield message


class FakePartner:
    done: dict[str, int] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.sought = 0

    async def seek(self) -> None:
        self.sought += 1

    async def take(self, message: Message) -> None:
        pass


class Listener:
    """A client by which everything can be shared."""

    async def share_pattern(self, pattern: dict[str, Any]) -> None:
        pass


async def given(*received: Message) -> list[dict[str, Any]]:
    """What a trainer that receives this tells its training."""
    agent = TrainerAgent("AI_1", "unix:///nowhere", Settings())
    training = FakeTraining()
    agent._client = cast(Any, FakeClient(list(received)))
    agent._training = cast(Any, training)
    await agent._listen(cast(Partner, FakePartner()))
    return training.lines


def message(
    message_type: str,
    payload: dict[str, Any],
    sender: str = "AI_2",
    stream: Literal["log", "inbox"] = "log",
) -> Message:
    return Message("m", sender, message_type, "t", payload, None, stream, 1)


def feature(sender: str = "AI_2") -> Message:
    component = {"id": "c", "problem": "hill", "parameters": PARAMETERS}
    return message("os_component_share", {"component": component}, sender)


def verdict(word: str, stream: Literal["log", "inbox"] = "log", **more: Any) -> Message:
    payload = {"kind": "feature", "component_id": "c", "verdict": word, "reason": "", **more}
    return message("validation_result", payload, "V_1", stream)


@in_loop
async def test_a_pattern_is_tried_at_once() -> None:
    pattern = {"id": "p", "data": {}}
    lines = await given(message("pattern_share", {"pattern": pattern}))
    assert lines == [{"pattern": pattern, "contributor": "AI_2", "kind": "pattern"}]


@in_loop
async def test_parameters_of_a_component_are_tried_once_it_has_passed() -> None:
    assert await given(feature()) == []
    assert await given(feature(), verdict("failed", score=None)) == []
    (line,) = await given(feature(), verdict("passed", score=0.5))
    data = {"problem": "hill", "parameters": PARAMETERS}
    offered = {"pattern": {"id": "c", "data": data}, "contributor": "AI_2", "kind": "component"}
    assert line == offered


@in_loop
async def test_one_s_own_are_not_tried_again() -> None:
    assert await given(feature("AI_1"), verdict("passed", score=0.5)) == []


@pytest.mark.parametrize(
    ("received", "said"),
    [
        (verdict("failed", "inbox", reason="two\nlines"), "component c: failed: two\\nlines"),
        (
            verdict("passed", "inbox", score=0.25, regression=True, previous_score=0.5),
            "component c: passed, 25.0% of the gap closed; it was 50.0% before",
        ),
        (verdict("passed", "inbox", score=0.25, regression=False, previous_score=None), ""),
        (verdict("not_validated", "inbox", reason="no sandbox"), ""),
        (verdict("failed", reason="of another"), ""),
    ],
    ids=["failed", "regression", "passed", "not validated", "another's"],
)
def test_what_is_wrong_with_ones_own_is_said(
    received: Message, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    in_loop(lambda: given(received))()  # type: ignore[arg-type]
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == ([f"AI_1: {said}"] if said else [])


# -- company ---------------------------------------------------------------------------------------


def agent_of(specialization: str) -> TrainerAgent:
    agent = TrainerAgent("AI_1", "unix:///nowhere", Settings(specialization=specialization))
    agent._client = cast(Any, Listener())
    return agent


async def sought(agent: TrainerAgent, learned: dict[str, Any] | None = None) -> list[int]:
    """How often it has looked for company, before and after it has shared what it learned."""
    partner = FakePartner()
    seeking = asyncio.create_task(agent._seek(cast(Partner, partner)))
    counts = []
    for step in (learned, None):
        await asyncio.sleep(0)
        counts.append(partner.sought)
        if step is not None:
            await agent._share(step)
            await seeking
    seeking.cancel()
    return counts


@in_loop
async def test_it_looks_for_company_once_it_has_something_to_bring() -> None:
    assert await sought(agent_of("file_system"), {"pattern": {"id": "p"}}) == [0, 1]
    assert await sought(agent_of("file_system")) == [0, 0]


@in_loop
async def test_who_does_not_train_looks_for_company_at_once() -> None:
    assert await sought(agent_of("gardening")) == [1, 1]


@in_loop
async def test_who_learns_nothing_looks_for_company_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer_agent, "SEEK_WITHOUT_S", 0.0)
    partner = FakePartner()
    await agent_of("file_system")._seek(cast(Partner, partner))
    assert partner.sought == 1


# -- what was measured -----------------------------------------------------------------------------

MEASURED = {"problem": "buffer_cache", "workload": "w", "evaluations": [[[0.5], 0.1]]}


@in_loop
async def test_what_others_measured_goes_to_training() -> None:
    lines = await given(
        message("message", {"measured": MEASURED}),  # by a stranger still
        hello_of(Settings().specialization),
        message("message", {"measured": MEASURED}),
        message("message", {"measured": MEASURED | {"workload": "w" * 20_000}}),
        message("message", {"text": ""}),
    )
    assert lines == [{"measured": MEASURED, "contributor": "AI_2"}]


class Speaker(Listener):
    """A client that keeps what was sent."""

    def __init__(self, received: list[Message]) -> None:
        self._received = received
        self.sent: list[tuple[str, dict[str, Any]]] = []

    async def messages(self) -> AsyncIterator[Message]:
        for one in self._received:
            yield one

    async def send(self, message_type: str, payload: dict[str, Any]) -> None:
        self.sent.append((message_type, payload))


async def told_by(*received: Message) -> list[tuple[str, dict[str, Any]]]:
    """What a trainer of file_system that received this says of what it measured."""
    agent = agent_of("file_system")
    speaker = Speaker(list(received))
    agent._client = cast(Any, speaker)
    await agent._listen(cast(Partner, FakePartner()))
    await agent._share({"measured": MEASURED})
    return speaker.sent


def hello_of(specialization: str) -> Message:
    return message("hello", {"specialization": specialization})


@in_loop
async def test_what_it_measured_is_told_if_another_trains_for_the_same() -> None:
    told = [("message", {"measured": MEASURED})]
    assert await told_by(hello_of("file_system")) == told
    assert await told_by() == []
    assert await told_by(hello_of("audio")) == []
    assert await told_by(hello_of("file_system"), message("goodbye", {})) == []
