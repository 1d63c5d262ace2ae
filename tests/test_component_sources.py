"""The modules that problems write stand alone, and score what their parameters do."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from workers.problems import JOINT_PROBLEMS, PROBLEMS, JointProblem, Problem
from workers.problems.problem import from_unit

SCORE = """
import importlib, json, sys
from workers.problems import JOINT_PROBLEMS, PROBLEMS
name, workload, *specializations = sys.argv[1:]
(problem,) = (one for one in (*PROBLEMS, *JOINT_PROBLEMS) if one.name == name)
modules = [importlib.import_module(f"component_{word}") for word in specializations]
makers = {module.SPECIALIZATION: module.Policy for module in modules}
score = problem.evaluate_policies(makers, problem.recorded(workload))
print(json.dumps([{one.SPECIALIZATION: one.PARAMETERS for one in modules}, score.gap_closed]))
"""


@pytest.mark.parametrize("problem", [*PROBLEMS, *JOINT_PROBLEMS], ids=lambda problem: problem.name)
def test_components_reproduce_their_score_in_a_fresh_process(
    problem: Problem | JointProblem, tmp_path: Path
) -> None:
    draw = random.Random(11)
    values = from_unit(problem.parameters, [draw.random() for _ in problem.parameters])
    if isinstance(problem, JointProblem):
        sources, parameters = problem.component_sources(values), problem.split(values)
    else:
        word = problem.specialization
        sources, parameters = {word: problem.component_source(values)}, {word: values}
    for word, source in sources.items():
        assert "workers" not in source
        (tmp_path / f"component_{word}.py").write_text(source, encoding="utf-8")
    workload = problem.training_workloads[-1]
    done = subprocess.run(
        [sys.executable, "-c", SCORE, problem.name, workload, *sources],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[1]}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [parameters, problem.evaluate(values, workload).gap_closed]
