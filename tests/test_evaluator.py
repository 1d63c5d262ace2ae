"""Which evaluator measured: its version changes with all that it is made of, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from workers.problems import Problem, evaluator_version, find_problem
from workers.problems.cache_and_scheduler import CacheAndScheduler
from workers.problems.evaluator import loaded_source

SHARED = {"draws", "material", "measuring", "policies", "problem", "single"}
CACHE = SHARED | {"file_system", "file_system_policy", "reads"}
SCHEDULER = SHARED | {"process_manager", "process_manager_policy", "cpu", "arrivals"}
JOINT = CACHE | SCHEDULER | {"cache_and_scheduler", "machine", "pair"}


def problems() -> list[tuple[Problem, set[str]]]:
    cache, scheduler = find_problem("file_system"), find_problem("process_manager")
    assert cache is not None
    assert scheduler is not None
    return [(cache, CACHE), (scheduler, SCHEDULER), (CacheAndScheduler(), JOINT)]  # type: ignore[list-item]


def changed(module: str) -> Callable[[str], str]:
    """What gives the text of modules, one of which has changed."""
    return lambda name: loaded_source(name) + "#" * (name == module)


@pytest.mark.parametrize(("problem", "modules"), problems(), ids=lambda value: "")
def test_every_module_that_it_is_made_of_counts(problem: Problem, modules: set[str]) -> None:
    version = evaluator_version(problem)
    assert re.fullmatch(rf"{problem.name}-[0-9a-f]{{12}}", version)
    assert version == evaluator_version(problem)
    read: list[str] = []

    def source(module: str) -> str:
        read.append(module)
        return loaded_source(module)

    evaluator_version(problem, source=source)
    assert sorted(read) == sorted(f"workers.problems.{module}" for module in modules)
    assert all(evaluator_version(problem, source=changed(module)) != version for module in read)
    assert evaluator_version(problem, source=changed("workers.problems.overall")) == version


def test_problems_have_versions_of_their_own() -> None:
    versions = {evaluator_version(problem) for problem, _ in problems()}
    assert len(versions) == 3
