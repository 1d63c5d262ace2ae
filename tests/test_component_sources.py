"""The modules that problems write stand alone, and score what their parameters do."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from workers.problems import JOINT_PROBLEMS, PROBLEMS, JointProblem, Problem
from workers.problems.problem import from_unit

SCORE = """
import importlib, json, sys
from workers.problems import JOINT_PROBLEMS, PROBLEMS
found = {}
for problem in (*PROBLEMS, *JOINT_PROBLEMS):
    words = problem.specializations if problem in JOINT_PROBLEMS else [problem.specialization]
    modules = [importlib.import_module(f"{problem.name}.component_{word}") for word in words]
    makers = {module.SPECIALIZATION: module.Policy for module in modules}
    scenarios = problem.recorded(problem.training_workloads[-1])
    gap_closed = problem.evaluate_policies(makers, scenarios).gap_closed
    found[problem.name] = [{one.SPECIALIZATION: one.PARAMETERS for one in modules}, gap_closed]
print(json.dumps(found))
"""


def write_components(problem: Problem | JointProblem, directory: Path) -> list[Any]:
    """Components of drawn values, a module for each specialization; the parameters of each, and the
    share of the gap that they close here."""
    draw = random.Random(11)
    values = from_unit(problem.parameters, [draw.random() for _ in problem.parameters])
    if isinstance(problem, JointProblem):
        sources, parameters = problem.component_sources(values), problem.split(values)
    else:
        word = problem.specialization
        sources, parameters = {word: problem.component_source(values)}, {word: values}
    directory.mkdir()
    for word, source in sources.items():
        assert "workers" not in source
        (directory / f"component_{word}.py").write_text(source, encoding="utf-8")
    return [parameters, problem.evaluate(values, problem.training_workloads[-1]).gap_closed]


def test_components_reproduce_their_score_in_a_fresh_process(tmp_path: Path) -> None:
    expected = {
        problem.name: write_components(problem, tmp_path / problem.name)
        for problem in (*PROBLEMS, *JOINT_PROBLEMS)
    }
    done = subprocess.run(
        [sys.executable, "-c", SCORE],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[1]}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == expected
