"""One CPU and the processes that share it, replayed under a scheduling policy.

The simulation goes from event to event; all times are whole microseconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Protocol

from workers.problems.policies import Interface, bad_answer, telling

CONTEXT_SWITCH_US = 50
"""What a policy pays whenever the CPU goes on with another process than the one that ran last. The
switch itself takes a few microseconds, the caches that the process finds cold cost it from nothing
to more than a millisecond (C. Li, C. Ding, K. Shen, Quantifying the Cost of Context Switch, ExpCS
2007); this is a moderate sum of the two."""

LONGEST_US = 2**53
"""No policy may let a process run for longer: what is above it is no whole number in all JSON."""

INTERFACE = Interface(
    arguments=(),
    tells=("ready", "yielded", "waits", "ended"),
    asks={"ready": bool, "choose": tuple[int, int]},
)
"""See `SchedulerPolicy`. Whether a process takes over is asked only while another one runs."""

AfterBurst = Callable[[int, int], tuple[int, int] | None]
"""(process, now) -> None if its last burst is over, else (time when it is ready again, length of
its next burst). If that time is now, the process goes on without giving up the CPU."""


class SchedulerPolicy(Protocol):
    """What decides which process runs. A process is one integer; times are microseconds."""

    def ready(self, process: int) -> bool:
        """A process is new, or has waited for long enough: should it take the CPU at once?"""

    def choose(self, now_us: int) -> tuple[int, int]:
        """The CPU is free: which ready process runs, and how long at most (1..LONGEST_US)?"""

    def yielded(self, process: int, ran_us: int) -> None:
        """The process has run for so long, and is still ready."""

    def waits(self, process: int, ran_us: int) -> None:
        """The process has run for so long, and waits for something now."""

    def ended(self, process: int, ran_us: int) -> None:
        """The process has run for so long, and is no more."""


class RoundRobin:
    """All in turn, for one quantum each; nobody is interrupted before."""

    def __init__(self, quantum_us: int) -> None:
        self.quantum_us = quantum_us
        self.queue: deque[int] = deque()

    def ready(self, process: int) -> bool:
        self.queue.append(process)
        return False

    def choose(self, now_us: int) -> tuple[int, int]:
        return self.queue.popleft(), self.quantum_us

    def yielded(self, process: int, ran_us: int) -> None:
        self.queue.append(process)

    def waits(self, process: int, ran_us: int) -> None:
        """It comes back by `ready`."""

    def ended(self, process: int, ran_us: int) -> None:
        """It never comes back."""


def ends_after_one_burst(process: int, now_us: int) -> None:
    """For processes that never wait."""


class _Cpu:
    """The CPU, the processes that are ready, and those that will be."""

    def __init__(self, arrivals_us: Sequence[int], policy: SchedulerPolicy) -> None:
        self.policy = policy
        self.tell_ready = telling(policy, "ready")
        self.now_us = 0
        self.ready: set[int] = set()
        self.coming = [(at_us, process) for process, at_us in enumerate(arrivals_us)]
        heapify(self.coming)

    def admit(self) -> None:
        """Make those ready whose time has come, while nobody has the CPU whom they could follow."""
        while self.coming and self.coming[0][0] <= self.now_us:
            _, process = heappop(self.coming)
            self.ready.add(process)
            self.tell_ready(process)

    def interrupts(self) -> bool:
        """The same while a process runs: does one of them take the CPU at once?"""
        while self.coming and self.coming[0][0] <= self.now_us:
            _, process = heappop(self.coming)
            self.ready.add(process)
            answer = self.policy.ready(process)
            if type(answer) is not bool:
                raise bad_answer("ready", answer, bool)
            if answer:
                self.admit()
                return True
        return False

    def choose(self) -> tuple[int, int]:
        """What the policy chooses: a process that is ready, and the longest time it may run."""
        chosen = self.policy.choose(self.now_us)
        try:
            process, quantum_us = chosen
            self.ready.remove(process)
            is_allowed = type(process) is type(quantum_us) is int and 1 <= quantum_us <= LONGEST_US
        except (KeyError, TypeError, ValueError):
            is_allowed = False
        if not is_allowed:
            rule = f"a process that is ready, and how long it may run, 1..{LONGEST_US} us"
            raise bad_answer("choose", chosen, tuple[int, int], rule)
        return process, quantum_us


def replay(
    arrivals_us: Sequence[int],
    bursts_us: Sequence[int],
    policy: SchedulerPolicy,
    after_burst: AfterBurst = ends_after_one_burst,
    switch_us: int = CONTEXT_SWITCH_US,
) -> list[int]:
    """When each process ended. Process i arrives at `arrivals_us[i]`; `bursts_us[i]` is the CPU
    time it needs before it ends or waits for the first time.

    What is ready is kept here: the policy is only told and asked. As long as nobody else is ready
    a process runs on, whatever its quantum; if that is over by then, the next one to become ready
    ends its turn. Raises ProblemError if the policy gives an answer that is none: a process that
    is not ready, a time that is not 1..LONGEST_US, another type.
    """
    cpu = _Cpu(arrivals_us, policy)
    left_us = list(bursts_us)
    ends_us = [0] * len(left_us)
    ready, coming, last = cpu.ready, cpu.coming, -1
    cpu.admit()
    while ready or coming:
        if not ready:
            cpu.now_us = coming[0][0]
            cpu.admit()
        process, quantum_us = cpu.choose()
        now_us = cpu.now_us + (switch_us if process != last else 0)
        last, began_us, until_us = process, now_us, now_us + quantum_us
        while True:
            stop_us = now_us + left_us[process]
            if ready and until_us < stop_us:
                stop_us = until_us
            if coming and coming[0][0] < stop_us:
                stop_us = max(now_us, coming[0][0])
            left_us[process] -= stop_us - now_us
            cpu.now_us = now_us = stop_us
            if not left_us[process]:
                after = after_burst(process, now_us)
                if after is None:
                    ends_us[process] = now_us
                    policy.ended(process, now_us - began_us)
                    break
                back_us, left_us[process] = after
                if back_us > now_us:
                    heappush(coming, (back_us, process))
                    policy.waits(process, now_us - began_us)
                    break
            elif cpu.interrupts() or (ready and now_us >= until_us):
                ready.add(process)
                policy.yielded(process, now_us - began_us)
                break
        cpu.admit()
    return ends_us


def shortest_remaining_first(arrivals_us: Sequence[int], cpu_us: Sequence[int]) -> list[int]:
    """When each process ends if the one with the least CPU time left always runs, at no cost.

    No schedule of one CPU has a smaller mean response time (L. Schrage, A Proof of the Optimality
    of the Shortest Remaining Processing Time Discipline, Operations Research 16(3), 1968).
    """
    order = sorted(range(len(arrivals_us)), key=lambda process: arrivals_us[process])
    ends_us = [0] * len(order)
    left: list[tuple[int, int]] = []
    now_us = 0
    for place, process in enumerate(order):
        now_us = max(now_us, arrivals_us[process])
        heappush(left, (cpu_us[process], process))
        later = order[place + 1 :]
        next_us = arrivals_us[later[0]] if later else math.inf
        while left and now_us < next_us:
            rest_us, first = left[0]
            if now_us + rest_us <= next_us:
                heappop(left)
                now_us += rest_us
                ends_us[first] = now_us
            else:
                heapreplace(left, (rest_us - int(next_us - now_us), first))
                now_us = int(next_us)
    return ends_us
