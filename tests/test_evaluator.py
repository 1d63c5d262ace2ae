"""Which evaluator measured: its version changes with all that it is made of, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from workers.problems import JOINT_PROBLEMS, PROBLEMS, evaluator_version, find_problem
from workers.problems.evaluator import loaded_source
from workers.problems.pairs.cache_and_allocator import CacheAndAllocator
from workers.problems.pairs.cache_and_scheduler import CacheAndScheduler

SHARED = {"draws", "material", "measuring", "policies", "problem", "single"}
CACHE = SHARED | {"file_system.problem", "file_system.policy", "file_system.reads"}
SCHEDULER = SHARED | {
    *("process_manager.problem", "process_manager.policy"),
    *("process_manager.cpu", "process_manager.arrivals"),
}
ALLOCATOR = SHARED | {
    *("performance.problem", "performance.policy"),
    *("performance.heap", "performance.mallocs"),
}
MEMORY = CACHE | ALLOCATOR | {"pair", "pairs.cache_and_allocator", "pairs.memory"}
BOTH = CACHE | SCHEDULER | {"pair", "pairs.cache_and_scheduler", "pairs.machine"}
MODULES: list[tuple[Any, set[str]]] = [
    (find_problem("file_system"), CACHE),
    (find_problem("process_manager"), SCHEDULER),
    (find_problem("performance"), ALLOCATOR),
    (CacheAndScheduler(), BOTH),
    (CacheAndAllocator(), MEMORY),
]
ALL: list[Any] = [*PROBLEMS, *JOINT_PROBLEMS]


def changed(module: str) -> Callable[[str], str]:
    """What gives the text of modules, one of which has changed."""
    return lambda name: loaded_source(name) + "#" * (name == module)


def modules_of(problem: Any) -> list[str]:
    """The modules whose text the version is made of."""
    read: list[str] = []

    def source(module: str) -> str:
        read.append(module)
        return loaded_source(module)

    evaluator_version(problem, source=source)
    return read


@pytest.mark.parametrize(("problem", "modules"), MODULES, ids=lambda value: "")
def test_it_is_made_of_what_it_imports(problem: Any, modules: set[str]) -> None:
    assert sorted(modules_of(problem)) == sorted(f"workers.problems.{name}" for name in modules)


@pytest.mark.parametrize("problem", ALL, ids=lambda problem: problem.name)
def test_every_module_that_it_is_made_of_counts(problem: Any) -> None:
    version = evaluator_version(problem)
    assert re.fullmatch(rf"{problem.name}-[0-9a-f]{{12}}", version)
    assert version == evaluator_version(problem)
    made_of = modules_of(problem)
    assert type(problem).__module__ in made_of
    assert all(evaluator_version(problem, source=changed(name)) != version for name in made_of)
    assert evaluator_version(problem, source=changed("workers.problems.overall")) == version


def test_problems_have_versions_of_their_own() -> None:
    assert len({evaluator_version(problem) for problem in ALL}) == len(ALL)
