"""The cache and the scheduler of the joint problem, each without the other."""

from __future__ import annotations

from collections.abc import Mapping

from workers.problems import file_system_policy, process_manager_policy
from workers.problems.cache_and_scheduler import (
    CACHE,
    PROGRAMS,
    SCHEDULER,
    CacheAndScheduler,
    load_workload,
)
from workers.problems.cpu import RoundRobin, replay, shortest_remaining_first
from workers.problems.file_system import belady_misses, lru_misses, policy_misses
from workers.problems.material import development, held_out
from workers.problems.problem import Parameter, Score, check_values
from workers.problems.process_manager import BASELINE_QUANTUM_US, mean_response_s


def prefixed(prefix: str) -> tuple[Parameter, ...]:
    """The parameters of the joint problem that are one policy's."""
    return tuple(one for one in CacheAndScheduler().parameters if one.name.startswith(prefix))


def part(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    """Values by the names that the policy knows them by."""
    return {name.removeprefix(prefix): value for name, value in values.items()}


class CacheAlone:
    """The cache of the joint problem by itself: what its specialist sees, who knows no scheduler.

    The same recordings, the processes one after the other, and misses / references as the cost,
    against LRU and Belady's optimum. Parameters are named as in the joint problem; see
    `problem.Trainable`.
    """

    name = "cache_alone"
    cost_unit = "miss ratio"
    parameters = prefixed(CACHE)
    training_workloads = PROGRAMS
    development_workloads = development(PROGRAMS)
    held_out_workloads = held_out(PROGRAMS)

    def evaluate(self, values: Mapping[str, float], workload: str) -> Score:
        """The score of the cache's values; raises ProblemError as the joint problem does."""
        of_cache = part(CACHE, check_values(self.parameters, values))
        costs = {}
        for one in load_workload(workload):
            blocks = [block for process in one.processes for block in process.blocks]
            policy = file_system_policy.Policy(one.capacity_blocks, of_cache)
            costs[one.name] = (
                policy_misses(policy, blocks, (), one.capacity_blocks) / len(blocks),
                lru_misses(blocks, (), one.capacity_blocks) / len(blocks),
                belady_misses(blocks, (), one.capacity_blocks) / len(blocks),
            )
        return Score.from_costs(costs)


class SchedulerAlone:
    """The scheduler of the joint problem by itself: what its specialist sees, who knows no disk.

    The same recordings, as if every read were a hit, and the mean response time as the cost,
    against round robin and SRPT. Otherwise as `CacheAlone`.
    """

    name = "scheduler_alone"
    cost_unit = "s"
    parameters = prefixed(SCHEDULER)
    training_workloads = PROGRAMS
    development_workloads = development(PROGRAMS)
    held_out_workloads = held_out(PROGRAMS)

    def evaluate(self, values: Mapping[str, float], workload: str) -> Score:
        """The score of the scheduler's values; raises ProblemError as the joint problem does."""
        of_scheduler = part(SCHEDULER, check_values(self.parameters, values))
        costs = {}
        for one in load_workload(workload):
            arrivals_us = [process.arrival_us for process in one.processes]
            cpu_us = [process.cpu_us for process in one.processes]
            policy = process_manager_policy.Policy(of_scheduler)
            costs[one.name] = (
                mean_response_s(arrivals_us, replay(arrivals_us, cpu_us, policy)),
                mean_response_s(
                    arrivals_us, replay(arrivals_us, cpu_us, RoundRobin(BASELINE_QUANTUM_US))
                ),
                mean_response_s(arrivals_us, shortest_remaining_first(arrivals_us, cpu_us)),
            )
        return Score.from_costs(costs)
