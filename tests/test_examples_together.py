"""Two AIs that work together by the example, by either way into the fleet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients import GatewayFleet
from tests.example_runs import ExampleRun
from tests.servers import REPOSITORY, python_environment, wait_for

EXAMPLE = REPOSITORY / "examples" / "together.py"
LIMIT_S = 30.0


@pytest.fixture(params=["redis", "gateway"])
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.one_server
def test_one_asks_and_one_answers(door: str, real_url: str, tmp_path: Path) -> None:
    with GatewayFleet(real_url) as fleet:

        def environment(ai: str) -> dict[str, str]:
            if door == "redis":
                return python_environment(COORD_REDIS_URL=real_url)
            return python_environment(
                COORD_URL=fleet.url_of_gateway, COORD_TOKEN=f"{fleet.token(ai)}\n"
            )

        command = [sys.executable, str(EXAMPLE)]
        with ExampleRun(tmp_path, *command, "answer", **environment("AI_answer")) as answering:
            wait_for(lambda: "AI_answer" in fleet.live(), LIMIT_S, "AI_answer to join")
            asked = subprocess.run(
                [*command, "ask"],
                env=environment("AI_ask"),
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
            assert answering.wait_for_end() == 0, answering.said()
    reason = "no units: nobody here has the skills for them; share a component to end it"
    words = {"to": 2, "be": 2, "or": 1, "not": 1}
    said = ["pending ", f"active {reason}", "completed ", f"{words}", ""]
    assert asked.stdout.split("\n") == said, asked.stderr
