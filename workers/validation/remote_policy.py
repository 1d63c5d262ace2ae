"""Policies that run inside a sandbox, as the evaluator outside sees them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import count
from typing import Any

from workers.problems import Interface, Maker, Remote
from workers.sandbox import Sandbox


class RemotePolicy(Remote):
    """Has the methods of its interface. What it is told waits until it is asked: one round trip
    for each answer, however much was told before. The evaluator checks the answers.

    Any of the methods may raise PolicyFailed, for this call or for one that was only told.
    """

    def __init__(self, box: Sandbox, policy_id: int, interface: Interface) -> None:
        self._tell = partial(box.tell, policy_id)
        for method in interface.tells:
            setattr(self, method, partial(box.tell, policy_id, method))
        for method in interface.asks:
            setattr(self, method, partial(box.ask, policy_id, method))

    def tell(self, method: str, *arguments: Any) -> None:
        self._tell(method, *arguments)


def remote_makers(
    boxes: Mapping[str, Sandbox], interfaces: Mapping[str, Interface]
) -> dict[str, Maker]:
    """By specialization, what makes a new policy in its sandbox."""
    return {name: _maker(box, interfaces[name]) for name, box in boxes.items()}


def _maker(box: Sandbox, interface: Interface) -> Maker:
    ids = count()

    def make(*arguments: Any) -> RemotePolicy:
        policy_id = next(ids)
        box.make(policy_id, arguments)
        return RemotePolicy(box, policy_id, interface)

    return make
