"""Scenarios measured side by side: what all of them ask travels in one round trip.

An evaluator is plain code that asks a policy and waits for the answer. Here each scenario has a
greenlet for it. One that asks rests; when all do, a sandbox is asked all that they want of it, and
each goes on with its answer. So there are about as many round trips as the scenario with the most
questions has, and not as all of them have.

The policies of all scenarios are alive at once, in one process. So scenarios must have nothing in
common: what a policy could learn in one must not help it in another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from greenlet import getcurrent, greenlet

from workers.problems import Evaluator, Measured, Scenarios
from workers.sandbox import Call, PolicyFailed, Sandbox
from workers.validation.remote_policy import remote_makers


class SharedBox:
    """A sandbox as those see it who share its round trips: to ask is to rest until the next."""

    def __init__(self, box: Sandbox) -> None:
        self.make, self.tell = box.make, box.tell
        self._ask_all = box.ask_all
        self._hub = getcurrent()
        self.calls: list[Call] = []
        self._askers: list[greenlet] = []

    def ask(self, policy_id: int, method: str, *arguments: Any) -> Any:
        """What a method answers. Whoever made this object goes on meanwhile."""
        self.calls.append((policy_id, method, arguments))
        self._askers.append(getcurrent())
        return self._hub.switch()

    def answer(self) -> None:
        """Ask all that is wanted, and let each asker go on until it rests again, or ends."""
        calls, askers = self.calls, self._askers
        self.calls, self._askers = [], []
        try:
            answers = self._ask_all(calls)
        except PolicyFailed as error:
            if error.kind != "timeout":
                raise
            asked = " and ".join(sorted({f"{method}()" for _, method, _ in calls}))
            raise PolicyFailed("timeout", f"{error.detail}; last it was asked {asked}") from None
        for asker, answer in zip(askers, answers, strict=True):
            asker.switch(answer)


def measure_all(
    problem: Evaluator, boxes: Mapping[str, Sandbox], scenarios: Scenarios
) -> list[Measured]:
    """What is measured in each of the scenarios, of the policies in sandboxes by specialization.

    Raises PolicyFailed, ProblemError and Interrupted as soon as one scenario does; the others then
    end too.
    """
    shared = {specialization: SharedBox(box) for specialization, box in boxes.items()}
    makers = remote_makers(shared, problem.interfaces)
    measured: list[Measured] = [None] * len(scenarios)

    def measure(place: int) -> None:
        measured[place] = problem.measure(makers, scenarios[place])

    _run([greenlet(partial(measure, place)) for place in range(len(scenarios))], [*shared.values()])
    return measured


def _run(greenlets: Sequence[greenlet], shared: Sequence[SharedBox]) -> None:
    """Let all go on until they end."""
    try:
        for one in greenlets:
            one.switch()
        while waiting := [box for box in shared if box.calls]:
            for box in waiting:
                box.answer()
    finally:
        for one in greenlets:
            if not one.dead:
                one.throw()
