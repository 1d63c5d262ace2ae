"""Skills that trainers under test have: they find them by entry points, as they would anybody's."""

from __future__ import annotations

import os
import time
from pathlib import Path

from coordinator.work import Unit
from workers.skills.skill import Output, UnitContext

POLL_S = 0.005
LIMIT_S = 60.0

ENTRY_POINTS = """\
[coord.skills]
echo = tests.skills_for_tests:Echo
gate = tests.skills_for_tests:Gate
share = tests.skills_for_tests:Share
"""


def install(directory: Path) -> Path:
    """Make ``directory`` one that, on the path, brings the skills of this file."""
    info = directory / "coord_test_skills-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: coord-test-skills\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return directory


class Echo:
    """Gives back what it was given, and who ran it in which attempt."""

    capabilities: tuple[str, ...] = ("echoing",)

    def run(self, unit: Unit, context: UnitContext) -> Output:
        context.workspace.put(unit.name, {"attempt": unit.attempt})
        return {
            "ai": context.ai_id,
            "attempt": unit.attempt,
            "inputs": unit.inputs,
            "outputs": context.outputs,
        }


class Share(Echo):
    """Uses all that a unit shares with others; tells what it read of it."""

    def run(self, unit: Unit, context: UnitContext) -> Output:
        knowledge, artifacts = context.knowledge, context.artifacts
        known = [knowledge.patterns(), knowledge.components("audio"), knowledge.features()]
        needed = [artifacts.get(output["artifact"]).decode() for output in context.outputs.values()]
        return super().run(unit, context) | {
            "artifact": artifacts.put(f"of {unit.name}".encode()),
            "needed": needed,
            "known": [len(records) for records in known],
            "workspace": sorted(context.workspace.items()),
            "of_need": [context.workspace.get(need) for need in sorted(context.outputs)],
        }


class Gate(Echo):
    """Says in a file of ``inputs["directory"]`` that it began, and waits for one to be opened."""

    capabilities: tuple[str, ...] = ()

    def run(self, unit: Unit, context: UnitContext) -> Output:
        directory = Path(unit.inputs["directory"])
        written = directory / f"{os.getpid()}.tmp"
        written.write_text(f"{os.getpid()} {context.ai_id}")
        written.rename(directory / f"began-{unit.name}-{unit.attempt}")
        ends_s = time.monotonic() + LIMIT_S
        while not (directory / f"go-{unit.name}-{unit.attempt}").exists():
            assert time.monotonic() < ends_s, "nobody opened the gate"
            context.progress(0.5)
            time.sleep(POLL_S)
        return super().run(unit, context)
