"""The trainer in shell does what it says, and shows its token to nobody."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator import Client
from tests.clients import RealFleet, RunningGateway
from tests.example_runs import EXAMPLES, LIMIT_S, ExampleRun, token_file
from tests.gateway_clients import enroll

SCRIPT = EXAMPLES / "shell_trainer.sh"
AWKWARD_TOKEN = 'an "awkward" token with a \\ and a % in it: 3f1c9'


@pytest.fixture(scope="module")
def gateway(fleet: RealFleet) -> Iterator[RunningGateway]:
    with RunningGateway(fleet) as gateway:
        yield gateway


@pytest.fixture
def url(gateway: RunningGateway) -> str:
    return f"coord://localhost:{gateway.address[1]}"


@pytest.fixture
def other(fleet: RealFleet, ai: str) -> Iterator[Client]:
    with fleet.client(f"{ai}_other") as other:
        yield other


def received(client: Client, message_type: str) -> dict[str, Any]:
    """The next message of that type, as it stands on a line."""
    while (message := client.receive(LIMIT_S)) is not None:
        if message.message_type == message_type:
            return {"sender_id": message.sender_id, "payload": message.payload}
    raise AssertionError(f"no {message_type} came")


def printed(run: ExampleRun) -> list[dict[str, Any]]:
    """The messages on the lines that are whole."""
    lines = run.said().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def arguments_of_group(leader: int) -> str:
    """All that ``ps`` shows of the processes that ``leader`` started, and of itself."""
    shown = b""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == leader:
                    shown += (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile
    return shown.decode()


def test_it_is_short() -> None:
    assert len(SCRIPT.read_text().splitlines()) < 40


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("given", ["", AWKWARD_TOKEN], ids=["coord's token", "another"])
def test_it_shares_and_prints_what_passes(
    fleet: RealFleet, url: str, ai: str, other: Client, tmp_path: Path, shell: str, given: str
) -> None:
    token = enroll(fleet, ai, token=given or None)
    environment = {"COORD_URL": url, "COORD_TOKEN_FILE": str(token_file(tmp_path, token))}
    with ExampleRun(tmp_path, shell, str(SCRIPT), ai, **environment) as run:
        share = received(other, "pattern_share")
        other.share_pattern({"id": f"{ai}.note", "type": "note", "data": {}})
        run.wait_until_said(f"{ai}.note")
        shown = arguments_of_group(run.process.pid)
    machine = share["payload"]["pattern"]["data"]
    assert share["sender_id"] == ai
    assert machine["processors"] == os.cpu_count()
    assert machine["system"].startswith(os.uname().sysname)
    first, *_, last = printed(run)
    assert first["message_type"] == "training_sync"
    assert (last["sender_id"], last["message_type"]) == (other.ai_id, "pattern_share")
    assert "nc\0localhost\0" in shown
    assert token not in shown


def test_a_token_in_the_environment_will_do(
    fleet: RealFleet, url: str, ai: str, tmp_path: Path
) -> None:
    environment = {"COORD_URL": url, "COORD_TOKEN": enroll(fleet, ai)}
    with ExampleRun(tmp_path, "sh", str(SCRIPT), ai, **environment) as run:
        run.wait_until_said('"training_sync"')


def test_it_prints_why_it_was_refused_and_ends(url: str, ai: str, tmp_path: Path) -> None:
    environment = {"COORD_URL": url, "COORD_TOKEN": "nobody's"}
    with ExampleRun(tmp_path, "sh", str(SCRIPT), ai, **environment) as run:
        run.wait_for_end()
    (refusal,) = printed(run)
    assert refusal["payload"]["code"] == "bad_login"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"COORD_TOKEN": "t", "COORD_URL": "coords://localhost:6000"}, "nc speaks no TLS"),
        ({}, "COORD_TOKEN_FILE"),
    ],
)
def test_it_says_what_it_needs(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    with ExampleRun(tmp_path, "sh", str(SCRIPT), **environment) as run:
        assert run.wait_for_end() == 2
    assert said in run.said()
