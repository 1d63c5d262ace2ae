"""The examples of skills, trainer classes and own plans do what they say, in real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import examples.skill
from coordinator import Client
from coordinator.processes import tied_to_parent
from tests.clients import RealFleet
from tests.servers import REPOSITORY, python_environment, wait_for
from tests.test_docs import OWN_AIS, blocks
from tests.trainers import Start, instance

EXAMPLES = REPOSITORY / "examples"
LIMIT_S = 30.0


@pytest.mark.parametrize("name", ["skill.py", "ask.py", "trainer_class.py"])
def test_they_are_short_and_shown_in_full(name: str) -> None:
    text = (EXAMPLES / name).read_text()
    assert text in blocks(OWN_AIS, "python")
    assert len(text.splitlines()) < 40


def shared_by(ai: str, client: Client) -> dict[str, dict[str, Any]]:
    """The next pattern, component and report that ``ai`` shares, by their types."""
    found: dict[str, dict[str, Any]] = {}
    while not {"pattern_share", "code_share", "performance_report"} <= found.keys():
        message = client.receive(timeout_s=LIMIT_S)
        assert message is not None, f"{ai} shared nothing but {list(found)}"
        if message.sender_id == ai:
            found[message.message_type] = message.payload
    return found


def check_shared(found: dict[str, dict[str, Any]]) -> None:
    """It is what the class measured, and what it built works."""
    saved = found["pattern_share"]["pattern"]["data"]["time_saved"]
    assert -10 < saved < 1
    assert found["pattern_share"]["pattern"]["id"].endswith(".top_ten_by_heap")
    assert found["performance_report"]["component_id"] == found["code_share"]["code"]["id"]
    assert found["performance_report"]["performance"].keys() == {"performance_gain"}
    names: dict[str, Any] = {}
    exec(found["code_share"]["code"]["code"], names)  # our own example's
    assert names["top_ten"](list(range(100)))[-1] == 90


def test_a_trainer_class_in_the_current_directory_trains(
    fleet: RealFleet, ai: str, tmp_path: Path
) -> None:
    """As the console script does it, which does not have that directory on its path."""
    shutil.copy(EXAMPLES / "trainer_class.py", tmp_path / "mine.py")
    own = ["--trainer", "mine:TopTen", "--redis", fleet.url, "--json"]
    command = [sys.executable, "-P", "-m", "cli.main", "trainer", ai, *own]
    with (
        fleet.client(f"{ai}_other") as other,
        subprocess.Popen(
            tied_to_parent(command),
            cwd=tmp_path,
            env=python_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            check_shared(shared_by(ai, other))
            process.send_signal(signal.SIGTERM)
            printed, errors = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    made = json.loads(printed)
    assert made["patterns_generated"] >= 1
    assert made["components_created"] >= 1
    assert "Traceback" not in errors


def test_a_trainer_class_trains_in_rq_s_own_worker(
    fleet: RealFleet, ai: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COORD_TRAINER", "examples.trainer_class:TopTen")
    with fleet.client(f"{ai}_other") as other:
        start(ai)
        check_shared(shared_by(ai, other))


def test_a_worker_whose_class_cannot_be_used_says_so_and_ends(
    fleet: RealFleet, ai: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COORD_TRAINER", "examples.trainer_class:Absent")
    trainer = start(ai)
    assert trainer.process.wait(LIMIT_S) == 1
    assert "--trainer examples.trainer_class:Absent: AttributeError: module" in trainer.said()
    assert "Traceback" not in trainer.said()
    wait_for(lambda: ai not in fleet.live(), what="it to be gone")


def test_a_plan_runs_on_a_worker_that_found_the_skill_by_its_entry_point(
    fleet: RealFleet, ai: str, start: Start, tmp_path: Path
) -> None:
    (info,) = (tmp_path / "skills").iterdir()
    (info / "entry_points.txt").write_text(entry_points_of_the_example())
    trainer = start(ai)
    wait_for(lambda: instance(fleet, ai), what=trainer.said() or f"{ai} to join")
    assert b"text_analysis" in (fleet.redis.hget(fleet.keys.ai(ai), "capabilities") or b"")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "ask.py")],
        env=python_environment(COORD_REDIS_URL=fleet.url),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.stdout == "completed {'words': 11, 'different': 8}\n", done.stderr


def entry_points_of_the_example() -> str:
    """What an installed package has of that part of its pyproject.toml which the example shows."""
    assert examples.skill.__doc__ is not None
    shown = tomllib.loads(examples.skill.__doc__.partition("runs:")[2])
    lines = [f"[{group}]" for group in shown["project"]["entry-points"]]
    for skills in shown["project"]["entry-points"].values():
        lines += [f"{kind} = {where}" for kind, where in skills.items()]
    return os.linesep.join([*lines, ""])
