"""A CPU scheduler of several queues that learns how long a process runs. Standard library only.

A multi-level feedback queue: nobody says how much CPU time a process will need, so each begins in
the highest queue with a short quantum, and descends as it uses up what it may use in a queue.
Short processes are gone before long ones get in their way, which is what makes the mean response
time small (L. Kleinrock, Queueing Systems II, 1976, chapter 4). The idea is that of CTSS (F. J.
Corbato, M. Merwin-Daggett, R. C. Daley, An Experimental Time-Sharing System, AFIPS 1962); the
rules, among them that all return to the highest queue now and then and that CPU time is counted
however it is split, are those of R. H. and A. C. Arpaci-Dusseau, Operating Systems: Three Easy
Pieces, chapter 8, whose example the default values follow.

Times are whole microseconds. A process is one integer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

SPECIALIZATION = "process_manager"

PARAMETERS: Mapping[str, float] = {
    "levels": 3,
    "first_quantum_ms": 10.0,
    "quantum_growth": 2.0,
    "allotment_quanta": 1,
    "boost_ms": 1000.0,
    "preempt_margin": 1,
    "interrupted_first": 0,
}


class Task:
    """What is known of a process: its queue, and the CPU time it has used since it came there."""

    __slots__ = ("has_run", "level", "used_us")

    def __init__(self) -> None:
        self.level = 0
        self.used_us = 0
        self.has_run = False


class Policy:
    """Decides which ready process runs, and how long; whoever calls it holds the CPU itself.

    levels             number of queues; the highest is 0
    first_quantum_ms   quantum in the highest queue
    quantum_growth     quantum of a queue / quantum of the queue above it
    allotment_quanta   quanta that a process may use in a queue before it descends
    boost_ms           all processes return to the highest queue this often
    preempt_margin     who becomes ready takes the CPU at once if its queue is higher than that of
                       the running process by this many
    interrupted_first  1: who lost the CPU before its quantum was over (another took it, or it
                       waited) is the next of its queue; 0: it is the last
    """

    def __init__(self, parameters: Mapping[str, float] = PARAMETERS) -> None:
        levels = int(parameters["levels"])
        first_us, growth = parameters["first_quantum_ms"] * 1_000, parameters["quantum_growth"]
        self.quanta_us = [max(1, round(first_us * growth**level)) for level in range(levels)]
        self.allotment_quanta = int(parameters["allotment_quanta"])
        self.boost_us = round(parameters["boost_ms"] * 1_000)
        self.preempt_margin = int(parameters["preempt_margin"])
        self.interrupted_first = bool(parameters["interrupted_first"])
        self.queues: list[deque[int]] = [deque() for _ in range(levels)]
        self.tasks: dict[int, Task] = {}
        self.running: Task | None = None
        self.quantum_us = 0
        self.next_boost_us = self.boost_us

    def ready(self, process: int) -> bool:
        """A process is new, or has waited for long enough: should it take the CPU at once?"""
        task = self.tasks.get(process)
        if task is None:
            task = self.tasks[process] = Task()
        self._enqueue(process, task, task.has_run and self.interrupted_first)
        return self.running is not None and task.level + self.preempt_margin <= self.running.level

    def choose(self, now_us: int) -> tuple[int, int]:
        """The CPU is free: which ready process runs, and for how many microseconds at most?"""
        if now_us >= self.next_boost_us:
            self._boost(now_us)
        level = next(level for level, queue in enumerate(self.queues) if queue)
        process = self.queues[level].popleft()
        self.running = task = self.tasks[process]
        self.quantum_us = self.quanta_us[level]
        if level < len(self.queues) - 1:
            left_us = self.quantum_us * self.allotment_quanta - task.used_us
            self.quantum_us = min(self.quantum_us, left_us)
        return process, self.quantum_us

    def yielded(self, process: int, ran_us: int) -> None:
        """The process has run for so long, and is still ready: its time was up, or another's came.

        Alone on the CPU, a process may have run for longer than its quantum.
        """
        task = self._charge(process, ran_us)
        self._enqueue(process, task, ran_us < self.quantum_us and self.interrupted_first)

    def waits(self, process: int, ran_us: int) -> None:
        """The process has run for so long, and waits for something now."""
        self._charge(process, ran_us)

    def ended(self, process: int, ran_us: int) -> None:
        """The process has run for so long, and is no more."""
        del self.tasks[process]
        self.running = None

    def _charge(self, process: int, ran_us: int) -> Task:
        """Count CPU time, and let the process descend as far as it has earned."""
        task = self.tasks[process]
        task.has_run = True
        task.used_us += ran_us
        while task.level < len(self.queues) - 1:
            allotment_us = self.quanta_us[task.level] * self.allotment_quanta
            if task.used_us < allotment_us:
                break
            task.used_us -= allotment_us
            task.level += 1
        self.running = None
        return task

    def _enqueue(self, process: int, task: Task, is_first: bool) -> None:
        queue = self.queues[task.level]
        if is_first:
            queue.appendleft(process)
        else:
            queue.append(process)

    def _boost(self, now_us: int) -> None:
        """All return to the highest queue, in the order of their queues."""
        for task in self.tasks.values():
            task.level = task.used_us = 0
        for queue in self.queues[1:]:
            self.queues[0].extend(queue)
            queue.clear()
        self.next_boost_us = now_us + self.boost_us
