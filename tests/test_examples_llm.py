"""The trainer by a language model: from a feature request to a component in the asker's hands."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError, UnexpectedModelBehavior
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from coordinator import AsyncClient, Client, Message
from examples import llm_trainer
from tests.clients import RealFleet, RunningGateway, in_loop, receive_until
from tests.example_runs import EXAMPLES, LIMIT_S, ExampleRun, token_file
from tests.gateway_clients import enroll
from tests.servers import python_environment

KEY = "sk-of-the-tests"
WRITTEN: dict[str, Any] = {
    "name": "ini_parser",
    "code": "def parse(text):\n    return dict(line.split('=', 1) for line in text.split())\n",
    "explanation": "One pass over the lines.",
    "parameters": [{"name": "separator", "default": "=", "meaning": "what ends a name"}],
    "dependencies": [],
}
SHARED: dict[str, Any] = {
    **{name: value for name, value in WRITTEN.items() if name != "code"},
    "implementation": WRITTEN["code"],
    "language": "python",
}

Answer = Callable[[list[ModelMessage], AgentInfo], ModelResponse]


@pytest.fixture(scope="module")
def gateway(fleet: RealFleet) -> Iterator[RunningGateway]:
    with RunningGateway(fleet) as gateway:
        yield gateway


@pytest.fixture
def skill(ai: str) -> str:
    """What only this test's trainer is capable of."""
    return ai.removeprefix("AI_")


@pytest.fixture
def feature(skill: str) -> str:
    return f"parser_{skill}"


@pytest.fixture(params=["redis", "gateway"])
def client(
    request: pytest.FixtureRequest, fleet: RealFleet, gateway: RunningGateway, ai: str, skill: str
) -> AsyncClient:
    """The trainer's, by either way in."""
    if request.param == "redis":
        return fleet.async_client(ai, capabilities=[skill])
    url = f"coord://127.0.0.1:{gateway.address[1]}"
    return fleet.async_client(ai, url=url, token=enroll(fleet, ai), capabilities=[skill])


@pytest.fixture
def client_by_redis(fleet: RealFleet, ai: str, skill: str) -> AsyncClient:
    return fleet.async_client(ai, capabilities=[skill])


@asynccontextmanager
async def training(client: AsyncClient, model: Model) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group, client:
        group.create_task(llm_trainer.train(client, model))
        yield


def call(info: AgentInfo, arguments: dict[str, Any]) -> ModelResponse:
    return ModelResponse([ToolCallPart(info.output_tools[0].name, arguments)])


@in_loop
async def test_what_the_model_wrote_reaches_who_asked_for_it(
    fleet: RealFleet, client: AsyncClient, feature: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = TestModel(custom_output_args=WRITTEN)
    async with training(client, model), fleet.async_client(f"{client.ai_id}_other") as other:
        update = await other.request_feature(feature, wait_s=LIMIT_S)
        came = await receive_until(other, lambda m: m.message_type == "os_component_share")
    assert (update.status, update.participants) == ("completed", [client.ai_id])
    share = came[-1]
    assert share.sender_id == client.ai_id
    assert share.target_ai == share.payload["original_requestor"] == other.ai_id
    assert share.payload["feature_name"] == feature
    component = share.payload["component"]
    assert component == update.component
    assert component.pop("id")
    assert component == {**SHARED, "written_by": "test"}
    printed = f"{feature} for {other.ai_id}: shared ini_parser (not validated yet)\n"
    assert capsys.readouterr().out == printed


@in_loop
async def test_the_model_is_told_what_is_wanted_and_what_is_no_python(
    fleet: RealFleet, client_by_redis: AsyncClient, feature: str
) -> None:
    told: list[str] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        told.append(str(messages[-1].parts))
        code = WRITTEN["code"] if len(told) > 1 else "def parse(text)"
        return call(info, {**WRITTEN, "code": code})

    async with (
        training(client_by_redis, FunctionModel(answer)),
        fleet.async_client(f"{client_by_redis.ai_id}_other") as other,
    ):
        update = await other.request_feature(feature, {"dialect": "INI"}, wait_s=LIMIT_S)
    assert update.component is not None
    assert update.component["implementation"] == WRITTEN["code"]
    wanted, wrong = told
    assert json.dumps({"feature": feature, "requirements": {"dialect": "INI"}}) in wanted
    assert "the code is not Python: expected ':'" in wrong


def raising(error: Exception) -> Answer:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise error

    return answer


def too_much(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    return call(info, {**WRITTEN, "code": "#" * 300_000})


def never_python(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    return call(info, {**WRITTEN, "code": "def"})


async def never(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    await asyncio.Event().wait()
    return call(info, WRITTEN)


async def reason_for_declining(other: AsyncClient, ai: str, feature: str) -> str:
    """What the trainer says when it is asked."""
    request = await other.request_feature(feature)

    def is_declined(message: Message) -> bool:
        is_update = message.payload.get("request_id") == request.session_id
        return is_update and ai in message.payload["declined"]

    came = await receive_until(other, is_declined)
    await other.send("cancel", {"session_id": request.session_id})
    return str(came[-1].payload["declined"][ai])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            raising(ModelHTTPError(401, "m", f"wrong key {KEY}")),
            "the model's endpoint answered with HTTP status 401",
        ),
        (raising(ModelAPIError("m", f"no way to {KEY}")), "the model's endpoint cannot be reached"),
        (
            raising(UnexpectedModelBehavior(f"odd\nkey: {KEY}")),
            "the model wrote no component: odd",
        ),
        (raising(IndexError(KEY)), "the model wrote no component: IndexError"),
        (never_python, "the model wrote no component: Exceeded maximum output retries (2)"),
        (too_much, "what the model wrote cannot be shared: the message has "),
        (never, "the model took longer than 0.2 s"),
    ],
)
@in_loop
async def test_an_error_of_the_model_is_told_as_the_reason_for_declining(
    fleet: RealFleet,
    client_by_redis: AsyncClient,
    feature: str,
    answer: Answer,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if answer is never:
        monkeypatch.setattr(llm_trainer, "LIMIT_S", 0.2)
    async with (
        training(client_by_redis, FunctionModel(answer)),
        fleet.async_client(f"{client_by_redis.ai_id}_other") as other,
    ):
        told = [await reason_for_declining(other, client_by_redis.ai_id, feature) for _ in "12"]
    assert told[0] == told[1]  # it goes on after the first
    assert told[0].startswith(reason)
    assert KEY not in told[0]


# -- as a program, with a model behind an endpoint -------------------------------------------------


class Endpoint(ThreadingHTTPServer):
    """Answers chat completions: with a component, and when it is told so with an error."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Completions)
        self.asked: list[tuple[str, str | None, dict[str, Any]]] = []
        self.fails = False
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class Completions(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        if self.server.fails:
            self._send(403, {"error": {"message": f"not with {KEY}"}})
            return
        function = {
            "name": body["tools"][0]["function"]["name"],
            "arguments": json.dumps(WRITTEN),
        }
        calls = [{"id": "call-1", "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        told = {"id": "1", "object": "chat.completion", "created": 1, "model": "writer-1.2"}
        self._send(200, {**told, "choices": [choice]})

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing to the test's output."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        thread = Thread(target=endpoint.serve_forever, args=(0.05,))
        thread.start()
        yield endpoint
        endpoint.shutdown()
        thread.join()


@pytest.fixture
def trainer(
    fleet: RealFleet,
    gateway: RunningGateway,
    endpoint: Endpoint,
    ai: str,
    skill: str,
    tmp_path: Path,
) -> Iterator[ExampleRun]:
    environment = python_environment(
        COORD_URL=f"coord://127.0.0.1:{gateway.address[1]}",
        COORD_TOKEN_FILE=str(token_file(tmp_path, enroll(fleet, ai))),
        OPENAI_BASE_URL=endpoint.url,
        OPENAI_API_KEY=KEY,
        OPENAI_MODEL="writer-1",
    )
    script = str(EXAMPLES / "llm_trainer.py")
    with ExampleRun(tmp_path, sys.executable, script, ai, skill, **environment) as run:
        yield run


@pytest.fixture
def other(fleet: RealFleet, ai: str, trainer: ExampleRun) -> Iterator[Client]:
    with fleet.client(f"{ai}_other") as other:
        yield other


def test_it_writes_by_the_endpoint_of_its_environment(
    endpoint: Endpoint, trainer: ExampleRun, other: Client, feature: str
) -> None:
    update = other.request_feature(feature, wait_s=LIMIT_S)
    assert update.status == "completed", trainer.said()
    assert update.component is not None
    assert update.component["written_by"] == "writer-1.2"
    ((path, authorization, body),) = endpoint.asked
    assert (path, authorization) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert body["model"] == "writer-1"
    trainer.wait_until_said("shared ini_parser (not validated yet)")


def test_it_declines_when_its_endpoint_does(
    endpoint: Endpoint, trainer: ExampleRun, other: Client, feature: str
) -> None:
    endpoint.fails = True
    other.request_feature(feature)
    trainer.wait_until_said("declined, the model's endpoint answered with HTTP status 403\n")
    assert KEY not in trainer.said()


def test_without_a_model_it_says_what_to_set(tmp_path: Path) -> None:
    script = str(EXAMPLES / "llm_trainer.py")
    with ExampleRun(tmp_path, sys.executable, script, **python_environment()) as run:
        assert run.wait_for_end() == 1
    assert run.said().startswith("set OPENAI_MODEL to the model's name")
